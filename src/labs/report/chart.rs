//! Draws a [`Plot`] as SVG. Colours are classes, so that the style sheet can turn them with the scheme.

use std::fmt::Write;

use super::axis::{Scale, Span};
use super::plot::{Mark, Plot, Series};
use super::text::escape;

/// Width and height of a plot on the page.
const ON_PAGE: (f64, f64) = (480.0, 320.0);
const TOP: f64 = 36.0;
const RIGHT: f64 = 14.0;
/// Around the legend of a file, and the height of its lines.
const MARGIN: f64 = 12.0;
const LINE: f64 = 20.0;
const BOTTOM: f64 = 52.0;
/// Colours in the palette; the style sheet has as many.
const PALETTE: usize = 6;

/// The drawing area with its two axes.
struct Frame<'a> {
    x: Span<'a>,
    y: Span<'a>,
    left: f64,
    width: f64,
    height: f64,
}

impl Frame<'_> {
    fn point(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        // Far outside a fixed range a coordinate could overflow what a renderer holds.
        let (px, py) = (self.x.place(x)?.clamp(-9.0, 10.0), self.y.place(y)?.clamp(-9.0, 10.0));
        Some((self.left + px * self.width, TOP + (1.0 - py) * self.height))
    }

    fn visible(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        self.x.inside(x).and(self.y.inside(y)).and(self.point(x, y))
    }
}

/// The legend and the drawing, for the page.
pub(super) fn draw(plot: &Plot, alt: &str) -> String {
    let (drawing, lost) = drawing(plot, ON_PAGE);
    let note = match lost {
        0 => String::new(),
        1 => "<p class=\"warning\">1 point has no place on these axes and is not drawn.</p>".to_owned(),
        _ => format!("<p class=\"warning\">{lost} points have no place on these axes and are not drawn.</p>"),
    };
    format!("{}{}{note}", legend(plot), picture(ON_PAGE.0, ON_PAGE.1, alt, &drawing))
}

/// The legend and the drawing as a file of its own.
pub(super) fn file(plot: &Plot, alt: &str, (width, height): (f64, f64)) -> String {
    let (mut x, mut y) = (MARGIN, MARGIN);
    let mut keys = String::new();
    for (key, name) in keys_and_names(plot) {
        // Letters of the legend are no wider than that on average.
        let room = 36.0 + 6.6 * name.chars().count() as f64;
        if x > MARGIN && x + room > width {
            (x, y) = (MARGIN, y + LINE);
        }
        let name = escape(name);
        let _ = write!(
            keys,
            "<g transform=\"translate({x:.1} {y:.1})\">{key}<text x=\"34\" y=\"11\">{name}</text></g>"
        );
        x += room + MARGIN;
    }
    let top = if keys.is_empty() { 0.0 } else { y + LINE };
    let (whole, alt, style) = (top + height, escape(alt), include_str!("chart.css"));
    let (drawing, _) = drawing(plot, (width, height));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{whole}\" \
         viewBox=\"0 0 {width} {whole}\" role=\"img\" aria-label=\"{alt}\">\n<style>\n{style}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"var(--card)\"/>\n<g class=\"chart\">\n{keys}\n\
         <g transform=\"translate(0 {top})\">{drawing}</g>\n</g>\n</svg>\n"
    )
}

