//! Losses over classes: cross-entropy in its forms, negative log-likelihood, binary cross-entropy.

use super::cross_entropy::Entropies;
use super::{Reduction, total};
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::ops::index::in_range;
use crate::tensor::Tensor;

/// What a loss over classes counts, and how much.
///
/// ```
/// use gradus::ops::ClassLoss;
/// let options = ClassLoss { label_smoothing: 0.1, ignore_index: Some(-100), ..ClassLoss::default() };
/// ```
#[derive(Clone, Debug, Default)]
pub struct ClassLoss {
    /// What becomes of the losses of the single rows. `Mean` divides by the sum of the labels' weights.
    pub reduction: Reduction,
    /// The share ε of the target that is spread evenly over all classes (Szegedy et al. 2015,
    /// arXiv:1512.00567).
    pub label_smoothing: f64,
    /// A factor for each class, `[C]`.
    pub weights: Option<Tensor>,
    /// Rows with this label count nothing; it need not be a class.
    pub ignore_index: Option<i32>,
}

impl ClassLoss {
    fn check(&self, op: &'static str, classes: usize) -> Result<()> {
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            let given = format!("label smoothing {}", self.label_smoothing);
            return Err(Error::argument(op, given, "It is a share, from 0 to 1."));
        }
        match &self.weights {
            Some(weights) if **weights.shape() != [classes] => Err(Error::shape(
                op,
                format!("weights {} for {classes} classes", weights.describe()),
                "Give one weight for each class.",
            )),
            _ => Ok(()),
        }
    }

    /// Labels that are classes, and a mask of those that count, where some do not.
    fn labels(&self, op: &'static str, like: &Tensor, labels: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        like.check_labels(op, labels)?;
        self.check(op, like.shape()[like.rank() - 1])?;
        counted(op, like, labels, self.ignore_index)
    }

    /// What rows come to whose `losses` are −ln p\[label\]. `log` is ln p `[.., C]`, for who asks for it.
    fn reduced(
        &self,
        labels: &Tensor,
        mask: Option<Tensor>,
        losses: &Tensor,
        log: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        let own = self
            .weights
            .as_ref()
            .map(|weights| weights.index_select(0, &labels.flatten(0)?)?.reshape(labels.shape()));
        let weights = match (own.transpose()?, &mask) {
            (Some(own), Some(mask)) => Some(own.mul(mask)?),
            (own, mask) => own.or(mask.clone()),
        };
        let mut losses = weights.as_ref().map_or(Ok(losses.clone()), |weights| losses.mul(weights))?;
        let smoothing = self.label_smoothing;
        if smoothing > 0.0 {
            let log = self.weighted(log()?)?;
            let mut spread = log.sum(&[-1], false)?;
            if let Some(mask) = &mask {
                spread = spread.mul(mask)?;
            }
            let even = smoothing / log.shape()[log.rank() - 1] as f64;
            losses = Tensor::map([&losses, &spread], |[loss, spread]| {
                loss * Formula::scalar(1.0 - smoothing) - spread * Formula::scalar(even)
            })?;
        }
        reduce(self.reduction, &losses, weights.as_ref())
    }

    /// Each class's element times its weight.
    fn weighted(&self, x: Tensor) -> Result<Tensor> {
        self.weights.as_ref().map_or(Ok(x.clone()), |weights| x.mul(weights))
    }
}

