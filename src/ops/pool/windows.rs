//! Where the windows of a pooling lie, along any number of axes.

use crate::error::{Error, Result};
use crate::op::Meta;
use crate::ops::conv::same;
use crate::shape::Shape;

/// Kernels count in 32 bits, padding included.
const MAX_REACH: usize = 1 << 30;

/// The windows of a pooling over N axes, the outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool<const N: usize> {
    /// How many cells a window has along each axis.
    pub kernel: [usize; N],
    /// From the start of one window to that of the next.
    pub stride: [usize; N],
    /// How far windows reach over the edge before the image, and behind it unless `padding_after` says
    /// otherwise.
    pub padding: [usize; N],
    /// How far windows reach over the edge behind the image, where it is not as far as before it.
    pub padding_after: Option<[usize; N]>,
    /// Steps between neighbouring cells of a window.
    pub dilation: [usize; N],
    /// Whether a last window counts that leaves the padded image behind, if it starts before its end.
    pub ceil: bool,
}

/// Windows over one axis.
pub type Pool1d = Pool<1>;
/// Windows over images, rows before columns.
pub type Pool2d = Pool<2>;
/// Windows over volumes: depth, rows, columns.
pub type Pool3d = Pool<3>;

impl<const N: usize> Pool<N> {
    /// Windows of these extents, side by side, without padding.
    pub const fn new(kernel: [usize; N]) -> Self {
        Pool { kernel, stride: kernel, padding: [0; N], padding_after: None, dilation: [1; N], ceil: false }
    }

    /// With another stride.
    pub const fn stride(self, stride: [usize; N]) -> Self {
        Pool { stride, ..self }
    }

    /// With padding, as far behind the image as before it.
    pub const fn padding(self, padding: [usize; N]) -> Self {
        Pool { padding, padding_after: None, ..self }
    }

    /// With padding before and behind the image.
    pub const fn padding_each(self, before: [usize; N], after: [usize; N]) -> Self {
        Pool { padding: before, padding_after: Some(after), ..self }
    }

    /// With cells apart.
    pub const fn dilation(self, dilation: [usize; N]) -> Self {
        Pool { dilation, ..self }
    }

    /// With a last window that may leave the padded image behind; its missing cells are never the largest and
    /// count in no average.
    pub const fn ceil(self, ceil: bool) -> Self {
        Pool { ceil, ..self }
    }

    /// With the padding that gives ⌈input/stride⌉ windows, an odd cell behind the image: ONNX's `SAME_UPPER`.
    pub fn same_upper(self, input: [usize; N]) -> Self {
        self.same(input, true)
    }

    /// [`same_upper`](Self::same_upper) with an odd cell before the image: ONNX's `SAME_LOWER`.
    pub fn same_lower(self, input: [usize; N]) -> Self {
        self.same(input, false)
    }

    fn same(self, input: [usize; N], upper: bool) -> Self {
        let pads: [(usize, usize); N] = std::array::from_fn(|axis| {
            same(input[axis], self.reach(axis).unwrap_or(usize::MAX / 4), self.stride[axis], upper)
        });
        self.padding_each(pads.map(|(before, _)| before), pads.map(|(_, after)| after))
    }

    /// The windows of some of the axes.
    pub(super) fn only<const M: usize>(&self, axes: [usize; M]) -> Pool<M> {
        let after = self.after();
        Pool {
            kernel: axes.map(|a| self.kernel[a]),
            stride: axes.map(|a| self.stride[a]),
            padding: axes.map(|a| self.padding[a]),
            padding_after: Some(axes.map(|a| after[a])),
            dilation: axes.map(|a| self.dilation[a]),
            ceil: self.ceil,
        }
    }

    pub(super) fn after(&self) -> [usize; N] {
        self.padding_after.unwrap_or(self.padding)
    }

    /// From the first cell of a window to its last, both included.
    pub(super) fn reach(&self, axis: usize) -> Option<usize> {
        self.kernel[axis].checked_sub(1)?.checked_mul(self.dilation[axis])?.checked_add(1)
    }

