//! What optimisers have in common: their parameters, with the state that goes with each.

use super::State;
use crate::autodiff::Gradients;
use crate::capture::Place;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::gpu::{Gpu, pointwise, tape};
use crate::nn::{Parameter, Params};
use crate::op::{self, GpuView, Meta, Op};
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is particular to the parameters of a group: see `group` of each optimiser.
///
/// ```
/// use gradus::optim::Group;
/// let slower = Group { lr: 0.1, weight_decay: Some(0.0) };
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// The learning rate, relative to the optimiser's, so that a schedule moves both.
    pub lr: f64,
    /// The weight decay; `None` for the optimiser's.
    pub weight_decay: Option<f64>,
}

impl Default for Group {
    /// As the optimiser's other parameters.
    fn default() -> Self {
        Group { lr: 1.0, weight_decay: None }
    }
}

/// What an update knows of the step it takes, for one parameter.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Turn {
    /// The number of the parameter's step, from one on.
    pub t: u64,
    pub lr: f64,
    pub decay: f64,
}

/// Name and shape of a tensor of state.
pub(super) type StateOf = (&'static str, Shape);

/// What tells one optimiser from another.
pub(super) trait Rule: Copy + Send + Sync + 'static {
    /// The state of a parameter of this shape, which starts as zeros.
    fn state(&self, shape: &Shape) -> Vec<StateOf>;

    /// Whether each element of a parameter of this shape moves by itself, and the state is of that shape: then
    /// several parameters may be stepped as one, side by side along one axis.
    fn elementwise(&self, _shape: &Shape) -> bool {
        true
    }

    /// Whether updates overwrite the state, which then nobody else may hold.
    fn in_place(&self) -> bool {
        false
    }

    /// Changes the state of a parameter and returns the parameter's next value.
    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor>;
}

/// The parameters of an optimiser, shared with the captures that take its steps.
pub(super) struct Slots(Arc<Mutex<Held>>);

pub(super) struct Held {
    kind: &'static str,
    pub slots: Vec<Slot>,
    pub lr: f64,
    pub decay: f64,
}

pub(super) struct Slot {
    pub parameter: Parameter,
    pub group: Group,
    pub steps: u64,
    /// Empty until the first step.
    pub state: Vec<Tensor>,
}

impl Slots {
    pub fn new(kind: &'static str, params: &Params, lr: f64) -> Result<Self> {
        let slots: Vec<Slot> = params
            .trainable()
            .into_iter()
            .map(|parameter| Slot { parameter, group: Group::default(), steps: 0, state: vec![] })
            .collect();
        if slots.is_empty() {
            return Err(Error::argument(
                kind,
                "no parameters to train",
                "Build the layers before the optimiser, under the same Params.",
            ));
        }
        let mut made = Held { kind, slots, lr: 0.0, decay: 0.0 };
        made.set_lr(lr)?;
        Ok(Slots(Arc::new(Mutex::new(made))))
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_decay(&mut self, decay: f64) -> Result<()> {
        self.held().set_decay(decay)
    }

    /// Steps each parameter that has a gradient; in a capture, now and at every replay.
    pub fn step<R: Rule>(&self, rule: &R, gradients: &Gradients) -> Result<()> {
        let found = self.held().find(gradients)?;
        if !tape::active() {
            return self.held().step(rule, found);
        }
        let places = found.iter().map(|(at, gradient)| Ok((*at, Place::of(gradient)?)));
        let places = places.collect::<Result<Vec<_>>>()?;
        let (slots, again) = (Slots(self.0.clone()), *rule);
        tape::host(Box::new(move |filled| {
            let found = places.iter().map(|(at, place)| Ok((*at, place.tensor(filled)?)));
            let found = found.collect::<Result<Vec<_>>>()?;
            slots.held().step(&again, found)
        }));
        tape::paused(|| self.held().step(rule, found))
    }
}

impl Held {
    fn set_decay(&mut self, decay: f64) -> Result<()> {
        self.decay = not_negative(self.kind, "weight decay", decay)?;
        Ok(())
    }

    /// Puts the parameters whose path `belongs` into a group.
    pub fn group(&mut self, belongs: impl Fn(&str) -> bool, group: Group) -> Result<()> {
        not_negative(self.kind, "relative learning rate", group.lr)?;
        not_negative(self.kind, "weight decay", group.weight_decay.unwrap_or(0.0))?;
        let mut found = false;
        for slot in self.slots.iter_mut().filter(|slot| belongs(slot.parameter.path())) {
            (slot.group, found) = (group, true);
        }
        if found {
            return Ok(());
        }
        Err(Error::argument(
            self.kind,
            "a group without parameters",
            "Its condition holds for no path: print the Params to see which there are.",
        ))
    }

