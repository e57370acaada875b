//! R4: sixty layers learn with skips, and hardly without.

use super::figures;
use crate::data::digits;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::labs::training::{Classifier, Schedule, first, split};
use crate::models::{ResNet, ResNetOptions};
use crate::nn::{Init, LayerInit, Linear, Params, Residual, Sequential};
use crate::optim::Adam;
use crate::tensor::Tensor;

const WIDTH: usize = 64;
const SHALLOW: usize = 8;
const DEEP: usize = 60;
const SCHEDULE: Schedule = Schedule { epochs: 6, batch: 100, seed: 0, judged: false };

/// 784 → 64, `depth` layers of 64, → 10; the layers with relu, each added to its input with weight L^(−1/2) if
/// `residual`.
fn network(lab: &Lab, depth: usize, residual: bool) -> Result<Classifier> {
    let params = Params::new(lab.device(), lab.seed());
    let outer = LayerInit { weight: Init::LecunNormal, bias: false, bias_init: None };
    let inner = LayerInit { weight: Init::he(), bias: true, bias_init: Some(Init::Zeros) };
    let stem = Linear::with(&params.at("stem"), 784, WIDTH, outer)?;
    let mut model = Sequential::new().then(|x| x.flatten(1)).add(stem);
    for layer in 0..depth {
        let affine = Linear::with(&params.at(format!("layer{layer}")), WIDTH, WIDTH, inner)?;
        let branch = Sequential::new().add(affine).add(Tensor::relu);
        model = if residual && lab.with("skip") {
            model.add(Residual::new(branch).scaled(1.0 / (depth as f64).sqrt()))
        } else {
            model.add(branch)
        };
    }
    let model = model.add(Linear::with(&params.at("readout"), WIDTH, 10, outer)?);
    Ok(Classifier { params, model })
}

/// Trains four networks, measures and draws.
pub(super) fn clothes(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let data = lab.fashion()?;
    let (train, test) = (first(&data.train, 3000)?, first(&data.test, 1000)?);
    let schedule =
        Schedule { seed: lab.seed(), epochs: if lab.full() { 18 } else { SCHEDULE.epochs }, ..SCHEDULE };
    let kinds = [(SHALLOW, false), (SHALLOW, true), (DEEP, false), (DEEP, true)];
    let work = 2 * (SHALLOW + DEEP) as u64;
    let (mut runs, mut results, mut before) = (Vec::new(), Vec::new(), 0);
    for (depth, residual) in kinds {
        let network = network(lab, depth, residual)?;
        let mut adam = Adam::new(&network.params, 1e-3)?;
        let steps = schedule.epochs * 30;
        let share = |done: u64, _| lab.progress(before * steps + depth as u64 * done, work * steps);
        let history = network.train(&mut adam, &train, &test, schedule, &share)?;
        before += depth as u64;
        results.push((history.last(30), network.accuracy(&test)?));
        runs.push((depth, residual, history));
    }
    let [_, shallow, plain, deep] = results[..] else { return Ok(()) };
    let source = lab.say("measured; He et al. 2016 for the phenomenon", "实测；现象见 He 等 2016");
    chapter
        .claim(Claim::check(
            "R4",
            lab.language().pick(
                format!(
                    "{DEEP} layers on Fashion-MNIST ({} images, {} epochs): loss with skips, relative to that without",
                    train.len(),
                    schedule.epochs
                ),
                format!(
                    "Fashion-MNIST 上的 {DEEP} 层网络（{} 幅图像，{} 轮）：有捷径时的训练损失与无捷径时之比",
                    train.len(),
                    schedule.epochs
                ),
            ),
            source,
            0.8,
            deep.0 / plain.0,
            Tolerance::Below,
        ))
        .claim(
            Claim::check(
                "R4.test",
                lab.say(
                    "and on images not seen: accuracy gained by the skips at 60 layers, and by 60 layers over 8 with \
                     skips",
                    "在未见过的图像上：60 层时捷径带来的正确率增益，以及有捷径时 60 层相对 8 层的增益",
                ),
                source,
                [0.15, -0.04],
                [deep.1 - plain.1, deep.1 - shallow.1],
                Tolerance::AtLeast,
            )
            .parts([lab.say("skips, 60 layers", "捷径，60 层"), lab.say("60 layers for 8", "60 层对 8 层")]),
        );
    figures::training(lab, chapter, &runs);
    chapter.method(lab.language().pick(
        format!(
            "R4: 784 → 64, L layers of 64 with relu, → 10; He's weights, biases zero, branches scaled by L^(−1/2); Adam \
             with rate 1e-3, batches of 100. Test accuracies: plain {:.3} (8 layers), {:.3} ({DEEP}); residual {:.3} (8), \
             {:.3} ({DEEP}). With 40 layers the network without skips still begins to learn within six epochs from some \
             seeds, so more depth is asked of it.",
            results[0].1, plain.1, shallow.1, deep.1
        ),
        format!(
            "R4：784 → 64，L 层宽 64 的 relu 层，→ 10；He 初始化，偏置为零，支路乘以 L^(−1/2)；Adam 学习率 1e-3，批量 100。\
             测试正确率：普通网络 8 层 {:.3}、{DEEP} 层 {:.3}；残差网络 8 层 {:.3}、{DEEP} 层 {:.3}。\
             若只有 40 层，无捷径的网络在某些种子下六轮之内仍会开始学会，故取更深。",
            results[0].1, plain.1, shallow.1, deep.1
        ),
    ));
    if lab.full() {
        resnet(lab, chapter)?;
    }
    Ok(())
}

/// The library's ResNet-20 on small digits.
fn resnet(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (train, test) = split(&digits()?, 1297, lab.seed())?;
    let params = Params::new(lab.device(), lab.seed());
    let options = ResNetOptions { channels: 1, ..ResNetOptions::default() };
    let model = Sequential::new().add(ResNet::new(&params, 20, options)?);
    let network = Classifier { params, model };
    let mut adam = Adam::new(&network.params, 3e-3)?;
    let schedule = Schedule { epochs: 5, batch: 50, seed: lab.seed(), judged: false };
    network.train(&mut adam, &train, &test, schedule, &|done, of| lab.progress(done, of))?;
    chapter.claim(Claim::check(
        "R4.resnet",
        lab.say(
            "A ResNet-20 reads 8 × 8 digits after five epochs: accuracy on 500 others",
            "ResNet-20 训练五轮便会认 8 × 8 的数字：在另外 500 幅上的正确率",
        ),
        lab.say("measured", "实测"),
        0.94,
        network.accuracy(&test)?,
        Tolerance::AtLeast,
    ));
    Ok(())
}
