//! Rows, as a table and as JSON.

use std::fmt;

use popmap_bench::contest::Results;
use serde::Serialize;

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What is compared.
    pub name: String,
    /// Nanoseconds of ours, where that is what is compared.
    pub ours_ns: Option<f64>,
    /// With what.
    pub other: String,
    pub other_ns: Option<f64>,
    /// Ours to the other's; a count where that is what is compared.
    pub ratio: f64,
    /// What the ratio may be at most.
    pub target: Option<f64>,
    /// Whether it is.
    pub ok: Option<bool>,
}

impl Row {
    /// The table's first line.
    pub const HEAD: &'static str = "name                          ours ns  other                          other ns    ratio   target    times  ok";

    pub fn new(
        name: impl Into<String>,
        other: impl Into<String>,
        ns: Option<[f64; 2]>,
        ratio: f64,
        target: Option<f64>,
    ) -> Self {
        Self {
            name: name.into(),
            ours_ns: ns.map(|ns| ns[0]),
            other: other.into(),
            other_ns: ns.map(|ns| ns[1]),
            ratio,
            target,
            ok: target.map(|target| ratio <= target),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = |ns: Option<f64>| match ns {
            Some(ns) if ns < 100.0 => format!("{ns:.1}"),
            Some(ns) => format!("{ns:.0}"),
            None => "-".into(),
        };
        let ratio = |ratio: f64| {
            if ratio >= 0.1 || ratio == 0.0 { format!("{ratio:.2}") } else { format!("{ratio:.4}") }
        };
        // How many times faster is easier to read than a small ratio.
        let times = if self.ratio > 0.0 && self.ratio < 1.0 {
            format!("{:.1}x", 1.0 / self.ratio)
        } else {
            "-".into()
        };
        let ok = match self.ok {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        write!(
            f,
            "{:28} {:>8}  {:28} {:>10} {:>8} {:>8} {:>8}  {ok}",
            self.name,
            ns(self.ours_ns),
            self.other,
            ns(self.other_ns),
            ratio(self.ratio),
            self.target.map_or_else(|| "-".into(), ratio),
            times,
        )
    }
}

/// The rows of a section.
#[derive(Default)]
pub struct Rows(Vec<Row>);

impl Rows {
    pub fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Adds the row in which two entrants of a contest are compared.
    pub fn compare(
        &mut self,
        name: impl Into<String>,
        results: &Results,
        [ours, other]: [&str; 2],
        target: Option<f64>,
    ) {
        let ns = [results.ns(ours), results.ns(other)];
        self.push(Row::new(name, other, Some(ns), results.ratio(ours, other), target));
    }

    /// Adds the row that says how often something allocated: it must not.
    pub fn allocations(&mut self, name: impl Into<String>, count: u64) {
        self.push(Row::new(name, "allocations", None, count as f64, Some(0.0)));
    }
}

impl IntoIterator for Rows {
    type Item = Row;
    type IntoIter = std::vec::IntoIter<Row>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        let row = |ratio, target| Row::new("a", "b", Some([1.0, 2.0]), ratio, target);
        assert_eq!(row(1.5, Some(1.5)).ok, Some(true));
        assert_eq!(row(1.51, Some(1.5)).ok, Some(false));
        assert_eq!(row(f64::NAN, Some(1.5)).ok, Some(false));
        assert_eq!(row(1.0, None).ok, None);
        let json = serde_json::to_string(&row(0.5, Some(0.25))).unwrap();
        let expected =
            r#"{"name":"a","ours_ns":1.0,"other":"b","other_ns":2.0,"ratio":0.5,"target":0.25,"ok":false}"#;
        assert_eq!(json, expected);
        assert!(row(0.5, Some(0.25)).to_string().ends_with("2.0x  NO"));
    }
}
