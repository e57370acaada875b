//! Eigenvalues of a symmetric operator that is known by what it does to a vector.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// What Lanczos' method finds: eigenvalues of the operator on the space its powers span from the start.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// Ritz values, ascending. The outermost converge first.
    pub values: Vec<f64>,
    /// For each value θ with its vector y the norm ‖A·y − θ·y‖: an eigenvalue of A lies as near to θ. It is
    /// exact for exact arithmetic; rounding adds a few units in the last place of ‖A‖.
    pub residuals: Vec<f64>,
    /// The orthonormal basis, a row each, `[steps, n]`.
    pub basis: Tensor,
    /// For each value the coefficients of its vector in the basis.
    coefficients: Vec<Vec<f64>>,
}

impl Spectrum {
    /// The Ritz vector of value `index`, of norm one, `[n]`.
    ///
    /// Errors: [`Error::Argument`] if there is no such value.
    pub fn vector(&self, index: usize) -> Result<Tensor> {
        let coefficients = self.coefficients.get(index).ok_or_else(|| {
            let given = format!("vector {index} of {}", self.values.len());
            Error::argument("lanczos", given, "Name one of the values.")
        })?;
        let row = crate::verify::from_f64(
            self.basis.device(),
            self.basis.dtype(),
            coefficients,
            crate::shape::Shape::known(&[1, coefficients.len()]),
        )?;
        row.matmul(&self.basis)?.reshape([self.basis.shape()[1]])
    }
}

/// Eigenvalues of the symmetric operator `apply`, v ↦ A·v, by at most `steps` steps of Lanczos' method from
/// `start` `[n]`.
///
/// Each step applies the operator once and orthogonalises against all vectors before it, twice, so that no
/// eigenvalue is found over and over; memory is steps·n. The vectors stay on their device; two numbers a step
/// are read back, and the eigenproblem of the tridiagonal matrix is solved on the host in f64. It ends early
/// where the vectors span an invariant space: then the values found are exact up to rounding. For the Hessian
/// of a loss let `apply` be an `hvp`.
///
/// Source: Lanczos 1950; Parlett 1998, The Symmetric Eigenvalue Problem, chapter 13. Errors:
/// [`Error::Argument`] for no steps or a start that is zero or not finite; [`Error::Shape`] unless the start is
/// a vector and `apply` keeps its shape; those of `apply`.
///
/// ```
/// use gradus::{Device, Tensor, ops::lanczos};
/// # fn main() -> gradus::Result<()> {
/// let scale = Tensor::from_slice(&Device::cpu(), &[1.0f64, 2.0, 5.0], [3])?;
/// let start = Tensor::from_slice(&Device::cpu(), &[1.0f64, 1.0, 1.0], [3])?;
/// let spectrum = lanczos(|v| v.mul(&scale), &start, 3)?;
/// assert!((spectrum.values[2] - 5.0).abs() < 1e-12 && spectrum.residuals[2] < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn lanczos(
    mut apply: impl FnMut(&Tensor) -> Result<Tensor>,
    start: &Tensor,
    steps: usize,
) -> Result<Spectrum> {
    start.require_float("lanczos")?;
    if start.rank() != 1 {
        return Err(Error::shape("lanczos", start.describe(), "Give a start vector [n]: use flatten."));
    }
    let norm = |v: &Tensor| -> Result<f64> { Ok(v.square()?.sum(&[], false)?.item()?.sqrt()) };
    let length = norm(start)?;
    let usable = length > 0.0 && length.is_finite();
    if steps == 0 || !usable {
        return Err(Error::argument(
            "lanczos",
            format!("{steps} steps from a start of norm {length}"),
            "Take at least one step, from a start that is neither zero nor infinite.",
        ));
    }
    let n = start.count();
    let mut rows = vec![start.detach().mul_scalar(1.0 / length)?.reshape([1, n])?];
    let (mut alphas, mut betas) = (Vec::new(), Vec::new());
    // What rounding leaves of a vector that should vanish, relative to ‖A‖.
    let unit = if start.dtype() == crate::DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let mut scale = 0.0f64;
    for step in 0..steps.min(n) {
        let basis = Tensor::concat(&rows.iter().collect::<Vec<_>>(), 0)?;
        let image = apply(&rows[step].reshape([n])?)?.detach();
        if image.shape() != start.shape() {
            let given = format!("{} from {}", image.describe(), start.describe());
            return Err(Error::shape("lanczos", given, "The operator maps [n] to [n]."));
        }
        scale = scale.max(norm(&image)?);
        let mut rest = image.reshape([n, 1])?;
        for pass in 0..2 {
            let along = basis.matmul(&rest)?;
            if pass == 0 {
                alphas.push(along.slice(0, step, step + 1)?.item()?);
            }
            rest = rest.sub(&basis.t()?.matmul(&along)?)?;
        }
        let beta = norm(&rest)?;
        betas.push(beta);
        if beta <= 10.0 * unit * scale * (n as f64).sqrt() || step + 1 == steps.min(n) {
            break;
        }
        rows.push(rest.mul_scalar(1.0 / beta)?.reshape([1, n])?);
    }
    let last = betas.pop().unwrap_or(0.0);
    let (values, vectors) = tridiagonal(&alphas, &betas)?;
    let residuals = vectors.iter().map(|v| last * v[v.len() - 1].abs()).collect();
    let basis = Tensor::concat(&rows.iter().collect::<Vec<_>>(), 0)?;
    Ok(Spectrum { values, residuals, basis, coefficients: vectors })
}

