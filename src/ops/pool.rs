//! Pooling over windows of the last two axes: maxima, sums, averages.
//!
//! A sum over windows is linear, and its transpose spreads every output over its window; both are
//! operations, each the other's gradient. A maximum is, at a given x, a choice of positions: its gradient
//! scatters to them, the scatter's gradient gathers from them, and so on, at any order.
//!
//! A window starts at i·stride − padding. Only windows that fit into the padded plane count (PyTorch's
//! floor mode), so an extent H gives ⌊(H + 2·padding − kernel)/stride⌋ + 1.

mod cases;
mod max;
mod sum;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::gpu::{Buffer, Dispatch, Gpu, Shader, Source};
use crate::op::{self, Meta};
use crate::shape::Shape;
use crate::tensor::Tensor;
pub(super) use cases::rooms;
use std::ops::Range;

/// Kernels count in 32 bits, padding included.
const MAX_KERNEL: usize = 1 << 30;

/// The windows of a pooling, rows before columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// The extents of a window.
    pub kernel: [usize; 2],
    /// From the start of one window to that of the next.
    pub stride: [usize; 2],
    /// How far windows reach over each edge; at most half the kernel.
    pub padding: [usize; 2],
}

impl Pool2d {
    /// Windows of these extents, side by side, without padding.
    pub const fn new(kernel: [usize; 2]) -> Self {
        Pool2d { kernel, stride: kernel, padding: [0, 0] }
    }

    /// With another stride.
    pub const fn stride(self, stride: [usize; 2]) -> Self {
        Pool2d { stride, ..self }
    }

    /// With padding.
    pub const fn padding(self, padding: [usize; 2]) -> Self {
        Pool2d { padding, ..self }
    }

    /// The shape of the outputs over `x`.
    fn output(&self, op: &'static str, x: &Meta) -> Result<Shape> {
        check_planes(op, x)?;
        let mut shape = x.shape;
        for (k, axis) in [(0, 2), (1, 3)] {
            let (kernel, stride, padding) = (self.kernel[k], self.stride[k], self.padding[k]);
            if kernel == 0 || stride == 0 || kernel > MAX_KERNEL || padding > kernel / 2 {
                return Err(Error::argument(
                    op,
                    format!("kernel {:?}, stride {:?}, padding {:?}", self.kernel, self.stride, self.padding),
                    "Kernel and stride are at least one, a kernel is at most 2^30, and padding at most half of it.",
                ));
            }
            let padded = x.shape[axis] + 2 * padding;
            if x.shape[axis] == 0 || kernel > padded {
                return Err(Error::shape(
                    op,
                    format!("{x} has no window of {:?} with padding {:?}", self.kernel, self.padding),
                    "Use a smaller kernel, or more padding.",
                ));
            }
            shape = shape.with(axis, (padded - kernel) / stride + 1);
        }
        Shape::new(&shape)
    }

    /// The part of window `index` that lies on the axis (0 rows, 1 columns), which has this extent.
    fn window(&self, axis: usize, index: usize, extent: usize) -> Range<usize> {
        let (start, padding) = (index * self.stride[axis], self.padding[axis]);
        start.max(padding) - padding..(start + self.kernel[axis]).min(extent + padding) - padding
    }

    /// The positions in a plane of `height` × `width` that window number `index` of `columns` a row covers.
    fn positions(
        &self,
        index: usize,
        columns: usize,
        [height, width]: [usize; 2],
    ) -> impl Iterator<Item = usize> {
        let rows = self.window(0, index / columns, height);
        let cells = self.window(1, index % columns, width);
        rows.flat_map(move |h| cells.clone().map(move |w| h * width + w))
    }
}

fn check_planes(op: &'static str, x: &Meta) -> Result<()> {
    if !x.dtype.is_float() {
        return Err(Error::dtype(op, x.to_string(), "Convert to a float with to_dtype."));
    }
    if x.shape.rank() != 4 {
        return Err(Error::shape(
            op,
            x.to_string(),
            "Give images [N, C, H, W]: add or merge axes with reshape.",
        ));
    }
    Ok(())
}

