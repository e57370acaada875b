//! Attention as selection: C6.1 to C6.3.

use super::energy::softmax_of_normal;
use super::figures;
use crate::autodiff::jacobian;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest, moments};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::tensor::Tensor;

/// The identities of this chapter hold to this share of Σ|terms| in f32.
pub(super) const ROUNDING: f64 = 1e-5;

/// q·kᵀ over √d.
fn scores(lab: &Lab, q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let scale = if lab.with("root-d") { 1.0 / (q.shape()[1] as f64).sqrt() } else { 1.0 };
    q.matmul(&k.t()?)?.mul_scalar(scale)
}

/// C6.1: how products of random vectors vary.
pub(super) fn variance(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let sizes = [(4, 2048), (16, 1024), (64, 512), (256, 512)];
    let mut found = Vec::new();
    for (index, (d, n)) in sizes.into_iter().enumerate() {
        let stream = 610 + 2 * index as u64;
        let (q, k) = (lab.normal(stream, [n, d])?, lab.normal(stream + 1, [n, d])?);
        found.push(scores(lab, &q, &k)?.var(&[], 0, false)?.item()?);
    }
    let share = |s: f64| Tolerance::Relative(s);
    chapter.claim(
        Claim::check(
            "C6.1",
            lab.say(
                "For q and k of independent standard normal numbers, q·k has variance d; over √d it has variance 1 \
                 whatever d is",
                "q 与 k 的分量为独立标准正态数时，q·k 的方差是 d；除以 √d 之后，无论 d 多大，方差都是 1",
            ),
            "Vaswani et al. 2017",
            [1.0; 4],
            found,
            Tolerance::Each(vec![share(0.1), share(0.1), share(0.1), share(0.03)]),
        )
        .formula(r"\operatorname{Var} \frac{q \cdot k}{\sqrt d} = 1")
        .parts(["d = 4", "d = 16", "d = 64", "d = 256"]),
    );
    Ok(())
}

/// Softmax of rows: the entropy of each, in nats, and its Σp².
fn spread(logits: &Tensor) -> Result<[Vec<f64>; 2]> {
    let log = logits.log_softmax(1)?;
    let p = log.exp()?;
    Ok([p.mul(&log)?.sum(&[1], false)?.neg()?.to_f64()?, p.square()?.sum(&[1], false)?.to_f64()?])
}

