//! What networks with prescribed weights reach: C1.1, C1.2, C1.4 and C1.7.

use super::{figures, pieces};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, moments, slope};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::tensor::Tensor;
use std::f64::consts::PI;

/// Points on which sup errors are taken: the middles of as many cells of [0, 1].
const POINTS: usize = 16384;

/// The network Σ (s_k − s_{k−1})·relu(x − k/N) of C1.1 on points x `[M, 1]`, in the type of x.
pub(super) fn interpolant(lab: &Lab, f: impl Fn(f64) -> f64, cells: usize, x: &Tensor) -> Result<Tensor> {
    let n = cells as f64;
    let slopes: Vec<f64> = (0..cells).map(|k| (f((k + 1) as f64 / n) - f(k as f64 / n)) * n).collect();
    let knots: Vec<f64> = (0..cells).map(|k| k as f64 / n).collect();
    let before = |k: usize| if k == 0 || !lab.with("slope-difference") { 0.0 } else { slopes[k - 1] };
    let jumps: Vec<f64> = (0..cells).map(|k| slopes[k] - before(k)).collect();
    let like = |values: &[f64], shape: [usize; 2]| {
        Tensor::from_slice(&Device::cpu(), values, shape)?.to_dtype(x.dtype())?.to_device(x.device())
    };
    let hidden = x.sub(&like(&knots, [1, cells])?)?.relu()?;
    hidden.matmul(&like(&jumps, [cells, 1])?)?.add_scalar(f(0.0))
}

/// The middles of the cells of [0, 1], `[POINTS, 1]`, exact in f32, and on the host.
fn middles(device: &Device, dtype: DType) -> Result<(Tensor, Vec<f64>)> {
    let x: Vec<f64> = (0..POINTS).map(|i| (i as f64 + 0.5) / POINTS as f64).collect();
    let tensor = Tensor::from_slice(&Device::cpu(), &x, [POINTS, 1])?.to_dtype(dtype)?.to_device(device)?;
    Ok((tensor, x))
}

/// The largest distance of a network's values from a function on the middles.
fn sup_error(values: &[f64], x: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    largest(values.iter().zip(x).map(|(v, x)| v - f(*x)))
}

/// C1.1: a layer of ReLUs as the linear interpolant.
pub(super) fn interpolation(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let f = |x: f64| (2.0 * PI * x).sin();
    let cells = [16usize, 32, 64, 128];
    let (x, points) = middles(lab.device(), DType::F32)?;
    let (exact, _) = middles(&Device::cpu(), DType::F64)?;
    let (mut errors, mut roundings) = (Vec::new(), Vec::new());
    for (done, &n) in cells.iter().enumerate() {
        let values = interpolant(lab, f, n, &x)?.to_f64()?;
        let truth = interpolant(lab, f, n, &exact)?.to_f64()?;
        errors.push(sup_error(&values, &points, f));
        roundings.push(largest(values.iter().zip(&truth).map(|(a, b)| a - b)));
        lab.progress(done as u64 + 1, cells.len() as u64);
    }
    let scaled =
        |values: &[f64]| -> Vec<f64> { values.iter().zip(cells).map(|(v, n)| v * (n * n) as f64).collect() };
    let (scaled_errors, scaled_roundings) = (scaled(&errors), scaled(&roundings));
    let constant = PI * PI / 2.0;
    let source = "de Boor 1978 (interpolation); Cybenko 1989, Hornik 1991 (density)";
    let names: Vec<f64> = cells.iter().map(|n| *n as f64).collect();
    let mut bounded: Vec<f64> = scaled_errors.iter().zip(&scaled_roundings).map(|(e, r)| e - r).collect();
    bounded.push(largest(scaled_errors.iter().copied()));
    chapter
        .claim(
            Claim::check(
                "C1.1",
                lab.say(
                    "The ReLU network that interpolates sin 2πx on N cells has N²·sup|f − f_N| → π²/2: at N = 64 \
                     within 2 %, and the error falls like N⁻²",
                    "在 N 个小区间上插值 sin 2πx 的 ReLU 网络满足 N²·sup|f − f_N| → π²/2：N = 64 时相差不到 2 %，误差按 N⁻² 下降",
                ),
                source,
                [constant, -2.0],
                [scaled_errors[2], slope(&names, &errors)],
                Tolerance::Each(vec![Tolerance::Relative(0.02), Tolerance::Absolute(0.02)]),
            )
            .parts([lab.say("N² · error, N = 64", "N² · 误差，N = 64"), lab.say("slope", "斜率")]),
        )
        .claim(
            Claim::check(
                "C1.1.bound",
                lab.say(
                    "and without what rounding added no error exceeds max|f″|/(8N²), with it none by more than 1 %",
                    "扣除舍入后，误差始终不超过 max|f″|/(8N²)；连舍入在内，也不会超出 1 %",
                ),
                source,
                vec![constant, constant, constant, constant, 1.01 * constant],
                bounded,
                Tolerance::AtMost,
            )
            .formula(r"N^2 \sup |f - f_N| \le \frac{π^2}{2}")
            .parts(["N = 16", "N = 32", "N = 64", "N = 128", lab.say("largest, with rounding", "最大者，含舍入")]),
        );
    Ok(())
}

