//! Ways of a packet into the map: from memory, out of a frame, out of a device under a driver.
//!
//! Knows what stands between a frame and a node. Must not know how instructions are counted.
//!
//! What a way adds to the node's own work shows whether records are copied on it: then it would be more for more records.

use std::hint::black_box;

use popmap_core::Node;
use popmap_core::limits::PAYLOAD_DEFAULT;
use popmap_core::time::Instant;
use popmap_io::address::{self, Mac};
use popmap_io::encap::{Encap, EncapConfig, Offload, Stripped};
use popmap_io::{Device, Driver, DriverConfig, Loopback, LoopbackDevice, Storage};

use crate::feed::{Feed, Prepared, records};
use crate::pair::SLOTS;

/// Packets of a way that are counted together.
pub const PACKETS: usize = 64;
/// Packets of a burst.
const BURST: usize = 32;
/// Records of the maps.
const KEYS: usize = 1_000;

/// A way into the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Way {
    /// A node takes the packet from memory
    Handle,
    /// A packet device's frame is stripped, and a node takes the packet where it stands
    Strip,
    /// A driver polls a device in memory that has 32 packets
    Burst,
    /// A driver polls a device in memory that has one packet
    Poll,
    /// For scale: each record is copied once, and nothing else
    Copy,
}

impl Way {
    /// Every way, the one first that the others are compared with.
    pub const ALL: [Self; 5] = [Self::Handle, Self::Strip, Self::Burst, Self::Poll, Self::Copy];

    /// Returns the way's name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handle => "handle",
            Self::Strip => "strip",
            Self::Burst => "burst",
            Self::Poll => "poll",
            Self::Copy => "copy",
        }
    }

    /// Takes [`PACKETS`] packets of so many records this way; `count` is given the work, in parts, and must do it.
    ///
    /// # Panics
    /// When not all of the records are merged: what was counted would not be what it is called.
    pub fn run(self, per_packet: usize, count: &mut dyn FnMut(&mut dyn FnMut())) {
        let mut feed = Feed::new(KEYS);
        let merged = match self {
            Self::Handle | Self::Strip => {
                let mut node = feed.follower(Instant::ZERO);
                let before = records(&node);
                let packets = feed.prepare_of(PACKETS, per_packet);
                if self == Self::Handle {
                    handle(packets, &mut node, count);
                } else {
                    strip(packets, &mut node, count);
                }
                records(&node) - before
            }
            Self::Burst => polled(&mut feed, per_packet, BURST, count),
            Self::Poll => polled(&mut feed, per_packet, 1, count),
            Self::Copy => {
                let packets = feed.prepare_of(PACKETS, per_packet);
                count(&mut || copy(packets, per_packet));
                (PACKETS * per_packet) as u64
            }
        };
        assert_eq!(merged, (PACKETS * per_packet) as u64);
    }
}

fn handle(packets: Prepared<'_>, node: &mut Node<'_, SLOTS>, count: &mut dyn FnMut(&mut dyn FnMut())) {
    let from = address::from_mac(station(1));
    count(&mut || {
        for packet in packets.iter() {
            let _ = node.handle_packet(Instant::ZERO, from, black_box(packet));
        }
    });
}

/// What the packet socket's device does with what the kernel has written.
fn strip(packets: Prepared<'_>, node: &mut Node<'_, SLOTS>, count: &mut dyn FnMut(&mut dyn FnMut())) {
    let config = EncapConfig::ethernet().insecure(true);
    let encap = |n| Encap::new(station(n), &config).expect("the configuration is valid");
    let (mut sender, mut receiver) = (encap(1), encap(2));
    let frame = |packet: &[u8]| {
        let mut frame = vec![0; sender.frame_len()];
        frame[sender.headroom()..][..packet.len()].copy_from_slice(packet);
        let len = sender.prepend(Instant::ZERO, receiver.local(), &mut frame, packet.len());
        frame.truncate(len.expect("bare frames need no neighbour"));
        frame
    };
    let frames: Vec<_> = packets.iter().map(frame).collect();
    count(&mut || {
        for frame in &frames {
            let stripped = receiver.strip_offloaded(Instant::ZERO, black_box(frame), Offload::default());
            if let Stripped::Payload { from, bytes } = stripped {
                let _ = node.handle_packet(Instant::ZERO, from, bytes);
            }
        }
    });
}

/// Returns how many records were merged.
fn polled(feed: &mut Feed, per_packet: usize, burst: usize, count: &mut dyn FnMut(&mut dyn FnMut())) -> u64 {
    let network = Loopback::new();
    let (mut sender, device) = (network.device(), network.device());
    let (config, to) = (feed.config(), device.local());
    let storage = Storage::new(Node::<SLOTS>::words(&config)).leak();
    let driver = Driver::start(&DriverConfig::new(config), storage, device);
    let mut driver: Driver<'_, LoopbackDevice, SLOTS> = driver.expect("the configuration is valid");
    // Time stands still: what only it brings is done now, and does not fall into what is counted if the machine is busy.
    let now = driver.clock().now();
    feed.catch_up(now, driver.node_mut());
    driver.poll_at(now, drop).expect("a device in memory has no end");
    let packets = feed.prepare_of(PACKETS, per_packet);
    let before = records(driver.node());
    for burst in packets.bursts(burst) {
        let mut packets = burst.iter();
        let sent = sender.send(|frame| {
            let packet = packets.next()?;
            frame[..packet.len()].copy_from_slice(packet);
            Some((to, packet.len()))
        });
        assert_eq!(sent.expect("a device in memory has no end").frames, burst.count());
        count(&mut || {
            let _ = black_box(driver.poll_at(now, drop));
        });
    }
    records(driver.node()) - before
}

fn copy(packets: Prepared<'_>, per_packet: usize) {
    let record_len = crate::pair::SHAPE.record_len();
    let mut place = [0; PAYLOAD_DEFAULT];
    for packet in packets.iter() {
        // Which bytes those are does not matter.
        for (record, place) in
            packet.chunks_exact(record_len).zip(place.chunks_exact_mut(record_len)).take(per_packet)
        {
            place.copy_from_slice(record);
        }
        black_box(&mut place);
    }
}

fn station(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::RECORDS;

    #[test]
    fn every_way_ends_in_the_map() {
        for way in Way::ALL {
            for per_packet in [1, RECORDS] {
                let mut parts = 0;
                way.run(per_packet, &mut |work| {
                    work();
                    parts += 1;
                });
                let expected = match way {
                    Way::Poll => PACKETS,
                    Way::Burst => PACKETS / BURST,
                    _ => 1,
                };
                assert_eq!(parts, expected, "{way:?}");
            }
        }
    }
}
