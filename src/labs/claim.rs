//! Claims: what a theorem predicts beside what the engine measured.
//!
//! A [`Claim`] never stores its verdict. [`Claim::holds`] works it out from the prediction, the measurement
//! and the [`Tolerance`], so a verdict cannot go stale and nobody can pass it in by hand. Every comparison is
//! written so that NaN fails it, and a claim that could not fail (an empty list, an infinite tolerance) does
//! not hold either.
//!
//! ```
//! use gradus::labs::claim::{Claim, Tolerance};
//!
//! let claim = Claim::check(
//!     "C8.6",
//!     "The effective receptive field of L convolutions k × k has variance L(k² − 1)/12 per axis.",
//!     "Luo et al. 2016, §2.2",
//!     [3.3333, 13.3333],
//!     [3.33334, 13.33331],
//!     Tolerance::Relative(1e-4),
//! )
//! .parts(["k = 3, L = 5", "k = 3, L = 20"]);
//! assert!(claim.holds());
//! ```

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// A prediction or a measurement.
///
/// In JSON a number, an array of numbers, or a string. JSON has no NaN and no infinity: those become the
/// strings `"NaN"`, `"inf"` and `"-inf"` rather than a silent `null`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Number(f64),
    /// Several numbers, compared one by one.
    Numbers(Vec<f64>),
    /// Words, compared as they stand.
    Text(String),
}

impl Value {
    /// The numbers as a slice; empty for [`Value::Text`].
    pub fn numbers(&self) -> &[f64] {
        match self {
            Self::Number(number) => std::slice::from_ref(number),
            Self::Numbers(numbers) => numbers,
            Self::Text(_) => &[],
        }
    }

    /// Each part of the value as a person reads it; a text is one part.
    pub fn shown(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            _ => self.numbers().iter().map(|x| number(*x)).collect(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown().join(", "))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Self::Number(value.into())
    }
}

impl From<Vec<f64>> for Value {
    fn from(value: Vec<f64>) -> Self {
        Self::Numbers(value)
    }
}

impl From<&[f64]> for Value {
    fn from(value: &[f64]) -> Self {
        Self::Numbers(value.to_vec())
    }
}