    pub fn set_lr(&mut self, lr: f64) -> Result<()> {
        self.lr = not_negative(self.kind, "learning rate", lr)?;
        Ok(())
    }

    /// The gradients that belong to a parameter, each with the parameter's number.
    fn find(&self, gradients: &Gradients) -> Result<Vec<(usize, Tensor)>> {
        let found: Vec<(usize, Tensor)> = (self.slots.iter().enumerate())
            .filter_map(|(at, slot)| Some((at, gradients.try_get(&slot.parameter.value())?.detach())))
            .collect();
        if found.is_empty() {
            return Err(Error::no_gradient(
                self.kind,
                format!("none of {} gradients belongs to a parameter of this optimiser", gradients.len()),
                "Take one step for each backward pass, with the gradients of a loss that used the parameters' \
                 current values.",
            ));
        }
        Ok(found)
    }

    pub fn state(&self, rule: &impl Rule) -> State {
        let mut state =
            State { kind: self.kind.into(), lr: self.lr, steps: BTreeMap::new(), tensors: BTreeMap::new() };
        for slot in self.slots.iter().filter(|slot| slot.steps > 0) {
            let path = slot.parameter.path();
            state.steps.insert(path.into(), slot.steps);
            for ((name, _), tensor) in rule.state(&slot.parameter.shape()).iter().zip(&slot.state) {
                state.tensors.insert(format!("{path}.{name}"), tensor.clone());
            }
        }
        state
    }

    pub fn restore(&mut self, rule: &impl Rule, state: &State) -> Result<()> {
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
            let mut tensors = Vec::new();
            for (name, shape) in rule.state(&slot.parameter.shape()) {
                let Some(tensor) = state.tensors.get(&format!("{path}.{name}")) else {
                    return wrong(
                        format!("`{path}.{name}` is missing"),
                        "Continue with an optimiser of the same options.",
                    );
                };
                let (given, meta) = (tensor.meta(), slot.parameter.meta());
                if (given.shape, given.dtype) != (shape, meta.dtype) {
                    return wrong(
                        format!("`{path}.{name}` is {given}, the parameter is {meta}"),
                        "Continue with the model that was saved.",
                    );
                }
                tensors.push(tensor.to_device(slot.parameter.value().device())?);
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

/// An option that is added where zero would divide.
pub(super) fn positive(op: &'static str, what: &str, value: f64) -> Result<f64> {
    // f32 must see it, or 0/0 waits where a gradient is zero.
    if value >= f64::from(f32::MIN_POSITIVE) && value.is_finite() {
        return Ok(value);
    }
    Err(Error::argument(op, format!("{what} {value}"), "It is positive, 1e-8 for instance."))
}

/// What every optimiser is beside its options: a struct of `slots` and `rule`.
macro_rules! optimizers {
    ($($name:ident),*) => {$(
        impl $name {
            /// The strength of the weight decay.
            ///
            /// Errors: [`Error::Argument`](crate::Error::Argument) if it is negative or not finite.
            pub fn weight_decay(mut self, weight_decay: f64) -> Result<Self> {
                self.slots.set_decay(weight_decay)?;
                Ok(self)
            }

            /// Puts the parameters for whose path `belongs` holds into a group with a learning rate or weight
            /// decay of its own: `|path| path.starts_with("head.")`, or `|path| path.ends_with(".bias")`. The
            /// last group that a parameter belongs to counts.
            ///
            /// Errors: [`Error::Argument`](crate::Error::Argument) if no parameter belongs to it, or for values
            /// that are negative or not finite.
            pub fn group(
                self,
                belongs: impl Fn(&str) -> bool,
                group: $crate::optim::Group,
            ) -> Result<Self> {
                self.slots.held().group(belongs, group)?;
                Ok(self)
            }
        }

        impl $crate::optim::Optimizer for $name {
            fn step(&mut self, gradients: &$crate::autodiff::Gradients) -> Result<()> {
                self.slots.step(&self.rule, gradients)
            }
            fn lr(&self) -> f64 {
                self.slots.held().lr
            }
            fn set_lr(&mut self, lr: f64) -> Result<()> {
                self.slots.held().set_lr(lr)
            }
            fn state(&self) -> $crate::optim::State {
                self.slots.held().state(&self.rule)
            }
            fn restore(&mut self, state: &$crate::optim::State) -> Result<()> {
                self.slots.held().restore(&self.rule, state)
            }
        }
    )*};
}
pub(super) use optimizers;

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

/// How many fours of elements there are or, if they do not come by fours, elements; and of how many one is.
pub(super) fn by_fours(shape: &Shape) -> (usize, u32) {
    match shape.count() {
        count if count.is_multiple_of(4) => (count / 4, 4),
        count => (count, 1),
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
