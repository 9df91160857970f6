//! What was measured, and whether it is good enough.
//!
//! Knows the guarantees and how figures are laid out, as a table and as JSON. Must not know how they came about.

use std::fmt::Write as _;

use crate::dataplane::Seen;
use crate::measure::Times;
use crate::view::{grouped, millis};

/// Records received over records applied, at most.
const REDUNDANCY_MAX: f64 = 2.0;
/// Records that make a stream: of a handful, one repeated by chance says nothing.
const STREAM_MIN: u64 = 1_000;
/// Bytes that an idle server may send and receive in a second, headers included.
const IDLE_BYTES_MAX: f64 = 4096.0;

/// Figures of the story. What could not be measured is `None`.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Servers.
    pub servers: usize,
    /// Origins.
    pub keys: usize,
    /// Bytes of one server's map.
    pub map_bytes: usize,
    /// Mass start until every server may write, in virtual nanoseconds.
    pub join_ns: Option<u64>,
    /// Mass start until all maps were full and equal.
    pub coverage_ns: Option<u64>,
    /// Checks of one origin in one interval: least, mean, most.
    pub checks: Option<(f64, f64, f64)>,
    /// Write until the last server had it.
    pub to_all: Option<Quantiles>,
    /// Write until one server had it.
    pub to_one: Option<Quantiles>,
    /// Records received over records applied, in steady state.
    pub redundancy: Option<f64>,
    /// Records applied in steady state.
    pub redundancy_of: u64,
    /// Bytes a second of one server, both directions, in steady state.
    pub steady_bytes: Option<f64>,
    /// Failing check until the last server knew.
    pub failure: Option<Quantiles>,
    /// Told dead until every server held a new check of each of the dead one's origins.
    pub takeover_ns: Option<u64>,
    /// Restart until caught up.
    pub catch_up_ns: Option<u64>,
    /// Times that each record was sent for it.
    pub catch_up_sent: Option<f64>,
    /// Partition healed until all were equal.
    pub heal_ns: Option<u64>,
    /// Delete until gone from every table.
    pub collect_ns: Option<u64>,
    /// Bytes a second of one server, both directions, when nothing is written.
    pub idle_bytes: Option<f64>,
    /// Wall time of taking one packet with records: p50, p99, p99.9 in nanoseconds.
    pub merge: Option<(u64, u64, u64)>,
    /// What the data plane saw.
    pub reads: Option<Seen>,
    /// Records mended by repair with a known cause.
    pub mends: u64,
    /// Records mended by repair with none.
    pub mends_unknown: u64,
    /// Wall time of the whole story.
    pub wall_s: f64,
    /// What did not hold, in plain words. Empty is good.
    pub failures: Vec<String>,
    /// Every wait for the servers to be equal ended, and in the end each holds what each origin's last check found.
    pub converged: bool,
}

/// A distribution of virtual times, in nanoseconds.
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

    fn show(&self) -> String {
        let Self { p50, p99, max, count } = *self;
        format!("p50 {}, p99 {}, max {} ({} measured)", millis(p50), millis(p99), millis(max), grouped(count))
    }
}

impl Report {
    /// Notes that a guarantee did not hold.
    pub fn fail(&mut self, what: String) {
        self.failures.push(what);
    }

    /// Holds the figures against the guarantees.
    pub fn judge(&mut self) {
        let mut failures = Vec::new();
        let steady = self.redundancy.filter(|_| self.redundancy_of >= STREAM_MIN);
        if let Some(redundancy) = steady.filter(|redundancy| *redundancy > REDUNDANCY_MAX) {
            failures.push(format!("redundancy {redundancy:.2}: at most {REDUNDANCY_MAX} is promised"));
        }
        if let Some(bytes) = self.idle_bytes.filter(|bytes| *bytes > IDLE_BYTES_MAX) {
            failures
                .push(format!("idle: {bytes:.0} bytes/s a server: at most {IDLE_BYTES_MAX} are promised"));
        }
        if self.mends_unknown > 0 {
            failures.push(format!("{} records were mended without a known cause", self.mends_unknown));
        }
        if let Some(seen) = &self.reads {
            let never = [
                (seen.torn, "were torn"),
                (seen.busy, "ran out of tries"),
                (seen.missing, "missed an origin"),
            ];
            for (n, what) in never.into_iter().filter(|&(n, _)| n > 0) {
                failures.push(format!("{n} lookups {what}: none may"));
            }
        }
        self.failures.append(&mut failures);
    }

