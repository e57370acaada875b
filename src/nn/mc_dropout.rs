//! Predictions over many dropout masks.

use super::module::{Mode, Module};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Mean and spread of a model's outputs over dropout masks; see [`mc_dropout`].
#[derive(Clone, Debug)]
pub struct McPrediction {
    /// The mean of the outputs.
    pub mean: Tensor,
    /// The unbiased variance of each output over the masks.
    pub variance: Tensor,
}

/// What a classifier predicts over dropout masks, and how sure it is; see [`mc_dropout_classes`].
#[derive(Clone, Debug)]
pub struct McClasses {
    /// The mean of the probabilities, `[.., C]`.
    pub probabilities: Tensor,
    /// The unbiased variance of each probability over the masks, `[.., C]`.
    pub variance: Tensor,
    /// The predictive entropy −Σ p̄ ln p̄ of the mean, `[..]`, in nats: from 0 to ln C.
    pub entropy: Tensor,
    /// The entropy of the mean less the mean of the entropies, `[..]`, in nats: what the class and the mask
    /// tell of each other. Large where the masks are sure and disagree.
    pub information: Tensor,
}

/// The model's outputs over `masks` dropout masks: Monte-Carlo dropout.
///
/// Runs the model in [`Mode::Sample`]`(0)` to `(masks − 1)`, so all but dropout computes as in
/// [`Mode::Eval`], and the same call gives the same numbers. Each example of a batch has masks of its own. The
/// mean of n masks strays from that of all masks by √(variance/n); memory does not grow with n. Nothing is
/// recorded for gradients. An output of f16 is averaged in f32.
///
/// The variance tells how much the output depends on single units, not how little data there was: of a linear
/// model it stays p/(1 − p)·Σ w²x² however many examples w was fitted to (`gradus lab dropout`, C7.6).
///
/// ```
/// use gradus::nn::{Dropout, Linear, Params, Sequential, mc_dropout};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 7);
/// let model = Sequential::new()
///     .add(Linear::new(&params.at("hidden"), 1, 32)?)
///     .add(Tensor::relu)
///     .add(Dropout::new(&params.at("drop"), 0.2)?)
///     .add(Linear::new(&params.at("output"), 32, 1)?);
/// let x = Tensor::from_slice(&Device::cpu(), &[0.5f32, 5.0], [2, 1])?;
/// let prediction = mc_dropout(&model, &x, 100)?;
/// let deviation = prediction.variance.sqrt()?.to_vec::<f32>()?;
/// assert!(deviation[1] > 2.0 * deviation[0]); // far out, relu units grow with x, and so does the spread
/// # Ok(())
/// # }
/// ```
///
/// Source: Gal and Ghahramani 2016, arXiv:1506.02142.
/// Errors: [`Error::Argument`] for fewer than two masks; those of the model.
pub fn mc_dropout(model: &dyn Module, x: &Tensor, masks: u64) -> Result<McPrediction> {
    let mut outputs = Running::default();
    for sample in samples("mc_dropout", masks)? {
        outputs.push(&wide(model, x, sample)?)?;
    }
    let (mean, variance) = outputs.finish()?;
    Ok(McPrediction { mean, variance })
}

/// The class probabilities over `masks` dropout masks, for a model from examples to logits `[.., C]`.
///
/// The softmax of each pass is averaged, not the logits; otherwise as [`mc_dropout`].
///
/// ```
/// use gradus::nn::{Dropout, Linear, Params, Sequential, mc_dropout_classes};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 7);
/// let model = Sequential::new()
///     .add(Dropout::new(&params.at("drop"), 0.5)?)
///     .add(Linear::new(&params.at("output"), 4, 3)?);
/// let classes = mc_dropout_classes(&model, &Tensor::ones(&Device::cpu(), [2, 4])?, 50)?;
/// assert_eq!(**classes.probabilities.shape(), [2, 3]);
/// let (entropy, information) = (classes.entropy.to_f64()?, classes.information.to_f64()?);
/// assert!(0.0 < information[0] && information[0] < entropy[0] && entropy[0] < 3f64.ln());
/// # Ok(())
/// # }
/// ```
///
/// Source: Gal and Ghahramani 2016, arXiv:1506.02142; the information: Houlsby, Huszár, Ghahramani and Lengyel
/// 2011, arXiv:1112.5745.
/// Errors: [`Error::Argument`] for fewer than two masks; [`Error::Shape`] for an output without classes;
/// those of the model.
pub fn mc_dropout_classes(model: &dyn Module, x: &Tensor, masks: u64) -> Result<McClasses> {
    let (mut probabilities, mut entropies) = (Running::default(), Running::default());
    for sample in samples("mc_dropout_classes", masks)? {
        let logs = wide(model, x, sample)?.log_softmax(-1)?;
        let p = logs.exp()?;
        // p underflows to zero long before its logarithm leaves the range, so 0·ln 0 is 0.
        entropies.push(&p.mul(&logs)?.sum(&[-1], false)?.neg()?)?;
        probabilities.push(&p)?;
    }
    let (mean, variance) = probabilities.finish()?;
    let logs = mean.clamp(f64::from(f32::MIN_POSITIVE), 1.0)?.ln()?;
    let entropy = mean.mul(&logs)?.sum(&[-1], false)?.neg()?;
    let information = entropy.sub(&entropies.finish()?.0)?;
    Ok(McClasses { probabilities: mean, variance, entropy, information })
}

