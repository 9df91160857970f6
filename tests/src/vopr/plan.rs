//! What a seed means: how many servers, which faults and how often, what is written.
//!
//! Knows distributions. Must not know how any of it is done.
//!
//! The faults of a run are a random subset, each with a random strength: a run in which some things never happen reaches
//! states that an even mix hardly ever does (swarm testing, Groce et al. 2012). One seed in four is *large*: 64 servers,
//! 60 seconds, 10,000 writes or more and three kinds of fault or more. The others are smaller and odder: two servers,
//! tables of a few records, an hour of silence.

use std::fmt;
use std::str::FromStr;

use popmap_core::limits::QUARANTINE;
use popmap_core::rng::Rng;
use popmap_core::time::Duration;

use super::scenario::Scenario;

/// One seed in this many is large.
const LARGE_EVERY: u64 = 4;
/// Writes of a large run, at least.
const LARGE_WRITES: u64 = 10_000;
/// How much a clock may leap forward in all where tombstones are collected: a quarantine is measured by the clock, so a
/// leap shortens it (R2).
pub const LEAPS: Duration = Duration::from_secs(3);
/// Between the end of a packet's life and the quarantine's, with all leaps.
const MARGIN: Duration = Duration::from_secs(1);

/// What happens to single packets all along, in parts per million.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Noise {
    /// Lost.
    pub loss_ppm: u32,
    /// Sent twice.
    pub duplicate_ppm: u32,
    /// Added to the least delay at random, evenly, so that packets overtake each other.
    pub jitter: Duration,
    /// Late by up to [`late`](Self::late).
    pub late_ppm: u32,
    /// How late those are, at most.
    pub late: Duration,
    /// Damaged: some bits flipped, cut short, or longer.
    pub damage_ppm: u32,
    /// An older packet is sent once more, also one from or to an earlier life.
    pub replay_ppm: u32,
}

/// Something that begins at some time and may last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Episode {
    /// Some servers and the others do not reach each other.
    Partition,
    /// One server does not reach some others, and hears them.
    OneWay,
    /// Everything from and to a server takes longer.
    Slow,
    /// Some links lose much.
    Storm,
    /// A server loses its memory, and starts anew after a while.
    Crash,
    /// Many at once do.
    MassCrash,
    /// A process stands still; its clock runs on.
    Pause,
    /// A machine stands still, clock and all: it believes to be on time.
    Freeze,
    /// A clock leaps forward.
    Forward,
    /// A clock leaps backward.
    Backward,
    /// A second server starts in a slot.
    Second,
    /// A server is away for long.
    Absence,
    /// A server says goodbye, and starts anew later.
    Leave,
    /// A server tells another weight.
    Reweigh,
    /// Days pass for everybody with nothing on the way.
    Days,
    /// A server is gone, or seems to be, and operators forget its slot.
    Forgotten,
}

impl Episode {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Partition,
        Self::OneWay,
        Self::Slow,
        Self::Storm,
        Self::Crash,
        Self::MassCrash,
        Self::Pause,
        Self::Freeze,
        Self::Forward,
        Self::Backward,
        Self::Second,
        Self::Absence,
        Self::Leave,
        Self::Reweigh,
        Self::Days,
        Self::Forgotten,
    ];
}

/// With which generation a server starts anew.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Generation {
    /// Above the saved one.
    Kept,
    /// The saved one is lost; above the clock's seconds.
    Clock,
    /// The saved one is lost and the clock was never set: the first, after a quarantine of silence.
    Lost,
    /// An old one was restored, or none, and nobody waits: against the rules (README, "Replace the machine in a slot").
    Restored,
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Workload {
    /// Keys.
    pub keys: u32,
    /// Writes in all.
    pub writes: u64,
    /// Writes that one server makes together, at most.
    pub burst: u64,
    /// Writes by the key's owner, of a hundred; the others are by anybody.
    pub owners_percent: u64,
    /// Writes to one of the [`hot`](Self::hot) keys, of a hundred.
    pub hot_percent: u64,
    /// Hot keys.
    pub hot: u32,
    /// Deletes, of a hundred.
    pub deletes_percent: u64,
    /// Whether one server writes every key at once, now and then.
    pub bulk: bool,
}

