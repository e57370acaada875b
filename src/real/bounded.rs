//! A value and a guarantee: running error analysis for WGSL.
//!
//! # Purpose
//! A reference read as [`Bounded`] returns, beside each result, how far a conforming WGSL implementation may
//! stray from it. The GPU is then tested against a derived bound, not against a tolerance somebody chose.
//!
//! # Idea
//! `value` is the f64 truth. `error` says: whatever f32 a conforming implementation computes at this point of
//! the reference lies in [value − error, value + error]. Each primitive widens what its inputs bring by what
//! the specification grants it ([WGSL, "Floating Point Accuracy"][accuracy] and its table "Accuracy of
//! concrete floating point operations"; read in gpuweb/gpuweb at commit da251f90). Where an input's error
//! could carry an operation out of its domain, or a result out of f32's range, the error is infinite: WGSL
//! promises nothing there.
//!
//! Three details of that specification shape the code:
//! - *Correctly rounded* names no direction, so + − × may be off by almost a whole ULP, not half of one.
//!   An ULP of x is at most 2⁻²³·|x| for a normal x and 2⁻¹⁴⁹ below; see [`U`].
//! - Inputs and outputs of every operation in the table, comparisons and negation included, may be flushed
//!   to zero where they are subnormal. A value that may be flushed has an error of at least its own size,
//!   which is never more than the smallest normal above what its error was.
//! - Implementations may assume that overflow, infinities and NaNs do not occur; the result is then
//!   indeterminate. So is everything computed from it.
//!
//! # Invariants
//! - `error` is never negative and never NaN, and is infinite unless |value| + error ≤ [`f32::MAX`].
//! - Rounding in f64, of values and of errors, is covered: an operation that rounds adds at least 2⁻²³ of
//!   its result to the bound and widens it by a millionth ([`SLACK`]): 2⁻⁴³, where f64 needs 2⁻⁵³.
//! - Operations that cannot round (negation, |x|, min, max, floor, comparisons, select, adding zero, scaling
//!   by a power of two) are exact on exact normal inputs.
//!
//! # What it does not cover
//! The reference must compute what the shader computes, operation by operation; only
//! [`sum`](super::Real::sum) and [`dot`](super::Real::dot) leave the order open. WGSL also lets an
//! implementation reassociate ([section][reassociation]); outside reductions this analysis assumes that it
//! does not, since a bound for every rearrangement of a formula would be too wide to test anything. Fusing
//! multiply and add is covered: it may only make a result more accurate.
//!
//! # f16
//! Storing in f16 is a step of its own, [`stored_as_f16`](Bounded::stored_as_f16); arithmetic is f32's.
//!
//! [accuracy]: https://www.w3.org/TR/WGSL/#floating-point-accuracy
//! [reassociation]: https://www.w3.org/TR/WGSL/#reassociation-and-fusion

mod half;
mod operations;

/// Unit of relative error: `x + y`, `x - y`, `x * y` are "correctly rounded", up or down (WGSL, table of
/// concrete floating point operations). Neighbouring f32 around x are at most 2⁻²³·|x| apart.
const U: f64 = 1.0 / (1u64 << 23) as f64;
/// The ULP of zero and of every subnormal: the distance between neighbours there, 2⁻¹⁴⁹.
const ULP_OF_ZERO: f64 = f32::from_bits(1) as f64;
/// The smallest normal f32, 2⁻¹²⁶: below it "any inputs or outputs … may be flushed to zero" (WGSL,
/// "Differences from IEEE-754").
const NORMAL: f64 = f32::MIN_POSITIVE as f64;
/// Widens every inexact bound enough to cover the rounding of f64 and terms of second order in U.
const SLACK: f64 = 1.0 + 1.0 / (1u64 << 20) as f64;

/// A number with a guaranteed bound on the error of a conforming f32 computation of it.
///
/// Arithmetic on it is running error analysis: each operation adds what the WGSL specification grants it
/// (+ − × one ULP, ÷ 2.5, exp 3 + 2·|x|, …) and carries along what its inputs bring, as an interval would.
/// Subnormals may be flushed; overflow, and leaving a function's domain, make the error infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Bounded {
    /// The result in f64.
    pub value: f64,
    /// The largest distance from `value` that WGSL allows; infinite where it allows anything.
    pub error: f64,
}

impl Bounded {
    /// A number that the device holds exactly: an f32 that it was given.
    ///
    /// Infinite or NaN inputs, and any beyond f32, get an infinite error: WGSL need not honour them.
    pub fn exact(value: f64) -> Self {
        Self::new(value, 0.0)
    }

    /// A number known up to `error`. A negative or NaN `error` counts as infinite.
    pub fn new(value: f64, error: f64) -> Self {
        // Written so that a NaN on either side fails the comparison.
        let covered = error >= 0.0 && value.abs() + error <= f64::from(f32::MAX);
        Self { value, error: if covered { error } else { f64::INFINITY } }
    }

