//! The sum over all alignments, and what each state has of it, as operations with a kernel each.

use super::lattice::{NEVER, total};
use crate::autodiff::{self, At};
use crate::cpu::Array;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static FORWARD: Shader = shader!("ctc/forward.wgsl");
static BACKWARD: Shader = shader!("ctc/backward.wgsl");

/// ln p of each state `[T, N, S]`, the codes of their arrivals `[N, S]`, and times and labels of each example
/// `[N, 2]` → ln of the probability of all alignments `[N]`, and α `[T, N, S]`, which the gradient reads.
pub(super) struct Sum;

/// The same, α and the sums → the share of the alignments that are in a state at a time, `[T, N, S]`.
pub(super) struct Occupancy;

/// ln Σ e^way over the ways that there are.
fn join<R: Real>(ways: impl Iterator<Item = Option<R>>) -> Option<R> {
    let ways: Vec<R> = ways.flatten().collect();
    let largest = ways.iter().copied().reduce(R::max)?;
    // The sum does not depend on what is subtracted, so neither does its error: any number near the largest
    // will do. Otherwise a bound would treble with each step in time.
    let near = R::from_f64(f64::from(largest.to_f64() as f32));
    Some(near + R::sum(ways.iter().map(|&way| (way - near).exp())).ln())
}

/// One example of the lattice, as a reference reads it.
struct Example<'a, R> {
    log_probs: &'a Array<R>,
    codes: &'a Array<R>,
    example: usize,
    times: usize,
    labels: usize,
}

impl<'a, R: Real> Example<'a, R> {
    fn of(inputs: &'a Inputs<R>, example: usize) -> Self {
        let ends = inputs.int(2).row(example, 2);
        let (times, labels) = (ends[0] as usize, ends[1] as usize);
        Example { log_probs: inputs.real(0), codes: inputs.real(1), example, times, labels }
    }

    fn states(&self) -> usize {
        self.log_probs.shape[2]
    }

    fn at(&self, time: usize, state: usize) -> usize {
        (time * self.log_probs.shape[1] + self.example) * self.states() + state
    }

    fn log_prob(&self, time: usize, state: usize) -> R {
        self.log_probs.data[self.at(time, state)]
    }

    fn code(&self, state: usize) -> f64 {
        self.codes.data[self.example * self.states() + state].to_f64()
    }

    /// The states from which one step leads to a state.
    fn before(&self, state: usize) -> impl Iterator<Item = usize> {
        let skips = self.code(state).fract() == 0.0;
        let furthest = if skips { 2 } else { 1 };
        (0..=furthest).filter_map(move |step| state.checked_sub(step))
    }

    /// α at every time, where there is a way.
    fn forward(&self) -> Vec<Vec<Option<R>>> {
        let mut all: Vec<Vec<Option<R>>> = Vec::with_capacity(self.log_probs.shape[0]);
        for time in 0..self.log_probs.shape[0] {
            let row = (0..self.states()).map(|state| {
                let reached = self.code(state) < time as f64 + 1.0;
                let ways = match all.last() {
                    None => Some(R::default()),
                    Some(row) => join(self.before(state).map(|from| row[from])),
                };
                ways.filter(|_| reached).map(|ways| match time {
                    0 => self.log_prob(0, state),
                    _ => ways + self.log_prob(time, state),
                })
            });
            let row = row.collect();
            all.push(row);
        }
        all
    }

