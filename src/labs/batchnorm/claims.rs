//! The claims that are identities: C5.1, C5.2, C5.3, C5.6, C5.7.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest, moments, singular_values};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Series};
use crate::nn::{BatchNorm, Mode, Params};
use crate::tensor::Tensor;

/// The identities of this chapter hold to this share of Σ|terms| in f32.
const ROUNDING: f64 = 1e-5;
/// An ε that vanishes in the rounding.
pub(super) const NO_EPS: f64 = 1e-30;

/// x `[m, C]` with each column normalised over the batch. This is what the chapter is about, so what it can
/// do without is taken out here: then the same is composed from mean and variance.
pub(super) fn normalised(lab: &Lab, x: &Tensor, eps: f64) -> Result<Tensor> {
    let (biased, through) = (lab.with("biased-variance"), lab.with("statistics-gradient"));
    if biased && through {
        let vector = |value: f64| Tensor::full(x.device(), x.dtype(), [x.shape()[1]], value);
        return Ok(x.batch_norm(&vector(1.0)?, &vector(0.0)?, eps)?.y);
    }
    let (mut mean, mut var) = (x.mean(&[0], true)?, x.var(&[0], usize::from(!biased), true)?);
    if !through {
        (mean, var) = (mean.detach(), var.detach());
    }
    x.sub(&mean)?.mul(&var.add_scalar(eps)?.rsqrt()?)
}

/// The columns of a matrix `[m, C]`.
fn columns(matrix: &Tensor) -> Result<Vec<Vec<f64>>> {
    let (values, c) = (matrix.to_f64()?, matrix.shape()[1]);
    Ok((0..c).map(|j| values.iter().skip(j).step_by(c).copied().collect()).collect())
}

/// C5.1: what ε leaves of the variance.
pub(super) fn variance(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let eps = 1e-5;
    let scales: Vec<f32> = (-4..4).map(|k| 10f32.powi(k)).collect();
    let scale = Tensor::from_slice(lab.device(), &scales, [1, scales.len()])?;
    let x = lab.normal(510, [256, scales.len()])?.add_scalar(3.0)?.mul(&scale)?;
    let before: Vec<f64> = columns(&x)?.iter().map(|column| moments(column).1).collect();
    let after: Vec<f64> =
        columns(&normalised(lab, &x, eps)?)?.iter().map(|column| moments(column).1).collect();
    let predicted = |v: f64| v / (v + eps);
    let apart = largest(before.iter().zip(&after).map(|(&v, a)| a / predicted(v) - 1.0));
    let curve = (0..=100).map(|k| 10f64.powf(-4.0 + 0.07 * f64::from(k))).map(|s| (s, predicted(s * s)));
    chapter
        .claim(
            Claim::check(
                "C5.1",
                lab.say(
                    "A batch of variance v has variance v/(v + ε) after normalisation, for deviations from 10⁻⁴ to 10³ \
                     (largest relative difference)",
                    "方差为 v 的一批数据，归一化后方差为 v/(v + ε)；标准差从 10⁻⁴ 到 10³（最大相对偏差）",
                ),
                "Ioffe & Szegedy 2015",
                0.0,
                apart,
                Tolerance::Absolute(ROUNDING),
            )
            .formula(r"\operatorname{Var} \hat{x} = \frac{v}{v + \epsilon}"),
        )
        .figure(
            Figure::new(
                lab.say("What ε does", "ε 的作用"),
                Plot::new(
                    Axis::new(lab.say("standard deviation before", "归一化前的标准差")).log(),
                    Axis::new(lab.say("variance after", "归一化后的方差")),
                )
                .series(Series::line("v/(v + ε), ε = 10⁻⁵", curve).colour(1).dashed())
                .series(
                    Series::scatter(
                        lab.say("measured", "实测"),
                        before.iter().map(|v| v.sqrt()).zip(after.iter().copied()),
                    )
                    .colour(0),
                ),
            )
            .caption(lab.say(
                "A unit that hardly varies over the batch is not blown up to variance one: below $\\sqrt{\\epsilon}$ \
                 it is left small.",
                "在一批数据中几乎不变的单元不会被放大到方差 1：标准差低于 $\\sqrt{\\epsilon}$ 时，它仍然很小。",
            ))
            .alt(lab.say(
                "Variance after normalisation against the deviation before: zero below 0.001, one above 0.01, on the curve",
                "归一化后的方差随归一化前标准差的变化：0.001 以下为零，0.01 以上为一，各点都落在曲线上",
            )),
        );
    Ok(())
}

