//! The operators and elementary functions of [`Bounded`]: what each is granted, with its source, and what it
//! makes of the errors it is given. The rules common to all are in the [parent module](super).

use std::f64::consts::{FRAC_2_SQRT_PI, PI};
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::super::Real;
use super::{Bounded, NORMAL, U, ULP_OF_ZERO};

/// `x / y`: 2.5 ULP (WGSL, table of concrete floating point operations) …
const DIV_ULPS: f64 = 2.5;
/// … "for |y| in the range [2⁻¹²⁶, 2¹²⁶]", and undefined elsewhere.
const DIV_MAX: f64 = (1u128 << 126) as f64;
/// `inverseSqrt(x)`: 2 ULP (WGSL, table of concrete floating point built-in functions).
const RSQRT_ULPS: f64 = 2.0;
/// `sqrt(x)`: "inherited from 1.0 / inverseSqrt(x)" (same table). The terms of second order, 14·U², are less
/// than a millionth of this and fall under the slack of every bound.
const SQRT_ULPS: f64 = RSQRT_ULPS + DIV_ULPS;
/// `exp(x)`: 3 + 2·|x| ULP (same table): this is the 3 …
const EXP_ULPS: f64 = 3.0;
/// … and this the 2.
const EXP_ULPS_PER_X: f64 = 2.0;
/// `log(x)`: 3 ULP outside [0.5, 2] (same table) …
const LN_ULPS: f64 = 3.0;
/// … and an absolute 2⁻²¹ inside.
const LN_ABSOLUTE: f64 = 1.0 / (1u64 << 21) as f64;
/// `sin(x)`, `cos(x)`: an absolute 2⁻¹¹ for x in [−π, π] (same table), undefined elsewhere.
const SIN_ABSOLUTE: f64 = 1.0 / (1u64 << 11) as f64;
/// `gradus_tanh` in `shaders/lib/special.wgsl`: 0.04 ULP of approximation, and of rounding at worst 4.55, at
/// |x| = 1, when its operations go through this very analysis. `real/tests/special.rs` derives both.
const TANH_ULPS: f64 = 5.0;
/// `gradus_erf` in the same file: 0.13 ULP of approximation beyond |x| = 4, where nothing rounds, and 3.6 of
/// rounding at |x| = 1, likewise derived.
const ERF_ULPS: f64 = 4.0;

impl Add for Bounded {
    type Output = Self;
    /// Adding an exact zero rounds nothing, so sums may start from one. Cancelling exactly does not either.
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.flushed(), other.flushed());
        let (value, propagated) = (a.value + b.value, a.error + b.error);
        let zero = Self::default();
        if a == zero {
            b
        } else if b == zero {
            a
        } else if value == 0.0 && propagated == 0.0 {
            zero
        } else {
            Self::within_ulps(value, propagated, 1.0)
        }
    }
}

impl Sub for Bounded {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Bounded {
    type Output = Self;
    /// Multiplying by an exact zero or power of two rounds nothing, down to where results are subnormal.
    fn mul(self, other: Self) -> Self {
        let (a, b) = (self.flushed(), other.flushed());
        let (value, propagated) = (a.value * b.value, product_error(a, b));
        if !a.is_exact_scale() && !b.is_exact_scale() {
            return Self::within_ulps(value, propagated, 1.0);
        }
        let exact = value == 0.0 && propagated == 0.0 || value.abs() - propagated >= NORMAL;
        Self::rounded(value, propagated, if exact { 0.0 } else { ULP_OF_ZERO })
    }
}

/// |a′b′ − ab| ≤ |a|·eb + |b|·ea + ea·eb.
fn product_error(a: Bounded, b: Bounded) -> f64 {
    a.value.abs() * b.error + b.magnitude() * a.error
}

impl Div for Bounded {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let (a, b) = (self.flushed(), other.flushed());
        let value = a.value / b.value;
        let lowest = b.lowest_magnitude();
        if lowest < NORMAL || b.magnitude() > DIV_MAX {
            return Self::new(value, f64::INFINITY);
        }
        // a′/b′ − a/b = ((a′ − a) − (a/b)·(b′ − b)) / b′.
        Self::within_ulps(value, (a.error + value.abs() * b.error) / lowest, DIV_ULPS)
    }
}

impl Neg for Bounded {
    type Output = Self;
    fn neg(self) -> Self {
        Self { value: -self.value, error: self.error }.flushed()
    }
}

