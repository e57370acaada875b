//! Connectionist temporal classification: the likelihood of a sequence of labels, whatever its alignment.
//!
//! The sum over all alignments and its gradient are fused, a kernel each that walks all times; [`lattice`] says
//! what they are composed of.

mod cases;
mod fused;
mod lattice;

pub(super) use self::cases::rooms;

use self::fused::Sum;
use self::lattice::Lattice;
use super::Reduction;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op;
use crate::tensor::Tensor;
use crate::verify::from_f64;

/// How [`Tensor::ctc_loss`] counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtcLoss {
    /// The class that stands for no label.
    pub blank: usize,
    /// What becomes of the examples' losses. `Mean` first divides each by the number of its labels, by one where
    /// there is none.
    pub reduction: Reduction,
    /// Whether labels that no alignment fits, for which the loss is infinite, count zero instead of being an
    /// error.
    pub zero_infinity: bool,
}

impl Tensor {
    /// The connectionist temporal classification loss: −ln of the probability that self, read class by class
    /// and time by time, spells the targets when repetitions are merged and blanks then left out.
    ///
    /// self `[T, N, C]` are logarithms of probabilities, as [`log_softmax`](Self::log_softmax) over the last
    /// axis gives them; targets `[N, S]` i32, of which row n's first `target_lengths[n]` count, none of them
    /// blank; of example n the first `input_lengths[n]` times count. In nats, → `[N]` or a scalar. Targets are
    /// read on the host.
    ///
    /// In log space, one launch forward and one back, whatever the length. The gradient is exactly that with
    /// respect to self, and that of the logits through `log_softmax`; PyTorch's with respect to self already
    /// contains a part of the latter. Kept for it: α, `[T, N, 2S + 1]`.
    ///
    /// Source: Graves, Fernández, Gomez and Schmidhuber 2006, "Connectionist temporal classification".
    /// Errors: [`Error::Argument`] for lengths that do not fit, for a blank among the targets, and for targets
    /// that no alignment fits, whose loss is infinite, unless these count zero; [`Error::Index`] for a target
    /// that is no class; [`Error::Shape`], [`Error::DType`].
    pub fn ctc_loss(
        &self,
        targets: &Tensor,
        input_lengths: &[usize],
        target_lengths: &[usize],
        options: CtcLoss,
    ) -> Result<Tensor> {
        let op = "ctc_loss";
        // The logarithms of whole alignments are added up in f32.
        let wide = self.to_dtype(self.dtype().wide())?;
        if wide.dtype() != self.dtype() {
            let loss = wide.ctc_loss(targets, input_lengths, target_lengths, options)?;
            return loss.to_dtype(self.dtype());
        }
        let labels = self.ctc_labels(targets, input_lengths, target_lengths, options.blank)?;
        let lattice = Lattice::of(&labels, options.blank);
        let (mut counts, mut shares) = (vec![], vec![]);
        for (example, labels) in labels.iter().enumerate() {
            let (needed, given) = (lattice.needs(example, labels.len()), input_lengths[example]);
            if needed > given && !options.zero_infinity {
                return Err(Error::argument(
                    op,
                    format!(
                        "{} labels of example {example} need {needed} times, there are {given}",
                        labels.len()
                    ),
                    "Give longer inputs, or let such examples count zero with `zero_infinity`.",
                ));
            }
            counts.push(if needed > given { 0.0 } else { -1.0 });
            shares.push(if options.reduction == Reduction::Mean { labels.len().max(1) as f64 } else { 1.0 });
        }
        let [p, codes, ends] = lattice.tensors(self, input_lengths, target_lengths)?;
        let sums = op::apply(Sum, &[&p, &codes, &ends])?.swap_remove(0);
        let place = |values: &[f64]| from_f64(self.device(), self.dtype(), values, *sums.shape());
        let losses = Tensor::map([&sums, &place(&counts)?, &place(&shares)?], |[sum, counts, share]| {
            counts * sum / share
        })?;
        options.reduction.apply(&losses)
    }

    /// The share of the alignments that are in a state at a time, `[T, N, 2S + 1]`, for the cases.
    pub(super) fn ctc_occupancy(
        &self,
        targets: &Tensor,
        input_lengths: &[usize],
        target_lengths: &[usize],
    ) -> Result<Tensor> {
        let labels = self.ctc_labels(targets, input_lengths, target_lengths, 0)?;
        let [p, codes, ends] = Lattice::of(&labels, 0).tensors(self, input_lengths, target_lengths)?;
        fused::shares(&p, &codes, &ends)
    }

    /// The labels of each example, after all that can be wrong with them was looked for.
    fn ctc_labels(
        &self,
        targets: &Tensor,
        input_lengths: &[usize],
        target_lengths: &[usize],
        blank: usize,
    ) -> Result<Vec<Vec<usize>>> {
        let op = "ctc_loss";
        self.require_float(op)?;
        if targets.dtype() != DType::I32 {
            return Err(Error::dtype(op, format!("targets {}", targets.describe()), "Give i32 labels."));
        }
        let fits = self.rank() == 3 && targets.rank() == 2 && self.shape()[1] == targets.shape()[0];
        if !fits || self.count() == 0 {
            return Err(Error::shape(
                op,
                format!("log-probabilities {} with targets {}", self.describe(), targets.describe()),
                "Give [T, N, C] and [N, S], with at least one time, example and class.",
            ));
        }
        let (times, examples, classes) = (self.shape()[0], self.shape()[1], self.shape()[2]);
        let length = targets.shape()[1];
        let wrong = |given: String, remedy: &str| Err(Error::argument(op, given, remedy));
        if input_lengths.len() != examples || target_lengths.len() != examples {
            let given = (input_lengths.len(), target_lengths.len());
            return wrong(format!("{given:?} lengths for {examples} examples"), "Give two for each example.");
        }
        if let Some(&other) = input_lengths.iter().find(|&&l| l == 0 || l > times) {
            return wrong(format!("an input of length {other} of {times}"), "Lengths go from 1 to T.");
        }
        if let Some(&other) = target_lengths.iter().find(|&&l| l > length) {
            return wrong(format!("a target of length {other} of {length}"), "Lengths go up to S.");
        }
        if blank >= classes {
            return wrong(format!("blank {blank} of {classes} classes"), "The blank is one of the classes.");
        }
        let values = targets.to_vec::<i32>()?;
        let mut all = Vec::with_capacity(examples);
        for (example, &count) in target_lengths.iter().enumerate() {
            let mut labels = Vec::with_capacity(count);
            for &value in &values[example * length..example * length + count] {
                match usize::try_from(value) {
                    Ok(label) if label == blank => {
                        let given = format!("blank {blank} among the targets of example {example}");
                        return wrong(
                            given,
                            "Targets have labels only: blanks go between them by themselves.",
                        );
                    }
                    Ok(label) if label < classes => labels.push(label),
                    _ => {
                        let given = format!("target {value} of example {example} is outside 0..{classes}");
                        return Err(Error::index(op, given, "Check the targets and their lengths."));
                    }
                }
            }
            all.push(labels);
        }
        Ok(all)
    }
}
