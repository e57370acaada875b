//! Tensors put together from others: concat, pad, slice assignment. Each writes its parts into regions
//! of a new tensor.

use super::Tensor;
use super::cast::assemble;
use crate::autodiff::{self, At, Differentiable};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Meta;
use crate::real::{Bounded, Real};
use crate::shape::{Layout, Shape};

/// Where each input lies in the output, along every axis; the rest is constant or an earlier input.
#[derive(Clone)]
struct Regions {
    name: &'static str,
    /// Start along each axis, for each input.
    starts: Vec<Vec<usize>>,
}

impl Regions {
    fn layout(&self, part: usize, of: Shape, shape: &Shape) -> Layout {
        let starts = self.starts[part].iter().zip(shape.iter()).enumerate();
        starts.fold(Layout::contiguous(of), |l, (axis, (&start, &len))| l.sliced(axis, start, len, 1))
    }

    fn build(&self, meta: Meta, fill: Option<f64>, parts: &[&Tensor]) -> Result<Tensor> {
        let placed: Vec<(&Tensor, Layout)> = parts
            .iter()
            .enumerate()
            .map(|(k, &part)| (part, self.layout(k, meta.shape, part.shape())))
            .collect();
        let out = assemble(self.name, parts[0].device(), meta, fill, &placed)?;
        Ok(autodiff::record_rule(self.clone(), parts, out))
    }
}

impl Differentiable for Regions {
    fn name(&self) -> &'static str {
        self.name
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; self.starts.len()]) };
        // From the last part to the first: what a later part covers does not reach an earlier one.
        let mut left = dy.clone();
        let mut out = vec![None; self.starts.len()];
        for part in (0..self.starts.len()).rev() {
            let shape = at.input_meta(part).shape;
            if at.needs(part) {
                let mut dx = left.clone();
                for (axis, &start) in self.starts[part].iter().enumerate() {
                    dx = dx.slice(axis as isize, start, start + shape[axis])?;
                }
                out[part] = Some(dx);
            }
            if part > 0 && self.name == "slice_assign" {
                left = left.slice_assign(&self.starts[part], &left.like(shape, 0.0)?)?;
            }
        }
        Ok(out)
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(one) = dx.iter().flatten().next() else { return Ok(vec![None]) };
        let tangents: Result<Vec<Tensor>> = dx
            .iter()
            .enumerate()
            .map(|(k, t)| t.clone().map_or_else(|| one.like(at.input_meta(k).shape, 0.0), Ok))
            .collect();
        let tangents = tangents?;
        let parts: Vec<&Tensor> = tangents.iter().collect();
        Ok(vec![Some(self.build(at.output_meta(0), Some(0.0), &parts)?)])
    }
}

impl Tensor {
    /// A constant of another shape, with this tensor's type and device.
    pub(crate) fn like(&self, shape: Shape, value: f64) -> Result<Tensor> {
        Tensor::full(self.device(), self.dtype(), shape, value)
    }

    /// Numbers rounded to this tensor's type, on its device.
    pub(crate) fn constants(&self, data: &[f64], shape: Shape) -> Result<Tensor> {
        let device = self.device();
        let wide = match self.dtype() {
            DType::F64 => Tensor::from_slice(device, data, shape),
            DType::Bounded | DType::BoundedF16 => Tensor::from_vec(
                device,
                data.iter().map(|&v| Bounded::from_f64(v)).collect::<Vec<_>>(),
                shape,
            ),
            _ => Tensor::from_vec(device, data.iter().map(|&v| v as f32).collect::<Vec<_>>(), shape),
        };
        wide?.to_dtype(self.dtype())
    }

