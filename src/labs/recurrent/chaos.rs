//! The edge of chaos: C9.3.

use super::figures;
use super::gates::carousel;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::tensor::Tensor;

/// The gains that are tried.
const GAINS: [f64; 3] = [0.8, 1.5, 2.5];
/// Networks of each gain.
const NETS: usize = 3;
const UNITS: usize = 512;
const STEPS: usize = 300;
/// Steps that the activity is given to settle in.
const SETTLED: usize = 100;

/// What mean-field theory says of activity and Lyapunov exponent: q = g²·E tanh²(√q·z) and
/// λ = ½·ln(g²·E sech⁴(√q·z)).
fn mean_field(gain: f64) -> (f64, f64) {
    let expectation = |f: &dyn Fn(f64) -> f64| {
        let (mut sum, mut total) = (0.0, 0.0);
        for i in -800..=800 {
            let z = f64::from(i) * 0.01;
            let density = (-z * z / 2.0).exp();
            sum += density * f(z);
            total += density;
        }
        sum / total
    };
    let mut q = 1.0f64;
    for _ in 0..300 {
        q = gain * gain * expectation(&|z| (q.sqrt() * z).tanh().powi(2));
    }
    let slope = expectation(&|z| (1.0 - (q.sqrt() * z).tanh().powi(2)).powi(2));
    (if gain > 1.0 { q } else { 0.0 }, 0.5 * (gain * gain * slope).ln())
}

/// What a run of one network gave.
struct Run {
    /// Mean x² once settled.
    activity: f64,
    /// ln of the growth of a perturbation, for each step once settled.
    growth: Vec<f64>,
}

/// Runs x ← W·tanh x with a perturbation of it, all networks side by side.
fn run(lab: &Lab) -> Result<Vec<Vec<Run>>> {
    let (all, n) = (GAINS.len() * NETS, UNITS);
    let scales: Vec<f32> = (0..all).map(|i| (GAINS[i / NETS] / (n as f64).sqrt()) as f32).collect();
    let w = lab.normal(930, [all, n, n])?.mul(&Tensor::from_slice(lab.device(), &scales, [all, 1, 1])?)?;
    let mut x = lab.normal(931, [all, 1, n])?;
    let mut v = lab.normal(932, [all, 1, n])?;
    let (mut growths, mut activities) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        let h = x.tanh()?;
        let pushed = match lab.with("tanh-slope") {
            true => Tensor::map([&h, &v], |[h, v]| (1.0 - h.clone() * h) * v)?,
            false => v.clone(),
        };
        let both = Tensor::concat(&[&h, &pushed], 1)?.matmul(&w)?;
        x = both.slice(1, 0, 1)?;
        let moved = both.slice(1, 1, 2)?;
        let norm = moved.square()?.sum(&[2], true)?.sqrt()?;
        v = moved.div(&norm)?;
        if step >= SETTLED {
            growths.push(norm);
            activities.push(x.square()?.mean(&[2], true)?);
        }
        if step % 10 == 9 {
            lab.device().wait()?;
            lab.progress(step as u64 + 1, STEPS as u64);
        }
    }
    let read = |parts: &[Tensor]| parts.iter().map(Tensor::to_f64).collect::<Result<Vec<_>>>();
    let (growths, activities) = (read(&growths)?, read(&activities)?);
    let one = |net: usize| Run {
        activity: activities.iter().map(|a| a[net]).sum::<f64>() / activities.len() as f64,
        growth: growths.iter().map(|g| g[net].ln()).collect(),
    };
    Ok((0..GAINS.len()).map(|g| (0..NETS).map(|k| one(g * NETS + k)).collect()).collect())
}

/// C9.3: activity and Lyapunov exponent of random networks.
pub(super) fn edge(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let runs = run(lab)?;
    let theory = GAINS.map(mean_field);
    let mean = |values: &dyn Fn(&Run) -> f64, g: usize| runs[g].iter().map(values).sum::<f64>() / NETS as f64;
    let exponent = |run: &Run| run.growth.iter().sum::<f64>() / run.growth.len() as f64;
    let names = ["g = 0.8", "g = 1.5", "g = 2.5"];
    chapter
        .claim(
            Claim::check(
                "C9.3",
                lab.say(
                    "Perturbations of x ← W tanh x, W ~ N(0, g²/n), grow at the rate λ of mean-field theory: they die \
                     out below g = 1, and above it there is chaos",
                    "对 x ← W tanh x（W ~ N(0, g²/n)）的扰动以平均场理论的速率 λ 增长：g 小于 1 时消亡，大于 1 时出现混沌",
                ),
                "Sompolinsky et al. 1988; Molgedey et al. 1992",
                theory.map(|t| t.1),
                [0, 1, 2].map(|g| mean(&exponent, g)),
                Tolerance::Absolute(0.06),
            )
            .formula(r"\lambda = \frac{1}{2} \ln \left( g^2 \operatorname{E} \operatorname{sech}^4(\sqrt q z) \right)")
            .parts(names),
        )
        .claim(
            Claim::check(
                "C9.3.activity",
                lab.say(
                    "and the mean square q of the activity solves q = g² E tanh²(√q z)",
                    "活动的均方 q 满足 q = g² E tanh²(√q z)",
                ),
                "Sompolinsky et al. 1988",
                theory.map(|t| t.0),
                [0, 1, 2].map(|g| mean(&|run: &Run| run.activity, g)),
                Tolerance::Each(vec![
                    Tolerance::Absolute(1e-6),
                    Tolerance::Relative(0.08),
                    Tolerance::Relative(0.08),
                ]),
            )
            .formula(r"q = g^2 \operatorname{E} \tanh^2(\sqrt q z)")
            .parts(names),
        );
    let mut curves = Vec::new();
    for (g, gain) in GAINS.into_iter().enumerate() {
        let sums: Vec<Vec<f64>> = runs[g].iter().map(|run| summed(&run.growth)).collect();
        let points = (9..50).step_by(10).chain([99, 149]).map(|t| {
            let at: Vec<f64> = sums.iter().map(|s| s[t]).collect();
            let mean = at.iter().sum::<f64>() / NETS as f64;
            let spread = at.iter().map(|v| (v - mean).abs()).fold(0.0, f64::max);
            (t as f64 + 1.0, mean, spread)
        });
        curves.push((format!("tanh, g = {gain}"), points.collect(), theory[g].1));
    }
    for bias in [1.0, 3.0] {
        let mut points = Vec::new();
        for steps in [10, 20, 30, 40, 50, 100, 150] {
            points.push((steps as f64, carousel(lab, bias, steps)?.ln(), 0.0));
        }
        curves.push((format!("LSTM, b = {bias}"), points, -(-bias).exp().ln_1p()));
    }
    figures::growth(lab, chapter, curves);
    Ok(())
}

/// Running sums.
fn summed(values: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    values
        .iter()
        .map(|v| {
            sum += v;
            sum
        })
        .collect()
}