    /// How much of the bound `observed` uses: |observed − value| / error. Above one it is outside.
    ///
    /// Zero where the two agree exactly or the error is infinite; infinite where they differ and the error is
    /// zero. An observed NaN is infinitely far off unless the value is NaN too: stricter than WGSL where the
    /// error is infinite, because a NaN that no reference expects is worth a look.
    pub fn share(&self, observed: f64) -> f64 {
        if observed.is_nan() {
            return if self.value.is_nan() { 0.0 } else { f64::INFINITY };
        }
        if observed == self.value || self.error == f64::INFINITY {
            return 0.0;
        }
        let share = (observed - self.value).abs() / self.error;
        if share.is_nan() { f64::INFINITY } else { share }
    }

    /// Whether a conforming implementation may have computed `observed`.
    pub fn contains(&self, observed: f64) -> bool {
        self.share(observed) <= 1.0
    }

    /// Whether the bound says nothing: an infinite error. A case made of such bounds tests nothing.
    pub fn is_vacuous(&self) -> bool {
        self.error == f64::INFINITY
    }

    /// The result of an operation: what the inputs' errors make of it, and what the operation adds. The
    /// output may be flushed.
    fn rounded(value: f64, propagated: f64, own: f64) -> Self {
        Self::new(value, (propagated + own) * SLACK).flushed()
    }

    /// As above, the operation adding `count` ULP of a result that may be `propagated` away from `value`.
    fn within_ulps(value: f64, propagated: f64, count: f64) -> Self {
        Self::rounded(value, propagated, count * (U * (value.abs() + propagated)).max(ULP_OF_ZERO))
    }

    /// Allows for a flush to zero, if any value within the error is small enough. What was at most `error`
    /// away is then |value| away. Flushing twice is flushing once.
    fn flushed(self) -> Self {
        if self.lowest_magnitude() < NORMAL {
            Self { value: self.value, error: self.error.max(self.value.abs()) }
        } else {
            self
        }
    }

    /// The largest magnitude within the error.
    fn magnitude(self) -> f64 {
        self.value.abs() + self.error
    }

    /// The smallest magnitude within the error, or a number at most zero.
    fn lowest_magnitude(self) -> f64 {
        self.value.abs() - self.error
    }

    /// `self` relative to `other`: `Some(ordering)` where every value within the errors agrees.
    fn certain_order(self, other: Self) -> Option<std::cmp::Ordering> {
        let (a, b) = (self.flushed(), other.flushed());
        let doubt = a.error + b.error;
        // Exact inputs compare for certain even when equal; NaNs and infinite errors never do.
        let certain = doubt == 0.0 || (a.value - b.value).abs() > doubt;
        if certain { a.value.partial_cmp(&b.value) } else { None }
    }

    /// The larger of the two if `sign` is one, the smaller if it is minus one.
    ///
    /// Where the order is certain this is one of the inputs with its error. Otherwise the results fill
    /// [max of the lower ends, max of the upper ends]; the upper end is the farther one from the value, since
    /// the lower is no farther down than the winner's own error.
    fn extreme(self, other: Self, sign: f64) -> Self {
        let (a, b) = (self.flushed(), other.flushed());
        match a.certain_order(b) {
            Some(order) => {
                let a_wins = if sign > 0.0 { order.is_gt() } else { order.is_lt() };
                if a_wins { a } else { b }
            }
            None => {
                let (x, y) = (sign * a.value, sign * b.value);
                let value = x.max(y);
                let high = (x + a.error).max(y + b.error);
                // NaN values hide from `f64::max`, but their error is infinite and shows here.
                let wild = a.is_vacuous() || b.is_vacuous();
                let error = if wild { f64::INFINITY } else { (high - value) * SLACK };
                Self::new(sign * value, error)
            }
        }
    }

    /// A mask of one or zero; one that may be either has an error of one.
    fn mask(value: bool, certain: bool) -> Self {
        Self { value: f64::from(u8::from(value)), error: if certain { 0.0 } else { 1.0 } }
    }

    /// The end of a reduction: at most `roundings` on the way of any term (its product's included), terms
    /// whose magnitudes add up to `magnitude`, and `tiny` for what may be flushed on the way.
    fn reduced(value: f64, propagated: f64, magnitude: f64, roundings: usize, tiny: f64) -> Self {
        let nu = roundings as f64 * U;
        // γₙ = n·u/(1 − n·u) bounds (1 + u)ⁿ − 1, but only while n·u < 1.
        let gamma = if nu < 1.0 { nu / (1.0 - nu) } else { f64::INFINITY };
        let error = if magnitude == 0.0 {
            0.0
        } else {
            (gamma * magnitude + propagated + tiny * (1.0 + gamma)) * SLACK
        };
        // Some order of summation meets a partial sum near Σ|aᵢ|, even where the total cancels.
        let reach = magnitude + error;
        Self::new(value, if reach <= f64::from(f32::MAX) { error } else { f64::INFINITY })
    }
}
