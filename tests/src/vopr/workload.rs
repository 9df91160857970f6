//! What is written, by whom and when.
//!
//! Knows keys, values and chance. Must not know nodes: it asks who owns a key, and is told what became of a write.

use popmap_core::Key;
use popmap_core::rng::Rng;
use popmap_core::time::{Duration, Instant};

use super::plan::{Plan, Workload};

/// Returns the keys of a run: the number of each in its first four bytes, the rest drawn from the seed.
pub fn keys(plan: &Plan) -> Vec<Key> {
    let mut rng = Rng::new(plan.seed ^ 0x6b65);
    let name = |number: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        bytes[4..12].copy_from_slice(&rng.next_u64().to_le_bytes());
        bytes[12..].copy_from_slice(&(rng.next_u64() as u32).to_le_bytes());
        Key(bytes)
    };
    (0..plan.workload.keys).map(name).collect()
}

/// One write to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    /// The key's number.
    pub key: u32,
    /// Whether it is to be deleted.
    pub delete: bool,
}

/// Who is to make some writes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writer {
    /// This server.
    Server(usize),
    /// The owner of the key, as this server sees it.
    OwnerBy(usize),
}

/// The schedule of writes.
pub struct Writes {
    rng: Rng,
    workload: Workload,
    servers: usize,
    begin: Instant,
    end: Instant,
    next: Instant,
    /// Between bursts, on average.
    every: Duration,
    /// Writes made.
    pub done: u64,
    /// Writes refused.
    pub refused: u64,
    /// Values given so far: each is another.
    values: u64,
}

impl Writes {
    /// Spreads the plan's writes from `begin` to `end`.
    pub fn new(plan: &Plan, begin: Instant, end: Instant) -> Self {
        let workload = plan.workload;
        let bursts = (workload.writes * 2).div_ceil(workload.burst + 1).max(1);
        let every = Duration((end.since(begin).0 / bursts).max(1));
        Self {
            rng: Rng::new(plan.seed ^ 0x0077_7269),
            workload,
            servers: plan.servers,
            begin,
            end,
            next: begin,
            every,
            done: 0,
            refused: 0,
            values: 0,
        }
    }

    /// Returns when something is to be written next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Returns how many writes are to be made at `now`, and moves the schedule on. What was refused before is made up for.
    pub fn due(&mut self, now: Instant) -> u64 {
        if now < self.next {
            return 0;
        }
        self.next = now + Duration(self.rng.below(2 * self.every.0));
        if self.next > self.end {
            self.next = Instant::NEVER;
        }
        let (passed, all) = (now.since(self.begin), self.end.since(self.begin));
        let share = u128::from(self.workload.writes) * u128::from(passed.0) / u128::from(all.0.max(1));
        let behind = (share as u64).saturating_sub(self.done);
        (1 + self.rng.below(self.workload.burst)).max(behind.min(4 * self.workload.burst))
    }

    /// Whether one server is to write every key now.
    pub fn is_bulk(&mut self) -> bool {
        self.workload.bulk && self.rng.below(200) == 0
    }

    /// Returns who makes the next burst.
    pub fn writer(&mut self) -> Writer {
        let server = self.rng.below(self.servers as u64) as usize;
        if self.rng.below(100) < self.workload.owners_percent {
            Writer::OwnerBy(server)
        } else {
            Writer::Server(server)
        }
    }

    /// Returns the next write.
    pub fn op(&mut self) -> Op {
        let Workload { keys, hot, hot_percent, deletes_percent, .. } = self.workload;
        let among = if self.rng.below(100) < hot_percent { hot.min(keys) } else { keys };
        let key = self.rng.below(u64::from(among)) as u32;
        Op { key, delete: self.rng.below(100) < deletes_percent }
    }

    /// Fills `value` with bytes that no other value has, as far as it is long enough.
    pub fn fill(&mut self, value: &mut [u8]) {
        self.values += 1;
        let number = self.values.to_le_bytes();
        value.iter_mut().zip(number.iter().cycle()).for_each(|(byte, digit)| *byte = *digit);
    }
}
