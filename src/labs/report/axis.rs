//! Axes: what they are called, how far they reach, where their ticks stand.

use super::super::claim::number;
use super::text::escape;

/// How an axis spaces its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios; only positive numbers have a place.
    Log,
}

/// One axis of a [`Plot`](super::Plot).
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is measured.
    pub label: String,
    /// Its unit, printed in parentheses; empty for a pure number.
    pub unit: String,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// Fixed ends; without them the axis fits its data.
    pub range: Option<(f64, f64)>,
    /// Whether to print 0.85 as 85 %.
    pub percent: bool,
    /// Ticks by hand, each with its text, for categories; empty for automatic ones.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis that fits its data.
    pub fn new(label: impl Into<String>) -> Self {
        let (unit, ticks) = (String::new(), Vec::new());
        Self { label: label.into(), unit, scale: Scale::Linear, range: None, percent: false, ticks }
    }

    /// Names the unit.
    pub fn unit(self, unit: impl Into<String>) -> Self {
        Self { unit: unit.into(), ..self }
    }

    /// Makes the axis logarithmic.
    pub fn log(self) -> Self {
        Self { scale: Scale::Log, ..self }
    }

    /// Fixes the ends.
    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// Prints shares as percentages.
    pub fn percent(self) -> Self {
        Self { percent: true, ..self }
    }

    /// Places ticks by hand.
    pub fn ticks<S: Into<String>>(self, ticks: impl IntoIterator<Item = (f64, S)>) -> Self {
        Self { ticks: ticks.into_iter().map(|(at, text)| (at, text.into())).collect(), ..self }
    }

    pub(super) fn title(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) };
        escape(&format!("{}{unit}", self.label))
    }
}

/// A tick: its place from 0 to 1, and its text as SVG; minor ticks have none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub place: f64,
    pub text: String,
}

/// An axis with its ends settled: maps numbers to 0…1.
#[derive(Clone, Debug)]
pub(super) struct Span<'a> {
    axis: &'a Axis,
    low: f64,
    high: f64,
}

impl<'a> Span<'a> {
    /// Fits `axis` to the values it can show; `around` says how many ticks to aim for.
    pub fn fit(axis: &'a Axis, values: impl Iterator<Item = f64>, around: f64) -> Self {
        let log = axis.scale == Scale::Log;
        let shown = |v: f64| v.is_finite() && (!log || v > 0.0);
        if let Some((low, high)) = axis.range
            && shown(low)
            && shown(high)
            && low < high
        {
            return Self { axis, low, high };
        }
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| shown(*v)) {
            low = low.min(v);
            high = high.max(v);
        }
        if low > high {
            (low, high) = if log { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        if log {
            // A little air at both ends.
            let air = (high / low).powf(0.04).max(1.15);
            return Self { axis, low: (low / air).max(f64::MIN_POSITIVE), high: (high * air).min(f64::MAX) };
        }
        if high - low <= 1e-12 * high.abs().max(low.abs()) {
            let half = if high == 0.0 { 1.0 } else { 0.1 * high.abs() };
            (low, high) = (low - half, high + half);
        }
        if !axis.ticks.is_empty() {
            return Self { axis, low, high };
        }
        // Whole tick steps at both ends; zero belongs to the axis when the data come near it.
        if low > 0.0 && low < 0.3 * high {
            low = 0.0;
        }
        let step = nice_step(high - low, around);
        Self { axis, low: (low / step + 1e-9).floor() * step, high: (high / step - 1e-9).ceil() * step }
    }

    /// Where `v` stands, 0 at the low end and 1 at the high end; None if it has no place on this scale.
    pub fn place(&self, v: f64) -> Option<f64> {
        let place = match self.axis.scale {
            Scale::Linear => (v - self.low) / (self.high - self.low),
            Scale::Log if v <= 0.0 => return None,
            Scale::Log => (v / self.low).ln() / (self.high / self.low).ln(),
        };
        (v.is_finite() && place.is_finite()).then_some(place)
    }

    /// Like [`Span::place`], but None outside the axis too.
    pub fn inside(&self, v: f64) -> Option<f64> {
        self.place(v).filter(|place| (-1e-9..=1.0 + 1e-9).contains(place))
    }

    /// Ticks, about `around` of them on a linear axis.
    pub fn ticks(&self, around: f64) -> Vec<Tick> {
        if !self.axis.ticks.is_empty() {
            let by_hand = self.axis.ticks.iter();
            return by_hand.filter_map(|(at, text)| self.tick(*at, escape(text))).collect();
        }
        match self.axis.scale {
            Scale::Linear => self.linear_ticks(around),
            Scale::Log => self.log_ticks(around),
        }
    }

    fn tick(&self, at: f64, text: String) -> Option<Tick> {
        self.inside(at).map(|place| Tick { place, text })
    }

    fn linear_ticks(&self, around: f64) -> Vec<Tick> {
        let step = nice_step(self.high - self.low, around);
        let first = (self.low / step - 1e-9).ceil();
        let count = ((self.high / step + 1e-9).floor() - first).clamp(0.0, 50.0) as usize;
        (0..=count).filter_map(|i| self.round_tick((first + i as f64) * step, step)).collect()
    }

    fn round_tick(&self, at: f64, step: f64) -> Option<Tick> {
        let at = if at.abs() < step * 1e-6 { 0.0 } else { at };
        let (shown, step) = if self.axis.percent { (at * 100.0, step * 100.0) } else { (at, step) };
        // Equal decimals on every tick, as many as the step needs.
        let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        let text = if shown != 0.0 && (shown.abs() >= 1e6 || step < 1e-4) {
            number(shown)
        } else {
            format!("{shown:.decimals$}").replace('-', "−")
        };
        self.tick(at, if self.axis.percent { format!("{text}\u{2009}%") } else { text })
    }

    fn log_ticks(&self, around: f64) -> Vec<Tick> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let decades = (self.high / self.low).log10();
        let plain = first >= -3 && last <= 5;
        let stride = (decades / around).ceil().max(1.0) as i32;
        let mut ticks = Vec::new();
        for power in first..=last {
            for digit in 1..10 {
                let labelled = match digit {
                    1 => power.rem_euclid(stride) == 0,
                    2 | 5 => decades < 1.7,
                    _ => decades < 0.6,
                };
                if digit > 1 && (decades > 6.0 || stride > 1) {
                    continue;
                }
                let at = f64::from(digit) * 10f64.powi(power);
                let text = match (labelled, plain, digit) {
                    (false, _, _) => String::new(),
                    (true, true, _) if self.axis.percent => format!("{}\u{2009}%", number(at * 100.0)),
                    (true, true, _) => number(at),
                    (true, false, 1) => format!("10{}", raised(power)),
                    (true, false, _) => format!("{digit}·10{}", raised(power)),
                };
                ticks.extend(self.tick(at, text));
            }
        }
        ticks
    }
}

