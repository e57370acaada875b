//! Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167), with the batch's statistics or with given
//! ones.
//!
//! Training normalises with statistics that depend on the input itself. Forward and backward are one fused
//! operation each; [`backward`] also says what it is composed of, which is its higher-order path.
//!
//! Every sum runs over differences from the channel's first element. The result does not change when a
//! constant is added to a channel, and computed this way neither does its error: with a mean of 10⁴ and a
//! deviation of one, Σx/n alone would lose four of f32's seven digits.

mod backward;
mod cases;

use self::backward::Backward;
pub(super) use self::cases::rooms;
use super::norm::Standard;
use crate::autodiff::At;
use crate::choice::{self, TURNS};
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::gpu::{Buffer, Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static FORWARD: Shader = shader!("batch_norm/forward.wgsl");

/// What [`Tensor::batch_norm`] computes.
#[derive(Clone, Debug)]
pub struct BatchNormOutput {
    /// The normalised, scaled and shifted input.
    pub y: Tensor,
    /// The mean of each channel, `[C]`, outside the graph of derivatives.
    pub mean: Tensor,
    /// The biased variance of each channel, `[C]`, outside the graph of derivatives.
    pub var: Tensor,
}

/// A tensor seen as [outer, channels, inner]: a channel's terms are all elements with its index on axis 1.
#[derive(Clone, Copy)]
struct Extents {
    outer: usize,
    channels: usize,
    inner: usize,
}

impl Extents {
    fn of(shape: &Shape) -> Self {
        Extents { outer: shape[0], channels: shape[1], inner: shape[2..].iter().product() }
    }

    /// How many elements a channel has.
    fn terms(&self) -> usize {
        self.outer * self.inner
    }

    /// The channel of an element.
    fn channel(&self, element: usize) -> usize {
        element / self.inner % self.channels
    }

    /// The elements of a channel.
    fn elements(self, channel: usize) -> impl Iterator<Item = usize> {
        (0..self.outer).flat_map(move |o| {
            let start = (o * self.channels + channel) * self.inner;
            start..start + self.inner
        })
    }

    /// The first element of a channel: every sum is one of differences from it.
    fn first(&self, channel: usize) -> usize {
        channel * self.inner
    }
}

/// x, gamma, beta → y, mean and variance, and what the gradient reads: `saved` [2, C], δ = mean − first
/// element and r = 1/√(variance + ε).
struct BatchNorm {
    eps: f64,
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let x = inputs[0];
        check("batch_norm", &x, &[("gamma", inputs[1]), ("beta", inputs[2])], self.eps)?;
        let extents = Extents::of(&x.shape);
        if extents.terms() < 2 {
            return Err(Error::shape(
                "batch_norm",
                format!("{} elements for each channel of {x}", extents.terms()),
                "A variance needs at least two: use a larger batch, or batch_norm_inference.",
            ));
        }
        // Statistics are not rounded to f16: a variance would leave its range.
        let vector = Meta::new(Shape::known(&[extents.channels]), x.dtype.wide());
        let saved = Meta::new(Shape::new(&[2, extents.channels])?, x.dtype.wide());
        Ok(vec![Meta::new(x.shape, x.dtype), vector, vector, saved])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, gamma, beta) = (inputs.real(0), inputs.real(1), inputs.real(2));
        let extents = Extents::of(&x.shape);
        let count = R::from_f64(extents.terms() as f64);
        let difference = |i: usize| x.data[i] - x.data[extents.first(extents.channel(i))];
        let channels = Array::from_fn(outputs[1].shape, |c| {
            let delta = R::sum(extents.elements(c).map(difference)) / count;
            let centred = extents.elements(c).map(|i| difference(i) - delta);
            let var = R::dot(centred.map(|d| (d, d))) / count;
            (delta, var, (var + R::from_f64(self.eps)).rsqrt())
        });
        let y = Array::from_fn(x.shape, |i| {
            let (delta, _, rstd) = channels.data[extents.channel(i)];
            let c = extents.channel(i);
            (difference(i) - delta) * rstd * gamma.data[c] + beta.data[c]
        });
        let mean = Array::from_fn(outputs[1].shape, |c| x.data[extents.first(c)] + channels.data[c].0);
        let var = Array::from_fn(outputs[2].shape, |c| channels.data[c].1);
        let saved = channels.data.iter().map(|s| s.0).chain(channels.data.iter().map(|s| s.2)).collect();
        let saved = Array { shape: outputs[3].shape, data: saved };
        [y, mean, var, saved].into_iter().map(Data::Real).collect()
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let split = Split::of(gpu, inputs[0].shape());
        let partials = gpu.buffer("batch_norm", 8 * split.groups() as u64)?;
        let read = inputs.iter().map(|view| &*view.buffer);
        let written = outputs.iter().map(|view| &*view.buffer);
        let buffers: Vec<&Buffer> = read.chain([&*partials]).chain(written).collect();
        let params = ForwardParams { split: split.params(), eps: self.eps as f32 };
        let stages = if split.chunks == 1 { 3..4 } else { 0..3 };
        for stage in stages {
            split.dispatch(gpu, "batch_norm", &FORWARD, stage, bytemuck::bytes_of(&params), &buffers)?;
        }
        Ok(())
    }

    fn keeps(&self) -> (u32, u32) {
        (0b011, 0b1000)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; 3]) };
        // How `saved` depends on x is the backward operation's own affair: see its composition.
        let saved = at.output(3)?.detach();
        let gradients = op::apply(Backward { eps: self.eps }, &[&at.input(0)?, &at.input(1)?, dy, &saved])?;
        Ok(gradients.into_iter().map(Some).collect())
    }

    // y = x̂·γ + β with x̂ = (x − μ)·r: ẏ = γ·r·(ẋ − mean ẋ − x̂·mean(x̂·ẋ)) + x̂·γ̇ + β̇. The statistics are
    // detached and have no tangent.
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let (x, gamma) = (at.input(0)?, per_channel(&at.input(1)?, at.input_meta(0).shape.rank())?);
        let axes = all_but_channels(x.rank());
        let standard = Standard::of(&x, &axes, true, self.eps)?;
        let mut terms = Vec::new();
        if let Some(dx) = &dx[0] {
            terms.push(standard.slope(dx)?.mul(&gamma)?);
        }
        if let Some(dgamma) = &dx[1] {
            terms.push(standard.value.mul(&per_channel(dgamma, x.rank())?)?);
        }
        if let Some(dbeta) = &dx[2] {
            terms.push(per_channel(dbeta, x.rank())?.broadcast_to(x.shape())?);
        }
        let mut terms = terms.into_iter();
        let Some(first) = terms.next() else { return Ok(vec![None; 4]) };
        Ok(vec![Some(terms.try_fold(first, |sum, term| sum.add(&term))?), None, None, None])
    }
}

