//! What gates do: C9.4 and C9.5.

use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Init, Params};
use crate::ops::{Cell, RecurrentWeights, Sequence};
use crate::optim::clip_grad_norm;
use crate::tensor::Tensor;

/// Zeros but for one gate of so many, which has `value` everywhere.
fn gate(lab: &Lab, gates: usize, hidden: usize, which: usize, value: f64) -> Result<Tensor> {
    let one = Tensor::full(lab.device(), crate::DType::F32, [hidden], value)?;
    one.pad(&[(which * hidden, (gates - 1 - which) * hidden)], 0.0)
}

/// What is left of the cell state of an LSTM after `steps` steps in which its forget gate has bias `bias` and
/// everything else is zero.
pub(super) fn carousel(lab: &Lab, bias: f64, steps: usize) -> Result<f64> {
    let hidden = 1;
    let zeros = |shape: [usize; 2]| Tensor::zeros(lab.device(), shape);
    let biases = [gate(lab, 4, hidden, 1, bias)?, Tensor::zeros(lab.device(), [4 * hidden])?];
    let weights = RecurrentWeights {
        input: zeros([4 * hidden, 1])?,
        hidden: zeros([4 * hidden, hidden])?,
        bias: Some(biases),
    };
    let initial = Tensor::from_slice(lab.device(), &[0.0f32, 1.0], [2, 1, hidden])?;
    let sequence = Sequence { initial: Some(initial), ..Sequence::default() };
    let x = Tensor::zeros(lab.device(), [steps, 1, 1])?;
    x.recurrent(Cell::Lstm, &weights, &sequence)?.state.select(0, 1)?.reshape([])?.item()
}

/// An LSTM of random input weights: how far the diagonal of ∂c_T/∂c₀ is from the product of the forget gates, as a
/// share of it, and the largest entry beside the diagonal.
fn jacobian(lab: &Lab, stream: u64, bias: f64, recurrent: f64) -> Result<(f64, f64)> {
    let (hidden, inputs, steps) = (8, 4, 50);
    let input = lab.normal(stream, [4 * hidden, inputs])?.mul_scalar(0.5)?;
    let scale = recurrent / (hidden as f64).sqrt();
    let u = match recurrent == 0.0 {
        true => Tensor::zeros(lab.device(), [4 * hidden, hidden])?,
        false => lab.normal(stream + 1, [4 * hidden, hidden])?.mul_scalar(scale)?,
    };
    let x = lab.normal(stream + 2, [steps, 1, inputs])?;
    let forget = gate(lab, 4, hidden, 1, bias)?;
    let weights = RecurrentWeights {
        input: input.clone(),
        hidden: u,
        bias: Some([forget, Tensor::zeros(lab.device(), [4 * hidden])?]),
    };
    // A copy of the sequence for each unit: one walk back gives every row of the Jacobian.
    let initial = Tensor::zeros(lab.device(), [2, hidden, hidden])?.variable()?;
    let sequence = Sequence { initial: Some(initial.clone()), ..Sequence::default() };
    let copies = x.broadcast_to([steps, hidden, inputs])?;
    let c = copies.recurrent(Cell::Lstm, &weights, &sequence)?.state.select(0, 1)?;
    let unit = Tensor::ones(lab.device(), [hidden, hidden])?.tril(0)?.triu(0)?;
    let j = c.pull_back(&unit, &[&initial])?.swap_remove(0).select(0, 1)?.to_f64()?;
    // The gates stand in the order i, f, g, o along the rows.
    let row = if lab.with("gate-order") { hidden } else { 2 * hidden };
    let f = x
        .squeeze(1)?
        .matmul(&input.slice(0, row, row + hidden)?.t()?)?
        .add_scalar(bias)?
        .sigmoid()?
        .to_f64()?;
    let product = |unit: usize| (0..steps).map(|t| f[t * hidden + unit]).product::<f64>();
    let diagonal = largest((0..hidden).map(|i| j[i * (hidden + 1)] / product(i) - 1.0));
    let beside = largest((0..hidden * hidden).filter(|i| i % (hidden + 1) != 0).map(|i| j[i]));
    Ok((diagonal, beside))
}

