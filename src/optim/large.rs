//! Optimisers that look at a whole tensor: LAMB at its length, Muon at its singular values.

use super::adam::{AdamRule, unbiased};
use super::slots::{self, Rule, Slots, StateOf, Turn};
use crate::error::Result;
use crate::formula::Formula;
use crate::nn::Params;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// LAMB: Adam whose step is as long as the learning rate's share of the parameter's own length.
///
/// m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; r = m̂/(√v̂ + ε) + λp with m̂ = m/(1 − β₁ᵗ) and
/// v̂ = v/(1 − β₂ᵗ); p ← p − lr·(|p|/|r|)·r, the ratio counting one where either length is zero.
/// Source: You et al. 2020, arXiv:1904.00962, algorithm 2, with φ(z) = z.
pub struct Lamb {
    slots: Slots,
    rule: LambRule,
}

#[derive(Clone, Copy)]
pub(super) struct LambRule {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

impl Lamb {
    /// For the trained parameters that `params` sees now, with β = (0.9, 0.999), ε = 1e-6 and no weight decay.
    ///
    /// Errors: [`Error::Argument`](crate::Error::Argument) if there are none, or for a rate that is negative or
    /// not finite.
    pub fn new(params: &Params, lr: f64) -> Result<Self> {
        let rule = LambRule { beta1: 0.9, beta2: 0.999, eps: 1e-6 };
        Ok(Lamb { slots: Slots::new("lamb", params, lr)?, rule })
    }

    /// How much of the averages of gradients and of their squares a step keeps, each in [0, 1).
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Result<Self> {
        self.rule.beta1 = slots::share("lamb", "beta1", beta1)?;
        self.rule.beta2 = slots::share("lamb", "beta2", beta2)?;
        Ok(self)
    }

    /// Added to the root of the second average; positive.
    pub fn eps(mut self, eps: f64) -> Result<Self> {
        self.rule.eps = slots::positive("lamb", "eps", eps)?;
        Ok(self)
    }
}

impl Rule for LambRule {
    fn state(&self, shape: &Shape) -> Vec<StateOf> {
        vec![("m", *shape), ("v", *shape)]
    }

    fn elementwise(&self, _: &Shape) -> bool {
        false
    }

    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
        let average = |beta: f64, old: Formula, new: Formula| {
            Formula::scalar(beta) * old + Formula::scalar(1.0 - beta) * new
        };
        state[0] = Tensor::map([&state[0], g], |[m, g]| average(self.beta1, m, g))?;
        state[1] = Tensor::map([&state[1], g], |[v, g]| average(self.beta2, v, g.square()))?;
        let [a, b] = [self.beta1, self.beta2].map(|beta| Formula::scalar(1.0 / unbiased(beta, turn.t)));
        let direction = Tensor::map([&state[0], &state[1], p], |[m, v, p]| {
            a * m / ((b * v).sqrt() + Formula::scalar(self.eps)) + Formula::scalar(turn.decay) * p
        })?;
        let length = |of: &Tensor| of.square()?.sum(&[], false)?.sqrt();
        let ratio = Tensor::map([&length(p)?, &length(&direction)?], |[own, step]| {
            let some = Formula::constant(0.0).less(own.clone()) * Formula::constant(0.0).less(step.clone());
            let safe = Formula::select(some.clone(), step, 1.0.into());
            Formula::select(some, own / safe, 1.0.into())
        })?;
        Tensor::map([p, &direction, &ratio], |[p, r, ratio]| p - Formula::scalar(turn.lr) * ratio * r)
    }
}

/// Muon: matrices move by the orthogonal matrix nearest to the average of their gradients, all other parameters
/// as by [`AdamW`](super::AdamW).
///
/// For a matrix, or a kernel seen as `[out, ..]`: m ← μm + g; d = g + μm; O = d orthogonalised by five steps of
/// the Newton-Schulz iteration X ← aX + (bA + cA²)X, A = XXᵀ, from d/(|d| + 1e-7), with
/// (a, b, c) = (3.4445, −4.7750, 2.0315); p ← (1 − lr·λ)p − lr·√max(1, rows/columns)·O. Singular values end
/// between about 0.7 and 1.2, which serves as well as one.
///
/// Vectors and scalars take AdamW's step with β = (0.9, 0.95), at the learning rate times `vector_lr`.
/// Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
pub struct Muon {
    slots: Slots,
    rule: MuonRule,
}

