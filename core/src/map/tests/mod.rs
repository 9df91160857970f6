//! Replicas that exchange single packets.
//!
//! Knows how a packet gets from one to the other. What each of the tests is about, its file knows.

mod exchange;
mod forget;
mod hash;
mod history;
mod lives;
mod push;
mod repair;
mod state;
mod sweep;
mod write;

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::id::Key;
use crate::wire::{Body, DeltaFixed, VersionFixed, parse, seal};

const CLUSTER: u64 = 9;
const SHAPE: Shape = Shape { schema: 1, value_len: 8 };
const HEADER: usize = crate::wire::HEADER;

type Replica = Map<'static, 4>;

/// The configuration of a replica in a PoP of three that may write as soon as time is told.
fn config(slot: Slot, life: Life, capacity: usize) -> MapConfig {
    MapConfig {
        slot,
        configured: SlotSet::first(3),
        life,
        capacity,
        shape: SHAPE,
        start_deadline: Instant::ZERO,
    }
}

/// Builds a replica that has not been told the time.
fn unstarted(config: &MapConfig) -> Box<Replica> {
    let words = vec![0; Replica::words(config.capacity, &config.shape)].leak();
    Box::new(Replica::new(words, config).unwrap())
}

/// Builds a replica and tells it the time zero.
fn built(config: &MapConfig) -> Box<Replica> {
    let mut map = unstarted(config);
    map.advance(Instant::ZERO);
    map
}

/// A replica that writes.
fn replica(slot: usize, capacity: usize) -> Box<Replica> {
    let life = Life { generation: 1, id: 100 + slot as u64 };
    let map = built(&config(Slot::at(slot), life, capacity));
    assert_eq!(map.phase(), Phase::Active { expired: true });
    map
}

/// A replica that starts, as long as it has not met everybody.
fn starting(slot: Slot, life: Life) -> Box<Replica> {
    let map = built(&MapConfig { start_deadline: Instant::NEVER, ..config(slot, life, 100) });
    assert_eq!(map.phase(), Phase::Starting);
    map
}

fn events(map: &mut Replica) -> Vec<Event> {
    core::iter::from_fn(|| map.poll_event()).collect()
}

fn key(n: u64) -> Key {
    Key::from_words([n, n])
}

fn put_all(map: &mut Replica, keys: impl Iterator<Item = u64>) {
    for n in keys {
        map.put(key(n), &n.to_le_bytes()).unwrap();
    }
}

/// Writes a packet; `None` if it was not written.
fn written(write: impl FnOnce(&mut [u8]) -> Option<(Envelope, usize)>) -> Option<Vec<u8>> {
    let mut frame = vec![0; 1_400];
    let (envelope, len) = write(&mut frame)?;
    frame.truncate(len);
    seal(&mut frame, &envelope, CLUSTER, 1);
    Some(frame)
}

/// Checks that `write` needs just so many bytes for what it writes.
fn fits_exactly(len: usize, write: impl Fn(&mut [u8]) -> Option<(Envelope, usize)>) {
    assert_eq!(write(&mut vec![0; len]).map(|(_, len)| len), Some(len));
    assert!((0..len).all(|less| write(&mut vec![0; less]).is_none()), "less than {len} bytes are enough");
}

/// Takes a packet in, as a node does.
fn deliver(to: &mut Replica, packet: &[u8]) -> Option<DeltaOutcome> {
    let (envelope, body) = parse(packet, CLUSTER, &SHAPE, 4).unwrap();
    to.admit(&envelope).unwrap();
    let from = envelope.slot;
    match body {
        Body::Version(packet) => {
            to.on_version(from, &packet);
        }
        Body::Delta(packet) => return Some(to.on_delta(&envelope, &packet).unwrap()),
        _ => unreachable!("not sent here"),
    }
    None
}

/// Tells `to` the version of `from`, and with it its life.
fn tell(from: &Replica, to: &mut Replica) {
    let request = Request::default();
    deliver(to, &written(|frame| from.write_version(to.slot(), &request, frame)).unwrap());
}

/// Asks `from` for what `to` lacks, in a window of so many packets.
fn ask(from: &mut Replica, to: &Replica, window: u16) {
    let request = Request { force: true, window, ..Request::default() };
    deliver(from, &written(|frame| to.write_version(from.slot(), &request, frame)).unwrap());
}

/// Brings both together until each knows the other's life, and `to` everything.
fn pull(from: &mut Replica, to: &mut Replica) {
    tell(from, to);
    loop {
        ask(from, to, 64);
        while let Some(packet) = written(|frame| from.write_delta(to.slot(), frame)) {
            if deliver(to, &packet).unwrap().committed {
                return;
            }
        }
    }
}

/// What the first packet of an answer says.
#[derive(PartialEq, Eq, Debug)]
struct Start {
    from: u64,
    flags: u32,
}

/// Returns where the walk starts that `to` is sent when it asks, and forgets it.
fn start(from: &mut Replica, to: &Replica) -> Start {
    ask(from, to, 1);
    let packet = written(|frame| from.write_delta(to.slot(), frame)).unwrap();
    let (_, Body::Delta(delta)) = parse(&packet, CLUSTER, &SHAPE, 4).unwrap() else { unreachable!() };
    let flags = delta.fixed.flags.get() & (DeltaFixed::FROM_BASE | DeltaFixed::FROM_SCAN);
    Start { from: delta.fixed.from.get(), flags }
}