/// C9.4: the constant error carousel.
pub(super) fn memory(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (short, beside_short) = jacobian(lab, 940, 1.0, 0.0)?;
    let (long, beside_long) = jacobian(lab, 943, 3.0, 0.0)?;
    let (_, beside) = jacobian(lab, 946, 1.0, 0.3)?;
    let steps = 100;
    let chrono = ((steps - 1) as f64).ln();
    let biases = [0.0, 1.0, 3.0, chrono];
    let mut lives = Vec::new();
    for bias in biases {
        lives.push(-(steps as f64) * 2f64.ln() / carousel(lab, bias, steps)?.ln());
    }
    let sigmoid = |b: f64| 1.0 / (1.0 + (-b).exp());
    chapter
        .claim(
            Claim::check(
                "C9.4",
                lab.say(
                    "Without recurrent weights ∂c_T/∂c₀ of an LSTM is diagonal, the product of its forget gates (largest \
                     relative difference after 50 steps; largest entry beside the diagonal); with them it is not diagonal",
                    "没有循环权重时，LSTM 的 ∂c_T/∂c₀ 是对角阵，对角元为各步遗忘门之积（50 步后的最大相对差；对角线外的最大元素）；\
                     有循环权重时则不是对角阵",
                ),
                "Hochreiter & Schmidhuber 1997; Gers et al. 2000",
                [0.0; 5],
                [short, long, beside_short, beside_long, beside],
                Tolerance::Each(vec![
                    Tolerance::Absolute(1e-4),
                    Tolerance::Absolute(1e-4),
                    Tolerance::Exact,
                    Tolerance::Exact,
                    Tolerance::Above,
                ]),
            )
            .formula(r"\frac{\partial c_T}{\partial c_0} = \operatorname{diag} \prod_t f_t")
            .parts([
                "b = 1",
                "b = 3",
                lab.say("beside, b = 1", "对角线外，b = 1"),
                lab.say("beside, b = 3", "对角线外，b = 3"),
                lab.say("beside, with recurrent weights", "对角线外，有循环权重"),
            ]),
        )
        .claim(
            Claim::check(
                "C9.4.halflife",
                lab.say(
                    "A forget bias b keeps half of the cell for ln ½/ln σ(b) steps (measured over 100 steps)",
                    "遗忘偏置 b 使单元状态在 ln ½/ln σ(b) 步后剩下一半（由 100 步测得）",
                ),
                "Gers et al. 2000; Tallec & Ollivier 2018",
                biases.map(|b| 0.5f64.ln() / sigmoid(b).ln()),
                lives,
                Tolerance::Relative(1e-3),
            )
            .parts(["b = 0", "b = 1", "b = 3", "b = ln 99"]),
        )
        .claim(
            Claim::check(
                "C9.4.chrono",
                lab.say(
                    "and b = ln(T − 1) keeps (1 − 1/T)ᵀ, about 1/e, of it for T = 100 steps",
                    "取 b = ln(T − 1)，T = 100 步后剩下 (1 − 1/T)ᵀ，约 1/e",
                ),
                "Tallec & Ollivier 2018",
                (1.0 - 1.0 / steps as f64).powi(steps as i32),
                carousel(lab, chrono, steps)?,
                Tolerance::Absolute(1e-3),
            )
            .formula(r"\sigma(\ln(T - 1))^T = \left(1 - \frac{1}{T}\right)^T \to \frac{1}{e}"),
        );
    Ok(())
}

/// C9.5: a GRU cannot leave the unit cube, and clipping keeps the direction.
pub(super) fn bounded(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (hidden, steps) = (32, 2000);
    let wild = |stream: u64| lab.normal(stream, [3 * hidden, hidden])?.mul_scalar(5.0);
    let weights = RecurrentWeights { input: wild(950)?, hidden: wild(951)?, bias: None };
    let initial = lab.uniform(952, [1, 1, hidden])?.mul_scalar(2.0)?.add_scalar(-1.0)?;
    let x = lab.normal(953, [steps, 1, hidden])?.mul_scalar(10.0)?;
    let sequence = Sequence { initial: Some(initial), ..Sequence::default() };
    let farthest = largest(x.recurrent(Cell::Gru, &weights, &sequence)?.y.to_f64()?);

    // An update gate of .98 and nothing to read: what is kept after 100 steps.
    let kept: f64 = 0.98;
    let zeros = |shape: [usize; 2]| Tensor::zeros(lab.device(), shape);
    let bias = [gate(lab, 3, 1, 1, (kept / (1.0 - kept)).ln())?, Tensor::zeros(lab.device(), [3])?];
    let weights = RecurrentWeights { input: zeros([3, 1])?, hidden: zeros([3, 1])?, bias: Some(bias) };
    let sequence = Sequence { initial: Some(Tensor::ones(lab.device(), [1, 1, 1])?), ..Sequence::default() };
    let idle = Tensor::zeros(lab.device(), [100, 1, 1])?;
    let left = idle.recurrent(Cell::Gru, &weights, &sequence)?.state.reshape([])?.item()?;

    let params = Params::new(lab.device(), lab.seed());
    let p = params.parameter("p", [1000], Init::Zeros)?;
    let g = lab.normal(954, [1000])?.mul_scalar(7.0)?;
    let gradients = p.get().mul(&g)?.sum(&[], false)?.backward()?;
    let clipped = clip_grad_norm(gradients, 5.0)?.0.get(&p.get())?.to_f64()?;
    let g = g.to_f64()?;
    let norm = dot(&clipped, &clipped).sqrt();
    chapter.claim(
        Claim::check(
            "C9.5",
            lab.say(
                "A GRU's state is a convex combination of what lies in [−1, 1]: it stays there through 2000 steps of wild \
                 inputs and weights, up to rounding; a constant gate z keeps zᵀ; clipping at 5 gives norm 5 and the same \
                 direction",
                "GRU 的状态是 [−1, 1] 内的凸组合：在剧烈的输入和权重下运行 2000 步仍在其中（不计舍入）；恒定的门 z 保留 zᵀ；\
                 在 5 处截断梯度，范数为 5，方向不变",
            ),
            "Cho et al. 2014; Pascanu et al. 2013",
            [1.0 + 1e-6, kept.powi(100), 5.0, 1.0],
            [farthest, left, norm, dot(&clipped, &g) / norm / dot(&g, &g).sqrt()],
            Tolerance::Each(vec![
                Tolerance::AtMost,
                Tolerance::Relative(1e-4),
                Tolerance::Relative(1e-5),
                Tolerance::Relative(1e-6),
            ]),
        )
        .formula(r"h' = z \odot h + (1 - z) \odot n")
        .parts([
            lab.say("largest |h|", "最大的 |h|"),
            lab.say("0.98¹⁰⁰", "0.98¹⁰⁰"),
            lab.say("clipped norm", "截断后的范数"),
            lab.say("cosine", "夹角余弦"),
        ]),
    );
    Ok(())
}
