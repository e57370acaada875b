//! C7.2 and C7.3: dropout as a penalty on the weights.

use super::claims::{ROUNDING, all_masks, dropped};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, slope};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Init, Mode, Params};
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;

/// The solution of A·w = b for a positive definite A, in f64.
pub(super) fn solve(a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
    let (cpu, n) = (Device::cpu(), b.len());
    let factor = Tensor::from_slice(&cpu, a, [n, n])?.cholesky()?;
    factor.cholesky_solve(&Tensor::from_slice(&cpu, b, [n, 1])?)?.to_f64()
}

/// XᵀX, and Xᵀy, in f64.
pub(super) fn normal_equations(x: &Tensor, y: &Tensor) -> Result<(Vec<f64>, Vec<f64>)> {
    let wide = |t: &Tensor| t.to_device(&Device::cpu())?.to_dtype(DType::F64);
    let (x, y) = (wide(x)?, wide(y)?);
    Ok((x.t()?.matmul(&x)?.to_f64()?, x.t()?.matmul(&y)?.to_f64()?))
}

/// The ridge solution that dropout amounts to: (XᵀX + p/(1 − p)·diag XᵀX)⁻¹Xᵀy.
pub(super) fn dropout_ridge(gram: &[f64], right: &[f64], p: f64) -> Result<Vec<f64>> {
    let d = right.len();
    let mut ridge = gram.to_vec();
    (0..d).for_each(|j| ridge[j * d + j] *= 1.0 + p / (1.0 - p));
    solve(&ridge, right)
}

/// C7.2: dropout least squares is ridge regression.
pub(super) fn ridge(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, d, p) = (64, 8, 0.4);
    let sizes: Vec<f32> = (0..d).map(|j| 0.5 + 1.5 * j as f32 / (d - 1) as f32).collect();
    let x = lab.normal(720, [n, d])?.mul(&Tensor::from_slice(lab.device(), &sizes, [1, d])?)?;
    let y = x.matmul(&lab.normal(721, [d, 1])?)?.add(&lab.normal(722, [n, 1])?.mul_scalar(0.5)?)?;
    let (gram, right) = normal_equations(&x, &y)?;
    // The loss at a random w, by listing every mask of a row's eight inputs.
    let w = lab.normal(723, [d])?;
    let (masks, probabilities) = all_masks(lab.device(), d, p)?;
    let scale = if lab.with("dropout-scale") { 1.0 / (1.0 - p) } else { 1.0 };
    let outputs = masks.mul(&w)?.mul_scalar(scale)?.matmul(&x.t()?)?;
    let listed = outputs.sub(&y.reshape([1, n])?)?.square()?.sum(&[1], false)?.to_f64()?;
    let plain = x.matmul(&w.reshape([d, 1])?)?.sub(&y)?.square()?.sum(&[], false)?.item()?;
    let weights = w.to_f64()?;
    let penalty: f64 = (0..d).map(|j| gram[j * d + j] * weights[j].powi(2)).sum();
    let closed = plain + p / (1.0 - p) * penalty;
    let solution = dropout_ridge(&gram, &right, p)?;
    let free = solve(&gram, &right)?;
    let distance = |w: &[f64]| {
        let gap: Vec<f64> = w.iter().zip(&solution).map(|(a, b)| a - b).collect();
        (dot(&gap, &gap) / dot(&solution, &solution)).sqrt()
    };
    let mut found = Vec::new();
    for (kind, gaussian) in [(0, false), (1, true)] {
        found.push(distance(&descend(lab, &x, &y, p, gaussian, kind)?));
    }
    let source = "Srivastava et al. 2014; Wager et al. 2013";
    chapter
        .claim(Claim::check(
            "C7.2",
            lab.say(
                "The expected squared error over all masks is the error without dropout plus p/(1 − p)·wᵀdiag(XᵀX)w \
                 (ratio)",
                "对全部掩码的期望平方误差，等于不失活时的误差加上 p/(1 − p)·wᵀdiag(XᵀX)w（比值）",
            ),
            source,
            1.0,
            dot(&probabilities, &listed) / closed,
            Tolerance::Absolute(ROUNDING),
        ))
        .claim(
            Claim::check(
                "C7.2.sgd",
                lab.language().pick(
                    format!(
                        "SGD with fresh noise in every step, averaged, comes within 3 % of the ridge solution, for \
                         Bernoulli masks and for Gaussian noise N(1, p/(1 − p)) (plain least squares is {:.0} % away)",
                        100.0 * distance(&free)
                    ),
                    format!(
                        "每步使用新噪声的 SGD 取平均后，与岭回归解相差不到 3 %；伯努利掩码与高斯噪声 N(1, p/(1 − p)) 皆然\
                         （普通最小二乘解相距 {:.0} %）",
                        100.0 * distance(&free)
                    ),
                ),
                source,
                0.03,
                found,
                Tolerance::AtMost,
            )
            .parts(lab.language().pick(["Bernoulli", "Gaussian"], ["伯努利", "高斯"])),
        )
        .method(lab.say(
            "C7.2: 64 examples of 8 inputs whose sizes go from ½ to 2, p = 0.4; 2500 steps of full-batch gradient \
             descent at rate 0.05, averaged after the first quarter.",
            "C7.2：64 个样本，8 个输入，幅度从 ½ 到 2，p = 0.4；以学习率 0.05 做 2500 步全批量梯度下降，舍去前四分之一后取平均。",
        ));
    Ok(())
}

