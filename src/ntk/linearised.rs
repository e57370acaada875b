//! A model's tangent.

use crate::autodiff;
use crate::error::Result;
use crate::nn::{Mode, Module, Params};
use crate::tensor::Tensor;
use std::sync::Arc;

/// The tangent of a model at the parameters it had when this was made:
/// f_lin(x; θ) = f(x; θ₀) + ∂f(x; θ₀)/∂θ · (θ − θ₀).
///
/// It is linear in the parameters, and a module like any other: an optimiser for `params` trains it, and for the
/// mean square error it follows the linear dynamics of the kernel exactly. A pass costs the model's pass and one walk
/// forward through its graph. While it runs, the parameters read as θ₀, so two threads do not run one model at a
/// time. Source: Lee et al. 2019, arXiv:1902.06720.
///
/// ```
/// use gradus::nn::{Linear, Mode, Module, Params, Sequential};
/// use gradus::ntk::Linearised;
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 7);
/// let model = Sequential::new().add(Linear::new(&params, 2, 3)?).add(Tensor::tanh);
/// let tangent = Linearised::new(&params, model);
/// let y = tangent.forward(&Tensor::ones(&Device::cpu(), [4, 2])?, Mode::Eval)?;
/// assert_eq!(y.square()?.sum(&[], false)?.backward()?.len(), 2); // gradients of weight and bias
/// # Ok(())
/// # }
/// ```
pub struct Linearised {
    params: Params,
    start: Vec<Tensor>,
    model: Arc<dyn Module>,
}

impl Linearised {
    /// The tangent at the present values of the trained parameters that `params` sees.
    pub fn new(params: &Params, model: impl Module + 'static) -> Self {
        let start = params.trainable().iter().map(|p| p.get().detach()).collect();
        Linearised { params: params.clone(), start, model: Arc::new(model) }
    }

    /// θ − θ₀, in the order of `params.trainable()`.
    pub fn moved(&self) -> Result<Vec<Tensor>> {
        self.params.trainable().iter().zip(&self.start).map(|(p, start)| p.get().sub(start)).collect()
    }
}

impl Module for Linearised {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let moved = self.moved()?;
        let start: Vec<Tensor> = self.start.iter().map(Tensor::tap).collect();
        let value = self.params.with(&start, || self.model.forward(x, mode))?;
        let moved: Vec<&Tensor> = moved.iter().collect();
        let Some(tangent) = autodiff::forward_linear(&value, &start, &moved)? else {
            return Ok(value.detach());
        };
        // The value's own dependence on the parameters is the tangent.
        value.detach().add(&tangent)
    }
}
