//! Losses of numbers against numbers, and of distributions against distributions.

use super::Reduction;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::tensor::Tensor;

impl Tensor {
    /// The mean of (self − target)².
    ///
    /// Both of one shape → scalar. Errors: [`Error::Shape`] if shapes differ or are empty,
    /// [`Error::DType`].
    pub fn mse_loss(&self, target: &Tensor) -> Result<Tensor> {
        self.mse_loss_with(target, Reduction::Mean)
    }

    /// [`mse_loss`](Self::mse_loss), reduced in another way.
    pub fn mse_loss_with(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        self.pairwise("mse_loss", target, reduction, |x, t| (x - t).square())
    }

    /// The mean of |self − target|; its gradient is zero where they are equal.
    ///
    /// Both of one shape → scalar. Errors: [`Error::Shape`] if shapes differ or are empty,
    /// [`Error::DType`].
    pub fn l1_loss(&self, target: &Tensor) -> Result<Tensor> {
        self.l1_loss_with(target, Reduction::Mean)
    }

    /// [`l1_loss`](Self::l1_loss), reduced in another way.
    pub fn l1_loss_with(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        self.pairwise("l1_loss", target, reduction, |x, t| (x - t).abs())
    }

    /// Huber's loss of d = self − target: d²/2 for |d| < delta, else delta·(|d| − delta/2).
    ///
    /// Both of one shape. Source: Huber 1964, "Robust estimation of a location parameter".
    /// Errors: [`Error::Argument`] unless delta is positive; [`Error::Shape`] if shapes differ or, for a mean,
    /// are empty; [`Error::DType`].
    pub fn huber_loss(&self, target: &Tensor, delta: f64, reduction: Reduction) -> Result<Tensor> {
        positive("huber_loss", "delta", delta)?;
        self.pairwise("huber_loss", target, reduction, |x, t| huber(x - t, delta))
    }

    /// [`huber_loss`](Self::huber_loss) with delta = beta, over beta: |d| − beta/2 far out, whatever beta is.
    ///
    /// Source: Girshick 2015, arXiv:1504.08083, with beta = 1. Errors: those of
    /// [`huber_loss`](Self::huber_loss).
    pub fn smooth_l1_loss(&self, target: &Tensor, beta: f64, reduction: Reduction) -> Result<Tensor> {
        positive("smooth_l1_loss", "beta", beta)?;
        self.pairwise("smooth_l1_loss", target, reduction, |x, t| {
            huber(x - t, beta) * Formula::scalar(1.0 / beta)
        })
    }

    /// The Kullback-Leibler divergence of the distribution self, given by logarithms, from the target, given by
    /// probabilities: t·(ln t − x) for each element, zero where t is.
    ///
    /// Both of one shape, in nats. `Mean` is that over all elements: for the mean over rows take `Sum` over
    /// their number. The gradient reaches both; that of a probability of zero is −x, without its infinite
    /// part. Errors: [`Error::Shape`] if shapes differ or, for a mean, are empty; [`Error::DType`].
    pub fn kl_div(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        self.pairwise("kl_div", target, reduction, |x, t| {
            let some = Formula::constant(0.0).less(t.clone());
            // The logarithm is never taken of zero, not even where nobody looks at it.
            t.clone() * (Formula::select(some, t, 1.0.into()).ln() - x)
        })
    }

    /// [`kl_div`](Self::kl_div) with both distributions given by logarithms: eᵗ·(t − x).
    pub fn kl_div_log(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        self.pairwise("kl_div_log", target, reduction, |x, t| t.clone().exp() * (t - x))
    }

    /// A loss of the elements one by one.
    pub(super) fn pairwise(
        &self,
        op: &'static str,
        target: &Tensor,
        reduction: Reduction,
        loss: impl FnOnce(Formula, Formula) -> Formula,
    ) -> Result<Tensor> {
        self.check_alike(op, target)?;
        let formula = loss(Formula::input(0), Formula::input(1));
        reduction.apply(&Tensor::map_named(op, &[self, target], &formula)?)
    }

    /// Broadcasting here would hide the classic mistake of [N] against [N, 1].
    pub(super) fn check_alike(&self, op: &'static str, target: &Tensor) -> Result<()> {
        if self.shape() == target.shape() {
            return Ok(());
        }
        Err(Error::shape(
            op,
            format!("{} with target {}", self.describe(), target.describe()),
            "Predictions and targets have one shape: reshape or broadcast_to.",
        ))
    }
}

fn huber(d: Formula, delta: f64) -> Formula {
    let size = d.clone().abs();
    let near = size.clone().less(Formula::scalar(delta));
    let far = Formula::scalar(delta) * (size - Formula::scalar(delta / 2.0));
    Formula::select(near, 0.5 * d.square(), far)
}

fn positive(op: &'static str, what: &str, value: f64) -> Result<()> {
    if value >= f64::from(f32::MIN_POSITIVE) && value.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op, format!("{what} {value}"), "It is positive."))
}