    /// β at every time of the example, where there is a way on.
    fn backward(&self) -> Vec<Vec<Option<R>>> {
        let mut all = vec![vec![None; self.states()]; self.times];
        for time in (0..self.times).rev() {
            for state in 0..self.states() {
                let last = 2 * self.labels;
                all[time][state] = if time + 1 == self.times {
                    (state == last || state + 1 == last).then(R::default)
                } else {
                    let next = (state..self.states().min(state + 3))
                        .filter(|&to| self.before(to).any(|s| s == state));
                    join(next.map(|to| all[time + 1][to].map(|way| way + self.log_prob(time + 1, to))))
                };
            }
        }
        all
    }
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "ctc_loss"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let p = inputs[0];
        Ok(vec![Meta::new(Shape::new(&[p.shape[1]])?, p.dtype), p])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let never = R::from_f64(NEVER);
        let mut alpha = Array { shape: outputs[1].shape, data: vec![never; outputs[1].shape.count()] };
        let mut sums = Array { shape: outputs[0].shape, data: vec![never; outputs[0].shape.count()] };
        for example in 0..outputs[0].shape.count() {
            let lattice = Example::of(inputs, example);
            let ways = lattice.forward();
            for (time, row) in ways.iter().enumerate() {
                for (state, way) in row.iter().enumerate() {
                    alpha.data[lattice.at(time, state)] = way.unwrap_or(never);
                }
            }
            let (row, last) = (&ways[lattice.times - 1], 2 * lattice.labels);
            let label = last.checked_sub(1).and_then(|state| row[state]);
            sums.data[example] = join([row[last], label].into_iter()).unwrap_or(never);
        }
        vec![Data::Real(sums), Data::Real(alpha)]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let examples = inputs[0].shape()[1];
        gpu.dispatch(Dispatch {
            op: self.name(),
            source: Source::File(&FORWARD, &[]),
            params: bytemuck::cast_slice(&extents(&inputs[0])),
            buffers: &[
                &inputs[0].buffer,
                &inputs[1].buffer,
                &inputs[2].buffer,
                &outputs[1].buffer,
                &outputs[0].buffer,
            ],
            groups: gpu.fold(examples, 1),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b111, 0b11)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; 3]) };
        let shares = occupancy(at)?;
        Ok(vec![Some(shares.mul(&dy.unsqueeze(1)?)?), None, None])
    }

    // What is kept for the gradient is no result.
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None; 2]) };
        Ok(vec![Some(occupancy(at)?.mul(dx)?.sum(&[0, 2], false)?), None])
    }
}

fn extents(log_probs: &GpuView) -> [u32; 3] {
    std::array::from_fn(|axis| log_probs.shape()[axis] as u32)
}

fn occupancy(at: &At) -> Result<Tensor> {
    let (p, codes, ends) = (at.input(0)?, at.input(1)?, at.input(2)?);
    // How the sums depend on p is the occupancy's own affair: see its composition.
    let (sums, alpha) = (at.output(0)?.detach(), at.output(1)?.detach());
    Ok(op::apply(Occupancy, &[&p, &codes, &ends, &alpha, &sums])?.swap_remove(0))
}

impl Op for Occupancy {
    fn name(&self) -> &'static str {
        "ctc_occupancy"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![inputs[0]])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let shape = outputs[0].shape;
        let (alpha, sums) = (inputs.real(3), inputs.real(4));
        let mut shares = Array { shape, data: vec![R::default(); shape.count()] };
        for example in 0..shape[1] {
            let lattice = Example::of(inputs, example);
            if sums.data[example].to_f64() <= NEVER / 2.0 {
                continue;
            }
            for (time, row) in lattice.backward().into_iter().enumerate() {
                for (state, way) in row.into_iter().enumerate() {
                    let at = lattice.at(time, state);
                    let reached = alpha.data[at].to_f64() > NEVER / 2.0;
                    if let Some(way) = way.filter(|_| reached) {
                        shares.data[at] = (alpha.data[at] + way - sums.data[example]).exp();
                    }
                }
            }
        }
        vec![Data::Real(shares)]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let shape = inputs[0].shape();
        let beta = gpu.buffer(self.name(), 8 * (shape[1] * shape[2]) as u64)?;
        let read = inputs.iter().map(|view| &*view.buffer);
        let buffers: Vec<_> = read.chain([&*beta, &*outputs[0].buffer]).collect();
        gpu.dispatch(Dispatch {
            op: self.name(),
            source: Source::File(&BACKWARD, &[]),
            params: bytemuck::cast_slice(&extents(&inputs[0])),
            buffers: &buffers,
            groups: gpu.fold(shape[1], 1),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b111, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let (codes, ends) = (at.input(1)?, at.input(2)?);
        autodiff::composed_vjp(at, 1, dy, |p| compose(&p[0], &codes, &ends))
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let (codes, ends) = (at.input(1)?, at.input(2)?);
        autodiff::composed_jvp(at, 1, dx, |p| compose(&p[0], &codes, &ends))
    }
}

/// The occupancy is the gradient of the sums.
fn compose(p: &Tensor, codes: &Tensor, ends: &Tensor) -> Result<Vec<Tensor>> {
    total(p, codes, ends)?.sum(&[], false)?.grad(&[p])
}

/// The occupancy as a function of p alone, for its cases.
pub(super) fn shares(p: &Tensor, codes: &Tensor, ends: &Tensor) -> Result<Tensor> {
    let found = op::apply(Sum, &[&p.detach(), codes, ends])?;
    Ok(op::apply(Occupancy, &[p, codes, ends, &found[1], &found[0]])?.swap_remove(0))
}
