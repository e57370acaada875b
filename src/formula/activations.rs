//! The usual activations, each a formula over the primitives.
//!
//! Written so that no intermediate value overflows: an exponential is only taken of a negative number.

use super::Formula;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2, PI};

/// asin(x)/x as a polynomial in x² for |x| ≤ ½: the interpolant at the Chebyshev points of [0, ¼], whose relative
/// error 2⁻⁵² is that of rounding in f64.
const ARCSINE: [f64; 14] = [
    1.0,
    0.166_666_666_666_667_96,
    0.074_999_999_999_666_11,
    0.044_642_857_176_863_22,
    0.030_381_942_642_327_187,
    0.022_372_216_106_072_148,
    0.017_351_600_625_343_435,
    0.013_980_882_992_171_01,
    0.011_398_850_408_440_755,
    0.010_778_675_120_995_992,
    0.003_718_057_748_325_053_7,
    0.021_668_058_869_056_36,
    -0.020_930_658_315_182_45,
    0.032_579_347_966_928_42,
];

impl Formula {
    /// Whether |x| ≤ ½, whether x is negative, and asin|x| in the first case, acos|x|/2 in the second.
    fn arc(self) -> (Self, Self, Self) {
        let negative = self.clone().less(0.0);
        let size = Formula::select(negative.clone(), -self.clone(), self);
        let small = size.clone().less(0.5);
        // acos u = 2·asin √((1 − u)/2) keeps the digits that 1 − u has, near u = 1.
        let x = Formula::select(small.clone(), size.clone(), (0.5 * (1.0 - size)).sqrt());
        let z = x.clone().square();
        let series = ARCSINE.iter().rev().fold(Formula::constant(0.0), |sum, &c| sum * z.clone() + c);
        (small, negative, x * series)
    }

    /// The angle in [−π/2, π/2] whose sine is x, for x in [−1, 1]; at the ends its derivative is infinite.
    pub fn asin(self) -> Self {
        let (small, negative, arc) = self.arc();
        let size = Formula::select(small, arc.clone(), FRAC_PI_2 - 2.0 * arc);
        Formula::select(negative, -size.clone(), size)
    }

    /// The angle in [0, π] whose cosine is x, for x in [−1, 1]; at the ends its derivative is infinite. What
    /// rounding did to x near 1 grows: an error e becomes up to √(2e).
    pub fn acos(self) -> Self {
        let (small, negative, arc) = self.arc();
        let far = Formula::select(negative.clone(), PI - 2.0 * arc.clone(), 2.0 * arc.clone());
        let near = Formula::select(negative, FRAC_PI_2 + arc.clone(), FRAC_PI_2 - arc);
        Formula::select(small, near, far)
    }

    /// max(x, 0), with derivative zero at zero. NaN, for which no comparison holds, becomes zero.
    pub fn relu(self) -> Self {
        let positive = Formula::constant(0.0).less(self.clone());
        Formula::select(positive, self, 0.0.into())
    }

    /// x for x > 0, else `slope`·x.
    pub fn leaky_relu(self, slope: f64) -> Self {
        let positive = Formula::constant(0.0).less(self.clone());
        Formula::select(positive, self.clone(), slope * self)
    }

    /// 1 / (1 + exp(−x)).
    pub fn sigmoid(self) -> Self {
        // e = exp(−|x|) is at most one; for x < 0 the identity σ(x) = e/(1 + e) avoids 1 − y.
        let (negative, e) = self.small_exp();
        Formula::select(negative, e.clone(), 1.0.into()) / (1.0 + e)
    }

    /// Whether x is negative, and exp(−|x|). Selected instead of by [`abs`](Self::abs), whose derivative at
    /// zero is zero: a function that is smooth there, put together from two branches, takes one of them with
    /// its derivatives.
    fn small_exp(self) -> (Self, Self) {
        let negative = self.clone().less(0.0);
        let exponent = Formula::select(negative.clone(), self.clone(), -self);
        (negative, exponent.exp())
    }

