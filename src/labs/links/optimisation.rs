//! L.1 to L.3: steps on a quadratic, with noise, and Adam's.

use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Series};
use crate::nn::{Init, Params};
use crate::optim::{Adam, Optimizer, Sgd};
use crate::tensor::Tensor;

/// ½ Σ λx², from ones: the error after each step of gradient descent.
fn descend(lab: &Lab, curvature: &Tensor, rate: f64, momentum: f64, steps: usize) -> Result<Vec<Vec<f64>>> {
    let params = Params::new(lab.device(), lab.seed());
    let x = params.parameter("x", curvature.shape(), Init::Ones)?;
    let mut sgd = Sgd::new(&params, rate)?;
    if momentum > 0.0 {
        sgd = sgd.momentum(momentum)?;
    }
    let mut path = Vec::with_capacity(steps);
    for _ in 0..steps {
        let loss = x.get().square()?.mul(curvature)?.sum(&[], false)?.mul_scalar(0.5)?;
        sgd.step(&loss.backward()?)?;
        path.push(x.get().to_f64()?);
    }
    Ok(path)
}

/// L.1: rates of contraction.
pub(super) fn quadratic(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const KAPPA: f64 = 100.0;
    let lambda: Vec<f32> = (0..20).map(|k| KAPPA.powf(f64::from(k) / 19.0 - 1.0) as f32).collect();
    let curvature = Tensor::from_slice(lab.device(), &lambda, [20])?;
    let (low, root) = (1.0 / KAPPA, KAPPA.sqrt());
    let size = |x: &Vec<f64>| dot(x, x).sqrt();
    let plain = descend(lab, &curvature, 2.0 / (low + 1.0), 0.0, 400)?;
    let sizes: Vec<f64> = plain.iter().map(size).collect();
    let rate = sizes[399] / sizes[398];

    let (alpha, beta) = if lab.with("momentum") {
        (4.0 / (1.0 + low.sqrt()).powi(2), ((root - 1.0) / (root + 1.0)).powi(2))
    } else {
        (2.0 / (low + 1.0), 0.0)
    };
    let heavy: Vec<f64> = descend(lab, &curvature, alpha, beta, 400)?.iter().map(size).collect();
    let faster = (heavy[250] / heavy[50]).powf(1.0 / 200.0);

    let mut edges = Vec::new();
    for rate in [1.99, 2.01] {
        let path = descend(lab, &curvature, rate, 0.0, 300)?;
        edges.push(path[299][19].abs().powf(1.0 / 300.0));
    }
    let source = "Polyak 1964; Nesterov 2004";
    let slow = (KAPPA - 1.0) / (KAPPA + 1.0);
    let quick = (root - 1.0) / (root + 1.0);
    chapter
        .claim(
            Claim::check(
                "L.1",
                lab.say(
                    "Gradient descent with the best step contracts by (κ−1)/(κ+1) a step (κ = 100, 20 dimensions)",
                    "取最好的固定步长，梯度下降每步把误差缩小为 (κ−1)/(κ+1) 倍（κ = 100，20 维）",
                ),
                source,
                slow,
                rate,
                Tolerance::Absolute(2e-4),
            )
            .formula(r"\frac{\|x_{t+1}\|}{\|x_t\|} \to \frac{κ - 1}{κ + 1}"),
        )
        .claim(
            Claim::check(
                "L.1.momentum",
                lab.say(
                    "with momentum by (√κ−1)/(√κ+1) (mean over 200 steps, up to a factor that is polynomial in t)",
                    "加动量后则为 (√κ−1)/(√κ+1) 倍（200 步平均，至多差一个关于 t 的多项式因子）",
                ),
                source,
                quick,
                faster,
                Tolerance::Relative(0.015),
            )
            .formula(r"\frac{\sqrt{κ} - 1}{\sqrt{κ} + 1}"),
        )
        .claim(
            Claim::check(
                "L.1.edge",
                lab.say(
                    "A step a hundredth below 2/M contracts its steepest direction by 0.99, one a hundredth above \
                     stretches it by 1.01",
                    "步长比 2/M 小百分之一时，最陡方向每步缩为 0.99 倍；大百分之一时则伸为 1.01 倍",
                ),
                source,
                [0.99, 1.01],
                edges,
                Tolerance::Absolute(1e-6),
            )
            .formula(r"|1 - ηM|, \quad η = \frac{2 \pm 0.01}{M}"),
        );
    let line = |name: &'static str, sizes: &[f64], colour: usize| {
        Series::line(name, (1..).zip(sizes).map(|(t, s)| (f64::from(t), *s))).colour(colour)
    };
    let theory = |rate: f64, from: f64, colour: usize| {
        let ends = [1.0, 400.0].map(|t| (t, from * rate.powf(t)));
        Series::line("", ends).dashed().colour(colour)
    };
    let plot = Plot::new(Axis::new(lab.say("step", "步")), Axis::new("‖x‖").log().range(1e-30, 30.0))
        .series(line(lab.say("gradient descent", "梯度下降"), &sizes, 0))
        .series(theory(slow, sizes[399] / slow.powi(400), 0))
        .series(line(lab.say("with momentum", "加动量"), &heavy, 1))
        .series(theory(quick, heavy[0], 1));
    chapter.figure(
        Figure::new(lab.say("Momentum takes the root of κ", "动量给 κ 开方"), plot)
            .caption(lab.say(
                "Distance from the minimum of a quadratic of condition 100. Dashed: the rates of the theory.",
                "条件数为 100 的二次函数上到极小点的距离。虚线为理论速率。",
            ))
            .alt(lab.say(
                "Two straight lines on a logarithmic axis, that with momentum ten times as steep",
                "对数坐标上的两条直线，带动量的陡约十倍",
            )),
    );
    Ok(())
}

