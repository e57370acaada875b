//! The gradients of a norm as operations of their own: what reaches x, and what reaches gamma and beta.
//!
//! Each is a function of x and of what else the norm was given: `saved` follows from x, so it has no
//! derivative of its own, and the derivatives with respect to x are those of the composition, which computes
//! it anew.

use super::{Extents, ROW, Share, Standard, origin};
use crate::autodiff::{self, At};
use crate::choice::{self, TURNS};
use crate::cpu::Array;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::ops::reduce::sum_axis;
use crate::real::Real;
use crate::shape::{Layout, Shape};
use crate::tensor::Tensor;

static BACKWARD: Shader = shader!("norm/backward.wgsl");
static PARAMETERS: Shader = shader!("norm/parameters.wgsl");

/// x, gamma, dy and what the forward pass saved → dx = r·(g − mean g − x̂·mean(g·x̂)) with g = γ·dy, the first
/// mean where centred only.
pub(super) struct Backward {
    pub centred: bool,
    pub eps: f64,
}

/// x̂ of an element, from what the forward pass saved.
fn standard<R: Real>(centred: bool, x: &Array<R>, saved: &Array<R>, extents: &Extents, i: usize) -> R {
    let (delta, rstd) = saved.data.split_at(extents.rows());
    let (row, _) = extents.place(i);
    (x.data[i] - origin(centred, x, row, extents.terms()) - delta[row]) * rstd[row]
}

impl Backward {
    fn compose(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (x, gamma, dy) = (&inputs[0], &inputs[1], &inputs[2]);
        Ok(vec![Standard::of(x, &ROW, self.centred, self.eps)?.slope(&dy.mul(gamma)?)?])
    }
}

