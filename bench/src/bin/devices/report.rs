//! What is printed: a table for people, one line of JSON for programs.
//!
//! Knows columns and names. Must not know how figures came to be.

use std::fmt::Write;

use popmap_bench::pair::RECORDS;

use crate::cost::{Effort, Figures};
use crate::kinds::{Kind, Target};
use crate::latency::Latency;

/// One kind's costs, or why there are none.
pub struct CostRow {
    pub kind: Kind,
    pub figures: Result<Figures, String>,
}

/// One path's times, or why there are none.
pub struct LatencyRow {
    name: String,
    latency: Result<Latency, String>,
    /// Its median over the plain socket's, and whether that was asked of it.
    ratio: Option<f64>,
    has_target: bool,
}

impl LatencyRow {
    /// Makes the row of a kind, or of the plain sockets, which have no kind and are what the others are compared with.
    pub fn new(kind: Option<Kind>, latency: Result<Latency, String>, plain: Option<&Self>) -> Self {
        let p50_ns =
            |latency: &Result<Latency, _>| latency.as_ref().ok().map(|latency| latency.p50_ns as f64);
        let ratio = p50_ns(&latency).zip(plain.and_then(|plain| p50_ns(&plain.latency)));
        Self {
            name: kind.map_or("plain".into(), Kind::name),
            latency,
            ratio: ratio.map(|(own, plain)| own / plain),
            has_target: kind == Some(Kind::Packet),
        }
    }
}

/// The greatest ratio of medians that the latency mode may have.
const LATENCY_TARGET: f64 = 1.5;

/// A figure, what it is to be at most, and its unit.
struct Verdict {
    figure: f64,
    most: f64,
    unit: &'static str,
}

impl Verdict {
    fn is_ok(&self) -> bool {
        self.figure <= self.most
    }

    fn text(&self) -> String {
        let Self { figure, most, unit } = self;
        let word = if self.is_ok() { "ok" } else { "MISSED" };
        format!("{figure:.2}{unit} of {most}{unit} {word}")
    }
}

impl CostRow {
    fn verdict(&self) -> Option<Verdict> {
        let figures = self.figures.as_ref().ok()?;
        match self.kind.target()? {
            Target::Adds(most) => Some(Verdict { figure: figures.over_plain?, most, unit: " ns" }),
            Target::Ratio(most) => Some(Verdict { figure: figures.ratio, most, unit: "" }),
        }
    }
}

impl LatencyRow {
    fn verdict(&self) -> Option<Verdict> {
        let figure = self.ratio.filter(|_| self.has_target)?;
        Some(Verdict { figure, most: LATENCY_TARGET, unit: "" })
    }
}

fn per_second(ns: f64) -> f64 {
    1e9 / ns
}

/// Prints costs.
pub fn print_costs(rows: &[CostRow], effort: &Effort) {
    println!(
        "ns per packet: full delta packets of {RECORDS} records, sent and taken by one thread in bursts of {}, medians of \
         rounds of {}",
        effort.burst, effort.packets
    );
    println!(
        "{:14}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}{:>8}{:>8}{:>11}{:>11}  target",
        "",
        "plain",
        "device",
        "driver",
        "merge",
        "+device",
        "+plain",
        "ratio",
        "w.merge",
        "device/s",
        "driver/s"
    );
    for row in rows {
        let name = row.kind.name();
        let figures = match &row.figures {
            Ok(figures) => figures,
            Err(why) => {
                println!("{name:14}  {why}");
                continue;
            }
        };
        let or_dash = |figure: Option<f64>| figure.map_or("-".into(), |figure| format!("{figure:.0}"));
        let target = row.verdict().map_or(String::new(), |verdict| verdict.text());
        println!(
            "{name:14}{:>8}{:>8.0}{:>8.0}{:>8.0}{:>9.0}{:>9}{:>8.2}{:>8.2}{:>11.0}{:>11.0}  {target}",
            or_dash(figures.plain),
            figures.device,
            figures.driver,
            figures.merge,
            figures.over_device,
            or_dash(figures.over_plain),
            figures.ratio,
            figures.ratio_with_merge,
            per_second(figures.device),
            per_second(figures.driver),
        );
    }
    if let Some(ceiling) = ceiling(rows) {
        println!(
            "ceiling: net_ring, {ceiling:.0} ns per packet from ring to map without the sender's share, {:.0} packets/s",
            per_second(ceiling)
        );
    }
}

/// Returns what is left without a kernel and without a sender.
fn ceiling(rows: &[CostRow]) -> Option<f64> {
    let row = rows.iter().find(|row| row.kind == Kind::DpdkRing)?;
    row.figures.as_ref().ok().map(|figures| figures.driver_taking)
}

