//! Drivers on threads of their own, over AF_XDP and beside a kernel's UDP.

use std::net::SocketAddr;

use popmap_core::{Config, Key, Life, Lookup, Node, Phase, Reader, Shape, Slot, SlotSet};
use popmap_io::{Driver, DriverConfig, Running, Storage, UdpConfig, UdpDevice, address};

use super::*;

const SHAPE: Shape = Shape { schema: 1, value_len: 8 };
const KEYS: usize = 500;

struct Server {
    running: Running,
    reader: Reader<'static>,
}

fn spawn<D: Device + Send + 'static>(slot: usize, servers: usize, seeds: &[Address], device: D) -> Server {
    let mut node = Config::new(7, Slot::at(slot), Life::NONE, 10_000, SHAPE);
    node.configured = SlotSet::first(servers);
    let config = DriverConfig { seeds: seeds.to_vec(), ..DriverConfig::new(node) };
    let storage = Storage::new(Node::<8>::words(&node)).leak();
    let driver = Driver::<D, 8>::start(&config, storage, device).unwrap();
    Server { reader: driver.reader(), running: driver.spawn(|_| ()).unwrap() }
}

fn key(n: usize) -> Key {
    Key::from_name(&n.to_le_bytes())
}

/// All know all; each writes, all see everything.
fn converge(servers: &[Server], round: u64) {
    let all = SlotSet::first(servers.len());
    wait_for("all know all", || {
        servers.iter().all(|server| server.running.handle().snapshot().owners.live() == all)
    });
    let is_active =
        |server: &Server| matches!(server.running.handle().snapshot().phase, Phase::Active { .. });
    wait_for("all may write", || servers.iter().all(is_active));
    for (slot, server) in servers.iter().enumerate() {
        for n in 0..KEYS {
            let value = round * 1_000_000 + n as u64;
            server.running.handle().put(key(slot * KEYS + n), &value.to_le_bytes()).unwrap();
        }
    }
    let has = |server: &Server, n: usize| {
        let mut value = [0; 8];
        matches!(server.reader.get(key(n), &mut value), Lookup::Found(_))
            && u64::from_le_bytes(value) == round * 1_000_000 + (n % KEYS) as u64
    };
    wait_for("all see everything", || {
        thread::sleep(Duration::from_millis(1));
        servers.iter().all(|server| (0..servers.len() * KEYS).all(|n| has(server, n)))
    });
}

fn stop(servers: Vec<Server>) {
    for server in servers {
        server.running.stop().unwrap();
    }
}

#[test]
fn two_drivers_find_each_other_and_converge_also_after_a_cut() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 2);
            let (left, right) = (bind("left", &bare()), bind("right", &bare()));
            let seeds = [address::BROADCAST];
            let servers = vec![spawn(0, 2, &seeds, left), spawn(1, 2, &seeds, right)];
            converge(&servers, 1);
            netns::ip("link set left down");
            let live = |server: &Server| server.running.handle().snapshot().owners.live();
            wait_for("each finds the other dead", || {
                thread::sleep(Duration::from_millis(5));
                servers.iter().all(|server| live(server) != SlotSet::first(2))
            });
            netns::ip("link set left up");
            converge(&servers, 2);
            for server in &servers {
                let device = server.running.handle().snapshot().device;
                assert_eq!((device.link_losses, device.link_returns), (1, 1));
            }
            stop(servers);
        });
    });
}

/// Their interfaces are taken away and others put in their places.
#[test]
fn drivers_outlive_their_interfaces() {
    netns::inside(|| {
        allowed(|| {
            veth("left", "right", 2);
            let (left, right) = (bind("left", &bare()), bind("right", &bare()));
            let seeds = [left.local()];
            let servers = vec![spawn(0, 2, &seeds, left), spawn(1, 2, &seeds, right)];
            converge(&servers, 1);
            netns::ip("link del left");
            veth("left", "right", 1);
            converge(&servers, 2);
            stop(servers);
        });
    });
}

#[test]
fn two_over_xdp_and_one_over_the_kernel_converge() {
    netns::inside(|| {
        allowed(|| {
            let ends = netns::bridge("switch", 2);
            netns::ip("addr add 10.7.0.3/24 dev switch");
            let kernel: SocketAddr = "10.7.0.3:7946".parse().unwrap();
            let kernel = UdpDevice::bind(kernel, &UdpConfig::DEFAULT.insecure(true)).unwrap();
            let seeds = [kernel.local()];
            let mut servers = vec![spawn(2, 3, &seeds, kernel)];
            for (slot, (end, local)) in ends.iter().zip(["10.7.0.1:7946", "10.7.0.2:7946"]).enumerate() {
                servers.push(spawn(slot, 3, &seeds, bind(end, &udp(local))));
            }
            converge(&servers, 1);
            stop(servers);
        });
    });
}
