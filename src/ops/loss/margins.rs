//! Losses that ask for a margin between what is alike and what is not.

use super::Reduction;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::tensor::Tensor;

/// Added to both squared lengths before a cosine, as PyTorch does.
const COSINE_EPS: f64 = 1e-12;
/// Added to the differences that a distance is the root of: its gradient is finite where two are equal.
const DISTANCE_EPS: f64 = 1e-6;

impl Tensor {
    /// Hinge loss: max(0, margin − y·x) for scores x and labels y = ±1, as floats.
    ///
    /// Both of one shape. Source: Cortes and Vapnik 1995, "Support-vector networks", with margin 1.
    /// Errors: [`Error::Shape`] if shapes differ or, for a mean, are empty; [`Error::DType`].
    pub fn hinge_loss(&self, labels: &Tensor, margin: f64, reduction: Reduction) -> Result<Tensor> {
        self.pairwise("hinge_loss", labels, reduction, |x, y| (Formula::scalar(margin) - y * x).relu())
    }

    /// For distances x: x where y = 1, max(0, margin − x) where y = −1, as floats; any other y counts as the
    /// nearer of both.
    ///
    /// Both of one shape. Errors: [`Error::Shape`] if shapes differ or, for a mean, are empty;
    /// [`Error::DType`].
    pub fn hinge_embedding_loss(&self, labels: &Tensor, margin: f64, reduction: Reduction) -> Result<Tensor> {
        self.pairwise("hinge_embedding_loss", labels, reduction, |x, y| {
            Formula::select(positive(y), x.clone(), (Formula::scalar(margin) - x).relu())
        })
    }

    /// max(0, margin − y·(self − other)): self is to rank above other where y = 1, below where y = −1.
    ///
    /// All of one shape. Errors: [`Error::Shape`] if shapes differ or, for a mean, are empty;
    /// [`Error::DType`].
    pub fn margin_ranking_loss(
        &self,
        other: &Tensor,
        labels: &Tensor,
        margin: f64,
        reduction: Reduction,
    ) -> Result<Tensor> {
        self.check_alike("margin_ranking_loss", other)?;
        self.sub(other)?.pairwise("margin_ranking_loss", labels, reduction, |d, y| {
            (Formula::scalar(margin) - y * d).relu()
        })
    }

    /// With the cosine c of the angle between rows of self and other: 1 − c where y = 1, max(0, c − margin)
    /// where y = −1, as floats.
    ///
    /// self and other `[.., D]`, labels `[..]`. Errors: [`Error::Shape`] if they are not, or, for a mean, are
    /// empty; [`Error::DType`].
    pub fn cosine_embedding_loss(
        &self,
        other: &Tensor,
        labels: &Tensor,
        margin: f64,
        reduction: Reduction,
    ) -> Result<Tensor> {
        let op = "cosine_embedding_loss";
        self.check_rows(op, other)?;
        let dot = |a: &Tensor, b: &Tensor| a.mul(b)?.sum(&[-1], false);
        let parts = [dot(self, other)?, dot(self, self)?, dot(other, other)?];
        let [across, own, others] = &parts;
        let cosine = Tensor::map([across, own, others], |[across, own, others]| {
            let eps = || Formula::scalar(COSINE_EPS);
            across * ((own + eps()) * (others + eps())).rsqrt()
        })?;
        cosine.pairwise(op, labels, reduction, |c, y| {
            Formula::select(positive(y), 1.0 - c.clone(), (c - Formula::scalar(margin)).relu())
        })
    }

    /// max(0, margin + |anchor − positive| − |anchor − negative|), self being the anchor; |d| is the root of
    /// Σ (dᵢ + 1e-6)². With `swap`, the negative's distance is the smaller of those to anchor and positive.
    ///
    /// All `[.., D]` → losses `[..]`. Source: Balntas, Riba, Ponsa and Mikolajczyk 2016, "Learning local
    /// feature descriptors with triplets and shallow convolutional neural networks".
    /// Errors: [`Error::Shape`] if shapes differ or, for a mean, are empty; [`Error::DType`].
    pub fn triplet_margin_loss(
        &self,
        positive: &Tensor,
        negative: &Tensor,
        margin: f64,
        swap: bool,
        reduction: Reduction,
    ) -> Result<Tensor> {
        let op = "triplet_margin_loss";
        self.check_rows(op, positive)?;
        self.check_rows(op, negative)?;
        let distance = |a: &Tensor, b: &Tensor| {
            let square = Tensor::map([a, b], |[a, b]| (a - b + Formula::scalar(DISTANCE_EPS)).square())?;
            square.sum(&[-1], false)?.sqrt()
        };
        let near = distance(self, positive)?;
        let mut far = distance(self, negative)?;
        if swap {
            far = far.minimum(&distance(positive, negative)?)?;
        }
        near.pairwise(op, &far, reduction, |near, far| (Formula::scalar(margin) + near - far).relu())
    }

    /// Rows of one length, one for one.
    fn check_rows(&self, op: &'static str, other: &Tensor) -> Result<()> {
        if self.rank() == 0 {
            return Err(Error::shape(op, self.describe(), "Give rows, [.., D]."));
        }
        self.check_alike(op, other)
    }
}

fn positive(label: Formula) -> Formula {
    Formula::constant(0.0).less(label)
}