impl Bounded {
    /// Whether this is zero or ±2ᵏ, without error: a factor that leaves a significand as it is.
    fn is_exact_scale(self) -> bool {
        const SIGNIFICAND: u64 = (1 << (f64::MANTISSA_DIGITS - 1)) - 1;
        self.error == 0.0 && self.value.to_bits() & SIGNIFICAND == 0
    }

    /// What a function that stays in [−1, 1] and is at most `steepest` near `self` makes of its error. An
    /// infinite error stays infinite: the input may be a NaN.
    fn through_sigmoid(self, steepest: f64) -> f64 {
        if self.is_vacuous() { f64::INFINITY } else { (self.error * steepest).min(2.0) }
    }

    /// What sin and cos add at `self`, whose slope never exceeds one.
    fn trigonometric(self) -> f64 {
        if self.magnitude() <= PI { SIN_ABSOLUTE } else { f64::INFINITY }
    }
}

impl Real for Bounded {
    fn from_f64(value: f64) -> Self {
        let nearest = value as f32;
        let miss = value - f64::from(nearest);
        // A literal between two f32 may become either, so the error is the distance to the farther one.
        let farther = match miss.partial_cmp(&0.0) {
            Some(std::cmp::Ordering::Greater) => nearest.next_up(),
            Some(std::cmp::Ordering::Less) => nearest.next_down(),
            _ => nearest,
        };
        Self::new(value, miss.abs().max((f64::from(farther) - value).abs()))
    }

    fn to_f64(self) -> f64 {
        self.value
    }

    fn exp(self) -> Self {
        let x = self.flushed();
        let value = x.value.exp();
        // e^(x+d) − e^x = e^x·(e^d − 1), largest at d = error. Far down, where e^x may have vanished even in
        // f64, e^(x+d) alone bounds it.
        let propagated = if x.value > -700.0 { value * x.error.exp_m1() } else { (x.value + x.error).exp() };
        Self::within_ulps(value, propagated, EXP_ULPS + EXP_ULPS_PER_X * x.magnitude())
    }

    fn ln(self) -> Self {
        let x = self.flushed();
        let value = x.value.ln();
        let (low, high) = (x.value - x.error, x.value + x.error);
        if low.is_nan() || low < NORMAL {
            return Self::new(value, f64::INFINITY);
        }
        // The curve is steepest at the lower end: ln x − ln(x − e) = −ln(1 − e/x).
        let propagated = -(-x.error / x.value).ln_1p();
        let outside = if low < 0.5 || high > 2.0 { LN_ULPS * U * (value.abs() + propagated) } else { 0.0 };
        let inside = if high >= 0.5 && low <= 2.0 { LN_ABSOLUTE } else { 0.0 };
        Self::rounded(value, propagated, outside.max(inside))
    }

    /// The part of the error below zero is taken not to occur: what is a square or a variance by its
    /// mathematics must not be computed so that it can come out negative (`max` with zero where it might).
    /// A NaN lies outside the bound in any case. √0 is taken to be 0, though 1/inverseSqrt(0) grants nothing.
    fn sqrt(self) -> Self {
        let x = self.flushed();
        let value = x.value.sqrt();
        let ratio = x.error / x.value;
        let propagated = if x.value < 0.0 {
            f64::INFINITY
        } else if x.error == 0.0 {
            0.0
        } else if ratio < 1.0 {
            // √x − √(x − e) = √x·(1 − √(1 − e/x)), the steeper side.
            -value * (0.5 * (-ratio).ln_1p()).exp_m1()
        } else {
            // Zero is within reach: either end may be the farther one.
            value.max((x.value + x.error).sqrt() - value)
        };
        Self::within_ulps(value, propagated, SQRT_ULPS)
    }

    fn rsqrt(self) -> Self {
        let x = self.flushed();
        let value = 1.0 / x.value.sqrt();
        let low = x.value - x.error;
        if low.is_nan() || low < NORMAL {
            return Self::new(value, f64::INFINITY);
        }
        // 1/√(x − e) − 1/√x = ((1 − e/x)^(−1/2) − 1)/√x, the steeper side.
        let propagated = value * (-0.5 * (-x.error / x.value).ln_1p()).exp_m1();
        Self::within_ulps(value, propagated, RSQRT_ULPS)
    }

    /// The bound is that of `gradus_tanh` in `shaders/lib/special.wgsl`, not of WGSL's looser built-in.
    fn tanh(self) -> Self {
        let x = self.flushed();
        // Steepest where |x| is least: the derivative is 1 − tanh² = 1/cosh².
        let steepest = x.lowest_magnitude().max(0.0).cosh().powi(-2);
        Self::within_ulps(x.value.tanh(), x.through_sigmoid(steepest), TANH_ULPS)
    }

