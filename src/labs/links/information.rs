//! L.8: what it costs to select one of many.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::real::Bounded;
use crate::tensor::Tensor;

/// How many keys.
const COUNTS: [usize; 3] = [16, 256, 4096];
/// Dimensions of the random keys.
const WIDTH: usize = 64;

/// L.8.
pub(super) fn selection(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (mut weights, mut shares, mut nats, mut nats_predicted) = (vec![], vec![], vec![], vec![]);
    let (mut on_device, mut rounded, mut bounds) = (vec![], vec![], vec![]);
    let cpu = Device::cpu();
    let mut names = Vec::new();
    for n in COUNTS {
        for share in [0.5, 0.9] {
            // Odds of share to 1 − share against n − 1 others.
            let beta = (share / (1.0 - share) * (n - 1) as f64).ln();
            let mut logits = vec![0.0f64; n];
            logits[0] = beta;
            weights.push(Tensor::from_slice(&cpu, &logits, [1, n])?.softmax(1)?.to_f64()?[0]);
            shares.push(share);
            // In f32 the logit is rounded first, and a sum of n terms then strays by what the engine derives for it.
            let logits: Vec<f32> = logits.iter().map(|l| *l as f32).collect();
            let p = Tensor::from_slice(lab.device(), &logits, [1, n])?.softmax(1)?;
            let entropy = p.mul(&p.ln()?)?.sum(&[], false)?.neg()?.item()?;
            on_device.push(p.to_f64()?[0]);
            rounded.push(1.0 / (1.0 + (n - 1) as f64 * (-f64::from(logits[0])).exp()));
            let bounded = Tensor::from_slice(&cpu, &logits, [1, n])?.to_dtype(DType::Bounded)?.softmax(1)?;
            bounds.push(Tolerance::Absolute(bounded.to_vec::<Bounded>()?[0].error));
            let z = (n - 1) as f64 + beta.exp();
            nats.push((n as f64).ln() - entropy);
            nats_predicted.push((n as f64).ln() - (z.ln() - share * beta));
            names.push(format!("n = {n}, p* = {share}"));
        }
    }
    let (mut found, mut needed) = (Vec::new(), Vec::new());
    for (index, n) in COUNTS.into_iter().enumerate() {
        let keys = lab.normal(1096 + index as u64, [n, WIDTH])?;
        let keys = keys.div(&keys.square()?.sum(&[1], true)?.sqrt()?)?.contiguous()?;
        let cosines = keys.matmul(&keys.slice(0, 0, 1)?.t()?)?.reshape([1, n])?.contiguous()?;
        let (mut low, mut high) = (0.0, 60.0);
        for _ in 0..30 {
            let middle = 0.5 * (low + high);
            let p = cosines.mul_scalar(middle)?.softmax(1)?.slice(1, 0, 1)?.reshape([])?.item()?;
            (low, high) = if p < 0.5 { (middle, high) } else { (low, middle) };
        }
        found.push(low);
        // The fixed point of β = ln(n − 1) + β²/2d: a cosine has variance 1/d, its exponential the mean e^{β²/2d}.
        let d = WIDTH as f64;
        needed.push(d * (1.0 - (1.0 - 2.0 * ((n - 1) as f64).ln() / d).sqrt()));
    }
    let source =
        lab.say("Gibbs; Ramsauer et al. 2021 for the context", "吉布斯分布；背景见 Ramsauer 等 2021");
    chapter
        .claim(
            Claim::check(
                "L.8",
                lab.say(
                    "One key among n gets half of the weight at β = ln(n−1), nine tenths at ln 9(n−1) (f64)",
                    "n 个键中的一个在 β = ln(n−1) 时得到一半权重，在 ln 9(n−1) 时得到九成（f64）",
                ),
                source,
                shares,
                weights,
                Tolerance::Absolute(1e-12),
            )
            .formula(r"p^* = \frac{1}{1 + (n-1) e^{-β}}")
            .parts(names.clone()),
        )
        .claim(
            Claim::check(
                "L.8.f32",
                lab.say(
                    "and on the device, in f32, within the error bound that the engine derives for a softmax of so many",
                    "在设备上以 f32 计算，则落在引擎为这样大小的 softmax 推导出的误差界之内",
                ),
                source,
                rounded,
                on_device,
                Tolerance::Each(bounds),
            )
            .parts(names.clone()),
        )
        .claim(
            Claim::check(
                "L.8.information",
                lab.say(
                    "and the selection is worth ln n − H nats, H = ln(n−1+e^β) − p*β",
                    "这一选择的信息量为 ln n − H 奈特，其中 H = ln(n−1+e^β) − p*β",
                ),
                source,
                nats_predicted,
                nats,
                // 1e-5 of the sum of the terms of H, which is H itself, at most ln 4096.
                Tolerance::Absolute(1e-5 * (4096f64).ln()),
            )
            .formula(r"\ln n - H, \quad H = \ln(n - 1 + e^β) - p^* β")
            .parts(names),
        )
        .claim(
            Claim::check(
                "L.8.keys",
                lab.say(
                    "Among random unit keys in 64 dimensions, which resemble each other a little, half needs a logit of \
                     β = ln(n−1) + β²/2d",
                    "64 维随机单位键彼此略有相似，此时要得到一半权重，须取 β = ln(n−1) + β²/2d",
                ),
                source,
                needed,
                found,
                Tolerance::Relative(0.15),
            )
            .formula(r"β = \ln(n - 1) + \frac{β^2}{2d}")
            .parts(COUNTS.map(|n| format!("n = {n}"))),
        );
    Ok(())
}