/// C5.2: the loss does not see the length of the weights.
pub(super) fn scale_invariance(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let cpu = Device::cpu();
    let (x, w, u) = (lab.normal(520, [64, 16])?, lab.normal(521, [16, 8])?, lab.normal(522, [64, 8])?);
    // Loss, gradient, and Σ|terms| of the loss.
    let at = |device: &Device, factor: f64, eps: f64| -> Result<(f64, Vec<f64>, f64)> {
        let [x, u, w] = [&x, &u, &w].map(|t| t.to_device(device));
        let w = w?.mul_scalar(factor)?.variable()?;
        let terms = normalised(lab, &x?.matmul(&w)?, eps)?.tanh()?.mul(&u?)?;
        let loss = terms.sum(&[], false)?;
        let size = terms.abs()?.sum(&[], false)?.item()?;
        Ok((loss.item()?, loss.backward()?.get(&w)?.to_f64()?, size))
    };
    let norm = |v: &[f64]| dot(v, v).sqrt();
    let column = |v: &[f64], j: usize| v.iter().skip(j).step_by(8).copied().collect::<Vec<f64>>();
    let weights = w.to_f64()?;
    let mut measured = Vec::new();
    for eps in [NO_EPS, 1e-5] {
        let ((l1, g1, size), (l7, g7, _)) = (at(lab.device(), 1.0, eps)?, at(lab.device(), 7.0, eps)?);
        let gap: Vec<f64> = g7.iter().zip(&g1).map(|(g7, g1)| 7.0 * g7 - g1).collect();
        let cosines = (0..8).map(|j| (column(&weights, j), column(&g1, j)));
        let cosine = largest(cosines.map(|(w, g)| dot(&w, &g) / (norm(&w) * norm(&g))));
        measured.extend([(l7 - l1).abs() / size, norm(&gap) / norm(&g1), cosine]);
    }
    let ((l1, g1, _), (l8, g8, _)) = (at(&cpu, 1.0, NO_EPS)?, at(&cpu, 8.0, NO_EPS)?);
    let bits = largest(g8.iter().zip(&g1).map(|(g8, g1)| 8.0 * g8 - g1)).max((l8 - l1).abs());
    let source = "Ioffe & Szegedy 2015; van Laarhoven 2017; Arora et al. 2019";
    chapter
        .claim(
            Claim::check(
                "C5.2",
                lab.say(
                    "With weights seven times as large the loss is the same and the gradient a seventh, and each unit's \
                     gradient is orthogonal to its weights: up to rounding without ε, up to O(ε/σ²) with it",
                    "权重放大七倍，损失不变，梯度变为七分之一，且每个单元的梯度与其权重正交：无 ε 时只差舍入误差，有 ε 时差 O(ε/σ²)",
                ),
                source,
                0.0,
                measured,
                Tolerance::Absolute(ROUNDING),
            )
            .parts(lab.language().pick(
                [
                    "ε = 0: loss",
                    "ε = 0: gradient",
                    "ε = 0: cosine of w and gradient",
                    "ε = 1e-5: loss",
                    "ε = 1e-5: gradient",
                    "ε = 1e-5: cosine of w and gradient",
                ],
                [
                    "ε = 0：损失",
                    "ε = 0：梯度",
                    "ε = 0：w 与梯度夹角的余弦",
                    "ε = 1e-5：损失",
                    "ε = 1e-5：梯度",
                    "ε = 1e-5：w 与梯度夹角的余弦",
                ],
            ))
            .formula(r"L(aW) = L(W), \quad a \nabla L(aW) = \nabla L(W), \quad w_j ⊥ \nabla_{w_j} L"),
        )
        .claim(Claim::check(
            "C5.2.bits",
            lab.say(
                "Scaling by eight changes no bit of the loss and of eight times the gradient (CPU reference)",
                "放大八倍时，损失以及八倍的梯度逐位相同（CPU 参考实现）",
            ),
            source,
            0.0,
            bits,
            Tolerance::Exact,
        ));
    Ok(())
}

