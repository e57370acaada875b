//! The states that alignments pass through, and the sum over all alignments in tensor operations.

use crate::error::Result;
use crate::formula::Formula;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::from_f64;

/// The logarithm of the probability of what cannot be: so far down that its exponential is zero beside any
/// other's, and a power of two, so that it is exact. WGSL promises no infinities.
pub(super) const NEVER: f64 = -((1u128 << 100) as f64);

/// The states that an alignment passes through, example by example: blank, label, blank, …, label, blank.
pub(super) struct Lattice {
    examples: usize,
    states: usize,
    /// The class of each state, `[N, S]`; class zero behind the last, which nothing reaches.
    classes: Vec<i32>,
    /// The first time at which an alignment can be in a state, and half a step more where it cannot have come
    /// from two states before: only a label can, that differs from the label there. `[N, S]`.
    codes: Vec<f64>,
}

impl Lattice {
    pub fn of(labels: &[Vec<usize>], blank: usize) -> Self {
        let longest = labels.iter().map(Vec::len).max().unwrap_or(0);
        let (examples, states) = (labels.len(), 2 * longest + 1);
        let mut lattice = Lattice { examples, states, classes: vec![], codes: vec![] };
        for labels in labels {
            let class = |state: usize| if state % 2 == 1 { labels[state / 2] } else { blank };
            let mut first: Vec<f64> = Vec::with_capacity(states);
            for state in 0..states {
                if state > 2 * labels.len() {
                    lattice.classes.push(0);
                    lattice.codes.push(f64::from(1 << 22) + 0.5);
                    continue;
                }
                let skips = state % 2 == 1 && state > 1 && class(state) != class(state - 2);
                first.push(match state {
                    0 | 1 => 0.0,
                    _ if skips => first[state - 2] + 1.0,
                    _ => first[state - 1] + 1.0,
                });
                lattice.classes.push(class(state) as i32);
                lattice.codes.push(first[state] + if skips { 0.0 } else { 0.5 });
            }
        }
        lattice
    }

    /// How many steps an example needs at least.
    pub fn needs(&self, example: usize, labels: usize) -> usize {
        let last = (2 * labels).saturating_sub(1);
        self.codes[example * self.states + last] as usize + 1
    }

    /// What the operations take: ln p of each state's class at each time that any example has, `[T, N, S]`, from
    /// `[T, N, C]`; the codes; and times and labels of each example, `[N, 2]`.
    pub fn tensors(&self, log_probs: &Tensor, times: &[usize], labels: &[usize]) -> Result<[Tensor; 3]> {
        let device = log_probs.device();
        let longest = times.iter().copied().max().unwrap_or(1);
        let classes = Tensor::from_slice(device, &self.classes, [1, self.examples, self.states])?;
        let p = log_probs.gather(2, &classes.broadcast_to([longest, self.examples, self.states])?)?;
        let shape = Shape::new(&[self.examples, self.states])?;
        let codes = from_f64(device, log_probs.dtype(), &self.codes, shape)?;
        let ends: Vec<i32> = times.iter().zip(labels).flat_map(|(&t, &s)| [t as i32, s as i32]).collect();
        Ok([p, codes, Tensor::from_slice(device, &ends, [self.examples, 2])?])
    }
}

/// What [`Sum`](super::fused::Sum) computes, in tensor operations: its higher-order path.
///
/// αₜ(s) = pₜ(s)·(αₜ₋₁(s) + αₜ₋₁(s − 1) + αₜ₋₁(s − 2), where that may be skipped to): Graves, eq. 6.
pub(super) fn total(p: &Tensor, codes: &Tensor, ends: &Tensor) -> Result<Tensor> {
    let (times, examples, states) = (p.shape()[0], p.shape()[1], p.shape()[2]);
    let reached = |time: usize, code: Formula| code.less(Formula::scalar(time as f64 + 1.0));
    let never = || Formula::constant(NEVER);
    let mut all = vec![Tensor::map([&p.select(0, 0)?, codes], |[p, code]| {
        Formula::select(reached(0, code), p, never())
    })?];
    for time in 1..times {
        let stay = &all[time - 1];
        let wide = stay.pad(&[(0, 0), (2, 0)], NEVER)?;
        let (step, skip) = (&wide.slice(1, 1, states + 1)?, &wide.slice(1, 0, states)?);
        // In several formulas: the derivatives of one read its inputs and another for each order.
        let skip = &Tensor::map([skip, codes], |[skip, code]| {
            Formula::select(code.clone().floor().equal(code), skip, never())
        })?;
        // The sum does not depend on the largest term, which only keeps its exponentials small.
        let largest =
            Tensor::map([stay, step, skip], |[stay, step, skip]| stay.max(step).max(skip))?.detach();
        let ways = Tensor::map([stay, step, skip, &largest], |[stay, step, skip, largest]| {
            let [a, b, c] = [stay, step, skip].map(|way| (way - largest.clone()).exp());
            largest + (a + b + c).ln()
        })?;
        all.push(Tensor::map([&ways, &p.select(0, time)?, codes], |[ways, p, code]| {
            Formula::select(reached(time, code), ways + p, never())
        })?);
    }
    let all = Tensor::concat(&all.iter().collect::<Vec<_>>(), 0)?.flatten(0)?;
    // An alignment ends in the last label or in the blank behind it; without labels in the blank alone.
    let ends: Vec<usize> = ends.to_vec::<i32>()?.into_iter().map(|end| end as usize).collect();
    let at = |back: usize| -> Result<Tensor> {
        let places = ends.chunks_exact(2).enumerate().map(|(example, end)| {
            (((end[0] - 1) * examples + example) * states + (2 * end[1]).saturating_sub(back)) as i32
        });
        all.index_select(0, &Tensor::from_vec(p.device(), places.collect(), Shape::new(&[examples])?)?)
    };
    let (blank, label) = (at(0)?, at(1)?);
    let some: Vec<f64> = ends.chunks_exact(2).map(|end| f64::from(u8::from(end[1] > 0))).collect();
    let some = from_f64(p.device(), p.dtype(), &some, Shape::new(&[examples])?)?;
    let largest = blank.maximum(&label)?.detach();
    Tensor::map([&blank, &label, &largest, &some], |[blank, label, largest, some]| {
        let sum = (blank - largest.clone()).exp() + some * (label - largest.clone()).exp();
        largest + sum.ln()
    })
}
