//! Small mathematics that a lab needs beside the engine, in f64.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;

/// A tensor in f64 on the CPU reference.
pub(super) fn double(x: &Tensor) -> Result<Tensor> {
    x.to_device(&Device::cpu())?.to_dtype(DType::F64)
}

/// The singular values of a real matrix of `columns` columns, the largest first, by one-sided Jacobi
/// rotations (Hestenes 1958): columns are rotated in pairs until all are orthogonal, and their lengths are
/// the singular values, to high relative accuracy.
pub(super) fn singular_values(matrix: &[f64], columns: usize) -> Vec<f64> {
    let rows = matrix.len() / columns.max(1);
    let mut a: Vec<Vec<f64>> =
        (0..columns).map(|j| (0..rows).map(|i| matrix[i * columns + j]).collect()).collect();
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..60 {
        let mut turned = false;
        for p in 0..columns {
            for q in p + 1..columns {
                let (pp, qq, pq) = (dot(&a[p], &a[p]), dot(&a[q], &a[q]), dot(&a[p], &a[q]));
                if pq.abs() <= 1e-15 * (pp * qq).sqrt() {
                    continue;
                }
                turned = true;
                let zeta = (qq - pp) / (2.0 * pq);
                let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let c = 1.0 / (1.0 + t * t).sqrt();
                let s = c * t;
                let (left, right) = a.split_at_mut(q);
                for (x, y) in left[p].iter_mut().zip(&mut right[0]) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
        if !turned {
            break;
        }
    }
    let mut values: Vec<f64> = a.iter().map(|column| dot(column, column).sqrt()).collect();
    values.sort_by(|x, y| y.total_cmp(x));
    values
}

/// Mean and variance.
pub(super) fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
}

/// Σ aᵢ·bᵢ.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The largest magnitude; NaN if there is one.
pub(super) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |m: f64, v| if m.is_nan() || v.is_nan() { f64::NAN } else { m.max(v.abs()) })
}

/// The slope of the line through (ln x, ln y) by least squares: the exponent of a power law.
pub(super) fn slope(x: &[f64], y: &[f64]) -> f64 {
    let (x, y): (Vec<f64>, Vec<f64>) = x.iter().zip(y).map(|(x, y)| (x.ln(), y.ln())).unzip();
    let (mx, my) = (moments(&x).0, moments(&y).0);
    let both: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
    both / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_power_law_is_its_exponent() {
        let x = [1.0f64, 2.0, 5.0, 9.0];
        assert!((slope(&x, &x.map(|x| 3.0 * x.powf(-1.5))) + 1.5).abs() < 1e-12);
    }

    #[test]
    fn singular_values_of_a_rotated_diagonal_matrix() {
        let (c, s) = (0.6, 0.8);
        // diag(3, 2) rotated from both sides.
        let m = [
            c * 3.0 * c - s * 2.0 * -s,
            c * 3.0 * s - s * 2.0 * c,
            s * 3.0 * c + c * 2.0 * -s,
            s * 3.0 * s + c * 2.0 * c,
        ];
        let found = singular_values(&m, 2);
        assert!((found[0] - 3.0).abs() < 1e-12 && (found[1] - 2.0).abs() < 1e-12, "{found:?}");
    }
}
