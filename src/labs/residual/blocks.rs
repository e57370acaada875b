//! Random residual blocks, many networks at a time.

use crate::error::Result;
use crate::labs::lab::Lab;
use crate::tensor::Tensor;

/// W₁ ~ N(0, 2/n) and W₂ ~ N(0, α²/n) of several networks, `[nets, n, n]` each.
pub(super) type Weights = [Tensor; 2];

/// Which networks: their streams are `base`·1000 and those that follow.
#[derive(Clone, Copy)]
pub(super) struct Nets {
    pub base: u64,
    pub count: usize,
    pub width: usize,
    /// α², the share of a branch.
    pub alpha2: f64,
}

impl Nets {
    /// Standard normal numbers times `scale`, of layer `layer` of every network.
    pub fn matrix(&self, lab: &Lab, layer: usize, scale: f64) -> Result<Tensor> {
        let stream = 1000 * self.base + layer as u64;
        lab.normal(stream, [self.count, self.width, self.width])?.mul_scalar(scale)?.contiguous()
    }

    /// The weights of block `layer`.
    pub fn block(&self, lab: &Lab, layer: usize) -> Result<Weights> {
        let n = self.width as f64;
        Ok([
            self.matrix(lab, 2 * layer, (2.0 / n).sqrt())?,
            self.matrix(lab, 2 * layer + 1, (self.alpha2 / n).sqrt())?,
        ])
    }

    /// Standard normal rows, `rows` for each network.
    pub fn rows(&self, lab: &Lab, stream: u64, rows: usize) -> Result<Tensor> {
        lab.normal(stream, [self.count, rows, self.width])?.contiguous()
    }
}

/// F(x) = W₂ relu(W₁ x), on rows.
pub(super) fn branch(x: &Tensor, w: &Weights) -> Result<Tensor> {
    x.matmul(&w[0])?.relu()?.matmul(&w[1])
}

/// x + F(x); F(x) alone without the ingredient `skip`.
pub(super) fn block(lab: &Lab, x: &Tensor, w: &Weights) -> Result<Tensor> {
    let f = branch(x, w)?;
    if lab.with("skip") { x.add(&f) } else { Ok(f) }
}

/// α² for a depth: 1/L; one without the ingredient `branch-scale`.
pub(super) fn share(lab: &Lab, depth: usize) -> f64 {
    if lab.with("branch-scale") { 1.0 / depth as f64 } else { 1.0 }
}

/// Σ x² along the last axis, row by row.
pub(super) fn squares(x: &Tensor) -> Result<Vec<f64>> {
    x.square()?.sum(&[-1], false)?.to_f64()
}

/// The cotangents of the layers' values for the cotangent `u` of the last.
pub(super) fn cotangents(values: &[Tensor], u: &Tensor) -> Result<Vec<Tensor>> {
    let Some((last, before)) = values.split_last() else { return Ok(vec![]) };
    let targets: Vec<&Tensor> = before.iter().collect();
    Ok(last.pull_back(u, &targets)?.iter().map(Tensor::detach).chain([u.clone()]).collect())
}
