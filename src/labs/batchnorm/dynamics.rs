//! C5.4 and C5.5: what batch norm does to the weights over time, and to the gradient over depth.

use super::claims::{NO_EPS, normalised};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest, moments};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Rule, Series, smoothed};
use crate::nn::{Init, Params};
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;
use std::f64::consts::PI;

/// Units trained side by side: each is normalised alone, so they are independent runs.
const UNITS: usize = 8;
const INPUTS: usize = 32;
const BATCH: usize = 64;
const RATE: f64 = 0.5;
const DECAY: f64 = 0.01;
/// Deviations of the weights to start from: one above equilibrium, one below.
const LONG: f64 = 0.5;
const SHORT: f64 = 0.1;

/// What a run of SGD went through: the weights before each step and after the last, and the gradients.
struct Path {
    weights: Vec<Vec<f64>>,
    gradients: Vec<Vec<f64>>,
}

impl Path {
    /// The vector of one unit out of `[INPUTS, UNITS]`.
    fn unit(matrix: &[f64], unit: usize) -> Vec<f64> {
        matrix.iter().skip(unit).step_by(UNITS).copied().collect()
    }

    /// ‖w‖² of a unit at a step.
    fn square(&self, step: usize, unit: usize) -> f64 {
        let w = Path::unit(&self.weights[step], unit);
        dot(&w, &w)
    }

    /// By how much a unit turns in a step, in radians.
    fn angle(&self, step: usize, unit: usize) -> f64 {
        let [a, b] = [step, step + 1].map(|t| Path::unit(&self.weights[t], unit));
        (dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()).min(1.0).acos()
    }
}

/// SGD on units behind a batch norm, with fresh inputs and a fresh random loss in each step.
fn run(lab: &Lab, steps: usize, std: f64, decay: f64) -> Result<Path> {
    let params = Params::new(lab.device(), lab.seed());
    let w = params.parameter("w", [INPUTS, UNITS], Init::Normal { mean: 0.0, std })?;
    let mut sgd = Sgd::new(&params, RATE)?.weight_decay(decay)?;
    let inputs = lab.normal(540, [steps * BATCH, INPUTS])?;
    let losses = lab.normal(541, [steps * BATCH, UNITS])?;
    let (mut weights, mut gradients) = (vec![w.get().detach()], Vec::new());
    for step in 0..steps {
        let rows = |t: &Tensor| t.slice(0, step * BATCH, (step + 1) * BATCH);
        let y = normalised(lab, &rows(&inputs)?.matmul(&w.get())?, NO_EPS)?;
        let loss = y.mul(&rows(&losses)?)?.sum(&[], false)?.mul_scalar(1.0 / BATCH as f64)?;
        let found = loss.backward()?;
        gradients.push(found.get(&w.get())?.clone());
        sgd.step(&found)?;
        weights.push(w.get().detach());
        lab.progress(step as u64, steps as u64);
    }
    let read = |tensors: Vec<Tensor>| tensors.iter().map(Tensor::to_f64).collect::<Result<Vec<_>>>();
    Ok(Path { weights: read(weights)?, gradients: read(gradients)? })
}

