//! Carries single packets between bare maps: seals what one wrote, checks it, and hands it to one handler of another.
//!
//! Knows the order parse, admit, handle. Must not know when anything is to be sent: no timers, no sync.

use popmap_core::map::{DeltaOutcome, Request};
use popmap_core::wire::{Body, Envelope, Kind, parse, seal};
use popmap_core::{Life, Map, MapConfig, Reject, Shape, Slot, SlotSet, time::Instant};

/// The cluster of all bare maps.
pub const CLUSTER: u64 = 0x706f_706d_6170;

/// Returns the configuration of the replica in `slot` of the first `slots`, which may write as soon as time is told.
pub fn config(slot: usize, slots: usize, capacity: usize, shape: Shape) -> MapConfig {
    MapConfig {
        slot: Slot::at(slot),
        configured: SlotSet::first(slots),
        life: Life { generation: 1, id: 0xa11fe + slot as u64 },
        capacity,
        shape,
        start_deadline: Instant::ZERO,
    }
}

/// Returns zeroed storage for a map.
pub fn storage<const N: usize>(capacity: usize, shape: &Shape) -> Vec<u64> {
    vec![0; Map::<N>::words(capacity, shape)]
}

/// Builds the replica that `config` describes and tells it the time zero.
///
/// # Panics
/// When the configuration or the storage is refused.
pub fn started<'a, const N: usize>(storage: &'a mut [u64], config: &MapConfig) -> Map<'a, N> {
    let mut map = Map::new(storage, config).expect("a valid configuration");
    #[cfg(popmap_teeth)]
    if let Some(tooth) = crate::teeth::broken() {
        map.break_rule(tooth);
    }
    map.advance(Instant::ZERO);
    map
}

/// Seals what a `write_*` put into `frame`; returns the packet, or `None` when it wrote none.
pub fn sealed(frame: &mut [u8], written: Option<(Envelope, usize)>) -> Option<&[u8]> {
    let (envelope, len) = written?;
    seal(&mut frame[..len], &envelope, CLUSTER, 1);
    Some(&frame[..len])
}

/// What a packet did to the map that it was handed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// The packet's kind.
    pub kind: Kind,
    /// What it brought, if it was a delta.
    pub delta: Option<DeltaOutcome>,
}

/// Hands `packet` to `map`, as a node would.
///
/// # Errors
/// Why it was rejected.
pub fn deliver<const N: usize>(map: &mut Map<'_, N>, packet: &[u8]) -> Result<Delivered, Reject> {
    let shape = *map.shape();
    let (envelope, body) = parse(packet, CLUSTER, &shape, N)?;
    map.admit(&envelope)?;
    let delta = handle(map, &envelope, &body)?;
    Ok(Delivered { kind: envelope.kind, delta })
}

/// Gives a checked and admitted packet to its one handler, as a node does. Returns what it brought, if it was a delta.
///
/// # Errors
/// Why the handler rejected it.
///
/// # Panics
/// When it is gossip: that never reaches a map.
pub fn handle<const N: usize>(
    map: &mut Map<'_, N>,
    envelope: &Envelope,
    body: &Body<'_>,
) -> Result<Option<DeltaOutcome>, Reject> {
    let from = envelope.slot;
    match body {
        Body::Gossip => unreachable!("of no meaning to a map"),
        Body::Ping(probe) | Body::PingReq(probe) | Body::Ack(probe) => {
            map.on_version_hash(from, probe.version);
        }
        Body::Version(packet) => {
            map.on_version(from, packet);
        }
        Body::Delta(packet) => return map.on_delta(envelope, packet).map(Some),
        Body::Push(packet) => {
            map.on_push(from, packet)?;
        }
        Body::Digest(packet) => map.on_digest(from, packet)?,
        Body::Repair(packet) => map.on_repair(from, packet)?,
        Body::Report(packet) => map.on_report(from, packet)?,
        Body::HistoryAsk(packet) => map.on_history_ask(from, packet),
        Body::HistoryAnswer(packet) => {
            map.on_history_answer(from, packet)?;
        }
        Body::LifeNotice(packet) => map.on_life_notice(*packet),
    }
    Ok(None)
}

/// Lets `to` ask `from` once, with a window of `window` packets, and take every answer. Returns what the last one did.
///
/// # Panics
/// When a packet is rejected, or `from` does not answer.
pub fn pull<const N: usize>(
    from: &mut Map<'_, N>,
    to: &mut Map<'_, N>,
    window: u16,
    frame: &mut [u8],
) -> DeltaOutcome {
    let request = Request { force: true, window, ..Request::default() };
    let written = to.write_version(from.slot(), &request, frame);
    deliver(from, sealed(frame, written).expect("a version fits")).expect("taken");
    let mut last = None;
    while from.owes_delta().contains(to.slot()) {
        let written = from.write_delta(to.slot(), frame);
        let packet = sealed(frame, written).expect("an answer is due");
        match deliver(to, packet) {
            Ok(delivered) => last = delivered.delta,
            // Computed before we had told our life.
            Err(why) => assert_eq!(why, Reject::NoLife),
        }
    }
    last.expect("an answer")
}

/// Lets `to` ask `from` until it has committed everything.
///
/// # Panics
/// When it does not come to an end, or a record is refused for want of room.
pub fn pull_all<const N: usize>(from: &mut Map<'_, N>, to: &mut Map<'_, N>, frame: &mut [u8]) {
    for _ in 0..100_000 {
        let outcome = pull(from, to, 64, frame);
        assert!(!outcome.refused);
        if outcome.committed {
            return;
        }
    }
    panic!("a pull that does not end");
}
