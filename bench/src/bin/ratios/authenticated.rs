//! Merging full delta packets that are authenticated, beside the same ones with a checksum.

use std::cell::RefCell;
use std::hint::black_box;
use std::num::NonZeroU8;

use popmap_bench::contest::{Contest, time};
use popmap_bench::stream::{
    CLUSTER, FOLLOWER, NOW, PER_PACKET, Packet, SHAPE, SLOTS, Stream, WRITERS_MAX, capacity,
};
use popmap_core::auth::{Aead, Aes128Gcm, AuthKey, KeyRing};
use popmap_core::wire::{self, numbered, seal_with_key};
use popmap_core::{Address, Config, Node, Slot};
use popmap_io::Storage;
use popmap_io::keys::Aegis128L;

use crate::merge::{BURST, KEYS, Round, next_round, touch};
use crate::report::Rows;
use crate::{Effort, allocations};

const ID: NonZeroU8 = NonZeroU8::MIN;

/// A node that takes packets under one key.
struct Keyed {
    node: Box<Node<'static, SLOTS>>,
    key: AuthKey,
    count: u64,
}

impl Keyed {
    /// Returns one that has taken the history; its memory is never given back.
    fn new(stream: &Stream, cipher: &'static dyn Aead, encrypts: bool) -> Self {
        let key = AuthKey::shared(ID, [0x5e; 32]).with_cipher(cipher).encrypted(encrypts);
        // All packets come at one instant of one source: its share has to be enough for them.
        let config = Config { capacity: capacity(stream.keys()), budget_bytes: u32::MAX, ..stream.config() };
        let storage = Storage::new(Node::<SLOTS>::words(&config)).leak();
        let ring = KeyRing::new([key.clone()], ID).expect("one key");
        let node = Node::with_keys(NOW, storage, &config, ring).expect("the configuration is valid");
        let mut keyed = Self { node: Box::new(node), key, count: 0 };
        let history = keyed.sealed(stream.history());
        keyed.take(&history);
        assert_eq!(keyed.node.map().len(), stream.keys());
        keyed
    }

    /// Returns these packets as their sender would have sealed them with the key.
    fn sealed(&mut self, packets: &[Packet]) -> Vec<Packet> {
        packets.iter().map(|packet| self.seal(packet)).collect()
    }

    fn seal(&mut self, packet: &Packet) -> Packet {
        let (envelope, _) = wire::parse(packet, CLUSTER, &SHAPE, SLOTS).expect("the packet is valid");
        self.count += 1;
        let number = numbered(self.count, Some(Slot::at(FOLLOWER)));
        let (key, mut packet) = (&self.key, packet.clone());
        let subkey = key.subkey(envelope.slot, envelope.life.id, None);
        seal_with_key(&mut packet, &envelope, CLUSTER, number, 0, ID.get(), |head, body| {
            if key.encrypts() {
                key.cipher().encrypt(subkey.bytes(), number, head, body)
            } else {
                key.cipher().tag(subkey.bytes(), number, head, body)
            }
        });
        packet
    }

    fn take(&mut self, packets: &[Packet]) {
        for packet in packets {
            let taken = self.node.handle_packet(NOW, Address::default(), black_box(packet));
            debug_assert!(taken.is_ok());
        }
    }

    /// Merges a round's packets and returns nanoseconds of one. Sealing is off the clock.
    fn merge(&mut self, round: &Round) -> f64 {
        if let Some(batch) = &round.before {
            for packets in [&batch.full, &batch.rest] {
                let packets = self.sealed(packets);
                self.take(&packets);
            }
        }
        let (full, rest) = (self.sealed(&round.batch.full), self.sealed(&round.batch.rest));
        touch(&full);
        let before = self.node.map().stats().records_applied;
        let ns = time(BURST, || self.take(&full));
        let applied = self.node.map().stats().records_applied - before;
        assert_eq!(applied, (BURST * PER_PACKET) as u64, "every record is newer");
        self.take(&rest);
        ns
    }
}

pub fn merges(effort: &Effort, rows: &mut Rows) {
    let named = |what: &str| format!("merge-{what}/64/warm");
    let (portable, fast, allocated) = (named("aes-128-gcm"), named("aegis-128l"), named("auth-alloc"));
    let [portable_encrypted, fast_encrypted] = [&portable, &fast].map(|name| format!("{name}/encrypted"));
    if !effort.wants(&[&portable, &fast, &portable_encrypted, &fast_encrypted, &allocated]) {
        return;
    }
    let stream = RefCell::new(Stream::new(KEYS, WRITERS_MAX));
    let mut bare = stream.borrow().node();
    let ciphers: [&'static dyn Aead; 2] = [&Aes128Gcm, &Aegis128L];
    let [mut gcm, mut aegis] = ciphers.map(|cipher| Keyed::new(&stream.borrow(), cipher, false));
    let [mut gcm_encrypted, mut aegis_encrypted] =
        ciphers.map(|cipher| Keyed::new(&stream.borrow(), cipher, true));
    let mut contest = Contest::new();
    contest.enter("CRC", |round: &mut Round| crate::merge::merge(&mut bare, round, None, false));
    contest.enter("portable", |round| gcm.merge(round));
    contest.enter("fast", |round| aegis.merge(round));
    contest.enter("portable, encrypted", |round| gcm_encrypted.merge(round));
    contest.enter("fast, encrypted", |round| aegis_encrypted.merge(round));
    let results = contest.run(effort.rounds(200), || next_round(&stream, false));
    rows.compare(&fast, &results, ["fast", "CRC"], Some(1.7));
    rows.compare(&portable, &results, ["portable", "CRC"], Some(2.5));
    rows.compare(&fast_encrypted, &results, ["fast, encrypted", "CRC"], None);
    rows.compare(&portable_encrypted, &results, ["portable, encrypted", "CRC"], None);

    let mut keyed = Keyed::new(&stream.borrow(), &Aes128Gcm, true);
    let keys = stream.borrow_mut().pick(BURST * PER_PACKET);
    let batch = stream.borrow_mut().batch(&keys);
    let packets = keyed.sealed(&batch.full);
    let before = keyed.node.map().stats().records_applied;
    rows.allocations(&allocated, allocations::count(|| keyed.take(&packets)));
    assert_eq!(keyed.node.map().stats().records_applied - before, (BURST * PER_PACKET) as u64);
}
