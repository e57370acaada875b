//! C3.4 and C3.5: what a gradient costs in work and in memory.

use super::network::{forward, parameters};
use crate::autodiff::checkpoint;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance, number};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Series, Table};
use crate::op::{counted, footprint};
use crate::tensor::Tensor;
use std::sync::Arc;
use std::time::Instant;

/// The seconds of the fastest of three runs, after one to warm up.
fn seconds(lab: &Lab, work: &dyn Fn() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for round in 0..4 {
        lab.device().wait()?;
        let start = Instant::now();
        work()?;
        lab.device().wait()?;
        if round > 0 {
            least = least.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(least)
}

/// C3.4: the constant of the cheap gradient.
pub(super) fn gradient(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let deep: Vec<usize> = [32].into_iter().chain([128; 10]).chain([1]).collect();
    let networks: [(&str, &[usize]); 4] = [
        ("64-64-10", &[64, 64, 10]),
        ("64-256-256-10", &[64, 256, 256, 10]),
        ("784-128-10", &[784, 128, 10]),
        ("32-128×10-1", &deep),
    ];
    let (mut predicted, mut measured) = (vec![], vec![]);
    let mut table = Table::new([
        lab.say("network", "网络"),
        lab.say("parameters $P$", "参数个数 $P$"),
        lab.say("MFLOP, value", "求值 MFLOP"),
        lab.say("MFLOP, value and gradient", "求值加梯度 MFLOP"),
        lab.say("ratio", "比值"),
        lab.say("ratio of times", "耗时之比"),
        lab.say("by differences: $P + 1$", "差商法：$P + 1$"),
    ]);
    for (name, sizes) in networks {
        let p = parameters(lab, 334, sizes)?;
        let p: Result<Vec<Tensor>> = p.iter().map(Tensor::variable).collect();
        let p = p?;
        let x = lab.normal(356, [256, sizes[0]])?;
        let value = || forward(&p, &x)?.square()?.mean(&[], false);
        let (loss, once) = counted(value);
        let (gradients, both) = counted(|| value()?.backward());
        loss?.finish()?;
        gradients?;
        let products: Vec<f64> = sizes.windows(2).map(|pair| (pair[0] * pair[1]) as f64).collect();
        predicted.push(3.0 - products[0] / products.iter().sum::<f64>());
        let ratio = both as f64 / once as f64;
        measured.push(ratio);
        let time = [
            seconds(lab, &|| value()?.finish())?,
            seconds(lab, &|| {
                let gradients = value()?.backward()?;
                p.iter().try_for_each(|p| gradients.get(p)?.finish())
            })?,
        ];
        let count: usize = p.iter().map(Tensor::count).sum();
        table = table.row([
            name.to_owned(),
            count.to_string(),
            format!("{:.2}", once as f64 / 1e6),
            format!("{:.2}", both as f64 / 1e6),
            format!("{ratio:.3}"),
            format!("{:.2}", time[1] / time[0]),
            (count + 1).to_string(),
        ]);
    }
    chapter.claim(
        Claim::check(
            "C3.4",
            lab.say(
                "Value and gradient cost 3 − n₀n₁/Σnₗnₗ₊₁ times the value, in the FLOPs of matrix products that the \
                 engine counted",
                "按引擎自行计得的矩阵乘法 FLOP，求值加梯度的代价是单求值的 3 − n₀n₁/Σnₗnₗ₊₁ 倍",
            ),
            "Baur & Strassen 1983; Griewank & Walther 2008",
            predicted,
            measured,
            Tolerance::Absolute(1e-3),
        )
        .formula(r"3 - \frac{n_0 n_1}{\sum_l n_l n_{l+1}} \in [2, 3]")
        .parts(networks.map(|(name, _)| name)),
    );
    chapter.figure(
        Figure::new(lab.say("The price of a gradient", "梯度的价钱"), table)
            .caption(lab.say(
                "Batches of 256. The FLOPs are counted as the products run; the ratio of times is what this device \
                 happened to take, launches and pointwise work included, and is not a claim.",
                "批量为 256。FLOP 在乘法执行时计数；耗时之比是这台设备此次的实测，含启动与逐点运算，不作断言。",
            ))
            .alt(lab.say("Table of networks with what value and gradient cost", "各网络求值与求梯度代价的表格"))
            .wide(),
    );
    Ok(())
}

/// Examples in a batch, and numbers in a layer, of the deep network whose memory is measured.
const BATCH: usize = 256;
const WIDTH: usize = 32;

/// The deep network: softmax of a product, a layer that keeps one tensor, its output.
fn layer(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    x.matmul(w)?.softmax(1)
}

/// The layers in `segments` checkpoints, or without any.
fn deep(lab: &Lab, x: &Tensor, weights: &Arc<Vec<Tensor>>, segments: usize) -> Result<Tensor> {
    if !lab.with("checkpoints") || segments == 0 {
        return weights.iter().try_fold(x.clone(), |x, w| layer(&x, w));
    }
    let length = weights.len().div_ceil(segments);
    weights.chunks(length).try_fold(x.clone(), |x, part| {
        // A checkpoint holds all it reads as inputs: a captured variable would lose its gradient.
        let inputs: Vec<&Tensor> = std::iter::once(&x).chain(part).collect();
        checkpoint(|given| given[1..].iter().try_fold(given[0].clone(), |x, w| layer(&x, w)), &inputs)
    })
}

/// C3.5: memory for time.
pub(super) fn checkpoints(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let x = lab.normal(357, [BATCH, WIDTH])?.contiguous()?;
    let u = lab.normal(358, [BATCH, WIDTH])?.contiguous()?;
    // Steep enough that the softmax of a softmax does not forget its input.
    let drawn = lab.normal(359, [144, WIDTH, WIDTH])?.mul_scalar(4.0)?;
    let all: Result<Vec<Tensor>> = (0..144).map(|l| drawn.select(0, l)?.contiguous()).collect();
    let all = all?;
    let of = |layers: usize| Arc::new(all[..layers].to_vec());
    lab.device().wait()?;
    // The most memory of a pass forth and back, and its FLOPs, with only the input to differentiate by.
    let run = |layers: usize, segments: usize| -> Result<(f64, u64)> {
        let (weights, x) = (of(layers), x.variable()?);
        let ((done, bytes), flops) = counted(|| {
            footprint(|| {
                deep(lab, &x, &weights, segments)?.mul(&u)?.sum(&[], false)?.backward()?.get(&x)?.finish()
            })
        });
        done?;
        Ok((bytes as f64 / (BATCH * WIDTH * size_of::<f32>()) as f64, flops))
    };
    // Every gradient, with the weights as variables.
    let gradients = |layers: usize, segments: usize| -> Result<Vec<Vec<f32>>> {
        let weights: Result<Vec<Tensor>> = all[..layers].iter().map(Tensor::variable).collect();
        let (weights, x) = (Arc::new(weights?), x.variable()?);
        let loss = deep(lab, &x, &weights, segments)?.mul(&u)?.sum(&[], false)?;
        let targets: Vec<&Tensor> = std::iter::once(&x).chain(weights.iter()).collect();
        let gradients = loss.backward()?;
        targets.iter().map(|t| gradients.get(t)?.to_vec()).collect()
    };
    let roots = [4usize, 8, 12];
    // What the walk itself holds beside the layers is what it holds for one layer.
    let (one_plain, one_kept) = (run(1, 0)?.0, run(1, 1)?.0);
    let (mut plain, mut kept, mut work, mut bits, mut moving) = (vec![], vec![], vec![], vec![], true);
    for root in roots {
        let layers = root * root;
        let ((held, flops), (few, more)) = (run(layers, 0)?, run(layers, root)?);
        plain.push((held - one_plain).floor() + 2.0);
        // A row of numbers between two launches is no layer.
        kept.push((few - one_kept).floor() + 2.0);
        let once = (2 * layers * BATCH * WIDTH * WIDTH) as f64;
        work.push(1.0 + (more as f64 - flops as f64) / once);
        let (a, b) = (gradients(layers, 0)?, gradients(layers, root)?);
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
        let differing: usize =
            a.iter().zip(&b).map(|(a, b)| a.iter().zip(b).filter(|&p| !same(p)).count()).sum();
        bits.push(differing as f64);
        moving &= a.iter().all(|g| g.iter().any(|v| *v != 0.0));
    }
    let layers = roots.map(|root| (root * root) as f64);
    let names = roots.map(|root| format!("L = {}", root * root));
    let source = "Chen et al. 2016";
    chapter
        .claim(
            Claim::check(
                "C3.5",
                lab.say(
                    "With √L checkpoints the walk back holds at most 2√L layers at a time (the peak in bytes, in whole \
                     layers, less what a single layer takes beside itself)",
                    "设 √L 个检查点，反向时同时在内存里的至多 2√L 层（以一层的字节数为单位、取整的峰值，扣除单层自身之外的开销）",
                ),
                source,
                roots.map(|root| 2.0 * root as f64),
                kept.clone(),
                Tolerance::Exact,
            )
            .parts(names.clone()),
        )
        .claim(
            Claim::check(
                "C3.5.plain",
                lab.say("and without checkpoints L + 1", "不设检查点则为 L + 1 层"),
                source,
                layers.map(|l| l + 1.0),
                plain.clone(),
                Tolerance::Exact,
            )
            .parts(names.clone()),
        )
        .claim(
            Claim::check(
                "C3.5.work",
                lab.say(
                    "for one more forward pass: forward work, in units of a pass",
                    "代价是多做一遍前向：前向工作量（以一遍为单位）",
                ),
                source,
                [2.0; 3],
                work,
                Tolerance::Exact,
            )
            .parts(names.clone()),
        )
        .claim(
            Claim::check(
                "C3.5.bits",
                lab.say(
                    "and the gradients of the input and of every weight have the same bits (elements that differ)",
                    "而输入与每个权重的梯度逐位相同（不同元素的个数）",
                ),
                source,
                [0.0; 3],
                // A gradient of zeros would have the same bits for no merit.
                if moving { bits } else { vec![f64::NAN; 3] },
                Tolerance::Exact,
            )
            .parts(names),
        );
    let line = |values: &[f64]| layers.into_iter().zip(values.iter().copied()).collect::<Vec<_>>();
    let theory =
        |f: &dyn Fn(f64) -> f64| (16..=144).map(|l| (f64::from(l), f(f64::from(l)))).collect::<Vec<_>>();
    let plot = Plot::new(
        Axis::new(lab.say("layers L", "层数 L")),
        Axis::new(lab.say("layers in memory at the peak", "峰值时内存中的层数")).log(),
    )
    .series(Series::scatter(lab.say("all kept", "全部保留"), line(&plain)).colour(1))
    .series(Series::line("L + 1", theory(&|l| l + 1.0)).dashed().colour(1))
    .series(Series::scatter(lab.say("√L checkpoints", "√L 个检查点"), line(&kept)).colour(0))
    .series(Series::line("2√L", theory(&|l| 2.0 * l.sqrt())).dashed().colour(0));
    chapter.figure(
        Figure::new(lab.say("Memory for time", "以时间换内存"), plot)
            .caption(lab.language().pick(
                format!(
                    "Peak memory of a pass forth and back through L layers, in layers of {} bytes, measured; dashed: \
                     what is predicted.",
                    number((BATCH * WIDTH * 4) as f64)
                ),
                format!("正反各一遍的峰值内存实测值，以每层 {} 字节为单位；虚线为预言。", number((BATCH * WIDTH * 4) as f64)),
            ))
            .alt(lab.say(
                "Layers in memory against depth: a line for all kept, a root for checkpoints",
                "内存中的层数随深度的变化：全部保留为直线，用检查点则为平方根",
            )),
    );
    Ok(())
}
