//! Pooling over windows of the last two axes: maxima, sums, averages.
//!
//! A sum over windows is linear, and its transpose spreads every output over its window; both are
//! operations, each the other's gradient. A maximum is, at a given x, a choice of positions: its gradient
//! scatters to them, the scatter's gradient gathers from them, and so on, at any order.
//!
//! A window starts at i·stride − padding. Only windows that fit into the padded plane count (PyTorch's
//! floor mode), so an extent H gives ⌊(H + 2·padding − dilation·(kernel − 1) − 1)/stride⌋ + 1; rounded up in
//! ceil mode. Lines are images of one row; volumes are pooled plane by plane, then depth by depth.

mod cases;
mod max;
mod more;
mod more_cases;
mod sum;
#[cfg(test)]
mod tests;
mod windows;

use crate::choice;
use crate::error::Result;
use crate::gpu::{Buffer, Constants, Dispatch, Gpu, Shader, Source};
use crate::op;
use crate::shape::Shape;
use crate::tensor::Tensor;
use windows::check;
pub use windows::{Pool, Pool1d, Pool2d, Pool3d};

/// The cases of this room.
pub(super) fn rooms() -> Vec<crate::verify::Room> {
    cases::rooms().into_iter().chain(more_cases::rooms()).collect()
}

impl Pool2d {
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
    reach: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    dilation: [u32; 2],
}

/// One invocation for each of `count` elements of what the kernel writes; `x` is the shape of the images,
/// `y` that of the windows.
fn launch(
    gpu: &Gpu,
    (shader, constants): (&'static Shader, Constants),
    pool: &Pool2d,
    (x, y, count): (&Shape, &Shape, usize),
    buffers: &[&Buffer],
) -> Result<()> {
    // No loop goes through more than the cells of a window, or of what one takes that is apart from others.
    let cells: usize = (0..2).map(|k| pool.kernel[k].max(pool.stride[k]).min(x[2 + k]) + 1).product();
    choice::check_turns(&gpu.capabilities(), "pool2d", cells)?;
    let words = |extents: [usize; 2]| extents.map(|e| e as u32);
    // Beyond the padded plane there is one window, whatever the stride.
    let padded = |k: usize| x[2 + k] + pool.padding[k] + pool.after()[k];
    let stride = [0, 1].map(|k| pool.stride[k].min(padded(k)));
    // A window of one cell has none to be apart from.
    let dilation = [0, 1].map(|k| if pool.kernel[k] == 1 { 1 } else { pool.dilation[k] });
    let reach = [0, 1].map(|k| pool.reach(k).unwrap_or(0));
    let params = PoolParams {
        count: count as u32,
        height: x[2] as u32,
        width: x[3] as u32,
        out_height: y[2] as u32,
        out_width: y[3] as u32,
        reach: words(reach),
        stride: words(stride),
        padding: words(pool.padding),
        dilation: words(dilation),
    };
    gpu.dispatch(Dispatch {
        op: "pool2d",
        source: Source::File(shader, constants),
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
    /// saved. Exact. Errors: [`Shape`](crate::Error::Shape),
    /// [`DType`](crate::Error::DType), [`Argument`](crate::Error::Argument).
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

    /// The average of each window: over all its cells with `count_include_pad`, padding being zero (but not
    /// over those beyond the padding, in ceil mode); over those that lie in the image without.
    ///
    /// Shapes and errors are those of [`max_pool2d`](Self::max_pool2d). Linear: nothing is saved.
    pub fn avg_pool2d(&self, pool: Pool2d, count_include_pad: bool) -> Result<Tensor> {
        let shape = pool.output("avg_pool2d", &self.meta())?;
        let sums = self.sum_pool2d(pool)?;
        let unpadded = pool.padding == [0, 0] && pool.after() == [0, 0];
        if !pool.ceil && (count_include_pad || unpadded) {
            return sums.mul_scalar(1.0 / (pool.kernel[0] as f64 * pool.kernel[1] as f64));
        }
        let [height, width] = plane(&shape);
        let weights = pool.weights(&plane(self.shape()), &[height, width], count_include_pad);
        sums.mul(&self.constants(&weights, Shape::known(&[height, width]))?)
    }

    /// The mean of each plane: `[N, C, H, W]` → `[N, C, 1, 1]`.
    pub fn global_avg_pool2d(&self) -> Result<Tensor> {
        check("global_avg_pool2d", &self.meta(), 2)?;
        self.mean(&[2, 3], true)
    }

    /// The maximum of each plane: `[N, C, H, W]` → `[N, C, 1, 1]`. Elements that share it share its
    /// gradient, as in [`max`](Self::max).
    pub fn global_max_pool2d(&self) -> Result<Tensor> {
        check("global_max_pool2d", &self.meta(), 2)?;
        self.max(&[2, 3], true)
    }
}
