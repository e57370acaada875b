//! Heat maps: a matrix as shades of one hue, or of two for signed values.
//!
//! ```
//! use gradus::labs::report::{HeatMap, Shade};
//!
//! # let (counts, gradient) = ([1.0, 0.0, 2.0, 3.0], [1.0; 41 * 41]);
//! let confusion = HeatMap::new(2, 2, counts)
//!     .axes("predicted", "true class")
//!     .names(["shirt", "coat"], ["shirt", "coat"])
//!     .shade(Shade::Sqrt)
//!     .printed()
//!     .bar("images");
//! let field = HeatMap::new(41, 41, gradient)
//!     .axes("x offset (px)", "y offset (px)")
//!     .extent([-20.5, 20.5], [-20.5, 20.5])
//!     .circle(0.0, 0.0, 3.65, "√(L(k² − 1)/12) = 3.65 px");
//! ```

use std::fmt::Write;

use super::super::claim::number;
use super::axis::{Axis, Span};
use super::chart::{legend_entry, picture};
use super::png::{Colour, data_uri};
use super::text::escape;

/// How a value becomes a shade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shade {
    /// In proportion.
    Linear,
    /// By the square root, which lifts small values into sight.
    Sqrt,
}

/// A circle drawn over the map, in the units of its axes.
#[derive(Clone, Debug, PartialEq)]
struct Circle {
    centre: (f64, f64),
    radius: f64,
    label: String,
}

/// A matrix of shades with a bar that says what they mean. Row 0 is at the top.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    rows: usize,
    cols: usize,
    values: Vec<f64>,
    x: Axis,
    y: Axis,
    row_names: Vec<String>,
    col_names: Vec<String>,
    extent: [[f64; 2]; 2],
    shade: Shade,
    signed: bool,
    printed: bool,
    bar: String,
    circles: Vec<Circle>,
}

impl HeatMap {
    /// A map of `values`, row after row.
    pub fn new(rows: usize, cols: usize, values: impl IntoIterator<Item = f64>) -> Self {
        Self {
            rows,
            cols,
            values: values.into_iter().collect(),
            x: Axis::new(""),
            y: Axis::new(""),
            row_names: Vec::new(),
            col_names: Vec::new(),
            extent: [[-0.5, cols as f64 - 0.5], [-0.5, rows as f64 - 0.5]],
            shade: Shade::Linear,
            signed: false,
            printed: false,
            bar: String::new(),
            circles: Vec::new(),
        }
    }

    /// Titles for the horizontal and the vertical axis.
    pub fn axes(self, x: impl Into<String>, y: impl Into<String>) -> Self {
        Self { x: Axis::new(x), y: Axis::new(y), ..self }
    }

    /// Names the rows and the columns.
    pub fn names<R: Into<String>, C: Into<String>>(
        self,
        rows: impl IntoIterator<Item = R>,
        cols: impl IntoIterator<Item = C>,
    ) -> Self {
        let row_names = rows.into_iter().map(Into::into).collect();
        Self { row_names, col_names: cols.into_iter().map(Into::into).collect(), ..self }
    }

    /// What the outer edges stand for: left and right, top and bottom. Cell (0, 0) is centred on the origin
    /// without it.
    pub fn extent(self, x: [f64; 2], y: [f64; 2]) -> Self {
        Self { extent: [x, y], ..self }
    }

    /// How values become shades.
    pub fn shade(self, shade: Shade) -> Self {
        Self { shade, ..self }
    }

    /// Two hues, one for each sign, with zero blank. Without it the scale runs from zero to the largest value,
    /// or from the smallest if that is negative.
    pub fn signed(self) -> Self {
        Self { signed: true, ..self }
    }

    /// Prints each value in its cell.
    pub fn printed(self) -> Self {
        Self { printed: true, ..self }
    }

    /// Names what the shades measure.
    pub fn bar(self, label: impl Into<String>) -> Self {
        Self { bar: label.into(), ..self }
    }

    /// Draws a circle over the map, in the units of [`HeatMap::extent`].
    pub fn circle(mut self, x: f64, y: f64, radius: f64, label: impl Into<String>) -> Self {
        self.circles.push(Circle { centre: (x, y), radius, label: label.into() });
        self
    }

