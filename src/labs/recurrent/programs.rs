//! Recurrences as programs: C9.6 to C9.8.

use super::figures;
use crate::device::Device;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, moments};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Init, Linear, Lstm, Mode, Nonlinearity, Params, RecurrentInit, RecurrentOptions, Rnn};
use crate::ops::{Cell, Conv1dOptions, RecurrentWeights, Sequence};
use crate::optim::{Adam, Optimizer, clip_grad_norm};
use crate::tensor::Tensor;

/// C9.6: two relu units that know the parity of any string.
pub(super) fn parity(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (strings, length) = (64, 1000);
    let bits: Vec<f32> = lab
        .uniform(960, [length * strings])?
        .to_f64()?
        .iter()
        .map(|u| f32::from(u8::from(*u < 0.5)))
        .collect();
    let device = lab.device();
    let weights = RecurrentWeights {
        input: Tensor::from_slice(device, &[1.0f32, 1.0], [2, 1])?,
        hidden: Tensor::from_slice(device, &[1.0f32, -2.0, 1.0, -2.0], [2, 2])?,
        bias: Some([Tensor::from_slice(device, &[0.0f32, -1.0], [2])?, Tensor::zeros(device, [2])?]),
    };
    let x = Tensor::from_slice(device, &bits, [length, strings, 1])?;
    let state = x.recurrent(Cell::Relu, &weights, &Sequence::default())?.state.to_f64()?;
    let wrong = (0..strings).filter(|s| {
        let ones: f64 = bits.iter().skip(*s).step_by(strings).map(|b| f64::from(*b)).sum();
        state[2 * s] - 2.0 * state[2 * s + 1] != ones % 2.0
    });
    chapter.claim(
        Claim::check(
            "C9.6",
            lab.say(
                "Two relu units, a = relu(p + x) and b = relu(p + x − 1) with p = a − 2b, hold the parity of a string of \
                 any length without error (wrong ones among 64 strings of 1000 bits)",
                "两个 relu 单元 a = relu(p + x)、b = relu(p + x − 1)，p = a − 2b，就能毫无误差地记住任意长比特串的奇偶性\
                 （64 个 1000 位串中的错误个数）",
            ),
            "Minsky 1967; Siegelmann & Sontag 1995",
            0.0,
            wrong.count() as f64,
            Tolerance::Exact,
        )
        .formula(r"p' = \max(p + x, 0) - 2 \max(p + x - 1, 0)"),
    );
    Ok(())
}

/// C9.7: one linear recurrence in three ways.
pub(super) fn scan(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (steps, n) = (512, 16);
    let a = lab.uniform(970, [n])?.mul_scalar(-0.1)?.exp()?.mul_scalar(0.999)?;
    let (b, c, u) = (lab.normal(971, [n])?, lab.normal(972, [n])?, lab.normal(973, [steps, 1])?);
    let driven = u.mul(&b)?;
    let rates = a.broadcast_to([steps, n])?.contiguous()?;
    let read = |states: &Tensor| states.mul(&c)?.sum(&[1], false)?.to_f64();
    let recurrence = read(&rates.linear_scan(&driven, 0, false)?)?;

    // (a, s) ∘ (a′, s′) = (a′a, a′s + s′) is associative: nine doublings reach 512 steps.
    let (mut sums, mut products, mut doublings, mut reach) = (driven, rates, 0, 1);
    while reach < steps {
        let earlier =
            |x: &Tensor, value: f64| x.slice(0, 0, steps - reach)?.pad(&[(reach, 0), (0, 0)], value);
        sums = sums.add(&products.mul(&earlier(&sums, 0.0)?)?)?;
        products = products.mul(&earlier(&products, 1.0)?)?;
        doublings += 1;
        reach *= 2;
    }
    let scanned = read(&sums)?;

    // The kernel K_t = Σ c·aᵗ·b; a convolution reads it backwards.
    let (a, b, c) = (a.to_f64()?, b.to_f64()?, c.to_f64()?);
    let kernel: Vec<f64> =
        (0..steps).rev().map(|t| (0..n).map(|i| c[i] * a[i].powi(t as i32) * b[i]).sum()).collect();
    let kernel = Tensor::from_slice(
        lab.device(),
        &kernel.iter().map(|k| *k as f32).collect::<Vec<_>>(),
        [1, 1, steps],
    )?;
    let line = u.reshape([1, 1, steps])?.pad(&[(0, 0), (0, 0), (steps - 1, 0)], 0.0)?;
    let convolved = line.conv1d(&kernel, None, Conv1dOptions::default())?.to_f64()?;
    let size = largest(recurrence.iter().copied());
    let off = |other: &[f64]| largest(recurrence.iter().zip(other).map(|(a, b)| (a - b) / size));
    chapter.claim(
        Claim::check(
            "C9.7",
            lab.say(
                "A diagonal linear RNN is a convolution with Kₜ = Σ c·aᵗ·b, and log₂T steps of an associative scan: 512 \
                 steps of recurrence, nine doublings, one convolution (largest difference over the largest output; \
                 doublings)",
                "对角线性 RNN 就是与 Kₜ = Σ c·aᵗ·b 的卷积，也是 log₂T 步的结合扫描：512 步递推、九次倍增、一次卷积\
                 （最大差与最大输出之比；倍增次数）",
            ),
            "Blelloch 1990; Martin & Cundy 2018; Gu et al. 2022",
            [0.0, 0.0, 9.0],
            [off(&convolved), off(&scanned), f64::from(doublings)],
            Tolerance::Each(vec![Tolerance::Absolute(1e-5), Tolerance::Absolute(1e-5), Tolerance::Exact]),
        )
        .formula(r"y_t = \sum_s K_{t-s} u_s, \quad K_t = \sum_i c_i a_i^t b_i")
        .parts([
            lab.say("convolution", "卷积"),
            lab.say("associative scan", "结合扫描"),
            lab.say("doublings", "倍增次数"),
        ]),
    );
    Ok(())
}

