//! The claims about one layer: C7.1, C7.4, C7.5, C7.8.

use super::figures;
use crate::device::Device;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest, moments, slope};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::ops::Stream;
use crate::tensor::Tensor;
use std::f64::consts::PI;

/// The identities of this chapter hold to this share of Σ|terms| in f32.
pub(super) const ROUNDING: f64 = 1e-5;

/// x with some of it left out. This is what the chapter is about; without its scale it is the sabotage.
pub(super) fn dropped(lab: &Lab, x: &Tensor, p: f64, stream: Stream) -> Result<Tensor> {
    let y = x.dropout(p, stream)?;
    if lab.with("dropout-scale") { Ok(y) } else { y.mul_scalar(1.0 - p) }
}

/// All masks of d units, `[2^d, d]`, and the probability of each.
pub(super) fn all_masks(device: &Device, d: usize, p: f64) -> Result<(Tensor, Vec<f64>)> {
    let bits: Vec<f32> = (0..d << d).map(|k| ((k / d) >> (k % d) & 1) as f32).collect();
    let probability = |mask: &[f32]| {
        let kept: f32 = mask.iter().sum();
        (1.0 - p).powi(kept as i32) * p.powi(d as i32 - kept as i32)
    };
    let probabilities = bits.chunks(d).map(probability).collect();
    Ok((Tensor::from_slice(device, &bits, [1 << d, d])?, probabilities))
}

/// C7.1: mean and variance of a linear unit, and what an average over masks errs by.
pub(super) fn expectation(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (d, p) = (10, 0.3);
    let (w, x) = (lab.normal(710, [d, 1])?, lab.normal(711, [1, d])?);
    let terms: Vec<f64> = w.to_f64()?.iter().zip(x.to_f64()?).map(|(w, x)| w * x).collect();
    let (exact, size) = (terms.iter().sum::<f64>(), terms.iter().map(|t| t.abs()).sum::<f64>());
    let predicted = p / (1.0 - p) * dot(&terms, &terms);
    let (masks, probabilities) = all_masks(lab.device(), d, p)?;
    let scale = if lab.with("dropout-scale") { 1.0 / (1.0 - p) } else { 1.0 };
    let outputs = masks.mul(&x)?.mul_scalar(scale)?.matmul(&w)?.to_f64()?;
    let mean = dot(&probabilities, &outputs);
    let away: Vec<f64> = outputs.iter().map(|f| (f - mean).powi(2)).collect();
    let (repeats, counts) = (400, [16, 64, 256, 1024]);
    let mut errors = Vec::new();
    for (k, count) in (0..).zip(counts) {
        let copies = x.broadcast_to([repeats * count, d])?;
        let drawn = dropped(lab, &copies, p, lab.stream(712 + k))?.matmul(&w)?;
        let means = drawn.reshape([repeats, count])?.mean(&[1], false)?.to_f64()?;
        errors.push((means.iter().map(|m| (m - exact).powi(2)).sum::<f64>() / repeats as f64).sqrt());
    }
    let counts = counts.map(|c| c as f64);
    let source = "Srivastava et al. 2014; Wager et al. 2013";
    chapter
        .claim(
            Claim::check(
                "C7.1",
                lab.say(
                    "Over all 1024 masks the mean of a linear unit is its value without dropout (difference as a share \
                     of Σ|terms|), its variance p/(1 − p)·Σ w²x² (ratio)",
                    "对全部 1024 个掩码，线性单元的均值等于不失活时的值（偏差相对于 Σ|各项|），方差等于 p/(1 − p)·Σ w²x²（比值）",
                ),
                source,
                [0.0, 1.0],
                [(mean - exact) / size, dot(&probabilities, &away) / predicted],
                Tolerance::Absolute(ROUNDING),
            )
            .parts(lab.language().pick(["mean", "variance"], ["均值", "方差"]))
            .formula(r"\operatorname{Var} = \frac{p}{1 - p} \sum_i w_i^2 x_i^2"),
        )
        .claim(Claim::check(
            "C7.1.average",
            lab.say(
                "The average over M masks errs by sd/√M: exponent of the error in M, from 16 to 1024, 400 averages each",
                "对 M 个掩码取平均，误差为标准差除以 √M：误差关于 M 的幂指数，M 从 16 到 1024，各做 400 次平均",
            ),
            source,
            -0.5,
            slope(&counts, &errors),
            Tolerance::Absolute(0.05),
        ));
    Ok(())
}

