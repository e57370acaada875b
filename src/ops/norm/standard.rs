//! Standardising as tensor operations: what normalisations are composed of, and how they depend on x.

use crate::error::Result;
use crate::formula::Formula;
use crate::tensor::Tensor;

/// x̂ = (x − μ)·r with r = 1/√(σ² + ε), μ and σ² over some axes; without centring x̂ = x·r with
/// r = 1/√(mean x² + ε).
pub(in crate::ops) struct Standard<'a> {
    axes: &'a [isize],
    centred: bool,
    /// x̂, shaped like x.
    pub value: Tensor,
    /// r, its axes of extent one.
    pub rstd: Tensor,
}

impl<'a> Standard<'a> {
    pub fn of(x: &Tensor, axes: &'a [isize], centred: bool, eps: f64) -> Result<Self> {
        let about = if centred {
            // A constant moves neither: the first elements only keep the numbers small, as in the kernels.
            let first = axes.iter().try_fold(x.detach(), |x, &axis| x.slice(axis, 0, 1))?;
            let difference = x.sub(&first)?;
            difference.sub(&difference.mean(axes, true)?)?
        } else {
            x.clone()
        };
        let square = about.square()?.mean(axes, true)?;
        let rstd = Tensor::map([&square], |[square]| (square + Formula::scalar(eps)).rsqrt())?;
        Ok(Standard { axes, centred, value: about.mul(&rstd)?, rstd })
    }

    /// The derivative of x̂ in the direction d: r·(d − mean d − x̂·mean(x̂·d)), the first mean with centring
    /// only. As a map of d it is symmetric, so it pulls cotangents back as well.
    pub fn slope(&self, d: &Tensor) -> Result<Tensor> {
        let along = d.mul(&self.value)?.mean(self.axes, true)?;
        let parts = [d, &self.value, &self.rstd, &along];
        if !self.centred {
            return Tensor::map(parts, |[d, standard, rstd, along]| rstd * (d - standard * along));
        }
        let [d, standard, rstd, along] = parts;
        Tensor::map(
            [d, standard, rstd, along, &d.mean(self.axes, true)?],
            |[d, standard, rstd, along, mean]| rstd * (d - mean - standard * along),
        )
    }
}