/// Prints latencies.
pub fn print_latencies(rows: &[LatencyRow]) {
    println!("us one way over a veth pair, a sleeping receiver, 64-byte packets");
    println!(
        "{:14}{:>9}{:>9}{:>9}{:>10}{:>7}{:>8}  target",
        "", "p50", "p99", "p99.9", "arrived", "lost", "ratio"
    );
    for row in rows {
        let Latency { p50_ns, p99_ns, p999_ns, arrived, lost } = match &row.latency {
            Ok(latency) => *latency,
            Err(why) => {
                println!("{:14}  {why}", row.name);
                continue;
            }
        };
        let [p50, p99, p999] = [p50_ns, p99_ns, p999_ns].map(|ns| ns as f64 / 1e3);
        let ratio = row.ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
        let target = row.verdict().map_or(String::new(), |verdict| verdict.text());
        println!("{:14}{p50:>9.1}{p99:>9.1}{p999:>9.1}{arrived:>10}{lost:>7}{ratio:>8}  {target}", row.name);
    }
}

/// Returns everything as one line of JSON.
pub fn json(costs: &[CostRow], latencies: &[LatencyRow], effort: &Effort) -> String {
    let mut line = format!(
        r#"{{"bench":"devices","packets":{},"burst":{},"seconds":{},"cost":["#,
        effort.packets,
        effort.burst,
        effort.duration.as_secs_f64()
    );
    join(&mut line, costs.iter().map(cost_json));
    line += r#"],"latency":["#;
    join(&mut line, latencies.iter().map(latency_json));
    let _ = write!(line, r#"],"ceiling_ns":{}}}"#, number(ceiling(costs)));
    line
}

fn cost_json(row: &CostRow) -> String {
    let name = row.kind.name();
    let figures = match &row.figures {
        Ok(figures) => figures,
        Err(why) => return format!(r#"{{"device":"{name}","missing":{}}}"#, quoted(why)),
    };
    format!(
        r#"{{"device":"{name}","rounds":{},"plain_ns":{},"device_ns":{},"driver_ns":{},"driver_taking_ns":{},"merge_ns":{},"over_device_ns":{},"over_plain_ns":{},"ratio":{},"ratio_with_merge":{},"device_pps":{},"driver_pps":{}{}}}"#,
        figures.rounds,
        number(figures.plain),
        number(Some(figures.device)),
        number(Some(figures.driver)),
        number(Some(figures.driver_taking)),
        number(Some(figures.merge)),
        number(Some(figures.over_device)),
        number(figures.over_plain),
        number(Some(figures.ratio)),
        number(Some(figures.ratio_with_merge)),
        number(Some(per_second(figures.device))),
        number(Some(per_second(figures.driver))),
        verdict_json(row.verdict()),
    )
}

fn latency_json(row: &LatencyRow) -> String {
    let name = &row.name;
    match &row.latency {
        Err(why) => format!(r#"{{"device":"{name}","missing":{}}}"#, quoted(why)),
        Ok(Latency { p50_ns, p99_ns, p999_ns, arrived, lost }) => format!(
            r#"{{"device":"{name}","p50_ns":{p50_ns},"p99_ns":{p99_ns},"p999_ns":{p999_ns},"arrived":{arrived},"lost":{lost},"ratio":{}{}}}"#,
            number(row.ratio),
            verdict_json(row.verdict()),
        ),
    }
}

fn verdict_json(verdict: Option<Verdict>) -> String {
    verdict.map_or(String::new(), |verdict| {
        format!(r#","target":{},"ok":{}"#, number(Some(verdict.most)), verdict.is_ok())
    })
}

fn join(line: &mut String, parts: impl Iterator<Item = String>) {
    line.push_str(&parts.collect::<Vec<_>>().join(","));
}

/// JSON has no number for what is not there.
fn number(figure: Option<f64>) -> String {
    figure.filter(|figure| figure.is_finite()).map_or("null".into(), |figure| format!("{figure:.3}"))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
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
    fn what_is_missing_says_why_and_what_is_there_is_judged() {
        let figures =
            Figures { plain: Some(50.0), over_plain: Some(61.0), driver_taking: 5.0, ..Figures::default() };
        let costs = [
            CostRow { kind: Kind::DpdkRing, figures: Ok(figures) },
            CostRow { kind: Kind::XdpDriver, figures: Err("bpf(2): \"no\"\n".into()) },
        ];
        let effort = Effort { duration: std::time::Duration::from_secs(1), packets: 2, burst: 1 };
        let line = json(&costs, &[], &effort);
        assert!(line.contains(r#""over_plain_ns":61.000"#) && line.contains(r#""target":60.000,"ok":false"#));
        assert!(line.contains(r#"{"device":"xdp-driver","missing":"bpf(2): \"no\" "}"#));
        assert!(line.ends_with(r#""latency":[],"ceiling_ns":5.000}"#));
        assert!(line.contains(r#""device_pps":null"#), "{line}");
    }
}