    /// x·σ(x), also called swish.
    pub fn silu(self) -> Self {
        self.clone() * self.sigmoid()
    }

    /// ln(1 + exp(x)).
    pub fn softplus(self) -> Self {
        let (negative, e) = self.clone().small_exp();
        Formula::select(negative, 0.0.into(), self) + (1.0 + e).ln()
    }

    /// x·Φ(x), Φ the normal distribution function (Hendrycks & Gimpel 2016).
    pub fn gelu(self) -> Self {
        0.5 * self.clone() * (1.0 + (self * FRAC_1_SQRT_2).erf())
    }

    /// The tanh approximation of [`gelu`](Self::gelu): ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
    pub fn gelu_tanh(self) -> Self {
        let inner = (2.0 / PI).sqrt() * (self.clone() + 0.044715 * self.clone().powi(3));
        0.5 * self * (1.0 + inner.tanh())
    }

    /// x for x > 0, else `alpha`·(exp(x) − 1).
    pub fn elu(self, alpha: f64) -> Self {
        let positive = Formula::constant(0.0).less(self.clone());
        // Not min, which would share the derivative at zero with a constant.
        let negative = Formula::select(positive.clone(), 0.0.into(), self.clone());
        Formula::select(positive, self, alpha * (negative.exp() - 1.0))
    }

    /// The self-normalising ELU (Klambauer et al. 2017).
    pub fn selu(self) -> Self {
        1.050_700_987_355_480_5 * self.elu(1.673_263_242_354_377_2)
    }

    /// x·tanh(softplus(x)) (Misra 2019).
    pub fn mish(self) -> Self {
        self.clone() * self.softplus().tanh()
    }

    /// x / (1 + |x|).
    pub fn softsign(self) -> Self {
        self.clone() / (1.0 + self.abs())
    }

    /// x·min(max(x + 3, 0), 6)/6 (Howard et al. 2019), with the one-sided derivative at the kinks.
    pub fn hardswish(self) -> Self {
        let gate = Formula::select(
            self.clone().less(3.0),
            Formula::select(Formula::constant(-3.0).less(self.clone()), self.clone() + 3.0, 0.0.into()),
            6.0.into(),
        );
        self * gate / 6.0
    }

    /// x multiplied by itself.
    pub fn square(self) -> Self {
        self.clone() * self
    }

    /// 1/x.
    pub fn recip(self) -> Self {
        1.0 / self
    }

    /// −1, 0 or 1, with derivative zero.
    pub fn sign(self) -> Self {
        Formula::constant(0.0).less(self.clone()) - self.less(0.0)
    }

    /// The power with a whole exponent, by repeated squaring; x⁰ is one.
    pub fn powi(self, exponent: i32) -> Self {
        let (mut result, mut base, mut left) = (Formula::constant(1.0), self, exponent.unsigned_abs());
        while left > 0 {
            if left & 1 == 1 {
                result = result * base.clone();
            }
            left >>= 1;
            if left > 0 {
                base = base.clone() * base;
            }
        }
        if exponent < 0 { result.recip() } else { result }
    }

    /// The power with a real exponent, exp(e·ln x); whole exponents go through [`powi`](Self::powi). For
    /// other exponents x must be positive.
    pub fn powf(self, exponent: f64) -> Self {
        if exponent == 0.5 {
            self.sqrt()
        } else if exponent == -0.5 {
            self.rsqrt()
        } else if exponent.fract() == 0.0 && exponent.abs() <= 64.0 {
            self.powi(exponent as i32)
        } else {
            (exponent * self.ln()).exp()
        }
    }

    /// x limited to [`low`, `high`]; the derivative is one strictly inside and zero elsewhere.
    pub fn clamp(self, low: f64, high: f64) -> Self {
        let below = self.clone().less(high);
        let above = Formula::constant(low).less(self.clone());
        Formula::select(above, Formula::select(below, self, high.into()), low.into())
    }
}
