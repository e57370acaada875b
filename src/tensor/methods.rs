//! Arithmetic, comparison and activations, each a formula.

use super::Tensor;
use crate::error::Result;
use crate::formula::Formula;

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident($a:ident, $b:ident) $formula:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// The shapes broadcast. Errors: [`Shape`](crate::Error::Shape),
                /// [`DType`](crate::Error::DType), [`Device`](crate::Error::Device).
                pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                    let ($a, $b) = (Formula::input(0), Formula::input(1));
                    Tensor::map_named(stringify!($name), &[self, other], &$formula)
                }
            )*
        }
    };
}
binary! {
    /// `self` + `other`.
    add(a, b) a + b;
    /// `self` − `other`.
    sub(a, b) a - b;
    /// `self` × `other`, element by element.
    mul(a, b) a * b;
    /// `self` / `other`.
    div(a, b) a / b;
    /// The larger of the two; a tie shares the gradient.
    maximum(a, b) a.max(b);
    /// The smaller of the two; a tie shares the gradient.
    minimum(a, b) a.min(b);
    /// One where `self` < `other`, else zero; its gradient is zero.
    less(a, b) a.less(b);
    /// One where `self` = `other`, else zero; its gradient is zero.
    equal(a, b) a.equal(b);
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*);)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                pub fn $name(&self $(, $arg: $type)*) -> Result<Tensor> {
                    Tensor::map_named(stringify!($name), &[self], &Formula::input(0).$name($($arg),*))
                }
            )*
        }
    };
}
unary! {
    /// e to the power of each element.
    exp();
    /// Natural logarithm.
    ln();
    /// Square root.
    sqrt();
    /// One over the square root.
    rsqrt();
    /// Sine; accurate for |x| ≤ π.
    sin();
    /// Cosine; accurate for |x| ≤ π.
    cos();
    /// The angle in [−π/2, π/2] whose sine it is, for x in [−1, 1].
    asin();
    /// The angle in [0, π] whose cosine it is, for x in [−1, 1].
    acos();
    /// Absolute value; its gradient at zero is zero.
    abs();
    /// The largest integer not above; its gradient is zero.
    floor();
    /// Hyperbolic tangent.
    tanh();
    /// The error function.
    erf();
    /// max(x, 0); its gradient at zero is zero. NaN, for which no comparison holds, becomes zero.
    relu();
    /// x for x > 0, else slope·x.
    leaky_relu(slope: f64);
    /// 1 / (1 + exp(−x)).
    sigmoid();
    /// x·σ(x).
    silu();
    /// ln(1 + exp(x)).
    softplus();
    /// x·Φ(x), by the error function.
    gelu();
    /// The tanh approximation of gelu.
    gelu_tanh();
    /// x for x > 0, else alpha·(exp(x) − 1).
    elu(alpha: f64);
    /// The self-normalising ELU.
    selu();
    /// x·tanh(softplus(x)).
    mish();
    /// x / (1 + |x|).
    softsign();
    /// x·min(max(x + 3, 0), 6)/6.
    hardswish();
    /// x².
    square();
    /// 1/x.
    recip();
    /// −1, 0 or 1; its gradient is zero.
    sign();
    /// Each element to a whole power.
    powi(exponent: i32);
    /// Each element, positive unless the exponent is whole, to a real power.
    powf(exponent: f64);
    /// Limited to [low, high].
    clamp(low: f64, high: f64);
}

impl Tensor {
    /// −x.
    pub fn neg(&self) -> Result<Tensor> {
        Tensor::map_named("neg", &[self], &-Formula::input(0))
    }

    /// Each element plus a number. The number is an argument of the kernel, not part of it.
    pub fn add_scalar(&self, value: f64) -> Result<Tensor> {
        Tensor::map_named("add_scalar", &[self], &(Formula::input(0) + Formula::scalar(value)))
    }

    /// Each element times a number. The number is an argument of the kernel, not part of it.
    pub fn mul_scalar(&self, value: f64) -> Result<Tensor> {
        Tensor::map_named("mul_scalar", &[self], &(Formula::input(0) * Formula::scalar(value)))
    }

    /// `yes` where this tensor is not zero, else `no`. The mask may be of integers; no gradient reaches it.
    pub fn where_(&self, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        let [m, a, b] = std::array::from_fn(Formula::input);
        // No integer but zero becomes zero.
        let mask = if self.dtype().is_float() { self.clone() } else { self.to_dtype(yes.dtype())? };
        Tensor::map_named("where", &[&mask, yes, no], &Formula::select(m, a, b))
    }
}
