//! Pooling over one and three axes, by powers, to given extents, and back.

use super::windows::{Pool, Pool1d, Pool2d, Pool3d, check};
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::ops::index::Scatter;
use crate::ops::resize::{Taps, resample};
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Pool1d {
    /// The windows of one row.
    fn lifted(&self) -> Pool2d {
        Pool {
            kernel: [1, self.kernel[0]],
            stride: [1, self.stride[0]],
            padding: [0, self.padding[0]],
            padding_after: Some([0, self.after()[0]]),
            dilation: [1, self.dilation[0]],
            ceil: self.ceil,
        }
    }
}

impl Tensor {
    /// The largest element of each window along a line; see [`max_pool2d`](Self::max_pool2d).
    ///
    /// x `[N, C, L]` → `[N, C, L′]`.
    pub fn max_pool1d(&self, pool: Pool1d) -> Result<Tensor> {
        pool.output("max_pool1d", &self.meta())?;
        self.unsqueeze(2)?.max_pool2d(pool.lifted())?.squeeze(2)
    }

    /// The average of each window along a line; see [`avg_pool2d`](Self::avg_pool2d).
    ///
    /// x `[N, C, L]` → `[N, C, L′]`.
    pub fn avg_pool1d(&self, pool: Pool1d, count_include_pad: bool) -> Result<Tensor> {
        pool.output("avg_pool1d", &self.meta())?;
        self.unsqueeze(2)?.avg_pool2d(pool.lifted(), count_include_pad)?.squeeze(2)
    }

    /// The largest element of each window of a volume; see [`max_pool2d`](Self::max_pool2d).
    ///
    /// x `[N, C, D, H, W]` → `[N, C, D′, H′, W′]`. Planes are pooled first, then depths.
    pub fn max_pool3d(&self, pool: Pool3d) -> Result<Tensor> {
        let shape = pool.output("max_pool3d", &self.meta())?;
        self.planes_then_depths(pool, shape, Tensor::max_pool2d)
    }

    /// The average of each window of a volume; see [`avg_pool2d`](Self::avg_pool2d).
    ///
    /// x `[N, C, D, H, W]` → `[N, C, D′, H′, W′]`. Planes are summed first, then depths.
    pub fn avg_pool3d(&self, pool: Pool3d, count_include_pad: bool) -> Result<Tensor> {
        let shape = pool.output("avg_pool3d", &self.meta())?;
        let sums = self.planes_then_depths(pool, shape, Tensor::sum_pool2d)?;
        let weights = pool.weights(&self.shape()[2..], &shape[2..], count_include_pad);
        sums.mul(&self.constants(&weights, Shape::new(&shape[2..])?)?)
    }

    fn planes_then_depths(
        &self,
        pool: Pool3d,
        shape: Shape,
        run: impl Fn(&Tensor, Pool2d) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let x = self.shape();
        let planes = self.reshape([x[0], x[1] * x[2], x[3], x[4]])?;
        let planes = run(&planes, pool.only([1, 2]))?;
        let depth = pool.only([0]).lifted();
        let swapped = |[_, at]: [usize; 2]| [at, 1];
        let depth = Pool {
            kernel: swapped(depth.kernel),
            stride: swapped(depth.stride),
            padding: [depth.padding[1], 0],
            padding_after: depth.padding_after.map(|[_, at]| [at, 0]),
            dilation: swapped(depth.dilation),
            ceil: depth.ceil,
        };
        run(&planes.reshape([x[0], x[1], x[2], shape[3] * shape[4]])?, depth)?.reshape(shape)
    }

    /// The p-norm of each window: y = (Σ|x|ᵖ)^(1/p), padding being zero.
    ///
    /// Shapes are those of [`max_pool2d`](Self::max_pool2d). Where y is zero its gradient is, too.
    /// Errors: [`Error::Argument`] for p ≤ 0, infinite or not a number, [`Error::Shape`], [`Error::DType`].
    pub fn lp_pool2d(&self, p: f64, pool: Pool2d) -> Result<Tensor> {
        pool.output("lp_pool2d", &self.meta())?;
        if !(p > 0.0 && p.is_finite()) {
            return Err(Error::argument("lp_pool2d", format!("p = {p}"), "p is finite and above zero."));
        }
        // Zero has no logarithm, and roots no slope there.
        let power = |x: Formula, e: f64| {
            let zero = x.clone().equal(0.0);
            let safe = Formula::select(zero.clone(), Formula::constant(1.0), x);
            Formula::select(zero, Formula::constant(0.0), safe.powf(e))
        };
        let powers = Tensor::map([self], |[x]| power(x.abs(), p))?;
        Tensor::map([&powers.sum_pool2d(pool)?], |[sum]| power(sum, 1.0 / p))
    }

