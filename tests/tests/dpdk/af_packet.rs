//! Interfaces of the kernel (net_af_packet on a veth pair): with another process, with a UDP socket, and without the
//! interface for a while.

use std::env;
use std::net::SocketAddr;

use popmap_io::address::from_mac;
use popmap_io::dpdk::{DpdkConfig, DpdkDevice};
use popmap_io::encap::{Checksums, EncapConfig, Framing, UdpFraming};
use popmap_io::{Device, UdpConfig, UdpDevice};
use popmap_tests::netns::{self, ip};

use super::peer::{Killed, is_for};
use super::pop::{Server, config, converge_with, driver_config, eal, mac, serve, wait_for};

const PEER: &str = "af_packet::peer";
/// What the other adds to its values.
const ROUND: &str = "POPMAP_DPDK_ROUND";

/// Joins the interfaces `left` and `right`.
fn veth() {
    // Without multicast noise of the kernel's own.
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    netns::veth("left", "right");
}

fn open(side: &str, config: &DpdkConfig) -> DpdkDevice {
    // The interface keeps its MAC address, which the device has as its own.
    DpdkDevice::open(&eal(64), &format!("net_af_packet0,iface={side}"), config).unwrap()
}

/// The other process; as a test of its own it does nothing.
#[test]
fn peer() {
    if is_for(PEER) {
        let device = open("right", &config(EncapConfig::ethernet(), 2));
        serve(1, from_mac(mac(1)), device, env::var(ROUND).unwrap().parse().unwrap());
    }
}

#[test]
fn two_processes_converge_and_survive_the_loss_of_the_interface() {
    netns::inside(|| {
        veth();
        let device = open("left", &config(EncapConfig::ethernet(), 1));
        assert_eq!(device.port().unwrap().driver(), "net_af_packet");
        let server = Server::spawn(&driver_config(0, 2, &[]), device);
        let stats = || server.running.handle().snapshot().device;
        let peer = Killed::spawn(PEER, &[(ROUND, "1000")]);
        converge_with(&server, 1, 1_000);

        // The other end goes with it, under the other process.
        ip("link delete left");
        wait_for("the loss is noticed", || stats().link_losses == 1);
        server.write(5);
        veth();
        wait_for("the return is noticed", || stats().link_returns == 1);
        drop(peer);
        let _peer = Killed::spawn(PEER, &[(ROUND, "2000")]);
        converge_with(&server, 1, 2_000);
        server.running.stop().unwrap();
    });
}

#[test]
fn a_socket_of_the_kernel_is_a_peer() {
    netns::inside(|| {
        veth();
        ip("address add 10.0.0.2/24 dev right");
        // It would send several packets in one frame, longer than any that AF_PACKET has room for.
        ip("link set right gso_max_segs 1");
        let at = |host: u8| SocketAddr::from(([10, 0, 0, host], 7_946));
        // The kernel leaves checksums to hardware that a veth has not, and DPDK's driver does not say so.
        let framing = UdpFraming { checksums: Checksums::Trust, ..UdpFraming::new(at(1), 24) };
        let device = open("left", &config(EncapConfig::new(Framing::Udp(framing)), 1));
        let socket = UdpDevice::bind(at(2), &UdpConfig::DEFAULT.insecure(true)).unwrap();
        let seed = device.local();
        let left = Server::spawn(&driver_config(0, 2, &[]), device);
        let right = Server::spawn(&driver_config(1, 2, &[seed]), socket);
        super::pop::converge(&[left, right]);
    });
}
