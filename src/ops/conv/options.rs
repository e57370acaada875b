//! How convolutions sample their input, along any number of axes.

use crate::error::{Error, Result};
use crate::op::Meta;
use crate::shape::Shape;

/// How a convolution samples its input, with one number for each of the N axes of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions<const N: usize> {
    /// Steps between neighbouring outputs.
    pub stride: [usize; N],
    /// Zeros before the image, and behind it unless `padding_after` says otherwise.
    pub padding: [usize; N],
    /// Zeros behind the image, where they are not as many as before it.
    pub padding_after: Option<[usize; N]>,
    /// Steps between neighbouring taps.
    pub dilation: [usize; N],
    /// Channels are cut into this many groups that do not see one another.
    pub groups: usize,
}

/// Options of a convolution over one axis.
pub type Conv1dOptions = ConvOptions<1>;
/// Options of a convolution over images; the first of each pair is for rows, the second for columns.
pub type Conv2dOptions = ConvOptions<2>;
/// Options of a convolution over volumes: depth, rows, columns.
pub type Conv3dOptions = ConvOptions<3>;

impl<const N: usize> Default for ConvOptions<N> {
    fn default() -> Self {
        ConvOptions { stride: [1; N], padding: [0; N], padding_after: None, dilation: [1; N], groups: 1 }
    }
}

/// Zeros to add before and behind an axis so that outputs are ⌈input/stride⌉; an odd one goes behind with
/// `upper` and before without. Source: ONNX, `auto_pad`.
pub(in crate::ops) fn same(input: usize, reach: usize, stride: usize, upper: bool) -> (usize, usize) {
    let outputs = input.div_ceil(stride.max(1)).max(1);
    let total = ((outputs - 1) * stride + reach).saturating_sub(input);
    let (less, more) = (total / 2, total - total / 2);
    if upper { (less, more) } else { (more, less) }
}

impl<const N: usize> ConvOptions<N> {
    /// The options as those of images, if they are.
    pub(crate) fn of_images(&self) -> Option<Conv2dOptions> {
        let pair = |numbers: &[usize; N]| <[usize; 2]>::try_from(&numbers[..]).ok();
        Some(ConvOptions {
            stride: pair(&self.stride)?,
            padding: pair(&self.padding)?,
            padding_after: self.padding_after.as_ref().and_then(pair),
            dilation: pair(&self.dilation)?,
            groups: self.groups,
        })
    }

    /// The same options with another stride.
    pub fn stride(self, stride: [usize; N]) -> Self {
        ConvOptions { stride, ..self }
    }

    /// The same options with other padding, as much behind the image as before it.
    pub fn padding(self, padding: [usize; N]) -> Self {
        ConvOptions { padding, padding_after: None, ..self }
    }

    /// The same options with padding before and behind the image.
    pub fn padding_each(self, before: [usize; N], after: [usize; N]) -> Self {
        ConvOptions { padding: before, padding_after: Some(after), ..self }
    }

    /// The same options with the padding that gives ⌈input/stride⌉ outputs for a kernel of these extents, an
    /// odd zero behind the image: ONNX's `SAME_UPPER`, TensorFlow's `SAME`.
    pub fn same_upper(self, input: [usize; N], kernel: [usize; N]) -> Self {
        self.same(input, kernel, true)
    }

    /// [`same_upper`](Self::same_upper) with an odd zero before the image: ONNX's `SAME_LOWER`.
    pub fn same_lower(self, input: [usize; N], kernel: [usize; N]) -> Self {
        self.same(input, kernel, false)
    }

    fn same(self, input: [usize; N], kernel: [usize; N], upper: bool) -> Self {
        let reach = |axis: usize| kernel[axis].saturating_sub(1).saturating_mul(self.dilation[axis]) + 1;
        let pads: [(usize, usize); N] =
            std::array::from_fn(|axis| same(input[axis], reach(axis), self.stride[axis], upper));
        self.padding_each(pads.map(|(before, _)| before), pads.map(|(_, after)| after))
    }

    /// The same options with another dilation.
    pub fn dilation(self, dilation: [usize; N]) -> Self {
        ConvOptions { dilation, ..self }
    }

    /// The same options with another number of groups.
    pub fn groups(self, groups: usize) -> Self {
        ConvOptions { groups, ..self }
    }

    /// The padding behind the image.
    pub(super) fn after(&self) -> [usize; N] {
        self.padding_after.unwrap_or(self.padding)
    }

