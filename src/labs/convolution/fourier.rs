//! Fourier transforms of small images and kernels.

use crate::dtype::DType;
use crate::error::Result;
use crate::labs::host::singular_values;
use crate::tensor::Tensor;
use std::f64::consts::PI;

/// The two-dimensional discrete Fourier transform Σ x·exp(−`sign`·2πi·…) of a square plane, as products
/// with the matrices of cosines and sines: real and imaginary part.
pub(super) fn dft(re: &Tensor, im: Option<&Tensor>, sign: f64) -> Result<[Tensor; 2]> {
    let n = re.shape()[0];
    let table = |f: fn(f64) -> f64| {
        let values: Vec<f64> =
            (0..n * n).map(|at| f(2.0 * PI * ((at / n * (at % n)) % n) as f64 / n as f64)).collect();
        Tensor::from_slice(re.device(), &values, [n, n])
    };
    let (c, s) = (table(f64::cos)?, table(f64::sin)?.mul_scalar(-sign)?);
    let zero = Tensor::full(re.device(), DType::F64, [n, n], 0.0)?;
    let im = im.unwrap_or(&zero);
    // (C + iS)·X, then the same along the other axis.
    let left = [c.matmul(re)?.sub(&s.matmul(im)?)?, c.matmul(im)?.add(&s.matmul(re)?)?];
    Ok([left[0].matmul(&c)?.sub(&left[1].matmul(&s)?)?, left[1].matmul(&c)?.add(&left[0].matmul(&s)?)?])
}

/// The singular values of the c × c matrices K̂(ω) of a 3 × 3 kernel on an n × n torus, all together, the
/// largest first. A complex matrix A + iB has the singular values of [[A, −B], [B, A]], each once more.
pub(super) fn frequency_values(w: &[f64], n: usize, c: usize) -> Vec<f64> {
    let mut all = Vec::with_capacity(n * n * c);
    for frequency in 0..n * n {
        let mut block = vec![0.0; 4 * c * c];
        for (at, value) in w.iter().enumerate() {
            let (o, i, t) = (at / (9 * c), at / 9 % c, at % 9);
            let turn = (frequency / n) as f64 * (t / 3) as f64 + (frequency % n) as f64 * (t % 3) as f64;
            let (sin, cos) = (2.0 * PI * turn / n as f64).sin_cos();
            for (row, column, part) in [(o, i, cos), (o + c, i + c, cos), (o, i + c, -sin), (o + c, i, sin)] {
                block[row * 2 * c + column] += value * part;
            }
        }
        all.extend(singular_values(&block, 2 * c).into_iter().step_by(2));
    }
    all.sort_by(|a, b| b.total_cmp(a));
    all
}
