//! Full delta packets in store, and nodes that take them as if they came from a peer.
//!
//! Knows how packets are prepared so that each brings something new to every node that took all before it. Must not know
//! how they get there, nor what is measured.

use popmap_core::limits::PAYLOAD_DEFAULT;
use popmap_core::time::Instant;
use popmap_core::{Address, Config, Node};
use popmap_io::Storage;

use crate::pair::{Pair, RECORDS, SLOTS};

/// A writer's packets.
pub struct Feed {
    pair: Pair,
    keys: usize,
    /// What brings a new node to where the next packet begins.
    history: Vec<Box<[u8]>>,
    packets: Vec<u8>,
}

impl Feed {
    /// Builds a writer with `keys` records.
    ///
    /// # Panics
    /// When `keys` is less than a packet's records.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        let mut history = Vec::new();
        let pair = Pair::overheard(keys, &mut |packet| history.push(packet.into()));
        Self { pair, keys, history, packets: Vec::new() }
    }

    /// Returns the configuration of the node that the packets are for.
    #[must_use]
    pub fn config(&self) -> Config {
        Pair::follower_config(self.keys)
    }

    /// Has a new node of this configuration take all packets so far that were not of [`prepare`](Self::prepare). No node
    /// that begins after the first of those can follow.
    ///
    /// # Panics
    /// When it rejects one.
    pub fn catch_up(&self, now: Instant, node: &mut Node<'_, SLOTS>) {
        for packet in &self.history {
            node.handle_packet(now, Address::default(), packet).expect("the packet is valid");
        }
        assert_eq!(node.map().len(), self.keys);
    }

    /// Returns a new node in memory that has caught up.
    ///
    /// # Panics
    /// As [`catch_up`](Self::catch_up).
    #[must_use]
    pub fn follower(&self, now: Instant) -> Box<Node<'static, SLOTS>> {
        let config = self.config();
        let storage = Storage::new(Node::<SLOTS>::words(&config)).leak();
        let mut node = Box::new(Node::new(now, storage, &config).expect("the configuration is valid"));
        self.catch_up(now, &mut node);
        node
    }

    /// Prepares `count` full packets, which are to be taken in this order, and forgets those before.
    ///
    /// # Panics
    /// When a replica does not do as it should.
    pub fn prepare(&mut self, count: usize) -> Prepared<'_> {
        self.prepare_of(count, RECORDS)
    }

    /// The same with packets of so many records.
    ///
    /// # Panics
    /// When they do not fit one, or a replica does not do as it should.
    pub fn prepare_of(&mut self, count: usize, records: usize) -> Prepared<'_> {
        self.packets.resize(count * PAYLOAD_DEFAULT, 0);
        let mut len = 0;
        for frame in self.packets.chunks_exact_mut(PAYLOAD_DEFAULT) {
            let this = self.pair.packet(records, frame);
            assert!(len == 0 || len == this, "as many records are equally long");
            len = this;
        }
        Prepared { packets: &self.packets, len }
    }
}

/// Packets of one length.
#[derive(Clone, Copy)]
pub struct Prepared<'f> {
    packets: &'f [u8],
    len: usize,
}

impl<'f> Prepared<'f> {
    /// Returns the number of packets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.packets.len() / PAYLOAD_DEFAULT
    }

    /// Returns the bytes of each.
    #[must_use]
    pub fn packet_len(&self) -> usize {
        self.len
    }

    /// Iterates the packets.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'f [u8]> + Clone + use<'f> {
        let len = self.len;
        self.packets.chunks_exact(PAYLOAD_DEFAULT).map(move |packet| &packet[..len])
    }

    /// Iterates parts of so many packets.
    ///
    /// # Panics
    /// When `count` is zero.
    pub fn bursts(self, count: usize) -> impl Iterator<Item = Prepared<'f>> {
        let len = self.len;
        self.packets.chunks(count * PAYLOAD_DEFAULT).map(move |packets| Prepared { packets, len })
    }
}

/// Returns the records that a node has merged so far.
#[must_use]
pub fn records(node: &Node<'_, SLOTS>) -> u64 {
    node.map().stats().records_applied
}

/// The records of a full packet.
pub const PER_PACKET: u64 = RECORDS as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_of_every_packet_is_newer_to_every_follower() {
        let mut feed = Feed::new(500);
        let now = Instant::from_millis(1);
        let mut followers = [feed.follower(now), feed.follower(now)];
        let before = followers.each_ref().map(|follower| records(follower));
        for _ in 0..3 {
            let packets = feed.prepare(5);
            assert_eq!(packets.bursts(2).map(|burst| burst.count()).collect::<Vec<_>>(), [2, 2, 1]);
            assert!(packets.packet_len() + 64 > PAYLOAD_DEFAULT);
            for follower in &mut followers {
                for packet in packets.iter() {
                    follower.handle_packet(now, Address::default(), packet).unwrap();
                }
            }
        }
        for (follower, before) in followers.iter().zip(before) {
            assert_eq!(records(follower) - before, 15 * PER_PACKET);
        }
    }
}