fn raised(power: i32) -> String {
    format!("<tspan class=\"power\" dy=\"-5\">{}</tspan>", power.to_string().replace('-', "−"))
}

/// A step of 1, 2 or 5 times a power of ten, about `around` of which fill `length`.
pub(super) fn nice_step(length: f64, around: f64) -> f64 {
    let rough = length / around;
    let power = 10f64.powf(rough.log10().floor());
    let step = match rough / power {
        r if r <= 1.0 => 1.0,
        r if r <= 2.0 => 2.0,
        r if r <= 5.0 => 5.0,
        _ => 10.0,
    } * power;
    if step.is_finite() && step > 0.0 { step } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        let texts = Span::fit(axis, values.iter().copied(), 5.0).ticks(5.0).into_iter().map(|tick| tick.text);
        texts.filter(|text| !text.is_empty()).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_cover_the_data() {
        assert_eq!(labels(&Axis::new("x"), &[0.3, 4.1]), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(labels(&Axis::new("x"), &[-0.31, 0.12]), ["−0.4", "−0.2", "0.0", "0.2"]);
        assert_eq!(labels(&Axis::new("x").percent().range(0.5, 0.9), &[])[0], "50\u{2009}%");
    }

    #[test]
    fn log_ticks_stand_on_powers_of_ten() {
        assert_eq!(labels(&Axis::new("x").log(), &[1.0, 900.0]), ["1", "10", "100", "1000"]);
        let tiny = labels(&Axis::new("x").log(), &[1e-9, 1e-2]);
        assert!(tiny.iter().all(|text| text.starts_with("10<tspan")) && tiny.len() >= 4, "{tiny:?}");
    }

    #[test]
    fn hostile_data_still_give_an_axis() {
        let everything =
            [f64::NAN, f64::INFINITY, -f64::INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 0.0];
        for values in [&[][..], &[f64::NAN], &[0.0], &[1e300, 1e300], &[5e-324], &everything] {
            for axis in [Axis::new("x"), Axis::new("x").log(), Axis::new("x").range(f64::NAN, 1.0)] {
                let span = Span::fit(&axis, values.iter().copied(), 5.0);
                assert!(span.ticks(5.0).len() < 600, "{axis:?} {values:?}");
                for v in values {
                    assert!(span.place(*v).is_none_or(f64::is_finite));
                }
            }
        }
    }
}