/// What stands between the edges of a picture of that size, and how many points have no place in it.
fn drawing(plot: &Plot, (width, height): (f64, f64)) -> (String, usize) {
    let points = || plot.series.iter().flat_map(|series| &series.points);
    let rules =
        |vertical| plot.rules.iter().filter(move |rule| rule.vertical == vertical).map(|rule| rule.at);
    let bars = plot.series.iter().any(|series| series.mark == Mark::Bars);
    let spread = plot.series.iter().flat_map(|series| {
        let errors = series.points.iter().zip(&series.errors).flat_map(|((_, y), e)| [y - e, y + e]);
        errors.chain(series.band.iter().flat_map(|(low, high)| [*low, *high]))
    });
    let floor = (bars && plot.y.scale == Scale::Linear).then_some(0.0);
    let half_bar = if bars { 0.5 * bar_pitch(plot) } else { 0.0 };
    let xs = points().flat_map(|(x, _)| [x - half_bar, x + half_bar]).chain(rules(true));
    let ys = points().map(|(_, y)| *y).chain(spread).chain(rules(false)).chain(floor);
    let (x, y) = (Span::fit(&plot.x, xs, 6.0), Span::fit(&plot.y, ys, 5.0));

    let widest = y.ticks(5.0).iter().map(|tick| shown_chars(&tick.text)).max().unwrap_or(0);
    // Room for the larger letters of a narrow page too.
    let left = 14.0 + 7.9 * widest as f64;
    let frame = Frame { x, y, left, width: width - left - RIGHT, height: height - TOP - BOTTOM };

    let mut svg = String::new();
    axes(&mut svg, plot, &frame);
    // A nested svg clips without needing a name for its clip path.
    let (w, h) = (frame.width, frame.height);
    let _ = write!(
        svg,
        "<svg x=\"{left:.1}\" y=\"{TOP}\" width=\"{w:.1}\" height=\"{h:.1}\" \
         viewBox=\"{left:.1} {TOP} {w:.1} {h:.1}\">"
    );
    for (i, series) in plot.series.iter().enumerate() {
        bars_and_lines(&mut svg, plot, i, series, &frame);
    }
    svg.push_str("</svg>");
    for (i, series) in plot.series.iter().enumerate() {
        errors_and_dots(&mut svg, i, series, &frame);
    }
    rule_lines(&mut svg, plot, &frame);

    let lost = points().filter(|(x, y)| frame.point(*x, *y).is_none()).count();
    (svg, lost)
}

/// An accessible `<svg>` around its content.
pub(super) fn picture(width: f64, height: f64, alt: &str, content: &str) -> String {
    let alt = escape(alt);
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"{alt}\">{content}</svg>"
    )
}

/// Characters that a label shows, without its tags.
fn shown_chars(svg: &str) -> usize {
    let mut inside = false;
    let shown = svg.chars().filter(|c| {
        let was_inside = inside;
        inside = *c == '<' || (inside && *c != '>');
        !was_inside && !inside
    });
    shown.count()
}

fn axes(svg: &mut String, plot: &Plot, frame: &Frame) {
    let (left, right, bottom) = (frame.left, frame.left + frame.width, TOP + frame.height);
    for tick in frame.y.ticks(5.0) {
        let y = bottom - tick.place * frame.height;
        let kind = if tick.text.is_empty() { "grid minor" } else { "grid" };
        let _ = write!(svg, "<path class=\"{kind}\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>");
        if !tick.text.is_empty() {
            let _ = write!(
                svg,
                "<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                left - 7.0,
                y + 4.0,
                tick.text
            );
        }
    }
    let log = plot.x.scale == Scale::Log;
    for tick in frame.x.ticks(6.0) {
        let x = left + tick.place * frame.width;
        let length = if tick.text.is_empty() { 3.0 } else { 5.0 };
        if log && !tick.text.is_empty() {
            let _ = write!(svg, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom:.1}\"/>");
        }
        let _ = write!(svg, "<path class=\"axis\" d=\"M{x:.1} {bottom:.1}v{length}\"/>");
        let _ =
            write!(svg, "<text class=\"mid\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>", bottom + 20.0, tick.text);
    }
    let _ = write!(svg, "<path class=\"axis\" d=\"M{left:.1} {bottom:.1}H{right:.1}\"/>");
    let middle = left + frame.width / 2.0;
    let _ = write!(svg, "<text class=\"title\" x=\"2\" y=\"15\">{}</text>", plot.y.title());
    let _ = write!(
        svg,
        "<text class=\"title mid\" x=\"{middle:.1}\" y=\"{}\">{}</text>",
        bottom + BOTTOM - 9.0,
        plot.x.title()
    );
}