/// What C1.2 found at one dimension: for each width the mean of n·relMSE and its standard error.
pub(super) struct Barron {
    pub dimension: usize,
    pub widths: [usize; 3],
    pub means: Vec<f64>,
    pub errors: Vec<f64>,
}

/// C1.2: averages of random units against the norm.
pub(super) fn random_features(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let points = 32;
    let widths = [64usize, 256, 1024];
    // In the plane the points of one net say almost the same, so there are more nets there.
    let trials = [(2usize, 1000usize), (16, 200), (128, 200)];
    let all: usize = trials.iter().map(|(d, nets)| d * nets).sum::<usize>() * widths.iter().sum::<usize>();
    let (mut done, mut stream) = (0, 120);
    let mut found = Vec::new();
    for (d, nets) in trials {
        let x = lab.normal(stream, [points, d])?;
        stream += 1;
        let x = x.div(&x.square()?.sum(&[1], true)?.sqrt()?)?;
        let (mut means, mut errors) = (Vec::new(), Vec::new());
        for n in widths {
            let w = lab.normal(stream, [nets * n * d])?;
            stream += 1;
            // As many nets at a time as keep the units within some ten million numbers.
            let at_once = nets.min((4 << 20) / (n * d.max(points)));
            let mut squares = Vec::with_capacity(nets);
            for first in (0..nets).step_by(at_once) {
                let some = at_once.min(nets - first);
                let w = w.slice(0, first * n * d, (first + some) * n * d)?.reshape([some * n, d])?;
                let units = x.matmul(&w.t()?)?.relu()?.reshape([points, some, n])?;
                let scale = if lab.with("unbiased") { (2.0 * PI).sqrt() } else { 2f64.sqrt() } / n as f64;
                let value = units.sum(&[2], false)?.mul_scalar(scale)?;
                squares.extend(value.add_scalar(-1.0)?.square()?.mean(&[0], false)?.to_f64()?);
                done += some * n * d;
                lab.progress(done as u64, all as u64);
            }
            let (mean, variance) = moments(&squares);
            means.push(n as f64 * mean);
            errors.push(n as f64 * (variance / nets as f64).sqrt());
        }
        found.push(Barron { dimension: d, widths, means, errors });
    }
    let cells = |f: &dyn Fn(&Barron, usize) -> String| -> Vec<String> {
        found.iter().flat_map(|b| (0..3).map(|k| f(b, k)).collect::<Vec<_>>()).collect()
    };
    chapter.claim(
        Claim::check(
            "C1.2",
            lab.say(
                "An average of n random ReLUs estimates ‖x‖ with relative mean square error (π − 1)/n in every \
                 dimension (n times that error)",
                "n 个随机 ReLU 的平均值估计 ‖x‖，相对均方误差为 (π − 1)/n，与维数无关（所列为误差乘以 n）",
            ),
            "Barron 1993; E relu² = 1/2, E relu = 1/√(2π)",
            vec![PI - 1.0; 9],
            found.iter().flat_map(|b| b.means.clone()).collect::<Vec<_>>(),
            Tolerance::Relative(0.15),
        )
        .formula(r"n \frac{\operatorname{E}(f_n(x) - \|x\|)^2}{\|x\|^2} = π - 1")
        .parts(cells(&|b, k| format!("d = {}, n = {}", b.dimension, b.widths[k]))),
    );
    figures::barron(lab, chapter, &found);
    Ok(())
}

/// C1.4: x² from iterated tents; and from one layer, for the figure.
pub(super) fn square(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let levels = 10;
    let mut deep = Vec::new();
    for m in 1..=levels {
        let cells = 1usize << (m + 1);
        let x: Vec<f32> = (0..=cells).map(|i| i as f32 / cells as f32).collect();
        let x = Tensor::from_slice(lab.device(), &x, [cells + 1])?;
        let (mut g, mut f) = (x.clone(), x.clone());
        for s in 1..=m {
            g = pieces::tent(lab, &g)?;
            f = f.sub(&g.mul_scalar(0.25f64.powi(s))?)?;
        }
        deep.push(f.sub(&x.square()?)?.abs()?.max(&[], false)?.item()?);
    }
    let (x, points) = middles(lab.device(), DType::F32)?;
    let mut shallow = Vec::new();
    for power in 1..=7 {
        let n = 1usize << power;
        let values = interpolant(lab, |x| x * x, n, &x)?.to_f64()?;
        shallow.push((n as f64, sup_error(&values, &points, |x| x * x)));
    }
    chapter.claim(
        Claim::check(
            "C1.4",
            lab.say(
                "m iterated tents give x² on 2^m cells, with sup error 4^−(m+1) exactly (error times 4^(m+1))",
                "m 个逐次复合的帐篷给出 x² 在 2^m 个小区间上的插值，上确界误差恰为 4^−(m+1)（所列为误差乘以 4^(m+1)）",
            ),
            "Yarotsky 2017",
            vec![1.0; levels as usize],
            deep.iter().zip(1..).map(|(e, m)| e * 4f64.powi(m + 1)).collect::<Vec<_>>(),
            Tolerance::Exact,
        )
        .formula(r"\sup |f_m - x^2| = 4^{-(m+1)}")
        .parts((1..=levels).map(|m| format!("m = {m}"))),
    );
    let deep = deep.iter().zip(1..).map(|(e, m)| (f64::from(2 * m), *e)).collect();
    figures::square(lab, chapter, shallow, deep);
    Ok(())
}

