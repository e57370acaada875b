//! Layers with parameters: plain structs with one `forward`.

use super::init::Init;
use super::module::{Mode, Module};
use super::observe::{self, Affine, Seen};
use super::parameter::Parameter;
use super::params::Params;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::tensor::Tensor;

/// What the weight and bias of a layer start as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerInit {
    /// The weight.
    pub weight: Init,
    /// Whether there is a bias.
    pub bias: bool,
    /// The bias; `None` for PyTorch's, uniform in ±1/√fan_in.
    pub bias_init: Option<Init>,
}

impl Default for LayerInit {
    /// As PyTorch starts them: weight and bias uniform in ±1/√fan_in.
    fn default() -> Self {
        LayerInit { weight: Init::torch_weight(), bias: true, bias_init: None }
    }
}

impl LayerInit {
    /// PyTorch's weight, and no bias: before a batch norm, which has one of its own.
    pub fn without_bias() -> Self {
        LayerInit { bias: false, ..LayerInit::default() }
    }

    /// A weight of this shape, and a bias for each output.
    pub(super) fn define(
        &self,
        params: &Params,
        shape: &[usize],
        outputs: usize,
    ) -> Result<(Parameter, Option<Parameter>)> {
        let weight = params.parameter("weight", shape, self.weight)?;
        if !self.bias {
            return Ok((weight, None));
        }
        let bound = 1.0 / (Init::fans(shape)?.0.max(1) as f64).sqrt();
        let init = self.bias_init.unwrap_or(Init::Uniform { low: -bound, high: bound });
        Ok((weight, Some(params.parameter("bias", [outputs], init)?)))
    }
}

/// An affine map of the last axis: y = x·Wᵀ + b.
///
/// x `[.., in]` → y `[.., out]`, with `weight` `[out, in]` and `bias` `[out]`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// W, `[out, in]`.
    pub weight: Parameter,
    /// b, `[out]`.
    pub bias: Option<Parameter>,
}

impl Linear {
    /// From `inputs` to `outputs` features, started as PyTorch does.
    pub fn new(params: &Params, inputs: usize, outputs: usize) -> Result<Self> {
        Linear::with(params, inputs, outputs, LayerInit::default())
    }

    /// From `inputs` to `outputs` features, started as `init` says.
    pub fn with(params: &Params, inputs: usize, outputs: usize, init: LayerInit) -> Result<Self> {
        let (weight, bias) = init.define(params, &[outputs, inputs], outputs)?;
        Ok(Linear { weight, bias })
    }

    /// y = x·Wᵀ + b, in one kernel. For x of f16 the parameters are rounded to f16.
    ///
    /// Errors: [`Error::Shape`] if the last axis does not have `in` elements or there are fewer than two.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.for_input(x)?.t()?;
        let bias = self.bias.as_ref().map(|bias| bias.for_input(x)).transpose()?;
        if weight.rank() == 3 {
            return each_its_own(x, &weight, bias.as_ref());
        }
        let y = match &bias {
            Some(bias) => x.matmul_bias(&weight, bias),
            None => x.matmul(&weight),
        }?;
        observe::note(|| Seen {
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            input: x.clone(),
            output: y.clone(),
            map: Affine::Linear,
        });
        Ok(y)
    }
}

/// y\[n\] = x\[n\]·Wᵀ\[n\] + b\[n\]: inside [`Params::per_example_grad`], where every example has a copy.
fn each_its_own(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let mut dims = x.shape().to_vec();
    if dims.first() != Some(&weight.shape()[0]) {
        return Err(Error::shape(
            "linear",
            format!("input {} with a weight for each of {} examples", x.describe(), weight.shape()[0]),
            "The first axis of the input counts the examples.",
        ));
    }
    let (inputs, outputs) = (weight.shape()[1], weight.shape()[2]);
    let rows: usize = dims[1..dims.len() - 1].iter().product();
    let last = dims.len() - 1;
    if last == 0 || dims[last] != inputs {
        let given = format!("input {} for {inputs} features", x.describe());
        return Err(Error::shape("linear", given, "Give [examples, .., in]."));
    }
    let y = x.reshape([dims[0], rows, inputs])?.matmul(weight)?;
    dims[last] = outputs;
    match bias {
        Some(bias) => y.add(&bias.unsqueeze(1)?)?.reshape(dims),
        None => y.reshape(dims),
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
        Linear::forward(self, x)
    }
}

