//! Convolutions over one and three axes, and the patches that convolutions read, as operations of their own.

use super::{Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvOptions};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Which place of a padded axis each tap of each output reads, tap by tap.
pub(super) fn places(outputs: usize, taps: usize, stride: usize, dilation: usize) -> Vec<i32> {
    (0..outputs).flat_map(|o| (0..taps).map(move |t| (o * stride + t * dilation) as i32)).collect()
}

impl ConvOptions<1> {
    /// The options of one row.
    pub(super) fn lifted(&self) -> Conv2dOptions {
        ConvOptions {
            stride: [1, self.stride[0]],
            padding: [0, self.padding[0]],
            padding_after: Some([0, self.after()[0]]),
            dilation: [1, self.dilation[0]],
            groups: self.groups,
        }
    }
}

/// The output extents of a convolution whose operands fit, or the error.
fn outputs<const N: usize>(
    op: &'static str,
    x: &Tensor,
    w: &Tensor,
    options: &ConvOptions<N>,
) -> Result<[usize; N]> {
    let (image, kernel) = options.check(op, &x.meta(), &w.meta(), false)?;
    let mut extents = [0; N];
    for axis in 0..N {
        let Some(extent) = options.extent(axis, image[axis], kernel[axis]) else {
            let given = format!("input {}, weight {}, {options:?}", x.describe(), w.describe());
            return Err(Error::shape(op, given, "The kernel is larger than the padded image: pad more."));
        };
        extents[axis] = extent;
    }
    Ok(extents)
}

impl Tensor {
    /// One-dimensional convolution, as cross-correlation; see [`conv2d`](Self::conv2d).
    ///
    /// `self` `[B, C, L]`, `weight` `[O, C/groups, k]`, `bias` `[O]` → `[B, O, L′]`. Computed as images of one
    /// row.
    pub fn conv1d(&self, weight: &Tensor, bias: Option<&Tensor>, options: Conv1dOptions) -> Result<Tensor> {
        outputs("conv1d", self, weight, &options)?;
        self.unsqueeze(2)?.conv2d(&weight.unsqueeze(2)?, bias, options.lifted())?.squeeze(2)
    }

    /// Three-dimensional convolution, as cross-correlation; see [`conv2d`](Self::conv2d).
    ///
    /// `self` `[B, C, D, H, W]`, `weight` `[O, C/groups, kd, kh, kw]`, `bias` `[O]` → `[B, O, D′, H′, W′]`. The
    /// planes that the taps of a depth read become channels of one two-dimensional convolution: that takes
    /// the memory of kd inputs.
    pub fn conv3d(&self, weight: &Tensor, bias: Option<&Tensor>, options: Conv3dOptions) -> Result<Tensor> {
        let op = "conv3d";
        let [layers, ..] = outputs(op, self, weight, &options)?;
        let (x, w) = (*self.shape(), *weight.shape());
        let taps = w[2];
        let read = self.windows(2, (options.padding[0], options.after()[0]), taps, |taps| {
            places(layers, taps, options.stride[0], options.dilation[0])
        })?;
        let each = Shape::new(&[x[0], x[1], layers, taps, x[3], x[4]])?;
        let planes = read.reshape(each)?.permute(&[0, 2, 1, 3, 4, 5])?;
        let planes = planes.reshape([x[0] * layers, x[1] * taps, x[3], x[4]])?;
        let weight = weight.reshape([w[0], w[1] * taps, w[3], w[4]])?;
        let y = planes.conv2d(&weight, bias, options.only([1, 2]))?;
        let (height, width) = (y.shape()[2], y.shape()[3]);
        y.reshape([x[0], layers, w[0], height, width])?.permute(&[0, 2, 1, 3, 4])
    }

    /// What the taps of each output read along one axis, zeros around it included.
    fn windows(
        &self,
        axis: usize,
        around: (usize, usize),
        taps: usize,
        places: impl Fn(usize) -> Vec<i32>,
    ) -> Result<Tensor> {
        let mut amounts = vec![(0, 0); self.rank()];
        amounts[axis] = around;
        let padded = if around == (0, 0) { self.clone() } else { self.pad(&amounts, 0.0)? };
        let places = places(taps);
        let count = Shape::new(&[places.len()])?;
        padded.index_select(axis as isize, &Tensor::from_vec(self.device(), places, count)?)
    }

