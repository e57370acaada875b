//! Gradients through time: C9.1 and C9.2.

use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, singular_values};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Init, Params};
use crate::tensor::Tensor;

/// C9.1: gradients through a linear network shrink or grow by exactly ρ a step; through tanh no more than its bound.
pub(super) fn vanishing(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, steps) = (32, 100);
    let init = match lab.with("orthogonal-weights") {
        true => Init::Orthogonal { gain: 1.0 },
        false => Init::Normal { mean: 0.0, std: 1.0 / (n as f64).sqrt() },
    };
    let matrix = Params::new(lab.device(), lab.seed()).parameter("o", [n, n], init)?.get().detach();
    let v = lab.normal(910, [1, n])?;
    let norm = |x: &Tensor| x.norm(2.0, &[], false)?.item();
    let rates = [0.9, 1.0, 1.1];
    let mut ratios = Vec::new();
    for rho in rates {
        let w = matrix.mul_scalar(rho)?;
        let start = Tensor::zeros(lab.device(), [1, n])?.variable()?;
        let end = (0..steps).try_fold(start.clone(), |h, _| h.matmul(&w))?;
        let back = end.pull_back(&v, &[&start])?.swap_remove(0);
        ratios.push(norm(&back)? / norm(&v)? / rho.powi(steps));
    }
    let (worst, violations) = bound(lab)?;
    chapter
        .claim(
            Claim::check(
                "C9.1",
                lab.say(
                    "Backpropagation through 100 steps h ← ρOh, O orthogonal, multiplies every gradient by ρ¹⁰⁰ exactly \
                     (norm over that)",
                    "经过 100 步 h ← ρOh（O 正交）的反向传播，使任何梯度恰好乘以 ρ¹⁰⁰（范数与该值之比）",
                ),
                "Bengio et al. 1994; Pascanu et al. 2013",
                [1.0; 3],
                ratios,
                Tolerance::Absolute(2e-5),
            )
            .formula(r"\left‖ \left(\frac{\partial h_T}{\partial h_0}\right)^\top v \right‖ = \rho^T \|v\|")
            .parts(["ρ = 0.9", "ρ = 1", "ρ = 1.1"]),
        )
        .claim(
            Claim::check(
                "C9.1.bound",
                lab.say(
                    "With tanh no Jacobian exceeds the product of σ_max(W)·max(1 − h²) over its steps, in 20 networks \
                     over 1 to 30 steps each (violations; largest share of the bound)",
                    "有 tanh 时，雅可比矩阵的范数不超过各步 σ_max(W)·max(1 − h²) 之积：20 个网络，各 1 至 30 步\
                     （违反次数；占界的最大比例）",
                ),
                "Pascanu et al. 2013",
                [0.0, 1.0],
                [violations, worst],
                Tolerance::Each(vec![Tolerance::Exact, Tolerance::AtMost]),
            )
            .formula(r"\left‖ \frac{\partial h_T}{\partial h_0} \right‖ \le \prod_t \sigma_{\max}(W) \max_i (1 - h_{t,i}^2)")
            .parts([lab.say("violations", "违反次数"), lab.say("largest share", "最大比例")]),
        );
    Ok(())
}

