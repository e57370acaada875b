//! Gradient clipping.

use crate::autodiff::Gradients;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Scales all gradients by one factor so that their joint 2-norm does not exceed `max_norm`, and returns
/// them with the norm they had.
///
/// The factor is min(1, max_norm/(norm + 1e-6)), as in PyTorch. Nothing is read back: the norm is a tensor,
/// and reading it is up to the caller. A gradient that is not finite makes the norm so too.
///
/// Source: Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, algorithm 1.
/// Errors: [`Error::Argument`] for no gradients, or a `max_norm` that is negative or not finite.
pub fn clip_grad_norm(gradients: Gradients, max_norm: f64) -> Result<(Gradients, Tensor)> {
    let op = "clip_grad_norm";
    if !(max_norm >= 0.0 && max_norm.is_finite()) {
        return Err(Error::argument(op, format!("max_norm {max_norm}"), "It is finite and not negative."));
    }
    let mut squares: Option<Tensor> = None;
    for gradient in gradients.in_order() {
        let square = gradient.square()?.sum(&[], false)?;
        squares = Some(squares.map_or(Ok(square.clone()), |sum| sum.add(&square))?);
    }
    let Some(squares) = squares else {
        return Err(Error::argument(op, "no gradients", "Clip what `backward` returned."));
    };
    let norm = squares.sqrt()?;
    let factor = Tensor::map([&norm], |[norm]| (max_norm / (norm + 1e-6)).min(1.0))?;
    // Computed once, not again in each gradient's kernel.
    factor.view()?;
    Ok((gradients.map_all(|gradient| gradient.mul(&factor))?, norm))
}
