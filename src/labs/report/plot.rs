//! Plots: series of points between two axes.
//!
//! ```
//! use gradus::labs::report::{Axis, Plot, Rule, Series};
//!
//! let plot = Plot::new(Axis::new("shift").unit("px"), Axis::new("test accuracy").percent())
//!     .series(Series::line("CNN", [(0.0, 0.846), (2.0, 0.771)]).dots())
//!     .series(Series::line("MLP", [(0.0, 0.828), (2.0, 0.528)]).dots().errors([0.01, 0.02]))
//!     .rule(Rule::horizontal(0.1, "chance"));
//! ```

use super::axis::Axis;
use super::chart;

/// What a series is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line through the points; a gap where a point has no place.
    Line,
    /// A marker on each point.
    Dots,
    /// Both.
    LineDots,
    /// A line that keeps each value until the next point.
    Step,
    /// Columns from zero (from the low end on a logarithmic axis).
    Bars,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend; empty for none.
    pub name: String,
    /// Points (x, y), in the order to draw them.
    pub points: Vec<(f64, f64)>,
    /// How to draw them.
    pub mark: Mark,
    /// Half lengths of error bars, one a point, or none.
    pub errors: Vec<f64>,
    /// Shaded band (low, high) around the line, one pair a point, or none.
    pub band: Vec<(f64, f64)>,
    /// Colour of the palette; without it the next one.
    pub colour: Option<usize>,
    /// Thin and pale, for raw data behind a smooth line.
    pub faint: bool,
    /// Dashed, for theory beside measurement.
    pub dashed: bool,
}

impl Series {
    /// A line.
    pub fn line(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points: points.into_iter().collect(),
            mark: Mark::Line,
            errors: Vec::new(),
            band: Vec::new(),
            colour: None,
            faint: false,
            dashed: false,
        }
    }

    /// Markers without a line.
    pub fn scatter(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { mark: Mark::Dots, ..Self::line(name, points) }
    }

    /// A staircase.
    pub fn step(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { mark: Mark::Step, ..Self::line(name, points) }
    }

    /// Columns.
    pub fn bars(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { mark: Mark::Bars, ..Self::line(name, points) }
    }

    /// Adds a marker to each point of a line.
    pub fn dots(self) -> Self {
        Self { mark: Mark::LineDots, ..self }
    }

    /// Adds error bars y ± error.
    pub fn errors(self, errors: impl IntoIterator<Item = f64>) -> Self {
        Self { errors: errors.into_iter().collect(), ..self }
    }

    /// Adds a shaded band.
    pub fn band(self, band: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { band: band.into_iter().collect(), ..self }
    }

    /// Picks colour `index` of the palette (0 to 5), for series that belong together.
    pub fn colour(self, index: usize) -> Self {
        Self { colour: Some(index), ..self }
    }

    /// Draws thin and pale.
    pub fn faint(self) -> Self {
        Self { faint: true, ..self }
    }

    /// Draws dashes.
    pub fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }
}

/// A reference line across the plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Where it crosses its axis.
    pub at: f64,
    /// Its name, printed along it.
    pub label: String,
    /// Whether it runs upright, at a fixed x.
    pub vertical: bool,
}

impl Rule {
    /// At a fixed y.
    pub fn horizontal(at: f64, label: impl Into<String>) -> Self {
        Self { at, label: label.into(), vertical: false }
    }

    /// At a fixed x.
    pub fn vertical(at: f64, label: impl Into<String>) -> Self {
        Self { at, label: label.into(), vertical: true }
    }
}

/// Series between two axes. Points without a place (NaN, zero on a logarithmic axis) are left out and counted
/// under the plot; points beyond a fixed range are clipped.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, first series at the back.
    pub series: Vec<Series>,
    /// Reference lines.
    pub rules: Vec<Rule>,
}

impl Plot {
    /// An empty plot.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, series: Vec::new(), rules: Vec::new() }
    }

    /// Adds a series.
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Adds a reference line.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The plot as an SVG file of its own, legend above: it follows the reader's colour scheme and fetches nothing.
    /// `alt` describes it for those who do not see it; width and height are those of the drawing without the
    /// legend, in CSS pixels.
    pub fn svg(&self, alt: &str, width: f64, height: f64) -> String {
        chart::file(self, alt, (width, height))
    }

    /// What keeps this plot from being drawn as asked, if anything does.
    pub(super) fn defect(&self) -> Option<String> {
        if self.series.iter().all(|series| series.points.is_empty()) {
            return Some("the plot has no points".to_owned());
        }
        self.series.iter().find_map(|series| {
            let (name, points) = (&series.name, series.points.len());
            let wrong = |what: &str, n: usize| {
                (n != 0 && n != points).then(|| format!("series “{name}” has {points} points and {n} {what}"))
            };
            wrong("errors", series.errors.len()).or_else(|| wrong("band edges", series.band.len()))
        })
    }
}

/// Exponential moving average without start-up bias; a value loses half its weight in `half_life` steps.
/// Values that are not finite are passed over.
pub fn smoothed(values: &[f64], half_life: f64) -> Vec<f64> {
    let keep = 0.5f64.powf(1.0 / half_life.max(f64::MIN_POSITIVE));
    let (mut sum, mut weight) = (0.0, 0.0);
    let step = |v: &f64| {
        if v.is_finite() {
            sum = sum * keep + v;
            weight = weight * keep + 1.0;
        }
        sum / weight
    };
    values.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_constants_and_passes_over_nan() {
        assert_eq!(smoothed(&[2.0, 2.0, f64::NAN, 2.0], 10.0), [2.0; 4]);
        let halved = smoothed(&[1.0, 0.0], 1.0);
        assert!((halved[1] - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn mismatched_errors_are_a_defect() {
        let plot = |series| Plot::new(Axis::new("x"), Axis::new("y")).series(series);
        assert!(plot(Series::line("a", [(0.0, 1.0)])).defect().is_none());
        assert!(plot(Series::line("a", [(0.0, 1.0)]).errors([0.1, 0.2])).defect().is_some());
        assert!(plot(Series::line("a", [])).defect().is_some());
    }
}