    /// The options of some of the axes.
    pub(super) fn only<const M: usize>(&self, axes: [usize; M]) -> ConvOptions<M> {
        let after = self.after();
        ConvOptions {
            stride: axes.map(|a| self.stride[a]),
            padding: axes.map(|a| self.padding[a]),
            padding_after: Some(axes.map(|a| after[a])),
            dilation: axes.map(|a| self.dilation[a]),
            groups: self.groups,
        }
    }

    /// How far the taps of an axis reach, the first included.
    pub(super) fn reach(&self, axis: usize, kernel: usize) -> Option<usize> {
        kernel.checked_sub(1)?.checked_mul(self.dilation[axis])?.checked_add(1)
    }

    /// The output's extent along an axis, if the kernel fits.
    pub(super) fn extent(&self, axis: usize, input: usize, kernel: usize) -> Option<usize> {
        let padded = self.padding[axis].checked_add(self.after()[axis])?.checked_add(input)?;
        let reach = self.reach(axis, kernel)?;
        Some(padded.checked_sub(reach)?.checked_div(self.stride[axis])? + 1)
    }

    /// The input's extent along an axis that a transposed convolution of this one restores, with `extra`
    /// behind it.
    pub(super) fn restored(&self, axis: usize, output: usize, kernel: usize, extra: usize) -> Option<usize> {
        let padded =
            output.checked_sub(1)?.checked_mul(self.stride[axis])?.checked_add(self.reach(axis, kernel)?)?;
        let padding = self.padding[axis].checked_add(self.after()[axis])?;
        padded.checked_add(extra)?.checked_sub(padding)
    }

    /// Where along an axis a tap of an output position reads, if inside.
    pub(super) fn source(&self, axis: usize, position: usize, tap: usize, extent: usize) -> Option<usize> {
        let at = position * self.stride[axis] + tap * self.dilation[axis];
        at.checked_sub(self.padding[axis]).filter(|&at| at < extent)
    }

    /// Which output position reads an input position through a tap, if one does.
    pub(super) fn reader(&self, axis: usize, position: usize, tap: usize, extent: usize) -> Option<usize> {
        let at = (position + self.padding[axis]).checked_sub(tap * self.dilation[axis])?;
        (at % self.stride[axis] == 0).then(|| at / self.stride[axis]).filter(|&at| at < extent)
    }

    /// The rule of all convolutions: x `[B, C, ..]`, w `[O, C/groups, ..]`, or with `transposed` x
    /// `[B, C, ..]` and w `[C, O/groups, ..]`. The extents of the image and of the kernel.
    pub(super) fn check(
        &self,
        op: &'static str,
        x: &Meta,
        w: &Meta,
        transposed: bool,
    ) -> Result<([usize; N], [usize; N])> {
        let given = || format!("input {x}, weight {w}, {self:?}");
        if self.stride.contains(&0) || self.dilation.contains(&0) || self.groups == 0 {
            return Err(Error::argument(op, given(), "Stride, dilation and groups are at least one."));
        }
        if !x.dtype.is_float() || !w.dtype.is_float() {
            return Err(Error::dtype(op, given(), "Convert to a float with to_dtype."));
        }
        let axes = |shape: &Shape| <[usize; N]>::try_from(shape.get(2..).unwrap_or(&[])).ok();
        let (Some(image), Some(kernel)) = (axes(&x.shape), axes(&w.shape)) else {
            let remedy = match (N, transposed) {
                (1, false) => "Give an input [B, C, L] and a weight [O, C/groups, k].",
                (2, false) => "Give an input [B, C, H, W] and a weight [O, C/groups, kh, kw].",
                (_, false) => "Give an input [B, C, D, H, W] and a weight [O, C/groups, kd, kh, kw].",
                (1, true) => "Give an input [B, C, L] and a weight [C, O/groups, k].",
                (2, true) => "Give an input [B, C, H, W] and a weight [C, O/groups, kh, kw].",
                (_, true) => "Give an input [B, C, D, H, W] and a weight [C, O/groups, kd, kh, kw].",
            };
            return Err(Error::shape(op, given(), remedy));
        };
        let (channels, first, second) = (x.shape[1], w.shape[0], w.shape[1]);
        if transposed && (first != channels || first % self.groups != 0) {
            let remedy = "Channels of the input are the first extent of the weight, and groups divides them.";
            return Err(Error::shape(op, given(), remedy));
        }
        if !transposed && (second.checked_mul(self.groups) != Some(channels) || first % self.groups != 0) {
            return Err(Error::shape(
                op,
                given(),
                "Channels of the input are those of the weight times groups, and groups divides the outputs.",
            ));
        }
        Ok((image, kernel))
    }
}
