//! Loss scaling for training in f16.

use super::Optimizer;
use crate::autodiff::{At, Gradients};
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static NON_FINITE: Shader = shader!("optim/non_finite.wgsl");

/// Multiplies the loss, so that gradients too small for f16 are not lost, and divides the gradients again.
///
/// f16 holds 6·10⁻⁸ to 65504, and most gradients lie at the lower end. The gradient of scale·loss is scale
/// times the gradient: scaled, it passes through f16 and is divided in f32. A scale that is too large makes
/// some gradient infinite; then the step is left out and the scale goes down. After a number of steps
/// without that it goes up, so it follows what the network needs. Scales are powers of two: multiplying and
/// dividing by them rounds nothing.
///
/// Parameters stay in f32 ("master weights"). The layers of [`nn`](crate::nn) round them to f16 for an input
/// of f16, and their gradients come back in f32:
///
/// ```
/// use gradus::nn::{Linear, Params};
/// use gradus::optim::{Adam, LossScaler};
/// use gradus::{DType, Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 7);
/// let layer = Linear::new(&params, 4, 2)?;
/// let (mut adam, mut scaler) = (Adam::new(&params, 0.01)?, LossScaler::default());
/// let x = Tensor::ones(&Device::cpu(), [8, 4])?.to_dtype(DType::F16)?;
/// for _ in 0..10 {
///     let y = layer.forward(&x)?.to_dtype(DType::F32)?; // the loss in f32
///     let loss = y.square()?.mean(&[], false)?;
///     scaler.step(&mut adam, scaler.scale(&loss)?.backward()?)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Source: Micikevicius et al. 2018, "Mixed precision training", arXiv:1710.03740.
#[derive(Clone, Debug, PartialEq)]
pub struct LossScaler {
    scale: f64,
    /// Steps since the scale last changed.
    calm: u32,
    patience: u32,
}

/// Scales stay within these: beyond, a scaled loss near one is itself infinite or subnormal in f32.
const SCALES: std::ops::RangeInclusive<f64> = 1.0 / 16_777_216.0..=16_777_216.0;

impl Default for LossScaler {
    /// From 65536, doubled after 2000 steps without an infinite gradient, as in PyTorch.
    fn default() -> Self {
        LossScaler { scale: 65536.0, calm: 0, patience: 2000 }
    }
}

impl LossScaler {
    /// From `scale`, doubled after `patience` steps without an infinite gradient, halved at each step with
    /// one.
    ///
    /// Errors: [`Error::Argument`] unless the scale is a power of two from 2⁻²⁴ to 2²⁴ and patience at least
    /// one.
    pub fn new(scale: f64, patience: u32) -> Result<Self> {
        if SCALES.contains(&scale) && scale.log2().fract() == 0.0 && patience > 0 {
            return Ok(LossScaler { scale, calm: 0, patience });
        }
        Err(Error::argument(
            "loss_scaler",
            format!("scale {scale}, patience {patience}"),
            "The scale is a power of two from 2^-24 to 2^24, patience at least one step.",
        ))
    }

    /// What the loss is multiplied by now.
    pub fn current(&self) -> f64 {
        self.scale
    }

    /// scale·loss, for `backward`.
    pub fn scale(&self, loss: &Tensor) -> Result<Tensor> {
        loss.mul_scalar(self.scale)
    }

    /// Divides the gradients by the scale and lets the optimiser step, if all are finite; otherwise leaves
    /// parameters and optimiser as they are. Either way the scale is adjusted. Says whether it stepped.
    ///
    /// Waits for the device: whether to step is decided here. To clip gradients, use
    /// [`unscale`](Self::unscale) and step by hand.
    ///
    /// Errors: those of [`unscale`](Self::unscale) and of the optimiser.
    pub fn step(&mut self, optimizer: &mut dyn Optimizer, gradients: Gradients) -> Result<bool> {
        match self.unscale(gradients)? {
            Some(gradients) => optimizer.step(&gradients).map(|()| true),
            None => Ok(false),
        }
    }

