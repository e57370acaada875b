//! Losses: how far predictions are from what was wanted. Each is composed of operations that have their
//! own gradients.

use super::index::in_range;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

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
            Reduction::Sum => losses.sum(&[], false),
            Reduction::None => Ok(losses.clone()),
        }
    }
}

impl Tensor {
    /// The mean over all rows of −ln softmax(logits)\[label\], in nats.
    ///
    /// logits `[.., C]` float, labels `[..]` i32 → scalar. Gradient: (softmax − one-hot)/rows. Safe at any
    /// finite logits: the largest is subtracted before the exponential.
    /// Errors: [`Error::Index`] for a label outside 0..C, [`Error::Shape`] (over no rows, too),
    /// [`Error::DType`].
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Tensor> {
        self.cross_entropy_with(labels, Reduction::Mean)
    }

    /// [`cross_entropy`](Self::cross_entropy), reduced in another way: `Reduction::None` gives one number for
    /// each row, and `Sum` zero over no rows.
    pub fn cross_entropy_with(&self, labels: &Tensor, reduction: Reduction) -> Result<Tensor> {
        if self.rank() == 0 || self.shape()[..self.rank() - 1] != **labels.shape() {
            return Err(Error::shape(
                "cross_entropy",
                format!("logits {} with labels {}", self.describe(), labels.describe()),
                "Give logits [.., C] and one label for each row.",
            ));
        }
        let labels = in_range("cross_entropy", labels, self.shape()[self.rank() - 1])?;
        reduction.apply(&self.log_softmax(-1)?.pick(&labels)?.neg()?)
    }

    /// The mean of (self − target)².
    ///
    /// Both of one shape → scalar. Errors: [`Error::Shape`] if shapes differ or are empty,
    /// [`Error::DType`].
    pub fn mse_loss(&self, target: &Tensor) -> Result<Tensor> {
        self.difference("mse_loss", target)?.square()?.mean(&[], false)
    }

    /// The mean of |self − target|; its gradient is zero where they are equal.
    ///
    /// Both of one shape → scalar. Errors: [`Error::Shape`] if shapes differ or are empty,
    /// [`Error::DType`].
    pub fn l1_loss(&self, target: &Tensor) -> Result<Tensor> {
        self.difference("l1_loss", target)?.abs()?.mean(&[], false)
    }

    fn difference(&self, op: &'static str, target: &Tensor) -> Result<Tensor> {
        // Broadcasting here would hide the classic mistake of [N] against [N, 1].
        if self.shape() != target.shape() {
            return Err(Error::shape(
                op,
                format!("{} with target {}", self.describe(), target.describe()),
                "Predictions and targets have one shape: reshape or broadcast_to.",
            ));
        }
        self.sub(target)
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let entropy = |detail: &str, logits: Input, labels: Input| {
        Case::new("cross_entropy", detail, [logits, labels], |x| x[0].cross_entropy(&x[1]))
    };
    let with = |detail: &str, logits: Input, labels: Input, reduction| {
        Case::new("cross_entropy", detail, [logits, labels], move |x| {
            x[0].cross_entropy_with(&x[1], reduction)
        })
    };
    let mut entropies = vec![
        entropy("one of one", Input::any([1, 1]), Input::index([1], 1)),
        entropy("one row without an axis", Input::any([5]), Input::index([], 5)),
        entropy("13 of 10", Input::any([13, 10]), Input::index([13], 10)),
        entropy("2x3x4 of 5", Input::any([2, 3, 4, 5]), Input::index([2, 3, 4], 5)),
        entropy("64 of 33, steep", Input::uniform([64, 33], -80.0, 80.0), Input::index([64], 33))
            .value_only(),
        entropy("far from zero", Input::uniform([7, 5], 1000.0, 1004.0), Input::index([7], 5)).value_only(),
        entropy("transposed", Input::any([6, 7]).transposed(), Input::index([6], 7)),
        entropy("strided", Input::any([6, 7]).strided(), Input::index([6], 7).strided()),
        entropy("repeated", Input::any([6, 7]).repeated(), Input::index([6], 7)),
        entropy("66000 of 3", Input::any([66_000, 3]), Input::index([66_000], 3)).value_only(),
        with("sum", Input::any([13, 10]), Input::index([13], 10), Reduction::Sum),
        with("apart", Input::any([5, 4]), Input::index([5], 4), Reduction::None),
        with("sum over no rows", Input::any([0, 4]), Input::index([0], 4), Reduction::Sum),
        with("apart over no rows", Input::any([0, 4]), Input::index([0], 4), Reduction::None),
        entropy("mean over no rows", Input::any([0, 4]), Input::index([0], 4)).fails(),
        entropy("no classes", Input::any([3, 0]), Input::index([3], 1)).fails(),
        entropy("label too large", Input::any([3, 4]), Input::fixed_index([3], &[0, 4, 1])).fails(),
        entropy("too few labels", Input::any([3, 4]), Input::index([2], 4)).fails(),
        entropy("one-hot labels", Input::any([3, 4]), Input::index([3, 4], 2)).fails(),
        entropy("float labels", Input::any([3, 4]), Input::whole([3])).fails(),
        entropy("no axis", Input::any([]), Input::index([], 1)).fails(),
    ];
    // Without a preference the loss is ln C, here with the label in every place.
    let even = Input::fixed([4, 4], &[2.0; 16]);
    entropies.push(with("even", even, Input::fixed_index([4], &[0, 1, 2, 3]), Reduction::None));
    let mut rooms = vec![Room { op: "cross_entropy", cases: entropies }];
    type Loss = fn(&Tensor, &Tensor) -> Result<Tensor>;
    for (op, loss) in [("mse_loss", Tensor::mse_loss as Loss), ("l1_loss", Tensor::l1_loss)] {
        let call = |detail: &str, x: Input, target: Input| {
            Case::new(op, detail, [x, target], move |x| loss(&x[0], &x[1]))
        };
        // Multiples of 1/8 and numbers between two of them: no difference is near zero, where |x| has a kink.
        let x = |shape: &[usize]| Input::distinct(shape);
        let target = |shape: &[usize]| Input::uniform(shape, 0.04, 0.08);
        rooms.push(Room {
            op,
            cases: vec![
                call("1", x(&[1]), target(&[1])),
                call("no axis", x(&[]), target(&[])),
                call("7x11", x(&[7, 11]), target(&[7, 11])),
                call("16 whole", Input::whole([2, 8]), Input::whole([2, 8])).value_only().exact(),
                call("transposed", x(&[6, 5]).transposed(), target(&[6, 5]).strided()),
                call("repeated", x(&[6, 5]), target(&[6, 5]).repeated()),
                call("30000", Input::any([30_000]), Input::any([30_000])).value_only(),
                call("empty", x(&[0, 3]), target(&[0, 3])).fails(),
                call("row against column", x(&[6]), target(&[6, 1])).fails(),
                call("integers", Input::index([6], 4), target(&[6])).fails(),
            ],
        });
    }
    rooms
}
