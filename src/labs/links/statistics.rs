//! L.5 and L.6: fitting as many parameters as there are data, and learning by heart.

use crate::data::{ImageSet, digits};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, double, moments, singular_values};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Rule, Series};
use crate::labs::training::{Classifier, Schedule, share_right, split};
use crate::nn::{Init, LayerInit, Linear, Params, Sequential};
use crate::optim::Adam;
use crate::tensor::Tensor;

/// Observations.
const N: usize = 60;
/// Variance of the noise.
const NOISE: f64 = 0.25;
/// Numbers of features.
const P: [usize; 8] = [15, 30, 45, 54, 66, 80, 120, 240];

/// The least-squares solution of least norm of X·w = y, X `[.., n, p]` of full rank, y `[.., n, 1]`.
fn least_norm(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (t, rank) = (x.transpose(-2, -1)?, x.rank());
    if x.shape()[rank - 1] < x.shape()[rank - 2] {
        return t.matmul(x)?.cholesky()?.cholesky_solve(&t.matmul(y)?);
    }
    t.matmul(&x.matmul(&t)?.cholesky()?.cholesky_solve(y)?)
}

/// The excess risk that theory predicts.
fn risk(p: f64) -> f64 {
    let n = N as f64;
    if p < n { NOISE * p / (n - p - 1.0) } else { 1.0 - n / p + NOISE * n / (p - n - 1.0) }
}

/// L.5.
pub(super) fn double_descent(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let draws = if lab.full() { 960 } else { 240 };
    let (mut measured, mut errors) = (Vec::new(), Vec::new());
    for (index, p) in P.into_iter().enumerate() {
        let stream = 1050 + 3 * index as u64;
        let x = double(&lab.normal(stream, [draws, N, p])?)?;
        let beta = double(&lab.normal(stream + 1, [draws, p, 1])?)?;
        let beta = beta.div(&beta.square()?.sum(&[1], true)?.sqrt()?)?;
        let noise = double(&lab.normal(stream + 2, [draws, N, 1])?)?.mul_scalar(NOISE.sqrt())?;
        let w = least_norm(&x, &x.matmul(&beta)?.add(&noise)?)?;
        let excess = w.sub(&beta)?.square()?.sum(&[1, 2], false)?.to_f64()?;
        let (mean, variance) = moments(&excess);
        measured.push(mean);
        errors.push((variance / draws as f64).sqrt());
        lab.progress(index as u64 + 1, P.len() as u64 + 2);
    }
    let near =
        |p: usize| if p.abs_diff(N) <= 10 { Tolerance::Relative(0.35) } else { Tolerance::Relative(0.1) };
    let source = "Hastie et al. 2022; Belkin et al. 2019";
    chapter
        .claim(
            Claim::check(
                "L.5",
                lab.say(
                    "The excess risk of least squares of least norm, 60 observations, p features: exact at finite sizes, \
                     infinite at p = n, falling again beyond",
                    "60 个观测、p 个特征的最小范数最小二乘的超额风险：有限大小下即为精确，p = n 处无穷大，越过后又下降",
                ),
                source,
                P.map(|p| risk(p as f64)),
                measured.clone(),
                Tolerance::Each(P.map(near).to_vec()),
            )
            .formula(r"\frac{σ^2 p}{n-p-1} \quad \text{or} \quad 1 - \frac{n}{p} + \frac{σ^2 n}{p-n-1}")
            .parts(P.map(|p| format!("p = {p}"))),
        )
        .claim(
            Claim::check(
                "L.5.descent",
                lab.say(
                    "Gradient descent from zero arrives at the solution of least norm among all that fit (relative \
                     distance, p = 120)",
                    "从零出发的梯度下降，在所有能拟合的解中到达范数最小的那个（相对距离，p = 120）",
                ),
                source,
                [0.0; 2],
                descent(lab)?,
                Tolerance::Each(vec![Tolerance::Absolute(1e-4), Tolerance::Absolute(1e-6)]),
            )
            .parts([lab.say("f32, the device", "f32，设备"), lab.say("f64, the reference", "f64，参考实现")]),
        );
    chapter.method(lab.language().pick(
        format!(
            "L.5: {draws} draws of data and true parameters, solved by Cholesky factors in f64 on the CPU reference, \
             since near p = n the equations are as ill-conditioned as can be. There the risk has a heavy tail, and the \
             tolerance is wide: 35 % for |p − n| ≤ 10."
        ),
        format!(
            "L.5：{draws} 次抽取数据与真参数；p 接近 n 时方程极度病态，故在 CPU 参考实现上以 f64 作 Cholesky 求解。\
             此处风险的分布尾部很重，|p − n| ≤ 10 时容差放宽为 35 %。"
        ),
    ));
    let branch = |from: usize, to: usize| -> Vec<(f64, f64)> {
        (2 * from..=2 * to).map(|p| (0.5 * p as f64, risk(0.5 * p as f64))).collect()
    };
    let plot = Plot::new(
        Axis::new(lab.say("features p", "特征数 p")).log().range(10.0, 300.0),
        Axis::new(lab.say("excess risk", "超额风险")).log().range(0.03, 30.0),
    )
    .series(Series::line(lab.say("theory", "理论"), branch(10, N - 2)).dashed().colour(1))
    .series(Series::line("", branch(N + 2, 300)).dashed().colour(1))
    .series(
        Series::scatter(lab.say("measured", "实测"), P.into_iter().map(|p| p as f64).zip(measured))
            .errors(errors.iter().map(|e| 2.0 * e))
            .colour(0),
    )
    .rule(Rule::vertical(N as f64, "p = n"));
    chapter.figure(
        Figure::new(lab.say("Double descent", "双下降"), plot)
            .caption(lab.say(
                "Excess risk against the number of features; error bars: two standard errors of the mean. Nothing is \
                 fitted.",
                "超额风险随特征数的变化；误差棒为均值标准误的两倍。没有拟合任何参数。",
            ))
            .alt(lab.say(
                "Risk rises to a pole at p equal to n and falls again; points on the curve",
                "风险在 p 等于 n 处升至极点后又下降，实测点落在曲线上",
            )),
    );
    Ok(())
}

