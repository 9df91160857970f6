//! What is missing or wrong is named.

use popmap_io::Device;
use popmap_io::dpdk::{DpdkConfig, DpdkDevice, DpdkError, Eal, EalConfig, Pool, Port, PortConfig};
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;

use super::pop::{bare_pair, config, eal, receive, send};

fn said<T: std::fmt::Debug>(result: Result<T, DpdkError>) -> String {
    let said = result.unwrap_err().to_string();
    println!("{said}");
    said
}

#[test]
fn eal_starts_once() {
    netns::inside(|| {
        let again = || said(Eal::start(&EalConfig::without_huge_pages(64)));
        let eal = eal(64);
        assert!(eal.version().starts_with("DPDK "), "{}", eal.version());
        assert_eq!(again(), "EAL was started in this process before; DPDK starts once per process");
        drop(eal);
        assert_eq!(again(), "EAL was started in this process before; DPDK starts once per process");
    });
}

/// A directory for files that DPDK has none of.
#[test]
fn nothing_is_left_behind() {
    netns::inside(|| {
        let prefix = format!("popmap-test-{}", std::process::id());
        let config = EalConfig { file_prefix: Some(prefix.clone()), ..EalConfig::without_huge_pages(64) };
        let eal = Eal::start(&config).unwrap();
        let left = || {
            ["/var/run", "/tmp"].map(|base| std::path::Path::new(base).join("dpdk").join(&prefix).exists())
        };
        assert_eq!(left(), [false, false]);
        drop(eal);
        assert_eq!(left(), [false, false]);
    });
}

#[test]
fn a_start_that_fails_says_why() {
    netns::inside(|| {
        let mut config = EalConfig::without_huge_pages(64);
        config.arguments = vec!["--iova-mode=sideways".to_owned()];
        let said = said(Eal::start(&config));
        assert!(said.starts_with("starting EAL: Invalid argument (22); DPDK said: "), "{said}");
        assert!(said.contains("iova-mode"), "{said}");
    });
}

