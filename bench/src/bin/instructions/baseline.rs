//! What was counted at some time, in a file, and what has grown since.
//!
//! Knows the file and the bound. Must not know what the figures are of, nor how they are counted.
//!
//! The file is text: lines that begin with `#` are for people, then come the compiler (`rustc --version`), the CPU level
//! (`cpu x86_64 avx2`) and a line for each figure, its name and its count.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use popmap_bench::cpu;

/// How much a figure may grow, or shrink before the file is out of date, in per cent.
pub const TOLERANCE: f64 = 3.0;

/// What a file begins with.
const HEAD: &str = "\
# Instructions of one packet, key or whatever else a figure is of. The gate fails when one has grown by more than 3 %.
# Whoever means a figure to change renews all of them:
# cargo run --release --locked -p popmap-bench --bin instructions -- --write-baseline bench/instructions.baseline
# Counts depend on the compiler and on what the CPU has: those of others than these are not compared.
";
const RUSTC: &str = "rustc ";
const CPU: &str = "cpu ";

/// A count by its name.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    pub name: String,
    pub instructions: f64,
}

/// The counts of one build on one machine.
#[derive(PartialEq, Debug)]
pub struct Baseline {
    rustc: String,
    cpu: String,
    figures: Vec<Figure>,
}

/// Why there is no baseline.
#[derive(Debug)]
pub enum BaselineError {
    /// The file cannot be read or written.
    Io(io::Error),
    /// This line of the file, the first is 1, is not as it must be.
    Line(usize, String),
}

impl fmt::Display for BaselineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Line(number, what) => write!(f, "line {number}: {what}"),
        }
    }
}

impl From<io::Error> for BaselineError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What has become of a baseline's figures.
#[derive(PartialEq, Debug)]
pub enum Comparison {
    /// Counts of another compiler or CPU level: there is nothing to learn from them.
    NotComparable(String),
    /// What is not as it must be, and what has become better.
    Compared { complaints: Vec<String>, shrunk: Vec<String> },
}

impl Baseline {
    /// Returns a baseline of what this build has counted on this machine.
    pub fn new(figures: Vec<Figure>) -> Self {
        Self { rustc: env!("POPMAP_RUSTC").into(), cpu: format!("{CPU}{}", cpu::level()), figures }
    }

    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        Self::parse(&fs::read_to_string(path)?)
    }

    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        Ok(fs::write(path, self.to_string())?)
    }

    fn parse(text: &str) -> Result<Self, BaselineError> {
        let end = text.lines().count() + 1;
        let mut lines =
            (1..).zip(text.lines()).filter(|(_, line)| !(line.starts_with('#') || line.is_empty()));
        let mut stated = |what: &str, example: &str| match lines.next() {
            Some((_, line)) if line.starts_with(what) => Ok(line.to_owned()),
            other => {
                let (number, line) = other.unwrap_or((end, "the end"));
                Err(BaselineError::Line(number, format!("`{example}` expected, not `{line}`")))
            }
        };
        let rustc = stated(RUSTC, "rustc VERSION")?;
        let cpu = stated(CPU, "cpu LEVEL")?;
        let mut figures: Vec<Figure> = Vec::new();
        for (number, line) in lines {
            let figure = Figure::parse(line).ok_or_else(|| {
                let what = format!("a name and a count above zero expected, like `owner 51.3`, not `{line}`");
                BaselineError::Line(number, what)
            })?;
            if find(&figures, &figure.name).is_some() {
                return Err(BaselineError::Line(number, format!("`{}` stands there twice", figure.name)));
            }
            figures.push(figure);
        }
        if figures.is_empty() {
            return Err(BaselineError::Line(end, "there is no figure".into()));
        }
        Ok(Self { rustc, cpu, figures })
    }

    /// Holds `now` against this. When that is `everything` that can be counted, a figure of this that is not in it is gone.
    pub fn compare(&self, now: &Self, everything: bool) -> Comparison {
        if (&self.rustc, &self.cpu) != (&now.rustc, &now.cpu) {
            return Comparison::NotComparable(format!(
                "it was made with `{}` on `{}`, this is `{}` on `{}`",
                self.rustc, self.cpu, now.rustc, now.cpu
            ));
        }
        let (mut complaints, mut shrunk) = (Vec::new(), Vec::new());
        for Figure { name, instructions: count } in &now.figures {
            let Some(Figure { instructions: before, .. }) = find(&self.figures, name) else {
                complaints.push(format!("{name} is not in it: {count:.1} now"));
                continue;
            };
            let growth = 100.0 * (count / before - 1.0);
            let change =
                |how| format!("{name} {how} by {:.1} %: {before:.1} before, {count:.1} now", growth.abs());
            if growth.is_nan() || growth > TOLERANCE {
                complaints.push(change("grew"));
            } else if growth < -TOLERANCE {
                shrunk.push(change("shrank"));
            }
        }
        let gone =
            self.figures.iter().filter(|figure| everything && find(&now.figures, &figure.name).is_none());
        complaints.extend(gone.map(|Figure { name, .. }| format!("{name} is in it and was not counted")));
        Comparison::Compared { complaints, shrunk }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}{}\n{}", self.rustc, self.cpu)?;
        self.figures.iter().try_for_each(|figure| writeln!(f, "{} {:.1}", figure.name, figure.instructions))
    }
}

