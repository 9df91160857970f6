//! What the story and a server's process say to each other: a line of JSON each, orders to its stdin, reports from its
//! stdout.
//!
//! Must not know who does what about it.

use std::io::{self, Write};
use std::path::PathBuf;

use popmap_core::SlotSet;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, IntoBytes};

use crate::dataplane::Seen;
use crate::health::Health;
use crate::io::{Carrier, Wire};
use crate::measure::Times;
use crate::origins::OriginId;
use crate::pop::Held;
use crate::schedule::Checks;
use crate::secret::Secret;
use crate::server::{Status, bits};
use crate::world::Followed;

/// Who a server's process is: the first line that it is told.
#[derive(Clone, Serialize, Deserialize)]
pub struct Begin {
    pub slot: u8,
    pub servers: usize,
    pub carrier: Carrier,
    pub wire: Wire,
    pub generation: u32,
    pub life_id: u64,
    /// Packets lost, in parts per million, and what they are drawn from.
    pub loss_ppm: u32,
    pub seed: u64,
    /// Which checks are made, as an order of this number.
    pub checks: Checks,
    pub number: u64,
    /// The file of origins, or how many are made up.
    pub origins: Option<PathBuf>,
    /// Where the keys come from.
    pub secret: Secret,
    pub keys: usize,
    /// The calendar.
    pub interval_ns: u64,
    pub calendar_seed: u64,
    /// The port of the fleet.
    pub port: u16,
    /// When the clock's beginning was, on the machine's monotonic clock.
    pub epoch_ns: u64,
    /// What lookups are drawn from.
    pub lookups_seed: u64,
    /// Where to write the packets that it sends.
    pub pcap: Option<PathBuf>,
}

/// What a server's process is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Send and receive: all who start with it are ready.
    Go,
    /// Make these checks from now on, by an order of this number.
    Make(Checks, u64),
    /// Lose packets, in parts per million.
    Lose(u32),
    /// Say when the map has the write of the check of `origin` that ended at `at_ns`.
    Watch { how: Followed, origin: OriginId, at_ns: u64 },
    /// The map is filled: from now on every origin must be found.
    Filled,
    /// Tell all records.
    Tell,
    /// End.
    End,
}

/// What a server's process tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// It has a device.
    Ready,
    /// What it was like a moment ago.
    Status(Box<State>),
    /// A check of `origin` ended, and its result has to reach `others`.
    Checked {
        origin: OriginId,
        up: bool,
        at_ns: u64,
        #[serde(with = "bits")]
        others: SlotSet,
    },
    /// At `now_ns` its map had what it was told to watch for.
    Knows { how: Followed, origin: OriginId, at_ns: u64, now_ns: u64 },
    /// It holds the server in slot `of` dead.
    Dead { of: u8, at_ns: u64 },
    /// Something that should not have happened.
    Alarm(String),
    /// All records, by origin.
    Records(Vec<Option<Record>>),
    /// It cannot go on.
    Failed(String),
    /// What its life came to, and what the data plane saw, if there was one.
    Ended { state: Box<State>, merge: Counts, seen: Option<Box<SeenCounts>> },
}

/// What a server's process is like.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    pub status: Status,
    /// Checks that cannot wait, and checks under way.
    pub overdue: usize,
    pub in_flight: usize,
    /// The last order of checks that it took.
    pub number: u64,
    /// Lookups of the data plane, and the harvest that it has.
    pub lookups: u64,
    pub harvest: f64,
}

/// How often each time was measured.
pub type Counts = Vec<(u64, u64)>;

/// What the data plane saw.
#[derive(Debug, Serialize, Deserialize)]
pub struct SeenCounts {
    lookups: u64,
    busy: u64,
    torn: u64,
    missing: u64,
    times: Counts,
    span: std::time::Duration,
    idle_span: std::time::Duration,
}

/// A record: three words of value, and its stamp.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Record {
    value: [u64; size_of::<Health>() / 8],
    slot: u8,
    counter: u64,
    term: u32,
}

impl From<Held> for Record {
    fn from(held: Held) -> Self {
        let mut value = [0; size_of::<Health>() / 8];
        value.as_mut_bytes().copy_from_slice(held.health.as_bytes());
        Self { value, slot: held.slot, counter: held.counter, term: held.term }
    }
}

impl From<Record> for Held {
    fn from(record: Record) -> Self {
        let health = Health::read_from_bytes(record.value.as_bytes()).expect("as many bytes");
        Self { health, slot: record.slot, counter: record.counter, term: record.term }
    }
}

impl From<&Seen> for SeenCounts {
    fn from(seen: &Seen) -> Self {
        Self {
            lookups: seen.lookups,
            busy: seen.busy,
            torn: seen.torn,
            missing: seen.missing,
            times: seen.times.counts().collect(),
            span: seen.span,
            idle_span: seen.idle_span,
        }
    }
}

impl From<SeenCounts> for Seen {
    fn from(counts: SeenCounts) -> Self {
        Self {
            lookups: counts.lookups,
            busy: counts.busy,
            torn: counts.torn,
            missing: counts.missing,
            times: Times::from_counts(counts.times),
            span: counts.span,
            idle_span: counts.idle_span,
        }
    }
}

/// Writes a message as one line.
///
/// # Errors
/// Whoever reads is gone.
pub fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)
}

#[cfg(test)]
mod tests {
    use popmap_core::Key;
    use popmap_core::time::Instant;

    use super::*;

    #[test]
    fn records_and_orders_are_the_same_at_the_other_end() {
        let health = Health::new(Key::from_name(b"origin"), Ok(204), 1_234, Instant(5_678), 9);
        let held = Held { health, slot: 63, counter: u64::MAX, term: u32::MAX };
        let report = Report::Records(vec![None, Some(held.into())]);
        let mut line = Vec::new();
        write(&mut line, &report).unwrap();
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let Ok(Report::Records(records)) = serde_json::from_slice(&line) else { panic!("another report") };
        assert_eq!(
            records.into_iter().map(|held| held.map(Held::from)).collect::<Vec<_>>(),
            [None, Some(held)]
        );
        let order = Order::Watch { how: Followed::Failure, origin: 7, at_ns: u64::MAX };
        let mut line = Vec::new();
        write(&mut line, &order).unwrap();
        assert!(matches!(
            serde_json::from_slice(&line),
            Ok(Order::Watch { how: Followed::Failure, origin: 7, at_ns: u64::MAX })
        ));
    }
}