    /// The gradients divided by the scale, or `None` if any was not finite and the step is to be left out.
    /// The scale is adjusted for the next step.
    ///
    /// Errors: [`Error::Argument`] for no gradients; [`Error::DType`] for gradients of f16, which belong to
    /// parameters of f16: keep those in f32.
    pub fn unscale(&mut self, gradients: Gradients) -> Result<Option<Gradients>> {
        if gradients.is_empty() {
            let given = "no gradients";
            return Err(Error::argument("loss_scaler", given, "Give what `backward` returned."));
        }
        let counts: Result<Vec<Tensor>> = gradients.in_order().map(non_finite).collect();
        let counts = Tensor::concat(&counts?.iter().collect::<Vec<_>>(), 0)?;
        if counts.to_vec::<i32>()?.iter().any(|&n| n > 0) {
            self.scale = (self.scale / 2.0).max(*SCALES.start());
            self.calm = 0;
            return Ok(None);
        }
        let inverse = 1.0 / self.scale;
        self.calm += 1;
        if self.calm >= self.patience {
            self.scale = (self.scale * 2.0).min(*SCALES.end());
            self.calm = 0;
        }
        gradients.map_all(|gradient| gradient.mul_scalar(inverse)).map(Some)
    }
}

/// How many parts the count comes in.
const LANES: usize = 256;

/// How many elements of `x` are infinite or NaN, in 256 parts.
pub(super) fn non_finite(x: &Tensor) -> Result<Tensor> {
    Ok(op::apply(NonFinite, &[x])?.swap_remove(0))
}

/// x, of any shape → i32 [256]: of the elements k, k + 256, …, how many are infinite or NaN.
struct NonFinite;

impl Op for NonFinite {
    fn name(&self) -> &'static str {
        "non_finite"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let x = inputs[0];
        if !x.dtype.is_float() || x.dtype.wide() != x.dtype {
            return Err(Error::dtype("non_finite", x.to_string(), "Keep parameters and gradients in f32."));
        }
        Ok(vec![Meta::new(Shape::known(&[LANES]), DType::I32)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let x = &inputs.real(0).data;
        let wild =
            |lane: usize| x.iter().skip(lane).step_by(LANES).filter(|v| !v.to_f64().is_finite()).count();
        vec![Data::Int(Array::from_fn(outputs[0].shape, |lane| wild(lane) as i32))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let count = inputs[0].shape().count();
        gpu.launches(count.div_ceil(LANES)).try_for_each(|range| {
            let range = range.map(|turn| count.min(turn as usize * LANES) as u32);
            gpu.dispatch(Dispatch {
                op: "non_finite",
                source: Source::File(&NON_FINITE, &[]),
                params: bytemuck::cast_slice(&range),
                buffers: &op::buffers(inputs, outputs),
                groups: [1, 1, 1],
            })
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    // The output is of integers: autodiff never asks.
    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }

    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::nn::{Init, Params};
    use crate::optim::Sgd;

    /// One step on a parameter of ones whose gradient is `slope`.
    fn step(scaler: &mut LossScaler, slope: f64) -> (bool, f64) {
        let params = Params::new(&Device::cpu(), 0);
        let x = params.parameter("x", [3], Init::Ones).unwrap();
        let mut sgd = Sgd::new(&params, 1.0).unwrap();
        let loss = x.get().mul_scalar(slope).unwrap().mean(&[], false).unwrap();
        let stepped = scaler.step(&mut sgd, scaler.scale(&loss).unwrap().backward().unwrap()).unwrap();
        (stepped, x.get().to_f64().unwrap()[0])
    }

    #[test]
    fn gradients_are_divided_again_and_calm_raises_the_scale() {
        let mut scaler = LossScaler::new(1024.0, 2).unwrap();
        assert_eq!(step(&mut scaler, 1.5), (true, 0.5));
        assert_eq!(scaler.current(), 1024.0);
        assert_eq!(step(&mut scaler, 1.5), (true, 0.5));
        assert_eq!(scaler.current(), 2048.0);
    }

    #[test]
    fn an_infinite_gradient_leaves_everything_and_lowers_the_scale() {
        let mut scaler = LossScaler::new(1024.0, 2).unwrap();
        for wild in [f64::INFINITY, f64::NAN, 3e38] {
            let before = scaler.current();
            assert_eq!(step(&mut scaler, wild), (false, 1.0), "{wild}");
            assert_eq!(scaler.current(), before / 2.0);
        }
        assert!(step(&mut scaler, 1.0).0);
    }

    #[test]
    fn scales_are_powers_of_two() {
        for (scale, patience) in [(3.0, 1), (0.0, 1), (f64::NAN, 1), (-2.0, 1), (2f64.powi(30), 1), (2.0, 0)]
        {
            assert!(LossScaler::new(scale, patience).is_err(), "{scale} {patience}");
        }
    }
}