    /// Whether everything converged and every guarantee held.
    pub fn is_good(&self) -> bool {
        self.converged && self.failures.is_empty()
    }

    /// Returns the table, a line each.
    pub fn table(&self) -> Vec<String> {
        let mut rows: Vec<(&str, String)> = Vec::new();
        let mut row = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
        let virtual_ms = |ns: Option<u64>| ns.map(millis);
        row("join", virtual_ms(self.join_ns).map(|time| format!("{time} until every server may write")));
        row(
            "first full coverage",
            virtual_ms(self.coverage_ns).map(|time| format!("{time} after the start")),
        );
        let checks = |(least, _, most)| format!("{least:.2} to {most:.2} in 10 s by the whole PoP");
        row("checks of each origin", self.checks.map(checks));
        row("a write reaches all servers", self.to_all.map(|q| q.show()));
        row("a write reaches a server", self.to_one.map(|q| q.show()));
        row("an origin failure reaches all", self.failure.map(|q| q.show()));
        row(
            "takeover",
            virtual_ms(self.takeover_ns).map(|time| format!("{time} after the owner was told dead")),
        );
        let caught_up = self.catch_up_ns.zip(self.catch_up_sent);
        let catch_up = |(ns, sent)| format!("{}, each record sent {sent:.2} times", millis(ns));
        row("empty server catches up", caught_up.map(catch_up));
        row("partition healed", virtual_ms(self.heal_ns).map(|time| format!("{time} until all are equal")));
        row("deletes leave every table", virtual_ms(self.collect_ns));
        let redundancy = |x| format!("{x:.3} received for each applied (at most {REDUNDANCY_MAX})");
        row("redundancy", self.redundancy.map(redundancy));
        let bytes = |x: f64| format!("{} bytes/s a server", grouped(x.round() as u64));
        row("steady traffic", self.steady_bytes.map(bytes));
        let idle = |x| format!("{} (at most {})", bytes(x), grouped(IDLE_BYTES_MAX as u64));
        row("idle traffic", self.idle_bytes.map(idle));
        let merge = |(p50, p99, p999)| format!("p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns a packet");
        row("merging *", self.merge.map(merge));
        row("lookups *", self.reads.as_ref().map(show_reads));
        let in_them = |seen: &Seen| {
            let Seen { torn, busy, missing, .. } = seen;
            format!("{torn} torn, {missing} missed (must be 0), {busy} out of tries")
        };
        row("in these lookups", self.reads.as_ref().map(in_them));
        let mends = format!("{} with a known cause, {} without (must be 0)", self.mends, self.mends_unknown);
        row("mended by repair", Some(mends));
        let bytes = format!("{} ({:.1} a key)", grouped(self.map_bytes as u64), self.bytes_per_key());
        row("bytes of a server's map", Some(bytes));
        row("wall time *", Some(format!("{:.1} s", self.wall_s)));
        rows.iter().map(|(name, value)| format!("  {name:<30} {value}")).collect()
    }

    fn bytes_per_key(&self) -> f64 {
        self.map_bytes as f64 / self.keys as f64
    }

