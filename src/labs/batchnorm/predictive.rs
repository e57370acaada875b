//! C5.8: whether the gradient still points the right way after the step.

use super::network::{Between, network};
use crate::data::Batches;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance, number};
use crate::labs::host::{dot, moments};
use crate::labs::lab::Lab;
use crate::labs::report::{Chapter, Figure, Table};
use crate::labs::training::{Classifier, first};
use crate::nn::{Mode, Module, Params};
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;

const IMAGES: usize = 2000;
const BATCH: usize = 100;
const STEPS: u64 = 200;
const RATE: f64 = 0.1;
/// A probe in every so many steps.
const PROBE: u64 = 10;
/// How many layers are moved in front of the one whose gradient is watched.
const MOVED: usize = 3;

/// What a run gave.
struct Run {
    /// Mean loss of the last 30 steps.
    loss: f64,
    /// Mean of ‖g(θ − ηg) − g(θ)‖/‖g(θ)‖ over the probes.
    change: f64,
    /// Mean of 1 − cos between a layer's gradient before and after the layers in front of it moved.
    shift: f64,
}

/// Measures, claims what is asserted, and tells what is not.
pub(super) fn gradients(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let kinds = [Between::Nothing, Between::BatchNorm, Between::Noise];
    let kinds = if lab.full() { &kinds[..] } else { &kinds[..2] };
    let mut runs = Vec::new();
    for (index, &between) in kinds.iter().enumerate() {
        let progress = |done| lab.progress(index as u64 * STEPS + done, kinds.len() as u64 * STEPS);
        runs.push(run(lab, between, &progress)?);
    }
    chapter.claim(
        Claim::check(
            "C5.8",
            lab.say(
                "With batch norm a step changes the gradient less, ‖g(θ − ηg) − g(θ)‖/‖g(θ)‖, at most 0.85 of what it \
                 does without, and the loss after 200 steps is less than 0.7 of the plain network's",
                "有批归一化时，走一步对梯度的改变 ‖g(θ − ηg) − g(θ)‖/‖g(θ)‖ 不超过没有时的 0.85；200 步后的损失低于普通网络的 0.7",
            ),
            "Santurkar et al. 2018",
            [0.85, 0.7],
            [runs[1].change / runs[0].change, runs[1].loss / runs[0].loss],
            Tolerance::Each(vec![Tolerance::AtMost, Tolerance::Below]),
        )
        .parts(lab.language().pick(["change of the gradient", "loss"], ["梯度的改变", "损失"])),
    );
    let mut table = Table::new(
        lab.language().pick(["network", "loss", "gradient", "1 − cos"], ["网络", "损失", "梯度", "1 − cos"]),
    );
    let names = lab
        .language()
        .pick(["plain", "batch norm", "noisy batch norm"], ["普通", "批归一化", "加噪声的批归一化"]);
    for (name, run) in names.iter().zip(&runs) {
        let [loss, change, shift] =
            [run.loss, run.change, run.shift].map(|v| number((v * 1e3).round() / 1e3));
        table = table.row([name.to_string(), loss, change, shift]);
    }
    chapter
        .figure(
            Figure::new(lab.say("Reported, not asserted", "只报告，不断言"), table)
                .caption(lab.say(
                    "Loss after 200 steps, and change of the gradient in a step. The last column is the proxy for “internal covariate shift” of Santurkar et al.: how far the \
                     gradient of the fourth layer turns when the three layers before it take their step. It *is* \
                     smaller with batch norm here, yet with noise that shifts every unit at random (in the full run) \
                     it is larger than in the plain network. We draw no conclusion from it.",
                    "依次为 200 步后的损失，以及一步之中梯度的相对改变。最后一列是 Santurkar 等人给出的“内部协变量偏移”指标：前三层各走一步之后，第四层的梯度转了多少。\
                     在这里，有批归一化时它*确实*较小；而加入让每个单元随机漂移的噪声后（完整模式），它又比普通网络更大。\
                     我们不由此下结论。",
                ))
                .alt(lab.say(
                    "Loss, change of the gradient and shift proxy of each network",
                    "各网络的损失、梯度改变与偏移指标",
                )),
        )
        .method(lab.say(
            "C5.8: 2000 images, 784-64-64-64-64-64-10, SGD with rate 0.1, batches of 100, 200 steps, a probe in every \
             tenth: the gradient on the same batch before and after the step.",
            "C5.8：2000 幅图像，784-64-64-64-64-64-10，SGD，学习率 0.1，批量 100，共 200 步，每十步探测一次：\
             在同一批图像上比较走一步前后的梯度。",
        ));
    Ok(())
}

