//! Line charts as SVG, written by hand: two axes, a legend, and nothing that a viewer has to fetch.
//!
//! Colours are the palette of Okabe and Ito, told apart by the colour-blind, on white whatever the page's theme is.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// The plot's edges: left, right, top, bottom.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 340.0;
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// How values are laid along an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By their logarithm; only values above zero are drawn.
    Log,
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: &'static str,
    /// How.
    pub scale: Scale,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Which colour; lines that belong together have one.
    pub colour: usize,
    /// Whether the line is dashed.
    pub dashed: bool,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// A scale with its range: maps values to places.
struct Ruler {
    scale: Scale,
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Ruler {
    fn new(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let drawn = values.filter(|value| scale == Scale::Linear || *value > 0.0);
        let (least, most) = drawn.fold((f64::MAX, f64::MIN), |(a, b), value| (a.min(value), b.max(value)));
        let (least, most) = match scale {
            _ if least > most => (if scale == Scale::Log { 1.0 } else { 0.0 }, 10.0),
            Scale::Linear => (0.0, if most > 0.0 { most } else { 1.0 }),
            // A little beyond the outermost, so that one value has a range too.
            Scale::Log => (least / 1.2, most * 1.2),
        };
        Self { scale, least, most, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.least) / (self.most - self.least),
            Scale::Log => (value / self.least).ln() / (self.most / self.least).ln(),
        };
        self.from + part * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        let inside = |value: &f64| (self.least..=self.most * 1.000_001).contains(value);
        match self.scale {
            Scale::Linear => {
                let rough = self.most / 5.0;
                let decade = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * decade).into_iter().find(|step| *step >= rough);
                let step = step.unwrap_or(decade);
                (0..=10).map(|n| f64::from(n) * step).filter(inside).collect()
            }
            Scale::Log => {
                let decades = self.least.log10().floor() as i32..=self.most.log10().ceil() as i32;
                let few = (self.most / self.least).log10() < 3.0;
                let digits: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
                decades
                    .flat_map(|decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade)))
                    .filter(inside)
                    .collect()
            }
        }
    }
}

/// Returns a number as a tick shows it: 50,000, 0.25.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Chart {
    /// Draws it.
    pub fn draw(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Ruler::new(self.x.scale, points().map(|point| point.0), LEFT, RIGHT);
        let y = Ruler::new(self.y.scale, points().map(|point| point.1), BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
            escaped(&self.title)
        );
        self.axes(&mut svg, &x, &y);
        for (at, series) in self.series.iter().enumerate() {
            series.draw(&mut svg, &x, &y, TOP + 8.0 + 18.0 * at as f64);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, x: &Ruler, y: &Ruler) {
        for tick in x.ticks() {
            let at = x.place(tick);
            line(svg, [at, TOP, at, BOTTOM], "#ddd");
            text(svg, at, BOTTOM + 18.0, "middle", &number(tick));
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            line(svg, [LEFT, at, RIGHT, at], "#ddd");
            text(svg, LEFT - 6.0, at + 4.0, "end", &number(tick));
        }
        line(svg, [LEFT, BOTTOM, RIGHT, BOTTOM], "#222");
        line(svg, [LEFT, TOP, LEFT, BOTTOM], "#222");
        text(svg, f64::midpoint(LEFT, RIGHT), BOTTOM + 42.0, "middle", self.x.label);
        let (at, middle) = (16.0, f64::midpoint(TOP, BOTTOM));
        push(
            svg,
            format_args!(
                "<text x=\"{at}\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 {at} {middle})\">{}</text>\n",
                escaped(self.y.label)
            ),
        );
    }
}

impl Series {
    fn draw(&self, svg: &mut String, x: &Ruler, y: &Ruler, legend: f64) {
        let colour = COLOURS[self.colour % COLOURS.len()];
        let dashes = if self.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let drawn = |scale: Scale, value: f64| scale == Scale::Linear || value > 0.0;
        let points: Vec<_> = self
            .points
            .iter()
            .filter(|point| drawn(x.scale, point.0) && drawn(y.scale, point.1))
            .map(|point| (x.place(point.0), y.place(point.1)))
            .collect();
        let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let stroke = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}");
        push(svg, format_args!("<polyline points=\"{}\" {stroke}/>\n", path.join(" ")));
        // Points of a curve that has many of them would hide it.
        for (x, y) in points.iter().filter(|_| points.len() <= 16) {
            push(svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"));
        }
        let (from, to) = (RIGHT + 14.0, RIGHT + 40.0);
        push(svg, format_args!("<polyline points=\"{from},{legend} {to},{legend}\" {stroke}/>\n"));
        text(svg, to + 6.0, legend + 4.0, "start", &self.name);
    }
}

fn push(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).expect("a string takes everything");
}

fn line(svg: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str) {
    push(
        svg,
        format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>\n"
        ),
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    push(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(what)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        let shown = [0.0, 0.25, 1.0, 150.0, 1_000.0, 50_000.0, 1_234_567.5].map(number);
        assert_eq!(shown, ["0", "0.25", "1", "150", "1,000", "50,000", "1,234,567.5"]);
    }

    #[test]
    fn rulers_map_their_range_to_the_plot() {
        let linear = Ruler::new(Scale::Linear, [3.0, 10.0].into_iter(), 0.0, 100.0);
        assert_eq!((linear.place(0.0), linear.place(10.0)), (0.0, 100.0));
        assert_eq!(linear.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        let log = Ruler::new(Scale::Log, [0.0, 1.2, 1_000.0 / 1.2].into_iter(), 0.0, 300.0);
        assert!((log.place(10.0) - 100.0).abs() < 1e-9);
        assert_eq!(log.ticks().len(), 4, "{:?}", log.ticks());
    }

    #[test]
    fn nothing_and_one_point_are_charts_too() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(5.0, 7.0)]] {
            for scale in [Scale::Linear, Scale::Log] {
                let axis = Axis { label: "a < b", scale };
                let series =
                    vec![Series { name: "one".to_owned(), points: points.clone(), colour: 9, dashed: true }];
                let svg = Chart { title: "t & u".to_owned(), x: axis.clone(), y: axis, series }.draw();
                assert!(
                    svg.contains("a &lt; b") && svg.contains("t &amp; u") && !svg.contains("NaN"),
                    "{svg}"
                );
            }
        }
    }
}