    /// What keeps this map from being drawn as asked, if anything does.
    pub(super) fn defect(&self) -> Option<String> {
        let (rows, cols) = (self.rows, self.cols);
        if rows.checked_mul(cols) != Some(self.values.len()) || self.values.is_empty() {
            return Some(format!("{} values for a map of {rows} × {cols}", self.values.len()));
        }
        if self.values.iter().any(|v| !v.is_finite()) {
            return Some("the map holds a value that is not finite".to_owned());
        }
        let fits = |names: &[String], n| names.is_empty() || names.len() == n;
        if !fits(&self.row_names, rows) || !fits(&self.col_names, cols) {
            let (r, c) = (self.row_names.len(), self.col_names.len());
            return Some(format!("{r} row names and {c} column names for a map of {rows} × {cols}"));
        }
        None
    }

    /// The ends of the scale.
    fn ends(&self) -> (f64, f64) {
        let low = self.values.iter().copied().fold(0.0, f64::min);
        let high = self.values.iter().copied().fold(0.0, f64::max);
        if self.signed { (-high.max(-low), high.max(-low)) } else { (low, high) }
    }

    /// Shade of a value: 0 to 1, or −1 to 1 for a signed map.
    fn shade_of(&self, v: f64) -> f64 {
        let (low, high) = self.ends();
        let share = if self.signed { v / high } else { (v - low) / (high - low) };
        let share = if share.is_finite() { share } else { 0.0 };
        match self.shade {
            Shade::Linear => share,
            Shade::Sqrt => share.abs().sqrt().copysign(share),
        }
    }

    /// The value that a shade stands for.
    fn value_at(&self, shade: f64) -> f64 {
        let (low, high) = self.ends();
        let share = match self.shade {
            Shade::Linear => shade,
            Shade::Sqrt => shade * shade.abs(),
        };
        if self.signed { share * high } else { low + share * (high - low) }
    }

    /// The drawing and its legend; `key` is unique on the page.
    pub(super) fn draw(&self, key: &str, alt: &str) -> String {
        let longest =
            |names: &[String]| names.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64;
        let top = if self.y.label.is_empty() { 8.0 } else { 28.0 };
        let left = if self.row_names.is_empty() { 48.0 } else { 12.0 + 7.1 * longest(&self.row_names) };
        let slanted = longest(&self.col_names) > 3.0;
        let names_below = if slanted { 16.0 + 5.1 * longest(&self.col_names) } else { 22.0 };
        let below = names_below + if self.x.label.is_empty() { 2.0 } else { 24.0 };
        // Square cells, as large as the page allows, and nothing taller than it is wide.
        let room = 480.0 - left - 84.0;
        let cell = (room / self.cols as f64).min(room / self.rows as f64);
        let (w, h) = (cell * self.cols as f64, cell * self.rows as f64);

        let mut svg = String::new();
        let _ = write!(svg, "<g transform=\"translate({left:.1} {top:.1})\">");
        self.cells(&mut svg, key, cell);
        self.sides(&mut svg, w, h, slanted);
        for circle in &self.circles {
            let [[x0, x1], [y0, y1]] = self.extent;
            let (cx, cy) = ((circle.centre.0 - x0) / (x1 - x0) * w, (circle.centre.1 - y0) / (y1 - y0) * h);
            let (rx, ry) = ((circle.radius / (x1 - x0) * w).abs(), (circle.radius / (y1 - y0) * h).abs());
            for class in ["ring halo", "ring"] {
                let _ = write!(
                    svg,
                    "<ellipse class=\"{class}\" cx=\"{cx:.2}\" cy=\"{cy:.2}\" rx=\"{rx:.2}\" ry=\"{ry:.2}\"/>"
                );
            }
        }
        if !self.x.label.is_empty() {
            let y = h + below - 6.0;
            let _ = write!(
                svg,
                "<text class=\"title mid\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                w / 2.0,
                self.x.title()
            );
        }
        if !self.y.label.is_empty() {
            let _ = write!(
                svg,
                "<text class=\"title\" x=\"{:.1}\" y=\"-13\">{}</text>",
                2.0 - left,
                self.y.title()
            );
        }
        self.scale_bar(&mut svg, w + 16.0, h);
        svg.push_str("</g>");

        let ring = "<circle class=\"ring\" cx=\"14\" cy=\"7\" r=\"6\"/>";
        let rings = self.circles.iter().map(|circle| legend_entry(ring, &circle.label));
        let legend = match self.circles.is_empty() {
            true => String::new(),
            false => format!("<ul class=\"legend\">{}</ul>", rings.collect::<String>()),
        };
        format!("{legend}{}", picture(480.0, top + h + below, alt, &svg))
    }

