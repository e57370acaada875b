//! Views: other shapes over the same elements, without copies wherever strides can say it.

use super::cast::{assemble, copy};
use super::{Tensor, View};
use crate::autodiff::{self, At, Differentiable};
use crate::error::{Error, Result};
use crate::op::Meta;
use crate::shape::{Layout, Shape};

/// What a view does, for its gradient: each is linear, and its transpose is another.
#[derive(Clone, Debug)]
enum Views {
    Reshape(Shape),
    Permute(Vec<usize>),
    Broadcast(Shape),
    Slice {
        axis: usize,
        start: usize,
        len: usize,
        step: usize,
    },
    /// The transpose of a slice: its elements among zeros.
    Embed {
        axis: usize,
        start: usize,
        step: usize,
        extent: usize,
    },
}

impl Views {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Views::Reshape(shape) => x.reshape(shape),
            Views::Permute(order) => x.permute(order),
            Views::Broadcast(shape) => x.broadcast_to(shape),
            Views::Slice { axis, start, len, step } => x.slice_known(*axis, *start, *len, *step),
            Views::Embed { axis, start, step, extent } => x.embed(*axis, *start, *step, *extent),
        }
    }
}

impl Differentiable for Views {
    fn name(&self) -> &'static str {
        match self {
            Views::Reshape(_) => "reshape",
            Views::Permute(_) => "permute",
            Views::Broadcast(_) => "broadcast_to",
            Views::Slice { .. } => "slice",
            Views::Embed { .. } => "embed",
        }
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None]) };
        let from = at.input_meta(0).shape;
        let dx = match self {
            Views::Reshape(_) => dy.reshape(from)?,
            Views::Permute(order) => {
                let mut inverse = vec![0; order.len()];
                order.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
                dy.permute(&inverse)?
            }
            Views::Broadcast(_) => dy.sum_to(&from)?,
            Views::Slice { axis, start, step, .. } => dy.embed(*axis, *start, *step, from[*axis])?,
            Views::Embed { axis, start, step, .. } => dy.slice_known(*axis, *start, from[*axis], *step)?,
        };
        Ok(vec![Some(dx)])
    }

    fn jvp(&self, _: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dx[0].as_ref().map(|dx| self.apply(dx)).transpose()?])
    }
}

impl Tensor {
    /// The same storage under another layout.
    fn viewed(&self, layout: Layout, rule: Views) -> Result<Tensor> {
        let meta = Meta { shape: layout.shape, ..self.meta() };
        let view = View { storage: self.view()?.storage, layout };
        Ok(autodiff::record_rule(rule, &[self], Tensor::ready(self.device(), meta, view)))
    }

    /// The same elements, row-major, with other extents. Shares storage where strides allow.
    ///
    /// Errors: [`Error::Shape`] if the number of elements differs.
    pub fn reshape(&self, shape: impl AsRef<[usize]>) -> Result<Tensor> {
        let shape = Shape::new(shape.as_ref())?;
        if shape.count() != self.count() {
            return Err(Error::shape(
                "reshape",
                format!("{} has {} elements, {shape} has {}", self.shape(), self.count(), shape.count()),
                "Keep the number of elements.",
            ));
        }
        if shape == *self.shape() {
            return Ok(self.clone());
        }
        let rule = Views::Reshape(shape);
        match self.view()?.layout.reshaped(shape) {
            Some(layout) => self.viewed(layout, rule),
            None => {
                let meta = Meta { shape, ..self.meta() };
                let storage = copy(self)?.view()?.storage;
                let out =
                    Tensor::ready(self.device(), meta, View { storage, layout: Layout::contiguous(shape) });
                Ok(autodiff::record_rule(rule, &[self], out))
            }
        }
    }

    /// Axes `from` to the last merged into one.
    pub fn flatten(&self, from: isize) -> Result<Tensor> {
        let axis = self.shape().axis("flatten", from)?;
        let mut dims = self.shape()[..axis].to_vec();
        dims.push(self.shape()[axis..].iter().product());
        self.reshape(dims)
    }

    /// The axes in another order: axis i of the result is axis `order[i]` of this tensor.
    ///
    /// Errors: [`Error::Axis`] if `order` is not a permutation.
    pub fn permute(&self, order: &[usize]) -> Result<Tensor> {
        let mut seen = vec![false; self.rank()];
        for &axis in order {
            if axis >= self.rank() || std::mem::replace(&mut seen[axis], true) {
                break;
            }
        }
        if order.len() != self.rank() || seen.contains(&false) {
            return Err(Error::axis(
                "permute",
                format!("{order:?} for {}", self.shape()),
                "Name each axis exactly once.",
            ));
        }
        self.viewed(self.view()?.layout.permuted(order), Views::Permute(order.to_vec()))
    }

