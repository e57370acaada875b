//! R5: learning rates that a plain network does not survive.

use super::network::{Between, network};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::moments;
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Rule, Series, smoothed};
use crate::labs::training::Schedule;
use crate::nn::Params;
use crate::optim::Sgd;

const RATES: [f64; 4] = [0.1, 0.3, 1.0, 3.0];
const BATCH: usize = 100;
/// What a loss counts for that is not a number: more than guessing, ln 10.
const DIVERGED: f64 = 9.0;
/// The loss whose first reaching is timed, averaged over ten steps.
const REACHED: f64 = 0.6;

/// What training at one rate gave.
struct Outcome {
    /// Mean loss of the last 50 steps.
    loss: f64,
    /// Steps until the mean of ten losses was below `REACHED`; all of them where it never was.
    steps: f64,
    losses: Vec<f64>,
}

/// Trains with and without batch norm at four rates.
pub(super) fn clothes(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let data = lab.fashion()?;
    let epochs = if lab.full() { 10 } else { 3 };
    let schedule = Schedule { epochs, batch: BATCH, seed: lab.seed(), judged: false };
    let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
    for (kind, between) in [Between::Nothing, Between::BatchNorm].into_iter().enumerate() {
        let mut row = Vec::new();
        for (index, rate) in RATES.into_iter().enumerate() {
            let model = network(Params::new(lab.device(), lab.seed()), &[784, 64, 64, 64, 10], between)?;
            let before = (kind * RATES.len() + index) as u64;
            let progress = |done, of| lab.progress(before * of + done, 2 * RATES.len() as u64 * of);
            let mut sgd = Sgd::new(&model.params, rate)?;
            let history = model.train(&mut sgd, &data.train, &data.test, schedule, &progress)?;
            let finite = |loss: &f64| if loss.is_finite() { loss.min(DIVERGED) } else { DIVERGED };
            let losses: Vec<f64> = history.losses.iter().map(finite).collect();
            let mut means = losses.windows(10).map(|ten| moments(ten).0);
            let steps = means.position(|mean| mean < REACHED).unwrap_or(losses.len()) as f64;
            row.push(Outcome { loss: moments(&losses[losses.len().saturating_sub(50)..]).0, steps, losses });
        }
        outcomes.push(row);
    }
    let top = RATES.len() - 1;
    let fastest = |row: &[Outcome]| row.iter().map(|o| o.steps).fold(f64::INFINITY, f64::min);
    let source = lab.say("measured", "实测");
    chapter
        .claim(
            Claim::check(
                "R5",
                lab.say(
                    "At learning rate 3 a network of three hidden layers learns Fashion-MNIST with batch norm (loss \
                     below 0.8) and does not without (above 1.5; guessing is 2.30)",
                    "学习率为 3 时，三个隐藏层的网络有批归一化就能学会 Fashion-MNIST（损失低于 0.8），没有则学不会\
                     （高于 1.5；随机猜测为 2.30）",
                ),
                source,
                [0.8, 1.5],
                [outcomes[1][top].loss, outcomes[0][top].loss],
                Tolerance::Each(vec![Tolerance::Below, Tolerance::Above]),
            )
            .parts(lab.language().pick(["with batch norm", "without"], ["有批归一化", "无批归一化"])),
        )
        .claim(Claim::check(
            "R5.speed",
            lab.say(
                "Each at its best rate, the network with batch norm needs at most 0.6 of the plain one's steps to a \
                 loss of 0.6",
                "各取最佳学习率，要达到损失 0.6，有批归一化的网络所需步数不超过普通网络的 0.6",
            ),
            source,
            0.6,
            fastest(&outcomes[1]) / fastest(&outcomes[0]),
            Tolerance::AtMost,
        ));
    figures(lab, chapter, &outcomes);
    chapter.method(lab.language().pick(
        format!(
            "R5: {} images, 784-64-64-64-10, SGD without momentum, batches of {BATCH}, {epochs} epochs, learning rates \
             0.1, 0.3, 1 and 3; the loss is the mean of the last 50 steps, and a loss that is not a number counts as \
             {DIVERGED}.",
            data.train.len()
        ),
        format!(
            "R5：{} 幅图像，784-64-64-64-10，不带动量的 SGD，批量 {BATCH}，{epochs} 轮，学习率 0.1、0.3、1、3；\
             损失取最后 50 步的平均，不是数的损失按 {DIVERGED} 计。",
            data.train.len()
        ),
    ));
    Ok(())
}

fn figures(lab: &Lab, chapter: &mut Chapter, outcomes: &[Vec<Outcome>]) {
    let points = |row: &[Outcome]| RATES.iter().zip(row).map(|(&rate, o)| (rate, o.loss)).collect::<Vec<_>>();
    let (with, without) = lab.language().pick(("with batch norm", "without"), ("有批归一化", "无批归一化"));
    let guessing = lab.say("guessing: ln 10", "随机猜测：ln 10");
    chapter.figure(
        Figure::new(
            lab.say("Room for large steps", "可以迈大步"),
            Plot::new(
                Axis::new(lab.say("learning rate", "学习率")).log().ticks(RATES.map(|r| (r, r.to_string()))),
                Axis::new(lab.say("training loss at the end", "训练结束时的损失")).unit(lab.say("nats", "奈特")),
            )
            .series(Series::line(with, points(&outcomes[1])).dots().colour(0))
            .series(Series::line(without, points(&outcomes[0])).dots().colour(1))
            .rule(Rule::horizontal(10f64.ln(), guessing)),
        )
        .caption(lab.say(
            "Mean of the last 50 batches. Because of scale invariance a step that is too long makes the weights long, \
             and the next step small.",
            "最后 50 批的平均损失。由于尺度不变性，步子迈得太大只会使权重变长，下一步便自动变小。",
        ))
        .alt(lab.say(
            "Training loss against learning rate: low throughout with batch norm, at ln 10 from rate 1 on without",
            "训练损失随学习率的变化：有批归一化时始终较低，没有时从学习率 1 起停在 ln 10",
        )),
    );
    let best = |row: &[Outcome]| {
        let chosen = (0..row.len()).min_by(|&a, &b| row[a].steps.total_cmp(&row[b].steps)).unwrap_or(0);
        let curve = smoothed(&row[chosen].losses, 3.0);
        (RATES[chosen], curve.iter().enumerate().map(|(i, &l)| (i as f64 + 1.0, l)).collect::<Vec<_>>())
    };
    let ((rate_with, curve_with), (rate_without, curve_without)) = (best(&outcomes[1]), best(&outcomes[0]));
    let named = |name: &str, rate: f64| {
        lab.language().pick(format!("{name}, rate {rate}"), format!("{name}，学习率 {rate}"))
    };
    chapter.figure(
        Figure::new(
            lab.say("Each at its best rate", "各取最佳学习率"),
            Plot::new(
                Axis::new(lab.say("step", "步")),
                Axis::new(lab.say("training loss", "训练损失")).unit(lab.say("nats", "奈特")),
            )
            .series(Series::line(named(with, rate_with), curve_with).colour(0))
            .series(Series::line(named(without, rate_without), curve_without).colour(1))
            .rule(Rule::horizontal(REACHED, lab.say("the claim's loss", "论断中的损失"))),
        )
        .caption(lab.say(
            "Moving average of the loss with a half-life of three steps.",
            "损失的滑动平均，半衰期三步。",
        ))
        .alt(lab.say(
            "Training loss against steps: the network with batch norm falls several times as fast",
            "训练损失随步数的变化：有批归一化的网络下降快数倍",
        )),
    );
}
