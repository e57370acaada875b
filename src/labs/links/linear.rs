//! L.7: learning curves of linear networks, in closed form.

use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, slope};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Series};
use crate::nn::{Init, Parameter, Params};
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;

const N: usize = 8;
/// Singular values of the task.
const STRENGTHS: [f64; 3] = [3.0, 1.5, 0.5];
/// What each mode starts at.
const START: f64 = 0.01;

/// A deep linear network W_L ⋯ W₁ under gradient descent on ½‖T − W_L ⋯ W₁‖².
struct Network {
    weights: Vec<Parameter>,
    sgd: Sgd,
    target: Tensor,
}

impl Network {
    fn new(lab: &Lab, weights: &[Tensor], target: Tensor, rate: f64) -> Result<Self> {
        let params = Params::new(lab.device(), lab.seed());
        let cells: Result<Vec<Parameter>> = weights
            .iter()
            .enumerate()
            .map(|(k, w)| {
                let cell = params.parameter(&format!("w{}", k + 1), w.shape(), Init::Zeros)?;
                cell.set(w)?;
                Ok(cell)
            })
            .collect();
        Ok(Network { weights: cells?, sgd: Sgd::new(&params, rate)?, target })
    }

    /// W_L ⋯ W₁.
    fn product(&self) -> Result<Tensor> {
        let (first, rest) = (self.weights[0].get(), &self.weights[1..]);
        rest.iter().try_fold(first, |product, w| w.get().matmul(&product))
    }

    fn step(&mut self) -> Result<()> {
        let loss = self.target.sub(&self.product()?)?.square()?.sum(&[], false)?.mul_scalar(0.5)?;
        self.sgd.step(&loss.backward()?)
    }

    /// W_{l+1}ᵀW_{l+1} − W_lW_lᵀ for all l, one after the other, multiplied out on the host in f64.
    fn balance(&self) -> Result<Vec<f64>> {
        let w: Result<Vec<Vec<f64>>> = self.weights.iter().map(|w| w.get().to_f64()).collect();
        let w = w?;
        let mut all = Vec::new();
        for pair in w.windows(2) {
            for i in 0..N {
                for j in 0..N {
                    let upper: f64 = (0..N).map(|k| pair[1][k * N + i] * pair[1][k * N + j]).sum();
                    let lower: f64 = (0..N).map(|k| pair[0][i * N + k] * pair[0][j * N + k]).sum();
                    all.push(upper - lower);
                }
            }
        }
        Ok(all)
    }
}

/// a(t).
fn saxe(s: f64, t: f64) -> f64 {
    let e = (2.0 * s * t).exp();
    s * e / (e - 1.0 + s / START)
}

