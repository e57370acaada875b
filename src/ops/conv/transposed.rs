//! Transposed convolution: the gradient of a convolution with respect to its input, as a layer of its own.

use super::{Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvOptions, Extents, InputGradient, single};
use crate::error::{Error, Result};
use crate::op::Meta;
use crate::ops::index::{Along, add_at};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The extents that a transposed convolution gives, and the extents of its kernel.
fn restored<const N: usize>(
    op: &'static str,
    x: &Meta,
    w: &Meta,
    options: ConvOptions<N>,
    extra: [usize; N],
) -> Result<([usize; N], [usize; N])> {
    let (image, kernel) = options.check(op, x, w, true)?;
    let given = || format!("input {x}, weight {w}, {options:?}, output padding {extra:?}");
    if (0..N).any(|axis| extra[axis] >= options.stride[axis]) {
        return Err(Error::argument(op, given(), "The output padding is below the stride."));
    }
    let mut extents = [0; N];
    for axis in 0..N {
        let extent = options.restored(axis, image[axis], kernel[axis], extra[axis]);
        let Some(extent) = extent.filter(|&e| e > 0) else {
            return Err(Error::shape(op, given(), "Nothing is left: pad less, or enlarge the kernel."));
        };
        extents[axis] = extent;
    }
    Ok((extents, kernel))
}

/// Numbers for each channel added to what a convolution of any number of axes gave.
pub(super) fn biased(op: &'static str, y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let Some(bias) = bias else { return Ok(y) };
    bias.require_float(op)?;
    if **bias.shape() != [y.shape()[1]] {
        let given = format!("bias {} for an output {}", bias.describe(), y.describe());
        return Err(Error::shape(op, given, "The bias has one entry for each output channel."));
    }
    let mut dims = vec![1; y.rank()];
    dims[1] = bias.count();
    y.add(&bias.reshape(dims)?)
}

impl Tensor {
    /// Transposed convolution over one axis; see [`conv_transpose2d`](Self::conv_transpose2d).
    ///
    /// `self` `[B, C, L]`, `weight` `[C, O/groups, k]`, `bias` `[O]` → `[B, O, L′]`.
    pub fn conv_transpose1d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: Conv1dOptions,
        output_padding: [usize; 1],
    ) -> Result<Tensor> {
        let op = "conv_transpose1d";
        restored(op, &self.meta(), &weight.meta(), options, output_padding)?;
        let y = self.unsqueeze(2)?.conv_transpose2d(
            &weight.unsqueeze(2)?,
            None,
            options.lifted(),
            [0, output_padding[0]],
        )?;
        biased(op, y.squeeze(2)?, bias)
    }

    /// Transposed two-dimensional convolution: what the gradient of a convolution with these options makes of
    /// a cotangent. Each input element adds a kernel to the output, `stride` apart.
    ///
    /// `self` `[B, C, H, W]`, `weight` `[C, O/groups, kh, kw]`, `bias` `[O]` → `[B, O, H′, W′]` with
    /// H′ = (H − 1)·stride + dilation·(kh − 1) + 1 + output_padding − padding on both sides, and W′ alike.
    /// `output_padding`, below the stride, says which of the extents that a convolution makes H of is meant.
    /// Gradients: the convolution, and the correlation of input and cotangent.
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Device`], [`Error::Argument`].
    /// Source: Dumoulin & Visin 2016, arXiv:1603.07285.
    pub fn conv_transpose2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: Conv2dOptions,
        output_padding: [usize; 2],
    ) -> Result<Tensor> {
        let op = "conv_transpose2d";
        let (x, w) = (self.meta(), weight.meta());
        let (extents, kernel) = restored(op, &x, &w, options, output_padding)?;
        let e = Extents {
            batch: x.shape[0],
            cin: w.shape[1],
            cout: w.shape[0] / options.groups,
            x: extents,
            y: [x.shape[2], x.shape[3]],
            kernel,
            options,
        };
        biased(op, single(InputGradient(e), &[self, weight])?, bias)
    }

    /// Transposed convolution over volumes; see [`conv_transpose2d`](Self::conv_transpose2d).
    ///
    /// `self` `[B, C, D, H, W]`, `weight` `[C, O/groups, kd, kh, kw]`, `bias` `[O]` → `[B, O, D′, H′, W′]`.
    /// Each depth gives the planes of all its taps in one two-dimensional product, which then add up.
    pub fn conv_transpose3d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: Conv3dOptions,
        output_padding: [usize; 3],
    ) -> Result<Tensor> {
        let op = "conv_transpose3d";
        let ([depth, ..], [taps, ..]) = restored(op, &self.meta(), &weight.meta(), options, output_padding)?;
        let (x, w) = (self.shape(), weight.shape());
        let (layers, channels) = (x[2], options.groups * w[1]);
        let planes = self.permute(&[0, 2, 1, 3, 4])?.reshape([x[0] * layers, x[1], x[3], x[4]])?;
        let weight = weight.reshape([w[0], w[1] * taps, w[3], w[4]])?;
        let y = planes.conv_transpose2d(
            &weight,
            None,
            options.only([1, 2]),
            [output_padding[1], output_padding[2]],
        )?;
        let (height, width) = (y.shape()[2], y.shape()[3]);
        let each = Shape::new(&[x[0], layers, channels, taps, height, width])?;
        let stacked = y.reshape(each)?.permute(&[0, 2, 1, 3, 4, 5])?;
        let stacked = stacked.reshape([x[0], channels, layers * taps, height, width])?;
        // Layer l gives tap t of padded depth l·stride + t·dilation.
        let (before, after) = (options.padding[0], options.after()[0]);
        let places = super::more::places(layers, taps, options.stride[0], options.dilation[0]);
        let places = Tensor::from_vec(self.device(), places, Shape::new(&[layers * taps])?)?;
        let padded = add_at(&stacked, &places, Along::slices(2), before + depth + after)?;
        biased(op, padded.slice(2, before, before + depth)?, bias)
    }
}