    /// The bound is that of `gradus_erf` in `shaders/lib/special.wgsl`; WGSL has no erf.
    fn erf(self) -> Self {
        let x = self.flushed();
        let lowest = x.lowest_magnitude().max(0.0);
        let steepest = FRAC_2_SQRT_PI * (-lowest * lowest).exp();
        let result = Self::within_ulps(libm::erf(x.value), x.through_sigmoid(steepest), ERF_ULPS);
        // Below 1 it is x + x·p, and a subnormal x·p may be flushed while x is not.
        Self::new(result.value, result.error + NORMAL).flushed()
    }

    fn sin(self) -> Self {
        let x = self.flushed();
        Self::rounded(x.value.sin(), x.error, x.trigonometric())
    }

    fn cos(self) -> Self {
        let x = self.flushed();
        Self::rounded(x.value.cos(), x.error, x.trigonometric())
    }

    fn abs(self) -> Self {
        Self { value: self.value.abs(), error: self.error }.flushed()
    }

    fn floor(self) -> Self {
        let x = self.flushed();
        let value = x.value.floor();
        let (low, high) = ((x.value - x.error).floor(), (x.value + x.error).floor());
        Self::new(value, (high - value).max(value - low))
    }

    fn max(self, other: Self) -> Self {
        self.extreme(other, 1.0)
    }

    fn min(self, other: Self) -> Self {
        self.extreme(other, -1.0)
    }

    fn less(self, other: Self) -> Self {
        Self::mask(self.value < other.value, self.certain_order(other).is_some())
    }

    fn equal(self, other: Self) -> Self {
        Self::mask(self.value == other.value, self.certain_order(other).is_some())
    }

    /// A mask that may be either covers both branches; a certain one takes its branch as it is, for `select`
    /// is no arithmetic and does not flush.
    fn select(mask: Self, yes: Self, no: Self) -> Self {
        let (taken, other) = if mask.value != 0.0 { (yes, no) } else { (no, yes) };
        let certain = if mask.value != 0.0 { mask.lowest_magnitude() >= NORMAL } else { mask.error == 0.0 };
        if certain {
            return taken;
        }
        let across = (taken.value - other.value).abs() + other.error;
        // Infinite branches may be NaN, which `max` would drop.
        let wild = taken.is_vacuous() || other.is_vacuous();
        Self::new(taken.value, if wild { f64::INFINITY } else { across.max(taken.error) })
    }

    /// γₙ₋₁·Σ|aᵢ| + Σeᵢ for n terms, in whatever order or tree: no term passes through more than n − 1
    /// additions. Padding with zeros, or starting from zero, adds nothing, because x + 0 is exact; so terms
    /// that are exactly zero do not count. Summing in plain f64 here costs n·2⁻⁵³·Σ|aᵢ| at most, which the
    /// slack of every bound, (n − 1)·2⁻⁴³·Σ|aᵢ|, covers.
    fn sum(terms: impl IntoIterator<Item = Self>) -> Self {
        let (mut value, mut propagated, mut magnitude, mut count) = (0.0, 0.0, 0.0, 0usize);
        for term in terms {
            let term = term.flushed();
            value += term.value;
            propagated += term.error;
            magnitude += term.magnitude();
            count += usize::from(term.magnitude() != 0.0);
        }
        let additions = count.saturating_sub(1);
        // Each partial sum may be subnormal and flushed.
        Self::reduced(value, propagated, magnitude, additions, additions as f64 * NORMAL)
    }

    /// γₙ·Σ|aᵢbᵢ| plus what the factors bring, for n products in whatever order or tree, fused or not: no
    /// product passes through more than its own rounding and n − 1 additions, and fusing only removes
    /// roundings. Products that are exactly zero do not count, as in [`sum`](Real::sum).
    fn dot(terms: impl IntoIterator<Item = (Self, Self)>) -> Self {
        let (mut value, mut propagated, mut magnitude, mut count) = (0.0, 0.0, 0.0, 0usize);
        for (a, b) in terms {
            let (a, b) = (a.flushed(), b.flushed());
            let reach = a.magnitude() * b.magnitude();
            value += a.value * b.value;
            propagated += product_error(a, b);
            magnitude += reach;
            count += usize::from(reach != 0.0);
        }
        // Each product and each partial sum may be flushed, or rounded among the subnormals.
        Self::reduced(value, propagated, magnitude, count, 2.0 * count as f64 * NORMAL)
    }
}