/// Where there are none; a machine that has some uses them.
#[test]
fn missing_huge_pages_are_named() {
    netns::inside(|| {
        let eal = match Eal::start(&EalConfig::new()) {
            Ok(eal) => eal,
            Err(error) => {
                let said = said::<()>(Err(error));
                assert!(said.starts_with("starting EAL: ") && said.contains("hugepage"), "{said}");
                return;
            }
        };
        println!("with huge pages");
        let [mut left, mut right] = bare_pair(&eal);
        let _ = send(&mut left, right.local(), &mut (0..10));
        let mut seen = Vec::new();
        let _ = receive(&mut right, &mut seen);
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn too_little_memory_is_named() {
    netns::inside(|| {
        let eal = eal(8);
        let said = said(Pool::new(&eal, 8_191, 1_500));
        assert!(
            said.starts_with(
                "making a pool of 8191 mbufs of 2048 bytes in `EalConfig::memory_mib`: Cannot allocate memory (12)"
            ),
            "{said}"
        );
    });
}

#[test]
fn devices_that_cannot_be_had_are_named() {
    netns::inside(|| {
        let eal = eal(64);
        let config = config(EncapConfig::ethernet(), 1);
        let pool = DpdkDevice::pool(&eal, &config).unwrap();
        let open =
            |device: &str, config: &DpdkConfig| said(DpdkDevice::open_with(&eal, device, &pool, config));

        assert!(open("", &config).starts_with("device: \"\"; it must be a PCI address"));
        assert!(open("net_ring0\0", &config).starts_with("device: "));
        let none = open("net_nonsense0", &config);
        assert!(none.starts_with("attaching net_nonsense0: "), "{none}");
        let none = open("net_af_packet0,iface=nowhere0", &config);
        assert!(none.starts_with("attaching net_af_packet0,iface=nowhere0: "), "{none}");
        assert!(none.contains("nowhere0") && none.contains("DPDK said: "), "{none}");
        assert_eq!(
            open("0000:3b:00.0", &config),
            "device: EAL was not started for the PCI device 0000:3b:00.0; list it in `EalConfig::pci`"
        );
        assert_eq!(
            open("net_ring0", &DpdkConfig { mac: None, ..config }),
            "mac: net_ring0 has no address of its own; give it one in `DpdkConfig::mac`"
        );
        let refused = open("net_ring0", &DpdkConfig { encap: EncapConfig::ethernet(), ..config });
        assert!(refused.starts_with("insecure: false;"), "{refused}");
        let none = open("crypto_null0", &config);
        assert!(none.starts_with("device: DPDK has no port for crypto_null0"), "{none}");
        // Given back, or nobody would look at its arguments.
        let none = open("crypto_null0,nonsense=1", &config);
        assert!(none.starts_with("attaching crypto_null0,nonsense=1: "), "{none}");
        let jumbo = EncapConfig { payload: 8_952, ..config.encap };
        assert_eq!(
            open("net_null0", &DpdkConfig { encap: jumbo, ..config }),
            "payload: a frame may have 8984 bytes, and the pool's mbufs hold 2048"
        );
        let few = Pool::new(&eal, 1_023, 1_526).unwrap();
        assert_eq!(
            said(DpdkDevice::open_with(&eal, "net_ring0", &few, &config)),
            "mbufs: 1023; queues and bursts of a port may hold 1280 at once"
        );
        assert_eq!(
            said(Port::open(&eal, "net_ring0", &pool, &PortConfig { mtu: 9_000, ..PortConfig::DEFAULT })),
            "payload: a frame may have 9026 bytes, and the pool's mbufs hold 2048"
        );
        assert!(said(Pool::new(&eal, 15, 65_536)).starts_with("payload: a frame may have 65536 bytes"));

        // After all of these it is to be had, once.
        let device = DpdkDevice::open_with(&eal, "net_ring0", &pool, &config).unwrap();
        assert_eq!(open("net_ring0", &config), "device: net_ring0 is in use in this process already");
        drop(device);
        DpdkDevice::open_with(&eal, "net_ring0", &pool, &config).unwrap();
        assert!(!eal.log().is_empty());
    });
}

#[test]
fn devices_of_the_configuration_are_there() {
    netns::inside(|| {
        let with = |vdevs: &[&str]| {
            let vdevs = vdevs.iter().map(|&device| device.to_owned()).collect();
            Eal::start(&EalConfig { vdevs, ..EalConfig::without_huge_pages(64) })
        };
        let eal = with(&["net_null0,no-rx=1", "net_ring0"]).unwrap();
        for (device, station) in [("net_null0", 1), ("net_ring0", 2)] {
            DpdkDevice::open(&eal, device, &config(EncapConfig::ethernet(), station)).unwrap();
        }
    });
}

#[test]
fn a_device_of_the_configuration_that_is_missing_is_named() {
    netns::inside(|| {
        let vdevs = vec!["net_null0".to_owned(), "net_nonsense0".to_owned()];
        let said = said(Eal::start(&EalConfig { vdevs, ..EalConfig::without_huge_pages(64) }));
        assert!(said.starts_with("attaching net_nonsense0: "), "{said}");
    });
}

/// A bridge is in every machine with a PCI bus, and no driver of DPDK's wants it.
#[test]
fn a_pci_device_without_a_port_is_named() {
    netns::inside(|| {
        let devices = std::fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
        let is_bridge = |path: &std::path::Path| {
            std::fs::read_to_string(path.join("class")).is_ok_and(|class| class.starts_with("0x06"))
        };
        let Some(bridge) = devices.map(|device| device.path()).find(|path| is_bridge(path)) else {
            eprintln!("SKIPPED: no PCI bridge is to be seen here");
            return;
        };
        let address = bridge.file_name().unwrap().to_str().unwrap();
        let eal = EalConfig { pci: vec![address.to_owned()], ..EalConfig::without_huge_pages(64) };
        let eal = Eal::start(&eal).unwrap();
        let said = said(DpdkDevice::open(&eal, address, &config(EncapConfig::ethernet(), 1)));
        assert!(said.contains(address), "{said}");
    });
}

/// Jumbo frames where the port carries them.
#[test]
fn jumbo_frames_cross_a_ring() {
    netns::inside(|| {
        let eal = eal(128);
        let encap = EncapConfig { payload: 8_952, ..EncapConfig::ethernet() };
        let configs = [config(encap, 1), config(encap, 2)];
        let [mut left, mut right] = DpdkDevice::pair(&eal, configs.each_ref()).unwrap();
        let mut to = Some(right.local());
        let burst = left.send(|frame| to.take().map(|to| (to, frame.len()))).unwrap();
        assert_eq!(burst.frames, 1);
        let mut lens = Vec::new();
        let _ = right.receive(|_, packet| lens.push(packet.len())).unwrap();
        assert_eq!(lens, [8_952]);
    });
}
