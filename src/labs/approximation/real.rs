//! R1: what width is worth on images of clothes.

use super::figures;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::labs::training::{Classifier, Schedule, first};
use crate::nn::{Init, LayerInit, Params};
use crate::optim::{Adam, Optimizer};

/// Images in a training step.
const BATCH: usize = 100;
/// Epochs, each with its rate: the last are slow, since at a constant rate the accuracy of the last step is
/// whatever its batch happened to be, and moves by two hundredths from step to step.
const STAGES: [(u64, f64); 2] = [(6, 2e-3), (2, 2e-4)];
const EPOCHS: u64 = STAGES[0].0 + STAGES[1].0;
const WIDTHS: [usize; 3] = [4, 16, 128];

/// Trains one network of each width.
pub(super) fn clothes(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let data = lab.fashion()?;
    let (images, target) =
        if lab.full() && data.train.len() >= 20_000 { (20_000, 0.86) } else { (5000, 0.82) };
    let (train, test) = (first(&data.train, images)?, first(&data.test, 2000)?);
    let pixels = train.height * train.width;
    let mut curve = Vec::new();
    for (index, width) in WIDTHS.into_iter().enumerate() {
        let params = Params::new(lab.device(), lab.seed());
        let init = LayerInit { weight: Init::he(), bias: true, bias_init: Some(Init::Zeros) };
        let network = Classifier::mlp(params, &[pixels, width, 10], init)?;
        let mut adam = Adam::new(&network.params, STAGES[0].1)?;
        let mut before = 0;
        for (stage, (epochs, rate)) in STAGES.into_iter().enumerate() {
            adam.set_lr(rate)?;
            let seed = lab.seed() + stage as u64;
            let schedule = Schedule { epochs, batch: BATCH, seed, judged: false };
            let share = |epoch: u64| index as u64 * EPOCHS + epoch;
            let progress = |done: u64, of: u64| {
                lab.progress(share(before) * of + epochs * done, WIDTHS.len() as u64 * EPOCHS * of);
            };
            network.train(&mut adam, &train, &test, schedule, &progress)?;
            before += epochs;
        }
        let seen = first(&train, test.len())?;
        curve.push((width, network.accuracy(&seen)?, network.accuracy(&test)?));
    }
    let accuracy: Vec<f64> = curve.iter().map(|(_, _, test)| *test).collect();
    chapter
        .claim(Claim::check(
            "R1",
            lab.language().pick(
                format!(
                    "784-128-10 learns Fashion-MNIST from {} images in {EPOCHS} epochs: test accuracy",
                    train.len()
                ),
                format!(
                    "784-128-10 网络用 {} 张 Fashion-MNIST 图片训练 {EPOCHS} 轮后的测试准确率",
                    train.len()
                ),
            ),
            lab.say("measured", "实测"),
            target,
            accuracy[2],
            Tolerance::AtLeast,
        ))
        .claim(
            Claim::check(
                "R1.width",
                lab.say(
                    "and every widening gains: the difference in test accuracy from one width to the next",
                    "而且越宽越好：相邻两种宽度的测试准确率之差",
                ),
                lab.say("measured", "实测"),
                [0.0, 0.0],
                [accuracy[1] - accuracy[0], accuracy[2] - accuracy[1]],
                Tolerance::Above,
            )
            .parts(["H = 4 → 16", "H = 16 → 128"]),
        );
    figures::widths(lab, chapter, &curve, test.len());
    chapter.method(lab.language().pick(
        format!(
            "R1: {} training and {} test images; 784-H-10 with ReLU, He's normal initialisation, Adam, batches of \
             {BATCH}, six epochs at rate 2e-3 and two at 2e-4 (at a constant rate the accuracy of the last step moves \
             by two hundredths from step to step). The accuracy at H = 4 is a lottery of dead units, so only the \
             order is claimed.",
            train.len(),
            test.len()
        ),
        format!(
            "R1：训练图片 {} 张，测试图片 {} 张；784-H-10，ReLU，He 正态初始化，Adam，每批 {BATCH} 张，\
             六轮学习率 2e-3，再加两轮 2e-4（学习率若不变，最后一步的准确率会随批次上下浮动两个百分点）。H = 4 时的准确率取决于有几个单元“死掉”，全凭运气，所以只论大小次序。",
            train.len(),
            test.len()
        ),
    ));
    Ok(())
}
