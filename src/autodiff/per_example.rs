//! Gradients of one example at a time.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The gradient of `f` with respect to each of `params` for each example of a batch apart, of shape
/// `[examples, parameter.shape..]`.
///
/// `f` gives one number for a batch; it is called once for each example, with `batch` cut to that example
/// (along the first axis, which stays, of extent one) and the parameters as variables. So it works for
/// every model whose examples do not meet, whatever its layers; the price is one pass forward and back for
/// each example. For models of [`Linear`](crate::nn::Linear) and [`Conv2d`](crate::nn::Conv2d) layers,
/// [`Params::per_example_grad`](crate::nn::Params::per_example_grad) makes it one pass for all. The gradients
/// are part of the graph, if `params` are.
///
/// Errors: [`Error::Shape`] if the tensors of the batch differ in their first axis or `f` gives more than
/// one element; [`Error::Argument`] for an empty batch; those of `f` and of the walks back.
pub fn per_example_grad(
    f: impl Fn(&[Tensor], &[Tensor]) -> Result<Tensor>,
    params: &[&Tensor],
    batch: &[&Tensor],
) -> Result<Vec<Tensor>> {
    let op = "per_example_grad";
    let extent = |t: &Tensor| t.shape().first().copied();
    let examples = match batch.first().and_then(|first| extent(first)) {
        Some(examples) if examples > 0 => examples,
        _ => return Err(Error::argument(op, "a batch of no examples", "Give at least one.")),
    };
    if let Some(other) = batch.iter().find(|t| extent(t) != Some(examples)) {
        let given = format!("{} among tensors of {examples} examples", other.describe());
        return Err(Error::shape(op, given, "The first axis counts the examples."));
    }
    let taps: Vec<Tensor> = params.iter().map(|p| p.tap()).collect();
    let targets: Vec<&Tensor> = taps.iter().collect();
    let mut found: Vec<Vec<Tensor>> = vec![Vec::with_capacity(examples); params.len()];
    for example in 0..examples {
        let own: Result<Vec<Tensor>> = batch.iter().map(|t| t.slice(0, example, example + 1)).collect();
        for (all, gradient) in found.iter_mut().zip(f(&taps, &own?)?.grad(&targets)?) {
            all.push(gradient);
        }
    }
    found.iter().map(|all| Tensor::stack(&all.iter().collect::<Vec<_>>(), 0)).collect()
}
