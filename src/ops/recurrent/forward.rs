//! The fused operation: one direction of one layer over all steps, a launch a step.

use super::backward::Backward;
use super::cell::Cell;
use super::compose::unroll;
use crate::autodiff::{At, composed_jvp};
use crate::choice;
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::gpu::{Dispatch, Gpu, Shader, Source, pointwise, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::{Layout, Shape};
use crate::tensor::Tensor;
use std::ops::Range;

static FORWARD: Shader = shader!("recurrent/forward.wgsl");

/// What a step computes, and in which order the steps follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub cell: Cell,
    pub reverse: bool,
}

/// The extents of a sequence of states.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub steps: usize,
    pub batch: usize,
    pub hidden: usize,
}

impl Extents {
    /// From the projected input `[T, B, G·H]`.
    pub fn of(x: &Shape, cell: Cell) -> Self {
        Extents { steps: x[0], batch: x[1], hidden: x[2] / cell.gates() }
    }

    /// The elements of one vector of states.
    pub fn slot(&self) -> usize {
        self.batch * self.hidden
    }

    /// From an h to its c, in a tensor of all states.
    pub fn cells(&self) -> usize {
        (self.steps + 1) * self.slot()
    }
}

impl Kind {
    /// The times in the order in which they are computed.
    pub fn times(self, steps: usize) -> Vec<usize> {
        if self.reverse { (0..steps).rev().collect() } else { (0..steps).collect() }
    }

    /// The slots of the states before and after a time. Forwards slot t + 1 is that after time t and slot 0
    /// the initial state; in reverse slot t is that after time t and the last slot the initial state.
    pub fn slots(self, time: usize) -> (usize, usize) {
        if self.reverse { (time + 1, time) } else { (time, time + 1) }
    }

    /// The slot of the initial state.
    pub fn initial(self, steps: usize) -> usize {
        if self.reverse { steps } else { 0 }
    }

    /// The slots of the states before the times 0, 1, …
    pub fn befores(self, steps: usize) -> Range<usize> {
        let first = self.slots(0).0;
        first..first + steps
    }

    /// The slots of the states after the times 0, 1, …
    pub fn afters(self, steps: usize) -> Range<usize> {
        let first = self.slots(0).1;
        first..first + steps
    }
}

/// x `[T, B, G·H]` (projected inputs with their bias), w `[H, G·H]`, bias `[G·H]`, initial `[S, B, H]` and
/// perhaps lengths `[B]` → states `[S, T + 1, B, H]` and what the gradient reads, `[T, B, saved·H]`.
///
/// A step at or beyond the length of its sequence leaves the state as it is.
pub(super) struct Forward(pub Kind);