fn run(lab: &Lab, between: Between, progress: &dyn Fn(u64)) -> Result<Run> {
    let images = first(&lab.fashion()?.train, IMAGES)?;
    let params = Params::new(lab.device(), lab.seed());
    let Classifier { params, model } = network(params, &[784, 64, 64, 64, 64, 64, 10], between)?;
    let mut sgd = Sgd::new(&params, RATE)?;
    let batches = Batches::new(images.len(), BATCH, lab.seed())?.drop_last()?;
    let order = (0..).flat_map(|epoch| batches.epoch(epoch)).take(STEPS as usize);
    let (mut losses, mut changes, mut shifts) = (Vec::new(), Vec::new(), Vec::new());
    for (step, indices) in (0..).zip(order) {
        progress(step);
        let batch = images.gather(&indices)?;
        let x = Tensor::from_slice(lab.device(), &batch.images, batch.shape())?;
        let labels = Tensor::from_slice(lab.device(), &batch.labels, [BATCH])?;
        // A pass after the step is a step of its own to what draws random numbers.
        let loss = |pass: u64| model.forward(&x, Mode::Step(2 * step + pass))?.cross_entropy(&labels);
        let now = loss(0)?;
        let gradients = now.backward()?;
        losses.push(now.detach());
        if step % PROBE != PROBE / 2 {
            sgd.step(&gradients)?;
            continue;
        }
        let parameters = params.trainable();
        let before: Vec<Tensor> = parameters.iter().map(|p| p.get()).collect();
        let g: Vec<Tensor> = before.iter().map(|p| gradients.get(p).cloned()).collect::<Result<_>>()?;
        sgd.step(&gradients)?;
        let after: Vec<Tensor> = parameters.iter().map(|p| p.get()).collect();
        let moved = loss(1)?.grad(&after.iter().collect::<Vec<_>>())?;
        let [g_all, moved] = [flat(&g)?, flat(&moved)?];
        let gap: Vec<f64> = moved.iter().zip(&g_all).map(|(a, b)| a - b).collect();
        changes.push((dot(&gap, &gap) / dot(&g_all, &g_all)).sqrt());
        // The layers in front moved, the others as they were.
        let in_front = |path: &str| (0..MOVED).any(|k| path.starts_with(&format!("layer{k}.")));
        let mixed: Vec<Tensor> = (0..before.len())
            .map(|k| if in_front(parameters[k].path()) { after[k].clone() } else { before[k].clone() })
            .collect();
        let watched = format!("layer{MOVED}.weight");
        let place = parameters.iter().position(|p| p.path() == watched).unwrap_or_default();
        let there = params.with(&mixed, || loss(1))?.grad(&[&mixed[place]])?.swap_remove(0).to_f64()?;
        let here = g[place].to_f64()?;
        shifts.push(1.0 - dot(&here, &there) / (dot(&here, &here) * dot(&there, &there)).sqrt());
    }
    let last: Vec<f64> = losses[losses.len() - 30..].iter().map(Tensor::item).collect::<Result<_>>()?;
    Ok(Run { loss: moments(&last).0, change: moments(&changes).0, shift: moments(&shifts).0 })
}

/// All numbers of all tensors.
fn flat(tensors: &[Tensor]) -> Result<Vec<f64>> {
    Ok(tensors.iter().map(Tensor::to_f64).collect::<Result<Vec<_>>>()?.concat())
}