impl Op for Backward {
    fn name(&self) -> &'static str {
        "norm_backward"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![inputs[0]])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, _: &[Meta]) -> Vec<Data<R>> {
        let [x, gamma, dy, saved] = std::array::from_fn(|index| inputs.real(index));
        let extents = Extents::of(&x.shape);
        let terms = extents.terms();
        let count = R::from_f64(terms as f64);
        let g = |i: usize| gamma.data[extents.place(i).1] * dy.data[i];
        let standard = |i: usize| standard(self.centred, x, saved, &extents, i);
        let means = Array::from_fn(Shape::known(&[extents.rows()]), |row| {
            let elements = || row * terms..(row + 1) * terms;
            let along = R::dot(elements().map(|i| (g(i), standard(i)))) / count;
            (if self.centred { R::sum(elements().map(g)) / count } else { R::default() }, along)
        });
        vec![Data::Real(Array::from_fn(x.shape, |i| {
            let (row, _) = extents.place(i);
            let (mean, along) = means.data[row];
            let centred = if self.centred { g(i) - mean } else { g(i) };
            saved.data[extents.rows() + row] * (centred - standard(i) * along)
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let share = Share::of(gpu, Extents::of(inputs[0].shape()), self.centred)?;
        gpu.dispatch(Dispatch {
            op: self.name(),
            source: Source::File(&BACKWARD, &share.constants()),
            params: bytemuck::bytes_of(&share.params(self.eps)),
            buffers: &op::buffers(inputs, outputs),
            groups: share.groups(gpu),
        })
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

/// x, dy and what the forward pass saved → dγ = Σ dy·x̂ and dβ = Σ dy, each [groups, per_group, 1].
pub(super) struct Parameters {
    pub centred: bool,
    pub eps: f64,
}

impl Parameters {
    fn compose(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (x, dy) = (&inputs[0], &inputs[1]);
        let standard = Standard::of(x, &ROW, self.centred, self.eps)?;
        let shape = [x.shape()[1], x.shape()[2], 1];
        let sum = |of: &Tensor| of.sum(&[0, 3], true)?.reshape(shape);
        Ok(vec![sum(&dy.mul(&standard.value)?)?, sum(dy)?])
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ChannelParams {
    channels: u32,
    groups: u32,
    per_group: u32,
    inner: u32,
    terms: u32,
    chunk: u32,
    chunks: u32,
    outer_step: u32,
    inner_step: u32,
}

/// How many lanes share a chunk of a channel, and how many terms a chunk has.
fn chunks(gpu: &Gpu, extents: &Extents) -> (usize, usize) {
    let terms = extents.outer * extents.inner;
    // Where a channel's terms are neighbours, lanes share them; else lanes take neighbouring channels.
    let lanes = if extents.inner >= 32 { 64 } else { 1 };
    // Few channels of many terms would leave most of the device idle: cut them.
    let groups = choice::streams(&gpu.capabilities());
    let wanted = (groups * 64 / lanes / extents.channels()).clamp(1, terms.div_ceil(16 * lanes).max(1));
    let wanted = wanted.max(terms.div_ceil(lanes * TURNS));
    (lanes, terms.div_ceil(wanted).max(1))
}

impl Op for Parameters {
    fn name(&self) -> &'static str {
        "norm_parameters"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let x = inputs[0];
        Ok(vec![Meta::new(Shape::new(&[x.shape[1], x.shape[2], 1])?, x.dtype); 2])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let [x, dy, saved] = std::array::from_fn(|index| inputs.real(index));
        let extents = Extents::of(&x.shape);
        let elements = |channel: usize| {
            (0..extents.outer).flat_map(move |outer| {
                let start = (outer * extents.channels() + channel) * extents.inner;
                start..start + extents.inner
            })
        };
        let dgamma = Array::from_fn(outputs[0].shape, |channel| {
            R::dot(elements(channel).map(|i| (dy.data[i], standard(self.centred, x, saved, &extents, i))))
        });
        let dbeta = Array::from_fn(outputs[1].shape, |channel| R::sum(elements(channel).map(|i| dy.data[i])));
        vec![Data::Real(dgamma), Data::Real(dbeta)]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let extents = Extents::of(inputs[0].shape());
        let (channels, terms) = (extents.channels(), extents.outer * extents.inner);
        let (lanes, chunk) = chunks(gpu, &extents);
        let chunks = terms.div_ceil(chunk).max(1);
        let params = ChannelParams {
            channels: channels as u32,
            groups: extents.groups as u32,
            per_group: extents.per_group as u32,
            inner: extents.inner as u32,
            terms: terms as u32,
            chunk: chunk as u32,
            chunks: chunks as u32,
            outer_step: (lanes / extents.inner) as u32,
            inner_step: (lanes % extents.inner) as u32,
        };
        let partial = |output: &GpuView| {
            if chunks == 1 {
                return Ok(output.buffer.clone());
            }
            gpu.buffer(self.name(), 4 * (chunks * channels) as u64)
        };
        let partials = [partial(&outputs[0])?, partial(&outputs[1])?];
        gpu.dispatch(Dispatch {
            op: self.name(),
            source: Source::File(&PARAMETERS, &[("LANES", lanes as u32), ("CENTRED", self.centred.into())]),
            params: bytemuck::bytes_of(&params),
            buffers: &[&inputs[0].buffer, &inputs[1].buffer, &inputs[2].buffer, &partials[0], &partials[1]],
            groups: gpu.fold(channels * chunks, 64 / lanes),
        })?;
        if chunks > 1 {
            let layout = Layout::contiguous(Shape::known(&[chunks, channels]));
            for (partial, output) in partials.iter().zip(outputs) {
                sum_axis(gpu, partial, &layout, 0, &output.buffer)?;
            }
        }
        Ok(())
    }

    fn wide(&self) -> u32 {
        0b100
    }

    fn keeps(&self) -> (u32, u32) {
        (0b011, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        autodiff::composed_vjp(at, 2, dy, |inputs| self.compose(inputs))
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        autodiff::composed_jvp(at, 2, dx, |inputs| self.compose(inputs))
    }
}