/// Everything that a seed decides beforehand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The kind of run.
    pub scenario: Scenario,
    /// Servers that run, in the first slots.
    pub servers: usize,
    /// Slots beside these that are configured and never had a server.
    pub vacant: usize,
    /// How long faults and writes go on.
    pub span: Duration,
    /// Packets are authenticated, each server with a row of its own.
    pub keyed: bool,
    /// Whether faults strike from the first moment on, or once all have started.
    pub from_start: bool,
    /// What happens to packets.
    pub noise: Noise,
    /// What begins now and then, and how often on average.
    pub episodes: Vec<(Episode, Duration)>,
    /// How servers start anew: one of these at random.
    pub generations: Vec<Generation>,
    /// A server that stops once and never comes back: it is the only one that is forgotten.
    pub gone: Option<usize>,
    /// Whether some tables are too small for all keys.
    pub small_tables: bool,
    /// Records that each server has room for.
    pub capacities: Vec<usize>,
    /// Each server's share of the keys.
    pub weights: Vec<u16>,
    /// Bytes of a value.
    pub value_len: u16,
    /// Bytes of the longest packet.
    pub payload: usize,
    /// Bytes of data in each interval, and the interval.
    pub budget: (u32, Duration),
    /// How often some buckets are compared.
    pub repair: Duration,
    /// What is written.
    pub workload: Workload,
    /// The longest that a packet is under way, waiting for its receiver and replays included.
    pub packet_life: Duration,
}

/// What the command line may ask for beside the seed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Wishes {
    /// Servers.
    pub servers: Option<usize>,
    /// How long faults and writes go on.
    pub span: Option<Duration>,
    /// Packets are authenticated.
    pub keyed: bool,
}

impl Plan {
    /// Draws the plan of `seed`.
    pub fn draw(seed: u64, scenario: Scenario, wishes: Wishes) -> Self {
        let mut rng = Rng::new(seed ^ 0x9_1a9);
        let large = seed.is_multiple_of(LARGE_EVERY);
        let mut plan = Self::frame(seed, scenario, large, &mut rng);
        scenario.shape(&mut plan, large, &mut rng);
        if let Some(servers) = wishes.servers {
            plan.servers = servers;
            plan.vacant = plan.vacant.min(64 - servers);
            plan.gone = plan.gone.map(|server| server % servers);
        }
        if let Some(span) = wishes.span {
            plan.span = span;
        }
        plan.keyed = wishes.keyed;
        plan.bound_packets();
        plan.draw_servers(&mut rng);
        plan
    }

    /// A run without faults.
    fn frame(seed: u64, scenario: Scenario, large: bool, rng: &mut Rng) -> Self {
        let servers = if large { 64 } else { pick(rng, &[2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 8, 12, 20, 40]) };
        let seconds = if large { 60 } else { 6 + rng.below(20) };
        let vacant = if rng.below(8) == 0 { 1 + rng.below(3) as usize } else { 0 };
        let payload = pick(rng, &[1_200, 1_400, 1_400, 1_400]);
        Self {
            seed,
            scenario,
            servers,
            vacant: vacant.min(64 - servers),
            span: Duration::from_secs(seconds),
            keyed: false,
            from_start: rng.below(4) == 0,
            noise: Noise::default(),
            episodes: Vec::new(),
            generations: vec![Generation::Kept],
            gone: None,
            small_tables: false,
            capacities: Vec::new(),
            weights: Vec::new(),
            value_len: pick(rng, &[24, 24, 24, 8, 1, 100, 512]),
            payload,
            budget: (1 << 20, Duration::from_millis(10)),
            repair: Duration::from_millis(if !large && rng.below(3) == 0 { 250 } else { 1_000 }),
            workload: draw_workload(large, rng),
            packet_life: Duration::ZERO,
        }
    }

    fn bound_packets(&mut self) {
        let leaps = if self.has(Episode::Forward) { LEAPS } else { Duration::ZERO };
        self.packet_life = Duration(QUARANTINE.0 - MARGIN.0 - leaps.0);
        // Long values would only make a large run slow.
        if self.workload.keys > 500 {
            self.value_len = self.value_len.min(24);
        }
    }

