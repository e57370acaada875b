//! Layers that normalise what they are given, the same to learn and to judge.

use super::init::Init;
use super::module::{Mode, Module};
use super::parameter::Parameter;
use super::params::Params;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// What a layer, group or instance norm has, and what is added under its root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormInit {
    /// Whether there is a scale γ, at first ones.
    pub scale: bool,
    /// Whether there is a shift β, at first zeros.
    pub shift: bool,
    /// Added to the variance before the square root.
    pub eps: f64,
}

impl Default for NormInit {
    /// Scale and shift, eps 1e-5.
    fn default() -> Self {
        NormInit { scale: true, shift: true, eps: 1e-5 }
    }
}

impl NormInit {
    fn define(&self, params: &Params, shape: &[usize]) -> Result<(Option<Parameter>, Option<Parameter>)> {
        let define = |wanted: bool, name: &str, init: Init| {
            wanted.then(|| params.parameter(name, shape, init)).transpose()
        };
        Ok((define(self.scale, "weight", Init::Ones)?, define(self.shift, "bias", Init::Zeros)?))
    }
}

/// The current value of a parameter, if there is one, in the type of x.
fn value(parameter: &Option<Parameter>, x: &Tensor) -> Result<Option<Tensor>> {
    parameter.as_ref().map(|parameter| parameter.for_input(x)).transpose()
}

fn check_axes(op: &'static str, shape: &[usize]) -> Result<()> {
    if shape.is_empty() {
        return Err(Error::shape(op, "no axes to normalise over", "Name the extents of at least one."));
    }
    Ok(())
}

/// Layer normalisation of the last axes: y = γ·(x − μ)/√(σ² + ε) + β; see [`Tensor::layer_norm`].
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// γ, called `weight` as in PyTorch, at first ones.
    pub gamma: Option<Parameter>,
    /// β, called `bias`, at first zeros.
    pub beta: Option<Parameter>,
    /// ε.
    pub eps: f64,
    /// The extents of the normalised axes.
    pub shape: Vec<usize>,
}

impl LayerNorm {
    /// Over the last axes, of the extents `shape`: `[d]` for the features of `[.., d]`.
    pub fn new(params: &Params, shape: impl AsRef<[usize]>) -> Result<Self> {
        LayerNorm::with(params, shape, NormInit::default())
    }

    /// Over the last axes, with or without scale and shift.
    pub fn with(params: &Params, shape: impl AsRef<[usize]>, init: NormInit) -> Result<Self> {
        let shape = shape.as_ref().to_vec();
        check_axes("layer_norm", &shape)?;
        let (gamma, beta) = init.define(params, &shape)?;
        Ok(LayerNorm { gamma, beta, eps: init.eps, shape })
    }

    /// The normalised x.
    ///
    /// Errors: [`Error::Shape`] if the last axes are others.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        check_last("layer_norm", x, &self.shape)?;
        x.layer_norm(
            self.shape.len(),
            value(&self.gamma, x)?.as_ref(),
            value(&self.beta, x)?.as_ref(),
            self.eps,
        )
    }
}

/// Root-mean-square normalisation of the last axes: y = γ·x/√(mean x² + ε); see [`Tensor::rms_norm`].
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// γ, called `weight`, at first ones.
    pub gamma: Parameter,
    /// ε.
    pub eps: f64,
    /// The extents of the normalised axes.
    pub shape: Vec<usize>,
}

impl RmsNorm {
    /// Over the last axes, of the extents `shape`, with ε = 1e-5.
    pub fn new(params: &Params, shape: impl AsRef<[usize]>) -> Result<Self> {
        RmsNorm::with(params, shape, 1e-5)
    }

    /// Over the last axes, with this ε.
    pub fn with(params: &Params, shape: impl AsRef<[usize]>, eps: f64) -> Result<Self> {
        let shape = shape.as_ref().to_vec();
        check_axes("rms_norm", &shape)?;
        Ok(RmsNorm { gamma: params.parameter("weight", &shape, Init::Ones)?, eps, shape })
    }