fn samples(op: &'static str, masks: u64) -> Result<impl Iterator<Item = u64>> {
    if masks < 2 {
        let remedy = "A variance needs at least two masks; forty to a hundred are usual.";
        return Err(Error::argument(op, format!("{masks} masks"), remedy));
    }
    Ok(0..masks)
}

/// One pass, without its graph, in f32 if it was in f16.
fn wide(model: &dyn Module, x: &Tensor, sample: u64) -> Result<Tensor> {
    let y = model.forward(x, Mode::Sample(sample))?.detach();
    y.to_dtype(y.dtype().wide())
}

/// Mean and squared deviations so far (Welford 1962), which cancel nothing where the spread is small beside
/// the mean.
#[derive(Default)]
struct Running {
    count: u64,
    so_far: Option<(Tensor, Tensor)>,
}

impl Running {
    fn push(&mut self, y: &Tensor) -> Result<()> {
        self.count += 1;
        let next = match &self.so_far {
            None => (y.clone(), y.full_like(0.0)?),
            Some((mean, squares)) => {
                let (n, away) = (self.count as f64, y.sub(mean)?);
                (
                    mean.add(&away.mul_scalar(1.0 / n)?)?,
                    squares.add(&away.square()?.mul_scalar((n - 1.0) / n)?)?,
                )
            }
        };
        // What stayed pending would carry all passes along.
        next.0.view()?;
        next.1.view()?;
        self.so_far = Some(next);
        Ok(())
    }

    /// Mean and unbiased variance.
    fn finish(self) -> Result<(Tensor, Tensor)> {
        let Some((mean, squares)) = self.so_far else {
            return Err(Error::argument("mc_dropout", "no pass", "Ask for at least two masks."));
        };
        let variance = squares.mul_scalar(1.0 / (self.count as f64 - 1.0))?;
        Ok((mean, variance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::nn::{Dropout, Linear, Params, Sequential};

    fn model(params: &Params) -> Sequential {
        Sequential::new()
            .add(Linear::new(&params.at("hidden"), 3, 64).unwrap())
            .add(Dropout::new(&params.at("drop"), 0.5).unwrap())
            .add(Linear::new(&params.at("output"), 64, 4).unwrap())
    }

    fn input() -> Tensor {
        Tensor::from_slice(&Device::cpu(), &[0.3f64, -0.2, 0.7, 30.0, -20.0, 70.0], [2, 3]).unwrap()
    }

    /// Mean and unbiased variance of column `k` of rows.
    fn moments(rows: &[Vec<f64>], k: usize) -> (f64, f64) {
        let n = rows.len() as f64;
        let mean = rows.iter().map(|row| row[k]).sum::<f64>() / n;
        (mean, rows.iter().map(|row| (row[k] - mean).powi(2)).sum::<f64>() / (n - 1.0))
    }

    #[test]
    fn mean_and_variance_are_those_of_the_samples() {
        let model = model(&Params::new_f64(1));
        let passes: Vec<Vec<f64>> =
            (0..30).map(|s| model.forward(&input(), Mode::Sample(s)).unwrap().to_f64().unwrap()).collect();
        let found = mc_dropout(&model, &input(), 30).unwrap();
        let (mean, variance) = (found.mean.to_f64().unwrap(), found.variance.to_f64().unwrap());
        assert_eq!(**found.mean.shape(), [2, 4]);
        for k in 0..8 {
            let (m, v) = moments(&passes, k);
            assert!((mean[k] - m).abs() < 1e-12 * v.sqrt().max(1.0) && (variance[k] / v - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_entropy_is_that_of_the_mean_and_the_information_what_the_masks_add() {
        let model = model(&Params::new_f64(2));
        let found = mc_dropout_classes(&model, &input(), 25).unwrap();
        let h = |p: &[f64]| -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
        let mut inside = [0.0; 2];
        for s in 0..25 {
            let p = model.forward(&input(), Mode::Sample(s)).unwrap().softmax(-1).unwrap().to_f64().unwrap();
            (0..2).for_each(|i| inside[i] += h(&p[4 * i..4 * i + 4]) / 25.0);
        }
        let p = found.probabilities.to_f64().unwrap();
        let (entropy, information) = (found.entropy.to_f64().unwrap(), found.information.to_f64().unwrap());
        for i in 0..2 {
            let whole = h(&p[4 * i..4 * i + 4]);
            assert!((entropy[i] - whole).abs() < 1e-12 && (information[i] - whole + inside[i]).abs() < 1e-12);
            assert!(information[i] > 0.0);
        }
    }

    #[test]
    fn a_model_without_dropout_is_sure_and_one_mask_is_an_error() {
        let params = Params::new(&Device::cpu(), 3);
        let linear = Linear::new(&params, 3, 2).unwrap();
        let x = Tensor::ones(&Device::cpu(), [1, 3]).unwrap();
        assert_eq!(mc_dropout(&linear, &x, 5).unwrap().variance.to_vec::<f32>().unwrap(), [0.0; 2]);
        assert!(mc_dropout_classes(&linear, &x, 5).unwrap().information.item().unwrap().abs() < 1e-6);
        for masks in [0, 1] {
            assert!(matches!(mc_dropout(&linear, &x, masks), Err(Error::Argument { .. })));
            assert!(matches!(mc_dropout_classes(&linear, &x, masks), Err(Error::Argument { .. })));
        }
    }
}