/// C5.4: weights grow by Pythagoras, and turn at a rate set by learning rate and decay.
pub(super) fn rotation(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (steps, settled) = (200, 500);
    let free = run(lab, steps, LONG, 0.0)?;
    let ratio = |unit: usize| {
        let grown: f64 = free.gradients.iter().map(|g| Path::unit(g, unit)).map(|g| dot(&g, &g)).sum();
        free.square(steps, unit) / (free.square(0, unit) + RATE * RATE * grown)
    };
    let defect = largest((0..UNITS).map(|unit| ratio(unit) - 1.0));
    let steps = if lab.full() { 6000 } else { 1200 };
    let decay = if lab.with("weight-decay") { DECAY } else { 0.0 };
    let mut turns = Vec::new();
    for std in [LONG, SHORT] {
        let path = run(lab, steps, std, decay)?;
        let square =
            |t: usize| moments(&(0..UNITS).map(|unit| path.angle(t, unit).powi(2)).collect::<Vec<_>>()).0;
        turns.push((0..steps).map(square).collect::<Vec<f64>>());
    }
    let rms = |squares: &Vec<f64>| moments(&squares[settled..]).0.sqrt();
    let predicted = (2.0 * RATE * DECAY).sqrt();
    let source = "van Laarhoven 2017; Wan et al. 2021";
    chapter
        .claim(
            Claim::check(
                "C5.4",
                lab.say(
                    "Without decay the squared length of a weight vector grows by exactly the squared steps: relative \
                     difference after 200 steps, the worst of 8 units",
                    "没有权重衰减时，权重向量长度的平方恰好按各步长的平方累加：200 步之后的相对偏差，取 8 个单元中最差的",
                ),
                source,
                0.0,
                defect,
                Tolerance::Absolute(1e-5),
            )
            .formula(r"\|w_T\|^2 = \|w_0\|^2 + \eta^2 \sum_{t<T} \|g_t\|^2"),
        )
        .claim(
            Claim::check(
                "C5.4.rotation",
                lab.say(
                    "With weight decay λ and rate η a weight vector comes to turn by √(2ηλ) in every step, whatever the \
                     loss and the start (η = 0.5, λ = 0.01; root mean square in radians)",
                    "有权重衰减 λ、学习率 η 时，权重向量最终每步转过 √(2ηλ)，与损失和起点无关（η = 0.5，λ = 0.01；均方根，单位弧度）",
                ),
                source,
                predicted,
                turns.iter().map(rms).collect::<Vec<_>>(),
                Tolerance::Relative(0.05),
            )
            .parts(lab.language().pick(["long at first", "short at first"], ["起初较长", "起初较短"]))
            .formula(r"\text{angle} \to \sqrt{2 \eta \lambda}"),
        );
    let shown = 1200.min(steps);
    let line = |values: &[f64]| (0..shown).map(|t| (t as f64 + 1.0, values[t])).collect::<Vec<_>>();
    let mut plot = Plot::new(
        Axis::new(lab.say("step", "步")),
        Axis::new(lab.say("rotation in a step", "每步的转角")).unit("rad").log(),
    );
    let names = lab
        .language()
        .pick(["weights long at first", "weights short at first"], ["权重起初较长", "权重起初较短"]);
    for (colour, (squares, name)) in turns.iter().zip(names).enumerate() {
        let each: Vec<f64> = squares.iter().map(|s| s.sqrt()).collect();
        plot = plot
            .series(Series::line("", line(&each)).colour(colour).faint())
            .series(Series::line(name, line(&smoothed(&each, 10.0))).colour(colour));
    }
    chapter.figure(
        Figure::new(
            lab.say("Turning at a rate of its own", "稳定的转动"),
            plot.rule(Rule::horizontal(predicted, "√(2ηλ)")),
        )
        .caption(lab.say(
            "Eight units each, pale the single steps. Long weights turn little and shrink by decay, short ones turn far \
             and grow, until both balance. The losses are random: no minimum is approached.",
            "各八个单元，浅色为逐步的值。长的权重转得少，因衰减而缩短；短的权重转得多，因而变长；直到二者平衡。\
             损失是随机的，并不趋向任何极小点。",
        ))
        .alt(lab.say(
            "Rotation per step rises from below or falls from above, and within some hundred steps stays on the line at 0.1",
            "每步转角从低处上升，或从高处下降，几百步内停在 0.1 的水平线上",
        )),
    );
    Ok(())
}

const WIDTH: usize = 512;
const ROWS: usize = 128;
const LAYERS: usize = 12;

/// ‖∂L/∂h_l‖² for l = 0 … LAYERS of a random network, for a random cotangent at the top.
fn squares(lab: &Lab, net: u64, batch_norm: bool) -> Result<Vec<f64>> {
    let gain = if batch_norm { 1.0 } else { 2f64.sqrt() };
    let weights = lab.normal(550 + net, [LAYERS * WIDTH, WIDTH])?.mul_scalar(gain / (WIDTH as f64).sqrt())?;
    let mut states = vec![lab.normal(554 + net, [ROWS, WIDTH])?.variable()?];
    for layer in 0..LAYERS {
        let w = weights.slice(0, layer * WIDTH, (layer + 1) * WIDTH)?;
        let z = states[layer].matmul(&w)?;
        let z = if batch_norm { normalised(lab, &z, NO_EPS)? } else { z };
        states.push(z.relu()?);
    }
    let cotangent = lab.normal(558 + net, [ROWS, WIDTH])?;
    let inputs: Vec<&Tensor> = states.iter().collect();
    let gradients = states[LAYERS].pull_back(&cotangent, &inputs)?;
    gradients.iter().map(|g| g.square()?.sum(&[], false)?.item()).collect()
}