fn style(i: usize, series: &Series, first: &str) -> String {
    let faint = if series.faint { " faint" } else { "" };
    let colour = series.colour.unwrap_or(i) % PALETTE;
    // A line without markers tells itself apart by its dashes.
    let bare = first == "line" && matches!(series.mark, Mark::Line | Mark::Step) && !series.faint;
    let dashes = match (series.dashed, bare) {
        (true, _) => " dashed".to_owned(),
        (_, true) => format!(" d{}", colour % 4),
        _ => String::new(),
    };
    format!("{first} s{colour}{faint}{dashes}")
}

fn bars_and_lines(svg: &mut String, plot: &Plot, i: usize, series: &Series, frame: &Frame) {
    if !series.band.is_empty() {
        let edges = || series.points.iter().zip(&series.band);
        let above = edges().filter_map(|((x, _), (_, high))| frame.point(*x, *high));
        let below = edges().rev().filter_map(|((x, _), (low, _))| frame.point(*x, *low));
        let corners: Vec<String> = above.chain(below).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ =
            write!(svg, "<polygon class=\"{}\" points=\"{}\"/>", style(i, series, "band"), corners.join(" "));
    }
    if series.mark == Mark::Bars {
        bars(svg, plot, i, series, frame);
    }
    if !matches!(series.mark, Mark::Line | Mark::LineDots | Mark::Step) {
        return;
    }
    let mut path = String::new();
    let mut pen_down = false;
    for (x, y) in &series.points {
        let Some((px, py)) = frame.point(*x, *y) else {
            pen_down = false;
            continue;
        };
        let _ = match (pen_down, series.mark) {
            (false, _) => write!(path, "M{px:.1} {py:.1}"),
            (true, Mark::Step) => write!(path, "H{px:.1}V{py:.1}"),
            (true, _) => write!(path, "L{px:.1} {py:.1}"),
        };
        pen_down = true;
    }
    let _ = write!(svg, "<path class=\"{}\" d=\"{path}\"/>", style(i, series, "line"));
}

/// The distance between neighbouring bars: the smallest there is.
fn bar_pitch(plot: &Plot) -> f64 {
    let bars = plot.series.iter().filter(|series| series.mark == Mark::Bars);
    let mut xs: Vec<f64> = bars.flat_map(|series| series.points.iter().map(|(x, _)| *x)).collect();
    xs.sort_by(f64::total_cmp);
    let pitch =
        xs.windows(2).map(|pair| pair[1] - pair[0]).filter(|d| *d > 0.0).fold(f64::INFINITY, f64::min);
    if pitch.is_finite() { pitch } else { 1.0 }
}

fn bars(svg: &mut String, plot: &Plot, i: usize, series: &Series, frame: &Frame) {
    let siblings = plot.series.iter().enumerate().filter(|(_, other)| other.mark == Mark::Bars);
    let place = siblings.clone().position(|(j, _)| j == i).unwrap_or(0) as f64;
    let width = 0.76 * bar_pitch(plot) / siblings.count().max(1) as f64;
    let offset = -0.38 * bar_pitch(plot) + place * width;
    let bottom = TOP + frame.height;
    for (x, y) in &series.points {
        let (Some((x0, py)), Some((x1, _))) =
            (frame.point(x + offset, *y), frame.point(x + offset + width, *y))
        else {
            continue;
        };
        let zero = frame.point(*x, 0.0).map_or(bottom, |(_, zero)| zero);
        let (top, height) = (py.min(zero), (py - zero).abs());
        let class = style(i, series, "bar");
        let w = (x1 - x0 - 1.0).max(0.5);
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{x0:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{height:.1}\"/>"
        );
    }
}