impl Figure {
    fn parse(line: &str) -> Option<Self> {
        let (name, count) = line.split_once(' ')?;
        let instructions: f64 = count.parse().ok()?;
        let whole = !name.is_empty() && instructions.is_finite() && instructions > 0.0;
        whole.then(|| Self { name: name.into(), instructions })
    }
}

fn find<'f>(figures: &'f [Figure], name: &str) -> Option<&'f Figure> {
    figures.iter().find(|figure| figure.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(figures: &[(&str, f64)]) -> Baseline {
        let figure = |&(name, instructions): &(&str, f64)| Figure { name: name.into(), instructions };
        Baseline::new(figures.iter().map(figure).collect())
    }

    fn compare(before: &[(&str, f64)], now: &[(&str, f64)], everything: bool) -> [Vec<String>; 2] {
        match baseline(before).compare(&baseline(now), everything) {
            Comparison::Compared { complaints, shrunk } => [complaints, shrunk],
            Comparison::NotComparable(why) => panic!("{why}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let written = baseline(&[("build/1000", 4_726.0), ("lookup/1000", 84.3)]);
        assert!(written.rustc.starts_with("rustc 1."), "{}", written.rustc);
        assert_eq!(Baseline::parse(&written.to_string()).unwrap(), written);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let line = |text: &str| match Baseline::parse(text) {
            Err(BaselineError::Line(number, _)) => number,
            other => panic!("{text:?}: {other:?}"),
        };
        let head = "# for people\nrustc 1\n\ncpu x\n";
        assert!(Baseline::parse(&format!("{head}a 1\n# more\nb/2 2.5\n")).is_ok());
        assert_eq!(["", "# for people\n", "rustc 1\n"].map(line), [1, 2, 2], "they end too early");
        assert_eq!(["cpu x\nrustc 1\na 1\n", "rustc 1\na 1\n"].map(line), [1, 2], "not in order");
        assert_eq!(line(head), 5, "no figure");
        for bad in
            ["a", "a ", " 1", "a b", "a 1 2", "a  1", "a -1", "a 0", "a NaN", "a inf", "a 1,000", "b 1"]
        {
            assert_eq!(line(&format!("{head}b 2\n{bad}\n")), 6, "{bad}");
        }
    }

    #[test]
    fn growth_is_complained_of_by_name() {
        let [complaints, shrunk] = compare(
            &[("a", 100.0), ("b", 1_000.0), ("c", 7.0)],
            &[("a", 103.1), ("b", 1_029.0), ("c", 7.0)],
            true,
        );
        assert_eq!(complaints, ["a grew by 3.1 %: 100.0 before, 103.1 now"]);
        assert!(shrunk.is_empty());
        assert_eq!(compare(&[("a", 100.0)], &[("a", f64::NAN)], true)[0].len(), 1);
    }

    #[test]
    fn shrinking_is_no_failure() {
        let [complaints, shrunk] = compare(&[("a", 100.0), ("b", 100.0)], &[("a", 96.9), ("b", 97.1)], true);
        assert!(complaints.is_empty());
        assert_eq!(shrunk, ["a shrank by 3.1 %: 100.0 before, 96.9 now"]);
    }

    #[test]
    fn both_have_the_same_figures() {
        let (a, ab) = ([("a", 1.0)], [("a", 1.0), ("b", 1.0)]);
        assert_eq!(compare(&a, &ab, false)[0], ["b is not in it: 1.0 now"]);
        assert_eq!(compare(&ab, &a, true)[0], ["b is in it and was not counted"]);
        assert!(compare(&ab, &a, false)[0].is_empty(), "it was not asked for");
    }

    #[test]
    fn others_are_not_compared() {
        let (before, now) = (baseline(&[("a", 1.0)]), baseline(&[("a", 9.0)]));
        for other in [
            Baseline { rustc: "rustc 1.0.0".into(), ..baseline(&[("a", 1.0)]) },
            Baseline { cpu: "cpu other".into(), ..baseline(&[("a", 1.0)]) },
        ] {
            assert!(matches!(other.compare(&now, true), Comparison::NotComparable(_)), "{other:?}");
        }
        assert!(matches!(before.compare(&now, true), Comparison::Compared { .. }));
    }
}
