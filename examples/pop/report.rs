//! What was measured, and whether it is good enough.
//!
//! Knows the guarantees. Must not know how figures came about, nor how they are laid out.

use crate::dataplane::Seen;
use crate::io::Io;
use crate::measure::Times;
use crate::view::millis;

/// Records received over records applied, at most.
pub const REDUNDANCY_MAX: f64 = 2.0;
/// Records that make a stream: of a handful, one repeated by chance says nothing.
const STREAM_MIN: u64 = 1_000;
/// Bytes that an idle server may send and receive in a second, headers included.
pub const IDLE_BYTES_MAX: f64 = 4096.0;
/// The loss up to which the times and the idle traffic hold.
const LOSS_OF_PROMISES_PPM: u32 = 50_000;
/// Checks of one origin in an interval, at least and at most.
pub const CHECKS_RANGE: (f64, f64) = (0.9, 1.1);
/// From the check that found an origin failing until every server knows, for 99 of 100, in nanoseconds.
pub const FAILURE_MAX: u64 = 250_000_000;
/// From a kill until the last server holds the killed one dead.
pub const DETECTION_MAX: u64 = 2_000_000_000;
/// From a kill until all origins of the killed server have been checked again.
pub const TAKEOVER_MAX: u64 = 3_000_000_000;
/// An idle table's lookups a second over the map's.
pub const IDLE_RATIO_MAX: f64 = 1.5;

/// What is measured alike over a network and in virtual time. What could not be measured is `None`.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Mass start until every server may write and all agree who is live, in nanoseconds.
    pub join_ns: Option<u64>,
    /// Mass start until every server knows every origin.
    pub coverage_ns: Option<u64>,
    /// Check until the last server knew what it found.
    pub to_all: Option<Quantiles>,
    /// Check until one server knew, for each server.
    pub to_one: Option<Quantiles>,
    /// The same to the last server, for checks that found an origin failing.
    pub failure: Option<Quantiles>,
    /// Kill until the last server held the killed one dead.
    pub detection: Option<Quantiles>,
    /// Kill until all its origins had been checked again.
    pub takeover: Option<Quantiles>,
    /// Servers held dead by one that could have known better: times that it happened.
    pub false_deaths: u64,
    /// Records received over records applied, in steady state.
    pub redundancy: Option<f64>,
    /// Records applied in steady state.
    pub redundancy_of: u64,
    /// Bytes a second of one server, both directions, in steady state.
    pub steady_bytes: Option<f64>,
    /// Bytes a second of one server, both directions, when nothing is written.
    pub idle_bytes: Option<f64>,
    /// Wall time to take one packet with records: p50, p99, p99.9 in nanoseconds.
    pub merge: Option<(u64, u64, u64)>,
    /// Records mended by repair with a known cause.
    pub mends: u64,
    /// Records mended by repair with none.
    pub mends_unknown: u64,
}

/// Figures of the story.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Servers.
    pub servers: usize,
    /// Origins.
    pub keys: usize,
    /// How often each origin is checked, in seconds.
    pub interval_s: f64,
    /// Packets lost all along, in parts per million.
    pub loss_ppm: u32,
    /// Bytes of one server's map.
    pub map_bytes: usize,
    /// What carries packets.
    pub io: Io,
    /// Over that, by the wall clock of this machine.
    pub live: Figures,
    /// In virtual time, where a busy machine does not show.
    pub simulated: Option<Figures>,
    /// Checks of one origin in one interval, counted where they arrived: least, mean, most.
    pub checks: Option<(f64, f64, f64)>,
    /// Start of a server that was killed until it has everything, may write, and all agree.
    pub rejoin: Option<Quantiles>,
    /// Partition healed until all were equal.
    pub heal_ns: Option<u64>,
    /// A link that was gone comes back, until all others hold its server live.
    pub relink: Option<Quantiles>,
    /// With a tenth of all packets lost: records received over records applied, and check until all knew.
    pub lossy: Option<(f64, Quantiles)>,
    /// What the data plane saw.
    pub reads: Option<Seen>,
    /// Fraction of origins whose record is fresh and whose author is live: in steady state, and the least of all.
    pub harvest: Option<(f64, f64)>,
    /// Wall time of the whole run.
    pub wall_s: f64,
    /// What did not hold, in plain words. Empty is good.
    pub failures: Vec<String>,
    /// What took longer on this machine than it should.
    pub missed: Vec<String>,
    /// Every wait for the servers to be equal ended, and in the end each holds what each origin's last check found.
    pub converged: bool,
}

/// A distribution of times, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Quantiles {
    /// The median.
    pub p50: u64,
    /// 99 of 100.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// How many were measured.
    pub count: u64,
}

impl Quantiles {
    /// Returns the quantiles of `times`; `None` when there are none.
    pub fn of(times: &Times) -> Option<Self> {
        let (p50, p99) = (times.quantile(0.5)?, times.quantile(0.99)?);
        Some(Self { p50, p99, max: times.max()?, count: times.len() })
    }
}

