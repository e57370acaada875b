//! The moving average of the parameters.

use super::slots;
use crate::error::Result;
use crate::formula::Formula;
use crate::nn::{Init, Parameter, Params};
use crate::tensor::Tensor;

/// An exponential moving average of trained parameters, often better than any of them to judge with.
///
/// It starts as the parameters are, and each update keeps the share d: a ← d·a + (1 − d)·p. The averages are
/// buffers under `ema.`, so a checkpoint saves them with the model and a resumed run goes on with the same
/// bits. Source: Polyak and Juditsky 1992; with this weighting as in Tarvainen and Valpola 2017,
/// arXiv:1703.01780.
///
/// ```
/// use gradus::nn::{Init, Params};
/// use gradus::optim::{Ema, Optimizer, Sgd};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&gradus::Device::cpu(), 7);
/// let x = params.parameter("x", [1], Init::Constant(1.0))?;
/// let ema = Ema::new(&params, 0.9)?;
/// Sgd::new(&params, 0.5)?.step(&x.get().sum(&[], false)?.backward()?)?;
/// ema.update()?;
/// assert_eq!(x.get().to_vec::<f32>()?, [0.5]);
/// assert_eq!(ema.with(|| x.get().to_vec::<f32>())?, [0.95]);
/// # Ok(())
/// # }
/// ```
pub struct Ema {
    params: Params,
    decay: f64,
    /// Each trained parameter with its average.
    averages: Vec<(Parameter, Parameter)>,
}

impl Ema {
    /// Of the trained parameters that `params` sees now.
    ///
    /// Errors: [`Error::Argument`](crate::Error::Argument) unless 0 ≤ decay < 1, or if there is an average of
    /// them already.
    pub fn new(params: &Params, decay: f64) -> Result<Self> {
        let decay = slots::share("ema", "decay", decay)?;
        let own = params.at("ema");
        let averages = params
            .trainable()
            .into_iter()
            .map(|parameter| {
                let average =
                    own.buffer(params.relative(parameter.path()), parameter.shape(), Init::Zeros)?;
                average.set(&parameter.get().detach())?;
                Ok((parameter, average))
            })
            .collect::<Result<_>>()?;
        Ok(Ema { params: params.clone(), decay, averages })
    }

    /// Moves the averages towards the parameters as they are now: once after each step of the optimiser.
    ///
    /// Errors: whatever the device reports.
    pub fn update(&self) -> Result<()> {
        self.averages.iter().try_for_each(|(parameter, average)| {
            let next = Tensor::map([&average.get(), &parameter.get().detach()], |[average, p]| {
                Formula::scalar(self.decay) * average + Formula::scalar(1.0 - self.decay) * p
            })?;
            average.set(&next)
        })
    }

    /// Runs `body` with the averages in the parameters' places; what they were comes back afterwards.
    ///
    /// Errors: those of `body`; [`Error::Shape`](crate::Error::Shape) if parameters were defined since.
    pub fn with<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let averages: Vec<Tensor> = self.averages.iter().map(|(_, average)| average.get()).collect();
        self.params.with(&averages, body)
    }
}
