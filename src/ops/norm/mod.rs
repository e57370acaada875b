//! Layer, RMS, group and instance normalisation: one operation, which normalises the rows of a view.
//!
//! The view is [outer, groups, per_group, inner]. A row is what the last two axes span, and gamma and beta
//! have an entry for each channel, [groups, per_group]: a layer norm has one group whose channels are the
//! terms, a group norm's channels have `inner` terms each, an instance norm has one channel a group.
//!
//! Forward and backward are fused; [`standard`] says what they are composed of, which is their higher-order
//! path. Every sum of a centred norm runs over differences from the row's first element, as in
//! [`batch_norm`](super::batch_norm): a mean of 10⁴ costs no accuracy.

mod backward;
mod cases;
mod standard;

pub(super) use self::cases::rooms;
pub(super) use self::standard::Standard;

use self::backward::{Backward, Parameters};
use super::batch_norm::check_eps;
use crate::autodiff::At;
use crate::choice;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static FORWARD: Shader = shader!("norm/forward.wgsl");

/// The axes of a row in the view.
const ROW: [isize; 2] = [2, 3];

/// The extents of the view.
#[derive(Clone, Copy)]
struct Extents {
    outer: usize,
    groups: usize,
    per_group: usize,
    inner: usize,
}

impl Extents {
    fn of(view: &Shape) -> Self {
        Extents { outer: view[0], groups: view[1], per_group: view[2], inner: view[3] }
    }

    fn rows(&self) -> usize {
        self.outer * self.groups
    }

    /// How many elements a row has.
    fn terms(&self) -> usize {
        self.per_group * self.inner
    }

    fn channels(&self) -> usize {
        self.groups * self.per_group
    }

    /// The row and the channel of an element.
    fn place(&self, element: usize) -> (usize, usize) {
        (element / self.terms(), element / self.inner % self.channels())
    }
}

/// x [outer, groups, per_group, inner], gamma [groups, per_group, 1] and, where centred, beta → y, and what
/// the gradient reads: `saved` [2, rows], δ = mean − first element (zero where not centred) and r.
struct Norm {
    name: &'static str,
    centred: bool,
    eps: f64,
}

/// What all sums of a row are differences from.
fn origin<R: Real>(centred: bool, x: &Array<R>, row: usize, terms: usize) -> R {
    if centred { x.data[row * terms] } else { R::default() }
}

impl Op for Norm {
    fn name(&self) -> &'static str {
        self.name
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let x = inputs[0];
        let saved = Shape::new(&[2, Extents::of(&x.shape).rows()])?;
        Ok(vec![Meta::new(x.shape, x.dtype), Meta::new(saved, x.dtype.wide())])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, gamma) = (inputs.real(0), inputs.real(1));
        let extents = Extents::of(&x.shape);
        let (rows, terms) = (extents.rows(), extents.terms());
        let count = R::from_f64(terms as f64);
        let statistics = Array::from_fn(Shape::known(&[rows]), |row| {
            let first = origin(self.centred, x, row, terms);
            let differences = || x.row(row, terms).iter().map(|&value| value - first);
            let delta = if self.centred { R::sum(differences()) / count } else { first };
            let square = R::dot(differences().map(|d| (d - delta, d - delta))) / count;
            (delta, (square + R::from_f64(self.eps)).rsqrt())
        });
        let y = Array::from_fn(x.shape, |i| {
            let (row, channel) = extents.place(i);
            let (delta, rstd) = statistics.data[row];
            let centred = x.data[i] - origin(self.centred, x, row, terms) - delta;
            let scaled = centred * rstd * gamma.data[channel];
            if self.centred { scaled + inputs.real(2).data[channel] } else { scaled }
        });
        let saved = statistics.data.iter().map(|s| s.0).chain(statistics.data.iter().map(|s| s.1)).collect();
        vec![Data::Real(y), Data::Real(Array { shape: outputs[1].shape, data: saved })]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let share = Share::of(gpu, Extents::of(inputs[0].shape()), self.centred)?;
        let beta = inputs.get(2).unwrap_or(&inputs[1]);
        gpu.dispatch(Dispatch {
            op: self.name,
            source: Source::File(&FORWARD, &share.constants()),
            params: bytemuck::bytes_of(&share.params(self.eps)),
            buffers: &[
                &inputs[0].buffer,
                &inputs[1].buffer,
                &beta.buffer,
                &outputs[0].buffer,
                &outputs[1].buffer,
            ],
            groups: share.groups(gpu),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b011, 0b10)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; at.inputs()]) };
        // How `saved` depends on x is the backward operations' own affair: see their compositions.
        let (x, saved) = (at.input(0)?, at.output(1)?.detach());
        let mut cotangents = vec![None; at.inputs()];
        if at.needs(0) {
            let backward = Backward { centred: self.centred, eps: self.eps };
            cotangents[0] = op::apply(backward, &[&x, &at.input(1)?, dy, &saved])?.pop();
        }
        if (1..at.inputs()).any(|input| at.needs(input)) {
            let parameters = Parameters { centred: self.centred, eps: self.eps };
            let found = op::apply(parameters, &[&x, dy, &saved])?;
            cotangents[1..].iter_mut().zip(found).for_each(|(place, slope)| *place = Some(slope));
        }
        Ok(cotangents)
    }

    // y = x̂·γ + β: ẏ = γ·∂x̂(ẋ) + x̂·γ̇ + β̇. What is saved is no result.
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let standard = Standard::of(&at.input(0)?, &ROW, self.centred, self.eps)?;
        let mut total: Option<Tensor> = None;
        let mut add = |term: Tensor| -> Result<()> {
            total = Some(total.take().map_or(Ok(term.clone()), |sum| sum.add(&term))?);
            Ok(())
        };
        if let Some(dx) = &dx[0] {
            add(standard.slope(dx)?.mul(&at.input(1)?)?)?;
        }
        if let Some(dgamma) = &dx[1] {
            add(standard.value.mul(dgamma)?)?;
        }
        if let Some(Some(dbeta)) = dx.get(2) {
            add(dbeta.broadcast_to(standard.value.shape())?)?;
        }
        Ok(vec![total, None])
    }
}