/// How a batch norm computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormOptions {
    /// How much of a running statistic each batch replaces.
    pub momentum: f64,
    /// Added to the variance before the square root.
    pub eps: f64,
}

impl Default for BatchNormOptions {
    /// Momentum 0.1, eps 1e-5.
    fn default() -> Self {
        BatchNormOptions { momentum: 0.1, eps: 1e-5 }
    }
}

/// Batch normalisation of the channels: y = γ·(x − μ)/√(σ² + ε) + β, for x `[N, C, ..]`.
///
/// To learn, μ and σ² are mean and variance of each channel over the batch, and the running ones move
/// towards them: r ← (1 − momentum)·r + momentum·s, with the unbiased variance, as in PyTorch. To judge,
/// they are the running ones. Ioffe and Szegedy 2015, arXiv:1502.03167.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// γ, `[C]`, at first ones.
    pub gamma: Parameter,
    /// β, `[C]`, at first zeros.
    pub beta: Parameter,
    /// The running mean, `[C]`, at first zeros; a buffer.
    pub running_mean: Parameter,
    /// The running variance, `[C]`, at first ones; a buffer.
    pub running_var: Parameter,
    /// Momentum and ε.
    pub options: BatchNormOptions,
}

impl BatchNorm {
    /// For `channels` channels. The parameters are called `weight` and `bias`, as in PyTorch.
    pub fn new(params: &Params, channels: usize) -> Result<Self> {
        BatchNorm::with(params, channels, BatchNormOptions::default())
    }

    /// For `channels` channels, computing as the options say.
    ///
    /// Errors: [`Error::Argument`] for a momentum outside [0, 1] or an ε that is not positive.
    pub fn with(params: &Params, channels: usize, options: BatchNormOptions) -> Result<Self> {
        let BatchNormOptions { momentum, eps } = options;
        if !((0.0..=1.0).contains(&momentum) && eps > 0.0 && eps.is_finite()) {
            return Err(Error::argument(
                "batch_norm",
                format!("momentum {momentum}, eps {eps}"),
                "Momentum lies in [0, 1], eps is positive.",
            ));
        }
        Ok(BatchNorm {
            gamma: params.parameter("weight", [channels], Init::Ones)?,
            beta: params.parameter("bias", [channels], Init::Zeros)?,
            running_mean: params.buffer("running_mean", [channels], Init::Zeros)?,
            running_var: params.buffer("running_var", [channels], Init::Ones)?,
            options,
        })
    }

    /// The normalised x. Every pass to learn moves the running statistics, those inside `jvp` and `hvp` too.
    ///
    /// Errors: [`Error::Shape`] if x does not have the channels, or to learn from one value a channel,
    /// which has no variance.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let eps = self.options.eps;
        let (mean, var) = (self.running_mean.get(), self.running_var.get());
        if !mode.learns() {
            // In f32 for x of f16: a variance may lie outside f16's range.
            let wide = x.to_dtype(x.dtype().wide())?;
            let y = wide.batch_norm_inference(&self.gamma.get(), &self.beta.get(), &mean, &var, eps)?;
            return y.to_dtype(x.dtype());
        }
        let (gamma, beta) = (self.gamma.for_input(x)?, self.beta.for_input(x)?);
        let count = x.count().checked_div(gamma.count()).unwrap_or(0);
        if count < 2 {
            return Err(Error::shape(
                "batch_norm",
                format!("{} has {count} values a channel to take a variance of", x.describe()),
                "Train on larger batches, or use Mode::Eval.",
            ));
        }
        let out = x.batch_norm(&gamma, &beta, eps)?;
        self.follow(&self.running_mean, &mean, &out.mean, 1.0)?;
        self.follow(&self.running_var, &var, &out.var, count as f64 / (count - 1) as f64)?;
        Ok(out.y)
    }

    /// running ← (1 − momentum)·old + momentum·scale·new
    fn follow(&self, running: &Parameter, old: &Tensor, new: &Tensor, scale: f64) -> Result<()> {
        let momentum = self.options.momentum;
        running.set(&Tensor::map([old, &new.detach()], |[old, new]| {
            old * Formula::scalar(1.0 - momentum) + new * Formula::scalar(momentum * scale)
        })?)
    }
}

impl Module for BatchNorm {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        BatchNorm::forward(self, x, mode)
    }
}
