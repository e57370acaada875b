//! The gradient of batch normalisation as an operation of its own.

use super::{Extents, Split, all_but_channels, per_channel};
use crate::autodiff::{self, At};
use crate::cpu::Array;
use crate::error::Result;
use crate::gpu::{Buffer, Gpu, Shader, shader};
use crate::op::{Data, GpuView, Inputs, Meta, Op};
use crate::ops::norm::Standard;
use crate::real::Real;
use crate::tensor::Tensor;

static BACKWARD: Shader = shader!("batch_norm/backward.wgsl");

/// x, gamma, dy and what the forward pass saved → dx, dgamma, dbeta:
///
/// dβ = Σ dy, dγ = Σ dy·x̂, dx = γ·r·(dy − dβ/n − x̂·dγ/n), with x̂ = (x − μ)·r.
///
/// It is a function of x, gamma and dy: `saved` follows from x, so it has no derivative of its own, and the
/// derivatives with respect to x are those of the composition, which computes it anew.
pub(super) struct Backward {
    pub eps: f64,
}

impl Backward {
    /// The same three outputs in tensor operations.
    fn compose(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (x, gamma, dy) = (&inputs[0], &inputs[1], &inputs[2]);
        let axes = all_but_channels(x.rank());
        let standard = Standard::of(x, &axes, true, self.eps)?;
        let dx = standard.slope(dy)?.mul(&per_channel(gamma, x.rank())?)?;
        let sum = |of: &Tensor| of.sum(&axes, true)?.reshape(gamma.shape());
        Ok(vec![dx, sum(&dy.mul(&standard.value)?)?, sum(dy)?])
    }
}

impl Op for Backward {
    fn name(&self) -> &'static str {
        "batch_norm_backward"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (x, gamma) = (inputs[0], inputs[1]);
        Ok(vec![x, gamma, gamma])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let [x, gamma, dy, saved] = std::array::from_fn(|index| inputs.real(index));
        let extents = Extents::of(&x.shape);
        let (delta, rstd) = saved.data.split_at(extents.channels);
        let standard = |i: usize| {
            let c = extents.channel(i);
            (x.data[i] - x.data[extents.first(c)] - delta[c]) * rstd[c]
        };
        let dgamma = Array::from_fn(outputs[1].shape, |c| {
            R::dot(extents.elements(c).map(|i| (dy.data[i], standard(i))))
        });
        let dbeta = Array::from_fn(outputs[2].shape, |c| R::sum(extents.elements(c).map(|i| dy.data[i])));
        let count = R::from_f64(extents.terms() as f64);
        let dx = Array::from_fn(x.shape, |i| {
            let c = extents.channel(i);
            let through_mean = dbeta.data[c] / count;
            let through_variance = standard(i) * (dgamma.data[c] / count);
            gamma.data[c] * rstd[c] * (dy.data[i] - through_mean - through_variance)
        });
        [dx, dgamma, dbeta].into_iter().map(Data::Real).collect()
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let split = Split::of(gpu, inputs[0].shape());
        let partials = gpu.buffer("batch_norm_backward", 8 * split.groups() as u64)?;
        let read = inputs.iter().map(|view| &*view.buffer);
        let written = outputs.iter().map(|view| &*view.buffer);
        let buffers: Vec<&Buffer> = read.chain([&*partials]).chain(written).collect();
        let params = split.params();
        let stages = if split.chunks == 1 { 2..3 } else { 0..2 };
        for stage in stages {
            split.dispatch(gpu, self.name(), &BACKWARD, stage, bytemuck::bytes_of(&params), &buffers)?;
        }
        Ok(())
    }

    fn wide(&self) -> u32 {
        0b1000
    }

    fn keeps(&self) -> (u32, u32) {
        (0b0111, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        autodiff::composed_vjp(at, 3, dy, |inputs| self.compose(inputs))
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        autodiff::composed_jvp(at, 3, dx, |inputs| self.compose(inputs))
    }
}