/// How invocations share rows.
struct Share {
    extents: Extents,
    centred: bool,
    /// The square root of the number of invocations in a workgroup.
    root: usize,
    /// Invocations to a row.
    lanes: usize,
    /// Whether gamma has an entry for each term.
    per_term: bool,
    /// How many terms are taken at a time: 1 or 4.
    width: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RowParams {
    rows: u32,
    terms: u32,
    groups: u32,
    per_group: u32,
    inner: u32,
    eps: f32,
}

impl Share {
    fn of(gpu: &Gpu, extents: Extents, centred: bool) -> Result<Self> {
        let (rows, terms) = (extents.rows(), extents.terms());
        let candidates = choice::norm(&gpu.capabilities(), rows, terms);
        let choice::Share { root, lanes } = gpu.choose("norm", &[rows, terms], candidates);
        let per_term = extents.groups == 1 && extents.inner == 1;
        let neighbours = if per_term { terms } else { extents.inner };
        let width = if neighbours.is_multiple_of(4) { 4 } else { 1 };
        choice::check_turns(
            &gpu.capabilities(),
            "norm",
            choice::turns_of_rows(lanes, terms / width as usize),
        )?;
        Ok(Share { extents, centred, root: root as usize, lanes: lanes as usize, per_term, width })
    }

    fn constants(&self) -> [(&'static str, u32); 7] {
        [
            ("ROOT", self.root as u32),
            ("LANES", self.lanes as u32),
            ("CENTRED", self.centred.into()),
            ("PER_TERM", self.per_term.into()),
            ("WIDTH", self.width),
            ("X", self.width),
            ("Scale", if self.per_term { self.width } else { 1 }),
        ]
    }

    fn params(&self, eps: f64) -> RowParams {
        RowParams {
            rows: self.extents.rows() as u32,
            terms: self.extents.terms() as u32 / self.width,
            groups: self.extents.groups as u32,
            per_group: self.extents.per_group as u32,
            inner: (self.extents.inner as u32 / self.width).max(1),
            eps: eps as f32,
        }
    }

    fn groups(&self, gpu: &Gpu) -> [u32; 3] {
        gpu.fold(self.extents.rows(), self.root * self.root / self.lanes)
    }
}

/// Scale and, for a centred norm, shift.
type Affine<'a> = (Option<&'a Tensor>, Option<&'a Tensor>);

/// Normalises the rows of a view of x, where `vector` is the shape of gamma and beta.
fn normalise(
    name: &'static str,
    x: &Tensor,
    view: [usize; 4],
    vector: &[usize],
    (gamma, beta): Affine,
    centred: bool,
    eps: f64,
) -> Result<Tensor> {
    check_eps(name, eps)?;
    let wide = [view[1], view[2], 1];
    let place = |what: &str, given: Option<&Tensor>, otherwise: f64| -> Result<Tensor> {
        let Some(given) = given else { return x.like(Shape::known(&wide), otherwise) };
        if !given.dtype().is_float() {
            let given = format!("{what} {}", given.describe());
            return Err(Error::dtype(name, given, "Convert to a float with to_dtype."));
        }
        if **given.shape() != *vector {
            return Err(Error::shape(
                name,
                format!("{what} {} for {}", given.describe(), x.describe()),
                format!("Give {what} the shape {vector:?}."),
            ));
        }
        given.reshape(wide)
    };
    let gamma = place("gamma", gamma, 1.0)?;
    let norm = Norm { name, centred, eps };
    let rows = x.reshape(view)?;
    let y = if centred {
        op::apply(norm, &[&rows, &gamma, &place("beta", beta, 0.0)?])?
    } else {
        op::apply(norm, &[&rows, &gamma])?
    };
    y[0].reshape(x.shape())
}

impl Tensor {
    /// The view in which the last `axes` axes are a row.
    fn rows_of(&self, op: &'static str, axes: usize) -> Result<([usize; 4], &[usize])> {
        self.require_float(op)?;
        let split = self.rank().checked_sub(axes).filter(|_| axes > 0);
        let Some(split) = split else {
            return Err(Error::axis(
                op,
                format!("the last {axes} axes of {}", self.describe()),
                "Normalise over at least one axis, and over no more than there are.",
            ));
        };
        let (outer, row) = self.shape().split_at(split);
        let terms: usize = row.iter().product();
        if terms == 0 {
            let given = format!("rows without elements in {}", self.describe());
            return Err(Error::shape(op, given, "Normalise over at least one element."));
        }
        Ok(([outer.iter().product(), 1, terms, 1], row))
    }

