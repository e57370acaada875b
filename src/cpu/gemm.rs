//! Products of f32 matrices in memory, by the crate `matrixmultiply`.

use rayon::prelude::*;

/// Fewer rows than this are not worth a thread of their own: each thread packs the right operand anew.
const ROWS: usize = 16;

/// A matrix within a slice: element (i, j) stands at i·`strides[0]` + j·`strides[1]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// A row-major matrix, the beginning of a slice.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= data.len(), "{rows} × {columns} of {} elements", data.len());
        Matrix { data, shape: [rows, columns], strides: [columns, 1] }
    }

    /// The transposed matrix.
    pub fn t(self) -> Self {
        let [rows, columns] = self.shape;
        let [down, right] = self.strides;
        Matrix { shape: [columns, rows], strides: [right, down], ..self }
    }

    fn rows(self, from: usize, count: usize) -> Self {
        let start = (from * self.strides[0]).min(self.data.len());
        Matrix { data: &self.data[start..], shape: [count, self.shape[1]], ..self }
    }
}

/// C = A·B, or C += A·B, for row-major C; on all threads.
pub(crate) fn product(a: Matrix, b: Matrix, c: &mut [f32], accumulate: bool) {
    let (m, n) = (a.shape[0], b.shape[1]);
    let rows = m.div_ceil(rayon::current_num_threads()).max(ROWS);
    c.par_chunks_mut((rows * n).max(1)).enumerate().for_each(|(part, c)| {
        product_here(a.rows(part * rows, rows.min(m - part * rows)), b, c, accumulate);
    });
}

/// [`product`] on this thread.
pub(crate) fn product_here(a: Matrix, b: Matrix, c: &mut [f32], accumulate: bool) {
    let ([m, k], [depth, n]) = (a.shape, b.shape);
    assert!(k == depth && m * n == c.len(), "{m} × {k} times {depth} × {n} into {} elements", c.len());
    if c.is_empty() {
        return;
    }
    let beta = if accumulate { 1.0 } else { 0.0 };
    let signed = |stride: usize| stride as isize;
    // SAFETY: `Matrix` lies within its slice (checked where it is made, kept by `t` and `rows`); c has m·n
    // elements and nobody else's, and the extents agree.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.data.as_ptr(),
            signed(a.strides[0]),
            signed(a.strides[1]),
            b.data.as_ptr(),
            signed(b.strides[0]),
            signed(b.strides[1]),
            beta,
            c.as_mut_ptr(),
            signed(n),
            1,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, whose products are exact.
    fn whole(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed * 5) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn products_are_those_of_the_definition() {
        for [m, k, n] in [[1, 1, 1], [3, 5, 2], [33, 7, 9], [100, 1, 3], [0, 4, 2], [4, 0, 2], [2, 3, 0]] {
            let (a, b) = (whole(m * k, 1), whole(k * n, 2));
            let mut expected = vec![0.0; m * n];
            for (at, y) in expected.iter_mut().enumerate() {
                *y = (0..k).map(|l| a[at / n * k + l] * b[l * n + at % n]).sum();
            }
            let mut c = vec![f32::NAN; m * n];
            product(Matrix::new(&a, m, k), Matrix::new(&b, k, n), &mut c, false);
            assert_eq!(c, expected, "{m} {k} {n}");
            // The same from transposed storage, once more on top.
            let turned: Vec<f32> = (0..k * n).map(|at| b[at % k.max(1) * n + at / k.max(1)]).collect();
            product(Matrix::new(&a, m, k), Matrix::new(&turned, n, k).t(), &mut c, true);
            assert_eq!(c, expected.iter().map(|y| 2.0 * y).collect::<Vec<_>>(), "{m} {k} {n}");
        }
    }
}
