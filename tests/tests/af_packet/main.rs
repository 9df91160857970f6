//! The packet device on real interfaces, each test in a network namespace of its own. Conditions are waited for, times
//! never asserted.

#![cfg(target_os = "linux")]

mod drivers;
mod exchange;
mod link;
mod refusals;
mod ring;

use std::time::{Duration, Instant};

use popmap_core::Address;
use popmap_io::Device;
use popmap_io::af_packet::{PacketConfig, PacketDevice};
use popmap_io::encap::EncapConfig;

/// Far longer than anything takes, also on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const MODES: [PacketConfig; 2] = [PacketConfig::DEFAULT, PacketConfig::BULK];

fn bare() -> EncapConfig {
    EncapConfig::ethernet().insecure(true)
}

/// UDP at an address that no kernel has, like `10.0.0.2:7946` or `[fd00::2]:7946`.
fn udp(local: &str) -> EncapConfig {
    let local: std::net::SocketAddr = local.parse().unwrap();
    EncapConfig::udp(local, if local.is_ipv4() { 24 } else { 64 }).insecure(true)
}

fn bind(interface: &str, encap: &EncapConfig) -> PacketDevice {
    PacketDevice::bind(interface, encap, &PacketConfig::DEFAULT).unwrap()
}

/// Packets of all kinds of lengths, each unlike the others.
fn packets(count: usize) -> Vec<Vec<u8>> {
    let lengths = [1_400, 1_400, 1_400, 700, 1_400, 1, 1_200, 46, 1_200].into_iter().cycle().take(count);
    lengths.enumerate().map(|(i, len)| vec![i as u8; len]).collect()
}

/// Sends all packets, in as many bursts as it takes.
fn send(device: &mut impl Device, to: Address, packets: &[Vec<u8>]) {
    let (mut left, start) = (packets.iter(), Instant::now());
    loop {
        let burst = device.send(|frame| {
            let packet = left.next()?;
            frame[..packet.len()].copy_from_slice(packet);
            Some((to, packet.len()))
        });
        match burst.unwrap() {
            burst if burst.blocked => device.wait(Some(Duration::from_millis(1))).unwrap(),
            burst if !burst.more => return,
            _ => {}
        }
        assert!(start.elapsed() < LONG);
    }
}

/// Takes what comes until it is so many packets.
fn receive(device: &mut impl Device, count: usize) -> Vec<(Address, Vec<u8>)> {
    let (mut packets, start) = (Vec::new(), Instant::now());
    while packets.len() < count && start.elapsed() < LONG {
        if device.receive(|from, packet| packets.push((from, packet.to_vec()))).unwrap().frames == 0 {
            device.wait(Some(Duration::from_millis(100))).unwrap();
        }
    }
    packets
}

/// Keeps devices going until something is so, which is told the packets that came to any of them so far.
fn until(
    what: &str,
    devices: &mut [&mut PacketDevice],
    mut done: impl FnMut(&mut [&mut PacketDevice], &[Vec<u8>]) -> bool,
) {
    let (mut packets, start) = (Vec::new(), Instant::now());
    while !done(devices, &packets) {
        assert!(start.elapsed() < LONG, "{what}: not within {LONG:?}; {} came: {devices:?}", packets.len());
        for device in &mut *devices {
            let _ = device.receive(|_, packet| packets.push(packet.to_vec())).unwrap();
            let _ = device.send(|_| None).unwrap();
            device.wait(Some(Duration::from_millis(1))).unwrap();
        }
    }
}

/// Sends a packet again and again until it is received: past what is lost while neighbours are found.
fn get_through(left: &mut PacketDevice, right: &mut PacketDevice) {
    let to = right.local();
    until("a packet gets through", &mut [left, right], |devices, packets| {
        let [left, right] = devices else { unreachable!() };
        send(&mut **left, to, &[b"hello".to_vec()]);
        right.wait(Some(Duration::from_millis(20))).unwrap();
        packets.iter().any(|packet| packet == b"hello")
    });
    // And those before it.
    let mut quiet = false;
    while !quiet {
        quiet = right.receive(|_, _| ()).unwrap().frames == 0;
        right.wait(Some(Duration::from_millis(20))).unwrap();
    }
}