    /// The patches that a convolution reads, as columns: im2col.
    ///
    /// x `[B, C, H, W]` → `[B, C·kh·kw, L]`, where L = H′·W′ counts the outputs of a convolution with this
    /// kernel and these options (whose groups play no part), row by row, and the rows of a column are
    /// channels, then taps. The convolution is the weight `[O, C·kh·kw]` times this. Gradient:
    /// [`fold`](Self::fold). Exact. Errors: [`Error::Shape`], [`Error::DType`], [`Error::Argument`].
    pub fn unfold(&self, kernel: [usize; 2], options: Conv2dOptions) -> Result<Tensor> {
        let op = "unfold";
        self.require_float(op)?;
        let (image, outputs) = patches(op, self.shape(), kernel, &options)?;
        let [batch, channels] = image;
        let mut read = self.clone();
        for axis in 0..2 {
            let around = (options.padding[axis], options.after()[axis]);
            read = read.windows(2 + axis, around, kernel[axis], |taps| {
                places(outputs[axis], taps, options.stride[axis], options.dilation[axis])
            })?;
        }
        let each = Shape::new(&[batch, channels, outputs[0], kernel[0], outputs[1], kernel[1]])?;
        let columns = read.reshape(each)?.permute(&[0, 1, 3, 5, 2, 4])?;
        columns.reshape([batch, channels * kernel[0] * kernel[1], outputs[0] * outputs[1]])
    }

    /// Patches added where they were read from: col2im, the transpose of [`unfold`](Self::unfold).
    ///
    /// `self` `[B, C·kh·kw, L]` → `[B, C, H, W]`, with the extents `image` = \[H, W\]. Gradient: `unfold`.
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Argument`].
    pub fn fold(&self, image: [usize; 2], kernel: [usize; 2], options: Conv2dOptions) -> Result<Tensor> {
        let op = "fold";
        self.require_float(op)?;
        let given = || format!("{} into {image:?} by {kernel:?}, {options:?}", self.describe());
        let taps = kernel[0].saturating_mul(kernel[1]);
        let &[batch, rows, columns] = &**self.shape() else {
            return Err(Error::shape(op, given(), "Give columns [B, C·kh·kw, L]."));
        };
        if taps == 0 || rows % taps != 0 {
            return Err(Error::shape(op, given(), "The taps of the kernel divide the rows."));
        }
        let channels = rows / taps;
        let shape = Shape::new(&[batch, channels, image[0], image[1]])?;
        let (_, outputs) = patches(op, &shape, kernel, &options)?;
        if outputs[0] * outputs[1] != columns {
            let given = format!("{}, of {outputs:?} patches", given());
            return Err(Error::shape(op, given, "Give one column for each patch."));
        }
        let each = [batch, channels, kernel[0], kernel[1], outputs[0], outputs[1]];
        let mut sum = self.reshape(each)?.permute(&[0, 1, 4, 2, 5, 3])?.reshape([
            batch,
            channels,
            outputs[0] * kernel[0],
            outputs[1] * kernel[1],
        ])?;
        for axis in 0..2 {
            let (before, after) = (options.padding[axis], options.after()[axis]);
            let places = places(outputs[axis], kernel[axis], options.stride[axis], options.dilation[axis]);
            let count = Shape::new(&[places.len()])?;
            let places = Tensor::from_vec(self.device(), places, count)?;
            let (along, end) = (2 + axis as isize, before + image[axis]);
            sum = sum.index_add(along, &places, end + after)?.slice(along, before, end)?;
        }
        Ok(sum)
    }
}

/// Batch and channels of images, and how many patches there are along each axis.
fn patches(
    op: &'static str,
    shape: &Shape,
    kernel: [usize; 2],
    options: &Conv2dOptions,
) -> Result<([usize; 2], [usize; 2])> {
    let given = || format!("images {shape} by {kernel:?}, {options:?}");
    if options.stride.contains(&0) || options.dilation.contains(&0) {
        return Err(Error::argument(op, given(), "Stride and dilation are at least one."));
    }
    let &[batch, channels, height, width] = &**shape else {
        return Err(Error::shape(op, given(), "Give images [B, C, H, W]."));
    };
    match options.extent(0, height, kernel[0]).zip(options.extent(1, width, kernel[1])) {
        Some((rows, columns)) => Ok(([batch, channels], [rows, columns])),
        None => Err(Error::shape(op, given(), "The kernel is larger than the padded image: pad more.")),
    }
}