impl Op for Forward {
    fn name(&self) -> &'static str {
        self.0.cell.name()
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (cell, op) = (self.0.cell, self.0.cell.name());
        let [x, w, bias, initial] = [inputs[0], inputs[1], inputs[2], inputs[3]];
        if let Some(integer) = inputs[..4].iter().find(|m| !m.dtype.is_float()) {
            return Err(Error::dtype(op, integer.to_string(), "Convert to a float with to_dtype."));
        }
        let fits = x.shape.rank() == 3 && w.shape.rank() == 2 && w.shape[0] > 0 && {
            let (hidden, wide) = (w.shape[0], cell.gates() * w.shape[0]);
            *w.shape == [hidden, wide]
                && x.shape[2] == wide
                && *bias.shape == [wide]
                && *initial.shape == [cell.states(), x.shape[1], hidden]
                && inputs.get(4).is_none_or(|l| *l.shape == [x.shape[1]])
        };
        if !fits {
            let all: Vec<String> = inputs.iter().map(Meta::to_string).collect();
            return Err(Error::shape(
                op,
                all.join(", "),
                "Give projected inputs [T, B, G·H], weight [H, G·H], bias [G·H], initial state [S, B, H].",
            ));
        }
        let Extents { steps, batch, hidden } = Extents::of(&x.shape, cell);
        Ok(vec![
            Meta::new(Shape::new(&[cell.states(), steps + 1, batch, hidden])?, x.dtype),
            Meta::new(Shape::new(&[steps, batch, cell.saved() * hidden])?, x.dtype),
        ])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let cell = self.0.cell;
        let [x, w, bias, initial] = std::array::from_fn(|index| inputs.real(index));
        let e = Extents::of(&x.shape, cell);
        let (hidden, wide, saving) = (e.hidden, cell.gates() * e.hidden, cell.saved());
        // Columns of w as rows, so that a dot product runs through memory in order.
        let columns = Array::from_fn(w.shape, |i| w.data[i % hidden * wide + i / hidden]);
        let mut states = vec![R::default(); outputs[0].shape.count()];
        let mut saved = vec![R::default(); outputs[1].shape.count()];
        let start = self.0.initial(e.steps) * e.slot();
        for plane in 0..cell.states() {
            let to = plane * e.cells() + start;
            states[to..to + e.slot()].copy_from_slice(&initial.data[plane * e.slot()..][..e.slot()]);
        }
        for time in self.0.times(e.steps) {
            let (before, after) = self.0.slots(time);
            let step = Array::from_fn(Shape::known(&[e.batch, hidden]), |unit| {
                let (b, j) = (unit / hidden, unit % hidden);
                let old = pair(cell, &states, &e, before, unit);
                if inputs.len() > 4 && time as i32 >= inputs.int(4).data[b] {
                    return (old, [R::default(); 5]);
                }
                let h = &states[before * e.slot() + b * hidden..][..hidden];
                let product = |gate: usize| {
                    let column = columns.row(gate * hidden + j, hidden);
                    R::dot(h.iter().copied().zip(column.iter().copied())) + bias.data[gate * hidden + j]
                };
                cell.step(old, product, |gate| x.data[(time * e.batch + b) * wide + gate * hidden + j])
            });
            for (unit, (new, kept)) in step.data.into_iter().enumerate() {
                let (b, j) = (unit / hidden, unit % hidden);
                for plane in 0..cell.states() {
                    states[plane * e.cells() + after * e.slot() + unit] = new[plane];
                }
                for plane in 0..saving {
                    saved[((time * e.batch + b) * saving + plane) * hidden + j] = kept[plane];
                }
            }
        }
        let shapes = [outputs[0].shape, outputs[1].shape];
        [states, saved]
            .into_iter()
            .zip(shapes)
            .map(|(data, shape)| Data::Real(Array { shape, data }))
            .collect()
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let cell = self.0.cell;
        let e = Extents::of(inputs[0].shape(), cell);
        let (states, saved) = (&outputs[0], &outputs[1]);
        let mut first = states.layout.sliced(1, self.0.initial(e.steps), 1, 1);
        first.shape = Shape::known(&[cell.states(), 1, e.batch, e.hidden]);
        let initial = (&*inputs[3].buffer, Layout::contiguous(first.shape), DType::F32);
        pointwise(gpu, &Formula::input(0), &[initial], (&states.buffer, first, DType::F32))?;

