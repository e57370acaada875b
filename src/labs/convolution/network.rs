//! The two networks of the chapter.

use crate::device::Device;
use crate::error::Result;
use crate::labs::training::Classifier;
use crate::nn::{BatchNorm, Conv2d, Linear, Params, Sequential};
use crate::ops::{Conv2dOptions, Pool2d};
use crate::tensor::Tensor;

/// Three convolutions, each followed by batch norm and relu; two poolings; a linear readout.
pub(super) fn cnn(device: &Device, seed: u64) -> Result<Classifier> {
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
    Ok(Classifier { params, model })
}

/// One hidden layer of about as many units as the readout of the other sees channels.
pub(super) fn mlp(device: &Device, seed: u64) -> Result<Classifier> {
    let params = Params::new(device, seed);
    let model = Sequential::new()
        .then(|x| x.flatten(1))
        .add(Linear::new(&params.at("hidden"), 784, 32)?)
        .add(Tensor::relu)
        .add(Linear::new(&params.at("readout"), 32, 10)?);
    Ok(Classifier { params, model })
}