#[derive(Clone, Copy)]
pub(super) struct MuonRule {
    pub momentum: f64,
    pub vector_lr: f64,
    /// Steps towards the orthogonal factor. The cases take one, since worst-case bounds compound.
    pub iterations: usize,
}

impl Muon {
    /// For the trained parameters that `params` sees now, with μ = 0.95 and no weight decay; the usual rate is
    /// 0.02. Vectors learn at a tenth of it.
    ///
    /// Errors: [`Error::Argument`](crate::Error::Argument) if there are none, or for a rate that is negative or
    /// not finite.
    pub fn new(params: &Params, lr: f64) -> Result<Self> {
        let rule = MuonRule { momentum: 0.95, vector_lr: 0.1, iterations: 5 };
        Ok(Muon { slots: Slots::new("muon", params, lr)?, rule })
    }

    /// How much of the velocity a step keeps, in [0, 1).
    pub fn momentum(mut self, momentum: f64) -> Result<Self> {
        self.rule.momentum = slots::share("muon", "momentum", momentum)?;
        Ok(self)
    }

    /// The learning rate of vectors and scalars, relative to that of matrices.
    pub fn vector_lr(mut self, factor: f64) -> Result<Self> {
        self.rule.vector_lr = slots::not_negative("muon", "relative rate of vectors", factor)?;
        Ok(self)
    }
}

impl Rule for MuonRule {
    fn state(&self, shape: &Shape) -> Vec<StateOf> {
        if shape.rank() >= 2 { vec![("velocity", *shape)] } else { vec![("m", *shape), ("v", *shape)] }
    }

    fn elementwise(&self, shape: &Shape) -> bool {
        shape.rank() < 2
    }

    fn update(&self, turn: Turn, p: &Tensor, g: &Tensor, state: &mut [Tensor]) -> Result<Tensor> {
        if p.rank() < 2 {
            let turn = Turn { lr: turn.lr * self.vector_lr, ..turn };
            return AdamRule::vectors().update(turn, p, g, state);
        }
        let momentum = || Formula::scalar(self.momentum);
        state[0] = Tensor::map([&state[0], g], |[m, g]| momentum() * m + g)?;
        let d = Tensor::map([&state[0], g], |[m, g]| g + momentum() * m)?;
        let rows = p.shape()[0];
        let columns = p.count().checked_div(rows).unwrap_or(0);
        if columns == 0 {
            return Ok(p.clone());
        }
        let step = orthogonal(&d.reshape([rows, columns])?, self.iterations)?.reshape(p.shape())?;
        let scale = Formula::scalar(turn.lr * (rows as f64 / columns as f64).max(1.0).sqrt());
        let shrink = Formula::scalar(1.0 - turn.lr * turn.decay);
        Tensor::map([p, &step], |[p, step]| shrink * p - scale * step)
    }
}

/// Nearly the orthogonal factor of a matrix: its singular values brought close to one.
fn orthogonal(d: &Tensor, iterations: usize) -> Result<Tensor> {
    let (rows, columns) = (d.shape()[0], d.shape()[1]);
    if rows > columns {
        return orthogonal(&d.t()?, iterations)?.t();
    }
    let length = d.square()?.sum(&[], false)?.sqrt()?;
    let mut x = Tensor::map([d, &length], |[d, length]| d / (length + 1e-7))?;
    for _ in 0..iterations {
        let a = x.matmul(&x.t()?)?;
        let b = Tensor::map([&a, &a.matmul(&a)?], |[a, square]| -4.7750 * a + 2.0315 * square)?;
        x = Tensor::map([&x, &b.matmul(&x)?], |[x, bx]| 3.4445 * x + bx)?;
    }
    Ok(x)
}

slots::optimizers!(Lamb, Muon);