/// Labels that are classes, and where some are ignored, a mask of those that count: float, shaped like the
/// labels. Ignored labels become class zero.
fn counted(
    op: &'static str,
    like: &Tensor,
    labels: &Tensor,
    ignore: Option<i32>,
) -> Result<(Tensor, Option<Tensor>)> {
    let classes = like.shape()[like.rank() - 1];
    let known_apart = |ignore: i32| {
        crate::capture::by_range();
        labels.meta().range.is_some_and(|(low, high)| ignore < low || ignore > high)
    };
    let Some(ignore) = ignore.filter(|&ignore| !known_apart(ignore)) else {
        return Ok((in_range(op, labels, classes)?, None));
    };
    if (0..classes as i64).contains(&i64::from(ignore)) {
        let labels = in_range(op, labels, classes)?;
        // f16 does not hold every label.
        let mask = Tensor::map([&labels.to_dtype(like.dtype().wide())?], |[label]| {
            1.0 - label.equal(Formula::scalar(ignore.into()))
        })?;
        return Ok((labels, Some(mask.to_dtype(like.dtype())?)));
    }
    // A label that is no class must not reach a kernel: read them, as wherever the range is not known to fit.
    let values = labels.to_vec::<i32>()?;
    let safe: Vec<i32> = values.iter().map(|&v| if v == ignore { 0 } else { v }).collect();
    let mask: Vec<f64> = values.iter().map(|&v| f64::from(u8::from(v != ignore))).collect();
    let safe = Tensor::from_slice(labels.device(), &safe, labels.shape())?;
    let mask = crate::verify::from_f64(labels.device(), like.dtype(), &mask, *labels.shape())?;
    Ok((in_range(op, &safe, classes)?, Some(mask)))
}

/// What `losses` of rows come to, where row r counts `weights[r]` times in a mean. Zero if nothing counts.
fn reduce(reduction: Reduction, losses: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
    match (reduction, weights) {
        (Reduction::Mean, Some(weights)) => {
            Tensor::map([&total(losses)?, &total(weights)?], |[losses, weight]| {
                losses / Formula::select(weight.clone().equal(0.0), 1.0.into(), weight)
            })
        }
        _ => reduction.apply(losses),
    }
}

impl Tensor {
    /// [`cross_entropy`](Self::cross_entropy) with label smoothing, weights of classes and an ignored label.
    ///
    /// Row r with label y: −w\[y\]·((1 − ε)·ln p\[y\]) − ε/C·Σ_c w\[c\]·ln p\[c\] with p = softmax(logits\[r\]), zero
    /// where y is ignored. `Mean` divides the sum by Σ w\[y\] over the rows that count, as PyTorch does, but is
    /// zero where none does. Labels that are no classes, among them an ignored one that is none, are looked for
    /// on the host unless the labels' range is known.
    ///
    /// Errors: those of [`cross_entropy`](Self::cross_entropy); [`Error::Argument`] unless 0 ≤ ε ≤ 1.
    pub fn cross_entropy_by(&self, labels: &Tensor, options: &ClassLoss) -> Result<Tensor> {
        let (labels, mask) = options.labels("cross_entropy", self, labels)?;
        let entropies = Entropies::of(self, &labels)?;
        options.reduced(&labels, mask, &entropies.losses, || entropies.log_softmax())
    }

    /// Negative log-likelihood: the mean of −self\[row, label\], where self holds logarithms of probabilities,
    /// with weights of classes and an ignored label. [`cross_entropy_by`](Self::cross_entropy_by) is this of
    /// [`log_softmax`](Self::log_softmax), and takes label smoothing, as this does.
    ///
    /// `[.., C]` float, labels `[..]` i32. Errors: those of [`cross_entropy_by`](Self::cross_entropy_by).
    pub fn nll_loss(&self, labels: &Tensor, options: &ClassLoss) -> Result<Tensor> {
        let (labels, mask) = options.labels("nll_loss", self, labels)?;
        options.reduced(&labels, mask, &self.pick(&labels)?.neg()?, || Ok(self.clone()))
    }

    pub(super) fn check_labels(&self, op: &'static str, labels: &Tensor) -> Result<()> {
        if self.rank() > 0 && self.shape()[..self.rank() - 1] == **labels.shape() {
            return Ok(());
        }
        Err(Error::shape(
            op,
            format!("logits {} with labels {}", self.describe(), labels.describe()),
            "Give logits [.., C] and one label for each row.",
        ))
    }

