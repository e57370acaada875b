//! Elements chosen by an integer tensor: `index_select`, `gather`, `embedding`, `pick`, their transposes, and
//! `scatter` in all its forms.
//!
//! The gradient of a choice adds what arrives at the same place. Floating-point atomics would add in
//! whatever order the device happens to run, so the indices are sorted first, equal ones as they come; then
//! each element of the sum collects its own terms, which lie side by side: the same bits on every run.
//!
//! Indices are checked before a kernel sees them. The engine carries the range of an integer tensor where
//! it knows it; where it does not, or the range does not fit, the indices are read back once.

mod along;
mod cases;
mod many;
mod pick;
mod scatter;
mod scatter_cases;
#[cfg(test)]
mod tests;
mod winner;

use crate::capture;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::tape;
use crate::op::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;
pub(super) use along::{Along, add_at, choose};
pub use scatter::Scatter;

/// The cases of this room.
pub(super) fn rooms() -> Vec<crate::verify::Room> {
    cases::rooms().into_iter().chain(scatter_cases::rooms()).collect()
}

fn check_integers(op: &'static str, indices: &Meta) -> Result<()> {
    if indices.dtype == DType::I32 {
        return Ok(());
    }
    Err(Error::dtype(op, format!("indices {indices}"), "Indices are i32: convert with to_dtype."))
}

/// The indices, known to lie in 0..`limit`, outside the graph of derivatives.
///
/// Errors: [`Error::DType`] unless they are i32, [`Error::Index`] naming the first that does not.
pub(in crate::ops) fn in_range(op: &'static str, indices: &Tensor, limit: usize) -> Result<Tensor> {
    let meta = indices.meta();
    check_integers(op, &meta)?;
    let fits = |index: i32| usize::try_from(index).is_ok_and(|i| i < limit);
    if meta.shape.count() == 0 || meta.range.is_some_and(|(low, high)| fits(low) && fits(high)) {
        capture::limited(indices, limit)?;
        return Ok(indices.detach());
    }
    // Where the range is known they are read for the message alone, in a capture too.
    let values = match meta.range {
        Some(_) => tape::paused(|| indices.to_vec::<i32>())?,
        None => indices.to_vec::<i32>()?,
    };
    if let Some((position, value)) = values.iter().enumerate().find(|(_, v)| !fits(**v)) {
        return Err(Error::index(
            op,
            format!("{value}, number {position} of indices {meta}, is outside 0..{limit}"),
            "Check the indices, or enlarge what they index.",
        ));
    }
    let range = values.iter().copied().min().zip(values.iter().copied().max());
    Ok(Tensor::ready(indices.device(), Meta { range, ..meta }, indices.view()?))
}

impl Tensor {
    /// The slices of one axis that `indices` name, in their order: y[.., j, ..] = x[.., indices\[j\], ..].
    ///
    /// x `[.., E, ..]`, indices `[n]` i32 → `[.., n, ..]`. An index may occur any number of times.
    /// Gradient: [`index_add`](Self::index_add), saving the indices. Exact.
    /// Errors: [`Error::Index`] for an index outside 0..E, [`Error::Shape`], [`Error::DType`],
    /// [`Error::Axis`].
    pub fn index_select(&self, axis: isize, indices: &Tensor) -> Result<Tensor> {
        let axis = self.shape().axis("index_select", axis)?;
        let indices = in_range("index_select", indices, self.shape()[axis])?;
        choose(self, &indices, Along::slices(axis))
    }

    /// Slices added at the places that `indices` name along one axis of `extent`, zero elsewhere:
    /// y[.., v, ..] = Σ x[.., j, ..] over the j with indices\[j\] = v. The transpose of
    /// [`index_select`](Self::index_select).
    ///
    /// x `[.., n, ..]` float, indices `[n]` i32 → `[.., extent, ..]`. Terms are added in the order of the
    /// indices: the same bits on every run. The indices are sorted, in n·log²n steps. Gradient:
    /// `index_select`, saving the indices.
    /// Errors: [`Error::Index`], [`Error::Shape`], [`Error::DType`], [`Error::Axis`].
    pub fn index_add(&self, axis: isize, indices: &Tensor, extent: usize) -> Result<Tensor> {
        let axis = self.shape().axis("index_add", axis)?;
        let indices = in_range("index_add", indices, extent)?;
        add_at(self, &indices, Along::slices(axis), extent)
    }

    /// The rows of this table that `indices` name: y[.., d] = table[indices[..], d].
    ///
    /// table `[V, D]` float, indices of any shape, i32 → `[.., D]`. Gradient and errors are those of
    /// [`index_select`](Self::index_select).
    pub fn embedding(&self, indices: &Tensor) -> Result<Tensor> {
        if self.rank() != 2 {
            let given = format!("table {}", self.describe());
            return Err(Error::shape("embedding", given, "A table has one row of numbers for each index."));
        }
        let indices = in_range("embedding", indices, self.shape()[0])?;
        let mut dims = indices.shape().to_vec();
        dims.push(self.shape()[1]);
        let shape = Shape::new(&dims)?;
        let flat = indices.reshape([indices.count()])?;
        choose(self, &flat, Along::slices(0))?.reshape(shape)
    }
}