impl Figures {
    /// Returns what is worse than it should be. The first list hangs on how fast the machine is; the second does not.
    fn judge(&self) -> (Vec<String>, Vec<String>) {
        let (mut slow, mut wrong) = (Vec::new(), Vec::new());
        let times = [
            ("an origin failure known to all, p99", self.failure.map(|q| q.p99), FAILURE_MAX),
            ("a killed server known dead to all, max", self.detection.map(|q| q.max), DETECTION_MAX),
            ("a killed server's origins checked again, max", self.takeover.map(|q| q.max), TAKEOVER_MAX),
        ];
        for (what, took, most) in times {
            if let Some(took) = took.filter(|took| *took > most) {
                slow.push(format!("{what}: {}, should be at most {}", millis(took), millis(most)));
            }
        }
        if self.false_deaths > 0 {
            slow.push(format!("{} times a live server was held dead, should be none", self.false_deaths));
        }
        if let Some(bytes) = self.idle_bytes.filter(|bytes| *bytes > IDLE_BYTES_MAX) {
            slow.push(format!("idle: {bytes:.0} bytes/s a server, should be at most {IDLE_BYTES_MAX}"));
        }
        let stream = self.redundancy.filter(|_| self.redundancy_of >= STREAM_MIN);
        if let Some(redundancy) = stream.filter(|redundancy| *redundancy > REDUNDANCY_MAX) {
            wrong.push(format!("redundancy {redundancy:.2}: at most {REDUNDANCY_MAX} is promised"));
        }
        if self.mends_unknown > 0 {
            wrong.push(format!("{} records were mended without a known cause", self.mends_unknown));
        }
        (slow, wrong)
    }
}

impl Report {
    /// Notes that a guarantee did not hold.
    pub fn fail(&mut self, what: String) {
        self.failures.push(what);
    }

    /// Holds the figures against the guarantees. What hangs on the speed of the machine is only noted where it was
    /// measured by the wall clock; in virtual time it has to hold.
    pub fn judge(&mut self) {
        let (slow, wrong) = self.live.judge();
        self.missed.extend(slow);
        self.failures.extend(wrong);
        if let Some(simulated) = &self.simulated {
            let (slow, wrong) = simulated.judge();
            let named = |what: String| format!("in virtual time: {what}");
            let list =
                if self.loss_ppm > LOSS_OF_PROMISES_PPM { &mut self.missed } else { &mut self.failures };
            list.extend(slow.into_iter().map(named));
            self.failures.extend(wrong.into_iter().map(named));
        }
        if let Some((least, _, most)) = self.checks {
            let (low, high) = CHECKS_RANGE;
            if least == 0.0 {
                self.failures.push("an origin was not checked at all".to_owned());
            } else if least < low || most > high {
                let what = format!("origins were checked {least:.2} to {most:.2} times an interval");
                self.missed.push(format!("{what}, should be {low} to {high}"));
            }
        }
        if let Some(seen) = &self.reads {
            for (n, what) in [(seen.torn, "were torn"), (seen.missing, "missed an origin")] {
                if n > 0 {
                    self.failures.push(format!("{n} lookups {what}: none may"));
                }
            }
            if let Some(ratio) = seen.idle_ratio().filter(|ratio| *ratio > IDLE_RATIO_MAX) {
                let what = format!("lookups take {ratio:.2} times as long as in an idle table");
                self.missed.push(format!("{what}, should be at most {IDLE_RATIO_MAX}"));
            }
        }
    }

    /// Whether everything converged and every guarantee held.
    pub fn is_good(&self) -> bool {
        self.converged && self.failures.is_empty()
    }

    /// Returns the bytes of a map for each origin.
    pub fn bytes_per_key(&self) -> f64 {
        self.map_bytes as f64 / self.keys as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_named() {
        let mut report = Report { converged: true, keys: 1, ..Report::default() };
        report.judge();
        assert!(report.is_good());
        report.live = Figures {
            redundancy: Some(2.5),
            redundancy_of: STREAM_MIN,
            mends_unknown: 1,
            idle_bytes: Some(5_000.0),
            false_deaths: 1,
            ..Figures::default()
        };
        report.checks = Some((0.5, 1.0, 1.0));
        report.judge();
        assert!(!report.is_good());
        assert_eq!((report.failures.len(), report.missed.len()), (2, 3), "{report:?}");
        assert!(report.failures[0].contains("redundancy 2.50"));
    }

    #[test]
    fn what_is_slow_in_virtual_time_is_wrong() {
        let slow = Quantiles { p50: 1, p99: FAILURE_MAX + 1, max: TAKEOVER_MAX + 1, count: 1 };
        let figures = Figures { failure: Some(slow), takeover: Some(slow), ..Figures::default() };
        let mut report = Report { converged: true, live: figures.clone(), ..Report::default() };
        report.judge();
        assert!(report.is_good() && report.missed.len() == 2, "{report:?}");
        report.simulated = Some(figures);
        report.loss_ppm = LOSS_OF_PROMISES_PPM + 1;
        report.judge();
        assert!(report.is_good(), "{report:?}");
        report.loss_ppm = LOSS_OF_PROMISES_PPM;
        report.judge();
        assert_eq!(report.failures.len(), 2, "{report:?}");
    }
}
