//! The AF_XDP device on real interfaces, each test in a network namespace of its own. Conditions are waited for, times
//! never asserted.
//!
//! Real root: in a user namespace bpf(2) is refused, and the tests say so.

#![cfg(target_os = "linux")]

mod drivers;
mod exchange;
mod frames;
mod kernel;
mod leftovers;
mod link;
mod refusals;

use std::env;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use popmap_core::Address;
use popmap_io::Device;
use popmap_io::af_packet::{PacketConfig, PacketDevice};
use popmap_io::af_xdp::{XdpConfig, XdpDevice, XdpError, XdpMode};
use popmap_io::encap::{Checksums, EncapConfig, Framing};
use popmap_tests::netns;

/// Far longer than anything takes, also on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// Those that a veth has.
const MODES: [XdpMode; 2] = [XdpMode::Generic, XdpMode::DriverCopy];

fn bare() -> EncapConfig {
    EncapConfig::ethernet().insecure(true)
}

/// UDP at an address that no kernel has, on a virtual wire, where the other end's kernel leaves checksums to hardware
/// that is not there.
fn udp(local: &str) -> EncapConfig {
    let local: std::net::SocketAddr = local.parse().unwrap();
    let mut encap = EncapConfig::udp(local, if local.is_ipv4() { 24 } else { 64 }).insecure(true);
    if let Framing::Udp(udp) = &mut encap.framing {
        udp.checksums = Checksums::Trust;
    }
    encap
}

fn bind(interface: &str, encap: &EncapConfig) -> XdpDevice {
    XdpDevice::bind(interface, encap, &XdpConfig::DEFAULT).unwrap()
}

fn bind_in(mode: XdpMode, interface: &str, encap: &EncapConfig) -> XdpDevice {
    let config = XdpConfig { mode: Some(mode), ..XdpConfig::DEFAULT };
    let device = XdpDevice::bind(interface, encap, &config).unwrap();
    assert_eq!(device.mode(), Some(mode));
    device
}

/// A packet socket at an interface, to put any frame onto the wire.
fn packet_device(interface: &str) -> PacketDevice {
    PacketDevice::bind(interface, &EncapConfig { payload: 1_494, ..bare() }, &PacketConfig::DEFAULT).unwrap()
}

/// Runs a test where AF_XDP is allowed.
fn allowed(test: impl FnOnce()) {
    netns::ip("link add name probe type veth peer name eborp");
    let probed = XdpDevice::bind("probe", &bare(), &XdpConfig::DEFAULT).map(drop);
    netns::ip("link del probe");
    match probed {
        Ok(()) => test(),
        Err(error @ (XdpError::Permission { .. } | XdpError::Unsupported { .. })) => {
            netns::skip(thread::current().name().unwrap_or("AF_XDP"), &error.to_string());
        }
        Err(error) => panic!("{error}"),
    }
}

/// Makes a wire whose ends have this many queues, and waits until both have a carrier.
fn veth(left: &str, right: &str, queues: usize) {
    let queues = format!("numrxqueues {queues} numtxqueues {queues}");
    netns::ip(&format!("link add name {left} {queues} type veth peer name {right} {queues}"));
    for end in [left, right] {
        netns::ip(&format!("link set dev {end} up"));
    }
    for end in [left, right] {
        wait_for("a carrier", || netns::ip(&format!("-oneline link show dev {end}")).contains(" state UP "));
    }
}

/// Has `ethtool` change what an interface leaves to hardware; returns whether there is an ethtool.
fn ethtool(words: &str) -> bool {
    let Ok(output) = Command::new("ethtool").args(words.split_whitespace()).output() else {
        println!("without ethtool, not tested: {words}");
        return false;
    };
    assert!(output.status.success(), "ethtool {words}: {}", String::from_utf8_lossy(&output.stderr));
    true
}

/// Starts this test once more in another process, which is to play a part; `prefix` is a command that starts it.
fn play(role: &str, prefix: &[&str]) -> Child {
    let exe = env::current_exe().unwrap();
    let test = env::var("POPMAP_NETNS_TEST").expect("a test inside a namespace");
    let words: Vec<_> = prefix.iter().map(AsRef::as_ref).chain([exe.as_os_str()]).collect();
    Command::new(words[0])
        .args(&words[1..])
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env("POPMAP_AF_XDP_ROLE", role)
        // Closed with us, which ends it.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Whether this process plays this part.
fn plays(role: &str) -> bool {
    env::var("POPMAP_AF_XDP_ROLE").is_ok_and(|played| played == role)
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "{what}: not within {LONG:?}");
    }
}

/// Sends one packet; returns whether it, or another before it, has to wait.
fn send(device: &mut impl Device, to: Address, packet: &[u8]) -> bool {
    let mut packets = [packet].into_iter();
    let burst = device.send(|frame| {
        let packet = packets.next()?;
        frame[..packet.len()].copy_from_slice(packet);
        Some((to, packet.len()))
    });
    burst.unwrap().blocked
}

/// Takes what has come.
fn take(device: &mut impl Device) -> Vec<(Address, Vec<u8>)> {
    let mut packets = Vec::new();
    while device.receive(|from, packet| packets.push((from, packet.to_vec()))).unwrap().more {}
    packets
}

/// Takes the next packets, as many as said, and waits for them.
fn take_some(device: &mut impl Device, count: usize) -> Vec<(Address, Vec<u8>)> {
    let mut packets = Vec::new();
    wait_for("packets arrive", || {
        packets.extend(take(device));
        packets.len() >= count || {
            device.wait(Some(Duration::from_millis(10))).unwrap();
            false
        }
    });
    assert_eq!(packets.len(), count);
    packets
}

/// Has the two find each other: what is sent to a neighbour that is not known yet is lost.
fn meet(left: &mut impl Device, right: &mut impl Device) {
    let (to, from) = (right.local(), left.local());
    wait_for("they meet", || {
        send(left, to, b"hello");
        let forth = take(right);
        if !forth.is_empty() {
            send(right, from, b"hello");
        }
        let back = take(left);
        thread::sleep(Duration::from_millis(1));
        !forth.is_empty() && !back.is_empty()
    });
    // And those behind.
    thread::sleep(Duration::from_millis(20));
    let _ = (take(left), take(right));
}

/// Packets of many lengths arrive in both directions, once, whole and in order.
fn exchange(left: &mut impl Device, right: &mut impl Device) {
    let lengths = [1, 17, 18, 45, 46, 47, 60, 200, 1_023, 1_399, 1_400];
    let packets: Vec<Vec<u8>> =
        lengths.iter().map(|&len| (0..len).map(|n| (n * 7 + len) as u8).collect()).collect();
    for packet in &packets {
        assert!(!send(left, right.local(), packet) && !send(right, left.local(), packet));
    }
    let (forth, back) = (take_some(right, packets.len()), take_some(left, packets.len()));
    for (came, from) in [(forth, left.local()), (back, right.local())] {
        for ((source, received), sent) in came.iter().zip(&packets) {
            assert_eq!((*source, received), (from, sent));
        }
    }
}