/// How far gradient descent ends from the solution of least norm: in f32 on the device and in f64.
fn descent(lab: &Lab) -> Result<[f64; 2]> {
    let p = 120;
    let (x, beta) = (lab.normal(1080, [N, p])?.contiguous()?, lab.normal(1081, [p, 1])?.contiguous()?);
    let x64 = double(&x)?;
    let largest = singular_values(&x64.t()?.to_f64()?, N)[0];
    let rate = 1.9 / (largest * largest);
    let off = |x: &Tensor, beta: &Tensor| -> Result<f64> {
        let y = x.matmul(beta)?.contiguous()?;
        let exact = least_norm(&x64, &double(&y)?)?.to_f64()?;
        // From elsewhere, what lies in the null space of X stays.
        let mut w = if lab.with("zero-start") { beta.full_like(0.0)? } else { beta.mul_scalar(2.0)? };
        for _ in 0..2000 {
            let miss = x.matmul(&w)?.sub(&y)?;
            w = w.sub(&x.t()?.matmul(&miss)?.mul_scalar(rate)?)?.contiguous()?;
        }
        let apart: Vec<f64> = w.to_f64()?.iter().zip(&exact).map(|(a, b)| a - b).collect();
        Ok((dot(&apart, &apart) / dot(&exact, &exact)).sqrt())
    };
    Ok([off(&x, &beta)?, off(&x64, &double(&beta)?)?])
}

