//! The gradient of a recurrent layer as an operation of its own: back through time, a launch a step.

use super::cell::Cell;
use super::compose::unroll;
use super::forward::{Extents, Kind, Tile, number, pair};
use crate::autodiff::{At, composed_jvp, composed_vjp};
use crate::cpu::Array;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static BACKWARD: Shader = shader!("recurrent/backward.wgsl");

/// The four inputs of the forward operation, w transposed `[G·H, H]`, the cotangent of its states, its two
/// outputs, and perhaps lengths → the gradients of the gates `[T, B, planes·H]` and of the initial state `[S, B, H]`.
///
/// It is a function of the four inputs and the cotangent: states and what was saved follow from these, so they
/// have no derivative of their own; those with respect to the inputs are the composition's, which computes
/// the states anew.
pub(super) struct Backward(pub Kind);

impl Kind {
    /// From the gradients of the gates to those of x, and of h·W + b.
    pub fn split(self, dg: &Tensor, hidden: usize) -> Result<(Tensor, Tensor)> {
        if self.cell != Cell::Gru {
            return Ok((dg.clone(), dg.clone()));
        }
        // r, z, q and n: the reset stands between n and q.
        let (rz, n) = (dg.slice(2, 0, 2 * hidden)?, dg.slice(2, 3 * hidden, 4 * hidden)?);
        Ok((Tensor::concat(&[&rz, &n], 2)?, dg.slice(2, 0, 3 * hidden)?))
    }

    /// The outputs of [`Backward`] in tensor operations.
    fn gradients(self, inputs: &[Tensor], lengths: &Option<Tensor>) -> Result<Vec<Tensor>> {
        let [x, initial, ds] = [&inputs[0], &inputs[3], &inputs[4]];
        let hidden = inputs[1].shape()[1];
        let forward = [x.clone(), inputs[1].t()?, inputs[2].clone(), initial.clone()];
        if self.cell != Cell::Gru {
            let states = unroll(self, &forward, None, lengths)?;
            return states.pull_back(ds, &[x, initial]);
        }
        // Added to h·W + b it is zero; its gradient is what reaches that sum.
        let inner = x.full_like(0.0)?.variable()?;
        let gradients =
            unroll(self, &forward, Some(&inner), lengths)?.pull_back(ds, &[x, &inner, initial])?;
        let n = gradients[0].slice(2, 2 * hidden, 3 * hidden)?;
        Ok(vec![Tensor::concat(&[&gradients[1], &n], 2)?, gradients[2].clone()])
    }
}