const LENGTH: usize = 40;
const BATCH: usize = 32;
const HIDDEN: usize = 16;
const STEPS: u64 = 600;

/// Numbers and marks `[T, B, 2]`, and the sums `[B, 1]` of the two that are marked, one in each half.
fn sums(lab: &Lab, step: u64) -> Result<(Vec<f32>, Vec<f32>)> {
    let drawn =
        Tensor::uniform(&Device::cpu(), [BATCH, LENGTH + 2], lab.stream(980_000 + step))?.to_vec::<f32>()?;
    let (mut x, mut y) = (vec![0.0; LENGTH * BATCH * 2], vec![0.0; BATCH]);
    for (b, drawn) in drawn.chunks(LENGTH + 2).enumerate() {
        let half = LENGTH / 2;
        let place = |i: usize| (drawn[LENGTH + i] * half as f32) as usize + i * half;
        for (t, value) in drawn[..LENGTH].iter().enumerate() {
            x[(t * BATCH + b) * 2] = *value;
        }
        for t in [place(0), place(1)] {
            x[(t * BATCH + b) * 2 + 1] = 1.0;
            y[b] += drawn[t];
        }
    }
    Ok((x, y))
}

/// Trains a network on sums, the losses of its steps.
fn adding(
    lab: &Lab,
    params: &Params,
    part: u64,
    last: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<Vec<f64>> {
    let readout = Linear::new(&params.at("readout"), HIDDEN, 1)?;
    let mut adam = Adam::new(params, 0.01)?;
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let (x, y) = sums(lab, step)?;
        let x = Tensor::from_slice(lab.device(), &x, [LENGTH, BATCH, 2])?;
        let y = Tensor::from_slice(lab.device(), &y, [BATCH, 1])?;
        let loss = readout.forward(&last(&x)?)?.mse_loss(&y)?;
        adam.step(&clip_grad_norm(loss.backward()?, 1.0)?.0)?;
        losses.push(loss.detach());
        if step % 10 == 9 {
            lab.device().wait()?;
            lab.progress(part * STEPS + step + 1, 2 * STEPS);
        }
    }
    losses.iter().map(Tensor::item).collect()
}

/// C9.8: the adding problem.
pub(super) fn adding_problem(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let params = Params::new(lab.device(), lab.seed());
    // With weights as small as a layer's own the first gradients are lost over forty steps.
    let start = |gain: f64| RecurrentOptions {
        init: Some(RecurrentInit {
            input: Init::Normal { mean: 0.0, std: 0.5 },
            hidden: Init::Orthogonal { gain },
            forget: 1.0,
        }),
        ..RecurrentOptions::default()
    };
    let lstm = Lstm::with(&params.at("lstm"), 2, HIDDEN, start(1.0))?;
    let gated = adding(lab, &params, 0, &|x| lstm.forward(x, None, None, Mode::Train)?.h.select(0, 0))?;
    let params = Params::new(lab.device(), lab.seed());
    let rnn = Rnn::with(&params.at("rnn"), 2, HIDDEN, Nonlinearity::Tanh, start(0.9))?;
    let plain = adding(lab, &params, 1, &|x| rnn.forward(x, None, None, Mode::Train)?.h.select(0, 0))?;
    let mut answers = Vec::new();
    for step in 0..STEPS {
        answers.extend(sums(lab, step)?.1.iter().map(|y| f64::from(*y)));
    }
    let late = |losses: &[f64]| moments(&losses[losses.len() - 100..]).0;
    chapter.claim(
        Claim::check(
            "C9.8",
            lab.say(
                "Adding two marked numbers out of 40: the best constant costs 1/6, and an LSTM of 16 units gets below 0.02 in \
                 600 steps (mean squared error of the last hundred)",
                "在 40 个数中把两个被标记的数相加：最好的常数预测代价为 1/6，而 16 个单元的 LSTM 在 600 步内降到 0.02 以下\
                 （最后一百步的均方误差）",
            ),
            "Hochreiter & Schmidhuber 1997",
            [0.02, 1.0 / 6.0],
            [late(&gated), moments(&answers).1],
            Tolerance::Each(vec![Tolerance::AtMost, Tolerance::Absolute(0.01)]),
        )
        .parts(["LSTM", lab.say("best constant", "最好的常数")]),
    );
    figures::adding(lab, chapter, &gated, &plain);
    chapter.method(lab.language().pick(
        format!(
            "C9.8: batches of {BATCH}, Adam at 0.01, gradients clipped at norm 1, forget biases 1, recurrent weights orthogonal at first (times 0.9 for tanh). The tanh network of the same \
             size, with the same sums, ends at {:.3}; that is reported and not claimed.",
            late(&plain)
        ),
        format!(
            "C9.8：每批 {BATCH} 个，Adam 学习率 0.01，梯度范数在 1 处截断，遗忘偏置为 1，循环权重初始为正交阵（tanh 网络再乘 0.9）。同样大小的 tanh 网络在同样的数据上最终为 \
             {:.3}；此值只作报告，不作论断。",
            late(&plain)
        ),
    ));
    Ok(())
}