/// C6.2: softmax of random logits is Derrida's random-energy model.
pub(super) fn temperature(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let n = 1024;
    let log_n = (n as f64).ln();
    let noise = lab.normal(620, [1000, n])?;
    let sigmas = [0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0];
    let mut curve = Vec::new();
    for sigma in sigmas {
        let [entropy, squares] = spread(&noise.mul_scalar(sigma)?)?;
        curve.push((sigma, moments(&entropy), moments(&squares).0, softmax_of_normal(n as f64, sigma)));
    }
    let at = |sigma: f64| curve.iter().find(|point| point.0 == sigma).unwrap_or(&curve[0]);
    chapter
        .claim(
            Claim::check(
                "C6.2",
                lab.say(
                    "Softmax of n = 1024 logits N(0, σ²), σ below √(2 ln n), has entropy ln n − σ²/2",
                    "对 n = 1024 个服从 N(0, σ²) 的 logit 取 softmax，当 σ 小于 √(2 ln n) 时，熵为 ln n − σ²/2",
                ),
                "Derrida 1981",
                [log_n - 0.125, log_n - 0.5],
                [at(0.5).1.0, at(1.0).1.0],
                Tolerance::Each(vec![Tolerance::Absolute(0.01), Tolerance::Absolute(0.02)]),
            )
            .formula(r"H = \ln n - \frac{\sigma^2}{2}")
            .parts(["σ = 1/2", "σ = 1"]),
        )
        .claim(
            Claim::check(
                "C6.2.freezing",
                lab.say(
                    "At any σ, below the freezing point or above, entropy and Σp² are what an exact integral for \
                     1024 logits gives; for n → ∞ Σp² tends to 1 − √(2 ln n)/σ beyond the freezing point, so that \
                     single keys take it all",
                    "无论 σ 在冻结点之下还是之上，熵和 Σp² 都等于 1024 个 logit 的精确积分值；当 n → ∞ 且 σ \
                     超过冻结点时，Σp² 趋于 1 − √(2 ln n)/σ，即个别的键独占全部权重",
                ),
                "Derrida 1981",
                [at(1.5).3.0, at(3.0).3.0, at(8.0).3.0, at(8.0).3.1],
                [at(1.5).1.0, at(3.0).1.0, at(8.0).1.0, at(8.0).2],
                Tolerance::Each(vec![
                    Tolerance::Absolute(0.02),
                    Tolerance::Absolute(0.1),
                    Tolerance::Absolute(0.1),
                    Tolerance::Absolute(0.04),
                ]),
            )
            .formula(r"\sum p^2 \to 1 - \frac{\sqrt{2 \ln n}}{\sigma}")
            .parts([
                lab.say("entropy, σ = 3/2", "熵，σ = 3/2"),
                lab.say("entropy, σ = 3", "熵，σ = 3"),
                lab.say("entropy, σ = 8", "熵，σ = 8"),
                lab.say("Σp², σ = 8", "Σp²，σ = 8"),
            ]),
        );
    let (q, k) = (lab.normal(626, [256, 64])?, lab.normal(627, [n, 64])?);
    let raw = q.matmul(&k.t()?)?;
    let scaled = scores(lab, &q, &k)?;
    let [(entropy, squares), (entropy_raw, squares_raw)] = [spread(&scaled)?, spread(&raw)?]
        .map(|[entropy, squares]| (moments(&entropy).0, moments(&squares).0));
    chapter
        .claim(
            Claim::check(
                "C6.2.attention",
                lab.say(
                    "Attention over 1024 random keys, d = 64: with 1/√d it keeps entropy ln n − 1/2, which is \
                     n/√e keys; without, it is frozen (σ = 8)",
                    "对 1024 个随机键的注意力，d = 64：有 1/√d 时熵保持在 ln n − 1/2，相当于 n/√e 个键；\
                     没有时则冻结（σ = 8）",
                ),
                "Vaswani et al. 2017",
                [log_n - 0.5, 1.2],
                [entropy, entropy_raw],
                Tolerance::Each(vec![Tolerance::Absolute(0.1), Tolerance::Below]),
            )
            .parts([lab.say("entropy with 1/√d", "有 1/√d 的熵"), lab.say("entropy without", "没有 1/√d 的熵")]),
        )
        .claim(
            Claim::check(
                "C6.2.gradient",
                lab.say(
                    "and the Jacobian of the frozen softmax vanishes: its trace 1 − Σp² is that of the \
                     random-energy model at σ = 1 and σ = 8",
                    "冻结的 softmax 的雅可比矩阵趋于零：其迹 1 − Σp² 等于随机能量模型在 σ = 1 和 σ = 8 处的值",
                ),
                "Vaswani et al. 2017; Derrida 1981",
                [1.0 - at(1.0).3.1, 1.0 - at(8.0).3.1],
                [1.0 - squares, 1.0 - squares_raw],
                Tolerance::Each(vec![Tolerance::Absolute(0.01), Tolerance::Absolute(0.08)]),
            )
            .formula(r"\operatorname{tr} J = 1 - \sum p^2")
            .parts([lab.say("with 1/√d", "有 1/√d"), lab.say("without", "没有 1/√d")]),
        );
    figures::entropy(lab, chapter, log_n, &curve);
    let part = |scores: &Tensor| scores.softmax(1)?.slice(0, 0, 24)?.slice(1, 0, 48)?.to_f64();
    let (q, k) = (lab.normal(628, [24, 64])?, lab.normal(629, [48, 64])?);
    figures::weights(lab, chapter, &part(&scores(lab, &q, &k)?)?, &part(&q.matmul(&k.t()?)?)?);
    Ok(())
}

