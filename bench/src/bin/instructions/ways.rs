//! What ways into the map add to a node's own work on a packet, and how much that may be.
//!
//! Knows bounds. Must not know how instructions are counted.

use popmap_bench::pair::RECORDS;
use popmap_bench::paths::Way;

use crate::baseline::Figure;

/// Records of the packets that are counted: all that fit, and one.
pub const RECORDS_OF: [usize; 2] = [RECORDS, 1];
/// What a way may add for a full packet beyond what it adds for a packet with one record. Nothing on it grows with the
/// records: bursts and single packets were 14 instructions apart when this was written.
const GROWTH: f64 = 32.0;
/// How much more copying a full packet's records must be than that, or the bound would prove nothing.
const COPY: f64 = 4.0 * GROWTH;

/// Returns what a way may add to the node's own work, in instructions per packet: a third more than it did when this was
/// written.
fn most(way: Way) -> f64 {
    match way {
        Way::Handle => 0.0,
        Way::Strip => 220.0,
        Way::Burst => 120.0,
        Way::Poll => 1_400.0,
        Way::Copy => f64::INFINITY,
    }
}

/// Instructions per packet of each way, for [`RECORDS_OF`].
#[derive(Default)]
pub struct Ways(Vec<(Way, [f64; 2])>);

impl Ways {
    /// Takes the figure of each way for each number of records.
    pub fn new(ways: &[Way], figure: impl Fn(Way, usize) -> f64) -> Self {
        Self(ways.iter().map(|&way| (way, RECORDS_OF.map(|records| figure(way, records)))).collect())
    }

    fn of(&self, way: Way) -> Option<[f64; 2]> {
        self.0.iter().find(|row| row.0 == way).map(|row| row.1)
    }

    /// Returns what a way adds to the node's own work; what copying takes is all its own.
    fn added(&self, way: Way) -> Option<[f64; 2]> {
        let [full, one] = self.of(way)?;
        let node = if way == Way::Copy { Some([0.0; 2]) } else { self.of(Way::Handle) };
        node.map(|node| [full - node[0], one - node[1]])
    }

    /// Returns every count under its name in a baseline.
    pub fn figures(&self) -> impl Iterator<Item = Figure> {
        self.0.iter().flat_map(|(way, counts)| {
            let figure =
                |(records, &instructions)| Figure { name: format!("{}/{records}", way.name()), instructions };
            // How many are all that fit is the wire's business.
            ["full", "one"].into_iter().zip(counts).map(figure)
        })
    }

    /// Returns what is not as it must be.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for &(way, _) in &self.0 {
            let (name, most) = (way.name(), most(way));
            let Some([full, one]) = self.added(way) else { continue };
            let growth = full - one;
            if way == Way::Copy {
                if growth.is_nan() || growth < COPY {
                    complaints
                        .push(format!("copying records would not show: it takes {growth:.1} more for more"));
                }
                continue;
            }
            if full.is_nan() || full > most {
                complaints.push(format!("{name} adds {full:.1} to the node's own work, {most:.0} allowed"));
            }
            let copied = self.of(Way::Copy).filter(|_| way == Way::Strip);
            if copied.is_some_and(|copied| full.is_nan() || full >= copied[0]) {
                complaints.push(format!("{name} adds as much as copying every record would: {full:.1}"));
            }
            if growth.is_nan() || growth > GROWTH {
                complaints.push(format!(
                    "{name} adds {growth:.1} more for {RECORDS} records than for one: a copy?"
                ));
            }
        }
        complaints
    }

    /// Prints a table, or one JSON object a row.
    pub fn print(&self, json: bool) {
        if self.0.is_empty() {
            return;
        }
        if !json {
            println!(
                "\ninstructions per packet on its way into the map, and what the way adds to the node's own work"
            );
            println!(
                "{:10}{:>12}{:>12}{:>12}{:>12}",
                "records", RECORDS_OF[0], RECORDS_OF[1], "added", "added"
            );
        }
        for &(way, [full, one]) in &self.0 {
            let (name, added) = (way.name(), self.added(way));
            if json {
                println!(
                    r#"{{"way":"{name}","unit":"packet","records":{RECORDS},"instructions":{full:.1}}}"#
                );
                println!(r#"{{"way":"{name}","unit":"packet","records":1,"instructions":{one:.1}}}"#);
                continue;
            }
            let added = added.map_or(String::new(), |[full, one]| format!("{full:>12.1}{one:>12.1}"));
            println!("{name:10}{full:>12.1}{one:>12.1}{added}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(strip: [f64; 2], copy: [f64; 2]) -> Ways {
        Ways(vec![(Way::Handle, [15_000.0, 2_000.0]), (Way::Strip, strip), (Way::Copy, copy)])
    }

    #[test]
    fn a_copy_is_complained_of() {
        let copy = [300.0, 25.0];
        let complaints = |strip, copy| ways(strip, copy).complaints();
        assert!(complaints([15_170.0, 2_170.0], copy).is_empty());
        let [said] = &complaints([15_170.0 + 40.0, 2_170.0], copy)[..] else { panic!() };
        assert!(said.starts_with("strip adds 40.0 more"), "{said}");
        assert_eq!(complaints([15_221.0, 2_221.0], copy).len(), 1, "more than it may");
        assert_eq!(complaints([15_170.0, 2_170.0], [165.0, 25.0]).len(), 1, "as much as copying");
        assert_eq!(complaints([f64::NAN, 2_070.0], copy).len(), 3);
        assert_eq!(complaints([15_010.0, 2_010.0], [25.0, 20.0]).len(), 1, "a bound that shows nothing");
    }
}
