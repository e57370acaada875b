//! What optimisers have in common: their parameters, with the state that goes with each.

use super::State;
use crate::autodiff::Gradients;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::gpu::{Gpu, pointwise};
use crate::nn::{Parameter, Params};
use crate::op::{self, GpuView, Meta, Op};
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The parameters of an optimiser.
pub(super) struct Slots {
    kind: &'static str,
    /// The names of the tensors of a parameter's state.
    names: &'static [&'static str],
    slots: Vec<Slot>,
    pub lr: f64,
}

struct Slot {
    parameter: Parameter,
    steps: u64,
    /// Empty until the first step.
    state: Vec<Tensor>,
}

impl Slots {
    pub fn new(kind: &'static str, names: &'static [&'static str], params: &Params, lr: f64) -> Result<Self> {
        let slots: Vec<Slot> = params
            .trainable()
            .into_iter()
            .map(|parameter| Slot { parameter, steps: 0, state: vec![] })
            .collect();
        if slots.is_empty() {
            return Err(Error::argument(
                kind,
                "no parameters to train",
                "Build the layers before the optimiser, under the same Params.",
            ));
        }
        let mut made = Slots { kind, names, slots, lr: 0.0 };
        made.set_lr(lr)?;
        Ok(made)
    }

    /// Changes which tensors the state has; before the first step.
    pub fn set_names(&mut self, names: &'static [&'static str]) {
        self.names = names;
        self.slots.iter_mut().for_each(|slot| slot.state.clear());
    }

    pub fn set_lr(&mut self, lr: f64) -> Result<()> {
        self.lr = not_negative(self.kind, "learning rate", lr)?;
        Ok(())
    }