impl<const N: usize> From<[f64; N]> for Value {
    fn from(value: [f64; N]) -> Self {
        Self::Numbers(value.to_vec())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// A number that survives JSON: non-finite values as strings.
struct Json(f64);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => Json(*number).serialize(serializer),
            Self::Numbers(numbers) => serializer.collect_seq(numbers.iter().map(|x| Json(*x))),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// How far a measurement m may lie from its prediction p.
///
/// All but [`Tolerance::Exact`] ask for finite p and m. In JSON [`Tolerance::Absolute`] is a number,
/// [`Tolerance::Each`] an array, everything else the words that `Display` prints.
#[derive(Clone, Debug, PartialEq)]
pub enum Tolerance {
    /// m = p, for numbers and for words. NaN equals nothing.
    Exact,
    /// |m − p| ≤ the given number.
    Absolute(f64),
    /// |m − p| ≤ the given fraction of |p|; fractions of 1 and more are refused, since zero would pass.
    Relative(f64),
    /// m ≥ p.
    AtLeast,
    /// m ≤ p.
    AtMost,
    /// m > p.
    Above,
    /// m < p.
    Below,
    /// low ≤ m ≤ high, for tolerances that are not centred on p.
    Between(f64, f64),
    /// One tolerance for each number, in order; does not nest.
    Each(Vec<Tolerance>),
}

impl Tolerance {
    /// Whether `measured` agrees with `predicted`.
    ///
    /// One predicted number stands for every measured one. Lists must have equal lengths, and at least one
    /// number must be compared; words agree only under [`Tolerance::Exact`].
    pub fn accepts(&self, predicted: &Value, measured: &Value) -> bool {
        if let (Value::Text(predicted), Value::Text(measured)) = (predicted, measured) {
            return *self == Self::Exact && predicted == measured;
        }
        let (p, m) = (predicted.numbers(), measured.numbers());
        let shared = matches!(predicted, Value::Number(_));
        let lengths_agree = shared || p.len() == m.len();
        let tolerances_agree = if let Self::Each(each) = self { each.len() == m.len() } else { true };
        if p.is_empty() || m.is_empty() || !lengths_agree || !tolerances_agree {
            return false;
        }
        let prediction = |i: usize| if shared { p[0] } else { p[i] };
        m.iter().enumerate().all(|(i, m)| self.at(i).accepts_one(prediction(i), *m))
    }

    /// The tolerance that governs part `index`.
    pub fn at(&self, index: usize) -> &Self {
        match self {
            Self::Each(each) => each.get(index).unwrap_or(self),
            _ => self,
        }
    }

    fn accepts_one(&self, p: f64, m: f64) -> bool {
        let finite = p.is_finite() && m.is_finite();
        match self {
            Self::Exact => m == p,
            Self::Absolute(limit) => finite && limit.is_finite() && (m - p).abs() <= *limit,
            Self::Relative(share) => finite && *share < 1.0 && (m - p).abs() <= share * p.abs(),
            Self::AtLeast => finite && m >= p,
            Self::AtMost => finite && m <= p,
            Self::Above => finite && m > p,
            Self::Below => finite && m < p,
            Self::Between(low, high) => {
                finite && low.is_finite() && high.is_finite() && *low <= m && m <= *high
            }
            Self::Each(_) => false,
        }
    }

    /// The sign to write before a prediction: `"≥ "`, `"> "`, … or nothing.
    pub fn sign(&self) -> &'static str {
        match self {
            Self::AtLeast => "≥ ",
            Self::AtMost => "≤ ",
            Self::Above => "> ",
            Self::Below => "< ",
            _ => "",
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Absolute(limit) => write!(f, "± {}", number(*limit)),
            Self::Relative(share) => write!(f, "± {} %", number(share * 100.0)),
            Self::AtLeast => f.write_str("at least"),
            Self::AtMost => f.write_str("at most"),
            Self::Above => f.write_str("more than"),
            Self::Below => f.write_str("less than"),
            Self::Between(low, high) => write!(f, "{} to {}", number(*low), number(*high)),
            Self::Each(each) => {
                for (i, tolerance) in each.iter().enumerate() {
                    write!(f, "{}{tolerance}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Tolerance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absolute(limit) => Json(*limit).serialize(serializer),
            Self::Each(each) => serializer.collect_seq(each),
            _ => serializer.collect_str(self),
        }
    }
}

/// A statement with what it predicts and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Short address, `C8.3`.
    pub id: String,
    /// Name of the chapter; [`Chapter::claim`](super::report::Chapter::claim) fills it in.
    pub chapter: String,
    /// One or two plain sentences, Unicode welcome, no markup.
    pub statement: String,
    /// Where the statement comes from.
    pub source: String,
    /// What the theory says.
    pub predicted: Value,
    /// What the engine gave.
    pub measured: Value,
    /// How far the two may lie apart.
    pub tolerance: Tolerance,
    /// Names of the parts of a list, for people; not in the JSON.
    pub parts: Vec<String>,
    /// The statement as a formula ([`Math`](super::report::Math) notation), for people; not in the JSON.
    pub formula: Option<String>,
}

impl Claim {
    /// Sets a measurement beside its prediction.
    pub fn check(
        id: impl Into<String>,
        statement: impl Into<String>,
        source: impl Into<String>,
        predicted: impl Into<Value>,
        measured: impl Into<Value>,
        tolerance: Tolerance,
    ) -> Self {
        Self {
            id: id.into(),
            chapter: String::new(),
            statement: statement.into(),
            source: source.into(),
            predicted: predicted.into(),
            measured: measured.into(),
            tolerance,
            parts: Vec::new(),
            formula: None,
        }
    }

    /// Names the parts of a list, in order.
    pub fn parts<S: Into<String>>(mut self, parts: impl IntoIterator<Item = S>) -> Self {
        self.parts = parts.into_iter().map(Into::into).collect();
        self
    }

    /// Adds the formula to print under the statement.
    pub fn formula(mut self, tex: impl Into<String>) -> Self {
        self.formula = Some(tex.into());
        self
    }

    /// Whether measurement and prediction agree; see [`Tolerance::accepts`].
    pub fn holds(&self) -> bool {
        self.tolerance.accepts(&self.predicted, &self.measured)
    }

    /// Each part of the prediction with its sign, such as `≥ 0.8`.
    pub fn prediction(&self) -> Vec<String> {
        let signed = |(i, text)| format!("{}{text}", self.tolerance.at(i).sign());
        self.predicted.shown().into_iter().enumerate().map(signed).collect()
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "holds" } else { "FAILS" };
        let predicted = self.prediction().join(", ");
        let (id, measured, tolerance) = (&self.id, &self.measured, &self.tolerance);
        write!(f, "{id} {verdict}: measured {measured}; predicted {predicted} ({tolerance})")
    }
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("Claim", 8)?;
        map.serialize_field("id", &self.id)?;
        map.serialize_field("chapter", &self.chapter)?;
        map.serialize_field("statement", &self.statement)?;
        map.serialize_field("source", &self.source)?;
        map.serialize_field("predicted", &self.predicted)?;
        map.serialize_field("measured", &self.measured)?;
        map.serialize_field("tolerance", &self.tolerance)?;
        map.serialize_field("holds", &self.holds())?;
        map.end()
    }
}

/// A number for people: five significant digits, or three and a power of ten (`2.6 × 10⁻⁶`).
pub fn number(x: f64) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if x < 0.0 { "−" } else { "" };
    let size = x.abs();
    if size == 0.0 || size.is_infinite() {
        return format!("{sign}{}", if size == 0.0 { "0" } else { "∞" });
    }
    let trim = |digits: String| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits,
    };
    if (1e-3..1e6).contains(&size) {
        let before = size.log10().floor().max(0.0) as usize;
        let leading_zeros = (-size.log10().floor()).max(0.0) as usize;
        let decimals = (4 + leading_zeros).saturating_sub(before);
        return format!("{sign}{}", trim(format!("{size:.decimals$}")));
    }
    let scientific = format!("{size:.2e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let mantissa = trim(mantissa.to_owned());
    let power = format!("10{}", superscript(exponent));
    if mantissa == "1" { format!("{sign}{power}") } else { format!("{sign}{mantissa} × {power}") }
}

fn superscript(digits: &str) -> String {
    let raised = |c: char| match c.to_digit(10) {
        Some(digit) => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][digit as usize],
        None => '⁻',
    };
    digits.chars().map(raised).collect()
}

#[cfg(test)]
mod tests;
