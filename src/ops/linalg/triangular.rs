//! Systems of equations with triangular matrices.

use super::{check_square, dispatches};
use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;
use rayon::prelude::*;

static TRIANGULAR: Shader = shader!("linalg/triangular.wgsl");

/// T `[.., n, n]`, B `[.., n, m]` → the X with op(T)·X = B, where op transposes or does nothing.
pub(super) struct Triangular {
    /// Which triangle of T counts, before it is transposed.
    pub upper: bool,
    pub transpose: bool,
}

impl Triangular {
    /// Whether the last row is solved first.
    fn backwards(&self) -> bool {
        self.upper != self.transpose
    }

    /// The strides of op(T).
    fn strides(&self, n: usize) -> (usize, usize) {
        if self.transpose { (1, n) } else { (n, 1) }
    }

    /// The triangle of a matrix that counts.
    fn triangle(&self, t: &Tensor) -> Result<Tensor> {
        if self.upper { t.triu(0) } else { t.tril(0) }
    }
}

impl Op for Triangular {
    fn name(&self) -> &'static str {
        "triangular_solve"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (t, b) = (inputs[0], inputs[1]);
        check_square("triangular_solve", &t)?;
        let rank = t.shape.rank();
        if !b.dtype.is_float() || b.shape.rank() != rank || t.shape[..rank - 1] != b.shape[..rank - 1] {
            return Err(Error::shape(
                "triangular_solve",
                format!("matrix {t} with right-hand sides {b}"),
                "Give right-hand sides [.., n, m], each a column.",
            ));
        }
        Ok(vec![Meta::new(b.shape, b.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (t, b, shape) = (inputs.real(0), inputs.real(1), outputs[0].shape);
        let (n, m) = (shape[shape.rank() - 2], shape[shape.rank() - 1]);
        let (row, column) = self.strides(n);
        let at = |turn: usize| if self.backwards() { n - 1 - turn } else { turn };
        let count = shape.count().checked_div(n).unwrap_or(0);
        let columns: Vec<Vec<R>> = (0..count)
            .into_par_iter()
            .map(|id| {
                let matrix = id / m * n;
                let mut x = vec![R::default(); n];
                for turn in 0..n {
                    let i = at(turn);
                    let entry = |k: usize| t.data[matrix * n + i * row + k * column];
                    let known = (0..turn).map(|known| (-entry(at(known)), x[at(known)]));
                    let given = (b.data[(matrix + i) * m + id % m], R::from_f64(1.0));
                    x[i] = R::dot(std::iter::once(given).chain(known)) / entry(i);
                }
                x
            })
            .collect();
        vec![Data::Real(Array::from_fn(shape, |i| columns[i / (n * m) * m + i % m][i / m % n]))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let shape = outputs[0].shape();
        let (n, m) = (shape[shape.rank() - 2], shape[shape.rank() - 1]);
        let (row, column) = self.strides(n);
        let columns = shape.count() / n;
        dispatches(n, |turn| turn + 1).into_iter().try_for_each(|turns| {
            let params = [n, m, columns, row, column, turns.start, turns.end].map(|v| v as u32);
            gpu.dispatch(Dispatch {
                op: "triangular_solve",
                source: Source::File(&TRIANGULAR, &[("BACKWARDS", self.backwards().into())]),
                params: bytemuck::cast_slice(&params),
                buffers: &op::buffers(inputs, outputs),
                groups: gpu.fold(columns, 64),
            })
        })
    }

    fn flops(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        let n = inputs[0].shape[inputs[0].shape.rank() - 1];
        (outputs[0].shape.count() * n) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (1, 1)
    }

    // op(T)·X = B: dB = op(T)⁻ᵀ·dX, and dT = −dB·Xᵀ in the triangle, or its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dy[0] else { return Ok(vec![None; 2]) };
        let t = at.input(0)?;
        let db = t.triangular_solve_with(dx, self.upper, !self.transpose)?;
        let mut out = vec![None, Some(db.clone())];
        if at.needs(0) {
            let x = at.output(0)?;
            let product = if self.transpose { x.matmul(&db.t()?)? } else { db.matmul(&x.t()?)? };
            out[0] = Some(self.triangle(&product)?.neg()?);
        }
        Ok(out)
    }

    // Ẋ = op(T)⁻¹·(Ḃ − op(Ṫ)·X).
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let moved = match &dx[0] {
            Some(dt) => {
                let dt = self.triangle(dt)?;
                let dt = if self.transpose { dt.t()? } else { dt };
                Some(dt.matmul(&at.output(0)?)?)
            }
            None => None,
        };
        let right = match (&dx[1], moved) {
            (Some(db), Some(moved)) => db.sub(&moved)?,
            (Some(db), None) => db.clone(),
            (None, Some(moved)) => moved.neg()?,
            (None, None) => return Ok(vec![None]),
        };
        Ok(vec![Some(at.input(0)?.triangular_solve_with(&right, self.upper, self.transpose)?)])
    }
}

impl Tensor {
    /// The X with T·X = B, for a triangular T, which is `self`: its lower triangle, or the `upper` one. The
    /// other triangle is not read.
    ///
    /// T `[.., n, n]`, B `[.., n, m]` → X `[.., n, m]`; the axes in front broadcast. The gradient reaches B and
    /// the triangle of T. On a GPU an invocation solves a column. A zero on the diagonal gives what is not
    /// finite.
    ///
    /// Accuracy, by residual: |T·X − B| ≤ γₙ₊₄·|T|·|X| element by element, γₙ = n·u/(1 − n·u), u = 2⁻²³
    /// (Higham 2002, theorem 8.5, with the division that WGSL grants). Errors: [`Error::Shape`],
    /// [`Error::DType`], [`Error::Device`].
    pub fn triangular_solve(&self, rhs: &Tensor, upper: bool) -> Result<Tensor> {
        self.triangular_solve_with(rhs, upper, false)
    }

    /// [`triangular_solve`](Self::triangular_solve) with the transpose of T: Tᵀ·X = B, if `transpose`.
    pub fn triangular_solve_with(&self, rhs: &Tensor, upper: bool, transpose: bool) -> Result<Tensor> {
        let op = "triangular_solve";
        if self.rank() < 2 || rhs.rank() < 2 {
            return Err(Error::shape(
                op,
                format!("matrix {} with right-hand sides {}", self.describe(), rhs.describe()),
                "Both have at least two axes: give a vector an axis with unsqueeze.",
            ));
        }
        let batch = |t: &Tensor| Shape::known(&t.shape()[..t.rank() - 2]);
        let both = Shape::broadcast(op, &batch(self), &batch(rhs))?;
        let wide = |t: &Tensor| t.broadcast_to([&both[..], &t.shape()[t.rank() - 2..]].concat());
        Ok(op::apply(Triangular { upper, transpose }, &[&wide(self)?, &wide(rhs)?])?.swap_remove(0))
    }
}
