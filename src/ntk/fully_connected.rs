//! The limit of fully connected networks, and the step from layer to layer that all limits share.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::nn::{Init, LayerInit, Linear, Params, Sequential};
use crate::tensor::Tensor;
use std::f64::consts::{FRAC_2_PI, PI};

/// The function between the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phi {
    /// max(z, 0). Cho and Saul 2009.
    Relu,
    /// The error function. Williams 1997.
    Erf,
}

impl Phi {
    /// φ(x).
    pub(super) fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Phi::Relu => x.relu(),
            Phi::Erf => x.erf(),
        }
    }

    /// E φ(u)φ(v) and E φ′(u)φ′(v) for Gaussian (u, v) with covariance `s` and variances `s1`, `s2`, which
    /// broadcast.
    pub(super) fn expectations(self, s: &Tensor, s1: &Tensor, s2: &Tensor) -> Result<(Tensor, Tensor)> {
        type OfThree = fn([Formula; 3]) -> Formula;
        let (values, slopes): (OfThree, OfThree) = match self {
            Phi::Relu => (
                |inputs| {
                    let (c, root) = cosine(inputs);
                    let sine = ((1.0 - c.clone()) * (1.0 + c.clone())).sqrt();
                    root * (sine + (PI - c.clone().acos()) * c) * (0.5 / PI)
                },
                |inputs| (PI - cosine(inputs).0.acos()) * (0.5 / PI),
            ),
            Phi::Erf => (
                |[s, s1, s2]| FRAC_2_PI * (2.0 * s / ((1.0 + 2.0 * s1) * (1.0 + 2.0 * s2)).sqrt()).asin(),
                |[s, s1, s2]| {
                    let determinant = (1.0 + 2.0 * s1) * (1.0 + 2.0 * s2) - (2.0 * s).square();
                    2.0 * FRAC_2_PI * determinant.rsqrt()
                },
            ),
        };
        Ok((Tensor::map([s, s1, s2], values)?, Tensor::map([s, s1, s2], slopes)?))
    }

    /// E φ(u)² for variances `s`.
    pub(super) fn second_moment(self, s: &Tensor) -> Result<Tensor> {
        match self {
            Phi::Relu => s.mul_scalar(0.5),
            Phi::Erf => Tensor::map([s], |[s]| {
                let s = 2.0 * s;
                FRAC_2_PI * (s.clone() / (1.0 + s)).asin()
            }),
        }
    }
}

/// The cosine between u and v from their covariance and variances, and the root of both variances. Where one of
/// them is zero every cosine will do.
fn cosine([s, s1, s2]: [Formula; 3]) -> (Formula, Formula) {
    let root = (s1 * s2).sqrt();
    let c = s / root.clone().max(1e-30);
    (c.max(-1.0).min(1.0), root)
}

/// The two kernels of a limit, between N and M inputs: `[N, M]` each.
#[derive(Clone, Debug)]
pub struct Kernels {
    /// The covariance of the outputs of random networks (Neal 1996; Lee et al. 2018): the prior of a Gaussian process.
    pub nngp: Tensor,
    /// The neural tangent kernel: what gradient descent on all layers sees.
    pub ntk: Tensor,
}

/// Fully connected networks of infinite width, with linear outputs.
///
/// z₁ = W₁x + σ_b·b₁, then in each hidden layer z ↦ (σ_w/√n)·W·φ(z) + σ_b·b, with standard normal W and b: the NTK
/// parametrisation. The inputs are taken as they are; divide by √d for ones of d features of size one. The kernels
/// follow the recursion S ← xᵀx′ + σ_b², T ← S, and for each hidden layer
///
/// S ← σ_w²·E φ(u)φ(v) + σ_b², T ← S + T·σ_w²·E φ′(u)φ′(v), (u, v) ~ N(0, S of before),
///
/// so that T = Σ_l S⁽ˡ⁾·∏_{l′>l} Ṡ⁽ˡ′⁾ (Jacot et al. 2018, arXiv:1806.07572; Lee et al. 2019, arXiv:1902.06720).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FullyConnected {
    /// How many hidden layers.
    pub hidden: usize,
    /// The function between the layers.
    pub phi: Phi,
    /// σ_w².
    pub weight_var: f64,
    /// σ_b².
    pub bias_var: f64,
}

impl FullyConnected {
    /// ReLU with σ_w² = 2, which keeps the size of signals (He et al. 2015), and without biases.
    pub fn relu(hidden: usize) -> Self {
        FullyConnected { hidden, phi: Phi::Relu, weight_var: 2.0, bias_var: 0.0 }
    }

    /// Error functions with σ_w² = 1.5 and σ_b² = 0.05.
    pub fn erf(hidden: usize) -> Self {
        FullyConnected { hidden, phi: Phi::Erf, weight_var: 1.5, bias_var: 0.05 }
    }