    /// Tensors one behind the other along `axis`; they agree in all other extents.
    ///
    /// Errors: [`Error::Argument`] for an empty list, [`Error::Shape`], [`Error::DType`], [`Error::Device`].
    pub fn concat(parts: &[&Tensor], axis: isize) -> Result<Tensor> {
        let op = "concat";
        let Some(first) = parts.first() else {
            return Err(Error::argument(op, "no tensors", "Give at least one."));
        };
        let axis = first.shape().axis(op, axis)?;
        let mut starts = Vec::with_capacity(parts.len());
        let mut extent = 0;
        for part in parts {
            first.device().check_same(op, part.device())?;
            if part.dtype() != first.dtype() {
                let given = format!("{} and {}", first.describe(), part.describe());
                return Err(Error::dtype(op, given, "Convert with to_dtype."));
            }
            if part.rank() != first.rank() || part.shape().with(axis, 0) != first.shape().with(axis, 0) {
                return Err(Error::shape(
                    op,
                    format!("{} and {} along axis {axis}", first.shape(), part.shape()),
                    "All extents but that of the axis must agree.",
                ));
            }
            let mut start = vec![0; first.rank()];
            start[axis] = extent;
            starts.push(start);
            extent += part.shape()[axis];
        }
        let mut dims = first.shape().to_vec();
        dims[axis] = extent;
        let mut meta = Meta::new(Shape::new(&dims)?, first.dtype());
        meta.range = parts.iter().map(|p| p.meta().range).reduce(join).flatten();
        Regions { name: op, starts }.build(meta, None, parts)
    }

    /// `value` around the tensor: for each axis, how many before and after.
    ///
    /// Errors: [`Error::Argument`] if the list is not as long as the rank.
    pub fn pad(&self, amounts: &[(usize, usize)], value: f64) -> Result<Tensor> {
        if amounts.len() != self.rank() {
            return Err(Error::argument(
                "pad",
                format!("{} amounts for {}", amounts.len(), self.shape()),
                "Give (before, after) for each axis.",
            ));
        }
        let dims: Option<Vec<usize>> = amounts
            .iter()
            .zip(self.shape().iter())
            .map(|(&(before, after), &extent)| extent.checked_add(before)?.checked_add(after))
            .collect();
        let dims = dims.ok_or_else(|| {
            Error::argument("pad", format!("{amounts:?} for {}", self.shape()), "Pad by less.")
        })?;
        let mut meta = Meta::new(Shape::new(&dims)?, self.dtype());
        meta.range = self.meta().range.and_then(|r| join(Some(r), Some((value as i32, value as i32))));
        let starts = vec![amounts.iter().map(|&(before, _)| before).collect()];
        Regions { name: "pad", starts }.build(meta, Some(value), &[self])
    }

    /// This tensor with `part` written over the region that begins at `start`.
    ///
    /// Errors: [`Error::Shape`] if the region leaves the tensor, [`Error::DType`], [`Error::Device`].
    pub fn slice_assign(&self, start: &[usize], part: &Tensor) -> Result<Tensor> {
        let op = "slice_assign";
        self.device().check_same(op, part.device())?;
        if part.dtype() != self.dtype() {
            let given = format!("{} into {}", part.describe(), self.describe());
            return Err(Error::dtype(op, given, "Convert with to_dtype."));
        }
        let fits = start.len() == self.rank()
            && part.rank() == self.rank()
            && (0..self.rank())
                .all(|a| start[a].checked_add(part.shape()[a]).is_some_and(|end| end <= self.shape()[a]));
        if !fits {
            return Err(Error::shape(
                op,
                format!("{} at {start:?} of {}", part.shape(), self.shape()),
                "The region must lie within the tensor.",
            ));
        }
        let mut meta = self.meta();
        meta.range = join(meta.range, part.meta().range);
        Regions { name: op, starts: vec![vec![0; self.rank()], start.to_vec()] }.build(
            meta,
            None,
            &[self, part],
        )
    }

    /// Tensors of one shape, along a new axis `axis`.
    pub fn stack(parts: &[&Tensor], axis: usize) -> Result<Tensor> {
        let wide: Result<Vec<Tensor>> = parts.iter().map(|p| p.unsqueeze(axis)).collect();
        Tensor::concat(&wide?.iter().collect::<Vec<_>>(), axis as isize)
    }
}

/// The range of either of two tensors.
fn join(a: Option<(i32, i32)>, b: Option<(i32, i32)>) -> Option<(i32, i32)> {
    a.zip(b).map(|((al, ah), (bl, bh))| (al.min(bl), ah.max(bh)))
}
