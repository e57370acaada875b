//! R3: nothing but gradients learns to read digits.

use crate::data::digits as bundled;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Series, smoothed};
use crate::labs::training::{Classifier, Schedule, split};
use crate::nn::{Init, LayerInit, Params};
use crate::optim::Sgd;

const EPOCHS: u64 = 20;
const BATCH: usize = 32;
const RATE: f64 = 0.5;
const TRAIN: usize = 1297;

/// Trains, measures and draws.
pub(super) fn digits(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (train, test) = split(&bundled()?, TRAIN, lab.seed())?;
    let init = LayerInit { weight: Init::he(), bias: true, bias_init: Some(Init::Zeros) };
    let network = Classifier::mlp(Params::new(lab.device(), lab.seed()), &[64, 32, 10], init)?;
    let epochs = if lab.full() { 2 * EPOCHS } else { EPOCHS };
    let schedule = Schedule { epochs, batch: BATCH, seed: lab.seed(), judged: true };
    let mut sgd = Sgd::new(&network.params, RATE)?;
    let history = network.train(&mut sgd, &train, &test, schedule, &|done, of| lab.progress(done, of))?;
    chapter.claim(Claim::check(
        "R3",
        lab.language().pick(
            format!(
                "Plain gradient descent teaches a network 64-32-10 to read handwritten digits ({} images, {epochs} \
                 epochs): accuracy on {} others",
                train.len(),
                test.len()
            ),
            format!(
                "仅凭梯度下降，64-32-10 的网络便学会认手写数字（{} 幅图像，{epochs} 轮）：在另外 {} 幅上的正确率",
                train.len(),
                test.len()
            ),
        ),
        lab.say("measured", "实测"),
        0.94,
        network.accuracy(&test)?,
        Tolerance::AtLeast,
    ));
    let per_epoch = history.losses.len() as f64 / epochs as f64;
    let place = |k: usize| (k as f64 + 1.0) / per_epoch;
    let smooth = smoothed(&history.losses, 10.0);
    let raw = history.losses.iter().enumerate().map(|(k, l)| (place(k), l.max(1e-4)));
    let wrong = |pick: fn(&(f64, f64)) -> f64| {
        (1..).zip(&history.accuracies).map(move |(k, a)| (f64::from(k), (1.0 - pick(a)).max(1e-4)))
    };
    let plot = Plot::new(
        Axis::new(lab.say("epoch", "轮次")),
        Axis::new(lab.say("loss (nats), share wrong", "损失（奈特），错误率")).log(),
    )
    .series(Series::line("", raw).faint().colour(0))
    .series(Series::line(lab.say("loss", "损失"), (0..smooth.len()).map(|k| (place(k), smooth[k]))).colour(0))
    .series(Series::line(lab.say("wrong, training", "训练集错误率"), wrong(|a| a.0)).dots().colour(1))
    .series(Series::line(lab.say("wrong, test", "测试集错误率"), wrong(|a| a.1)).dots().colour(2));
    chapter
        .figure(
            Figure::new(lab.say("Learning to read digits", "学认数字"), plot)
                .caption(lab.say(
                    "Cross-entropy of each step (pale) and smoothed, and the share of digits misread after each epoch.",
                    "每一步的交叉熵（浅色）与平滑后的曲线，以及每轮之后认错的比例。",
                ))
                .alt(lab.say("Falling loss and error over twenty epochs", "损失与错误率逐轮下降")),
        )
        .method(lab.say(
            "R3: the 1797 digits of 8 × 8 pixels, shuffled by the seed and cut into 1297 and 500; He's initial weights, \
             biases zero; batches of 32, rate 0.5, no momentum.",
            "R3：1797 幅 8 × 8 像素的数字，按种子打乱后分为 1297 与 500 幅；He 初始化，偏置为零；批量 32，学习率 0.5，无动量。",
        ));
    Ok(())
}