/// C5.3: the Jacobian, and what it does to the length of a gradient.
pub(super) fn jacobian(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (m, eps) = (16, 1e-3);
    let x = lab.normal(530, [m, 1])?;
    let v = moments(&x.to_f64()?).1;
    // The same column m times over: with the identity as the cotangent, one pass back gives every row.
    let copies = x.broadcast_to([m, m])?.contiguous()?.variable()?;
    let identity = Tensor::ones(lab.device(), [m, m])?.tril(0)?.triu(0)?;
    let rows = normalised(lab, &copies, eps)?.pull_back(&identity, &[&copies])?.swap_remove(0);
    let jacobian = rows.to_f64()?;
    let skew = largest((0..m * m).map(|k| jacobian[k] - jacobian[k % m * m + k / m]));
    // Symmetric and positive semidefinite: the singular values are the eigenvalues.
    let values: Vec<f64> = singular_values(&jacobian, m).iter().map(|s| s * (v + eps).sqrt()).collect();
    let parts = lab.language().pick(
        [
            "the m − 2 others, largest",
            "the m − 2 others, smallest",
            "along x̂: ε/(v + ε)",
            "along 1",
            "asymmetry",
        ],
        ["其余 m − 2 个，最大", "其余 m − 2 个，最小", "沿 x̂ 方向：ε/(v + ε)", "沿全一方向", "非对称部分"],
    );
    let source = "Santurkar et al. 2018; Ioffe & Szegedy 2015";
    chapter.claim(
        Claim::check(
            "C5.3",
            lab.say(
                "The Jacobian of batch norm, times √(v + ε), is symmetric with the eigenvalue 1 on m − 2 directions, \
                 ε/(v + ε) along x̂ and 0 along the ones (m = 16, ε = 10⁻³)",
                "批归一化的雅可比矩阵乘以 √(v + ε) 后是对称矩阵：在 m − 2 个方向上特征值为 1，沿 x̂ 为 ε/(v + ε)，沿全一方向为 0\
                 （m = 16，ε = 10⁻³）",
            ),
            source,
            [1.0, 1.0, eps / (v + eps), 0.0, 0.0],
            [values[0], values[m - 3], values[m - 2], values[m - 1], skew],
            Tolerance::Absolute(1e-6),
        )
        .parts(parts),
    );
    smoothing(lab, chapter, &x, source)
}

/// C5.3, second part: Σdx = 0, Σdx⊙x̂ = 0 and the length of dx, without ε.
fn smoothing(lab: &Lab, chapter: &mut Chapter, x: &Tensor, source: &str) -> Result<()> {
    let m = x.count() as f64;
    let (input, dy) = (x.variable()?, lab.normal(531, *x.shape())?);
    let y = normalised(lab, &input, NO_EPS)?;
    let dx = y.pull_back(&dy, &[&input])?.swap_remove(0).to_f64()?;
    let (dy, hat, v) = (dy.to_f64()?, y.to_f64()?, moments(&x.to_f64()?).1);
    let size: f64 = dx.iter().map(|d| d.abs()).sum();
    let sum: f64 = dx.iter().sum();
    let lost = (dy.iter().sum::<f64>().powi(2) + dot(&dy, &hat).powi(2)) / m;
    let predicted = (dot(&dy, &dy) - lost) / v;
    chapter.claim(
        Claim::check(
            "C5.3.smoothing",
            lab.say(
                "Without ε the gradient dx has no part along 1 and along x̂ (as a share of Σ|dx|), and its length is \
                 what the projection leaves: equality in the smoothing bound",
                "无 ε 时，梯度 dx 沿全一方向与 x̂ 方向的分量为零（相对于 Σ|dx|），其长度恰为投影后所余：平滑不等式取等号",
            ),
            source,
            [0.0, 0.0, 1.0],
            [sum / size, dot(&dx, &hat) / size, dot(&dx, &dx) / predicted],
            Tolerance::Absolute(ROUNDING),
        )
        .parts(["Σdx", "Σdx⊙x̂", lab.say("‖dx‖² / predicted", "‖dx‖² / 预测值")])
        .formula(r"\|dx\|^2 = \frac{1}{v} \left( \|dy\|^2 - \frac{(\sum dy)^2}{m} - \frac{\langle dy, \hat{x} \rangle^2}{m} \right)"),
    );
    Ok(())
}

/// C5.6: a batch of two knows nothing but which of the two is larger.
pub(super) fn pairs(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (x, dy) = (lab.normal(560, [2, 64])?, lab.normal(561, [2, 64])?);
    let back = |x: &Tensor, dy: &Tensor, eps: f64| -> Result<(Vec<f64>, Vec<f64>)> {
        let x = x.variable()?;
        let y = normalised(lab, &x, eps)?;
        Ok((y.to_f64()?, y.pull_back(dy, &[&x])?.swap_remove(0).to_f64()?))
    };
    let (hat, dx) = back(&x, &dy, NO_EPS)?;
    let (xs, ds) = (x.to_f64()?, dy.to_f64()?);
    let deviation = |c: usize| (xs[c] - xs[c + 64]).abs() / 2.0;
    let length = |c: usize| ds[c].hypot(ds[c + 64]);
    let zero = largest((0..128).map(|i| dx[i] * deviation(i % 64) / length(i % 64)));
    let off = largest(hat.iter().map(|h| h.abs() - 1.0));
    // With ε the gradient is what cancellation leaves of order ε: f64 alone can tell it.
    let eps = 1e-5;
    let wide = |t: &Tensor| t.to_device(&Device::cpu())?.to_dtype(DType::F64);
    let (_, small) = back(&wide(&x)?, &wide(&dy)?, eps)?;
    let form = |c: usize| (ds[c] - ds[c + 64]) / 2.0 * eps / (deviation(c).powi(2) + eps).powf(1.5);
    let apart = largest((0..64).map(|c| small[c] / form(c) - 1.0));
    chapter.claim(
        Claim::check(
            "C5.6",
            lab.say(
                "A batch of two becomes ±1, and no gradient passes (as a share of ‖dy‖/σ); what ε lets through is \
                 ½(dy₁ − dy₂)·ε/(v + ε)^(3/2) (f64)",
                "只有两个数的一批归一化为 ±1，梯度无法通过（相对于 ‖dy‖/σ）；ε 放过的部分为 ½(dy₁ − dy₂)·ε/(v + ε)^(3/2)（f64）",
            ),
            lab.say("corollary of C5.3", "C5.3 的推论"),
            0.0,
            [off, zero, apart],
            Tolerance::Each(vec![
                Tolerance::Absolute(ROUNDING),
                Tolerance::Absolute(ROUNDING),
                Tolerance::Absolute(1e-6),
            ]),
        )
        .parts([
            "|x̂| − 1",
            lab.say("gradient without ε", "无 ε 时的梯度"),
            lab.say("gradient with ε, relative", "有 ε 时的梯度（相对偏差）"),
        ]),
    );
    Ok(())
}

