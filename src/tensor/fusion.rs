//! Which pointwise work goes into one kernel: a pending value with the pending inputs that nobody else holds, and
//! into what other kernel it may go: the one before it, which has not been launched, or the one behind it.

use super::pending::{Leaf, MAX_INPUTS, Pending, evaluate};
use super::{State, Storage, Tensor, Value, View};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::formula::Formula;
use crate::gpu::{Buffer, Fused};
use crate::shape::{Layout, Shape};
use std::sync::Arc;

/// Distinct nodes of one kernel's formula, beyond which inputs are computed first.
const MAX_NODES: usize = 160;

/// The inputs of a fused formula.
#[derive(Default)]
struct Inputs {
    /// Nothing where the host's output is.
    leaves: Vec<Option<Leaf>>,
    /// The value each came from, so that one read twice is bound once.
    known: Vec<*const Value>,
    /// A value whose kernel has not been launched, and which input it is.
    host: Option<(usize, Arc<Value>)>,
    /// Whether there may be one.
    hosts: bool,
    /// Whether a few cheap steps may be computed again where somebody else asks for their result: in a chain of calls
    /// every step is held until the statement ends.
    again: bool,
}

/// A pending value of that shape, computed with the pending inputs that nobody else can ask for; in the kernel before
/// it, where there is one that takes it.
pub(super) fn run(pending: &Pending, device: &Device, shape: Shape, dtype: DType) -> Result<View> {
    let mut inputs = Inputs { hosts: true, ..Inputs::default() };
    let formula = inputs.merge(pending, &shape, MAX_INPUTS)?;
    if let Some((at, host)) = inputs.host.take() {
        let fused = inputs.buffers().and_then(|leaves| {
            // What the kernel stores comes first.
            let number = |input| if input == at { 0 } else { input + usize::from(input < at) };
            let order: Vec<Formula> = (0..inputs.leaves.len()).map(|k| Formula::input(number(k))).collect();
            Fused::new(formula.substitute(&order), leaves, &shape, true)
        });
        if let (Some(fused), State::Later(launch)) = (fused, &*host.state()) {
            return launch(Some(fused));
        }
        inputs.leaves[at] = Some(Leaf { view: host.force()?, dtype });
    }
    let leaves: Vec<Leaf> = inputs.leaves.into_iter().flatten().collect();
    evaluate(device, &formula, &leaves, shape, dtype)
}

impl Tensor {
    /// Pending work that nobody else holds, as an input for a kernel that evaluates it where it reads. It stays
    /// pending: whoever asks for it later has it computed then.
    pub(crate) fn absorbed(&self) -> Result<Option<Arc<Buffer>>> {
        let state = self.value.state();
        let State::Pending(pending) = &*state else { return Ok(None) };
        if Arc::strong_count(&self.value) > 1 {
            return Ok(None);
        }
        let shape = self.shape();
        // With steps that somebody else holds computed again, and if that does not fit, with their results.
        for again in [true, false] {
            let mut inputs = Inputs { again, ..Inputs::default() };
            let formula = inputs.merge(pending, shape, MAX_INPUTS)?;
            let fused = inputs.buffers().and_then(|leaves| Fused::new(formula, leaves, shape, false));
            if fused.is_some() {
                return Ok(fused.map(Fused::input));
            }
        }
        Ok(None)
    }
}

impl Inputs {
    /// Merges into at most `room` leaves in all: what follows keeps at least one for each of its inputs.
    fn merge(&mut self, pending: &Pending, shape: &Shape, room: usize) -> Result<Formula> {
        let mut inputs = Vec::with_capacity(pending.inputs.len());
        for (k, input) in pending.inputs.iter().enumerate() {
            let after = pending.inputs.len() - k - 1;
            inputs.push(self.input(input, shape, room - after)?);
        }
        Ok(pending.formula.substitute(&inputs))
    }

    fn input(&mut self, value: &Arc<Value>, shape: &Shape, room: usize) -> Result<Formula> {
        // Nobody can take a new reference while the only one is the pending value's that is being forced.
        let alone = Arc::strong_count(value) == 1;
        let state = value.state();
        match &*state {
            // A number in another type, or one for all, is no work that a larger shape would repeat.
            State::Pending(inner) if inner.formula.is_leaf() => return self.merge(inner, shape, room),
            _ => drop(state),
        }
        if value.meta.shape == *shape {
            match &*value.state() {
                State::Pending(inner)
                    if alone || self.again && inner.formula.is_cheap() && inner.depth <= 4 =>
                {
                    let fits = self.leaves.len() + inner.inputs.len() <= room;
                    if fits && inner.formula.nodes().len() * (inner.depth + 1) <= MAX_NODES {
                        return self.merge(inner, shape, room);
                    }
                }
                State::Later(_) if alone && self.hosts && self.host.is_none() => {
                    self.host = Some((self.leaves.len(), value.clone()));
                    return Ok(self.add(value, None));
                }
                _ => {}
            }
        }
        let address = Arc::as_ptr(value);
        if let Some(position) = self.known.iter().position(|&k| std::ptr::eq(k, address)) {
            return Ok(Formula::input(position));
        }
        let View { storage, layout } = value.force()?;
        let view = View { storage, layout: layout.broadcast_to(*shape) };
        Ok(self.add(value, Some(Leaf { view, dtype: value.meta.dtype })))
    }

    fn add(&mut self, value: &Arc<Value>, leaf: Option<Leaf>) -> Formula {
        self.leaves.push(leaf);
        self.known.push(Arc::as_ptr(value));
        Formula::input(self.leaves.len() - 1)
    }

    /// The leaves, if all are floats on a GPU.
    fn buffers(&self) -> Option<Vec<(Arc<Buffer>, Layout)>> {
        let buffer = |leaf: &Leaf| match &leaf.view.storage {
            Storage::Gpu(buffer) if leaf.dtype.is_float() => Some((buffer.clone(), leaf.view.layout)),
            _ => None,
        };
        self.leaves.iter().flatten().map(buffer).collect()
    }
}
