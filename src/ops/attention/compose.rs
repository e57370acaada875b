//! Attention in tensor operations, with all weights in memory.

use super::pattern::{Extents, LOWEST, Pattern};
use crate::error::Result;
use crate::formula::Formula;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::from_f64;

/// What the score of a closed key is: so low that its weight is zero beside any other, and not so low that the
/// bound of its exponential would show. A power of two, which every type holds exactly.
const CLOSED_SCORE: f64 = -((1u128 << 100) as f64);

/// softmax(cap·tanh(scale·q·kᵀ/cap) + bias)·v over the open keys, of q, k, v and possibly a bias of rank four.
/// Differentiable any number of times.
pub(super) fn compose(pattern: &Pattern, cap: Option<f64>, inputs: &[Tensor]) -> Result<Tensor> {
    let [q, k, v] = [&inputs[0], &inputs[1], &inputs[2]];
    let extents = Extents::of(q.shape(), k.shape(), v.shape());
    let Extents { batch, heads, shared, queries, keys, depth, width } = extents;
    let groups = k.shape()[1];
    // Heads that share keys on an axis of their own, along which keys and values are repeated.
    let q = q.reshape([batch, groups, shared, queries, depth])?;
    let (k, v) = (k.unsqueeze(2)?, v.unsqueeze(2)?);
    let product = q.matmul(&k.t()?)?.mul_scalar(pattern.scale)?;
    let product = match cap {
        Some(cap) => Tensor::map([&product], |[s]| (s / Formula::scalar(cap)).tanh() * Formula::scalar(cap))?,
        None => product,
    };
    let seen = seen(pattern, &extents, &product)?;
    let (scores, open) = match inputs.get(3) {
        Some(bias) => {
            let dims = if bias.shape()[1] == 1 { [1, 1] } else { [groups, shared] };
            let bias = bias.reshape([bias.shape()[0], dims[0], dims[1], bias.shape()[2], bias.shape()[3]])?;
            let open = Tensor::map([&bias, &seen], |[bias, seen]| {
                Formula::select(Formula::constant(LOWEST).less(bias), seen, 0.0.into())
            })?;
            (product.add(&bias)?, open.detach())
        }
        None => (product, seen),
    };
    let scores = Tensor::map([&open, &scores], |[open, s]| Formula::select(open, s, CLOSED_SCORE.into()))?;
    // Without an open key every score is the same, and the weights are not zero by themselves.
    let weights = scores.softmax(-1)?;
    let weights = match pattern.dropout {
        Some((p, stream)) => {
            let shape = [batch, groups, shared, queries, keys.next_multiple_of(4)];
            let kept =
                Tensor::full(q.device(), q.dtype(), shape, 1.0)?.dropout(p, stream)?.slice(-1, 0, keys)?;
            Tensor::map([&weights, &open, &kept], |[p, open, kept]| p * open * kept)?
        }
        None => weights.mul(&open)?,
    };
    weights.matmul(&v)?.reshape([batch, heads, queries, width])
}

/// Ones where a query sees a key, else zeros.
fn seen(pattern: &Pattern, extents: &Extents, like: &Tensor) -> Result<Tensor> {
    let (queries, keys) = (extents.queries, extents.keys);
    let pairs = (0..queries).flat_map(|i| (0..keys).map(move |j| (i, j)));
    let seen: Vec<f64> = pairs.map(|(i, j)| f64::from(u8::from(pattern.sees(i, j)))).collect();
    from_f64(like.device(), like.dtype(), &seen, Shape::new(&[queries, keys])?)
}