/// C5.7: what is left of it when the network is used.
pub(super) fn inference(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (inputs, outputs, eps) = (32, 16, 1e-5);
    let (x, w) = (lab.normal(570, [64, inputs])?, lab.normal(571, [inputs, outputs])?);
    let vector = |stream: u64| lab.uniform(stream, [outputs])?.mul_scalar(1.5)?.add_scalar(0.5);
    let (bias, mean, var) = (lab.normal(572, [outputs])?, vector(573)?, vector(574)?);
    let (gamma, beta) = (vector(575)?, vector(576)?);
    let apart = x.matmul_bias(&w, &bias)?.batch_norm_inference(&gamma, &beta, &mean, &var, eps)?.to_f64()?;
    let scale = gamma.mul(&var.add_scalar(eps)?.rsqrt()?)?;
    let (weight, shift) = (w.mul(&scale)?, bias.sub(&mean)?.mul(&scale)?);
    let folded = x.matmul_bias(&weight, &shift.add(&beta)?)?.to_f64()?;
    let sums = x.abs()?.matmul_bias(&weight.abs()?, &shift.abs()?.add(&beta.abs()?)?)?.to_f64()?;
    let gap = largest(apart.iter().zip(&folded).zip(&sums).map(|((a, b), s)| (a - b) / s));
    // Batches that are 2 and 4 in turn: mean 3, biased variance 1, unbiased 64/63.
    let (steps, m) = (50, 64);
    let layer = BatchNorm::new(&Params::new(lab.device(), lab.seed()), 1)?;
    let batch: Vec<f32> = (0..m).map(|i| if i % 2 == 0 { 2.0 } else { 4.0 }).collect();
    let batch = Tensor::from_slice(lab.device(), &batch, [m, 1])?;
    for step in 0..steps {
        layer.forward(&batch, Mode::Step(step))?;
    }
    let old = (1.0 - layer.options.momentum).powi(steps as i32);
    let unbiased = m as f64 / (m - 1) as f64;
    chapter
        .claim(Claim::check(
            "C5.7",
            lab.say(
                "To judge, batch norm folds into the linear layer before it: W → Wγ/√(v + ε), b → (b − μ)γ/√(v + ε) + β \
                 (largest difference, as a share of Σ|terms|)",
                "推断时，批归一化可并入它前面的线性层：W → Wγ/√(v + ε)，b → (b − μ)γ/√(v + ε) + β（最大偏差，相对于 Σ|各项|）",
            ),
            "Ioffe & Szegedy 2015",
            0.0,
            gap,
            Tolerance::Absolute(5e-7),
        ))
        .claim(
            Claim::check(
                "C5.7.running",
                lab.say(
                    "After 50 equal batches the running mean has come 1 − (1 − 0.1)⁵⁰ of the way from 0, and the \
                     running (unbiased) variance as far from 1",
                    "经过 50 个相同的批次，滑动均值从 0 走过了全程的 1 − (1 − 0.1)⁵⁰，滑动（无偏）方差从 1 出发也走过同样的比例",
                ),
                lab.say("geometric series", "等比级数"),
                [3.0 * (1.0 - old), old + unbiased * (1.0 - old)],
                [layer.running_mean.get().item()?, layer.running_var.get().item()?],
                Tolerance::Relative(ROUNDING),
            )
            .parts(lab.language().pick(["mean", "variance"], ["均值", "方差"])),
        );
    Ok(())
}