fn errors_and_dots(svg: &mut String, i: usize, series: &Series, frame: &Frame) {
    for ((x, y), error) in series.points.iter().zip(&series.errors) {
        let (Some((px, low)), Some((_, high))) = (frame.visible(*x, y - error), frame.visible(*x, y + error))
        else {
            continue;
        };
        let left = px - 4.0;
        let class = style(i, series, "whisker");
        let _ = write!(svg, "<path class=\"{class}\" d=\"M{left:.1} {high:.1}h8m-4 0V{low:.1}m-4 0h8\"/>");
    }
    if matches!(series.mark, Mark::Dots | Mark::LineDots) {
        let class = style(i, series, "dot");
        for (x, y) in &series.points {
            if let Some((px, py)) = frame.visible(*x, *y) {
                svg.push_str(&marker(series.colour.unwrap_or(i), px, py, &class));
            }
        }
    }
}

/// A marker whose shape tells the series apart without its colour.
fn marker(shape: usize, x: f64, y: f64, class: &str) -> String {
    match shape % 4 {
        0 => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
        1 => format!("<path class=\"{class}\" d=\"M{:.1} {:.1}h7.2v7.2h-7.2z\"/>", x - 3.6, y - 3.6),
        2 => format!("<path class=\"{class}\" d=\"M{x:.1} {:.1}l4.6 8h-9.2z\"/>", y - 5.0),
        _ => format!("<path class=\"{class}\" d=\"M{x:.1} {:.1}l5 5l-5 5l-5 -5z\"/>", y - 5.0),
    }
}

fn rule_lines(svg: &mut String, plot: &Plot, frame: &Frame) {
    let (left, right, bottom) = (frame.left, frame.left + frame.width, TOP + frame.height);
    for rule in &plot.rules {
        let label = escape(&rule.label);
        if rule.vertical {
            let Some(place) = frame.x.inside(rule.at) else { continue };
            let x = left + place * frame.width;
            let (anchor, at) = if place > 0.7 { ("end", x - 6.0) } else { ("start", x + 6.0) };
            let _ = write!(svg, "<path class=\"rule\" d=\"M{x:.1} {TOP}V{bottom:.1}\"/>");
            let _ = write!(
                svg,
                "<text class=\"note {anchor}\" x=\"{at:.1}\" y=\"{}\">{label}</text>",
                TOP + 12.0
            );
        } else {
            let Some(place) = frame.y.inside(rule.at) else { continue };
            let y = bottom - place * frame.height;
            let at = if place > 0.93 { y + 15.0 } else { y - 6.0 };
            let _ = write!(svg, "<path class=\"rule\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>");
            let _ =
                write!(svg, "<text class=\"note end\" x=\"{:.1}\" y=\"{at:.1}\">{label}</text>", right - 4.0);
        }
    }
}

fn legend(plot: &Plot) -> String {
    let entries: String = keys_and_names(plot).map(|(key, name)| legend_entry(&key, name)).collect();
    if entries.is_empty() { entries } else { format!("<ul class=\"legend\">{entries}</ul>") }
}

/// Of each series that has a name, a small drawing, 28 by 14, and the name.
fn keys_and_names(plot: &Plot) -> impl Iterator<Item = (String, &str)> {
    plot.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty()).map(|(i, series)| {
        let line = format!("<path class=\"{}\" d=\"M1 7H27\"/>", style(i, series, "line"));
        let dot = marker(series.colour.unwrap_or(i), 14.0, 7.0, &style(i, series, "dot"));
        let key = match series.mark {
            Mark::Line | Mark::Step => line,
            Mark::Dots => dot,
            Mark::LineDots => line + &dot,
            Mark::Bars => {
                format!(
                    "<rect class=\"{}\" x=\"7\" y=\"1\" width=\"12\" height=\"12\"/>",
                    style(i, series, "bar")
                )
            }
        };
        (key, series.name.as_str())
    })
}

/// One line of a legend: a small drawing, 28 by 14, and its name.
pub(super) fn legend_entry(key: &str, name: &str) -> String {
    let name = escape(name);
    format!(
        "<li><svg viewBox=\"0 0 28 14\" width=\"28\" height=\"14\" aria-hidden=\"true\">{key}</svg>{name}</li>"
    )
}