    /// The normalised x.
    ///
    /// Errors: [`Error::Shape`] if the last axes are others.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        check_last("rms_norm", x, &self.shape)?;
        x.rms_norm(self.shape.len(), Some(&self.gamma.for_input(x)?), self.eps)
    }
}

fn check_last(op: &'static str, x: &Tensor, shape: &[usize]) -> Result<()> {
    if x.shape().ends_with(shape) {
        return Ok(());
    }
    Err(Error::shape(
        op,
        format!("{} does not end in {shape:?}", x.describe()),
        "Give what the layer was made for, or make it for the extents there are.",
    ))
}

/// Group normalisation of `[N, C, ..]`: y = γ·(x − μ)/√(σ² + ε) + β; see [`Tensor::group_norm`].
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// γ, called `weight` as in PyTorch, at first ones.
    pub gamma: Option<Parameter>,
    /// β, called `bias`, at first zeros.
    pub beta: Option<Parameter>,
    /// ε.
    pub eps: f64,
    /// How many groups the channels form.
    pub groups: usize,
}

impl GroupNorm {
    /// For `channels` channels in `groups` groups.
    ///
    /// Errors: [`Error::Argument`] if the groups do not divide the channels.
    pub fn new(params: &Params, groups: usize, channels: usize) -> Result<Self> {
        GroupNorm::with(params, groups, channels, NormInit::default())
    }

    /// For `channels` channels in `groups` groups, with or without scale and shift.
    pub fn with(params: &Params, groups: usize, channels: usize, init: NormInit) -> Result<Self> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::argument(
                "group_norm",
                format!("{groups} groups for {channels} channels"),
                "The number of groups divides the number of channels.",
            ));
        }
        let (gamma, beta) = init.define(params, &[channels])?;
        Ok(GroupNorm { gamma, beta, eps: init.eps, groups })
    }

    /// The normalised x.
    ///
    /// Errors: [`Error::Shape`] if x has other channels.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.group_norm(self.groups, value(&self.gamma, x)?.as_ref(), value(&self.beta, x)?.as_ref(), self.eps)
    }
}

/// Instance normalisation of `[N, C, ..]`: y = γ·(x − μ)/√(σ² + ε) + β; see [`Tensor::instance_norm`].
#[derive(Clone, Debug)]
pub struct InstanceNorm {
    /// γ, called `weight` as in PyTorch, at first ones.
    pub gamma: Option<Parameter>,
    /// β, called `bias`, at first zeros.
    pub beta: Option<Parameter>,
    /// ε.
    pub eps: f64,
    /// How many channels there are.
    pub channels: usize,
}

impl InstanceNorm {
    /// For `channels` channels, without scale and shift, as PyTorch's default is.
    pub fn new(params: &Params, channels: usize) -> Result<Self> {
        InstanceNorm::with(params, channels, NormInit { scale: false, shift: false, ..NormInit::default() })
    }

    /// For `channels` channels, with or without scale and shift.
    pub fn with(params: &Params, channels: usize, init: NormInit) -> Result<Self> {
        let (gamma, beta) = init.define(params, &[channels])?;
        Ok(InstanceNorm { gamma, beta, eps: init.eps, channels })
    }

    /// The normalised x.
    ///
    /// Errors: [`Error::Shape`] if x has other channels.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.rank() < 2 || x.shape()[1] != self.channels {
            let given = format!("{} for {} channels", x.describe(), self.channels);
            return Err(Error::shape("instance_norm", given, "Give [N, C, ..] with the layer's channels."));
        }
        x.instance_norm(value(&self.gamma, x)?.as_ref(), value(&self.beta, x)?.as_ref(), self.eps)
    }
}

macro_rules! modules {
    ($($name:ident),*) => {$(
        impl Module for $name {
            fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
                $name::forward(self, x)
            }
        }
    )*};
}
modules!(LayerNorm, RmsNorm, GroupNorm, InstanceNorm);
