//! Slices chosen by an integer tensor: `index_select`, `embedding`, `pick`, and their transposes.
//!
//! The gradient of a choice adds what arrives at the same place. Floating-point atomics would add in
//! whatever order the device happens to run, so each element of the sum collects its own terms instead, in
//! the order of the indices: the same bits on every run.
//!
//! Indices are checked before a kernel sees them. The engine carries the range of an integer tensor where
//! it knows it; where it does not, or the range does not fit, the indices are read back once.

mod cases;
mod pick;
#[cfg(test)]
mod tests;

use crate::autodiff::At;
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;
pub(super) use cases::rooms;

static SELECT: Shader = shader!("index/select.wgsl");
static CHAIN: Shader = shader!("index/chain.wgsl");
static ADD: Shader = shader!("index/add.wgsl");

/// y[o,j,i] = x[o, indices[j], i].
struct Select {
    axis: usize,
}

/// y[o,v,i] = Σ x[o,j,i] over the j with indices[j] = v, for v below `extent`.
struct Add {
    axis: usize,
    extent: usize,
}

/// The extents before and behind an axis, multiplied.
fn around(shape: &Shape, axis: usize) -> (usize, usize) {
    (shape[..axis].iter().product(), shape[axis + 1..].iter().product())
}

/// The rule common to both: floats, and one axis of integers.
fn check(op: &'static str, x: &Meta, indices: &Meta) -> Result<()> {
    if !x.dtype.is_float() {
        return Err(Error::dtype(op, x.to_string(), "Convert to a float with to_dtype."));
    }
    check_integers(op, indices)?;
    if indices.shape.rank() != 1 {
        return Err(Error::shape(op, format!("indices {indices}"), "Give one axis of indices: use flatten."));
    }
    Ok(())
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
pub(super) fn in_range(op: &'static str, indices: &Tensor, limit: usize) -> Result<Tensor> {
    let meta = indices.meta();
    check_integers(op, &meta)?;
    let fits = |index: i32| usize::try_from(index).is_ok_and(|i| i < limit);
    if meta.shape.count() == 0 || meta.range.is_some_and(|(low, high)| fits(low) && fits(high)) {
        return Ok(indices.detach());
    }
    let values = indices.to_vec::<i32>()?;
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

impl Op for Select {
    fn name(&self) -> &'static str {
        "index_select"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (x, indices) = (inputs[0], inputs[1]);
        check("index_select", &x, &indices)?;
        let shape = Shape::new(&x.shape.with(self.axis, indices.shape[0]))?;
        Ok(vec![Meta::new(shape, x.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, indices, shape) = (inputs.real(0), inputs.int(1), outputs[0].shape);
        let (extent, (_, inner)) = (x.shape[self.axis], around(&x.shape, self.axis));
        vec![Data::Real(Array::from_rows(shape, inner, |row| {
            let (outer, j) = (row / indices.data.len(), row % indices.data.len());
            x.row(outer * extent + indices.data[j] as usize, inner).to_vec()
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (x, y) = (inputs[0].shape(), outputs[0].shape());
        let (_, inner) = around(x, self.axis);
        let params = [y.count(), x[self.axis], y[self.axis], inner].map(|extent| extent as u32);
        gpu.dispatch(Dispatch {
            op: "index_select",
            source: Source::File(&SELECT, &[]),
            params: bytemuck::cast_slice(&params),
            buffers: &[&inputs[0].buffer, &inputs[1].buffer, &outputs[0].buffer],
            groups: gpu.fold(y.count(), 64),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b10, 0)
    }

    // Linear in x, and adding at the indices is its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None, None]) };
        let add = Add { axis: self.axis, extent: at.input_meta(0).shape[self.axis] };
        Ok(vec![Some(op::apply(add, &[dy, &at.input(1)?])?.swap_remove(0)), None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        op::apply(Select { ..*self }, &[dx, &at.input(1)?]).map(|y| y.into_iter().map(Some).collect())
    }
}

impl Op for Add {
    fn name(&self) -> &'static str {
        "index_add"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (x, indices) = (inputs[0], inputs[1]);
        check("index_add", &x, &indices)?;
        if x.shape[self.axis] != indices.shape[0] {
            return Err(Error::shape(
                "index_add",
                format!("axis {} of {x} for indices {indices}", self.axis),
                "Give one index for each slice along the axis.",
            ));
        }
        Ok(vec![Meta::new(Shape::new(&x.shape.with(self.axis, self.extent))?, x.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, indices, shape) = (inputs.real(0), inputs.int(1), outputs[0].shape);
        let (chosen, (_, inner)) = (x.shape[self.axis], around(&x.shape, self.axis));
        if shape.count() == 0 {
            return vec![Data::Real(Array { shape, data: vec![] })];
        }
        let mut meeting = vec![Vec::new(); self.extent];
        for (j, &index) in indices.data.iter().enumerate() {
            meeting[index as usize].push(j);
        }
        vec![Data::Real(Array::from_rows(shape, inner, |row| {
            let (outer, v) = (row / self.extent, row % self.extent);
            let slice = |j: &usize| x.row(outer * chosen + j, inner);
            (0..inner).map(|i| R::sum(meeting[v].iter().map(|j| slice(j)[i]))).collect()
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (x, y) = (inputs[0].shape(), outputs[0].shape());
        let chosen = x[self.axis];
        let (_, inner) = around(x, self.axis);
        let links = self.extent + chosen;
        let next = gpu.buffer("index_add", 4 * links as u64)?;
        gpu.dispatch(Dispatch {
            op: "index_add",
            source: Source::File(&CHAIN, &[]),
            params: bytemuck::cast_slice(&[links as u32, self.extent as u32, chosen as u32]),
            buffers: &[&inputs[1].buffer, &next],
            groups: gpu.fold(links, 64),
        })?;
        let params = [y.count(), self.extent, chosen, inner].map(|extent| extent as u32);
        gpu.dispatch(Dispatch {
            op: "index_add",
            source: Source::File(&ADD, &[]),
            params: bytemuck::cast_slice(&params),
            buffers: &[&inputs[0].buffer, &next, &outputs[0].buffer],
            groups: gpu.fold(y.count(), 64),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b10, 0)
    }

    // Linear in x, and selecting the indices is its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None, None]) };
        let select = Select { axis: self.axis };
        Ok(vec![Some(op::apply(select, &[dy, &at.input(1)?])?.swap_remove(0)), None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        op::apply(Add { ..*self }, &[dx, &at.input(1)?]).map(|y| y.into_iter().map(Some).collect())
    }
}

impl Tensor {
    /// The slices of one axis that `indices` name, in their order: y[.., j, ..] = x[.., indices\[j\], ..].
    ///
    /// x `[.., E, ..]` float, indices `[n]` i32 → `[.., n, ..]`. An index may occur any number of times.
    /// Gradient: [`index_add`](Self::index_add), saving the indices. Exact.
    /// Errors: [`Error::Index`] for an index outside 0..E, [`Error::Shape`], [`Error::DType`],
    /// [`Error::Axis`].
    pub fn index_select(&self, axis: isize, indices: &Tensor) -> Result<Tensor> {
        let axis = self.shape().axis("index_select", axis)?;
        let indices = in_range("index_select", indices, self.shape()[axis])?;
        Ok(op::apply(Select { axis }, &[self, &indices])?.swap_remove(0))
    }

    /// Slices added at the places that `indices` name along one axis of `extent`, zero elsewhere:
    /// y[.., v, ..] = Σ x[.., j, ..] over the j with indices\[j\] = v. The transpose of
    /// [`index_select`](Self::index_select).
    ///
    /// x `[.., n, ..]` float, indices `[n]` i32 → `[.., extent, ..]`. Terms are added in the order of the
    /// indices: the same bits on every run. Costs at most (extent + n)·n comparisons of integers
    /// beside the sums. Gradient: `index_select`, saving the indices.
    /// Errors: [`Error::Index`], [`Error::Shape`], [`Error::DType`], [`Error::Axis`].
    pub fn index_add(&self, axis: isize, indices: &Tensor, extent: usize) -> Result<Tensor> {
        let axis = self.shape().axis("index_add", axis)?;
        let indices = in_range("index_add", indices, extent)?;
        Ok(op::apply(Add { axis, extent }, &[self, &indices])?.swap_remove(0))
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
        op::apply(Select { axis: 0 }, &[self, &flat])?.swap_remove(0).reshape(shape)
    }
}
