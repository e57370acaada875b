//! What layers have in common, and layers one behind the other.

use super::params::Params;
use crate::autodiff;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::sync::Arc;

/// What a pass is for. Batch norm and dropout compute differently in them.
///
/// What is random in a pass is a function of the seed, the layer's path, the step (or sample) given here,
/// and the index: never of how many passes there were before. A repeated pass is the same pass, and a run
/// that was interrupted goes on as if it had not been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To learn, without anything random: statistics of the batch, and running ones updated. A layer that
    /// draws random numbers refuses, as it cannot know the step.
    Train,
    /// To learn, at this step: as [`Train`](Self::Train), and dropout draws the masks of the step. Count each
    /// pass to learn as a step of its own, also where several add to one gradient.
    Step(u64),
    /// To judge or to use: running statistics, nothing changes, nothing is random.
    Eval,
    /// To judge what dropout leaves uncertain (Gal and Ghahramani 2016, arXiv:1506.02142): as
    /// [`Eval`](Self::Eval), but with dropout, whose masks are those of this sample.
    /// [`mc_dropout`](crate::nn::mc_dropout) averages over many.
    Sample(u64),
}

impl Mode {
    /// Whether the pass is one to learn.
    pub fn learns(self) -> bool {
        matches!(self, Mode::Train | Mode::Step(_))
    }
}

/// A function of a tensor, with parameters or without. Layers are modules, and so are functions from
/// `&Tensor` to `Result<Tensor>`.
pub trait Module: Send + Sync {
    /// The output for an input.
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor>;
}

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync> Module for F {
    fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
        self(x)
    }
}

/// Modules one behind the other.
///
/// ```
/// use gradus::nn::{Linear, Mode, Module, Params, Sequential};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 1);
/// let model = Sequential::new()
///     .then(|x| x.flatten(1))
///     .add(Linear::new(&params.at("hidden"), 28 * 28, 32)?)
///     .add(Tensor::relu)
///     .add(Linear::new(&params.at("output"), 32, 10)?);
/// let logits = model.forward(&Tensor::zeros(&Device::cpu(), [5, 28, 28])?, Mode::Eval)?;
/// assert_eq!(**logits.shape(), [5, 10]);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Sequential(Vec<Box<dyn Module>>);

impl Sequential {
    /// Nothing: the identity.
    pub fn new() -> Self {
        Sequential::default()
    }

    /// Puts a module behind what there is.
    #[allow(
        clippy::should_implement_trait,
        reason = "a chain reads as add(…).add(…), nobody writes it with +"
    )]
    pub fn add(mut self, module: impl Module + 'static) -> Self {
        self.0.push(Box::new(module));
        self
    }

    /// [`add`](Self::add) for a closure, whose argument's type it lets the compiler infer.
    pub fn then(self, function: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        self.add(function)
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.0.iter().try_fold(x.clone(), |x, module| module.forward(&x, mode))
    }
}

/// A module with its input added: y = x + scale·f(x).
///
/// With f zero it is the identity, forward and backward, so a deep stack of them starts near the identity however
/// deep it is: He et al. 2016, arXiv:1603.05027. With f at its usual scale the mean square of a stack of L grows
/// like 2^L; scale 1/√L keeps it bounded.
///
/// ```
/// use gradus::nn::{Linear, Mode, Module, Params, Residual, Sequential};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 1);
/// let branch = Sequential::new().add(Linear::new(&params, 8, 8)?).add(Tensor::relu);
/// let x = Tensor::ones(&Device::cpu(), [3, 8])?;
/// let y = Residual::new(branch).scaled(0.0).forward(&x, Mode::Eval)?;
/// assert_eq!(y.to_vec::<f32>()?, [1.0; 24]);
/// # Ok(())
/// # }
/// ```
pub struct Residual {
    inside: Box<dyn Module>,
    scale: f64,
}

impl Residual {
    /// x + f(x).
    pub fn new(inside: impl Module + 'static) -> Self {
        Residual { inside: Box::new(inside), scale: 1.0 }
    }

    /// x + scale·f(x).
    pub fn scaled(self, scale: f64) -> Self {
        Residual { scale, ..self }
    }
}

impl Module for Residual {
    /// Errors: [`Error::Shape`] unless f(x) has the shape of x, or one that broadcasts to it.
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let branch = self.inside.forward(x, mode)?;
        if self.scale == 1.0 { x.add(&branch) } else { x.add(&branch.mul_scalar(self.scale)?) }
    }
}

/// A module that keeps its input alone and computes its inside again for the gradient; see
/// [`autodiff::checkpoint`](crate::autodiff::checkpoint).
///
/// ```
/// use gradus::nn::{Checkpoint, Linear, Mode, Module, Params, Sequential};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 1);
/// let block = params.at("block");
/// let inside = Sequential::new().add(Linear::new(&block.at("a"), 4, 64)?).add(Tensor::tanh);
/// let inside = inside.add(Linear::new(&block.at("b"), 64, 4)?);
/// let model = Checkpoint::new(&block, inside);
/// let loss = model.forward(&Tensor::ones(&Device::cpu(), [2, 4])?, Mode::Train)?.square()?.sum(&[], false)?;
/// assert_eq!(loss.backward()?.len(), 4);
/// # Ok(())
/// # }
/// ```
///
/// While it runs, its parameters read as the values it was given, so two threads do not run one model at a
/// time. A batch norm inside moves its running statistics in the first pass and again with the gradient.
pub struct Checkpoint {
    params: Params,
    inside: Arc<dyn Module>,
}

impl Checkpoint {
    /// Around a module whose trained parameters are those that `params` sees.
    pub fn new(params: &Params, inside: impl Module + 'static) -> Self {
        Checkpoint { params: params.clone(), inside: Arc::new(inside) }
    }
}

impl Module for Checkpoint {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (params, inside) = (self.params.clone(), self.inside.clone());
        let values: Vec<Tensor> = params.trainable().iter().map(|p| p.get()).collect();
        let inputs: Vec<&Tensor> = values.iter().chain([x]).collect();
        let run = move |given: &[Tensor]| match given.split_last() {
            Some((x, values)) => params.with(values, || inside.forward(x, mode)),
            None => Err(Error::argument("checkpoint", "no input", "Give the module's input.")),
        };
        autodiff::checkpoint(run, &inputs)
    }
}
