//! R8: two networks on real images, and what a shift of two pixels does to each.

use super::figures;
use super::network::{Network, cnn, mlp, share_right};
use crate::data::{FashionMnist, ImageSet};
use crate::device::Device;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::report::Chapter;
use crate::labs::{Options, Progress};

const EPOCHS: u64 = 4;
/// The largest shift tried, in pixels.
const SHIFTS: usize = 4;

/// Trains, measures and draws. Returns the floating-point operations spent.
pub(super) fn add(
    chapter: &mut Chapter,
    device: &Device,
    options: &Options,
    progress: Progress,
) -> Result<f64> {
    let data = match &options.data {
        Some(folder) => FashionMnist::from_dir(folder)?,
        None => FashionMnist::bundled()?,
    };
    let (seed, test) = (options.seed, &data.test);
    let networks = [cnn(device, seed)?, mlp(device, seed)?];
    let mut histories = Vec::new();
    for network in &networks {
        histories.push(network.train(&data.train, test, EPOCHS, seed, progress)?);
    }
    let mut curves = Vec::new();
    for network in &networks {
        let mut curve = Vec::new();
        for by in 0..=SHIFTS {
            curve.push(share_right(&network.logits(&shifted(test, by)?)?, test));
        }
        curves.push(curve);
    }
    let lost = |k: usize| curves[k][0] - curves[k][2];
    let size = (data.train.len(), test.len());
    chapter
        .claim(Claim::check(
            "R8",
            format!("Three convolutions with batch norm learn Fashion-MNIST ({} images, {EPOCHS} epochs): test accuracy", size.0),
            "measured",
            0.80,
            curves[0][0],
            Tolerance::AtLeast,
        ))
        .claim(Claim::check(
            "R8.shift",
            "Under a shift of two pixels the convolutional network loses at most 0.6 of the accuracy that the \
             network without convolutions loses (ratio of the losses)",
            "measured; Azulay & Weiss 2019 for why it loses any",
            0.6,
            lost(0) / lost(1),
            Tolerance::AtMost,
        ));
    figures::training(chapter, &histories[0], test.len());
    figures::shifts(chapter, &curves);
    let logits = networks[0].logits(test)?;
    figures::confusion(chapter, &logits, test);
    figures::filters(chapter, &networks[0])?;
    figures::mistakes(chapter, &logits, test)?;
    let mut flop = histories.iter().map(|h| h.flop).sum::<f64>();
    if options.full {
        flop += permuted(chapter, device, &data, &curves, options, progress)?;
    }
    chapter.method(format!(
        "R8: {} training and {} test images; a 5 × 5 convolution of stride 2 to 8 channels, 3 × 3 to 16, pooling, \
         3 × 3 to 32, pooling, linear; each convolution followed by batch norm and relu; against 784-32-10. Both \
         with Adam (rate 3e-3), batches of 50, {EPOCHS} epochs.",
        size.0, size.1
    ));
    Ok(flop)
}

/// The images moved right, black coming in from the left.
fn shifted(set: &ImageSet, by: usize) -> Result<ImageSet> {
    let mut images = vec![0; set.images.len()];
    for (to, from) in images.chunks_mut(set.width).zip(set.images.chunks(set.width)) {
        to[by..].copy_from_slice(&from[..set.width - by]);
    }
    ImageSet::new(images, set.labels.clone(), set.height, set.width)
}

/// Both networks again on images whose pixels stand in one random order: a network without convolutions
/// cannot tell, one with loses what its prior was worth.
fn permuted(
    chapter: &mut Chapter,
    device: &Device,
    data: &FashionMnist,
    curves: &[Vec<f64>],
    options: &Options,
    progress: Progress,
) -> Result<f64> {
    let pixels = data.train.height * data.train.width;
    let order: Vec<u32> =
        crate::data::Batches::new(pixels, pixels, options.seed)?.epoch(8).flatten().collect();
    let scramble = |set: &ImageSet| {
        let images =
            set.images.chunks(pixels).flat_map(|image| order.iter().map(|&p| image[p as usize])).collect();
        ImageSet::new(images, set.labels.clone(), set.height, set.width)
    };
    let (train, test) = (scramble(&data.train)?, scramble(&data.test)?);
    let mut flop = 0.0;
    let mut run = |network: Network, plain: f64| -> Result<f64> {
        let history = network.train(&train, &test, EPOCHS, options.seed, progress)?;
        flop += history.flop;
        Ok(plain - share_right(&network.logits(&test)?, &test))
    };
    let lost =
        [run(cnn(device, options.seed)?, curves[0][0])?, run(mlp(device, options.seed)?, curves[1][0])?];
    chapter.claim(Claim::check(
        "R8.permuted",
        "One fixed permutation of the pixels costs the convolutional network at least a hundredth more accuracy \
         than the one without convolutions",
        "measured",
        0.01,
        lost[0] - lost[1],
        Tolerance::AtLeast,
    ));
    Ok(flop)
}
