//! The named kinds of run.
//!
//! Knows which faults and which writes make up each. Must not know what a fault does.

use std::fmt;

use popmap_core::rng::Rng;
use popmap_core::time::Duration;

use super::plan::{Episode, Generation, Noise, Plan, pick};

macro_rules! scenarios {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// A kind of run.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Scenario { $($(#[doc = $doc])+ $name,)+ }

        impl Scenario {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

scenarios! {
    /// Any of all faults and writes, at random.
    Full = "full",
    /// No fault at all.
    Calm = "calm",
    /// Loss, duplicates, reordering, late packets, damage and replays.
    Noise = "noise",
    /// Partitions, one-way and slow links.
    Partitions = "partitions",
    /// Crashes, mass crashes, goodbyes, servers that are away for long.
    Churn = "churn",
    /// Generations lost with and without a clock.
    Generations = "generations",
    /// Pauses, frozen machines, and clocks that leap either way.
    Clocks = "clocks",
    /// Slots with two servers, and generations restored from a backup.
    Conflict = "conflict",
    /// Keys that are deleted and created anew, under crashes and partitions.
    Deletes = "deletes",
    /// Slots that operators forget, rightly and wrongly, while keys are deleted and created anew.
    Forget = "forget",
    /// Tables too small for what is written.
    FullTable = "full-table",
    /// Servers that write every key at once, under loss and a tight budget.
    Bulk = "bulk",
    /// Everybody writes a few keys.
    Hot = "hot",
}

impl Scenario {
    /// Returns the kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scenario| scenario.name() == name)
    }

    /// Gives a plan its faults.
    pub fn shape(self, plan: &mut Plan, large: bool, rng: &mut Rng) {
        // How often things happen: a large run has room for more.
        let times = |rng: &mut Rng| if large { 4 + rng.below(16) } else { 1 + rng.below(6) };
        let some = |plan: &mut Plan, rng: &mut Rng, episodes: &[Episode]| {
            for &episode in episodes {
                let times = times(rng);
                plan.add(episode, times);
            }
        };
        match self {
            Self::Full => {
                shape_full(plan, large, rng);
            }
            Self::Calm => {}
            Self::Noise => plan.noise = noise(rng, 6),
            Self::Partitions => {
                plan.noise = noise(rng, 1);
                some(plan, rng, &[Episode::Partition, Episode::OneWay, Episode::Slow, Episode::Storm]);
            }
            Self::Churn => {
                plan.noise = noise(rng, 2);
                some(plan, rng, &[Episode::Crash, Episode::MassCrash, Episode::Leave, Episode::Absence]);
                plan.add(Episode::Days, 1);
            }
            Self::Generations => {
                plan.noise = noise(rng, 3);
                some(plan, rng, &[Episode::Crash, Episode::Leave, Episode::Partition]);
                plan.generations = vec![Generation::Kept, Generation::Clock, Generation::Lost];
            }
            Self::Clocks => {
                plan.noise = noise(rng, 2);
                let all = [Episode::Pause, Episode::Freeze, Episode::Forward, Episode::Backward];
                some(plan, rng, &all);
            }
            Self::Conflict => {
                plan.noise = noise(rng, 2);
                some(plan, rng, &[Episode::Second, Episode::Crash]);
                plan.generations = vec![Generation::Kept, Generation::Restored];
                quick_repair(plan);
            }
            Self::Deletes => {
                plan.noise = noise(rng, 3);
                plan.workload.deletes_percent = pick(rng, &[20, 35, 48]);
                some(plan, rng, &[Episode::Crash, Episode::Partition, Episode::Pause]);
            }
            Self::Forget => {
                plan.noise = noise(rng, 2);
                plan.workload.deletes_percent = pick(rng, &[20, 35, 48]);
                // Room for somebody to be found dead, and for two quarantines.
                plan.span = plan.span.max(Duration::from_secs(30 + rng.below(30)));
                some(plan, rng, &[Episode::Forgotten, Episode::Crash, Episode::Partition]);
                match rng.below(4) {
                    0 => plan.gone = Some(rng.below(plan.servers as u64) as usize),
                    1 => plan.generations = vec![Generation::Kept, Generation::Clock, Generation::Lost],
                    _ => {}
                }
            }
            Self::FullTable => {
                plan.noise = noise(rng, 2);
                some(plan, rng, &[Episode::Crash, Episode::Partition]);
                plan.small_tables = true;
                plan.workload.keys = plan.workload.keys.max(10);
            }
            Self::Bulk => {
                plan.noise = noise(rng, 3);
                plan.workload.bulk = true;
                plan.budget = (pick(rng, &[4_096, 16_384, 65_536]), Duration::from_millis(10));
                some(plan, rng, &[Episode::Crash, Episode::Partition]);
            }
            Self::Hot => {
                plan.noise = noise(rng, 3);
                plan.workload.hot_percent = 95;
                plan.workload.owners_percent = 0;
                some(plan, rng, &[Episode::Partition, Episode::Pause]);
            }
        }
    }
}

/// Some of everything. What breaks R6 from outside the protocol is left out of most runs, so that in those nothing at all
/// is excused.
fn shape_full(plan: &mut Plan, large: bool, rng: &mut Rng) {
    let at_least = if large { 3 } else { 0 };
    let kinds = at_least + rng.below(9) as usize;
    plan.noise = noise(rng, rng.clone().below(5) as usize);
    let conflicts = rng.below(6) == 0;
    let mut left: Vec<Episode> = Episode::ALL.to_vec();
    // A second server in a slot that is forgotten: whose records are whose, nobody can say.
    left.retain(
        |&episode| if conflicts { episode != Episode::Forgotten } else { episode != Episode::Second },
    );
    while plan.episodes.len() < kinds && !left.is_empty() {
        let episode = left.swap_remove(rng.below(left.len() as u64) as usize);
        let times = if large { 2 + rng.below(14) } else { 1 + rng.below(6) };
        plan.add(episode, if episode == Episode::Days { 1 } else { times });
    }
    if rng.below(4) == 0 {
        plan.generations = vec![Generation::Kept, Generation::Clock, Generation::Lost];
    }
    if conflicts {
        plan.generations.push(Generation::Restored);
        quick_repair(plan);
    }
    if rng.below(6) == 0 {
        plan.budget = (pick(rng, &[8_192, 32_768]), Duration::from_millis(10));
    }
    if rng.below(8) == 0 {
        plan.small_tables = true;
    }
}

/// A pass over all buckets takes some seconds at most.
fn quick_repair(plan: &mut Plan) {
    plan.repair = Duration::from_millis(if plan.workload.keys > 500 { 500 } else { 200 });
}

/// Draws `kinds` kinds of noise.
fn noise(rng: &mut Rng, kinds: usize) -> Noise {
    let mut noise = Noise { late: Duration::from_millis(pick(rng, &[50, 500, 4_000])), ..Noise::default() };
    let mut left = vec![0, 1, 2, 3, 4, 5];
    for _ in 0..kinds.min(left.len()) {
        match left.swap_remove(rng.below(left.len() as u64) as usize) {
            0 => noise.loss_ppm = pick(rng, &[1_000, 10_000, 50_000, 200_000]),
            1 => noise.duplicate_ppm = pick(rng, &[10_000, 100_000]),
            2 => noise.jitter = Duration::from_millis(pick(rng, &[1, 5, 20])),
            3 => noise.late_ppm = pick(rng, &[1_000, 10_000, 50_000]),
            4 => noise.damage_ppm = pick(rng, &[1_000, 50_000]),
            _ => noise.replay_ppm = pick(rng, &[1_000, 20_000, 100_000]),
        }
    }
    noise
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