/// What training and inference both ask of their inputs.
fn check(op: &'static str, x: &Meta, vectors: &[(&str, Meta)], eps: f64) -> Result<()> {
    if !x.dtype.is_float() {
        return Err(Error::dtype(op, x.to_string(), "Convert to a float with to_dtype."));
    }
    if !(2..=5).contains(&x.shape.rank()) {
        return Err(Error::shape(
            op,
            format!("{x} has rank {}", x.shape.rank()),
            "Give [N, C] and up to three more axes: reshape if there are others.",
        ));
    }
    let channels = x.shape[1];
    for (name, vector) in vectors {
        if !vector.dtype.is_float() {
            return Err(Error::dtype(op, format!("{name} {vector}"), "Convert to a float with to_dtype."));
        }
        if *vector.shape != [channels] {
            return Err(Error::shape(
                op,
                format!("{name} {vector} for {channels} channels of {x}"),
                format!("Give {name} one entry for each channel, and keep channels on axis 1."),
            ));
        }
    }
    check_eps(op, eps)
}

/// What is added to a variance before its root.
pub(super) fn check_eps(op: &'static str, eps: f64) -> Result<()> {
    // Below the smallest normal f32 a device may read zero, and a constant channel would divide by it.
    let holds = eps >= f64::from(f32::MIN_POSITIVE) && eps <= f64::from(f32::MAX);
    if holds {
        return Ok(());
    }
    Err(Error::argument(op, format!("eps = {eps}"), "Give a small positive number, such as 1e-5."))
}

fn all_but_channels(rank: usize) -> Vec<isize> {
    (0..rank as isize).filter(|&axis| axis != 1).collect()
}

/// A vector [C] as [1, C, 1, …], to broadcast against a tensor of this rank.
fn per_channel(vector: &Tensor, rank: usize) -> Result<Tensor> {
    let mut dims = vec![1; rank];
    dims[1] = vector.count();
    vector.reshape(dims)
}

