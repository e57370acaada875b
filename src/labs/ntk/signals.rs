//! The size of signals in random networks: C2.6 and C2.7.

use super::figures;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host;
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::tensor::Tensor;
use std::f64::consts::LN_2;

/// C2.6: second and fourth moment after eight layers.
pub(super) fn moments(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (nets, n, layers) = (if lab.full() { 8000usize } else { 2000 }, 64usize, 8usize);
    let at_once = 500;
    let mut squares = Vec::with_capacity(nets);
    for part in 0..nets / at_once {
        // Any start of length one will do; this one is all equal.
        let start = 1.0 / (n as f64).sqrt();
        let mut h = Tensor::ones(lab.device(), [at_once, 1, n])?.mul_scalar(start)?;
        for layer in 0..layers {
            let w = lab.normal(2_600_000 + (part * layers + layer) as u64, [at_once, n, n])?;
            h = h.matmul(&w)?.relu()?.mul_scalar((2.0 / n as f64).sqrt())?;
        }
        squares.extend(h.square()?.sum(&[1, 2], false)?.to_f64()?);
        lab.progress(part as u64 + 1, (nets / at_once) as u64);
    }
    let (mean, variance) = host::moments(&squares);
    let fourth: Vec<f64> = squares.iter().map(|s| s * s).collect();
    let (mean4, variance4) = host::moments(&fourth);
    let error = |variance: f64| 4.0 * (variance / nets as f64).sqrt();
    chapter.claim(
        Claim::check(
            "C2.6",
            lab.language().pick(
                format!("He's weights keep E‖h‖² through {layers} layers of {n}, and let E‖h‖⁴ grow to (1 + 5/n)^L (four standard errors)"),
                format!("He 初始化下，信号穿过 {layers} 层（每层 {n} 个单元），E‖h‖² 不变，而 E‖h‖⁴ 增至 (1 + 5/n)^L（四倍标准误）"),
            ),
            "Hanin & Rolnick 2018",
            [1.0, (1.0 + 5.0 / n as f64).powi(layers as i32)],
            [mean, mean4],
            Tolerance::Each(vec![Tolerance::Absolute(error(variance)), Tolerance::Absolute(error(variance4))]),
        )
        .formula(r"\operatorname{E} \|h_L\|^4 = \left(1 + \frac{5}{n}\right)^L")
        .parts(["E‖h‖²", "E‖h‖⁴"]),
    );
    Ok(())
}

/// C2.7: the growth of signals through fifty layers for three variances of the weights.
pub(super) fn depth(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (nets, n, layers) = (40usize, 256usize, 50usize);
    let he = if lab.with("he-scale") { 2.0 } else { 1.0 };
    let variances = [he, 1.0, 2.2];
    let scales: Vec<f32> = variances.iter().map(|v| (v / n as f64).sqrt() as f32).collect();
    let scales = Tensor::from_slice(lab.device(), &scales, [1, 3, 1])?;
    // The three variances share the networks, which relu allows: it commutes with scaling.
    let mut h = lab.normal(270, [nets, 3, n])?;
    let sizes = |h: &Tensor| -> Result<Vec<f64>> {
        Ok(h.square()?.sum(&[2], false)?.to_f64()?.iter().map(|s| s.log2()).collect())
    };
    let start = sizes(&h)?;
    let mut tracks = vec![vec![(0.0, 0.0, 0.0)]; 3];
    let (mut gains, mut errors) = (Vec::new(), Vec::new());
    for layer in 1..=layers {
        let w = lab.normal(2_700_000 + layer as u64, [nets, n, n])?;
        h = h.matmul(&w)?.relu()?.mul(&scales)?;
        if layer % 5 == 0 {
            let now = sizes(&h)?;
            for (k, track) in tracks.iter_mut().enumerate() {
                let grown: Vec<f64> = (0..nets).map(|net| now[3 * net + k] - start[3 * net + k]).collect();
                let (mean, variance) = host::moments(&grown);
                track.push((layer as f64, mean, variance.sqrt()));
                if layer == layers {
                    gains.push(mean / layers as f64);
                    errors.push((variance / nets as f64).sqrt() / layers as f64);
                }
            }
        }
        lab.progress(layer as u64, layers as u64);
    }
    let predicted = [2.0f64, 1.0, 2.2].map(|v| (v / 2.0).log2() - 2.5 / (n as f64 * LN_2));
    chapter.claim(
        Claim::check(
            "C2.7",
            lab.say(
                "Weights N(0, σ²/n) multiply ‖h‖² by σ²/2 a layer, less what its random walk costs: He's σ² = 2 is \
                 critical, Xavier's 1 loses fifty powers of two in fifty layers (log₂ of the gain per layer)",
                "权重取 N(0, σ²/n)，每层使 ‖h‖² 乘以 σ²/2，再减去随机游走的损耗：He 的 σ² = 2 恰为临界，Xavier 的 σ² = 1 \
                 五十层损失 2 的五十次方（所列为每层增益的 log₂）",
            ),
            "He et al. 2015; Glorot & Bengio 2010; Hanin & Rolnick 2018",
            predicted,
            gains,
            Tolerance::Absolute(0.02),
        )
        .formula(r"\log_2 \frac{σ^2}{2} - \frac{5}{2 n \ln 2}")
        .parts(["He, σ² = 2", "Xavier, σ² = 1", "σ² = 2.2"]),
    );
    chapter.method(lab.language().pick(
        format!(
            "C2.7: {nets} networks instead of ten, so that the tolerance is four standard errors (here {:.4}).",
            host::largest(errors.iter().copied())
        ),
        format!("C2.7：取 {nets} 个网络而非十个，使容差达到四倍标准误（本次标准误为 {:.4}）。", host::largest(errors.iter().copied())),
    ));
    figures::signals(lab, chapter, &tracks, &predicted);
    Ok(())
}