/// L.2: where gradient descent with noise comes to rest.
pub(super) fn noise(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const CHAINS: usize = 16_384;
    let rates = [0.1, 0.5, 1.0, 1.5];
    let mut ratios = Vec::new();
    for (index, rate) in rates.into_iter().enumerate() {
        let mut x = Tensor::zeros(lab.device(), [CHAINS])?;
        let mut squares = Vec::new();
        for step in 0..400u64 {
            let noise = lab.normal(1_020_000 + 1000 * index as u64 + step, [CHAINS])?;
            x = x.mul_scalar(1.0 - rate)?.sub(&noise.mul_scalar(rate)?)?.contiguous()?;
            if step > 200 {
                squares.push(x.square()?.mean(&[], false)?);
            }
        }
        let mut sum = 0.0;
        for square in &squares {
            sum += square.item()?;
        }
        ratios.push(sum / squares.len() as f64 / (rate / (2.0 - rate)));
        lab.progress(index as u64 + 1, rates.len() as u64);
    }
    chapter.claim(
        Claim::check(
            "L.2",
            lab.say(
                "Gradient descent with noise s² on λx²/2 comes to rest with variance ηs²/(λ(2 − ηλ)), here as a ratio",
                "在 λx²/2 上带噪声 s² 的梯度下降，平稳方差为 ηs²/(λ(2 − ηλ))，此处列出两者之比",
            ),
            "Mandt, Hoffman & Blei 2017",
            [1.0; 4],
            ratios,
            Tolerance::Relative(0.01),
        )
        .formula(r"\operatorname{Var} x = \frac{η s^2}{λ (2 - ηλ)}")
        .parts(rates.map(|rate| format!("ηλ = {rate}"))),
    );
    Ok(())
}

/// L.3: Adam sees signs and not sizes.
pub(super) fn adam(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const RATE: f64 = 0.01;
    const STEPS: usize = 50;
    let scale = lab.uniform(1031, [100])?.mul_scalar(6.0)?.floor()?.add_scalar(-3.0)?;
    let scale = scale.mul_scalar(10f64.ln())?.exp()?;
    let gradients = lab.normal(1030, [STEPS, 100])?.mul(&scale)?.contiguous()?;
    // The loss Σ g·x has the gradient g.
    let run = |factor: f64| -> Result<Vec<Vec<f64>>> {
        let params = Params::new(lab.device(), lab.seed());
        let x = params.parameter("x", [100], Init::Zeros)?;
        let mut adam = Adam::new(&params, RATE)?.eps(1e-30)?;
        let mut path = Vec::new();
        for step in 0..STEPS {
            let g = gradients.select(0, step)?.mul_scalar(factor)?;
            adam.step(&x.get().mul(&g)?.sum(&[], false)?.backward()?)?;
            path.push(x.get().to_f64()?);
        }
        Ok(path)
    };
    let (plain, decimal, binary) = (run(1.0)?, run(1e4)?, run(8192.0)?);
    let signs = gradients.select(0, 0)?.sign()?.to_f64()?;
    let first = largest(plain[0].iter().zip(&signs).map(|(x, s)| x / RATE + s));
    let pairs = |other: &[Vec<f64>]| {
        let all = plain.iter().flatten().zip(other.iter().flatten());
        all.map(|(a, b)| a - b).collect::<Vec<f64>>()
    };
    let differing = pairs(&binary).iter().filter(|d| **d != 0.0).count();
    let longest = largest(plain.windows(2).flat_map(|w| w[0].iter().zip(&w[1]).map(|(a, b)| (b - a) / RATE)));
    chapter.claim(
        Claim::check(
            "L.3",
            lab.say(
                "Adam's first step is −η·sign(g); scaling all gradients changes nothing, by a power of two not a bit; no \
                 step is longer than (1 − β₁)/√(1 − β₂) times η",
                "Adam 的第一步是 −η·sign(g)；梯度整体缩放不改变任何结果，缩放 2 的幂时逐位不变；任何一步都不超过 η 的 (1 − β₁)/√(1 − β₂) 倍",
            ),
            "Kingma & Ba 2015",
            [0.0, 0.0, 0.0, 0.1 / 0.001f64.sqrt()],
            [first, largest(pairs(&decimal)) / RATE, differing as f64, longest],
            Tolerance::Each(vec![
                Tolerance::Absolute(1e-6),
                Tolerance::Absolute(1e-5),
                Tolerance::Exact,
                Tolerance::AtMost,
            ]),
        )
        .parts([
            lab.say("first step, off the sign", "第一步与符号之差"),
            lab.say("gradients × 10⁴: change, in steps", "梯度 × 10⁴：变化（以 η 计）"),
            lab.say("gradients × 2¹³: numbers that change", "梯度 × 2¹³：改变的数的个数"),
            lab.say("longest step, in η", "最长的一步（以 η 计）"),
        ]),
    );
    Ok(())
}