/// C1.7: what a quadratic activation cannot reach, at any width.
pub(super) fn polynomial(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let count = 4001;
    let x: Vec<f32> = (0..count).map(|i| (2 * i) as f32 / (count - 1) as f32 - 1.0).collect();
    let x = Tensor::from_slice(lab.device(), &x, [count, 1])?;
    let widths = [2usize, 8, 64];
    let mut floors = Vec::new();
    for (k, width) in widths.into_iter().enumerate() {
        let w = lab.normal(170 + 2 * k as u64, [1, width])?;
        let b = lab.normal(171 + 2 * k as u64, [1, width])?;
        let z = x.mul(&w)?.add(&b)?;
        let hidden = if lab.with("square-activation") { z.square()? } else { z.relu()? };
        floors.push(least_squares_floor(&hidden, &x.abs()?)?);
    }
    let both = x.relu()?.add(&x.neg()?.relu()?)?;
    let relu = both.sub(&x.abs()?)?.abs()?.max(&[], false)?.item()?;
    let floor = 1.0 / 192.0;
    chapter.claim(
        Claim::check(
            "C1.7",
            lab.say(
                "Squares as activations leave |x| at mean square distance 1/192, however many; two ReLUs give it exactly",
                "以平方为激活函数，无论多宽，与 |x| 的均方距离都是 1/192；而两个 ReLU 就能精确表示 |x|",
            ),
            "Leshno et al. 1993",
            [floor, floor, floor, 0.0],
            [floors[0], floors[1], floors[2], relu],
            Tolerance::Each(vec![
                Tolerance::Relative(0.01),
                Tolerance::Relative(0.01),
                Tolerance::Relative(0.01),
                Tolerance::Exact,
            ]),
        )
        .parts([
            lab.say("width 2", "宽度 2"),
            lab.say("width 8", "宽度 8"),
            lab.say("width 64", "宽度 64"),
            lab.say("two ReLUs, sup error", "两个 ReLU，上确界误差"),
        ]),
    );
    Ok(())
}

/// The mean square distance, by the trapezoidal rule, of `target` `[M, 1]` from the span of the columns of
/// `hidden` `[M, n]` and a constant: normal equations in f64.
fn least_squares_floor(hidden: &Tensor, target: &Tensor) -> Result<f64> {
    let cpu = Device::cpu();
    let [hidden, target] = [hidden, target].map(|t| t.to_device(&cpu)?.to_dtype(DType::F64));
    let (hidden, target) = (hidden?, target?);
    let (count, n) = (hidden.shape()[0], hidden.shape()[1] + 1);
    let ones = Tensor::full(&cpu, DType::F64, [count, 1], 1.0)?;
    let columns = Tensor::concat(&[&hidden, &ones], 1)?;
    let end = |i: usize| if i == 0 || i == count - 1 { 0.5 } else { 1.0 };
    let weights: Vec<f64> = (0..count).map(|i| end(i) / (count - 1) as f64).collect();
    let weights = Tensor::from_slice(&cpu, &weights, [count, 1])?;
    let weighted = columns.mul(&weights)?.t()?;
    let gram = weighted.matmul(&columns)?;
    // The columns of a wide layer are dependent: a ridge of a few roundings makes the system solvable.
    let trace: f64 = gram.to_f64()?.iter().step_by(n + 1).sum();
    let ridge: Vec<f64> = (0..n * n).map(|i| if i % (n + 1) == 0 { 1e-12 * trace } else { 0.0 }).collect();
    let factor = gram.add(&Tensor::from_slice(&cpu, &ridge, [n, n])?)?.cholesky()?;
    let solution = factor.cholesky_solve(&weighted.matmul(&target)?)?;
    let residual = columns.matmul(&solution)?.sub(&target)?;
    residual.square()?.mul(&weights)?.sum(&[], false)?.item()
}
