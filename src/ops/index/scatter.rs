//! Writing to places that an integer tensor names, in all its forms.

use super::along::{Along, add_at, choose};
use super::in_range;
use super::winner::{Wins, winner};
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::tensor::Tensor;

/// What becomes of an element and all that is written to its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scatter {
    /// The last stays, in the order of the indices.
    #[default]
    Replace,
    /// Their sum.
    Add,
    /// Their mean, the element that was there included.
    Mean,
    /// Their product.
    Mul,
    /// The largest; of equals the one that was there, then the first.
    Max,
    /// The smallest; of equals the one that was there, then the first.
    Min,
}

/// Whole numbers up to here are exact in every float.
const EXACT: usize = 1 << 24;

impl Tensor {
    /// This tensor with `values` written along one axis to the places that `indices` name:
    /// y[.., indices\[.., j, ..\], ..] ← values[.., j, ..], where `mode` says what becomes of several that
    /// meet, and of what was there.
    ///
    /// self `[.., E, ..]`, indices i32 and values of one shape, along the other axes at most as long → the
    /// shape of self. [`Scatter::Replace`] writes integers too. Terms are added in the order of the indices,
    /// which are sorted first in n·log²n steps: no atomics, the same bits on every run.
    ///
    /// Gradient: to what stayed, of a maximum to the one that is named first; sums and means to all; products
    /// without dividing, so that zeros are no harm. Each can be differentiated again.
    /// Errors: [`Error::Index`] for an index outside 0..E, [`Error::Shape`], [`Error::DType`],
    /// [`Error::Axis`]; [`Error::Argument`] for products of more than 2^24 places along the axis.
    /// Other names: `scatter_reduce`, ONNX `ScatterElements`.
    pub fn scatter(&self, axis: isize, indices: &Tensor, values: &Tensor, mode: Scatter) -> Result<Tensor> {
        let op = "scatter";
        let at = self.shape().axis(op, axis)?;
        if self.dtype() != values.dtype() || (!self.dtype().is_float() && mode != Scatter::Replace) {
            let given = format!("{} into {}, {mode:?}", values.describe(), self.describe());
            return Err(Error::dtype(op, given, "Both have one type, a float unless the last stays."));
        }
        if values.shape() != indices.shape() {
            let given = format!("values {} for indices {}", values.describe(), indices.describe());
            return Err(Error::shape(op, given, "Give one index for each value."));
        }
        let indices = in_range(op, indices, self.shape()[at])?;
        let base = self.cropped(op, at, &indices)?;
        let written = scattered(&base, at, &indices, values, mode)?;
        if written.shape() == self.shape() {
            return Ok(written);
        }
        self.slice_assign(&vec![0; self.rank()], &written)
    }
}

/// [`Tensor::scatter`] of indices in range that are as long as `base` along all other axes.
fn scattered(base: &Tensor, axis: usize, indices: &Tensor, x: &Tensor, mode: Scatter) -> Result<Tensor> {
    let (along, extent) = (Along::elements(axis), base.shape()[axis]);
    match mode {
        Scatter::Replace => winner(base, x, indices, axis, Wins::Last),
        Scatter::Max => winner(base, x, indices, axis, Wins::Largest),
        Scatter::Min => winner(base, x, indices, axis, Wins::Smallest),
        Scatter::Add => base.add(&add_at(x, indices, along, extent)?),
        Scatter::Mean => {
            let count = add_at(&x.detach().full_like(1.0)?, indices, along, extent)?;
            let sum = add_at(x, indices, along, extent)?;
            Tensor::map([base, &sum, &count], |[base, sum, count]| (base + sum) / (count + 1.0))
        }
        Scatter::Mul => base.mul(&products(base, axis, indices, x)?),
    }
}

/// The product of all that is written to each place of `base`; one where nothing is.
///
/// Sorted by their places, factors that meet lie side by side. A running product that begins anew with each
/// place ends there with all of them.
fn products(base: &Tensor, axis: usize, indices: &Tensor, x: &Tensor) -> Result<Tensor> {
    if base.shape()[axis] > EXACT {
        return Err(Error::argument(
            "scatter",
            format!("products along axis {axis} of {}", base.describe()),
            "At most 2^24 places: split the tensor.",
        ));
    }
    let (along, at) = (Along::elements(axis), axis as isize);
    let order = crate::ops::sort::order(indices, axis, false)?;
    let (sorted, factors) = (choose(indices, &order, along)?, choose(x, &order, along)?);
    let places = sorted.to_dtype(x.dtype())?;
    let count = places.shape()[axis];
    let none = x.detach().like(x.shape().with(axis, count.min(1)), -1.0)?;
    let before = Tensor::concat(&[&none, &places.slice(at, 0, count.saturating_sub(1))?], at)?;
    let zero = || Formula::constant(0.0);
    let joins = |[p, q, x]: [Formula; 3]| Formula::select(p.equal(q), x, zero());
    let begins = |[p, q, x]: [Formula; 3]| Formula::select(p.equal(q), zero(), x);
    let running = Tensor::map([&places, &before, &factors], joins)?.linear_scan(
        &Tensor::map([&places, &before, &factors], begins)?,
        at,
        false,
    )?;
    winner(&base.detach().full_like(1.0)?, &running, &sorted, axis, Wins::Last)
}
