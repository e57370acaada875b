//! Optimisers, learning rates over time, and gradient clipping.
//!
//! An [`Optimizer`] is made for the trained parameters that a [`Params`](crate::nn::Params) handle sees, and
//! points each to its next value in [`step`](Optimizer::step). For SGD and Adam one kernel takes one parameter
//! tensor through the whole update: the optimiser's own state is written in place, the parameter to a new
//! buffer, because the graph of the loss usually still holds the old value. The other optimisers are formulas,
//! a kernel for each tensor of state. [`Schedule`] says what the learning rate is at a step, [`Plateau`] lowers
//! it when a loss stops falling; [`clip_grad_norm`] limits the gradients, and
//! [`Gradients::add`](crate::autodiff::Gradients::add) adds those of several batches; [`Ema`] averages the
//! parameters.
//!
//! ```
//! use gradus::nn::{Init, Params};
//! use gradus::optim::{AdamW, Optimizer, Schedule, clip_grad_norm};
//! # fn main() -> gradus::Result<()> {
//! let params = Params::new(&gradus::Device::cpu(), 7);
//! let x = params.parameter("x", [3], Init::Constant(2.0))?;
//! let mut adam = AdamW::new(&params, 1e-2)?.betas(0.9, 0.99)?.weight_decay(0.1)?;
//! let schedule = Schedule::WarmupCosine { lr: 1e-2, start: 0.1, warmup: 10, steps: 100, min: 0.0 };
//! for step in 0..100 {
//!     let loss = x.get().square()?.sum(&[], false)?;
//!     let (gradients, _norm) = clip_grad_norm(loss.backward()?, 1.0)?;
//!     adam.set_lr(schedule.lr(step))?;
//!     adam.step(&gradients)?;
//! }
//! assert!(x.get().to_f64()?[0] < 1.5);
//! # Ok(())
//! # }
//! ```

mod adam;
mod cases;
mod clip;
mod ema;
mod large;
mod loss_scaler;
mod plateau;
mod rules;
mod schedule;
mod sgd;
mod slots;
mod step;

pub use adam::{Adam, AdamW};
pub(crate) use cases::rooms;
pub use clip::{GradNorm, clip_grad_norm, clip_grad_norm_by};
pub use ema::Ema;
pub use large::{Lamb, Muon};
pub use loss_scaler::LossScaler;
pub use plateau::{Goal, Plateau};
pub use rules::{Adadelta, Adagrad, Lion, RmsProp};
pub use schedule::Schedule;
pub use sgd::Sgd;
pub use slots::Group;

use crate::autodiff::Gradients;
use crate::error::Result;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Moves parameters against their gradients.
pub trait Optimizer: Send {
    /// Takes one step. A parameter without a gradient is left alone, and so is its state.
    ///
    /// The gradients are those of the parameters' current values: after a step, a new forward pass makes
    /// new ones. If the device fails midway, some parameters have moved: resume from a checkpoint.
    ///
    /// Errors: [`NoGradient`](crate::Error::NoGradient) if no gradient belongs to any parameter; whatever
    /// the device reports.
    fn step(&mut self, gradients: &Gradients) -> Result<()>;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Changes the learning rate.
    ///
    /// Errors: [`Argument`](crate::Error::Argument) unless it is finite and not negative.
    fn set_lr(&mut self, lr: f64) -> Result<()>;

    /// What the next steps depend on beside parameters and options: what a checkpoint saves.
    fn state(&self) -> State;

    /// Continues from a saved state. Nothing changes unless all of it fits.
    ///
    /// Errors: [`Format`](crate::Error::Format) for the state of an optimiser of another kind or of other
    /// parameters; whatever the device reports.
    fn restore(&mut self, state: &State) -> Result<()>;
}

/// The state of an optimiser, under the paths of its parameters.
#[derive(Clone, Debug)]
pub struct State {
    /// The kind of optimiser: `sgd`, `adam`, `adamw`, `rmsprop`, `adagrad`, `adadelta`, `lion`, `lamb`, `muon`.
    pub kind: String,
    /// The learning rate.
    pub lr: f64,
    /// How many steps each parameter has taken; without those that have taken none.
    pub steps: BTreeMap<String, u64>,
    /// Moving averages, as `<path of the parameter>.<name>`.
    pub tensors: BTreeMap<String, Tensor>,
}
