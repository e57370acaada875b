//! Choosing along an axis, and its transpose: adding along it.

use super::check_integers;
use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static GATHER: Shader = shader!("index/gather.wgsl");
static ADD: Shader = shader!("index/add.wgsl");

/// The axis that indices count along, and whether one list of them serves all lines of the tensor along it,
/// or each element has an index of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::ops) struct Along {
    axis: usize,
    shared: bool,
}

/// y[o,j,i] = x[o, indices[o,j,i], i].
struct Gather(Along);

/// y[o,v,i] = Σ x[o,j,i] over the j with indices[o,j,i] = v, for v below `extent`. The third input is the
/// order that sorts each line of indices.
struct Add {
    along: Along,
    extent: usize,
}

impl Along {
    /// Indices `[n]` choose whole slices.
    pub fn slices(axis: usize) -> Self {
        Along { axis, shared: true }
    }

    /// Indices of the shape of what is chosen, each for one element.
    pub fn elements(axis: usize) -> Self {
        Along { axis, shared: false }
    }

    /// The extents before and behind the axis, multiplied.
    fn around(self, shape: &Shape) -> (usize, usize) {
        (shape[..self.axis].iter().product(), shape[self.axis + 1..].iter().product())
    }

    /// How many indices there are along the axis; `given` is what has as many slices, if anything has.
    fn check(self, op: &'static str, x: &Meta, indices: &Meta) -> Result<usize> {
        check_integers(op, indices)?;
        if self.shared && indices.shape.rank() != 1 {
            let given = format!("indices {indices}");
            return Err(Error::shape(op, given, "Give one axis of indices: use flatten."));
        }
        if self.shared {
            return Ok(indices.shape[0]);
        }
        let alike = indices.shape.rank() == x.shape.rank()
            && indices.shape.with(self.axis, 0) == x.shape.with(self.axis, 0);
        if !alike {
            return Err(Error::shape(
                op,
                format!("indices {indices} along axis {} of {x}", self.axis),
                "Indices have the extents of the tensor, but along the axis.",
            ));
        }
        Ok(indices.shape[self.axis])
    }

    /// The steps of the indices along (outer, chosen, inner).
    fn steps(self, chosen: usize, inner: usize) -> [usize; 3] {
        if self.shared { [0, 1, 0] } else { [chosen * inner, inner, 1] }
    }

    fn params(self, count: usize, extent: usize, chosen: usize, inner: usize) -> [u32; 7] {
        let [outer, step, within] = self.steps(chosen, inner);
        [count, extent, chosen, inner, outer, step, within].map(|extent| extent as u32)
    }
}

/// The elements of x that indices, known to be in range, name.
pub(in crate::ops) fn choose(x: &Tensor, indices: &Tensor, along: Along) -> Result<Tensor> {
    Ok(op::apply(Gather(along), &[x, indices])?.swap_remove(0))
}

/// The elements of x added at the places, known to be below `extent`, that indices name.
pub(in crate::ops) fn add_at(x: &Tensor, indices: &Tensor, along: Along, extent: usize) -> Result<Tensor> {
    let axis = if along.shared { 0 } else { along.axis };
    // What the rule refuses cannot be sorted either.
    Add { along, extent }.rule(&[x.meta(), indices.meta(), indices.meta()])?;
    let order = crate::ops::sort::order(indices, axis, false)?;
    Ok(op::apply(Add { along, extent }, &[x, indices, &order])?.swap_remove(0))
}

impl Gather {
    fn reference_of<T: Copy + Default + Send + Sync>(
        &self,
        x: &Array<T>,
        indices: &[i32],
        y: Shape,
    ) -> Array<T> {
        let ((_, inner), chosen) = (self.0.around(&x.shape), y[self.0.axis]);
        let (extent, [outer_step, step, inner_step]) = (x.shape[self.0.axis], self.0.steps(chosen, inner));
        Array::from_fn(y, |own| {
            let (row, i) = (own / inner, own % inner);
            let (o, j) = (row / chosen, row % chosen);
            let index = indices[o * outer_step + j * step + i * inner_step] as usize;
            x.data[(o * extent + index) * inner + i]
        })
    }
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        if self.0.shared { "index_select" } else { "gather" }
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (x, indices) = (inputs[0], inputs[1]);
        let chosen = self.0.check(self.name(), &x, &indices)?;
        let shape = Shape::new(&x.shape.with(self.0.axis, chosen))?;
        Ok(vec![Meta { shape, ..x }])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (indices, y) = (&inputs.int(1).data, outputs[0].shape);
        vec![if outputs[0].dtype.is_float() {
            Data::Real(self.reference_of(inputs.real(0), indices, y))
        } else {
            Data::Int(self.reference_of(inputs.int(0), indices, y))
        }]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (x, y, axis) = (inputs[0].shape(), outputs[0].shape(), self.0.axis);
        let (_, inner) = self.0.around(x);
        gpu.dispatch(Dispatch {
            op: self.name(),
            source: Source::File(&GATHER, &[]),
            params: bytemuck::cast_slice(&self.0.params(y.count(), x[axis], y[axis], inner)),
            buffers: &op::buffers(inputs, outputs),
            groups: gpu.fold(y.count(), 64),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b10, 0)
    }