    /// The shape of the outputs over `x`, `[N, C]` and the axes.
    pub(super) fn output(&self, op: &'static str, x: &Meta) -> Result<Shape> {
        check(op, x, N)?;
        let mut shape = x.shape;
        for axis in 0..N {
            let reach = self.reach(axis).filter(|&reach| reach <= MAX_REACH);
            let (stride, before, after) = (self.stride[axis], self.padding[axis], self.after()[axis]);
            let sound = |&reach: &usize| stride > 0 && self.dilation[axis] > 0 && before.max(after) < reach;
            let Some(reach) = reach.filter(sound) else {
                return Err(Error::argument(
                    op,
                    format!("{self:?}"),
                    "Kernel, stride and dilation are at least one, a window reaches at most 2^30 cells, and \
                     padding is less than its reach.",
                ));
            };
            let extent = x.shape[2 + axis];
            let nothing = || {
                let given = format!("{x} has no cell in a window of {self:?}");
                Error::shape(op, given, "Use a smaller kernel, or another padding.")
            };
            let room =
                (before + extent + after).checked_sub(reach).filter(|_| extent > 0).ok_or_else(nothing)?;
            let mut windows = if self.ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // The last window starts in the image or before it.
            if self.ceil && (windows - 1).saturating_mul(stride) >= before + extent {
                windows -= 1;
            }
            // Cells apart may all miss an image that they reach across.
            let apart = self.dilation[axis] > 1;
            if apart && (0..windows).any(|index| self.window(axis, index, extent).next().is_none()) {
                return Err(nothing());
            }
            shape = shape.with(2 + axis, windows);
        }
        Shape::new(&shape)
    }

    /// The cells of window `index` that lie on the axis, which has this extent.
    pub(super) fn window(
        &self,
        axis: usize,
        index: usize,
        extent: usize,
    ) -> impl Iterator<Item = usize> + Clone {
        let (start, before, step) = (index * self.stride[axis], self.padding[axis], self.dilation[axis]);
        let first = start + before.saturating_sub(start).div_ceil(step) * step - before;
        let end = (start + self.reach(axis).unwrap_or(0)).min(extent + before).saturating_sub(before);
        (first..end.max(first)).step_by(step)
    }

    /// How many cells of window `index` lie on the axis, with the padding or without.
    pub(super) fn cells(&self, axis: usize, index: usize, extent: usize, padded: bool) -> usize {
        if !padded {
            return self.window(axis, index, extent).count();
        }
        let total = self.padding[axis] + extent + self.after()[axis];
        self.kernel[axis].min((total - index * self.stride[axis]).div_ceil(self.dilation[axis]))
    }

    /// One over the number of cells of each window of an image.
    pub(super) fn weights(&self, image: &[usize], outputs: &[usize], padded: bool) -> Vec<f64> {
        let count: usize = outputs.iter().product();
        let weight = |mut index: usize| {
            let cells = (0..N).rev().map(|axis| {
                let at = index % outputs[axis];
                index /= outputs[axis];
                self.cells(axis, at, image[axis], padded) as f64
            });
            1.0 / cells.product::<f64>()
        };
        (0..count).map(weight).collect()
    }
}

/// Floats, `[N, C]` and `axes` more.
pub(super) fn check(op: &'static str, x: &Meta, axes: usize) -> Result<()> {
    if !x.dtype.is_float() {
        return Err(Error::dtype(op, x.to_string(), "Convert to a float with to_dtype."));
    }
    if x.shape.rank() != 2 + axes {
        let remedy = match axes {
            1 => "Give lines [N, C, L]: add or merge axes with reshape.",
            2 => "Give images [N, C, H, W]: add or merge axes with reshape.",
            _ => "Give volumes [N, C, D, H, W]: add or merge axes with reshape.",
        };
        return Err(Error::shape(op, x.to_string(), remedy));
    }
    Ok(())
}
