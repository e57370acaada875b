//! How the CPU device computes convolutions in f32: as products with the matrix of what each position reads.

use super::Extents;
use crate::cpu::gemm::{Matrix, product, product_here};
use rayon::prelude::*;
use std::ops::Range;

/// Parts of a batch whose weight gradients are summed apart, and then in order: a number of its own, so that
/// the bits do not depend on how many threads there are.
const PARTS: usize = 8;

impl Extents {
    /// Rows of the matrix of an image and group: input channels × taps.
    fn rows(&self) -> usize {
        self.cin * self.taps()
    }

    /// Where row `row` of that matrix reads for the line `line` of output positions: the start of the line of x
    /// within the image's group, if there is one, and the tap along the line.
    fn line(&self, row: usize, line: usize) -> (Option<usize>, usize) {
        let (channel, tap) = (row / self.taps(), row % self.taps());
        let (i, j) = (tap / self.kernel[1], tap % self.kernel[1]);
        let start = self.options.source(0, line, i, self.x[0]).map(|y| (channel * self.x[0] + y) * self.x[1]);
        (start, j)
    }

    /// Positions of a line for which a tap along it reads inside x, and where the first of them reads.
    fn inside(&self, tap: usize) -> (Range<usize>, usize) {
        let (padding, tap) = (self.options.padding[1], tap * self.options.dilation[1]);
        let stride = self.options.stride[1];
        let first = |at: usize| at.saturating_sub(tap).div_ceil(stride).min(self.y[1]);
        let positions = first(padding)..first(padding + self.x[1]);
        // Where there are none, anywhere.
        let from = if positions.is_empty() { 0 } else { positions.start * stride + tap - padding };
        (positions, from)
    }

    /// What each position reads: `[rows, positions]`, of x of one image and group.
    fn unfold(&self, x: &[f32], columns: &mut [f32]) {
        for (at, to) in columns.chunks_mut(self.y[1].max(1)).enumerate() {
            let (start, tap) = self.line(at / self.y[0], at % self.y[0]);
            let (Some(start), (positions, from)) = (start, self.inside(tap)) else {
                to.fill(0.0);
                continue;
            };
            to[..positions.start].fill(0.0);
            to[positions.end..].fill(0.0);
            let (to, from) = (&mut to[positions], &x[start..][from..]);
            match self.options.stride[1] {
                1 => to.copy_from_slice(&from[..to.len()]),
                stride => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
            }
        }
    }

    /// The transposed of [`unfold`](Self::unfold): what belongs to each place of x, added up there.
    fn fold(&self, columns: &[f32], x: &mut [f32]) {
        for (at, from) in columns.chunks(self.y[1].max(1)).enumerate() {
            let (Some(start), tap) = self.line(at / self.y[0], at % self.y[0]) else { continue };
            let (positions, to) = self.inside(tap);
            let to = x[start..][to..].iter_mut().step_by(self.options.stride[1]);
            to.zip(&from[positions]).for_each(|(to, from)| *to += from);
        }
    }

    /// Whether each image is a matter of one thread: there are enough of them.
    fn many(&self) -> bool {
        self.batch * self.options.groups >= rayon::current_num_threads()
    }

    /// The part of `data` that belongs to an image and group, `width` elements each.
    fn part<'a>(&self, data: &'a [f32], at: usize, width: usize) -> &'a [f32] {
        &data[at * width..(at + 1) * width]
    }

    /// The weight of a group, `[cout, rows]`.
    fn weight<'a>(&self, w: &'a [f32], at: usize) -> Matrix<'a> {
        let group = at % self.options.groups;
        Matrix::new(self.part(w, group, self.cout * self.rows()), self.cout, self.rows())
    }

    /// For each image and group of `out`, `width` elements each: on threads of their own or one after the other
    /// with all threads for the product.
    fn each(&self, out: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32], Product) + Sync) {
        if self.many() {
            out.par_chunks_mut(width.max(1)).enumerate().for_each(|(at, out)| work(at, out, product_here));
        } else {
            out.chunks_mut(width.max(1)).enumerate().for_each(|(at, out)| work(at, out, product));
        }
    }
}

type Product = fn(Matrix, Matrix, &mut [f32], bool);

/// conv(x, w) + bias.
pub(super) fn forward(e: &Extents, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let positions = e.y[0] * e.y[1];
    let (width, read) = (e.cout * positions, e.cin * e.x[0] * e.x[1]);
    let mut y = vec![0.0; e.batch * e.options.groups * width];
    e.each(&mut y, width, |at, y, product| {
        let mut columns = vec![0.0; e.rows() * positions];
        e.unfold(e.part(x, at, read), &mut columns);
        product(e.weight(w, at), Matrix::new(&columns, e.rows(), positions), y, false);
        if let Some(bias) = bias {
            let bias = &bias[at % e.options.groups * e.cout..];
            for (plane, bias) in y.chunks_mut(positions.max(1)).zip(bias) {
                plane.iter_mut().for_each(|y| *y += bias);
            }
        }
    });
    y
}

/// The gradient with respect to x.
pub(super) fn input_gradient(e: &Extents, dy: &[f32], w: &[f32]) -> Vec<f32> {
    let positions = e.y[0] * e.y[1];
    let (width, read) = (e.cin * e.x[0] * e.x[1], e.cout * positions);
    let mut dx = vec![0.0; e.batch * e.options.groups * width];
    e.each(&mut dx, width, |at, dx, product| {
        let mut columns = vec![0.0; e.rows() * positions];
        let dy = Matrix::new(e.part(dy, at, read), e.cout, positions);
        product(e.weight(w, at).t(), dy, &mut columns, false);
        e.fold(&columns, dx);
    });
    dx
}

/// The gradient with respect to w.
pub(super) fn weight_gradient(e: &Extents, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let (positions, groups) = (e.y[0] * e.y[1], e.options.groups);
    let (width, read) = (e.cin * e.x[0] * e.x[1], e.cout * positions);
    let group = e.cout * e.rows();
    let images = e.batch.div_ceil(PARTS).max(1);
    let parts: Vec<Vec<f32>> = (0..e.batch.div_ceil(images))
        .into_par_iter()
        .map(|part| {
            let mut dw = vec![0.0; groups * group];
            let mut columns = vec![0.0; e.rows() * positions];
            for at in part * images * groups..((part + 1) * images).min(e.batch) * groups {
                e.unfold(e.part(x, at, width), &mut columns);
                let dy = Matrix::new(e.part(dy, at, read), e.cout, positions);
                let columns = Matrix::new(&columns, e.rows(), positions).t();
                let to = &mut dw[at % groups * group..][..group];
                product(dy, columns, to, true);
            }
            dw
        })
        .collect();
    let mut dw = vec![0.0; groups * group];
    for part in parts {
        dw.iter_mut().zip(&part).for_each(|(sum, term)| *sum += term);
    }
    dw
}