/// The largest share of the bound that ‖∂h_T/∂h₀‖ reaches, and how often it exceeds it.
fn bound(lab: &Lab) -> Result<(f64, f64)> {
    let (nets, n, steps) = (20, 32, 30);
    let w = lab.normal(911, [nets, n, n])?.mul_scalar(1.2 / (n as f64).sqrt())?;
    let first: Vec<f64> = w
        .to_f64()?
        .chunks(n * n)
        .map(|w| singular_values(w, n).first().copied().unwrap_or(f64::NAN))
        .collect();
    // A copy of the start for each unit of the end: one walk back gives all rows of a Jacobian.
    let start = lab.normal(912, [nets, 1, n])?.broadcast_to([nets, n, n])?.contiguous()?.variable()?;
    let noise = lab.normal(913, [steps, nets, 1, n])?.mul_scalar(0.5)?;
    let unit = Tensor::ones(lab.device(), [n, n])?;
    let unit = unit.tril(0)?.triu(0)?.unsqueeze(0)?.broadcast_to([nets, n, n])?.contiguous()?;
    let mut h = start.clone();
    let (mut worst, mut violations) = (0.0f64, 0.0);
    let mut bounds = vec![1.0; nets];
    for step in 0..steps {
        h = h.matmul(&w)?.add(&noise.select(0, step)?)?.tanh()?;
        let jacobians = h.pull_back(&unit, &[&start])?.swap_remove(0).to_f64()?;
        let states = h.detach().slice(1, 0, 1)?.to_f64()?;
        for (net, jacobian) in jacobians.chunks(n * n).enumerate() {
            let steepest = states[net * n..(net + 1) * n].iter().map(|h| 1.0 - h * h).fold(0.0, f64::max);
            bounds[net] *= first[net] * steepest;
            let share = singular_values(jacobian, n).first().copied().unwrap_or(f64::NAN) / bounds[net];
            // Thirty steps of f32 may err by a few parts in a million.
            violations += f64::from(u8::from(share.is_nan() || share > 1.0 + 1e-5));
            worst = largest([worst, share]);
        }
    }
    Ok((worst, violations))
}

/// C9.2: the gradient of a scalar recurrence, whole and truncated.
pub(super) fn closed_form(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (steps, kept, weight) = (60usize, 20usize, 0.95);
    let x = lab.normal(920, [steps])?;
    let w = Tensor::full(lab.device(), x.dtype(), [1], weight)?.variable()?;
    // h_t = w·h_{t−1} + x_t over the last `count` steps, from h.
    let run = |h: &Tensor, count: usize| -> Result<Tensor> {
        let inputs = x.slice(0, steps - count, steps)?;
        let first = inputs.slice(0, 0, 1)?.add(&w.mul(h)?)?;
        let terms = Tensor::concat(&[&first, &inputs.slice(0, 1, count)?], 0)?;
        let all = w.broadcast_to([count])?.linear_scan(&terms, 0, false)?;
        all.slice(0, count - 1, count)
    };
    let zero = Tensor::zeros(lab.device(), [1])?;
    let gradient = |h: &Tensor| -> Result<f64> { h.reshape([])?.grad(&[&w])?[0].item() };
    let whole = gradient(&run(&zero, steps)?)?;
    let early = w.broadcast_to([steps - kept])?.linear_scan(&x.slice(0, 0, steps - kept)?, 0, false)?;
    let before = early.slice(0, steps - kept - 1, steps - kept)?;
    let truncated = gradient(&run(&if lab.with("stop-gradient") { before.detach() } else { before }, kept)?)?;

    let x = x.to_f64()?;
    let closed: f64 = (1..steps).map(|k| k as f64 * weight.powi(k as i32 - 1) * x[steps - 1 - k]).sum();
    let mut h = vec![0.0];
    for x in &x {
        h.push(weight * h[h.len() - 1] + x);
    }
    let tail: f64 = (0..kept).map(|j| weight.powi(j as i32) * h[steps - 1 - j]).sum();
    chapter.claim(
        Claim::check(
            "C9.2",
            lab.say(
                "Backpropagation through the scalar recurrence h ← w·h + x gives the closed form; cut off after 20 of 60 \
                 steps it gives exactly the first 20 terms of the second sum",
                "对标量递推 h ← w·h + x 作反向传播，得到的正是闭式；在 60 步中只回传 20 步，则恰好是第二个和式的前 20 项",
            ),
            "Werbos 1990; Williams & Peng 1990",
            [closed, tail],
            [whole, truncated],
            Tolerance::Relative(1e-4),
        )
        .formula(r"\frac{\partial h_T}{\partial w} = \sum_k k w^{k-1} x_{T-k} = \sum_j w^j h_{T-1-j}")
        .parts([lab.say("all steps", "全部步"), lab.say("truncated", "截断")]),
    );
    Ok(())
}