/// How channels are cut into chunks, each a workgroup.
struct Split {
    extents: Extents,
    /// How many terms are taken at a time: 1 or 4. The next is in these.
    width: usize,
    chunk: usize,
    chunks: usize,
    share: choice::Share,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SplitParams {
    channels: u32,
    inner: u32,
    terms: u32,
    chunk: u32,
    chunks: u32,
    outer_step: u32,
    inner_step: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ForwardParams {
    split: SplitParams,
    eps: f32,
}

impl Split {
    /// A channel of more terms than this may be cut; the chunks have at least half as many.
    const LONG: usize = 4096;

    fn of(gpu: &Gpu, shape: &Shape) -> Self {
        let extents = Extents::of(shape);
        let terms = extents.terms();
        let share = choice::channel(&gpu.capabilities(), terms);
        // Few channels of many terms would leave most of the device idle.
        let wanted = choice::streams(&gpu.capabilities());
        // At most one for each of the lanes, for one group adds up what they leave.
        let most = terms.div_ceil(Self::LONG).min(share.lanes as usize);
        let width = if extents.inner.is_multiple_of(4) { 4 } else { 1 };
        // A chunk that is all goes three times through the channel.
        let least = (3 * terms / width).div_ceil(share.lanes as usize * TURNS).clamp(1, most);
        let chunks = (wanted / extents.channels).clamp(least, most);
        Split { extents, width, chunk: (terms / width).div_ceil(chunks), chunks, share }
    }

    fn groups(&self) -> usize {
        self.extents.channels * self.chunks
    }

    fn params(&self) -> SplitParams {
        let (inner, lanes) = (self.extents.inner / self.width, self.share.lanes as usize);
        SplitParams {
            channels: self.extents.channels as u32,
            inner: inner as u32,
            terms: (self.extents.terms() / self.width) as u32,
            chunk: self.chunk as u32,
            chunks: self.chunks as u32,
            outer_step: (lanes / inner) as u32,
            inner_step: (lanes % inner) as u32,
        }
    }

    fn dispatch(
        &self,
        gpu: &Gpu,
        op: &'static str,
        shader: &'static Shader,
        stage: u32,
        params: &[u8],
        buffers: &[&Buffer],
    ) -> Result<()> {
        let [x, y, _] = gpu.fold(self.extents.channels, 1);
        gpu.dispatch(Dispatch {
            op,
            source: Source::File(
                shader,
                &choice::with(
                    &self.share,
                    &[("STAGE", stage), ("WIDTH", self.width as u32), ("X", self.width as u32)],
                ),
            ),
            params,
            buffers,
            groups: [x, y, self.chunks as u32],
        })
    }
}

impl Tensor {
    /// Batch normalisation with the statistics of this batch: y = (x − μ) / √(σ² + ε) · γ + β, with μ and
    /// the biased variance σ² of each channel over all other axes.
    ///
    /// `self` `[N, C, ..]` of rank 2 to 5, `gamma` and `beta` `[C]`; a layer without them passes constants.
    /// The gradient reaches x (through μ and σ² too), gamma and beta. The returned mean and variance are
    /// for running statistics: they are detached, and no gradient flows from them.
    ///
    /// Errors: [`Error::Shape`], also for fewer than two elements a channel, which have no variance;
    /// [`Error::Argument`] unless `eps` is positive; [`Error::DType`], [`Error::Device`].
    pub fn batch_norm(&self, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<BatchNormOutput> {
        let outputs = op::apply(BatchNorm { eps }, &[self, gamma, beta])?;
        let (mean, var) = (outputs[1].detach(), outputs[2].detach());
        Ok(BatchNormOutput { y: outputs[0].clone(), mean, var })
    }

    /// Batch normalisation with given statistics: y = (x − mean) / √(var + ε) · γ + β, one pointwise
    /// function.
    ///
    /// `self` `[N, C, ..]` of rank 2 to 5, all vectors `[C]`; the gradient reaches all five.
    ///
    /// Errors: [`Error::Shape`], [`Error::Argument`] unless `eps` is positive, [`Error::DType`],
    /// [`Error::Device`].
    pub fn batch_norm_inference(
        &self,
        gamma: &Tensor,
        beta: &Tensor,
        mean: &Tensor,
        var: &Tensor,
        eps: f64,
    ) -> Result<Tensor> {
        let op = "batch_norm_inference";
        let vectors =
            [("gamma", gamma.meta()), ("beta", beta.meta()), ("mean", mean.meta()), ("var", var.meta())];
        check(op, &self.meta(), &vectors, eps)?;
        let wide = |vector| per_channel(vector, self.rank());
        let [x, g, b, m, v] = std::array::from_fn(Formula::input);
        Tensor::map_named(
            op,
            &[self, &wide(gamma)?, &wide(beta)?, &wide(mean)?, &wide(var)?],
            &((x - m) * (v + Formula::scalar(eps)).rsqrt() * g + b),
        )
    }
}
