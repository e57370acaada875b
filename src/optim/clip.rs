//! Gradient clipping.

use crate::autodiff::Gradients;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How what is known of some gradients and of one more becomes what is known of all.
type Join = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// What the gradients of all parameters are measured by together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GradNorm {
    /// The root of the sum of all squares.
    #[default]
    Two,
    /// The largest magnitude.
    Infinity,
}

/// Scales all gradients by one factor so that their joint 2-norm does not exceed `max_norm`, and returns
/// them with the norm they had.
///
/// The factor is min(1, max_norm/(norm + 1e-6)), as in PyTorch. Nothing is read back: the norm is a tensor,
/// and reading it is up to the caller. A gradient that is not finite makes the norm so too.
///
/// Source: Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, algorithm 1.
/// Errors: [`Error::Argument`] for no gradients, or a `max_norm` that is negative or not finite.
pub fn clip_grad_norm(gradients: Gradients, max_norm: f64) -> Result<(Gradients, Tensor)> {
    clip_grad_norm_by(gradients, max_norm, GradNorm::Two)
}

/// [`clip_grad_norm`] by another norm.
pub fn clip_grad_norm_by(gradients: Gradients, max_norm: f64, kind: GradNorm) -> Result<(Gradients, Tensor)> {
    let op = "clip_grad_norm";
    if !(max_norm >= 0.0 && max_norm.is_finite()) {
        return Err(Error::argument(op, format!("max_norm {max_norm}"), "It is finite and not negative."));
    }
    let mut norm: Option<Tensor> = None;
    // The largest of no elements is no number.
    for gradient in gradients.in_order().filter(|gradient| kind == GradNorm::Two || gradient.count() > 0) {
        let (own, join) = match kind {
            GradNorm::Two => (gradient.square()?.sum(&[], false)?, Tensor::add as Join),
            GradNorm::Infinity => (gradient.abs()?.max(&[], false)?, Tensor::maximum as Join),
        };
        norm = Some(norm.map_or(Ok(own.clone()), |norm| join(&norm, &own))?);
    }
    let Some(norm) = norm else {
        return Err(Error::argument(op, "no gradients", "Clip what `backward` returned."));
    };
    let norm = if kind == GradNorm::Two { norm.sqrt()? } else { norm };
    let factor = Tensor::map([&norm], |[norm]| (max_norm / (norm + 1e-6)).min(1.0))?;
    // Computed once, not again in each gradient's kernel.
    factor.view()?;
    Ok((gradients.map_all(|gradient| gradient.mul(&factor))?, norm))
}
