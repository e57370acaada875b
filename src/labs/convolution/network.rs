//! The two networks of the chapter, and how they are trained.

use crate::data::{Batches, ImageSet};
use crate::device::Device;
use crate::error::Result;
use crate::nn::{BatchNorm, Conv2d, Linear, Mode, Module, Params, Sequential};
use crate::ops::{Conv2dOptions, Pool2d};
use crate::optim::{Adam, Optimizer};
use crate::tensor::Tensor;

/// Images in a training step.
const BATCH: usize = 50;
const LEARNING_RATE: f64 = 3e-3;

/// A network and its parameters.
pub(super) struct Network {
    pub params: Params,
    pub model: Sequential,
}

/// Three convolutions, each followed by batch norm and relu; two poolings; a linear readout.
pub(super) fn cnn(device: &Device, seed: u64) -> Result<Network> {
    let params = Params::new(device, seed);
    let at = |name: &str| params.at(name);
    let (first, same) =
        (Conv2dOptions::default().stride([2, 2]).padding([2, 2]), Conv2dOptions::default().padding([1, 1]));
    let pool = |x: &Tensor| x.max_pool2d(Pool2d::new([2, 2]));
    let model = Sequential::new()
        .add(Conv2d::new(&at("conv1"), 1, 8, [5, 5], first)?)
        .add(BatchNorm::new(&at("norm1"), 8)?)
        .add(Tensor::relu)
        .add(Conv2d::new(&at("conv2"), 8, 16, [3, 3], same)?)
        .add(BatchNorm::new(&at("norm2"), 16)?)
        .add(Tensor::relu)
        .then(pool)
        .add(Conv2d::new(&at("conv3"), 16, 32, [3, 3], same)?)
        .add(BatchNorm::new(&at("norm3"), 32)?)
        .add(Tensor::relu)
        .then(pool)
        .then(|x| x.flatten(1))
        .add(Linear::new(&at("readout"), 288, 10)?);
    Ok(Network { params, model })
}

/// One hidden layer of about as many units as the readout of the other sees channels.
pub(super) fn mlp(device: &Device, seed: u64) -> Result<Network> {
    let params = Params::new(device, seed);
    let model = Sequential::new()
        .then(|x| x.flatten(1))
        .add(Linear::new(&params.at("hidden"), 784, 32)?)
        .add(Tensor::relu)
        .add(Linear::new(&params.at("readout"), 32, 10)?);
    Ok(Network { params, model })
}

/// What training recorded.
#[derive(Default)]
pub(super) struct History {
    /// Loss of each step, in nats.
    pub losses: Vec<f64>,
    /// Accuracy on the training and test images after each epoch.
    pub accuracies: Vec<(f64, f64)>,
}

impl Network {
    /// Trains with Adam, measuring after each epoch.
    pub fn train(
        &self,
        train: &ImageSet,
        test: &ImageSet,
        epochs: u64,
        seed: u64,
        progress: &dyn Fn(u64, u64),
    ) -> Result<History> {
        let device = self.params.device().clone();
        let mut adam = Adam::new(&self.params, LEARNING_RATE)?;
        let batches = Batches::new(train.len(), BATCH, seed)?.drop_last()?;
        let steps = epochs * batches.per_epoch() as u64;
        let mut history = History::default();
        for epoch in 0..epochs {
            let mut losses = Vec::new();
            for indices in batches.epoch(epoch) {
                let batch = train.gather(&indices)?;
                let images = Tensor::from_slice(&device, &batch.images, batch.shape())?;
                let labels = Tensor::from_slice(&device, &batch.labels, [batch.labels.len()])?;
                let loss = self.model.forward(&images, Mode::Train)?.cross_entropy(&labels)?;
                adam.step(&loss.backward()?)?;
                // Read at the end of the epoch: waiting for each step would leave the device idle.
                losses.push(loss.detach());
                progress(epoch * batches.per_epoch() as u64 + losses.len() as u64, steps);
            }
            for loss in &losses {
                history.losses.push(loss.item()?);
            }
            let accuracy = |set: &ImageSet| Ok(share_right(&self.logits(set)?, set));
            history.accuracies.push((accuracy(&first(train, test.len())?)?, accuracy(test)?));
        }
        Ok(history)
    }

    /// The logits of every image, ten each.
    pub fn logits(&self, set: &ImageSet) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(10 * set.len());
        for indices in Batches::new(set.len(), 500, 0)?.in_order().epoch(0) {
            let batch = set.gather(&indices)?;
            let images = Tensor::from_slice(self.params.device(), &batch.images, batch.shape())?;
            all.extend(self.model.forward(&images, Mode::Eval)?.to_f64()?);
        }
        Ok(all)
    }
}

/// The first `count` images of a set.
fn first(set: &ImageSet, count: usize) -> Result<ImageSet> {
    let count = count.min(set.len());
    let pixels = set.height * set.width;
    ImageSet::new(set.images[..count * pixels].to_vec(), set.labels[..count].to_vec(), set.height, set.width)
}

/// The label with the largest of ten logits.
pub(super) fn predicted(logits: &[f64]) -> usize {
    (1..logits.len()).fold(0, |best, k| if logits[k] > logits[best] { k } else { best })
}

/// The share of images whose largest logit is at their label.
pub(super) fn share_right(logits: &[f64], set: &ImageSet) -> f64 {
    let right = logits.chunks(10).zip(&set.labels).filter(|(l, label)| predicted(l) == usize::from(**label));
    right.count() as f64 / set.len() as f64
}