    fn cells(&self, svg: &mut String, key: &str, cell: f64) {
        let (w, h) = (cell * self.cols as f64, cell * self.rows as f64);
        // Few cells are rectangles with a hairline between them; many are a picture that masks a plain colour.
        if self.values.len() > 256 {
            let _ = write!(svg, "<rect class=\"frame\" width=\"{w:.1}\" height=\"{h:.1}\"/>");
            self.masked(svg, &format!("{key}p"), "hot", w, h, |shade| shade);
            if self.signed {
                self.masked(svg, &format!("{key}n"), "cold", w, h, |shade| -shade);
            }
            return;
        }
        for (i, v) in self.values.iter().enumerate() {
            let (x, y) = ((i % self.cols) as f64 * cell, (i / self.cols) as f64 * cell);
            let shade = self.shade_of(*v);
            let class = if shade < 0.0 { "cold" } else { "hot" };
            let side = cell - 1.0;
            let opacity = shade.abs().max(0.04);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" \
                 fill-opacity=\"{opacity:.3}\"/>"
            );
            if self.printed {
                let tone = match shade.abs() {
                    _ if *v == 0.0 => "zero",
                    s if s > 0.55 => "inverse",
                    _ => "",
                };
                let (x, y) = (x + side / 2.0, y + side / 2.0 + 4.0);
                let _ = write!(
                    svg,
                    "<text class=\"mid cell {tone}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
                    number(*v)
                );
            }
        }
    }

    /// A rectangle seen through the shades. The picture is enlarged beforehand, because not every browser keeps
    /// pixels sharp inside a mask.
    fn masked(&self, svg: &mut String, id: &str, class: &str, w: f64, h: f64, part: impl Fn(f64) -> f64) {
        let zoom = (480 / self.cols.max(self.rows)).max(1);
        let (columns, lines) = (self.cols * zoom, self.rows * zoom);
        let byte = |v: f64| (part(self.shade_of(v)).clamp(0.0, 1.0) * 255.0).round() as u8;
        let bytes: Vec<u8> = self.values.iter().map(|v| byte(*v)).collect();
        let enlarged =
            (0..columns * lines).map(|i| bytes[i / columns / zoom * self.cols + i % columns / zoom]);
        let uri = data_uri(columns, lines, Colour::Grey, &enlarged.collect::<Vec<u8>>());
        let _ = write!(
            svg,
            "<mask id=\"{id}\">\
             <image width=\"{w:.1}\" height=\"{h:.1}\" preserveAspectRatio=\"none\" href=\"{uri}\"/>\
             </mask><rect class=\"{class}\" width=\"{w:.1}\" height=\"{h:.1}\" mask=\"url(#{id})\"/>"
        );
    }

    /// Names or numbers along the left and the lower side.
    fn sides(&self, svg: &mut String, w: f64, h: f64, slanted: bool) {
        let step = h / self.rows as f64;
        for (i, name) in self.row_names.iter().enumerate() {
            let y = (i as f64 + 0.5) * step + 4.0;
            let _ = write!(svg, "<text class=\"end\" x=\"-7\" y=\"{y:.1}\">{}</text>", escape(name));
        }
        let step = w / self.cols as f64;
        for (i, name) in self.col_names.iter().enumerate() {
            let (x, y, name) = ((i as f64 + 0.5) * step, h + 16.0, escape(name));
            let _ = match slanted {
                true => write!(
                    svg,
                    "<text class=\"end\" transform=\"translate({:.1} {y:.1}) rotate(-45)\">{name}</text>",
                    x + 4.0
                ),
                false => write!(svg, "<text class=\"mid\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>"),
            };
        }
        let [x, y] = self.extent.map(|[a, b]| (Axis::new("").range(a.min(b), a.max(b)), a > b));
        if self.col_names.is_empty() {
            for tick in Span::fit(&x.0, std::iter::empty(), 5.0).ticks(5.0) {
                let at = if x.1 { 1.0 - tick.place } else { tick.place } * w;
                let _ = write!(svg, "<path class=\"axis\" d=\"M{at:.1} {h:.1}v5\"/>");
                let _ = write!(
                    svg,
                    "<text class=\"mid\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                    h + 20.0,
                    tick.text
                );
            }
        }
        if self.row_names.is_empty() {
            for tick in Span::fit(&y.0, std::iter::empty(), 5.0).ticks(5.0) {
                let at = if y.1 { 1.0 - tick.place } else { tick.place } * h;
                let _ = write!(svg, "<path class=\"axis\" d=\"M0 {at:.1}h-5\"/>");
                let _ =
                    write!(svg, "<text class=\"end\" x=\"-8\" y=\"{:.1}\">{}</text>", at + 4.0, tick.text);
            }
        }
    }

    fn scale_bar(&self, svg: &mut String, x: f64, h: f64) {
        let steps = 40;
        let (lowest, range) = if self.signed { (-1.0, 2.0) } else { (0.0, 1.0) };
        let step = h / f64::from(steps);
        for i in 0..steps {
            let shade = lowest + range * (f64::from(i) + 0.5) / f64::from(steps);
            let class = if shade < 0.0 { "cold" } else { "hot" };
            let (y, opacity) = (h - f64::from(i + 1) * step, shade.abs().max(0.04));
            let _ = write!(
                svg,
                "<rect class=\"{class}\" shape-rendering=\"crispEdges\" x=\"{x:.1}\" y=\"{y:.2}\" width=\"12\" \
                 height=\"{step:.2}\" fill-opacity=\"{opacity:.3}\"/>"
            );
        }
        for place in [0.0, 0.5, 1.0] {
            let y = h * (1.0 - place) + 4.0 + if place == 1.0 { 4.0 } else { -4.0 * (1.0 - 2.0 * place) };
            let value = compact(self.value_at(lowest + range * place));
            let _ = write!(svg, "<text x=\"{:.1}\" y=\"{y:.1}\">{value}</text>", x + 17.0);
        }
        let _ = write!(
            svg,
            "<text class=\"title end\" x=\"{:.1}\" y=\"-13\">{}</text>",
            x + 68.0,
            escape(&self.bar)
        );
    }
}

