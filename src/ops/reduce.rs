//! Sums, means and maxima over any axes, and where the maximum is.

use crate::autodiff::At;
use crate::choice::{self, Lanes};
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::{Layout, MAX_RANK, Shape, coalesce};
use crate::tensor::Tensor;

pub(super) static REDUCE: Shader = shader!("reduce/reduce.wgsl");
static ROWS: Shader = shader!("reduce/rows.wgsl");
pub(super) static ARGMAX: Shader = shader!("reduce/argmax.wgsl");

/// Σ or max over some axes, which stay as extents of one.
pub(crate) struct Reduce {
    pub chosen: [bool; MAX_RANK],
    pub maximum: bool,
    /// What results are multiplied by before they are stored: of a mean, one over the number of its terms. A sum of
    /// f16 may leave its range where the mean does not.
    pub scale: f64,
}

impl Reduce {
    /// The view with the kept axes first, and how many there are.
    fn split(&self, layout: &Layout) -> (Layout, Layout) {
        let part = |reduced: bool| {
            let axes: Vec<usize> = (0..layout.shape.rank()).filter(|&a| self.chosen[a] == reduced).collect();
            let mut part =
                Layout::contiguous(Shape::known(&axes.iter().map(|&a| layout.shape[a]).collect::<Vec<_>>()));
            for (to, &from) in axes.iter().enumerate() {
                part.strides[to] = layout.strides[from];
            }
            part.offset = if reduced { 0 } else { layout.offset };
            let mut parts = [part];
            coalesce(&mut parts);
            parts[0]
        };
        (part(false), part(true))
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ReduceParams {
    rows: u32,
    chunks: u32,
    chunk: u32,
    terms: u32,
    offset: u32,
    kept_axes: u32,
    axes: u32,
    scale: f32,
    kept_dims: [u32; MAX_RANK],
    kept_strides: [u32; MAX_RANK],
    dims: [u32; MAX_RANK],
    strides: [u32; MAX_RANK],
}

/// Extents and strides aligned at the front, with ones and zeros behind.
fn words(layout: &Layout) -> ([u32; MAX_RANK], [u32; MAX_RANK]) {
    let (mut dims, mut strides) = ([1; MAX_RANK], [0; MAX_RANK]);
    for (axis, &extent) in layout.shape.iter().enumerate() {
        dims[axis] = extent as u32;
        strides[axis] = layout.strides[axis] as u32;
    }
    (dims, strides)
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        if self.maximum { "max" } else { "sum" }
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let x = inputs[0];
        if !x.dtype.is_float() {
            return Err(Error::dtype(self.name(), x.to_string(), "Convert to a float with to_dtype."));
        }
        let empty = (0..x.shape.rank()).any(|a| self.chosen[a] && x.shape[a] == 0);
        if self.maximum && empty {
            let given = format!("the maximum over no elements of {x}");
            return Err(Error::shape(self.name(), given, "Reduce over at least one element."));
        }
        Ok(vec![Meta::new(x.shape.reduced(&self.chosen, true), x.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let x = inputs.real(0);
        let (kept, reduced) = self.split(&Layout::contiguous(x.shape));
        let starts: Vec<usize> = kept.positions().collect();
        let steps: Vec<usize> = reduced.positions().collect();
        vec![Data::Real(Array::from_fn(outputs[0].shape, |o| {
            let terms = steps.iter().map(|step| x.data[starts[o] + step]);
            let total = if self.maximum { terms.reduce(R::max).unwrap_or_default() } else { R::sum(terms) };
            if self.scale == 1.0 { total } else { total * R::from_f64(self.scale) }
        }))]
    }

    fn strided(&self) -> bool {
        true
    }

    fn prologue(&self) -> u32 {
        1
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let parts = self.split(&inputs[0].layout);
        let (x, y) = (&inputs[0].buffer, &outputs[0].buffer);
        reduce(gpu, (self.maximum, self.scale), x, (&parts.0, &parts.1), y)
    }

    fn keeps(&self) -> (u32, u32) {
        if self.maximum { (1, 1) } else { (0, 0) }
    }

    // sum: dx = dy, scaled and broadcast. max: dx = dy·m / Σm, m marking the elements equal to the maximum: ties
    // share, and the mask itself has derivative zero.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None]) };
        let shape = at.input_meta(0).shape;
        if !self.maximum {
            let dx = if self.scale == 1.0 { dy.clone() } else { dy.mul_scalar(self.scale)? };
            return Ok(vec![Some(dx.broadcast_to(shape)?)]);
        }
        let share = self.share(at)?;
        Ok(vec![Some(share.mul(dy)?)])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        if self.maximum {
            return Ok(vec![Some(self.share(at)?.mul(dx)?.sum(&self.axes(), true)?)]);
        }
        op::apply(Reduce { ..*self }, &[dx]).map(|dy| dy.into_iter().map(Some).collect())
    }
}

/// Adds up one axis of a buffer: the second pass of kernels that leave partial sums.
pub(super) fn sum_axis(gpu: &Gpu, from: &Buffer, layout: &Layout, axis: usize, to: &Buffer) -> Result<()> {
    reduce_axis(gpu, (false, 1.0), from, layout, axis, to)
}

fn reduce_axis(
    gpu: &Gpu,
    (maximum, scale): (bool, f64),
    from: &Buffer,
    layout: &Layout,
    axis: usize,
    to: &Buffer,
) -> Result<()> {
    let (kept, reduced) = Reduce { chosen: std::array::from_fn(|a| a == axis), maximum, scale }.split(layout);
    reduce(gpu, (maximum, scale), from, (&kept, &reduced), to)
}

impl Reduce {
    fn axes(&self) -> Vec<isize> {
        (0..MAX_RANK).filter(|&a| self.chosen[a]).map(|a| a as isize).collect()
    }

    fn share(&self, at: &At) -> Result<Tensor> {
        let mask = at.input(0)?.detach().equal(&at.output(0)?.detach())?;
        mask.div(&mask.sum(&self.axes(), true)?)
    }
}

/// Whether the elements of `inner` are neighbours and can be read so many at a time, `outer` being the other axes.
fn together(count: usize, inner: &Layout, outer: &Layout) -> bool {
    let fits = |step: &usize| step.is_multiple_of(count);
    let steps = |layout: &Layout, axes: usize| layout.strides[..axes].iter().all(fits);
    inner.shape.rank().checked_sub(1).is_some_and(|last| {
        let row = inner.strides[last] == 1 && fits(&inner.shape[last]) && steps(inner, last);
        row && steps(outer, outer.shape.rank()) && fits(&inner.offset) && fits(&outer.offset)
    })
}

/// Neighbouring terms, and neighbouring rows, that a kernel reads at once: four of either, or one of both.
fn neighbours(kept: &Layout, reduced: &Layout) -> (u32, u32) {
    if together(4, reduced, kept) {
        (4, 1)
    } else if together(4, kept, reduced) {
        (1, 4)
    } else {
        (1, 1)
    }
}

/// Terms that one row is not worth its own kernel for.
const SHORT: usize = 256;
/// Elements from which on rows that lanes have to themselves are.
const MANY: usize = 1 << 14;

/// The rows of `kept` from the terms of `reduced`, in one pass or, if that left most of the device idle, in two.
fn reduce(
    gpu: &Gpu,
    (maximum, scale): (bool, f64),
    x: &Buffer,
    (kept, reduced): (&Layout, &Layout),
    y: &Buffer,
) -> Result<()> {
    let (rows, terms) = (kept.shape.count(), reduced.shape.count());
    // One short row is not worth a kernel of another kind.
    let (at_once, outputs) = if rows == 1 && terms <= SHORT { (1, 1) } else { neighbours(kept, reduced) };
    let units = rows / outputs as usize;
    let stride = reduced.strides[..reduced.shape.rank()].last().map_or(1, |&stride| stride);
    let capabilities = gpu.capabilities();
    let Lanes(lanes) =
        gpu.choose("reduce", &[units, terms, stride], choice::sums(&capabilities, units, terms, stride));
    let plain = kept.shape.rank() <= 1 && reduced.shape.rank() == 1 && x.fused().is_none();
    let whole = lanes == 1 && plain && rows * terms >= MANY && together(16, reduced, kept);
    let step = if whole { 16 } else { (at_once * lanes) as usize };
    let turns = terms.div_ceil(step) * reduced.shape.rank().max(1);
    let chunks = choice::chunks(&capabilities, units * lanes as usize, turns);
    // As many as that takes, of whole turns.
    let chunk = terms.div_ceil(chunks).next_multiple_of(step).max(1);
    let chunks = terms.div_ceil(chunk).max(1);
    let partial = (chunks > 1).then(|| gpu.buffer("reduce", 4 * (rows * chunks) as u64)).transpose()?;
    let ((kept_dims, kept_strides), (dims, strides)) = (words(kept), words(reduced));
    let params = ReduceParams {
        rows: (units * chunks) as u32,
        chunks: chunks as u32,
        chunk: chunk as u32,
        terms: terms as u32,
        offset: kept.offset as u32,
        kept_axes: kept.shape.rank() as u32,
        axes: reduced.shape.rank() as u32,
        // Of the last pass.
        scale: if partial.is_some() { 1.0 } else { scale as f32 },
        kept_dims,
        kept_strides,
        dims,
        strides,
    };
    let constants = [
        ("MAXIMUM", maximum.into()),
        ("LANES", lanes),
        ("ONE_AXIS", (reduced.shape.rank() <= 1).into()),
        ("TERMS", at_once),
        ("OUTPUTS", outputs),
        ("X", at_once * outputs),
    ];
    gpu.dispatch(Dispatch {
        op: "reduce",
        source: if whole { Source::File(&ROWS, &constants[..1]) } else { Source::File(&REDUCE, &constants) },
        params: bytemuck::bytes_of(&params),
        buffers: &[x, partial.as_deref().unwrap_or(y)],
        groups: gpu.fold(units * chunks, (64 / lanes) as usize),
    })?;
    match partial {
        Some(partial) => {
            let pieces = Layout::contiguous(Shape::known(&[rows, chunks]));
            reduce_axis(gpu, (maximum, scale), &partial, &pieces, 1, y)
        }
        None => Ok(()),
    }
}

/// The position of the largest element along one axis, the first on a tie.
pub(crate) struct ArgMax {
    pub axis: usize,
}

impl ArgMax {
    fn extents(&self, shape: &Shape) -> (usize, usize, usize) {
        (shape[..self.axis].iter().product(), shape[self.axis], shape[self.axis + 1..].iter().product())
    }
}

impl Op for ArgMax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let x = inputs[0];
        if !x.dtype.is_float() || x.shape[self.axis] == 0 {
            return Err(Error::shape(
                "argmax",
                x.to_string(),
                "Give floats, and at least one along the axis.",
            ));
        }
        let mut chosen = [false; MAX_RANK];
        chosen[self.axis] = true;
        let mut meta = Meta::new(x.shape.reduced(&chosen, false), DType::I32);
        meta.range = Some((0, x.shape[self.axis] as i32 - 1));
        Ok(vec![meta])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let x = inputs.real(0);
        let (_, terms, inner) = self.extents(&x.shape);
        vec![Data::Int(Array::from_fn(outputs[0].shape, |o| {
            let base = o / inner * terms * inner + o % inner;
            let value = |term: usize| x.data[base + term * inner].to_f64();
            (1..terms).fold(0, |best, t| if value(t) > value(best) { t } else { best }) as i32
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (_, terms, inner) = self.extents(inputs[0].shape());
        let count = outputs[0].shape().count();
        gpu.launches(terms).try_for_each(|[first, last]| {
            gpu.dispatch(Dispatch {
                op: "argmax",
                source: Source::File(&ARGMAX, &[]),
                params: bytemuck::cast_slice(&[count as u32, terms as u32, inner as u32, first, last]),
                buffers: &op::buffers(inputs, outputs),
                groups: gpu.fold(count, 64),
            })
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    // The output is an integer: autodiff never asks.
    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }

    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

impl Tensor {
    fn reduce(&self, axes: &[isize], keep: bool, maximum: bool, scale: f64) -> Result<Tensor> {
        let name = if maximum { "max" } else { "sum" };
        let chosen = self.shape().axes(name, axes)?;
        let reduced = op::apply(Reduce { chosen, maximum, scale }, &[self])?.swap_remove(0);
        if keep { Ok(reduced) } else { reduced.reshape(self.shape().reduced(&chosen, false)) }
    }

    /// The sum over `axes` (all if empty; negative ones count from the end). With `keep` they stay, of
    /// extent one. Zero where there is nothing to sum.
    pub fn sum(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.reduce(axes, keep, false, 1.0)
    }

    /// The mean over `axes` (all if empty).
    ///
    /// Errors: [`Error::Shape`] over no elements.
    pub fn mean(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        let chosen = self.shape().axes("mean", axes)?;
        let count: usize = (0..self.rank()).filter(|&a| chosen[a]).map(|a| self.shape()[a]).product();
        if count == 0 {
            let given = format!("the mean over no elements of {}", self.shape());
            return Err(Error::shape("mean", given, "Average at least one element."));
        }
        self.reduce(axes, keep, false, 1.0 / count as f64)
    }

    /// The maximum over `axes` (all if empty). Elements that share it share its gradient.
    pub fn max(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.reduce(axes, keep, true, 1.0)
    }

    /// Where along `axis` the largest element is, as i32; the first on a tie. The axis disappears.
    pub fn argmax(&self, axis: isize) -> Result<Tensor> {
        let axis = self.shape().axis("argmax", axis)?;
        Ok(op::apply(ArgMax { axis }, &[self])?.swap_remove(0))
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<crate::verify::Room> {
    use crate::verify::{Case, Input, Room};
    let shapes: [(&str, Vec<usize>, Vec<isize>); 23] = [
        ("1", vec![1], vec![]),
        ("64x33 rows", vec![64, 33], vec![-1]),
        ("65x31 columns", vec![65, 31], vec![0]),
        ("7x5x3 outer and inner", vec![7, 5, 3], vec![0, 2]),
        ("2x3x4x5x6 middle", vec![2, 3, 4, 5, 6], vec![1, 3]),
        ("41x47", vec![41, 47], vec![]),
        ("3x9001 long", vec![3, 9001], vec![1]),
        ("66000x3 many rows", vec![66_000, 3], vec![1]),
        ("600x130", vec![600, 130], vec![1]),
        ("31x36 in fours", vec![31, 36], vec![1]),
        ("43x36 in fours", vec![43, 36], vec![1]),
        ("255x35", vec![255, 35], vec![1]),
        ("259x64 in sixteens", vec![259, 64], vec![1]),
        ("256x64 in sixteens", vec![256, 64], vec![1]),
        ("8192x16 many in sixteens", vec![8192, 16], vec![1]),
        ("259x36 in fours", vec![259, 36], vec![1]),
        ("3x9216 long in sixteens", vec![3, 9216], vec![1]),
        ("7x36 columns in fours", vec![7, 36], vec![0]),
        ("37x1028 columns in fours", vec![37, 1028], vec![0]),
        ("9001x12 long columns in fours", vec![9001, 12], vec![0]),
        ("5x3x8 outer and inner in fours", vec![5, 3, 8], vec![0, 2]),
        ("3x5x4x8 in fours between", vec![3, 5, 4, 8], vec![0, 2]),
        ("19x65x407 outer and inner", vec![19, 65, 407], vec![0, 2]),
    ];
    let mut sum = Vec::new();
    let mut max = Vec::new();
    for (detail, shape, axes) in shapes {
        for keep in [false, true] {
            let small = shape.iter().product::<usize>() < 4000;
            let make = |input: Input, op: &str, maximum: bool| {
                let axes = axes.clone();
                let detail = format!("{detail}{}", if keep { " keep" } else { "" });
                let case = Case::new(op, &detail, [input], move |x| {
                    if maximum { x[0].max(&axes, keep) } else { x[0].sum(&axes, keep) }
                });
                if small { case } else { case.value_only() }
            };
            if keep && !small {
                continue;
            }
            sum.push(make(Input::whole(&shape), "sum", false).exact());
            max.push(make(Input::distinct(&shape), "max", true));
            if !keep {
                let any = make(Input::any(&shape), "sum", false);
                sum.push(Case { id: format!("{} any", any.id), ..any });
            }
        }
    }
    sum.push(
        Case::new("sum", "55x61 transposed", [Input::whole([55, 61]).transposed()], |x| {
            x[0].sum(&[0], false)
        })
        .exact(),
    );
    sum.push(
        Case::new("sum", "9x8 stride 2", [Input::whole([9, 8]).strided()], |x| x[0].sum(&[1], false)).exact(),
    );
    sum.push(
        Case::new("sum", "9x8 stride 0", [Input::whole([9, 8]).repeated()], |x| x[0].sum(&[0], false))
            .exact(),
    );
    // Rows by sixteens that lie apart, and such that do not begin at sixteens.
    for start in [16, 4] {
        let detail = format!("259x64 behind {start}");
        let run = move |x: &[Tensor]| x[0].slice(0, 1, 260)?.slice(1, start, start + 64)?.sum(&[1], false);
        sum.push(Case::new("sum", &detail, [Input::whole([260, 96])], run).exact().value_only());
    }
    // As many axes as there can be that do not merge: seven kept, seven and eight reduced.
    for axes in [vec![7], vec![0, 1, 2, 3, 4, 5, 6], vec![]] {
        let backwards = |x: &Tensor| x.permute(&[7, 6, 5, 4, 3, 2, 1, 0]);
        let shape = [2, 3, 2, 3, 2, 3, 2, 2];
        let detail = format!("rank 8 backwards, axes {axes:?}");
        let run = move |x: &[Tensor]| backwards(&x[0])?.sum(&axes, false);
        sum.push(Case::new("sum", &detail, [Input::whole(shape)], run).exact().value_only());
    }
    // A row far above the next: its elements must not count among those of the next row's chunks.
    for (terms, upwards) in [(9001, false), (9004, false), (9004, true), (9216, false), (9216, true)] {
        let apart: Vec<f64> = (0..2 * terms)
            .map(|i| if (i < terms) != upwards { 1e3 + i as f64 } else { -1.0 - i as f64 })
            .collect();
        let rows = [Input::fixed([2, terms], &apart)];
        let detail = format!("2x{terms} far apart{}", if upwards { ", upwards" } else { "" });
        max.push(Case::new("max", &detail, rows, |x| x[0].max(&[1], false)).exact().value_only());
    }
    sum.push(Case::new("sum", "0x3 empty", [Input::whole([0, 3])], |x| x[0].sum(&[0], false)).exact());
    max.push(Case::new("max", "55x61 transposed", [Input::distinct([55, 61]).transposed()], |x| {
        x[0].max(&[0], false)
    }));
    max.push(
        Case::new("max", "negative", [Input::uniform([5, 70], -9.0, -1.0)], |x| x[0].max(&[1], false))
            .value_only(),
    );
    max.push(Case::new("max", "0x3 empty", [Input::any([0, 3])], |x| x[0].max(&[0], false)).fails());
    let mean = vec![
        Case::new("mean", "6x7", [Input::any([6, 7])], |x| x[0].mean(&[1], true)),
        Case::new("mean", "43x36 in fours", [Input::any([43, 36])], |x| x[0].mean(&[1], false)),
        Case::new("mean", "37x36 columns in fours", [Input::any([37, 36])], |x| x[0].mean(&[0], false)),
        Case::new("mean", "3x9001 long", [Input::any([3, 9001])], |x| x[0].mean(&[1], false)).value_only(),
        Case::new("mean", "259x64 in sixteens", [Input::any([259, 64])], |x| x[0].mean(&[1], false))
            .value_only(),
        Case::new("mean", "one short row", [Input::any([256])], |x| x[0].mean(&[], false)),
        Case::new("mean", "empty", [Input::any([2, 0])], |x| x[0].mean(&[1], true)).fails(),
    ];
    let argmax = [vec![1, 1], vec![64, 33], vec![65, 31], vec![5, 59, 4], vec![337, 3]]
        .into_iter()
        .flat_map(|shape| {
            (0..shape.len() as isize).map(move |axis| {
                let detail = format!("{shape:?} axis {axis}");
                Case::new("argmax", &detail, [Input::distinct(&shape)], move |x| x[0].argmax(axis))
                    .value_only()
            })
        })
        .chain([Case::new("argmax", "70000 rows", [Input::distinct([70_000, 2])], |x| x[0].argmax(1))
            .value_only()])
        .chain([Case::new("argmax", "ties", [Input::whole([40, 30])], |x| x[0].argmax(1)).value_only()])
        .collect();
    vec![
        Room { op: "sum", cases: sum },
        Room { op: "max", cases: max },
        Room { op: "mean", cases: mean },
        Room { op: "argmax", cases: argmax },
    ]
}