    /// Layer normalisation over the last `axes` axes: y = (x − μ) / √(σ² + ε) · γ + β, with mean μ and biased
    /// variance σ² of each row.
    ///
    /// `self` float of any rank, `gamma` and `beta` of the shape of the last `axes` axes; ones and zeros where
    /// not given. Two passes over differences from the row's first element: means far larger than the
    /// deviation cost no accuracy. The gradient reaches x, gamma and beta.
    ///
    /// Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450.
    /// Errors: [`Error::Axis`] for no axes or too many, [`Error::Shape`], [`Error::Argument`] unless `eps` is
    /// positive, [`Error::DType`], [`Error::Device`].
    pub fn layer_norm(
        &self,
        axes: usize,
        gamma: Option<&Tensor>,
        beta: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        let (view, row) = self.rows_of("layer_norm", axes)?;
        normalise("layer_norm", self, view, row, (gamma, beta), true, eps)
    }

    /// Root-mean-square normalisation over the last `axes` axes: y = x / √(mean x² + ε) · γ.
    ///
    /// `self` float of any rank, `gamma` of the shape of the last `axes` axes; ones where not given. The
    /// gradient reaches x and gamma.
    ///
    /// Source: Zhang and Sennrich 2019, arXiv:1910.07467.
    /// Errors: [`Error::Axis`] for no axes or too many, [`Error::Shape`], [`Error::Argument`] unless `eps` is
    /// positive, [`Error::DType`], [`Error::Device`].
    pub fn rms_norm(&self, axes: usize, gamma: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        let (view, row) = self.rows_of("rms_norm", axes)?;
        normalise("rms_norm", self, view, row, (gamma, None), false, eps)
    }

    /// Group normalisation: the channels of each example in `groups` groups, each normalised by its own mean
    /// and biased variance, y = (x − μ) / √(σ² + ε) · γ + β.
    ///
    /// `self` `[N, C, ..]` float, `gamma` and `beta` `[C]`; ones and zeros where not given. The gradient reaches
    /// x, gamma and beta.
    ///
    /// Source: Wu and He 2018, arXiv:1803.08494.
    /// Errors: [`Error::Shape`] below rank 2, over no elements, or if the groups do not divide the channels;
    /// [`Error::Argument`] unless `eps` is positive; [`Error::DType`], [`Error::Device`].
    pub fn group_norm(
        &self,
        groups: usize,
        gamma: Option<&Tensor>,
        beta: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        self.grouped("group_norm", Some(groups), (gamma, beta), eps)
    }

    /// Instance normalisation: each channel of each example by its own mean and biased variance,
    /// y = (x − μ) / √(σ² + ε) · γ + β. It is [`group_norm`](Self::group_norm) with as many groups as channels.
    ///
    /// Source: Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022.
    /// Errors: those of [`group_norm`](Self::group_norm).
    pub fn instance_norm(&self, gamma: Option<&Tensor>, beta: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        self.grouped("instance_norm", None, (gamma, beta), eps)
    }

    fn grouped(&self, op: &'static str, groups: Option<usize>, affine: Affine, eps: f64) -> Result<Tensor> {
        self.require_float(op)?;
        if self.rank() < 2 {
            return Err(Error::shape(
                op,
                self.describe(),
                "Give [N, C, ..]: examples, channels, and what they extend over.",
            ));
        }
        let (outer, channels) = (self.shape()[0], self.shape()[1]);
        let inner: usize = self.shape()[2..].iter().product();
        let groups = groups.unwrap_or(channels);
        if groups == 0 || !channels.is_multiple_of(groups) || channels == 0 {
            return Err(Error::shape(
                op,
                format!("{groups} groups for {channels} channels of {}", self.describe()),
                "The number of groups divides the number of channels.",
            ));
        }
        if inner == 0 {
            let given = format!("groups without elements in {}", self.describe());
            return Err(Error::shape(op, given, "Normalise over at least one element."));
        }
        normalise(op, self, [outer, groups, channels / groups, inner], &[channels], affine, true, eps)
    }
}
