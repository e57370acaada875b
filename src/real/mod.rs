//! The numbers a reference runs on.
//!
//! Every reference in gradus is written once, generic over [`Real`], and read three ways: as `f32` it is
//! the CPU device, as `f64` the truth, and as [`Bounded`] the truth together with a guaranteed bound on
//! how far a conforming WGSL implementation may stray from it.

mod bounded;
mod native;
#[cfg(test)]
mod tests;

pub use bounded::Bounded;

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number a reference can compute with.
///
/// Comparisons return masks (one for true, zero for false) instead of `bool`, so that a reading whose
/// values are uncertain can carry that uncertainty through [`select`](Real::select).
pub trait Real:
    Copy
    + Debug
    + Default
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The number nearest to `value`. Exact literals (small integers, dyadic fractions) carry no error;
    /// a [`Bounded`] literal that f32 cannot represent carries its rounding.
    fn from_f64(value: f64) -> Self;
    /// The value, without what is known of its error.
    fn to_f64(self) -> f64;
    /// e to the power of `self`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// One over the square root.
    fn rsqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The error function 2/√π ∫₀ˣ exp(−t²) dt.
    fn erf(self) -> Self;
    /// Sine; its bound holds for |x| ≤ π.
    fn sin(self) -> Self;
    /// Cosine; its bound holds for |x| ≤ π.
    fn cos(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The largest integer not above `self`.
    fn floor(self) -> Self;
    /// The larger of the two.
    fn max(self, other: Self) -> Self;
    /// The smaller of the two.
    fn min(self, other: Self) -> Self;
    /// One where `self < other`, else zero.
    fn less(self, other: Self) -> Self;
    /// One where `self == other`, else zero.
    fn equal(self, other: Self) -> Self;
    /// `yes` where `mask` is not zero, else `no`.
    fn select(mask: Self, yes: Self, no: Self) -> Self;
    /// The sum of the terms. The bound of a [`Bounded`] sum holds for any order of summation.
    fn sum(terms: impl IntoIterator<Item = Self>) -> Self;
    /// The sum of products. The bound of a [`Bounded`] one holds for any order, with or without fused
    /// multiply-add.
    fn dot(terms: impl IntoIterator<Item = (Self, Self)>) -> Self;
}
