//! Classifiers of images, trained and judged: what the chapters share where they meet real data.

use crate::data::{Batches, ImageSet};
use crate::error::Result;
use crate::nn::{LayerInit, Linear, Mode, Module, Params, Sequential};
use crate::optim::Optimizer;
use crate::tensor::Tensor;

/// A model from images `[B, 1, H, W]` to the logits of ten classes, and its parameters.
pub(super) struct Classifier {
    pub params: Params,
    pub model: Sequential,
}

/// How long to train, and on what at a time.
#[derive(Clone, Copy)]
pub(super) struct Schedule {
    pub epochs: u64,
    /// Images in a step.
    pub batch: usize,
    /// What the order of the images is made from.
    pub seed: u64,
    /// Whether to measure the accuracies after each epoch.
    pub judged: bool,
}

/// What training recorded.
#[derive(Default)]
pub(super) struct History {
    /// Loss of each step, in nats.
    pub losses: Vec<f64>,
    /// Accuracy on the training images, as many as there are test images, and on those, after each epoch.
    pub accuracies: Vec<(f64, f64)>,
}

impl History {
    /// The mean loss of the last `steps` steps.
    pub fn last(&self, steps: usize) -> f64 {
        let last = &self.losses[self.losses.len().saturating_sub(steps)..];
        last.iter().sum::<f64>() / last.len() as f64
    }
}

impl Classifier {
    /// Affine layers of these sizes on the flattened image, with relu between them.
    pub fn mlp(params: Params, sizes: &[usize], init: LayerInit) -> Result<Self> {
        let mut model = Sequential::new().then(|x| x.flatten(1));
        for (index, pair) in sizes.windows(2).enumerate() {
            if index > 0 {
                model = model.add(Tensor::relu);
            }
            model = model.add(Linear::with(&params.at(format!("layer{index}")), pair[0], pair[1], init)?);
        }
        Ok(Classifier { params, model })
    }

    /// Trains on whole batches; the optimiser is one for the model's parameters.
    pub fn train(
        &self,
        optimizer: &mut dyn Optimizer,
        train: &ImageSet,
        test: &ImageSet,
        schedule: Schedule,
        progress: &dyn Fn(u64, u64),
    ) -> Result<History> {
        let device = self.params.device();
        let batches = Batches::new(train.len(), schedule.batch, schedule.seed)?.drop_last()?;
        let steps = schedule.epochs * batches.per_epoch() as u64;
        let mut history = History::default();
        let mut step = 0;
        for epoch in 0..schedule.epochs {
            let mut losses = Vec::new();
            for indices in batches.epoch(epoch) {
                let batch = train.gather(&indices)?;
                let images = Tensor::from_slice(device, &batch.images, batch.shape())?;
                let labels = Tensor::from_slice(device, &batch.labels, [batch.labels.len()])?;
                let loss = self.model.forward(&images, Mode::Step(step))?.cross_entropy(&labels)?;
                optimizer.step(&loss.backward()?)?;
                // Read at the end of the epoch: waiting for each step would leave the device idle.
                losses.push(loss.detach());
                step += 1;
                progress(step, steps);
            }
            for loss in &losses {
                history.losses.push(loss.item()?);
            }
            if schedule.judged {
                let accuracies = (self.accuracy(&first(train, test.len())?)?, self.accuracy(test)?);
                history.accuracies.push(accuracies);
            }
        }
        Ok(history)
    }

    /// The logits of every image, ten each.
    pub fn logits(&self, set: &ImageSet) -> Result<Vec<f64>> {
        self.logits_in(set, Mode::Eval)
    }

    /// The logits of every image in a mode: that of a sample, for dropout that stays on.
    pub fn logits_in(&self, set: &ImageSet, mode: Mode) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(10 * set.len());
        for indices in Batches::new(set.len(), 500, 0)?.in_order().epoch(0) {
            let batch = set.gather(&indices)?;
            let images = Tensor::from_slice(self.params.device(), &batch.images, batch.shape())?;
            all.extend(self.model.forward(&images, mode)?.to_f64()?);
        }
        Ok(all)
    }

    /// The share of images that the model gets right.
    pub fn accuracy(&self, set: &ImageSet) -> Result<f64> {
        Ok(share_right(&self.logits(set)?, set))
    }
}

/// The first `count` images of a set.
pub(super) fn first(set: &ImageSet, count: usize) -> Result<ImageSet> {
    let count = count.min(set.len());
    let pixels = set.height * set.width;
    ImageSet::new(set.images[..count * pixels].to_vec(), set.labels[..count].to_vec(), set.height, set.width)
}

/// A set cut in two after its images are shuffled: `count` of them, and the rest.
pub(super) fn split(set: &ImageSet, count: usize, seed: u64) -> Result<(ImageSet, ImageSet)> {
    let order: Vec<u32> = Batches::new(set.len(), set.len(), seed)?.epoch(0).flatten().collect();
    let pixels = set.height * set.width;
    let take = |indices: &[u32]| {
        let at = |&i: &u32| &set.images[i as usize * pixels..(i as usize + 1) * pixels];
        let images = indices.iter().flat_map(at).copied().collect();
        let labels = indices.iter().map(|&i| set.labels[i as usize]).collect();
        ImageSet::new(images, labels, set.height, set.width)
    };
    let (first, rest) = order.split_at(count.min(order.len()));
    Ok((take(first)?, take(rest)?))
}

/// The label with the largest of an image's logits.
pub(super) fn predicted(logits: &[f64]) -> usize {
    (1..logits.len()).fold(0, |best, k| if logits[k] > logits[best] { k } else { best })
}

/// The share of images whose largest logit, of ten each, is at their label.
pub(super) fn share_right(logits: &[f64], set: &ImageSet) -> f64 {
    let right = logits.chunks(10).zip(&set.labels).filter(|(l, label)| predicted(l) == usize::from(**label));
    right.count() as f64 / set.len() as f64
}