    /// The kernels between x1 `[N, d]` and x2 `[M, d]`, on their device and in their type.
    ///
    /// In f32 the arc cosine of ReLU's kernel makes of the rounding of a cosine near one its square root: of nearly
    /// equal inputs, the diagonal included, the NTK is off by up to some 1e-4 of itself. On the CPU device with f64 it
    /// is not.
    ///
    /// Errors: [`Error::Argument`] for variances that are negative or not finite; [`Error::Shape`];
    /// [`Error::DType`] for f16.
    pub fn kernels(&self, x1: &Tensor, x2: &Tensor) -> Result<Kernels> {
        check_variances("ntk", self.weight_var, self.bias_var)?;
        check_input("FullyConnected::kernels", x1, 2, "Give inputs [N, d].")?;
        check_input("FullyConnected::kernels", x2, 2, "Give inputs [N, d].")?;
        let squares = |x: &Tensor| x.square()?.sum(&[1], true)?.add_scalar(self.bias_var);
        let (mut s1, mut s2) = (squares(x1)?, squares(x2)?.t()?);
        let mut s = x1.matmul(&x2.t()?)?.add_scalar(self.bias_var)?;
        let mut t = s.clone();
        let grown = |e: &Tensor| e.mul_scalar(self.weight_var)?.add_scalar(self.bias_var);
        for _ in 0..self.hidden {
            let (values, slopes) = self.phi.expectations(&s, &s1, &s2)?;
            s = grown(&values)?;
            t = s.add(&t.mul(&slopes)?.mul_scalar(self.weight_var)?)?;
            s1 = grown(&self.phi.second_moment(&s1)?)?;
            s2 = grown(&self.phi.second_moment(&s2)?)?;
        }
        Ok(Kernels { nngp: s, ntk: t })
    }

    /// A network of this kind of finite width, whose kernel tends to [`kernels`](Self::kernels): layers `layer0`, … in
    /// `params`, from `inputs` features to `outputs`.
    ///
    /// Errors: [`Error::Argument`] for variances that are negative or not finite, or paths that are taken.
    pub fn network(
        &self,
        params: &Params,
        inputs: usize,
        width: usize,
        outputs: usize,
    ) -> Result<Sequential> {
        check_variances("ntk", self.weight_var, self.bias_var)?;
        let mut network = Sequential::new();
        for layer in 0..=self.hidden {
            let last = layer == self.hidden;
            let (from, to) = (if layer == 0 { inputs } else { width }, if last { outputs } else { width });
            let scale = if layer == 0 { 1.0 } else { (self.weight_var / width as f64).sqrt() };
            let linear =
                Linear::with(&params.at(format!("layer{layer}")), from, to, standard(self.bias_var))?;
            network = scaled(network, scale, self.bias_var, move |x| linear.forward(x));
            if !last {
                let phi = self.phi;
                network = network.then(move |x| phi.apply(x));
            }
        }
        Ok(network)
    }
}

/// Standard normal weights, and biases if they have a variance.
pub(super) fn standard(bias_var: f64) -> LayerInit {
    let normal = Init::Normal { mean: 0.0, std: 1.0 };
    LayerInit { weight: normal, bias: bias_var > 0.0, bias_init: Some(normal) }
}

/// Adds x ↦ scale·W·x + σ_b·b behind a network, for a layer W·x + b: as σ_b·(W·(scale/σ_b·x) + b).
pub(super) fn scaled(
    network: Sequential,
    scale: f64,
    bias_var: f64,
    layer: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Sequential {
    let after = if bias_var > 0.0 { bias_var.sqrt() } else { 1.0 };
    network.then(move |x| {
        let x = if scale == after { x.clone() } else { x.mul_scalar(scale / after)? };
        let y = layer(&x)?;
        if after == 1.0 { Ok(y) } else { y.mul_scalar(after) }
    })
}

pub(super) fn check_variances(op: &'static str, weight_var: f64, bias_var: f64) -> Result<()> {
    if weight_var >= 0.0 && bias_var >= 0.0 && weight_var.is_finite() && bias_var.is_finite() {
        return Ok(());
    }
    let given = format!("weight_var {weight_var}, bias_var {bias_var}");
    Err(Error::argument(op, given, "Variances are finite and not negative."))
}

pub(super) fn check_input(op: &'static str, x: &Tensor, rank: usize, remedy: &'static str) -> Result<()> {
    if !x.dtype().is_float() || matches!(x.dtype(), DType::F16 | DType::BoundedF16) {
        return Err(Error::dtype(op, x.describe(), "Convert to f32 with to_dtype."));
    }
    if x.rank() != rank {
        return Err(Error::shape(op, x.describe(), remedy));
    }
    Ok(())
}
