//! Attention as an algorithm, and layers of it: C6.7 to C6.9.

use super::figures;
use super::selection::ROUNDING;
use super::structure::{attend, projections};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, moments, slope};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::ops::Attention;
use crate::tensor::Tensor;

/// C6.7: positive random features of exp(x·y).
pub(super) fn features(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (m, draws) = (32, 20_000);
    let (mut bias, mut spread) = (Vec::new(), Vec::new());
    for (index, (length, cosine)) in [(0.5f64, 0.5f64), (0.7, 0.0), (0.8, -0.5)].into_iter().enumerate() {
        // x and y of one length span a plane, and only what lies in it matters.
        let x = [length, 0.0];
        let y = [length * cosine, length * (1.0 - cosine * cosine).sqrt()];
        let sum = [x[0] + y[0], x[1] + y[1]];
        let w = lab.normal(670 + index as u64, [draws * m, 2])?;
        let along = w.matmul(&Tensor::from_slice(lab.device(), &sum.map(|v| v as f32), [2, 1])?)?;
        let estimates =
            along.add_scalar(-length * length)?.exp()?.reshape([draws, m])?.mean(&[1], false)?.to_f64()?;
        let kernel = (x[0] * y[0] + x[1] * y[1]).exp();
        let (mean, variance) = moments(&estimates);
        let predicted = kernel * kernel * ((sum[0] * sum[0] + sum[1] * sum[1]).exp() - 1.0);
        bias.push(mean / kernel);
        spread.push(m as f64 * (variance + (mean - kernel).powi(2)) / predicted);
    }
    let names = ["|x| = .5, cos .5", "|x| = .7, cos 0", "|x| = .8, cos −.5"];
    chapter
        .claim(
            Claim::check(
                "C6.7",
                lab.say(
                    "Positive random features exp(w·x − |x|²/2) make exp(x·y) a mean of products: without bias \
                     (mean over the kernel)",
                    "正随机特征 exp(w·x − |x|²/2) 把 exp(x·y) 化成乘积的平均，且无偏（均值与核之比）",
                ),
                "Choromanski et al. 2021",
                [1.0; 3],
                bias,
                Tolerance::Absolute(0.01),
            )
            .formula(r"e^{x \cdot y} = \operatorname{E}_w e^{w \cdot (x + y) - (|x|^2 + |y|^2)/2}")
            .parts(names),
        )
        .claim(
            Claim::check(
                "C6.7.variance",
                lab.say(
                    "and m features have mean squared error exp(2·x·y)·(exp|x + y|² − 1)/m (measured over predicted)",
                    "m 个特征的均方误差为 exp(2·x·y)·(exp|x + y|² − 1)/m（测量值与预言值之比）",
                ),
                "Choromanski et al. 2021",
                [1.0; 3],
                spread,
                Tolerance::Absolute(0.12),
            )
            .parts(names),
        );
    Ok(())
}

/// C6.8: layers of linear attention take steps of gradient descent on what they are shown.
pub(super) fn in_context(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, d, steps, rate) = (32, 8, 20, 0.5);
    let x = lab.normal(680, [n + 1, d])?;
    let shown = x.slice(0, 0, n)?;
    let labels = x.matmul(&lab.normal(681, [d, 1])?)?;
    // The labels are the part of a token that a layer changes; the query's is zero at first.
    let mut tokens = labels.slice_assign(&[n, 0], &Tensor::zeros(lab.device(), [1, 1])?)?;
    let y = labels.slice(0, 0, n)?;
    let mut w = Tensor::zeros(lab.device(), [d, 1])?;
    let mut gaps = Vec::new();
    for _ in 0..steps {
        let values = tokens.slice(0, 0, n)?;
        let found = x.matmul(&shown.t()?)?.matmul(&values)?.mul_scalar(rate / n as f64)?;
        tokens = if lab.with("layer-skip") { tokens.sub(&found)? } else { found.neg()? };
        let variable = w.variable()?;
        let loss = shown.matmul(&variable)?.sub(&y)?.square()?.mean(&[], false)?.mul_scalar(0.5)?;
        w = variable.sub(&loss.backward()?.get(&variable)?.mul_scalar(rate)?)?.detach();
        let query = x.slice(0, n, n + 1)?;
        gaps.push(tokens.slice(0, n, n + 1)?.add(&query.matmul(&w)?)?);
    }
    let gaps: Result<Vec<f64>> = gaps.iter().map(Tensor::item).collect();
    chapter.claim(
        Claim::check(
            "C6.8",
            lab.say(
                "Twenty layers of linear attention over tokens (xᵢ, yᵢ) are twenty steps of gradient descent on the \
                 squares of w·xᵢ − yᵢ: after every layer the query holds minus the prediction of that step \
                 (largest difference)",
                "对词元 (xᵢ, yᵢ) 的二十层线性注意力，就是对 w·xᵢ − yᵢ 平方和的二十步梯度下降：每一层之后，查询处存放的\
                 正是那一步预测值的相反数（最大差）",
            ),
            "von Oswald et al. 2023",
            0.0,
            largest(gaps?),
            Tolerance::Absolute(ROUNDING),
        )
        .formula(r"y_i ← y_i - \frac{\eta}{N} \sum_{j \le N} y_j \langle x_j, x_i \rangle"),
    );
    Ok(())
}

