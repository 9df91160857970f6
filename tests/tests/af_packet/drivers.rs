//! Nodes over packet devices: they find each other, mix with kernels' sockets, and outlive their interfaces.

use popmap_core::{Address, Config, Key, Life, Lookup, Node, Phase, Reader, Shape, Slot, SlotSet};
use popmap_io::{Driver, DriverConfig, Running, Storage, UdpConfig, UdpDevice, address};
use popmap_tests::netns;

use super::*;

const SHAPE: Shape = Shape { schema: 1, value_len: 8 };
const KEYS: usize = 50;

struct Server {
    running: Running,
    reader: Reader<'static>,
}

impl Server {
    fn spawn(slot: usize, slots: usize, seed: Address, device: impl Device + Send + 'static) -> Self {
        let mut node = Config::new(7, Slot::at(slot), Life::NONE, 1_000, SHAPE);
        node.configured = SlotSet::first(slots);
        let config = DriverConfig { seeds: vec![seed], ..DriverConfig::new(node) };
        let storage = Storage::new(Node::<8>::words(&node)).leak();
        let driver = Driver::<_, 8>::start(&config, storage, device).unwrap();
        let reader = driver.reader();
        Self { running: driver.spawn(drop).unwrap(), reader }
    }

    fn live(&self) -> SlotSet {
        self.running.handle().snapshot().owners.live()
    }

    fn write(&self, from: usize) {
        for n in from..from + KEYS {
            self.running.handle().put(key(n), &n.to_le_bytes()).unwrap();
        }
    }

    /// Whether all writes up to this are seen.
    fn sees(&self, to: usize) -> bool {
        let mut value = [0; 8];
        (0..to).all(|n| {
            matches!(self.reader.get(key(n), &mut value), Lookup::Found(_)) && value == n.to_le_bytes()
        })
    }
}

fn key(n: usize) -> Key {
    Key::from_name(&n.to_le_bytes())
}

fn wait_for(what: &str, servers: &[Server], done: impl Fn(&Server) -> bool) {
    let start = Instant::now();
    while !servers.iter().all(&done) {
        let devices: Vec<_> =
            servers.iter().map(|server| server.running.handle().snapshot().device).collect();
        assert!(start.elapsed() < LONG, "{what}: not within {LONG:?}: {devices:?}");
        assert!(servers.iter().all(|server| !server.running.is_finished()), "a device has failed");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All find all, each writes, and all see everything.
fn converge(servers: &[Server]) {
    let all = SlotSet::first(servers.len());
    wait_for("all know all", servers, |server| server.live() == all);
    wait_for("all may write", servers, |server| {
        matches!(server.running.handle().snapshot().phase, Phase::Active { .. })
    });
    for (slot, server) in servers.iter().enumerate() {
        server.write(slot * KEYS);
    }
    wait_for("all see all writes", servers, |server| server.sees(servers.len() * KEYS));
}

#[test]
fn nodes_find_each_other_by_broadcast() {
    netns::inside(|| {
        let ends = netns::bridge("switch", 3);
        for config in MODES {
            for (framing, seed) in [
                (bare as fn(u8) -> EncapConfig, address::BROADCAST),
                (v4, address::from_socket("255.255.255.255:7946".parse().unwrap())),
                (v6, address::from_socket("[ff02::1]:7946".parse().unwrap())),
            ] {
                let spawn = |(slot, end): (usize, &String)| {
                    let device = PacketDevice::bind(end, &framing(slot as u8 + 1), &config).unwrap();
                    Server::spawn(slot, 3, seed, device)
                };
                converge(&ends.iter().enumerate().map(spawn).collect::<Vec<_>>());
            }
        }
    });
}

fn bare(_: u8) -> EncapConfig {
    super::bare()
}

fn v4(host: u8) -> EncapConfig {
    udp(&format!("10.0.0.{host}:7946"))
}

fn v6(host: u8) -> EncapConfig {
    udp(&format!("[fd00::{host}]:7946"))
}

#[test]
fn a_pop_mixes_packet_devices_and_sockets() {
    netns::inside(|| {
        let ends = netns::bridge("switch", 2);
        netns::ip("addr add 10.0.0.9/24 dev switch");
        let socket = "10.0.0.9:7946".parse().unwrap();
        let mut servers = vec![Server::spawn(
            0,
            3,
            address::from_socket(socket),
            UdpDevice::bind(socket, &UdpConfig::DEFAULT.insecure(true)).unwrap(),
        )];
        for (slot, end) in (1..).zip(&ends) {
            let device = bind(end, &v4(slot as u8));
            servers.push(Server::spawn(slot, 3, address::from_socket(socket), device));
        }
        converge(&servers);
        // Pushes come from the kernel in series, as one frame each.
        for round in 0..10 {
            servers[0].write(150 + round * KEYS);
        }
        wait_for("the socket's writes are seen", &servers, |server| server.sees(150 + 10 * KEYS));
    });
}

/// The node outlives its interface: the others give it up, each side goes on writing, and all is well again.
fn outlives(hurt: fn(), heal: fn()) {
    let ends = netns::bridge("switch", 3);
    let spawn =
        |(slot, end): (usize, &String)| Server::spawn(slot, 3, address::BROADCAST, bind(end, &super::bare()));
    let servers: Vec<_> = ends.iter().enumerate().map(spawn).collect();
    converge(&servers);
    hurt();
    let others: SlotSet = [1, 2].map(Slot::at).into_iter().collect();
    wait_for("the others give it up", &servers[1..], |server| server.live() == others);
    wait_for("it is alone", &servers[..1], |server| server.live() == SlotSet::first(1));
    servers[0].write(150);
    servers[1].write(200);
    wait_for("the others go on", &servers[1..], |server| {
        server.reader.get(key(249), &mut [0; 8]) != Lookup::Absent
    });
    assert!(!servers[1].sees(151) && !servers[0].sees(250));
    let before = servers[0].running.handle().snapshot().device;
    assert_eq!((before.link_losses - before.link_returns, before.lost() > 0), (1, true));
    heal();
    wait_for("all know all again", &servers, |server| server.live() == SlotSet::first(3));
    wait_for("all see all writes", &servers, |server| server.sees(250));
    let after = servers[0].running.handle().snapshot().device;
    assert_eq!((after.link_losses, after.link_returns), (before.link_losses, before.link_losses));
}

#[test]
fn a_node_outlives_an_interface_that_is_switched_off_and_on() {
    netns::inside(|| {
        outlives(|| drop(netns::ip("link set switch-0 down")), || drop(netns::ip("link set switch-0 up")));
    });
}

#[test]
fn a_node_outlives_an_interface_that_is_deleted_and_made_anew() {
    netns::inside(|| {
        outlives(
            || drop(netns::ip("link del switch-0")),
            || {
                netns::veth("switch-0", "switch-p0");
                netns::ip("link set switch-p0 master switch");
            },
        );
    });
}
