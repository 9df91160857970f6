//! Two processes over shared memory (net_memif): one dies, the other notices, and the next one joins.

use std::env;

use popmap_io::Device;
use popmap_io::address::from_mac;
use popmap_io::dpdk::{Batch, DpdkDevice, Pool, Port, PortConfig};
use popmap_io::encap::EncapConfig;
use popmap_tests::netns;

use super::peer::{Killed, is_for};
use super::pop::{Server, config, converge_with, driver_config, eal, mac, serve, wait_for};

const PEER: &str = "memif::peer";
/// Where the two meet: an abstract socket, which leaves nothing behind.
const SOCKET: &str = "POPMAP_DPDK_SOCKET";
/// What the other adds to its values.
const ROUND: &str = "POPMAP_DPDK_ROUND";

fn device(role: &str, socket: &str) -> String {
    format!("net_memif0,role={role},socket-abstract=yes,socket={socket}")
}

/// The other process; as a test of its own it does nothing.
#[test]
fn peer() {
    if is_for(PEER) {
        let eal = eal(64);
        let device = device("client", &env::var(SOCKET).unwrap());
        let device = DpdkDevice::open(&eal, &device, &config(EncapConfig::ethernet(), 2)).unwrap();
        serve(1, from_mac(mac(1)), device, env::var(ROUND).unwrap().parse().unwrap());
    }
}

#[test]
fn two_processes_converge_and_a_new_one_rejoins() {
    netns::inside(|| {
        let socket = format!("popmap-{}", std::process::id());
        let eal = eal(64);
        let first = config(EncapConfig::ethernet(), 1);
        let jumbo =
            popmap_io::dpdk::DpdkConfig { encap: EncapConfig { payload: 1_600, ..first.encap }, ..first };
        // Of a name of its own: the driver keeps it.
        let error =
            DpdkDevice::open(&eal, &device("server", &format!("{socket}-jumbo")), &jumbo).unwrap_err();
        assert_eq!(
            error.to_string(),
            "payload: it needs an MTU of 1606 bytes, and net_memif0 has at most 1500"
        );

        let device = DpdkDevice::open(&eal, &device("server", &socket), &first).unwrap();
        assert!(!device.port().unwrap().is_up(), "nobody is there yet");
        let server = Server::spawn(&driver_config(0, 2, &[]), device);
        let stats = || server.running.handle().snapshot().device;
        for round in 1..=3 {
            let peer = Killed::spawn(PEER, &[(SOCKET, &socket), (ROUND, &(1_000 * round).to_string())]);
            converge_with(&server, 1, 1_000 * round);
            wait_for("the link's return is noticed", || stats().link_returns == round);
            drop(peer);
            wait_for("the loss is noticed", || stats().link_losses == round);
        }
        wait_for("what is sent into a link that is down is counted", || stats().unreachable > 0);
        server.running.stop().unwrap();
    });
}

/// A frame longer than an mbuf is spread over several: not read as if it were whole, not sent on, and freed.
#[test]
fn a_frame_spread_over_several_mbufs_is_dropped() {
    netns::inside(|| {
        let eal = eal(64);
        let [first, second] = [1, 2].map(|station| config(EncapConfig::ethernet(), station));
        // Both ends in one process. Its own buffers are longer than the mbufs: then it minds where those end.
        let end = |number, role| {
            format!("net_memif{number},role={role},socket-abstract=yes,socket=popmap,bsize=4096")
        };
        let pool = DpdkDevice::pool(&eal, &first).unwrap();
        let mut device = DpdkDevice::open_with(&eal, &end(0, "server"), &pool, &first).unwrap();
        let long = Pool::new(&eal, 2_047, 4_096).unwrap();
        let mac = second.mac;
        let port = PortConfig { mac, receive_queue: 256, send_queue: 256, ..PortConfig::DEFAULT };
        let mut sender = Port::open(&eal, &end(1, "client"), &long, &port).unwrap();
        wait_for("both are connected", || sender.is_up() && device.port().unwrap().is_up());

        let (mut blank, mut batch) = (Batch::new(&eal), Batch::new(&eal));
        let mut send = |len: usize| {
            assert!(!blank.is_empty() || blank.fill_up(&long));
            let frame = blank.last_mut(len).unwrap();
            frame.fill(0);
            // To us, with as many bytes as it says.
            frame[..16].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, 0x50, 0x4d]);
            frame[16..20].copy_from_slice(&[1, 0, ((len - 20) >> 8) as u8, (len - 20) as u8]);
            blank.set_last_len(len);
            assert!(blank.move_last(&mut batch));
            wait_for("it is sent", || sender.send(&mut batch) == 1);
        };
        send(100);
        send(4_000);
        send(1_420);
        let mut lens = Vec::new();
        wait_for("the others arrive", || {
            let _ = device.receive(|_, packet| lens.push(packet.len())).unwrap();
            lens.len() == 2
        });
        assert_eq!(lens, [80, 1_400]);
        let stats = device.stats();
        assert_eq!((stats.received, stats.ignored + stats.oversize), (2, 1));

        // As it comes, for a loop of its own.
        send(4_000);
        let mut received = Batch::new(&eal);
        wait_for("it arrives", || device.port_mut().unwrap().receive(&mut received) == 1);
        let first_part = received.frames().map(|(bytes, _)| bytes.len()).collect::<Vec<_>>();
        assert_eq!(first_part, [pool.frame_len()]);
        assert!(received.last_mut(0).is_none());
        drop((received, device, sender, blank, batch));
        assert_eq!((pool.available(), long.available()), (2_047, 2_047));
    });
}
