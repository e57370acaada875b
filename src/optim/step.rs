//! A step of an optimiser: which parameters move in one launch, and the moves.
//!
//! A launch costs some microseconds whatever it does, and most networks have many small parameters. Those whose step
//! is the same formula with the same numbers lie side by side in one buffer from their first step on, as their state
//! does ([`packed`]); a step copies their gradients to one another's side and updates all in one launch.

use super::slots::{Group, Held, Rule, Turn};
use crate::choice;
use crate::device::Kind;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::shape::Shape;
use crate::tensor::{Tensor, packed};
use std::mem::take;

/// Elements of one batch at most: as many bytes as any device binds, whatever the type.
const MOST: usize = 1 << 24;

/// Parameters that move together.
struct Batch {
    turn: Turn,
    /// The numbers of their slots.
    slots: Vec<usize>,
    values: Vec<Tensor>,
    gradients: Vec<Tensor>,
    /// Where they may be side by side.
    gpu: Option<Gpu>,
    room: usize,
}

impl Held {
    /// Steps the parameters of these numbers, each with its gradient.
    pub fn step(&mut self, rule: &impl Rule, found: Vec<(usize, Tensor)>) -> Result<()> {
        self.batches(rule, found).into_iter().try_for_each(|batch| self.move_by(rule, batch))
    }

    fn batches(&self, rule: &impl Rule, found: Vec<(usize, Tensor)>) -> Vec<Batch> {
        let mut batches: Vec<Batch> = vec![];
        for (at, gradient) in found {
            let slot = &self.slots[at];
            let Group { lr: share, weight_decay } = slot.group;
            let turn =
                Turn { t: slot.steps + 1, lr: self.lr * share, decay: weight_decay.unwrap_or(self.decay) };
            let value = slot.parameter.value().detach();
            let room = packed::extent([value.shape()]);
            let gpu = match &value.device().0 {
                Kind::Gpu(gpu) if rule.elementwise(value.shape()) => {
                    (room <= choice::packed(&gpu.capabilities())).then(|| gpu.clone())
                }
                _ => None,
            };
            let types = |batch: &Batch| [batch.values[0].dtype(), batch.gradients[0].dtype()];
            let joins = |batch: &&mut Batch| {
                batch.turn == turn
                    && batch.gpu.is_some()
                    && types(batch) == [value.dtype(), gradient.dtype()]
                    && batch.room + room <= MOST
            };
            match batches.iter_mut().find(joins).filter(|_| gpu.is_some()) {
                Some(batch) => {
                    batch.slots.push(at);
                    batch.values.push(value);
                    batch.gradients.push(gradient);
                    batch.room += room;
                }
                None => batches.push(Batch {
                    turn,
                    slots: vec![at],
                    values: vec![value],
                    gradients: vec![gradient],
                    gpu,
                    room,
                }),
            }
        }
        batches
    }

    fn move_by(&mut self, rule: &impl Rule, batch: Batch) -> Result<()> {
        let Batch { turn, slots, values, gradients, gpu, .. } = batch;
        let layout = Side { shapes: values.iter().map(|value| *value.shape()).collect(), gpu };
        let (value, gradient) = (layout.together(values)?, layout.together(gradients)?);
        let old: Vec<Vec<Tensor>> = slots.iter().map(|&at| take(&mut self.slots[at].state)).collect();
        let together = rule.state(value.shape()).into_iter().enumerate().map(|(k, (_, shape))| {
            if old[0].is_empty() {
                return value.like(shape, 0.0);
            }
            layout.together(old.iter().map(|state| state[k].clone()).collect())
        });
        let mut state = match together.collect::<Result<Vec<Tensor>>>() {
            Ok(state) => state,
            Err(error) => {
                self.put_back(&slots, old);
                return Err(error);
            }
        };
        // What is overwritten may be seen by nobody else.
        let old = Some(old).filter(|_| !rule.in_place());
        let update = |state: &mut Vec<Tensor>| {
            let next = layout.apart(&rule.update(turn, &value, &gradient, state)?)?;
            // State that stayed pending would carry its whole history along.
            state.iter().try_for_each(|tensor| tensor.view().map(drop))?;
            Ok(next)
        };
        let next = update(&mut state);
        let kept = match old.filter(|_| next.is_err()) {
            Some(old) => old,
            None => layout.states(&state)?,
        };
        self.put_back(&slots, kept);
        for (&at, value) in slots.iter().zip(next?) {
            self.slots[at].parameter.set(&value)?;
            self.slots[at].steps += 1;
        }
        Ok(())
    }

    fn put_back(&mut self, slots: &[usize], states: Vec<Vec<Tensor>>) {
        slots.iter().zip(states).for_each(|(&at, state)| self.slots[at].state = state);
    }
}

/// How the tensors of a batch lie: side by side, or alone.
struct Side {
    shapes: Vec<Shape>,
    gpu: Option<Gpu>,
}

impl Side {
    fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref().filter(|_| self.shapes.len() > 1)
    }

    fn together(&self, tensors: Vec<Tensor>) -> Result<Tensor> {
        match self.gpu() {
            Some(gpu) => packed::pack(gpu, &tensors),
            None => Ok(tensors[0].clone()),
        }
    }

    fn apart(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        match self.gpu() {
            Some(_) => packed::unpack(tensor, &self.shapes),
            None => Ok(vec![tensor.clone()]),
        }
    }

    /// The state of each parameter, of that of all.
    fn states(&self, together: &[Tensor]) -> Result<Vec<Vec<Tensor>>> {
        let mut states = vec![vec![]; self.shapes.len()];
        for tensor in together {
            states.iter_mut().zip(self.apart(tensor)?).for_each(|(state, part)| state.push(part));
        }
        Ok(states)
    }
}