        let gated = cell.gates() > 1;
        let tile = Tile::of(gpu, &e, cell, if gated { 1 } else { 4 });
        let lengths = inputs.get(4).unwrap_or(&inputs[2]);
        for time in self.0.times(e.steps) {
            let (before, after) = self.0.slots(time);
            gpu.dispatch(Dispatch {
                op: cell.name(),
                source: Source::File(
                    &FORWARD,
                    &[
                        ("CELL", number(cell)),
                        ("GATES", cell.gates() as u32),
                        ("SAVED", cell.saved() as u32),
                        ("UNITS", if gated { 1 } else { 4 }),
                        ("LENGTHS", u32::from(inputs.len() > 4)),
                        ("ROWS", tile.rows as u32),
                        ("LANES", tile.lanes as u32),
                    ],
                ),
                params: bytemuck::cast_slice(&[
                    e.batch as u32,
                    e.hidden as u32,
                    tile.tiles as u32,
                    time as u32,
                    (before * e.slot()) as u32,
                    (after * e.slot()) as u32,
                    e.cells() as u32,
                ]),
                buffers: &[
                    &inputs[0].buffer,
                    &inputs[1].buffer,
                    &inputs[2].buffer,
                    &lengths.buffer,
                    &states.buffer,
                    &saved.buffer,
                ],
                groups: gpu.fold(tile.tiles, 1),
            })?;
        }
        Ok(())
    }

    fn flops(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        let e = Extents::of(&inputs[0].shape, self.0.cell);
        2 * (e.steps * e.slot() * e.hidden * self.0.cell.gates()) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (0b11111, 0b11)
    }

    // Backward gives the gradients of the gates; those of w and bias are one product and one sum of them.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let mut out = vec![None; at.inputs()];
        let Some(ds) = &dy[0] else { return Ok(out) };
        let e = Extents::of(&at.input_meta(0).shape, self.0.cell);
        // Back through time the product is with Wᵀ: the parameter as it lies in memory.
        let mut inputs = vec![at.input(0)?, at.input(1)?.t()?, at.input(2)?, at.input(3)?];
        // How these depend on the inputs is the backward operation's own affair: see its composition.
        inputs.extend([ds.clone(), at.output(0)?.detach(), at.output(1)?.detach()]);
        if at.inputs() > 4 {
            inputs.push(at.input(4)?);
        }
        let gradients = op::apply(Backward(self.0), &inputs.iter().collect::<Vec<_>>())?;
        let (dx, dproduct) = self.0.split(&gradients[0], e.hidden)?;
        if at.needs(1) {
            let before = self.0.befores(e.steps);
            let h = at.output(0)?.select(0, 0)?.slice(0, before.start, before.end)?;
            let flat = |t: &Tensor| t.reshape([e.steps * e.batch, t.shape()[2]]);
            out[1] = Some(flat(&h)?.t()?.matmul(&flat(&dproduct)?)?);
        }
        if at.needs(2) {
            out[2] = Some(dproduct.sum(&[0, 1], false)?);
        }
        out[0] = Some(dx);
        out[3] = Some(gradients[1].clone());
        Ok(out)
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let lengths = if at.inputs() > 4 { Some(at.input(4)?) } else { None };
        let states = |taps: &[Tensor]| Ok(vec![unroll(self.0, taps, None, &lengths)?]);
        Ok(composed_jvp(at, 4, &dx[..4], states)?.into_iter().chain([None]).collect())
    }
}

/// h, and for an LSTM c, of one unit of one slot.
pub(super) fn pair<R: Real>(cell: Cell, states: &[R], e: &Extents, slot: usize, unit: usize) -> [R; 2] {
    let at = slot * e.slot() + unit;
    [states[at], if cell == Cell::Lstm { states[e.cells() + at] } else { R::default() }]
}

/// What the kernels call a cell.
pub(super) fn number(cell: Cell) -> u32 {
    match cell {
        Cell::Tanh => 0,
        Cell::Relu => 1,
        Cell::Lstm => 2,
        Cell::Gru | Cell::GruResetBefore => 3,
    }
}

/// How a launch shares out its work.
pub(super) struct Tile {
    pub rows: usize,
    pub lanes: usize,
    pub tiles: usize,
}

impl Tile {
    /// For invocations that compute `units` hidden units each.
    pub fn of(gpu: &Gpu, e: &Extents, cell: Cell, units: usize) -> Self {
        let candidates = choice::recurrent(&gpu.capabilities(), e.batch, units);
        let choice::Step { rows, lanes } = gpu.choose(cell.name(), &[e.batch, e.hidden, units], candidates);
        let (rows, lanes) = (rows as usize, lanes as usize);
        Tile { rows, lanes, tiles: e.batch.div_ceil(rows) * e.hidden.div_ceil(lanes * units) }
    }
}