/// Eigenvalues, ascending, and eigenvectors of the symmetric tridiagonal matrix with this diagonal and the
/// entries beside it, by QL steps with implicit shifts (Bowdler, Martin, Reinsch and Wilkinson 1968).
fn tridiagonal(diagonal: &[f64], beside: &[f64]) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    const TURNS: usize = 60;
    let n = diagonal.len();
    let mut d = diagonal.to_vec();
    let mut e = beside.to_vec();
    e.resize(n, 0.0);
    // Column k of z is the vector of d[k].
    let mut z: Vec<Vec<f64>> =
        (0..n).map(|i| (0..n).map(|k| f64::from(u8::from(i == k))).collect()).collect();
    for low in 0..n {
        for turn in 0.. {
            // The block that starts at `low` ends where an entry beside the diagonal is negligible.
            let negligible = |m: usize| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs());
            let high = (low..n - 1).find(|&m| negligible(m)).unwrap_or(n - 1);
            if high == low {
                break;
            }
            if turn == TURNS {
                let given = format!("a tridiagonal matrix of {n} rows that does not converge");
                return Err(Error::argument(
                    "lanczos",
                    given,
                    "See that the operator is symmetric and finite.",
                ));
            }
            // Wilkinson's shift: the eigenvalue of the leading two rows that is nearer to the first.
            let half = (d[low + 1] - d[low]) / (2.0 * e[low]);
            let shift = d[low] - e[low] / (half + half.hypot(1.0).copysign(half));
            let (mut s, mut c, mut p, mut g) = (1.0, 1.0, 0.0, d[high] - shift);
            for i in (low..high).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[high] = 0.0;
                    p = f64::NAN;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                for row in &mut z {
                    let (left, right) = (row[i], row[i + 1]);
                    row[i + 1] = s * left + c * right;
                    row[i] = c * left - s * right;
                }
            }
            // A rotation that vanished has split the block; otherwise the sweep is finished.
            if !p.is_nan() {
                d[low] -= p;
                e[low] = g;
                e[high] = 0.0;
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| d[a].total_cmp(&d[b]));
    let vectors = order.iter().map(|&k| z.iter().map(|row| row[k]).collect()).collect();
    Ok((order.iter().map(|&k| d[k]).collect(), vectors))
}

#[cfg(test)]
mod tests {
    use super::tridiagonal;

    /// The second difference: its eigenvalues are 2 − 2·cos(kπ/(n + 1)).
    #[test]
    fn the_second_difference_has_its_known_eigenvalues() {
        for n in [1, 2, 3, 17, 60] {
            let (values, vectors) = tridiagonal(&vec![2.0; n], &vec![-1.0; n - 1]).unwrap();
            for (k, (value, v)) in values.iter().zip(&vectors).enumerate() {
                let expected = 2.0 - 2.0 * ((k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
                assert!((value - expected).abs() < 1e-13, "{n}, {k}: {value} for {expected}");
                for i in 0..n {
                    let near = |j: Option<usize>| j.and_then(|j| v.get(j)).copied().unwrap_or(0.0);
                    let image = 2.0 * v[i] - near(i.checked_sub(1)) - near(Some(i + 1));
                    assert!((image - value * v[i]).abs() < 1e-13, "{n}, {k}, {i}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_that_falls_apart_is_solved_in_parts() {
        let (values, _) = tridiagonal(&[3.0, 1.0, 2.0, 2.0], &[0.0, 0.0, 1.0]).unwrap();
        assert_eq!(values.len(), 4);
        for (value, expected) in values.iter().zip([1.0, 1.0, 3.0, 3.0]) {
            assert!((value - expected).abs() < 1e-14);
        }
    }
}