impl Op for Backward {
    fn name(&self) -> &'static str {
        match self.0.cell {
            Cell::Tanh | Cell::Relu => "rnn_backward",
            Cell::Lstm => "lstm_backward",
            Cell::Gru | Cell::GruResetBefore => "gru_backward",
        }
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (x, initial) = (inputs[0], inputs[3]);
        let Extents { steps, batch, hidden } = Extents::of(&x.shape, self.0.cell);
        let gates = Shape::new(&[steps, batch, self.0.cell.planes() * hidden])?;
        Ok(vec![Meta::new(gates, x.dtype), initial])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let cell = self.0.cell;
        let [w, ds, states, saved] = [1, 4, 5, 6].map(|index| inputs.real(index));
        let e = Extents::of(&inputs.real(0).shape, cell);
        let (hidden, terms) = (e.hidden, cell.gates() * e.hidden);
        let (saving, planes) = (cell.saved(), cell.planes());
        let mut dg = vec![R::default(); outputs[0].shape.count()];
        let mut carry = vec![[R::default(); 2]; e.slot()];
        let mut next: Option<usize> = None;
        // What reaches the state in a slot: its cotangent, and from the step that read it.
        let arriving = |dg: &[R], carry: &[[R; 2]], next: Option<usize>, slot: usize, unit: usize| {
            let (b, j) = (unit / hidden, unit % hidden);
            let [dh, dc] = pair(cell, &ds.data, &e, slot, unit);
            let Some(time) = next else { return [dh, dc] };
            let gates = &dg[(time * e.batch + b) * planes * hidden..][..terms];
            let column = w.data[j..].iter().step_by(hidden);
            let through = R::dot(gates.iter().copied().zip(column.copied()));
            [dh + (through + carry[unit][0]), dc + carry[unit][1]]
        };
        let shape = Shape::known(&[e.batch, hidden]);
        for time in self.0.times(e.steps).into_iter().rev() {
            let (before, after) = self.0.slots(time);
            let step = Array::from_fn(shape, |unit| {
                let (b, j) = (unit / hidden, unit % hidden);
                let arrived = arriving(&dg, &carry, next, after, unit);
                if inputs.len() > 7 && time as i32 >= inputs.int(7).data[b] {
                    return ([R::default(); 4], arrived);
                }
                let mut kept = [R::default(); 5];
                for (plane, kept) in kept.iter_mut().enumerate().take(saving) {
                    *kept = saved.data[((time * e.batch + b) * saving + plane) * hidden + j];
                }
                let [old, new] = [before, after].map(|slot| pair(cell, &states.data, &e, slot, unit));
                cell.gradient(arrived, old, new, kept)
            });
            for (unit, (gates, passed)) in step.data.into_iter().enumerate() {
                let (b, j) = (unit / hidden, unit % hidden);
                for plane in 0..planes {
                    dg[((time * e.batch + b) * planes + plane) * hidden + j] = gates[plane];
                }
                carry[unit] = passed;
            }
            next = Some(time);
        }
        let slot = self.0.initial(e.steps);
        let first = Array::from_fn(shape, |unit| arriving(&dg, &carry, next, slot, unit));
        let planes = (0..cell.states()).flat_map(|plane| first.data.iter().map(move |pair| pair[plane]));
        let dinitial = Array { shape: outputs[1].shape, data: planes.collect() };
        vec![Data::Real(Array { shape: outputs[0].shape, data: dg }), Data::Real(dinitial)]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let cell = self.0.cell;
        let e = Extents::of(inputs[0].shape(), cell);
        let tile = Tile::of(gpu, &e, cell, 4);
        let [w, ds, states, saved] = [1, 4, 5, 6].map(|index| &inputs[index].buffer);
        let lengths = &inputs.get(7).unwrap_or(&inputs[1]).buffer;
        let mut times = self.0.times(e.steps).into_iter().rev();
        let mut next: Option<usize> = None;
        loop {
            let time = times.next();
            let slots = time.map(|time| self.0.slots(time));
            // Behind the first step lies the initial state, which no step led to.
            let (before, after) = slots.unwrap_or((0, self.0.initial(e.steps)));
            gpu.dispatch(Dispatch {
                op: self.name(),
                source: Source::File(
                    &BACKWARD,
                    &[
                        ("CELL", number(cell)),
                        ("SAVED", cell.saved() as u32),
                        ("PLANES", cell.planes() as u32),
                        ("LENGTHS", u32::from(inputs.len() > 7)),
                        ("ROWS", tile.rows as u32),
                        ("LANES", tile.lanes as u32),
                    ],
                ),
                params: bytemuck::cast_slice(&[
                    e.batch as u32,
                    e.hidden as u32,
                    tile.tiles as u32,
                    time.unwrap_or(0) as u32,
                    (before * e.slot()) as u32,
                    (after * e.slot()) as u32,
                    e.cells() as u32,
                    next.map_or(0, |_| cell.gates() * e.hidden) as u32,
                    next.map_or(0, |next| next * e.slot() * cell.planes()) as u32,
                    u32::from(time.is_none()),
                ]),
                buffers: &[w, lengths, ds, states, saved, &outputs[0].buffer, &outputs[1].buffer],
                groups: gpu.fold(tile.tiles, 1),
            })?;
            if time.is_none() {
                return Ok(());
            }
            next = time;
        }
    }

    fn flops(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        let e = Extents::of(&inputs[0].shape, self.0.cell);
        2 * (e.steps * e.slot() * e.hidden * self.0.cell.gates()) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (0b1001_1111, 0)
    }

    fn vjp(&self, at: &At, cotangents: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let lengths = lengths(at)?;
        composed_vjp(at, 5, cotangents, |taps| self.0.gradients(taps, &lengths))
    }

    fn jvp(&self, at: &At, tangents: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let lengths = lengths(at)?;
        composed_jvp(at, 5, &tangents[..5], |taps| self.0.gradients(taps, &lengths))
    }
}

fn lengths(at: &At) -> Result<Option<Tensor>> {
    if at.inputs() > 7 { at.input(7).map(Some) } else { Ok(None) }
}