    /// Returns all figures as one line of JSON; what was not measured is `null`.
    pub fn json(&self) -> String {
        let ms = |ns: Option<u64>| number(ns.map(|ns| ns as f64 / 1e6));
        let quantiles = |q: Option<Quantiles>| {
            let of = |part: fn(Quantiles) -> u64| ms(q.map(part));
            object(&[("p50", of(|q| q.p50)), ("p99", of(|q| q.p99)), ("max", of(|q| q.max))])
        };
        let whole = |n: Option<u64>| n.map_or_else(|| "null".to_owned(), |n| n.to_string());
        let (reads, merge, checks) = (self.reads.as_ref(), self.merge, self.checks);
        let read_quantile = |q| whole(reads.and_then(|seen| seen.times.quantile(q)));
        let failures: Vec<String> = self.failures.iter().map(|failure| string(failure)).collect();
        object(&[
            ("servers", self.servers.to_string()),
            ("keys", self.keys.to_string()),
            ("converged", self.converged.to_string()),
            ("join_ms", ms(self.join_ns)),
            ("first_coverage_ms", ms(self.coverage_ns)),
            (
                "checks_per_origin_per_interval",
                object(&[
                    ("min", number(checks.map(|(least, _, _)| least))),
                    ("mean", number(checks.map(|(_, mean, _)| mean))),
                    ("max", number(checks.map(|(_, _, most)| most))),
                ]),
            ),
            ("propagation_ms", quantiles(self.to_all)),
            ("failure_known_ms", quantiles(self.failure)),
            ("takeover_ms", ms(self.takeover_ns)),
            (
                "catch_up",
                object(&[("ms", ms(self.catch_up_ns)), ("sent_per_record", number(self.catch_up_sent))]),
            ),
            ("heal_ms", ms(self.heal_ns)),
            ("collect_ms", ms(self.collect_ns)),
            ("redundancy", number(self.redundancy)),
            (
                "bytes_per_server_per_s",
                object(&[("idle", number(self.idle_bytes)), ("steady", number(self.steady_bytes))]),
            ),
            (
                "merge_ns_per_packet",
                object(&[
                    ("p50", whole(merge.map(|merge| merge.0))),
                    ("p99", whole(merge.map(|merge| merge.1))),
                    ("p999", whole(merge.map(|merge| merge.2))),
                ]),
            ),
            (
                "reads",
                object(&[
                    ("per_s", number(reads.and_then(Seen::per_second))),
                    ("p50_ns", read_quantile(0.5)),
                    ("p999_ns", read_quantile(0.999)),
                    ("torn", whole(reads.map(|seen| seen.torn))),
                    ("busy", whole(reads.map(|seen| seen.busy))),
                    ("missing", whole(reads.map(|seen| seen.missing))),
                ]),
            ),
            ("bytes_per_key", number(Some(self.bytes_per_key()))),
            ("mends_unknown", self.mends_unknown.to_string()),
            ("wall_s", number(Some(self.wall_s))),
            ("failures", format!("[{}]", failures.join(","))),
        ])
    }
}

fn show_reads(seen: &Seen) -> String {
    let rate = seen.per_second().map_or(0, |rate| rate.round() as u64);
    let ns = |q| seen.times.quantile(q).unwrap_or(0);
    format!("{} a second, p50 {} ns, p99.9 {} ns", grouped(rate), ns(0.5), ns(0.999))
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// A number to three decimals. JSON has no infinity.
fn number(x: Option<f64>) -> String {
    match x.filter(|x| x.is_finite()) {
        Some(x) => ((x * 1e3).round() / 1e3).to_string(),
        None => "null".to_owned(),
    }
}

fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_parts() {
        assert_eq!(object(&[("a", number(Some(1.234_56))), ("b", number(None))]), r#"{"a":1.235,"b":null}"#);
        assert_eq!(number(Some(f64::INFINITY)), "null");
        assert_eq!(string("a \"b\"\n"), "\"a \\\"b\\\"\\u000a\"");
    }

    #[test]
    fn what_does_not_hold_is_named() {
        let mut report = Report { converged: true, keys: 1, ..Report::default() };
        report.judge();
        assert!(report.is_good());
        report.redundancy = Some(2.5);
        report.redundancy_of = STREAM_MIN;
        report.idle_bytes = Some(5_000.0);
        report.mends_unknown = 1;
        report.judge();
        assert!(!report.is_good());
        assert_eq!(report.failures.len(), 3, "{:?}", report.failures);
        assert!(report.json().contains("redundancy 2.50"));
    }
}