/// Gradient descent with multiplicative noise on the inputs; the average of the weights.
fn descend(lab: &Lab, x: &Tensor, y: &Tensor, p: f64, gaussian: bool, kind: u64) -> Result<Vec<f64>> {
    let steps = 2500;
    let params = Params::new(lab.device(), lab.seed());
    let w = params.parameter("w", [x.shape()[1], 1], Init::Zeros)?;
    let noise = params.randomness(if gaussian { "gaussian" } else { "masks" })?;
    let mut sgd = Sgd::new(&params, 0.05)?;
    let mut sum = w.get().detach();
    for step in 0..steps {
        let mode = Mode::Step(if lab.with("dropout-fresh-masks") { step } else { 0 });
        let Some(stream) = noise.stream("dropout", mode)? else { continue };
        let noisy = if gaussian {
            let xi = Tensor::normal(lab.device(), *x.shape(), stream)?;
            x.mul(&xi.mul_scalar((p / (1.0 - p)).sqrt())?.add_scalar(1.0)?)?
        } else {
            dropped(lab, x, p, stream)?
        };
        let loss = noisy.matmul(&w.get())?.sub(y)?.square()?.mean(&[], false)?.mul_scalar(0.5)?;
        sgd.step(&loss.backward()?)?;
        if step >= steps / 4 {
            sum = sum.add(&w.get().detach())?;
        }
        lab.progress(kind * steps + step, 2 * steps);
    }
    let count = (steps - steps / 4) as f64;
    Ok(sum.to_f64()?.iter().map(|s| s / count).collect())
}

/// C7.3: for logistic regression the penalty is Wager's quadratic one to second order.
pub(super) fn logistic(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, d, p) = (50, 10, 0.5);
    let cpu = Device::cpu();
    let wide = |t: Tensor| t.to_device(&cpu)?.to_dtype(DType::F64);
    let x = wide(lab.normal(730, [n, d])?)?;
    let direction = wide(lab.normal(731, [d])?)?.mul_scalar(1.0 / (d as f64).sqrt())?;
    let masks = wide(all_masks(&cpu, d, p)?.0)?.mul_scalar(1.0 / (1.0 - p))?;
    let total = |t: Tensor| t.sum(&[], false)?.item();
    let scales = [0.02, 0.04, 0.08, 0.16];
    let mut errors = Vec::new();
    for scale in scales {
        let beta = direction.mul_scalar(scale)?;
        let logits = x.matmul(&beta.reshape([d, 1])?)?;
        // All masks are equally likely for p = ½.
        let masked = masks.mul(&beta)?.matmul(&x.t()?)?.softplus()?.mean(&[0], false)?;
        let exact = total(masked)? - total(logits.softplus()?)?;
        let chance = logits.sigmoid()?;
        let curvature = chance.mul(&chance.mul_scalar(-1.0)?.add_scalar(1.0)?)?;
        let sizes = x.mul(&beta)?.square()?.sum(&[1], true)?;
        let quadratic = 0.5 * p / (1.0 - p) * total(curvature.mul(&sizes)?)?;
        errors.push((quadratic / exact - 1.0).abs());
    }
    chapter.claim(
        Claim::check(
            "C7.3",
            lab.say(
                "In logistic regression dropout costs ½p/(1 − p)·Σ pᵢ(1 − pᵢ)Σ x²β² up to a relative error of order β²: \
                 its exponent, and the error at |β| ≈ 0.02",
                "在逻辑回归中，随机失活的代价为 ½p/(1 − p)·Σ pᵢ(1 − pᵢ)Σ x²β²，相对误差为 β² 阶：误差的幂指数，以及 |β| ≈ 0.02 时的误差",
            ),
            "Wager et al. 2013",
            [2.0, 0.01],
            [slope(&scales, &errors), errors[0]],
            Tolerance::Each(vec![Tolerance::Absolute(0.15), Tolerance::Below]),
        )
        .parts(lab.language().pick(["exponent", "smallest error"], ["幂指数", "最小误差"])),
    );
    Ok(())
}