    /// Two axes exchanged; negative ones count from the end.
    pub fn transpose(&self, a: isize, b: isize) -> Result<Tensor> {
        let (a, b) = (self.shape().axis("transpose", a)?, self.shape().axis("transpose", b)?);
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// The last two axes exchanged.
    pub fn t(&self) -> Result<Tensor> {
        self.transpose(-2, -1)
    }

    /// Repeated to a larger shape without copying: extents of one stretch, new axes come in front.
    ///
    /// Errors: [`Error::Shape`] if the shape is not a broadcast of this one.
    pub fn broadcast_to(&self, shape: impl AsRef<[usize]>) -> Result<Tensor> {
        let shape = Shape::new(shape.as_ref())?;
        if shape == *self.shape() {
            return Ok(self.clone());
        }
        if Shape::broadcast("broadcast_to", self.shape(), &shape)? != shape {
            return Err(Error::shape(
                "broadcast_to",
                format!("{} to {shape}", self.shape()),
                "Only extents of one stretch, and new axes come in front.",
            ));
        }
        self.viewed(self.view()?.layout.broadcast_to(shape), Views::Broadcast(shape))
    }

    /// Elements `start`, `start` + 1, … below `end` of one axis.
    ///
    /// Errors: [`Error::Axis`]; [`Error::Argument`] if the range leaves the axis.
    pub fn slice(&self, axis: isize, start: usize, end: usize) -> Result<Tensor> {
        self.slice_step(axis, start, end, 1)
    }

    /// Every `step`-th element of one axis, from `start` to below `end`.
    pub fn slice_step(&self, axis: isize, start: usize, end: usize, step: usize) -> Result<Tensor> {
        let axis = self.shape().axis("slice", axis)?;
        if start > end || end > self.shape()[axis] || step == 0 {
            return Err(Error::argument(
                "slice",
                format!("{start}..{end} by {step} on axis {axis} of {}", self.shape()),
                "The range must lie within the axis, start before end, step at least one.",
            ));
        }
        self.slice_known(axis, start, (end - start).div_ceil(step), step)
    }

    fn slice_known(&self, axis: usize, start: usize, len: usize, step: usize) -> Result<Tensor> {
        let layout = self.view()?.layout.sliced(axis, start, len, step);
        self.viewed(layout, Views::Slice { axis, start, len, step })
    }

    /// One index of an axis, which disappears.
    pub fn select(&self, axis: isize, index: usize) -> Result<Tensor> {
        let at = self.shape().axis("select", axis)?;
        let mut dims = self.shape().to_vec();
        dims.remove(at);
        self.slice(axis, index, index.saturating_add(1))?.reshape(dims)
    }

    /// The elements at `start`, `start + step`, … of an axis of `extent` zeros: the transpose of a slice.
    fn embed(&self, axis: usize, start: usize, step: usize, extent: usize) -> Result<Tensor> {
        let shape = self.shape().with(axis, extent);
        let region = Layout::contiguous(shape).sliced(axis, start, self.shape()[axis], step);
        let meta = Meta::new(shape, self.dtype());
        let out = assemble("embed", self.device(), meta, Some(0.0), &[(self, region)])?;
        Ok(autodiff::record_rule(Views::Embed { axis, start, step, extent }, &[self], out))
    }

    /// A new axis of extent one before axis `axis`, which may be one past the last.
    pub fn unsqueeze(&self, axis: usize) -> Result<Tensor> {
        if axis > self.rank() {
            return Err(Error::axis(
                "unsqueeze",
                format!("axis {axis} of {}", self.shape()),
                format!("At most {}.", self.rank()),
            ));
        }
        let mut dims = self.shape().to_vec();
        dims.insert(axis, 1);
        self.reshape(dims)
    }

    /// Without one axis of extent one.
    pub fn squeeze(&self, axis: isize) -> Result<Tensor> {
        let at = self.shape().axis("squeeze", axis)?;
        if self.shape()[at] != 1 {
            return Err(Error::shape(
                "squeeze",
                format!("axis {axis} of {} is not one", self.shape()),
                "Only an axis of extent one can disappear: use select or reshape.",
            ));
        }
        let mut dims = self.shape().to_vec();
        dims.remove(at);
        self.reshape(dims)
    }

    /// Summed over the axes that broadcasting from `shape` would have stretched: the transpose of
    /// [`broadcast_to`](Self::broadcast_to).
    pub(crate) fn sum_to(&self, shape: &Shape) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let lead = self.rank() - shape.rank();
        let stretched = |axis: usize| axis < lead || (shape[axis - lead] == 1 && self.shape()[axis] != 1);
        let axes: Vec<isize> = (0..self.rank()).filter(|&a| stretched(a)).map(|a| a as isize).collect();
        if axes.is_empty() { self.reshape(shape) } else { self.sum(&axes, true)?.reshape(shape) }
    }
}