    /// Cross-entropy against probabilities of the classes: the mean over all rows of
    /// −Σ_c w\[c\]·t\[c\]·ln softmax(logits)\[c\], in nats, with t spread by label smoothing to (1 − ε)·t + ε/C.
    ///
    /// Logits and target `[.., C]` float; the target's rows are taken as they are, whatever they sum to.
    /// `Mean` divides by the number of rows. The gradient reaches logits, target and weights.
    ///
    /// Errors: [`Error::Shape`]; [`Error::Argument`] unless 0 ≤ ε ≤ 1, and for an ignored label, for there is
    /// none; [`Error::DType`].
    pub fn cross_entropy_probabilities(&self, target: &Tensor, options: &ClassLoss) -> Result<Tensor> {
        let op = "cross_entropy_probabilities";
        self.require_float(op)?;
        if self.rank() == 0 || self.shape() != target.shape() {
            return Err(Error::shape(
                op,
                format!("logits {} with target {}", self.describe(), target.describe()),
                "Give both [.., C]: a probability for each class.",
            ));
        }
        let classes = self.shape()[self.rank() - 1];
        options.check(op, classes)?;
        if let Some(ignore) = options.ignore_index {
            let remedy = "Probabilities have no label to ignore: weight the rows instead.";
            return Err(Error::argument(op, format!("ignore index {ignore}"), remedy));
        }
        let (smoothing, even) = (options.label_smoothing, options.label_smoothing / classes.max(1) as f64);
        let log = options.weighted(self.log_softmax(-1)?)?;
        let terms = Tensor::map([&log, target], |[log, target]| {
            let spread = target * Formula::scalar(1.0 - smoothing) + Formula::scalar(even);
            -(log * spread)
        })?;
        options.reduction.apply(&terms.sum(&[-1], false)?)
    }

    /// Binary cross-entropy of logits: −t·ln σ(x) − (1 − t)·ln(1 − σ(x)), in nats, safe at any finite logit.
    ///
    /// Logits and target (probabilities) of one shape, float. With `positive`, which broadcasts to that shape,
    /// the first term counts so many times: more than one for a rare class. The gradient reaches all.
    ///
    /// Errors: [`Error::Shape`] if shapes differ or, for a mean, are empty; [`Error::DType`].
    pub fn bce_with_logits(
        &self,
        target: &Tensor,
        positive: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Tensor> {
        let op = "bce_with_logits";
        self.check_alike(op, target)?;
        // −ln σ(x) = softplus(−x), −ln(1 − σ(x)) = softplus(x) = x + softplus(−x).
        let losses = match positive {
            None => Tensor::map_named(op, &[self, target], &{
                let (x, t) = (Formula::input(0), Formula::input(1));
                (1.0 - t) * x.clone() + (-x).softplus()
            })?,
            Some(positive) => Tensor::map_named(op, &[self, target, positive], &{
                let [x, t, p] = std::array::from_fn(Formula::input);
                (1.0 - t.clone()) * x.clone() + (1.0 + (p - 1.0) * t) * (-x).softplus()
            })?,
        };
        if losses.shape() != self.shape() {
            return Err(Error::shape(
                op,
                format!("weights of positives that stretch {} to {}", self.describe(), losses.describe()),
                "They broadcast to the logits.",
            ));
        }
        reduction.apply(&losses)
    }

    /// Multi-class hinge loss: the mean over all rows of Σ_c max(0, margin − x\[y\] + x\[c\])/C, over the classes c
    /// that are not the label y.
    ///
    /// Scores `[.., C]` float, labels `[..]` i32. Source: Crammer and Singer 2001, JMLR 2, summed over the
    /// classes as in PyTorch. Errors: [`Error::Index`], [`Error::Shape`], [`Error::DType`].
    pub fn multi_margin_loss(&self, labels: &Tensor, margin: f64, reduction: Reduction) -> Result<Tensor> {
        let op = "multi_margin_loss";
        self.check_labels(op, labels)?;
        let classes = self.shape()[self.rank() - 1];
        let labels = in_range(op, labels, classes)?;
        let own = self.pick(&labels)?;
        let over = Tensor::map([self, &own.unsqueeze(own.rank())?], |[x, own]| {
            (Formula::scalar(margin) - own + x).relu()
        })?;
        // The label's own term is max(0, margin), a constant.
        let losses = Tensor::map([&over.sum(&[-1], false)?], |[sum]| {
            (sum - Formula::scalar(margin.max(0.0))) * Formula::scalar(1.0 / classes as f64)
        })?;
        reduction.apply(&losses)
    }
}