/// C7.4: the scaled softmax is the geometric mean; squared error of an ensemble.
pub(super) fn geometric_mean(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (d, classes, p) = (10, 5, 0.5);
    let (x, w) = (lab.normal(740, [1, d])?, lab.normal(741, [d, classes])?);
    let b = lab.normal(742, [classes])?;
    let (masks, _) = all_masks(lab.device(), d, p)?; // all equally likely for p = ½
    let logs = masks.mul(&x)?.matmul_bias(&w, &b)?.log_softmax(-1)?;
    let members = logs.exp()?;
    let mean = members.mean(&[0], true)?;
    let centre =
        if lab.with("dropout-geometric-mean") { logs.mean(&[0], true)?.softmax(-1)? } else { mean.clone() };
    let scaled = x.mul_scalar(1.0 - p)?.matmul_bias(&w, &b)?.softmax(-1)?;
    let gap = largest(centre.sub(&scaled)?.to_f64()?);
    let target = Tensor::from_slice(lab.device(), &[0.0f32, 0.0, 1.0, 0.0, 0.0], [1, classes])?;
    let error = |a: &Tensor, b: &Tensor| a.sub(b)?.square()?.sum(&[-1], false)?.mean(&[], false)?.item();
    let (alone, apart, together) =
        (error(&members, &target)?, error(&members, &mean)?, error(&mean, &target)?);
    chapter
        .claim(Claim::check(
            "C7.4",
            lab.say(
                "The softmax of the weight-scaled layer is the normalised geometric mean of the 1024 masked ones \
                 (largest difference of a probability)",
                "缩放权重后的 softmax 等于 1024 个掩码 softmax 的归一化几何平均（概率的最大偏差）",
            ),
            "Hinton et al. 2012; Baldi & Sadowski 2013",
            0.0,
            gap,
            Tolerance::Absolute(ROUNDING),
        ))
        .claim(
            Claim::check(
                "C7.4.ambiguity",
                lab.say(
                    "The squared error of the averaged prediction is the mean error of the members less their spread \
                     (difference, as a share of the mean error)",
                    "平均预测的平方误差等于各成员的平均误差减去它们的分散（偏差相对于平均误差）",
                ),
                "Krogh & Vedelsby 1995",
                0.0,
                (together - (alone - apart)) / alone,
                Tolerance::Absolute(ROUNDING),
            )
            .formula(r"(\bar{f} - y)^2 = \operatorname{E} (f_M - y)^2 - \operatorname{E} (f_M - \bar{f})^2"),
        );
    Ok(())
}

/// Φ.
fn normal_below(t: f64) -> f64 {
    0.5 * (1.0 + libm::erf(t / 2f64.sqrt()))
}

/// E relu(z + sξ).
pub(super) fn relu_mean(z: f64, s: f64) -> f64 {
    z * normal_below(z / s) + s * (-0.5 * (z / s).powi(2)).exp() / (2.0 * PI).sqrt()
}

/// C7.5: the mean of a relu behind dropout.
pub(super) fn through_relu(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, p, chunk, chunks) = (512, 0.5, 10_000, 4);
    let w = lab.normal(750, [n, 1])?.mul_scalar(1.0 / (n as f64).sqrt())?;
    let start = lab.normal(751, [1, n])?;
    let (weights, inputs) = (w.to_f64()?, start.to_f64()?);
    let (at, length) = (dot(&weights, &inputs), dot(&weights, &weights));
    let (mut predicted, mut measured, mut deviations) = (Vec::new(), Vec::new(), Vec::new());
    let heights = [-1.0, 0.0, 1.0];
    for (k, z) in (0..).zip(heights) {
        // Moved along w until w·x = z.
        let x: Vec<f64> = inputs.iter().zip(&weights).map(|(x, w)| x - w * (at - z) / length).collect();
        let terms: Vec<f64> = x.iter().zip(&weights).map(|(x, w)| x * w).collect();
        let s = (p / (1.0 - p) * dot(&terms, &terms)).sqrt();
        let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let copies = Tensor::from_slice(lab.device(), &narrow, [1, n])?.broadcast_to([chunk, n])?;
        let mut sum = 0.0;
        for part in 0..chunks {
            lab.progress(k * chunks + part, 3 * chunks);
            let stream = lab.stream(752 + part);
            sum += dropped(lab, &copies, p, stream)?.matmul(&w)?.relu()?.mean(&[], false)?.item()?;
        }
        measured.push(sum / chunks as f64);
        predicted.push(relu_mean(z, s));
        deviations.push(s);
    }
    figures::relu(lab, chapter, &heights, &measured, moments(&deviations).0);
    chapter.claim(
        Claim::check(
            "C7.5",
            lab.say(
                "Behind dropout of 512 inputs the mean of a relu is z·Φ(z/s) + s·φ(z/s), not relu(z): 40 000 masks, p = ½",
                "512 个输入经随机失活后，relu 的均值为 z·Φ(z/s) + s·φ(z/s)，而不是 relu(z)：40 000 个掩码，p = ½",
            ),
            "Wang & Manning 2013",
            predicted,
            measured,
            Tolerance::Absolute(0.015),
        )
        .parts(["z = −1", "z = 0", "z = 1"]),
    );
    Ok(())
}