fn plane(shape: &Shape) -> [usize; 2] {
    [shape[2], shape[3]]
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct PoolParams {
    count: u32,
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
}

/// One invocation for each of `count` elements of what the kernel writes; `x` is the shape of the images,
/// `y` that of the windows.
fn launch(
    gpu: &Gpu,
    shader: &'static Shader,
    pool: &Pool2d,
    (x, y, count): (&Shape, &Shape, usize),
    buffers: &[&Buffer],
) -> Result<()> {
    let words = |extents: [usize; 2]| extents.map(|e| e as u32);
    // Beyond the padded plane there is one window, whatever the stride.
    let stride = [0, 1].map(|k| pool.stride[k].min(x[2 + k] + 2 * pool.padding[k]));
    let params = PoolParams {
        count: count as u32,
        height: x[2] as u32,
        width: x[3] as u32,
        out_height: y[2] as u32,
        out_width: y[3] as u32,
        kernel: words(pool.kernel),
        stride: words(stride),
        padding: words(pool.padding),
    };
    gpu.dispatch(Dispatch {
        op: "pool2d",
        source: Source::File(shader, &[]),
        params: bytemuck::bytes_of(&params),
        buffers,
        groups: gpu.fold(count, 64),
    })
}

impl Tensor {
    /// The largest element of each window: y\[n,c,i,j\] = max x\[n,c,h,w\] over the window of (i, j).
    ///
    /// x `[N, C, H, W]` → `[N, C, (H + 2p − k)/s + 1, (W + 2p − k)/s + 1]`, rounded down. Padding is never
    /// the largest. The gradient goes to the first maximum of each window, to any order; positions are
    /// saved. Exact. Errors: [`Error::Shape`], [`Error::DType`], [`Error::Argument`].
    pub fn max_pool2d(&self, pool: Pool2d) -> Result<Tensor> {
        Ok(self.max_pool2d_with_indices(pool)?.0)
    }

    /// [`max_pool2d`](Self::max_pool2d), and where the maxima are: positions h·W + w in their plane, as
    /// i32; the first on a tie.
    pub fn max_pool2d_with_indices(&self, pool: Pool2d) -> Result<(Tensor, Tensor)> {
        let mut outputs = op::apply(max::MaxPool { pool }, &[self])?;
        let positions = outputs.swap_remove(1);
        Ok((outputs.swap_remove(0), positions))
    }

    /// The sum of each window: y\[n,c,i,j\] = Σ x\[n,c,h,w\] over the window of (i, j), padding being zero.
    ///
    /// Shapes and errors are those of [`max_pool2d`](Self::max_pool2d). Linear: nothing is saved.
    pub fn sum_pool2d(&self, pool: Pool2d) -> Result<Tensor> {
        Ok(op::apply(sum::SumPool { pool }, &[self])?.swap_remove(0))
    }

    /// The average of each window: over all its cells with `count_include_pad`, padding being zero; over
    /// those that lie in the image without.
    ///
    /// Shapes and errors are those of [`max_pool2d`](Self::max_pool2d). Linear: nothing is saved.
    pub fn avg_pool2d(&self, pool: Pool2d, count_include_pad: bool) -> Result<Tensor> {
        let shape = pool.output("avg_pool2d", &self.meta())?;
        let sums = self.sum_pool2d(pool)?;
        if count_include_pad || pool.padding == [0, 0] {
            return sums.mul_scalar(1.0 / (pool.kernel[0] as f64 * pool.kernel[1] as f64));
        }
        let [height, width] = plane(&shape);
        let cells = |k: usize, index: usize| pool.window(k, index, self.shape()[2 + k]).len() as f64;
        let weights: Vec<f64> =
            (0..height * width).map(|o| 1.0 / (cells(0, o / width) * cells(1, o % width))).collect();
        sums.mul(&self.constants(&weights, Shape::known(&[height, width]))?)
    }

    /// The mean of each plane: `[N, C, H, W]` → `[N, C, 1, 1]`.
    pub fn global_avg_pool2d(&self) -> Result<Tensor> {
        check_planes("global_avg_pool2d", &self.meta())?;
        self.mean(&[2, 3], true)
    }

    /// The maximum of each plane: `[N, C, H, W]` → `[N, C, 1, 1]`. Elements that share it share its
    /// gradient, as in [`max`](Self::max).
    pub fn global_max_pool2d(&self) -> Result<Tensor> {
        check_planes("global_max_pool2d", &self.meta())?;
        self.max(&[2, 3], true)
    }
}