    /// The values put back where a maximum pooling took them from: y\[n,c,h,w\] = x\[n,c,i,j\] where
    /// position\[n,c,i,j\] = h·W + w, else zero. Of several with one position the last stays.
    ///
    /// x and positions `[N, C, H, W]` → `[N, C, H′, W′]` with the extents `image`. Gradient: gathered from the
    /// positions. Errors: [`Error::Index`] for a position outside the image, [`Error::Shape`],
    /// [`Error::DType`].
    pub fn max_unpool2d(&self, positions: &Tensor, image: [usize; 2]) -> Result<Tensor> {
        let op = "max_unpool2d";
        check(op, &self.meta(), 2)?;
        if positions.shape() != self.shape() {
            let given = format!("{} with positions {}", self.describe(), positions.describe());
            return Err(Error::shape(op, given, "Give one position for each value."));
        }
        let x = self.shape();
        let shape = Shape::new(&[x[0], x[1], image[0], image[1]])?;
        let (cells, planes) = (image[0] * image[1], [x[0], x[1], x[2] * x[3]]);
        let empty = self.detach().like(Shape::new(&[x[0], x[1], cells])?, 0.0)?;
        let places = super::super::index::in_range(op, positions, cells)?;
        empty.scatter(2, &places.reshape(planes)?, &self.reshape(planes)?, Scatter::Replace)?.reshape(shape)
    }

    /// The average of each of as many windows as asked for, as even as can be: window i of O over E cells
    /// reaches from ⌊i·E/O⌋ to below ⌈(i + 1)·E/O⌉.
    ///
    /// x `[N, C]` and as many axes as `extents` → `[N, C]` and these extents. One axis after the other.
    /// Errors: [`Error::Shape`], [`Error::DType`]; [`Error::Argument`] for an extent of zero.
    pub fn adaptive_avg_pool(&self, extents: &[usize]) -> Result<Tensor> {
        self.adaptive("adaptive_avg_pool", extents, |x, axis, spans| {
            let taps: Taps = spans
                .iter()
                .map(|&(start, end)| (start..end).map(|at| (at, 1.0 / (end - start) as f64)).collect())
                .collect();
            resample(x, axis, &taps)
        })
    }

    /// The largest element of each of as many windows as asked for; the windows are those of
    /// [`adaptive_avg_pool`](Self::adaptive_avg_pool). Elements that share a maximum share its gradient.
    pub fn adaptive_max_pool(&self, extents: &[usize]) -> Result<Tensor> {
        self.adaptive("adaptive_max_pool", extents, |x, axis, spans| {
            // Windows that are shorter than the longest read their last cell again.
            let longest = spans.iter().map(|(start, end)| end - start).max().unwrap_or(1);
            let cells = spans
                .iter()
                .flat_map(|&(start, end)| (0..longest).map(move |k| (start + k).min(end - 1) as i32));
            let places =
                Tensor::from_vec(x.device(), cells.collect(), Shape::new(&[spans.len() * longest])?)?;
            let read = x.index_select(axis as isize, &places)?;
            let mut dims = read.shape().to_vec();
            dims[axis] = spans.len();
            let outer: usize = dims[..axis].iter().product();
            let inner: usize = dims[axis + 1..].iter().product();
            read.reshape([outer, spans.len(), longest, inner])?.max(&[2], false)?.reshape(dims)
        })
    }

    fn adaptive(
        &self,
        op: &'static str,
        extents: &[usize],
        along: impl Fn(&Tensor, usize, &[(usize, usize)]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.require_float(op)?;
        let given = || format!("{} to {extents:?}", self.describe());
        if self.rank() != 2 + extents.len() || self.shape()[2..].contains(&0) {
            return Err(Error::shape(op, given(), "Give [N, C] and one axis, not empty, for each extent."));
        }
        if extents.contains(&0) {
            return Err(Error::argument(op, given(), "Extents are at least one."));
        }
        let mut y = self.clone();
        for (axis, &count) in (2..).zip(extents) {
            let extent = self.shape()[axis];
            let span = |i: usize| (i * extent / count, ((i + 1) * extent).div_ceil(count));
            let spans: Vec<(usize, usize)> = (0..count).map(span).collect();
            y = along(&y, axis, &spans)?;
        }
        Ok(y)
    }
}