/// What differs from row to row: ‖X − 1·mean‖, and the same over ‖X‖.
fn residual(x: &Tensor) -> Result<(f64, f64)> {
    let deviation = x.sub(&x.mean(&[0], true)?)?.norm(2.0, &[], false)?.item()?;
    Ok((deviation, deviation / x.norm(2.0, &[], false)?.item()?))
}

/// C6.9: attention alone makes all tokens alike, cubically in how unlike they were.
pub(super) fn collapse(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, d, layers) = (32, 32, 6);
    let all = Attention::default();
    let noise = lab.normal(690, [n, d])?;
    let noise = noise.sub(&noise.mean(&[0], true)?)?;
    let common = lab.normal(691, [1, d])?;
    let w = projections(lab, 692, d)?;
    let sizes = [0.04, 0.08, 0.16];
    let (mut alone, mut skipped) = (Vec::new(), Vec::new());
    for size in sizes {
        let x = noise.mul_scalar(size)?.add(&common)?;
        let y = attend(&x, &w, &all)?;
        alone.push(residual(&y)?.0);
        skipped.push(residual(&x.add(&y)?)?.0);
    }
    let start = lab.normal(695, [n, d])?;
    let unit = |x: &Tensor| x.div(&x.square()?.mean(&[], false)?.sqrt()?);
    let (mut without, mut with) = (start.clone(), start.clone());
    let mut depths = vec![[residual(&start)?.1; 2]];
    for layer in 0..layers {
        let w = projections(lab, 10_600 + 3 * layer, d)?;
        without = unit(&attend(&without, &w, &all)?)?;
        let added = attend(&with, &w, &all)?;
        with = unit(&if lab.with("attention-skip") { with.add(&added)? } else { added })?;
        depths.push([residual(&without)?.1, residual(&with)?.1]);
    }
    let last = depths[depths.len() - 1];
    chapter
        .claim(
            Claim::check(
                "C6.9",
                lab.say(
                    "Stacked attention without skip connections forgets what tells its tokens apart (share of the \
                     norm that differs between rows, after six layers); with them it does not",
                    "没有残差连接时，层层注意力会抹去词元之间的差别（六层之后各行相异部分所占的范数比例）；有残差连接则不会",
                ),
                "Dong et al. 2021",
                [1e-6, 0.3],
                last,
                Tolerance::Each(vec![Tolerance::Below, Tolerance::Above]),
            )
            .parts([lab.say("without skip", "无残差"), lab.say("with skip", "有残差")]),
        )
        .claim(
            Claim::check(
                "C6.9.exponent",
                lab.say(
                    "One layer takes rows that differ by ε to rows that differ by ε³, with a skip connection by ε \
                     (exponents)",
                    "一层注意力把相差 ε 的各行变成相差 ε³，有残差连接时仍为 ε（指数）",
                ),
                "Dong et al. 2021",
                [3.0, 1.0],
                [slope(&sizes, &alone), slope(&sizes, &skipped)],
                Tolerance::Each(vec![Tolerance::Absolute(0.1), Tolerance::Absolute(0.02)]),
            )
            .formula(r"X = 1 \mu^\top + \epsilon R \quad \mapsto \quad \|\operatorname{res} \operatorname{Attn} X\| \propto \epsilon^3")
            .parts([lab.say("without skip", "无残差"), lab.say("with skip", "有残差")]),
        );
    figures::collapse(lab, chapter, &depths);
    Ok(())
}
