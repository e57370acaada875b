//! Shapes, and how a view lies in its buffer.

use crate::error::{Error, Result};
use std::fmt;
use std::ops::Deref;

/// The largest rank of a tensor.
pub const MAX_RANK: usize = 8;

/// The extents of a tensor, outermost axis first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The shape with these extents.
    ///
    /// Errors: [`Error::Shape`] above rank [`MAX_RANK`], or when the elements cannot be counted in 31 bits
    /// (WGSL indices are 32-bit).
    pub fn new(dims: &[usize]) -> Result<Self> {
        if dims.len() > MAX_RANK {
            return Err(Error::shape(
                "shape",
                format!("{dims:?} has rank {}", dims.len()),
                format!("Tensors have at most {MAX_RANK} axes: merge some with reshape."),
            ));
        }
        // Extents of zero must not hide an overflow of the others: strides are their products.
        let count = dims.iter().map(|&d| d.max(1)).try_fold(1usize, |n, d| n.checked_mul(d));
        if count.is_none_or(|n| n > i32::MAX as usize) {
            return Err(Error::shape(
                "shape",
                format!("{dims:?} has more than 2^31 - 1 elements"),
                "Split the tensor: a device indexes with 32 bits.",
            ));
        }
        Ok(Shape::known(dims))
    }

    /// A shape derived from valid ones, already known to fit.
    pub(crate) fn known(dims: &[usize]) -> Self {
        let mut shape = Shape { dims: [1; MAX_RANK], rank: dims.len() };
        shape.dims[..dims.len()].copy_from_slice(dims);
        shape
    }

    /// The number of elements: the product of the extents, one for a scalar.
    pub fn count(&self) -> usize {
        self.iter().product()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Row-major strides, in elements.
    pub(crate) fn strides(&self) -> [usize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank).rev() {
            strides[axis] = step;
            step *= self.dims[axis].max(1);
        }
        strides
    }

    /// The axis meant by `axis`, where negative ones count from the end.
    pub(crate) fn axis(&self, op: &'static str, axis: isize) -> Result<usize> {
        let rank = self.rank as isize;
        if axis < -rank || axis >= rank {
            return Err(Error::axis(
                op,
                format!("axis {axis} of {self}"),
                format!("A tensor of rank {rank} has axes {} to {}.", -rank, rank - 1),
            ));
        }
        Ok(axis.rem_euclid(rank) as usize)
    }

    /// Which axes are meant: all of them where the list is empty. Named twice is an error.
    pub(crate) fn axes(&self, op: &'static str, axes: &[isize]) -> Result<[bool; MAX_RANK]> {
        let mut chosen = [false; MAX_RANK];
        if axes.is_empty() {
            chosen[..self.rank].fill(true);
        }
        for &axis in axes {
            let index = self.axis(op, axis)?;
            if std::mem::replace(&mut chosen[index], true) {
                return Err(Error::axis(op, format!("axis {axis} of {self} twice"), "Name each axis once."));
            }
        }
        Ok(chosen)
    }

    /// The shape both broadcast to, by the rule of numpy: aligned at the end, extents equal or one.
    pub(crate) fn broadcast(op: &'static str, a: &Shape, b: &Shape) -> Result<Shape> {
        let rank = a.rank.max(b.rank);
        let mut dims = [1; MAX_RANK];
        for back in 1..=rank {
            let extent = |s: &Shape| if back <= s.rank { s.dims[s.rank - back] } else { 1 };
            dims[rank - back] = match (extent(a), extent(b)) {
                (x, y) if x == y => x,
                (1, y) => y,
                (x, 1) => x,
                _ => {
                    return Err(Error::shape(
                        op,
                        format!("{a} and {b} do not broadcast"),
                        "Aligned at the last axis, extents must be equal or one.",
                    ));
                }
            };
        }
        Shape::new(&dims[..rank])
    }

    /// The shape with the chosen axes reduced to one, or dropped.
    pub(crate) fn reduced(&self, chosen: &[bool; MAX_RANK], keep: bool) -> Shape {
        let dims: Vec<usize> = (0..self.rank)
            .filter(|&axis| keep || !chosen[axis])
            .map(|axis| if chosen[axis] { 1 } else { self.dims[axis] })
            .collect();
        Shape::known(&dims)
    }

    /// The shape with one extent replaced.
    pub(crate) fn with(&self, axis: usize, extent: usize) -> Shape {
        let mut shape = *self;
        shape.dims[axis] = extent;
        shape
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a view lies in its buffer. The unit of strides and offset is the element, not the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub shape: Shape,
    pub strides: [usize; MAX_RANK],
    pub offset: usize,
}

impl Layout {
    pub fn contiguous(shape: Shape) -> Self {
        Layout { shape, strides: shape.strides(), offset: 0 }
    }

    /// Row-major without gaps; where the view starts does not matter.
    pub fn is_contiguous(&self) -> bool {
        let dense = self.shape.strides();
        if self.shape.count() == 0 {
            return true;
        }
        self.shape.iter().enumerate().all(|(axis, &extent)| extent <= 1 || self.strides[axis] == dense[axis])
    }

