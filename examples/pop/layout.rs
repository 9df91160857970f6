//! How figures are laid out: as a table, and as JSON.
//!
//! Must not know what is a good figure.

use std::fmt::Write as _;

use crate::dataplane::Seen;
use crate::report::{
    DETECTION_MAX, FAILURE_MAX, Figures, IDLE_BYTES_MAX, IDLE_RATIO_MAX, Quantiles, REDUNDANCY_MAX, Report,
    TAKEOVER_MAX,
};
use crate::view::{grouped, millis};

/// Returns the table, a line each.
pub fn table(report: &Report) -> Vec<String> {
    let here_over = format!("over {}, here", report.io.title());
    let mut lines =
        vec![format!("{:<30}{:<44}{:<40}{}", "", here_over, "in virtual time", "should be at most")];
    let mut row = |name: &str, cells: [Option<String>; 2], most: &str| {
        if cells.iter().any(Option::is_some) {
            let [live, simulated] = cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
            lines.push(format!("  {name:<28}{live:<44}{simulated:<40}{most}").trim_end().to_owned());
        }
    };
    let both =
        |of: &dyn Fn(&Figures) -> Option<String>| [of(&report.live), report.simulated.as_ref().and_then(of)];
    let here = |cell: Option<String>| [cell, None];
    let time = |of: fn(&Figures) -> Option<u64>| both(&|figures| of(figures).map(millis));
    let spread = |of: fn(&Figures) -> Option<Quantiles>| both(&|figures| of(figures).map(quantiles));
    row("join", time(|f| f.join_ns), "");
    row("first full coverage", time(|f| f.coverage_ns), "");
    let checks = |(least, mean, most)| format!("{least:.2} least, {mean:.2} mean, {most:.2} most");
    row("checks per interval", here(report.checks.map(checks)), "0.9 to 1.1");
    row("result known to all", spread(|f| f.to_all), "");
    row("origin failure known to all", spread(|f| f.failure), &format!("p99 {}", millis(FAILURE_MAX)));
    row("killed server known dead", spread(|f| f.detection), &millis(DETECTION_MAX));
    row("its origins checked again", spread(|f| f.takeover), &millis(TAKEOVER_MAX));
    row("back with all records", here(report.rejoin.map(quantiles)), "");
    row("false deaths", both(&|f| Some(f.false_deaths.to_string())), "0");
    row("back with its link", here(report.relink.map(quantiles)), "");
    row("partition healed, all equal", here(report.heal_ns.map(millis)), "");
    let redundancy = both(&|f| f.redundancy.map(|x| format!("{x:.3} received per applied")));
    row("redundancy", redundancy, &format!("{REDUNDANCY_MAX}"));
    let lossy = report.lossy.map(|(redundancy, q)| format!("{redundancy:.3}; {}", quantiles(q)));
    row("the same at 10 % loss", here(lossy), "");
    let bytes = |x: f64| format!("{} bytes/s", grouped(x.round() as u64));
    row("steady traffic of a server", both(&|f| f.steady_bytes.map(bytes)), "");
    row("idle traffic of a server", both(&|f| f.idle_bytes.map(bytes)), &bytes(IDLE_BYTES_MAX));
    let merge = |(p50, p99, p999)| format!("p50 {p50} ns, p99 {p99} ns, p99.9 {p999} ns");
    row("merging a packet *", both(&|f| f.merge.map(merge)), "");
    let reads = report.reads.as_ref();
    row("lookups of one thread", here(reads.map(lookups)), "");
    let against =
        |seen: &Seen| seen.idle_ratio().map(|ratio| format!("{ratio:.2} times the time of a lookup"));
    row("against an idle hashbrown", here(reads.and_then(against)), &format!("{IDLE_RATIO_MAX}"));
    let never = |seen: &Seen| format!("{} torn, {} missed; {} busy", seen.torn, seen.missing, seen.busy);
    row("in these lookups", here(reads.map(never)), "0 torn, 0 missed");
    let harvest =
        |(steady, least): (f64, f64)| format!("{:.2} % steady, {:.1} % least", 100.0 * steady, 100.0 * least);
    row("harvest", here(report.harvest.map(harvest)), "");
    let mends = both(&|f| Some(format!("{} with a known cause, {} without", f.mends, f.mends_unknown)));
    row("mended by repair", mends, "0 without");
    let size = format!("{} ({:.1} a key)", grouped(report.map_bytes as u64), report.bytes_per_key());
    row("bytes of a server's map", here(Some(size)), "");
    row("wall time", here(Some(format!("{:.0} s", report.wall_s))), "");
    lines
}

fn quantiles(q: Quantiles) -> String {
    format!("p50 {}, p99 {}, max {}", millis(q.p50), millis(q.p99), millis(q.max))
}

fn lookups(seen: &Seen) -> String {
    let rate = seen.per_second().map_or(0.0, |rate| rate / 1e6);
    let ns = |q| seen.times.quantile(q).unwrap_or(0);
    format!("{rate:.1} million/s, p50 {} ns, p99.9 {} ns", ns(0.5), ns(0.999))
}