    fn draw_servers(&mut self, rng: &mut Rng) {
        let weighted = rng.below(3) == 0;
        let room = self.room();
        let unequal = rng.below(3) == 0;
        for _ in 0..self.servers {
            self.weights.push(if weighted { pick(rng, &[50, 100, 100, 200, 400, 0]) } else { 100 });
            let keys = u64::from(self.workload.keys);
            self.capacities.push(if self.small_tables && rng.below(3) > 0 {
                1 + rng.below(keys) as usize
            } else if unequal {
                room + rng.below(room as u64) as usize
            } else {
                room
            });
        }
    }

    /// Returns the capacity with which every key fits below the reserve (R3).
    pub fn room(&self) -> usize {
        self.workload.keys as usize * 8 / 7 + 8
    }

    /// Whether this kind of episode is among the faults.
    pub fn has(&self, episode: Episode) -> bool {
        self.episodes.iter().any(|&(of, _)| of == episode)
    }

    /// Adds a kind of episode that begins `times` times in the run on average.
    pub fn add(&mut self, episode: Episode, times: u64) {
        if !self.has(episode) {
            self.episodes.push((episode, Duration(self.span.0 / times.max(1))));
        }
    }

    /// Whether leaps of clocks have to be bounded, because tombstones are collected.
    pub fn has_tombstones(&self) -> bool {
        self.workload.deletes_percent > 0 || self.is_conflicting()
    }

    /// Whether slots may be contested.
    pub fn is_conflicting(&self) -> bool {
        self.has(Episode::Second) || self.generations.contains(&Generation::Restored)
    }

    /// Returns how many kinds of fault there are.
    pub fn kinds(&self) -> usize {
        let Noise { loss_ppm, duplicate_ppm, jitter, late_ppm, damage_ppm, replay_ppm, .. } = self.noise;
        let noise = [loss_ppm, duplicate_ppm, jitter.0.min(1) as u32, late_ppm, damage_ppm, replay_ppm];
        let generations = self.generations.iter().filter(|&&kind| kind != Generation::Kept).count();
        let full = usize::from(self.capacities.iter().any(|&capacity| capacity < self.room()));
        noise.iter().filter(|&&strength| strength > 0).count() + self.episodes.len() + generations + full
    }
}

fn draw_workload(large: bool, rng: &mut Rng) -> Workload {
    let (keys, writes) = if large {
        (pick(rng, &[200, 1_000, 2_000]), LARGE_WRITES + rng.below(2_000))
    } else {
        (pick(rng, &[1, 3, 10, 50, 200, 500]), 20 + rng.below(1_500))
    };
    Workload {
        keys,
        writes,
        // Each burst is pushed to everybody: in a large run that is most of what there is to do.
        burst: if large { pick(rng, &[16, 40]) } else { pick(rng, &[1, 8, 40]) },
        owners_percent: pick(rng, &[0, 50, 90, 100]),
        hot_percent: pick(rng, &[0, 0, 20, 60]),
        hot: 1 + rng.below(4) as u32,
        deletes_percent: pick(rng, &[0, 0, 5, 20, 45]),
        bulk: rng.below(8) == 0,
    }
}

/// Returns one of `choices` at random.
pub fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Workload { keys, writes, deletes_percent, .. } = self.workload;
        write!(
            f,
            "{} servers, {} s, {writes} writes to {keys} keys, {deletes_percent} % deletes, {:?}, generations {:?}, {:?}",
            self.servers,
            self.span.as_millis() / 1_000,
            self.episodes.iter().map(|(episode, _)| episode).collect::<Vec<_>>(),
            self.generations,
            self.noise
        )?;
        self.gone.map_or(Ok(()), |server| write!(f, ", server {server} gone for good"))
    }
}

/// A range of seeds: `A..B`, or one seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seeds(pub std::ops::Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let digits = text.replace(['_', ','], "");
            digits.parse::<u64>().map_err(|_| format!("{text:?} is no number from 0 to {}", u64::MAX))
        };
        let range = match text.split_once("..") {
            Some((from, to)) => number(from)?..number(to)?,
            None => {
                let seed = number(text)?;
                seed..seed.checked_add(1).ok_or("the last seed is 18446744073709551614")?
            }
        };
        if range.is_empty() {
            return Err(format!("{text:?} has no seed in it; A..B is from A to before B"));
        }
        Ok(Self(range))
    }
}