/// C6.3: softmax as the answer to a question about information.
pub(super) fn selection(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let n = 50;
    let s = lab.normal(630, [n])?.mul_scalar(2.0)?;
    let j = jacobian(|s| s.softmax(0), &s)?;
    let (sums, sizes) = (j.sum(&[1], false)?.to_f64()?, j.abs()?.sum(&[1], false)?.to_f64()?);
    let rows = largest(sums.iter().zip(&sizes).map(|(sum, size)| sum / size));
    let j = j.to_f64()?;
    let trace: f64 = (0..n).map(|i| j[i * (n + 1)]).sum();
    let p = s.softmax(0)?;
    let trace_gap = trace - 1.0 + p.square()?.sum(&[], false)?.item()?;

    // The slope of the entropy of softmax(βs) by the tape, and by the variance that a host in f64 takes.
    let beta = Tensor::full(lab.device(), s.dtype(), [], 1.3)?.variable()?;
    let log = s.mul(&beta)?.log_softmax(0)?;
    let entropy = log.exp()?.mul(&log)?.sum(&[], false)?.neg()?;
    let slope = entropy.grad(&[&beta])?[0].item()?;
    let values = s.to_f64()?;
    let (mean, square) = gibbs(&values, 1.3);
    let slope_gap = (slope + 1.3 * (square - mean * mean)) / (1.3 * (square + mean * mean));

    // The variational principle: value, and gap of another distribution.
    let total = s.logsumexp(&[], false)?.item()?;
    let value = |log: &Tensor| -> Result<(f64, f64)> {
        let q = log.exp()?;
        let (score, entropy) = (q.mul(&s)?, q.mul(log)?);
        let sum = |x: &Tensor| x.sum(&[], false)?.item();
        Ok((sum(&score)? - sum(&entropy)?, sum(&score.abs()?)? + sum(&entropy.abs()?)?))
    };
    let log_p = s.log_softmax(0)?;
    let (best, size) = value(&log_p)?;
    let other = lab.normal(631, [n])?.log_softmax(0)?;
    let (worse, size_worse) = value(&other)?;
    let divergence = other.exp()?.mul(&other.sub(&log_p)?)?;
    let kl = divergence.sum(&[], false)?.item()?;
    chapter.claim(
        Claim::check(
            "C6.3",
            lab.say(
                "softmax(s) is the distribution that maximises ⟨p, s⟩ + H(p); the maximum is ln Σ exp s, and any \
                 other q falls short of it by KL(q‖p). Its Jacobian diag p − ppᵀ has rows of sum 0 and trace \
                 1 − Σp², and the entropy of softmax(βs) falls in β by β·Var s (differences, as shares of Σ|terms|)",
                "softmax(s) 是使 ⟨p, s⟩ + H(p) 最大的分布；最大值是 ln Σ exp s，其他任何 q 都恰好差 KL(q‖p)。\
                 它的雅可比矩阵 diag p − ppᵀ 每行之和为 0，迹为 1 − Σp²；softmax(βs) 的熵随 β 以 β·Var s \
                 的速率下降（各项之差占 Σ|项| 的比例）",
            ),
            "Gibbs; Donsker & Varadhan 1975",
            [0.0; 5],
            [rows, trace_gap, slope_gap, (best - total) / size, (total - worse - kl) / (size_worse + total.abs())],
            Tolerance::Absolute(ROUNDING),
        )
        .formula(r"\ln \sum_i e^{s_i} = \langle q, s \rangle + H(q) + \operatorname{KL}(q \| \operatorname{softmax} s)")
        .parts([
            lab.say("rows of J", "J 的行和"),
            lab.say("trace of J", "J 的迹"),
            "dH/dβ + β·Var s",
            "⟨p, s⟩ + H(p) − ln Σ exp s",
            lab.say("gap of q − KL", "q 的差距 − KL"),
        ]),
    );
    Ok(())
}

/// Mean and mean square of s under softmax(βs).
fn gibbs(s: &[f64], beta: f64) -> (f64, f64) {
    let weights: Vec<f64> = s.iter().map(|s| (beta * s).exp()).collect();
    let total: f64 = weights.iter().sum();
    let squares: Vec<f64> = s.iter().map(|s| s * s).collect();
    (dot(&weights, s) / total, dot(&weights, &squares) / total)
}
