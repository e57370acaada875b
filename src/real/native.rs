//! f32 and f64 as [`Real`]: the CPU device and the truth.
//!
//! Both are IEEE 754 arithmetic as the processor does it: round to nearest, subnormals kept, infinities and
//! NaNs propagated. That is one of the implementations WGSL allows, so an f32 reading always lies within the
//! bound of the [`Bounded`](super::Bounded) reading of the same reference; `real/tests.rs` checks it.
//!
//! Invariants: the order of summation depends on the number of terms alone, so the same input gives the same
//! bits on every run; f64 results carry errors 2²⁹ times smaller than the f32 ones they are the truth of.

use super::Real;

/// How many partial sums a reduction keeps. Additions into one accumulator wait for each other; eight
/// independent ones fill the registers of a 256-bit vector unit, and shorten the error's chain as well.
const LANES: usize = 8;

/// The sum of the terms, term i going to lane i mod 8 and the lanes folded in halves at the end.
///
/// Terms are taken eight at a time because the compiler turns that into vector code for slices, zips and
/// ranges alike: 0.3 ns a product over a zip of slices, against 0.75 with one accumulator. The last group is
/// filled up with zeros, which add exactly.
#[inline]
fn lanes<T: Real>(mut terms: impl Iterator<Item = T>) -> T {
    let mut lanes = [T::default(); LANES];
    let mut more = true;
    while more {
        let mut group = [T::default(); LANES];
        for slot in &mut group {
            match terms.next() {
                Some(term) => *slot = term,
                None => {
                    more = false;
                    break;
                }
            }
        }
        for (lane, term) in lanes.iter_mut().zip(group) {
            *lane = *lane + term;
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i] + lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

macro_rules! native {
    ($float:ident, $erf:path) => {
        impl Real for $float {
            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $float
            }
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline]
            fn exp(self) -> Self {
                $float::exp(self)
            }
            #[inline]
            fn ln(self) -> Self {
                $float::ln(self)
            }
            #[inline]
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            #[inline]
            fn rsqrt(self) -> Self {
                1.0 / $float::sqrt(self)
            }
            #[inline]
            fn tanh(self) -> Self {
                $float::tanh(self)
            }
            #[inline]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline]
            fn sin(self) -> Self {
                $float::sin(self)
            }
            #[inline]
            fn cos(self) -> Self {
                $float::cos(self)
            }
            #[inline]
            fn abs(self) -> Self {
                $float::abs(self)
            }
            #[inline]
            fn floor(self) -> Self {
                $float::floor(self)
            }
            #[inline]
            fn max(self, other: Self) -> Self {
                $float::max(self, other)
            }
            #[inline]
            fn min(self, other: Self) -> Self {
                $float::min(self, other)
            }
            #[inline]
            fn less(self, other: Self) -> Self {
                if self < other { 1.0 } else { 0.0 }
            }
            #[inline]
            fn equal(self, other: Self) -> Self {
                if self == other { 1.0 } else { 0.0 }
            }
            #[inline]
            fn select(mask: Self, yes: Self, no: Self) -> Self {
                if mask != 0.0 { yes } else { no }
            }
            #[inline]
            fn sum(terms: impl IntoIterator<Item = Self>) -> Self {
                lanes(terms.into_iter())
            }
            #[inline]
            fn dot(terms: impl IntoIterator<Item = (Self, Self)>) -> Self {
                lanes(terms.into_iter().map(|(a, b)| a * b))
            }
        }
    };
}

// libm, because std has no stable erf. Its erff stays within one f32 ULP of its erf (`real/tests.rs`).
native!(f32, libm::erff);
native!(f64, libm::erf);