/// C7.8: the divergence that variational dropout minimises, and the formula used for it.
pub(super) fn variational(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let points = 400_000;
    // Midpoints on [−12, 12]: no point lies on the logarithm's pole by symmetry.
    let at = |i: usize| -12.0 + 24.0 * (i as f64 + 0.5) / points as f64;
    let xs: Vec<f32> = (0..points).map(|i| at(i) as f32).collect();
    let density: Vec<f64> = (0..points).map(|i| (-0.5 * at(i).powi(2)).exp()).collect();
    let total: f64 = density.iter().sum();
    let weights: Vec<f32> = density.iter().map(|d| (d / total) as f32).collect();
    let x = Tensor::from_slice(lab.device(), &xs, [points])?;
    let weights = Tensor::from_slice(lab.device(), &weights, [points])?;
    // E ln|shift + slope·ξ|.
    let mean_log = |shift: f64, slope: f64| -> Result<f64> {
        let inside = x.mul_scalar(slope)?.add_scalar(shift)?.abs()?.clamp(1e-30, 1e30)?;
        inside.ln()?.mul(&weights)?.sum(&[], false)?.item()
    };
    // E ln|ξ| = −(γ + ln 2)/2, with Euler's γ: known, so what the quadrature errs by at its worst is measured.
    let constant = -(0.577_215_664_901_532_9 + 2f64.ln()) / 2.0;
    let found = mean_log(0.0, 1.0)?;
    let sigmoid = |t: f64| 1.0 / (1.0 + (-t).exp());
    let fit = |ln_alpha: f64| {
        0.63576 * sigmoid(1.87320 + 1.48695 * ln_alpha) - 0.5 * (-ln_alpha).exp().ln_1p() - 0.63576
    };
    let mut curve = Vec::new();
    for k in 0..40 {
        lab.progress(k, 40);
        let ln_alpha = -6.0 + 9.0 * k as f64 / 39.0;
        let exact = 0.5 * ln_alpha - mean_log(1.0, (0.5 * ln_alpha).exp())? + constant;
        curve.push((ln_alpha, exact, fit(ln_alpha)));
    }
    let worst = largest(curve.iter().map(|(_, exact, fit)| exact - fit));
    figures::divergence(lab, chapter, &curve);
    chapter.claim(
        Claim::check(
            "C7.8",
            lab.say(
                "For the posterior N(1, α) and the log-uniform prior the formula k₁σ(k₂ + k₃ ln α) − ½ ln(1 + 1/α) − k₁ \
                 is within 0.01 of −KL for ln α from −6 to 3 (the quadrature's own error added); E ln|ξ| as computed",
                "对后验 N(1, α) 与对数均匀先验，当 ln α 从 −6 到 3 时，公式 k₁σ(k₂ + k₃ ln α) − ½ ln(1 + 1/α) − k₁ 与 −KL 相差不超过 0.01\
                 （已计入求积自身的误差）；并列出算得的 E ln|ξ|",
            ),
            "Molchanov et al. 2017; Kingma et al. 2015",
            [0.01, constant],
            [worst + (found - constant).abs(), found],
            Tolerance::Each(vec![Tolerance::AtMost, Tolerance::Absolute(1e-4)]),
        )
        .parts([lab.say("largest difference", "最大偏差"), "E ln|ξ|"])
        .formula(r"-\mathrm{KL}(\alpha) = \frac{1}{2} \ln \alpha - \operatorname{E} \ln | 1 + \sqrt{\alpha} \xi | - \frac{\gamma + \ln 2}{2}"),
    );
    Ok(())
}
