//! The Cholesky factor of positive definite matrices.

use super::{check_square, dispatches};
use crate::autodiff::At;
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static CHOLESKY: Shader = shader!("linalg/cholesky.wgsl");

/// A `[.., n, n]` → L of the same shape, and for each matrix the number of its first bad column, or zero.
pub(super) struct Cholesky;

impl Op for Cholesky {
    fn name(&self) -> &'static str {
        "cholesky"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let a = inputs[0];
        check_square("cholesky", &a)?;
        let batch = Shape::new(&a.shape[..a.shape.rank() - 2])?;
        Ok(vec![Meta::new(a.shape, a.dtype), Meta::new(batch, DType::I32)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let a = inputs.real(0);
        let n = a.shape[a.shape.rank() - 1];
        let mut l = vec![R::default(); a.data.len()];
        let mut info = vec![0; outputs[1].shape.count()];
        let one = R::from_f64(1.0);
        for (matrix, failed) in info.iter_mut().enumerate() {
            let (a, l) = (&a.data[matrix * n * n..], &mut l[matrix * n * n..]);
            for j in 0..n {
                // l_ij·l_jj = a_ij − Σ l_ik·l_jk over k < j, the pivot l_jj² the same at i = j.
                let left = |l: &[R], i: usize| {
                    let products = (0..j).map(|k| (-l[i * n + k], l[j * n + k]));
                    R::dot(std::iter::once((a[i * n + j], one)).chain(products))
                };
                let mut pivot = left(l, j);
                let positive = pivot.to_f64() > 0.0;
                if !positive {
                    *failed = if *failed == 0 { j as i32 + 1 } else { *failed };
                    pivot = one;
                }
                l[j * n + j] = pivot.sqrt();
                for i in j + 1..n {
                    l[i * n + j] = left(l, i) / l[j * n + j];
                }
            }
        }
        let info = Array { shape: outputs[1].shape, data: info };
        vec![Data::Real(Array { shape: a.shape, data: l }), Data::Int(info)]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (n, matrices) = (*inputs[0].shape().last().unwrap_or(&0), outputs[1].shape().count());
        // A column takes the terms of its pivot, and those of each entry of a lane.
        let turns = |j: usize| (j + 1) * (1 + n.div_ceil(64)) + 1;
        dispatches(n, turns).into_iter().try_for_each(|columns| {
            gpu.dispatch(Dispatch {
                op: "cholesky",
                source: Source::File(&CHOLESKY, &[]),
                params: bytemuck::cast_slice(&[n, matrices, columns.start, columns.end].map(|v| v as u32)),
                buffers: &op::buffers(inputs, outputs),
                groups: gpu.fold(matrices, 1),
            })
        })
    }

    fn flops(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        let n = inputs[0].shape[inputs[0].shape.rank() - 1];
        (inputs[0].shape.count() * n) as u64 / 3
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 1)
    }

    // A is symmetric, and so are its gradient and tangent. With Φ(M) the lower triangle of M and half its
    // diagonal: dA = ½(P + Pᵀ), P = L⁻ᵀ·Φ(Lᵀ·dL)·L⁻¹ (Murray 2016, arXiv:1602.07527, eq. 10).
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dl) = &dy[0] else { return Ok(vec![None]) };
        let l = at.output(0)?;
        let middle = half_lower(&l.t()?.matmul(&dl.tril(0)?)?)?;
        let left = l.triangular_solve_with(&middle, false, true)?;
        let p = l.triangular_solve_with(&left.t()?, false, true)?;
        Ok(vec![Some(p.add(&p.t()?)?.mul_scalar(0.5)?)])
    }

    // L̇ = L·Φ(L⁻¹·Ȧ·L⁻ᵀ) (Murray 2016, eq. 8).
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(da) = &dx[0] else { return Ok(vec![None, None]) };
        let l = at.output(0)?;
        let da = da.add(&da.t()?)?.mul_scalar(0.5)?;
        let left = l.triangular_solve_with(&da, false, false)?;
        let middle = l.triangular_solve_with(&left.t()?, false, false)?;
        Ok(vec![Some(l.matmul(&half_lower(&middle)?)?), None])
    }
}

/// Φ: the lower triangle, with half the diagonal.
fn half_lower(m: &Tensor) -> Result<Tensor> {
    m.tril(0)?.add(&m.tril(-1)?)?.mul_scalar(0.5)
}

impl Tensor {
    /// The lower triangular L with L·Lᵀ = A, for symmetric positive definite A; above its diagonal L is zero.
    ///
    /// `self` `[.., n, n]` → `[.., n, n]`. Of A the lower triangle is read; the gradient is that of a symmetric
    /// matrix, itself symmetric. On a GPU a workgroup factors a matrix: meant for many small ones, up to a
    /// thousand rows or so. Whether all pivots are positive is read back, one number a matrix.
    ///
    /// Accuracy, by residual: |L·Lᵀ − A| ≤ γₙ₊₈·|L|·|Lᵀ| element by element, with γₙ = n·u/(1 − n·u) and
    /// u = 2⁻²³ (Higham 2002, Accuracy and Stability of Numerical Algorithms, theorem 10.3, plus what WGSL
    /// grants a division and a square root). Errors: [`Error::Argument`] for a matrix that is not positive
    /// definite; [`Error::Shape`] unless square; [`Error::DType`].
    pub fn cholesky(&self) -> Result<Tensor> {
        let mut out = op::apply(Cholesky, &[self])?;
        let failed = out[1].to_vec::<i32>()?;
        if let Some((matrix, column)) = failed.iter().enumerate().find(|(_, column)| **column != 0) {
            return Err(Error::argument(
                "cholesky",
                format!("matrix {matrix} of {}, whose pivot {column} is not positive", self.describe()),
                "Give a positive definite matrix: add a multiple of the identity.",
            ));
        }
        Ok(out.swap_remove(0))
    }

    /// The X with A·X = B, from the Cholesky factor L of A, which is `self`: two triangular solves.
    ///
    /// L `[.., n, n]`, B `[.., n, m]` → X `[.., n, m]`; the axes in front broadcast. The gradient reaches L and
    /// B. Errors: those of [`triangular_solve`](Self::triangular_solve).
    pub fn cholesky_solve(&self, rhs: &Tensor) -> Result<Tensor> {
        let half = self.triangular_solve_with(rhs, false, false)?;
        self.triangular_solve_with(&half, false, true)
    }
}