/// A number with two or three digits, for narrow places.
pub(super) fn compact(x: f64) -> String {
    let unit = 10f64.powf(x.abs().log10().floor() - 1.0);
    let rounded = (x / unit).round() * unit;
    number(if x.abs() < 100.0 && rounded.is_finite() { rounded } else { x.round() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shade_and_value_are_inverse() {
        for shade in [Shade::Linear, Shade::Sqrt] {
            for map in [
                HeatMap::new(1, 3, [-2.0, 1.0, 4.0]).shade(shade),
                HeatMap::new(1, 2, [-2.0, 4.0]).shade(shade).signed(),
            ] {
                for v in [-2.0, 0.0, 1.0, 4.0] {
                    assert!((map.value_at(map.shade_of(v)) - v).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn wrong_sizes_and_nan_are_defects() {
        assert!(HeatMap::new(2, 2, [0.0; 4]).defect().is_none());
        assert!(HeatMap::new(2, 2, [0.0; 3]).defect().is_some());
        assert!(HeatMap::new(0, 0, []).defect().is_some());
        assert!(HeatMap::new(usize::MAX, 2, [0.0; 4]).defect().is_some());
        assert!(HeatMap::new(1, 1, [f64::NAN]).defect().is_some());
        assert!(HeatMap::new(1, 1, [1.0]).names(["a", "b"], ["c"]).defect().is_some());
    }

    #[test]
    fn numbers_in_narrow_places_stay_short() {
        assert_eq!([compact(0.012_345), compact(512.4), compact(0.0)], ["0.012", "512", "0"]);
    }
}
