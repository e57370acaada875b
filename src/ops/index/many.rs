//! Indices of several axes at once: `gather_nd` and `scatter_nd`.
//!
//! The indices are read back, checked, and folded into positions along one axis: everything else is choosing
//! and scattering along it.

use super::along::{Along, choose};
use super::{Scatter, check_integers};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A tensor `[P, rest]` whose first axis merges those that indices count along, and positions there.
struct Folded {
    /// The merged extents, and those that stay together.
    positions: usize,
    rest: Vec<usize>,
    /// One for each index tuple, i32.
    indices: Tensor,
}

/// Folds index tuples `[batch.., N.., k]` into positions in the first batch + k axes of `x`.
fn fold(op: &'static str, x: &Tensor, indices: &Tensor, batch: usize) -> Result<Folded> {
    check_integers(op, &indices.meta())?;
    let given = || format!("indices {} of {}, {batch} of the axes batches", indices.describe(), x.describe());
    let Some((&width, tuples)) = indices.shape().split_last() else {
        return Err(Error::shape(op, given(), "The last axis of the indices holds one for each axis."));
    };
    let counted = batch + width;
    if tuples.len() < batch || counted > x.rank() || x.shape()[..batch] != tuples[..batch] {
        return Err(Error::shape(
            op,
            given(),
            "The batch axes come first in both, and each tuple has at most one index for each axis left.",
        ));
    }
    let extents = &x.shape()[batch..counted];
    let each: usize = tuples[batch..].iter().product();
    let size: usize = extents.iter().product();
    let values = indices.to_vec::<i32>()?;
    let count: usize = tuples.iter().product();
    let mut positions = Vec::with_capacity(count);
    for number in 0..count {
        let mut position = number / each.max(1);
        for (&index, &extent) in values[number * width..][..width].iter().zip(extents) {
            let Some(index) = usize::try_from(index).ok().filter(|&i| i < extent) else {
                let given = format!("{index}, in tuple {number} of {}, is outside 0..{extent}", given());
                return Err(Error::index(op, given, "Check the indices, or enlarge what they index."));
            };
            position = position * extent + index;
        }
        positions.push(position as i32);
    }
    let batches: usize = x.shape()[..batch].iter().product();
    Ok(Folded {
        positions: batches * size,
        rest: x.shape()[counted..].to_vec(),
        indices: Tensor::from_slice(x.device(), &positions, [positions.len()])?,
    })
}

impl Tensor {
    /// What index tuples name: y[b.., n.., ..] = x[b.., indices\[b.., n..\], ..], where each tuple along the
    /// last axis of `indices` holds one index for each of the axes behind the first `batch_axes`.
    ///
    /// x `[B.., E₁ … E_k, R..]`, indices `[B.., N.., k]` i32 → `[B.., N.., R..]`. The indices are read back and
    /// checked. Gradient: added where they came from. Exact.
    /// Errors: [`Error::Index`], [`Error::Shape`], [`Error::DType`]. Source: ONNX `GatherND`.
    pub fn gather_nd(&self, indices: &Tensor, batch_axes: usize) -> Result<Tensor> {
        let folded = fold("gather_nd", self, indices, batch_axes)?;
        let tuples = &indices.shape()[..indices.rank() - 1];
        let shape = Shape::new(&[tuples, &folded.rest].concat())?;
        let size: usize = folded.rest.iter().product();
        let flat = self.reshape([folded.positions, size])?;
        choose(&flat, &folded.indices, Along::slices(0))?.reshape(shape)
    }

    /// This tensor with slices written to the places that index tuples name: y[indices\[n..\], ..] ←
    /// values[n.., ..], where `mode` says what becomes of several that meet, and of what was there.
    ///
    /// self `[E₁ … E_k, R..]`, indices `[N.., k]` i32, values `[N.., R..]` → the shape of self. The indices
    /// are read back and checked. Gradients are those of [`scatter`](Self::scatter).
    /// Errors: [`Error::Index`], [`Error::Shape`], [`Error::DType`]. Source: ONNX `ScatterND`.
    pub fn scatter_nd(&self, indices: &Tensor, values: &Tensor, mode: Scatter) -> Result<Tensor> {
        let op = "scatter_nd";
        let folded = fold(op, self, indices, 0)?;
        let tuples = &indices.shape()[..indices.rank() - 1];
        if *[tuples, &folded.rest].concat() != **values.shape() {
            return Err(Error::shape(
                op,
                format!("values {} for indices {}", values.describe(), indices.describe()),
                "Give one slice of the tensor for each tuple of indices.",
            ));
        }
        let size: usize = folded.rest.iter().product();
        let count = folded.indices.count();
        let places = folded.indices.reshape([count, 1])?.broadcast_to([count, size])?;
        let flat = self.reshape([folded.positions, size])?;
        flat.scatter(0, &places, &values.reshape([count, size])?, mode)?.reshape(self.shape())
    }
}