/// Returns all figures as one line of JSON; what was not measured is `null`.
pub fn json(report: &Report) -> String {
    let (reads, checks) = (report.reads.as_ref(), report.checks);
    let read_quantile = |q| whole(reads.and_then(|seen| seen.times.quantile(q)));
    let texts =
        |texts: &[String]| format!("[{}]", texts.iter().map(|t| string(t)).collect::<Vec<_>>().join(","));
    let mut members = vec![
        ("io", string(report.io.name())),
        ("servers", report.servers.to_string()),
        ("keys", report.keys.to_string()),
        ("interval_s", number(Some(report.interval_s))),
        ("loss_percent", number(Some(f64::from(report.loss_ppm) / 1e4))),
        ("converged", report.converged.to_string()),
        (
            "checks_per_origin_per_interval",
            object(&[
                ("min", number(checks.map(|(least, _, _)| least))),
                ("mean", number(checks.map(|(_, mean, _)| mean))),
                ("max", number(checks.map(|(_, _, most)| most))),
            ]),
        ),
    ];
    members.extend(figures(&report.live));
    members.extend([
        ("rejoin_ms", times(report.rejoin)),
        ("heal_ms", ms(report.heal_ns)),
        ("relink_ms", times(report.relink)),
        ("lossy_redundancy", number(report.lossy.map(|(redundancy, _)| redundancy))),
        ("lossy_propagation_ms", times(report.lossy.map(|(_, q)| q))),
        (
            "reads",
            object(&[
                ("per_s", number(reads.and_then(Seen::per_second))),
                ("p50_ns", read_quantile(0.5)),
                ("p999_ns", read_quantile(0.999)),
                ("time_over_idle_hashbrown", number(reads.and_then(Seen::idle_ratio))),
                ("answered", number(reads.and_then(Seen::answered))),
                ("torn", whole(reads.map(|seen| seen.torn))),
                ("busy", whole(reads.map(|seen| seen.busy))),
                ("missing", whole(reads.map(|seen| seen.missing))),
            ]),
        ),
        ("bytes_per_key", number(Some(report.bytes_per_key()))),
        ("harvest", number(report.harvest.map(|(steady, _)| steady))),
        ("harvest_least", number(report.harvest.map(|(_, least)| least))),
        ("virtual", report.simulated.as_ref().map_or("null".to_owned(), |f| object(&figures(f)))),
        ("wall_s", number(Some(report.wall_s))),
        ("failures", texts(&report.failures)),
        ("missed_on_this_machine", texts(&report.missed)),
    ]);
    object(&members)
}

fn figures(figures: &Figures) -> Vec<(&'static str, String)> {
    vec![
        ("join_ms", ms(figures.join_ns)),
        ("first_coverage_ms", ms(figures.coverage_ns)),
        ("propagation_ms", times(figures.to_all)),
        ("propagation_to_one_ms", times(figures.to_one)),
        ("failure_known_ms", times(figures.failure)),
        ("detection_ms", times(figures.detection)),
        ("takeover_ms", times(figures.takeover)),
        ("false_deaths", figures.false_deaths.to_string()),
        ("redundancy", number(figures.redundancy)),
        (
            "bytes_per_server_per_s",
            object(&[("idle", number(figures.idle_bytes)), ("steady", number(figures.steady_bytes))]),
        ),
        (
            "merge_ns_per_packet",
            object(&[
                ("p50", whole(figures.merge.map(|merge| merge.0))),
                ("p99", whole(figures.merge.map(|merge| merge.1))),
                ("p999", whole(figures.merge.map(|merge| merge.2))),
            ]),
        ),
        ("mends_unknown", figures.mends_unknown.to_string()),
    ]
}

fn ms(ns: Option<u64>) -> String {
    number(ns.map(|ns| ns as f64 / 1e6))
}

fn times(q: Option<Quantiles>) -> String {
    let of = |part: fn(Quantiles) -> u64| ms(q.map(part));
    object(&[("p50", of(|q| q.p50)), ("p99", of(|q| q.p99)), ("max", of(|q| q.max))])
}

fn whole(n: Option<u64>) -> String {
    n.map_or_else(|| "null".to_owned(), |n| n.to_string())
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// A number to four decimals. JSON has no infinity.
fn number(x: Option<f64>) -> String {
    match x.filter(|x| x.is_finite()) {
        Some(x) => ((x * 1e4).round() / 1e4).to_string(),
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
        assert_eq!(object(&[("a", number(Some(1.234_56))), ("b", number(None))]), r#"{"a":1.2346,"b":null}"#);
        assert_eq!(number(Some(f64::INFINITY)), "null");
        assert_eq!(string("a \"b\"\n"), "\"a \\\"b\\\"\\u000a\"");
    }

    #[test]
    fn json_has_every_figure_even_when_none_was_measured() {
        let text = json(&Report { keys: 1, failures: vec!["x".to_owned()], ..Report::default() });
        let names = [
            "servers",
            "keys",
            "converged",
            "checks_per_origin_per_interval",
            "propagation_ms",
            "detection_ms",
            "takeover_ms",
            "false_deaths",
            "redundancy",
            "bytes_per_server_per_s",
            "merge_ns_per_packet",
            "reads",
            "bytes_per_key",
            "harvest",
        ];
        for name in names {
            assert!(text.contains(&format!("\"{name}\":")), "{name} is not in {text}");
        }
        assert!(text.starts_with('{') && text.ends_with('}') && !text.contains('\n'));
    }
}