    pub fn permuted(&self, order: &[usize]) -> Self {
        let mut layout = *self;
        for (to, &from) in order.iter().enumerate() {
            layout.shape.dims[to] = self.shape.dims[from];
            layout.strides[to] = self.strides[from];
        }
        layout
    }

    /// `len` elements of one axis from `start`, every `step`-th.
    pub fn sliced(&self, axis: usize, start: usize, len: usize, step: usize) -> Self {
        let mut layout = *self;
        layout.shape.dims[axis] = len;
        layout.strides[axis] = self.strides[axis] * step;
        if len > 0 {
            layout.offset += start * self.strides[axis];
        }
        layout
    }

    /// The view read as `shape`, repeating where an extent was one. `shape` must be a broadcast of it.
    pub fn broadcast_to(&self, shape: Shape) -> Self {
        let mut strides = [0; MAX_RANK];
        let lead = shape.rank - self.shape.rank;
        for axis in 0..self.shape.rank {
            if self.shape.dims[axis] == shape.dims[lead + axis] {
                strides[lead + axis] = self.strides[axis];
            }
        }
        Layout { shape, strides, offset: self.offset }
    }

    /// The same elements read with other extents, if that needs no copy.
    pub fn reshaped(&self, shape: Shape) -> Option<Self> {
        if self.is_contiguous() {
            return Some(Layout { shape, strides: shape.strides(), offset: self.offset });
        }
        // Merge what lies evenly spaced, then cut the merged runs into the new extents from the back.
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for axis in 0..self.shape.rank {
            let (extent, stride) = (self.shape.dims[axis], self.strides[axis]);
            match runs.last_mut() {
                _ if extent == 1 => {}
                Some(last) if last.1 == stride * extent => *last = (last.0 * extent, stride),
                _ => runs.push((extent, stride)),
            }
        }
        let mut strides = [0; MAX_RANK];
        let (mut left, mut step) = runs.pop().unwrap_or((1, 0));
        for axis in (0..shape.rank).rev() {
            let extent = shape.dims[axis];
            if extent == 1 {
                continue;
            }
            if left == 1 {
                (left, step) = runs.pop()?;
            }
            if left % extent != 0 {
                return None;
            }
            strides[axis] = step;
            (left, step) = (left / extent, step * extent);
        }
        Some(Layout { shape, strides, offset: self.offset })
    }

    /// The buffer positions of the elements, in row-major order of the view.
    pub fn positions(&self) -> Positions {
        Positions { layout: *self, index: [0; MAX_RANK], at: self.offset, left: self.shape.count() }
    }
}

/// See [`Layout::positions`].
pub(crate) struct Positions {
    layout: Layout,
    index: [usize; MAX_RANK],
    at: usize,
    left: usize,
}

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let now = self.at;
        for axis in (0..self.layout.shape.rank).rev() {
            self.index[axis] += 1;
            self.at += self.layout.strides[axis];
            if self.index[axis] < self.layout.shape.dims[axis] {
                break;
            }
            self.at -= self.layout.strides[axis] * self.index[axis];
            self.index[axis] = 0;
        }
        Some(now)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Drops axes of extent one and merges neighbours that every view crosses evenly, so that kernels loop
/// over as few axes as the layouts allow. All views have the same shape.
pub(crate) fn coalesce(layouts: &mut [Layout]) {
    let Some(first) = layouts.first() else { return };
    let (shape, mut dims, mut rank) = (first.shape, [1; MAX_RANK], 0);
    for axis in (0..shape.rank).filter(|&axis| shape.dims[axis] != 1) {
        let extent = shape.dims[axis];
        let joins = rank > 0 && layouts.iter().all(|l| l.strides[rank - 1] == l.strides[axis] * extent);
        if !joins {
            rank += 1;
        }
        dims[rank - 1] *= extent;
        for layout in &mut *layouts {
            layout.strides[rank - 1] = layout.strides[axis];
        }
    }
    for layout in layouts {
        layout.shape = Shape::known(&dims[..rank]);
        layout.strides[rank..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    #[test]
    fn reshape_of_a_transpose_shares_where_it_can() {
        let l = Layout::contiguous(shape(&[2, 3, 4])).permuted(&[1, 0, 2]);
        assert!(l.reshaped(shape(&[3, 8])).is_none());
        let split = l.reshaped(shape(&[3, 2, 2, 2])).unwrap();
        assert_eq!(split.positions().collect::<Vec<_>>(), l.positions().collect::<Vec<_>>());
    }

    #[test]
    fn coalescing_keeps_the_order_of_elements() {
        let base = Layout::contiguous(shape(&[2, 1, 3, 4]));
        let mut both = [base, Layout::contiguous(shape(&[3, 1])).broadcast_to(base.shape)];
        let before: Vec<Vec<usize>> = both.iter().map(|l| l.positions().collect()).collect();
        coalesce(&mut both);
        assert_eq!(&*both[0].shape, &[2, 3, 4]);
        let after: Vec<Vec<usize>> = both.iter().map(|l| l.positions().collect()).collect();
        assert_eq!(before, after);
    }

    #[test]
    fn zero_extents_do_not_hide_an_overflow() {
        assert!(Shape::new(&[0, usize::MAX, 3]).is_err());
        assert_eq!(shape(&[0, 5]).count(), 0);
    }
}