    // Linear in x, and adding at the indices is its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None, None]) };
        let extent = at.input_meta(0).shape[self.0.axis];
        Ok(vec![Some(add_at(dy, &at.input(1)?, self.0, extent)?), None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dx[0].as_ref().map(|dx| choose(dx, &at.input(1)?, self.0)).transpose()?])
    }
}

impl Op for Add {
    fn name(&self) -> &'static str {
        if self.along.shared { "index_add" } else { "scatter_add" }
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (op, axis, x, indices) = (self.name(), self.along.axis, inputs[0], inputs[1]);
        if !x.dtype.is_float() {
            return Err(Error::dtype(op, x.to_string(), "Convert to a float with to_dtype."));
        }
        if x.shape[axis] != self.along.check(op, &x, &indices)? {
            return Err(Error::shape(
                op,
                format!("axis {axis} of {x} for indices {indices}"),
                "Give one index for each slice along the axis.",
            ));
        }
        Ok(vec![Meta::new(Shape::new(&x.shape.with(axis, self.extent))?, x.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, indices, shape) = (inputs.real(0), &inputs.int(1).data, outputs[0].shape);
        let (outer, inner) = self.along.around(&x.shape);
        let (chosen, extent) = (x.shape[self.along.axis], self.extent);
        let [outer_step, step, inner_step] = self.along.steps(chosen, inner);
        let mut meeting = vec![Vec::new(); shape.count()];
        for (o, j, i) in
            (0..outer * chosen * inner).map(|e| (e / inner / chosen, e / inner % chosen, e % inner))
        {
            let index = indices[o * outer_step + j * step + i * inner_step] as usize;
            meeting[(o * extent + index) * inner + i].push(x.data[(o * chosen + j) * inner + i]);
        }
        vec![Data::Real(Array::from_fn(shape, |own| R::sum(meeting[own].iter().copied())))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (x, y, axis) = (inputs[0].shape(), outputs[0].shape(), self.along.axis);
        let (_, inner) = self.along.around(x);
        let carry = gpu.carry(self.name(), x[axis], y.count())?;
        let params = self.along.params(y.count(), self.extent, x[axis], inner);
        let buffers = [&op::buffers(inputs, outputs)[..], &[&*carry]].concat();
        gpu.launches(x[axis]).try_for_each(|range| {
            gpu.dispatch(Dispatch {
                op: self.name(),
                source: Source::File(&ADD, &[]),
                params: bytemuck::cast_slice(&[&params[..], &range].concat()),
                buffers: &buffers,
                groups: gpu.fold(y.count(), 64),
            })
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b110, 0)
    }

    // Linear in x, and choosing by the indices is its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; 3]) };
        Ok(vec![Some(choose(dy, &at.input(1)?, self.along)?), None, None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        op::apply(Add { ..*self }, &[dx, &at.input(1)?, &at.input(2)?])
            .map(|y| y.into_iter().map(Some).collect())
    }
}

impl Tensor {
    /// One element for each index, along one axis: y[.., j, ..] = x[.., indices\[.., j, ..\], ..].
    ///
    /// x `[.., E, ..]`, indices i32 of the same rank, along the other axes at most as long as x → the shape of
    /// the indices. An index may occur any number of times. Integers can be gathered too. Gradient:
    /// [`scatter`](Self::scatter) by addition, saving the indices. Exact.
    /// Errors: [`Error::Index`] for an index outside 0..E, [`Error::Shape`], [`Error::DType`],
    /// [`Error::Axis`]. Other names: `take_along_axis`, ONNX `GatherElements`.
    pub fn gather(&self, axis: isize, indices: &Tensor) -> Result<Tensor> {
        let axis = self.shape().axis("gather", axis)?;
        let indices = super::in_range("gather", indices, self.shape()[axis])?;
        let x = self.cropped("gather", axis, &indices)?;
        choose(&x, &indices, Along::elements(axis))
    }

    /// The part that indices reach, which are at most as long as the tensor along the other axes.
    pub(super) fn cropped(&self, op: &'static str, axis: usize, indices: &Tensor) -> Result<Tensor> {
        let (own, other) = (self.shape(), indices.shape());
        if own.rank() != other.rank() || (0..own.rank()).any(|a| a != axis && other[a] > own[a]) {
            return Err(Error::shape(
                op,
                format!("indices {} along axis {axis} of {}", indices.describe(), self.describe()),
                "Indices have the rank of the tensor, and along the other axes at most its extents.",
            ));
        }
        let mut part = self.clone();
        for a in (0..own.rank()).filter(|&a| a != axis && other[a] < own[a]) {
            part = part.slice(a as isize, 0, other[a])?;
        }
        Ok(part)
    }

    /// The slices of one axis that `indices` of any shape name: the axis becomes the axes of the indices.
    ///
    /// x `[A.., E, B..]`, indices `[N..]` i32 → `[A.., N.., B..]`. Gradient and errors are those of
    /// [`index_select`](Self::index_select). Other names: ONNX `Gather`.
    pub fn take(&self, axis: isize, indices: &Tensor) -> Result<Tensor> {
        let at = self.shape().axis("take", axis)?;
        let indices = super::in_range("take", indices, self.shape()[at])?;
        let dims = [&self.shape()[..at], indices.shape(), &self.shape()[at + 1..]].concat();
        let shape = Shape::new(&dims)?;
        choose(self, &indices.reshape([indices.count()])?, Along::slices(at))?.reshape(shape)
    }
}
