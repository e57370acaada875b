//! What is learned first, and what never: C2.5.

use super::figures;
use crate::device::Device;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, slope};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Init, Params};
use crate::ntk::FullyConnected;
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;
use std::f64::consts::TAU;

const POINTS: usize = 64;
const STEPS: usize = 60;
const RATE: f64 = 1.0;

/// C2.5: Fourier modes on the circle.
pub(super) fn circle(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let n = 16384usize;
    let angle = |j: usize| TAU * j as f64 / POINTS as f64;
    let wave = |k: usize| (0..POINTS).map(move |j| (k as f64 * angle(j)).cos());
    let plane: Vec<f64> = (0..POINTS).flat_map(|j| [angle(j).cos(), angle(j).sin()]).collect();
    let exact = Tensor::from_slice(&Device::cpu(), &plane, [POINTS, 2])?;
    let row = FullyConnected::relu(1).kernels(&exact.slice(0, 0, 1)?, &exact)?.ntk.to_f64()?;
    let eigenvalue = |k: usize| row.iter().zip(wave(k)).map(|(t, c)| t * c).sum::<f64>() / POINTS as f64;
    let blind = largest((1..POINTS / 4).map(|k| eigenvalue(2 * k + 1)));

    // Units come in pairs of equal weights and opposite readouts: the network starts as zero.
    let params = Params::new(lab.device(), lab.seed());
    let inputs = if lab.with("bias-free") { 2 } else { 3 };
    let (w, a) = (
        params.parameter("hidden", [inputs, n], Init::Zeros)?,
        params.parameter("readout", [n, 1], Init::Zeros)?,
    );
    let (half_w, half_a) = (lab.normal(250, [inputs, n / 2])?, lab.normal(251, [n / 2, 1])?);
    w.set(&Tensor::concat(&[&half_w, &half_w], 1)?)?;
    a.set(&Tensor::concat(&[&half_a, &half_a.neg()?], 0)?)?;
    let features: Vec<f32> =
        plane.chunks(2).flat_map(|p| [p[0] as f32, p[1] as f32, 1.0].into_iter().take(inputs)).collect();
    let x = Tensor::from_slice(lab.device(), &features, [POINTS, inputs])?;
    let target: Vec<f32> =
        (0..POINTS).map(|j| (1..=4).map(|k| (k as f64 * angle(j)).cos()).sum::<f64>() as f32).collect();
    let y = Tensor::from_slice(lab.device(), &target, [POINTS, 1])?;
    let mut sgd = Sgd::new(&params, RATE)?;
    let mut outputs = Vec::new();
    for step in 0..STEPS {
        let h = x.matmul(&w.get())?.relu()?.mul_scalar((2.0 / n as f64).sqrt())?;
        let f = h.matmul(&a.get())?;
        let loss = f.sub(&y)?.square()?.mean(&[], false)?.mul_scalar(0.5)?;
        sgd.step(&loss.backward()?)?;
        outputs.push(f.detach());
        lab.progress(step as u64 + 1, STEPS as u64);
    }
    let all = Tensor::stack(&outputs.iter().collect::<Vec<_>>(), 0)?.to_f64()?;
    let coefficient = |k: usize| -> Vec<f64> {
        all.chunks(POINTS)
            .map(|f| 2.0 / POINTS as f64 * f.iter().zip(wave(k)).map(|(f, c)| f * c).sum::<f64>())
            .collect()
    };
    // The slope of ln |1 − c_k| over the steps where it is a straight line above rounding.
    let rate = |k: usize, until: usize| {
        let left: Vec<f64> = coefficient(k)[5..until].iter().map(|c| (1.0 - c).abs()).collect();
        let steps: Vec<f64> = (5..until).map(|t| (t as f64).exp()).collect();
        slope(&steps, &left)
    };
    let predicted = |k: usize| (1.0 - RATE * eigenvalue(k)).ln();
    chapter.claim(
        Claim::check(
            "C2.5",
            lab.say(
                "On the circle the kernel's eigenvalues of odd k ≥ 3 are zero, a network of 16384 units learns nothing of \
                 cos 3θ in 60 steps, and modes 2 and 4 decay at the rates ln(1 − ηλ_k)",
                "在圆周上，奇数 k ≥ 3 的特征值为零；16384 个单元的网络训练 60 步，丝毫学不到 cos 3θ；分量 2 与 4 按 ln(1 − ηλ_k) 的速率衰减",
            ),
            "Bietti & Mairal 2019; Basri et al. 2019",
            [0.0, 0.0, predicted(2), predicted(4)],
            [blind, largest(coefficient(3)), rate(2, 10), rate(4, 30)],
            Tolerance::Each(vec![
                Tolerance::Absolute(1e-12),
                Tolerance::Absolute(1e-5),
                Tolerance::Relative(0.1),
                Tolerance::Relative(0.1),
            ]),
        )
        .parts([
            lab.say("largest odd eigenvalue, k ≥ 3", "最大的奇数特征值，k ≥ 3"),
            lab.say("largest coefficient of cos 3θ", "cos 3θ 的最大系数"),
            lab.say("rate of cos 2θ", "cos 2θ 的速率"),
            lab.say("rate of cos 4θ", "cos 4θ 的速率"),
        ]),
    );
    let curves: Vec<_> = (1..=4).map(|k| (k, coefficient(k), 1.0 - RATE * eigenvalue(k))).collect();
    figures::modes(lab, chapter, &curves);
    Ok(())
}
