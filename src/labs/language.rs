//! Language models on the letters of Shakespeare's plays: what the chapters on attention and recurrence share.

use super::lab::Lab;
use crate::data::{Characters, SegmentBatch, Segments, shakespeare};
use crate::error::Result;
use crate::nn::{Mode, Params};
use crate::optim::{Adam, Optimizer, clip_grad_norm};
use crate::tensor::Tensor;

/// Characters that are learned from; the rest of the million is for the test.
pub(super) const LEARNED: usize = 900_000;
/// How many characters are read at once.
pub(super) const CONTEXT: usize = 64;
/// Segments of the test text.
pub(super) const TESTED: usize = 299;
/// Steps in which the rate rises.
const WARM_UP: f64 = 20.0;

/// How long a model learns.
pub(super) struct Recipe {
    /// Segments in a step.
    pub batch: usize,
    pub steps: u64,
    /// The highest learning rate; it rises to it, and falls linearly to a tenth.
    pub rate: f64,
    /// What the norm of the gradients is clipped at.
    pub clip: Option<f64>,
}

impl Recipe {
    /// How many characters are read in all.
    pub fn seen(&self) -> usize {
        self.batch * self.steps as usize * CONTEXT
    }
}

/// The plays as numbers.
pub(super) struct Plays {
    pub alphabet: Characters,
    tokens: Vec<i32>,
}

/// The loss of a model for tokens and what follows them.
pub(super) type Loss<'a> = &'a dyn Fn(&Tensor, &Tensor, Mode) -> Result<Tensor>;

impl Plays {
    pub fn new() -> Result<Self> {
        let text = shakespeare()?;
        let alphabet = Characters::of(&text);
        let tokens = alphabet.encode(&text)?;
        Ok(Plays { alphabet, tokens })
    }

    /// The text to judge by.
    pub fn test(&self) -> &[i32] {
        &self.tokens[LEARNED..]
    }

    /// Trains with Adam; the loss of each step.
    pub fn learn(&self, lab: &Lab, params: &Params, loss: Loss, recipe: &Recipe) -> Result<Vec<f64>> {
        let segments = Segments::new(&self.tokens[..LEARNED], CONTEXT)?;
        let mut adam = Adam::new(params, recipe.rate)?;
        let mut losses = Vec::new();
        for step in 0..recipe.steps {
            let done = step as f64;
            let fall = 1.0 - 0.9 * done / recipe.steps as f64;
            adam.set_lr(recipe.rate * ((done + 1.0) / WARM_UP).min(1.0) * fall)?;
            let [tokens, next] = tensors(lab, &segments.random(recipe.batch, lab.seed(), step))?;
            let loss = loss(&tokens, &next, Mode::Step(step))?;
            let mut gradients = loss.backward()?;
            if let Some(norm) = recipe.clip {
                gradients = clip_grad_norm(gradients, norm)?.0;
            }
            adam.step(&gradients)?;
            losses.push(loss.detach());
            if step % 10 == 9 {
                // Waiting for each step would leave the device idle, waiting for none would make progress a lie.
                lab.device().wait()?;
                lab.progress(step + 1, recipe.steps);
            }
        }
        losses.iter().map(Tensor::item).collect()
    }

    /// The mean cross-entropy of the test text, in nats a character.
    pub fn judge(&self, lab: &Lab, loss: Loss) -> Result<f64> {
        let segments = Segments::new(self.test(), CONTEXT)?;
        let mut sum = 0.0;
        for first in (0..TESTED).step_by(64) {
            let batch = segments.in_order(first, 64.min(TESTED - first));
            let [tokens, next] = tensors(lab, &batch)?;
            sum += loss(&tokens, &next, Mode::Eval)?.item()? * batch.shape()[0] as f64;
        }
        Ok(sum / TESTED as f64)
    }

    /// Cross-entropy of the test text under the counts of single characters and of pairs among the first `length` of
    /// those to learn from, in nats a character.
    pub fn counts(&self, length: usize) -> [f64; 2] {
        let (text, test, kinds) = (&self.tokens[..length.min(LEARNED)], self.test(), self.alphabet.len());
        let mut single = vec![0.5; kinds];
        let mut pairs = vec![0.1; kinds * kinds];
        text.iter().for_each(|&c| single[c as usize] += 1.0);
        text.windows(2).for_each(|w| pairs[w[0] as usize * kinds + w[1] as usize] += 1.0);
        let total: f64 = single.iter().sum();
        let rows: Vec<f64> = pairs.chunks(kinds).map(|row| row.iter().sum()).collect();
        let one: f64 = test.iter().map(|&c| -(single[c as usize] / total).ln()).sum();
        let two = test.windows(2).map(|w| {
            let (a, b) = (w[0] as usize, w[1] as usize);
            -(pairs[a * kinds + b] / rows[a]).ln()
        });
        [one / test.len() as f64, two.sum::<f64>() / (test.len() - 1) as f64]
    }
}

fn tensors(lab: &Lab, batch: &SegmentBatch) -> Result<[Tensor; 2]> {
    let make = |data: &[i32]| Tensor::from_slice(lab.device(), data, batch.shape());
    Ok([make(&batch.tokens)?, make(&batch.next)?])
}