/// L.6: labels without meaning are learnt as well.
pub(super) fn memory(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const COUNT: usize = 300;
    let (train, test) = split(&digits()?, COUNT, lab.seed())?;
    let drawn = lab.uniform(1085, [COUNT])?.mul_scalar(10.0)?.to_f64()?;
    let random: Vec<u8> = drawn.iter().map(|v| v.floor().min(9.0) as u8).collect();
    let shuffled = ImageSet::new(train.images.clone(), random, train.height, train.width)?;
    // The network number `index`, trained on a set.
    let learnt = |index: u64, set: &ImageSet| -> Result<Classifier> {
        let params = Params::new(lab.device(), lab.seed().wrapping_add(index << 32));
        let layer = |name: &str, inputs, outputs, weight| {
            let init = LayerInit { weight, bias: true, bias_init: Some(Init::Zeros) };
            Linear::with(&params.at(name), inputs, outputs, init)
        };
        let model = Sequential::new()
            .then(|x| x.flatten(1))
            .add(layer("hidden", 64, 128, Init::he())?)
            .add(Tensor::relu)
            .add(layer("readout", 128, 10, Init::LecunNormal)?);
        let network = Classifier { params, model };
        let mut adam = Adam::new(&network.params, 0.01)?;
        let schedule = Schedule { epochs: 400, batch: COUNT, seed: lab.seed(), judged: false };
        network
            .train(&mut adam, set, &test, schedule, &|done, of| lab.progress(index * of + done, 4 * of))?;
        Ok(network)
    };
    let by_heart = learnt(0, &shuffled)?;
    // What one network makes of so few digits varies by a hundredth with its start: three vote.
    let mut votes = vec![0.0; 10 * test.len()];
    for index in 1..4 {
        let logits = learnt(index, &train)?.logits(&test)?;
        votes.iter_mut().zip(logits).for_each(|(vote, logit)| *vote += logit);
    }
    let results = [by_heart.accuracy(&shuffled)?, by_heart.accuracy(&test)?, share_right(&votes, &test)];
    // Rademacher: the mean of ‖Σ σᵢxᵢ‖ over random signs lies between ‖X‖/√2 (Khintchine) and ‖X‖ (Jensen).
    let x = Tensor::from_slice(lab.device(), &train.to_f32(), [COUNT, 64])?;
    let signs = Tensor::bernoulli(lab.device(), [2000, COUNT], 0.5, lab.stream(1086))?;
    let signs = signs.mul_scalar(2.0)?.add_scalar(-1.0)?;
    let sums = signs.matmul(&x)?.square()?.sum(&[1], false)?.sqrt()?;
    let frobenius = x.square()?.sum(&[], false)?.item()?.sqrt();
    let complexity = moments(&sums.to_f64()?).0 / frobenius;
    chapter
        .claim(
            Claim::check(
                "L.6",
                lab.say(
                    "A network fits 300 digits with random labels perfectly, and knows nothing of others; with true labels \
                     three such networks, voting, do",
                    "同一个网络能把 300 幅随机标注的数字全部记住，对其余图像却一无所知；换成真标签，三个这样的网络投票便学会了",
                ),
                "Zhang et al. 2017",
                [1.0, 0.1, 0.93],
                results,
                Tolerance::Each(vec![Tolerance::Exact, Tolerance::Absolute(0.08), Tolerance::Above]),
            )
            .parts([
                lab.say("random labels, training", "随机标签，训练集"),
                lab.say("random labels, test", "随机标签，测试集"),
                lab.say("true labels, test", "真标签，测试集"),
            ]),
        )
        .claim(
            Claim::check(
                "L.6.rademacher",
                lab.say(
                    "The Rademacher complexity of linear functions of unit norm, in units of ‖X‖/n, lies between 1/√2 and 1",
                    "单位范数线性函数类的 Rademacher 复杂度，以 ‖X‖/n 为单位，介于 1/√2 与 1 之间",
                ),
                "Bartlett & Mendelson 2002",
                1.0,
                complexity,
                Tolerance::Between(0.5f64.sqrt(), 1.0),
            )
            .formula(r"\frac{1}{\sqrt{2}} \le \frac{E \left‖ \sum_i σ_i x_i \right‖}{\|X\|} \le 1"),
        );
    Ok(())
}
