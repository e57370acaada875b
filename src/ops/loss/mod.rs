//! Losses: how far predictions are from what was wanted. All but two are composed of operations that have their
//! own gradients; cross-entropy and that of sequences without an alignment have kernels of their own.
//!
//! Those of pairs of numbers are in [`regression`], those of classes in [`classes`], those that ask for a
//! margin in [`margins`], and that of sequences without an alignment in [`ctc`].

mod cases;
mod classes;
mod cross_entropy;
mod ctc;
mod margins;
mod regression;

pub(super) use self::cases::rooms;
pub use self::classes::ClassLoss;
pub use self::ctc::CtcLoss;

use crate::error::Result;
use crate::tensor::Tensor;

/// What becomes of the losses of the single rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay apart.
    None,
}

impl Reduction {
    fn apply(self, losses: &Tensor) -> Result<Tensor> {
        match self {
            Reduction::Mean => losses.mean(&[], false),
            Reduction::Sum => total(losses),
            Reduction::None => Ok(losses.clone()),
        }
    }
}

fn total(losses: &Tensor) -> Result<Tensor> {
    losses.sum(&[], false)
}

impl Tensor {
    /// The mean over all rows of −ln softmax(logits)\[label\], in nats.
    ///
    /// logits `[.., C]` float, labels `[..]` i32 → scalar. Gradient: (softmax − one-hot)/rows. Safe at any
    /// finite logits: the largest is subtracted before the exponential.
    /// Errors: [`Error::Index`](crate::Error::Index) for a label outside 0..C,
    /// [`Error::Shape`](crate::Error::Shape) (over no rows, too), [`Error::DType`](crate::Error::DType).
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Tensor> {
        self.cross_entropy_with(labels, Reduction::Mean)
    }

    /// [`cross_entropy`](Self::cross_entropy), reduced in another way: `Reduction::None` gives one number for
    /// each row, and `Sum` zero over no rows.
    pub fn cross_entropy_with(&self, labels: &Tensor, reduction: Reduction) -> Result<Tensor> {
        self.cross_entropy_by(labels, &ClassLoss { reduction, ..ClassLoss::default() })
    }
}
