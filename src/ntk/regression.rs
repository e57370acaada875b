//! Prediction with a kernel.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Kernel ridge regression: f(x) = K(x, X)·(K(X, X) + λ·1)⁻¹·Y, by a Cholesky factor.
///
/// With an NTK and λ → 0 it is what a wide network tends to when gradient descent has run for ever, but for what the
/// network was at the start; with an NNGP kernel and noise λ the mean of a Gaussian process.
///
/// ```
/// use gradus::ntk::{FullyConnected, KernelRegression};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let x = Tensor::from_slice(&Device::cpu(), &[1.0f32, 0.0, 0.0, 1.0], [2, 2])?;
/// let y = Tensor::from_slice(&Device::cpu(), &[1.0f32, -1.0], [2, 1])?;
/// let limit = FullyConnected::relu(1);
/// let regression = KernelRegression::fit(&limit.kernels(&x, &x)?.ntk, &y, 1e-6)?;
/// let middle = Tensor::from_slice(&Device::cpu(), &[0.6f32, 0.6], [1, 2])?;
/// assert!(regression.predict(&limit.kernels(&middle, &x)?.ntk)?.item()?.abs() < 1e-4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KernelRegression {
    factor: Tensor,
    coefficients: Tensor,
}

impl KernelRegression {
    /// Fits targets `[N, K]` with a kernel `[N, N]` of the training inputs and the ridge λ ≥ 0.
    ///
    /// Errors: [`Error::Argument`] where the kernel and ridge are not positive definite; [`Error::Shape`].
    pub fn fit(kernel: &Tensor, targets: &Tensor, ridge: f64) -> Result<Self> {
        let op = "KernelRegression::fit";
        let n = kernel.shape().first().copied().unwrap_or(0);
        if kernel.rank() != 2 || kernel.shape()[1] != n || targets.rank() != 2 || targets.shape()[0] != n {
            let given = format!("kernel {} for targets {}", kernel.describe(), targets.describe());
            return Err(Error::shape(op, given, "Give [N, N] and [N, K]."));
        }
        if !(ridge >= 0.0 && ridge.is_finite()) {
            return Err(Error::argument(op, format!("ridge {ridge}"), "Give a finite one, not negative."));
        }
        let diagonal = Tensor::full(kernel.device(), kernel.dtype(), [n, n], ridge)?.tril(0)?.triu(0)?;
        let factor = kernel.add(&diagonal)?.cholesky()?;
        let coefficients = factor.cholesky_solve(targets)?;
        Ok(KernelRegression { factor, coefficients })
    }

    /// The predictions `[M, K]` for the kernel `[M, N]` between new inputs and those of the training.
    pub fn predict(&self, cross: &Tensor) -> Result<Tensor> {
        cross.matmul(&self.coefficients)
    }

    /// The variance of a Gaussian process at new inputs, `[M]`: K(x, x) − K(x, X)·(K + λ·1)⁻¹·K(X, x), for the kernel
    /// `[M, N]` between new inputs and those of the training, and that of each new input with itself, `[M]`.
    pub fn variance(&self, cross: &Tensor, own: &Tensor) -> Result<Tensor> {
        let half = self.factor.triangular_solve(&cross.t()?, false)?;
        own.sub(&half.square()?.sum(&[0], false)?)
    }

    /// (K + λ·1)⁻¹·Y, `[N, K]`.
    pub fn coefficients(&self) -> &Tensor {
        &self.coefficients
    }
}
