//! The derivatives of a fused operation through what it is composed of.

use super::graph::At;
use super::transform::push_forward;
use crate::error::Result;
use crate::tensor::Tensor;

/// The values of an operation's first `count` inputs, which it keeps.
fn inputs(at: &At, count: usize) -> Result<Vec<Tensor>> {
    (0..count).map(|index| at.input(index)).collect()
}

/// The cotangents of the inputs, where the outputs are `compose` of the first `count` of them. The others
/// follow from these, or have no derivative.
pub(crate) fn composed_vjp(
    at: &At,
    count: usize,
    cotangents: &[Option<Tensor>],
    compose: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Option<Tensor>>> {
    let taps: Vec<Tensor> = inputs(at, count)?.iter().map(Tensor::tap).collect();
    // The cotangents of several outputs at once are the gradient of ⟨outputs, cotangents⟩.
    let mut product: Option<Tensor> = None;
    for (output, cotangent) in compose(&taps)?.iter().zip(cotangents) {
        let Some(cotangent) = cotangent else { continue };
        let term = output.mul(cotangent)?.sum(&[], false)?;
        product = Some(product.map_or(Ok(term.clone()), |sum| sum.add(&term))?);
    }
    let Some(product) = product else { return Ok(vec![None; at.inputs()]) };
    let mut found: Vec<Option<Tensor>> =
        product.grad(&taps.iter().collect::<Vec<_>>())?.into_iter().map(Some).collect();
    found.resize(at.inputs(), None);
    Ok(found)
}

/// The tangents of the outputs, which are `compose` of the first `count` inputs.
pub(crate) fn composed_jvp(
    at: &At,
    count: usize,
    tangents: &[Option<Tensor>],
    compose: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Option<Tensor>>> {
    let inputs = inputs(at, count)?;
    let directions: Vec<Tensor> = inputs
        .iter()
        .zip(tangents)
        .map(|(input, tangent)| tangent.clone().map_or_else(|| input.full_like(0.0), Ok))
        .collect::<Result<_>>()?;
    push_forward(compose, &inputs.iter().collect::<Vec<_>>(), &directions.iter().collect::<Vec<_>>())
}