/// C5.5: with batch norm and without skips, gradients explode.
pub(super) fn explosion(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    // The step at the top and the one to the raw input are left out: there is no relu on their other side.
    let growth = |a: &[f64], b: &[f64]| {
        let ratio = a[1] / a[LAYERS - 1] * b[1] / b[LAYERS - 1];
        ratio.powf(0.5 / (LAYERS - 2) as f64)
    };
    let mut runs = Vec::new();
    for (index, (net, batch_norm)) in [(0, true), (1, true), (0, false), (1, false)].into_iter().enumerate() {
        lab.progress(index as u64, 4);
        runs.push(squares(lab, net, batch_norm)?);
    }
    let predicted = PI / (PI - 1.0);
    chapter.claim(
        Claim::check(
            "C5.5",
            lab.say(
                "Backwards through layers relu(BN(Wh)) the squared gradient grows by π/(π − 1) a layer; through layers \
                 relu(Wh) with He's weights it does not (geometric mean of two networks each, width 512, 12 layers, batch 128)",
                "反向穿过 relu(BN(Wh)) 的各层时，梯度的平方每层增长 π/(π − 1) 倍；穿过采用 He 初始化的 relu(Wh) 则不增长\
                 （各取两个网络的几何平均，宽 512，12 层，批量 128）",
            ),
            "Yang et al. 2019; He et al. 2015",
            [predicted, 1.0],
            [growth(&runs[0], &runs[1]), growth(&runs[2], &runs[3])],
            Tolerance::Each(vec![Tolerance::Relative(0.04), Tolerance::Relative(0.05)]),
        )
        .parts(lab.language().pick(["with batch norm", "without"], ["有批归一化", "无批归一化"]))
        .formula(r"\frac{\pi}{\pi - 1} \approx 1.467"),
    );
    // Mean of the two networks, relative to the layer below the top; the bars reach to either.
    let points = |a: &[f64], b: &[f64]| -> (Vec<(f64, f64)>, Vec<f64>) {
        let relative = |run: &[f64], l: usize| run[l] / run[LAYERS - 1];
        (1..LAYERS)
            .map(|l| (l, relative(a, l), relative(b, l)))
            .map(|(l, a, b)| ((l as f64, (a + b) / 2.0), (a - b).abs() / 2.0))
            .unzip()
    };
    let (normed, normed_errors) = points(&runs[0], &runs[1]);
    let (plain, plain_errors) = points(&runs[2], &runs[3]);
    let theory = (1..LAYERS).map(|l| (l as f64, predicted.powi((LAYERS - 1 - l) as i32)));
    chapter.figure(
        Figure::new(
            lab.say("The price: gradients explode in depth", "代价：梯度随深度爆炸"),
            Plot::new(
                Axis::new(lab.say("layer", "层")),
                Axis::new(lab.say("squared gradient, relative", "梯度平方（相对值）")).log(),
            )
            .series(Series::line("(π/(π − 1))^(L − l)", theory).colour(2).dashed())
            .series(
                Series::line(lab.say("with batch norm", "有批归一化"), normed)
                    .dots()
                    .errors(normed_errors)
                    .colour(0),
            )
            .series(
                Series::line(lab.say("without, He's weights", "无批归一化，He 初始化"), plain)
                    .dots()
                    .errors(plain_errors)
                    .colour(1),
            ),
        )
        .caption(lab.say(
            "$\\| \\partial L / \\partial h_l \\|^2$ of random networks of 12 layers, relative to layer 11: means of two \
             networks, bars to either.",
            "12 层随机网络的 $\\| \\partial L / \\partial h_l \\|^2$，以第 11 层为 1：两个网络的平均，误差棒表示两者各自的值。",
        ))
        .alt(lab.say(
            "Towards the input the squared gradient grows exponentially with batch norm and stays flat without",
            "越靠近输入，有批归一化的梯度平方按指数增长，没有批归一化的保持不变",
        )),
    );
    Ok(())
}