/// L.7.
pub(super) fn curves(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const RATE: f64 = 0.01;
    const EVERY: usize = 20;
    let params = Params::new(lab.device(), lab.seed());
    let rotation = |name: &str| -> Result<Tensor> {
        Ok(params.parameter(name, [N, N], Init::Orthogonal { gain: 1.0 })?.get().detach())
    };
    let (u, v) = (rotation("u")?, rotation("v")?);
    let diagonal = |values: [f64; 3]| {
        let mut all = [0.0f32; N * N];
        values.iter().enumerate().for_each(|(k, value)| all[k * N + k] = *value as f32);
        Tensor::from_slice(lab.device(), &all, [N, N])
    };
    let task = u.matmul(&diagonal(STRENGTHS)?)?.matmul(&v.t()?)?;
    let small = diagonal([START.sqrt(); 3])?;
    let right = if lab.with("aligned-start") { &v } else { &u };
    let start = [small.matmul(&right.t()?)?, u.matmul(&small)?];
    let mut network = Network::new(lab, &start, task, RATE)?;
    let mut curves = [const { Vec::new() }; 3];
    for step in 0..=800usize {
        if step % EVERY == 0 {
            let modes = u.t()?.matmul(&network.product()?.detach())?.matmul(&v)?.to_f64()?;
            for (k, curve) in curves.iter_mut().enumerate() {
                curve.push((step as f64 * RATE, modes[k * N + k]));
            }
            lab.progress(step as u64, 4300);
        }
        network.step()?;
    }
    let apart = largest(
        curves.iter().zip(STRENGTHS).flat_map(|(c, s)| c.iter().map(move |&(t, a)| (a - saxe(s, t)) / s)),
    );
    // Where the curve passes half its height, between the two measurements around it.
    let halfway = |curve: &Vec<(f64, f64)>, s: f64| {
        let after = curve.iter().position(|(_, a)| *a >= 0.5 * s).unwrap_or(0);
        if after == 0 {
            return f64::NAN;
        }
        let ((t0, a0), (t1, a1)) = (curve[after - 1], curve[after]);
        // The sigmoid is straight in ln(a/(s − a)).
        let logit = |a: f64| (a / (s - a)).ln();
        t0 - logit(a0) * (t1 - t0) / (logit(a1) - logit(a0))
    };
    let halves: Vec<f64> = curves.iter().zip(STRENGTHS).map(|(curve, s)| halfway(curve, s)).collect();

    let rates = [0.008, 0.004, 0.002];
    let weights: Result<Vec<Tensor>> = (1092..1095).map(|k| lab.normal(k, [N, N])?.mul_scalar(0.3)).collect();
    let (weights, target) = (weights?, lab.normal(1095, [N, N])?.mul_scalar(0.5)?.contiguous()?);
    let (mut drifts, mut done) = (Vec::new(), 800);
    for rate in rates {
        let mut network = Network::new(lab, &weights, target.clone(), rate)?;
        let before = network.balance()?;
        let steps = (4.0 / rate).round() as u64;
        for _ in 0..steps {
            network.step()?;
            done += 1;
            lab.progress(done, 4300);
        }
        let moved: Vec<f64> = network.balance()?.iter().zip(&before).map(|(a, b)| a - b).collect();
        let size = |part: &[f64]| part.iter().map(|d| d * d).sum::<f64>().sqrt();
        drifts.push(largest(moved.chunks(N * N).map(size)));
    }
    let source = "Saxe, McClelland & Ganguli 2014";
    let names = STRENGTHS.map(|s| format!("s = {s}"));
    chapter
        .claim(
            Claim::check(
                "L.7",
                lab.say(
                    "Each mode of a linear network of two layers follows its sigmoid (largest distance, as a share of \
                     its strength, with steps of 0.01)",
                    "两层线性网络的每个模式都沿各自的 S 形曲线学会（步长 0.01 时的最大偏差，占其强度的比例）",
                ),
                source,
                0.0,
                apart,
                Tolerance::Absolute(0.02),
            )
            .formula(r"a(t) = \frac{s e^{2st}}{e^{2st} - 1 + s / u_0}"),
        )
        .claim(
            Claim::check(
                "L.7.times",
                lab.say("Half of a mode is learnt at ln(s/u₀ − 1)/2s, the strong ones first", "一个模式学会一半的时刻是 ln(s/u₀ − 1)/2s，强者在先"),
                source,
                STRENGTHS.map(|s| (s / START - 1.0).ln() / (2.0 * s)),
                halves,
                Tolerance::Relative(0.03),
            )
            .formula(r"t_{1/2} = \frac{1}{2s} \ln \left( \frac{s}{u_0} - 1 \right)")
            .parts(names.clone()),
        )
        .claim(
            Claim::check(
                "L.7.balance",
                lab.say(
                    "Gradient flow conserves the balance of neighbouring layers; steps of η drift from it in proportion to \
                     η (exponent, three layers)",
                    "梯度流使相邻两层的平衡守恒；步长为 η 的下降则按 η 的一次方漂移（指数，三层）",
                ),
                "Arora, Cohen & Hazan 2018; Du, Hu & Lee 2018",
                1.0,
                slope(&rates, &drifts),
                Tolerance::Absolute(0.1),
            )
            .formula(r"\frac{d}{dt} \left( W_{l+1}^\top W_{l+1} - W_l W_l^\top \right) = 0"),
        );
    let mut plot =
        Plot::new(Axis::new(lab.say("time", "时间")), Axis::new(lab.say("strength a(t)", "强度 a(t)")));
    for (k, (curve, s)) in curves.into_iter().zip(STRENGTHS).enumerate() {
        let theory = (0..=160).map(|i| f64::from(i) * 0.05).map(|t| (t, saxe(s, t)));
        plot = plot
            .series(Series::line("", theory).dashed().colour(k))
            .series(Series::scatter(names[k].clone(), curve).colour(k));
    }
    chapter.figure(
        Figure::new(lab.say("A plateau, then a jump", "先平台，后跃升"), plot)
            .caption(lab.say(
                "Strength of three modes during gradient descent (points) and Saxe's sigmoids (dashed), nothing fitted.",
                "梯度下降中三个模式的强度（点）与 Saxe 的 S 形曲线（虚线），没有拟合任何参数。",
            ))
            .alt(lab.say(
                "Three sigmoids that rise one after the other, the strongest first",
                "三条先后升起的 S 形曲线，最强者最先",
            )),
    );
    Ok(())
}