    /// Steps each parameter that has a gradient: `update` gets the number of its step from one on, its
    /// value, its gradient and its state, changes the state and returns the next value.
    pub fn step(
        &mut self,
        gradients: &Gradients,
        update: impl Fn(u64, &Tensor, &Tensor, &mut [Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        let found: Vec<(&mut Slot, Tensor, &Tensor)> = self
            .slots
            .iter_mut()
            .filter_map(|slot| {
                let value = slot.parameter.get();
                let gradient = gradients.try_get(&value)?;
                Some((slot, value.detach(), gradient))
            })
            .collect();
        if found.is_empty() {
            return Err(Error::no_gradient(
                self.kind,
                format!("none of {} gradients belongs to a parameter of this optimiser", gradients.len()),
                "Take one step for each backward pass, with the gradients of a loss that used the parameters' \
                 current values.",
            ));
        }
        for (slot, value, gradient) in found {
            if slot.state.is_empty() {
                slot.state = self.names.iter().map(|_| value.full_like(0.0)).collect::<Result<_>>()?;
            }
            let next = update(slot.steps + 1, &value, gradient, &mut slot.state)?;
            slot.parameter.set(&next)?;
            slot.steps += 1;
        }
        Ok(())
    }

    pub fn state(&self) -> State {
        let mut state =
            State { kind: self.kind.into(), lr: self.lr, steps: BTreeMap::new(), tensors: BTreeMap::new() };
        for slot in self.slots.iter().filter(|slot| slot.steps > 0) {
            let path = slot.parameter.path();
            state.steps.insert(path.into(), slot.steps);
            for (name, tensor) in self.names.iter().zip(&slot.state) {
                state.tensors.insert(format!("{path}.{name}"), tensor.clone());
            }
        }
        state
    }

    pub fn restore(&mut self, state: &State) -> Result<()> {
        let wrong = |given: String, remedy: &str| Err(Error::format(self.kind, given, remedy));
        if state.kind != self.kind {
            return wrong(
                format!("the state is that of `{}`, the optimiser is `{}`", state.kind, self.kind),
                "Continue with the optimiser that was saved.",
            );
        }
        let lr = not_negative(self.kind, "learning rate", state.lr)?;
        let mut used = 0;
        let mut restored = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let path = slot.parameter.path();
            let Some(&steps) = state.steps.get(path) else {
                restored.push((0, vec![]));
                continue;
            };
            let mut tensors = Vec::with_capacity(self.names.len());
            for name in self.names {
                let Some(tensor) = state.tensors.get(&format!("{path}.{name}")) else {
                    return wrong(
                        format!("`{path}.{name}` is missing"),
                        "Continue with an optimiser of the same options.",
                    );
                };
                let (given, meta) = (tensor.meta(), slot.parameter.meta());
                if (given.shape, given.dtype) != (meta.shape, meta.dtype) {
                    return wrong(
                        format!("`{path}.{name}` is {given}, the parameter is {meta}"),
                        "Continue with the model that was saved.",
                    );
                }
                tensors.push(tensor.to_device(slot.parameter.get().device())?);
            }
            used += tensors.len();
            restored.push((steps, tensors));
        }
        let taken = restored.iter().filter(|(steps, _)| *steps > 0).count();
        if used != state.tensors.len() || taken != state.steps.len() {
            return wrong(
                format!(
                    "{} tensors for {} parameters in the state, of which {used} for {taken} belong here",
                    state.tensors.len(),
                    state.steps.len()
                ),
                "Continue with an optimiser of the same parameters and options.",
            );
        }
        self.lr = lr;
        for (slot, (steps, tensors)) in self.slots.iter_mut().zip(restored) {
            (slot.steps, slot.state) = (steps, tensors);
        }
        Ok(())
    }
}

/// An option that has meaning from zero on.
pub(super) fn not_negative(op: &'static str, what: &str, value: f64) -> Result<f64> {
    if value >= 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(Error::argument(op, format!("{what} {value}"), "It is finite and not negative."))
}

/// An option that is a share: momentum, or the decay of an average.
pub(super) fn share(op: &'static str, what: &str, value: f64) -> Result<f64> {
    if (0.0..1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::argument(op, format!("{what} {value}"), "It lies in [0, 1)."))
}

/// Runs an update (p, g, state..) → (p, state..), the state in place where nobody else holds it.
pub(super) fn apply<O: Op>(op: O, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
    let over: Vec<_> = [None].into_iter().chain(state.iter_mut().map(Tensor::sole_buffer)).collect();
    let inputs: Vec<&Tensor> = [p, g].into_iter().chain(&*state).collect();
    let mut outputs = op::update(&op, &inputs, &over)?.into_iter();
    let next = outputs.next();
    state.iter_mut().zip(outputs).for_each(|(old, new)| *old = new);
    next.ok_or_else(|| Error::argument(op.name(), "no output", "The rule names one."))
}

/// The rule of updates: (p, g, state..), all of one shape and type, to (p, state..).
pub(super) fn rule(op: &'static str, inputs: &[Meta]) -> Result<Vec<Meta>> {
    let p = inputs[0];
    if !p.dtype.is_float() {
        return Err(Error::dtype(op, p.to_string(), "Only floating-point parameters are trained."));
    }
    match inputs.iter().find(|m| m.shape != p.shape) {
        Some(other) => {
            Err(Error::shape(op, format!("parameter {p}, gradient or state {other}"), "They have one shape."))
        }
        None => Ok(vec![Meta::new(p.shape, p.dtype); inputs.len() - 1]),
    }
}

/// Lets an output start as an input, for a kernel that updates it. Nothing to do where it is that input.
pub(super) fn start_from(gpu: &Gpu, output: &GpuView, input: &GpuView) -> Result<()> {
    if Arc::ptr_eq(&output.buffer, &input.buffer) {
        return Ok(());
    }
    let f32 = crate::dtype::DType::F32;
    let (from, to) = ((&*input.buffer, input.layout, f32), (&*output.buffer, output.layout, f32));
    pointwise(gpu, &Formula::input(0), &[from], to)
}

/// Updates are steps of a computation, not functions to differentiate.
pub(super) fn no_gradient(op: &'static str) -> Error {
    Error::no_gradient(
        op,
        "an optimiser's step",
        "To differentiate through training, write the step in tensor operations.",
    )
}
