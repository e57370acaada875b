//! What can be counted: linear pieces, wrong labels, regions, breakpoints (C1.3, C1.5, C1.6).

use super::figures;
use crate::device::Device;
use crate::error::Result;
use crate::formula::Formula;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::tensor::Tensor;
use std::collections::HashSet;
use std::f64::consts::TAU;

/// T(x) = 2·relu(x) − 4·relu(x − ½).
pub(super) fn tent(lab: &Lab, x: &Tensor) -> Result<Tensor> {
    let fold = lab.with("fold");
    Tensor::map([x], |[x]| {
        let rise = Formula::constant(2.0) * x.clone().relu();
        if fold { rise - Formula::constant(4.0) * (x - Formula::constant(0.5)).relu() } else { rise }
    })
}

/// T∘…∘T, k times.
fn iterated(lab: &Lab, x: &Tensor, k: usize) -> Result<Tensor> {
    (0..k).try_fold(x.clone(), |x, _| tent(lab, &x))
}

/// The points i/cells, i from 0 to `cells`, exact in f32.
fn grid(lab: &Lab, cells: usize) -> Result<Tensor> {
    let x: Vec<f32> = (0..=cells).map(|i| i as f32 / cells as f32).collect();
    Tensor::from_slice(lab.device(), &x, [cells + 1])
}

/// How many monotone pieces the values along a line have.
fn monotone_pieces(y: &Tensor) -> Result<f64> {
    let n = y.count();
    let rises = y.slice(0, 1, n)?.sub(&y.slice(0, 0, n - 1)?)?.sign()?;
    let turns = rises.slice(0, 1, n - 1)?.mul(&rises.slice(0, 0, n - 2)?)?;
    Ok(1.0 + turns.less(&turns.full_like(0.0)?)?.sum(&[], false)?.item()?)
}

/// C1.3: what k folds do, and no layer of a few units can.
pub(super) fn depth_separation(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let deepest = 14usize;
    let mut pieces = Vec::new();
    for k in 1..=deepest {
        pieces.push(monotone_pieces(&iterated(lab, &grid(lab, 1 << (k + 2))?, k)?)?);
    }
    let k = 6usize;
    let points = 1usize << k;
    let widths = [4usize, 8, 16, 32];
    // The points i/2^k for i < 2^k, and ±1 for odd and even i.
    let x = grid(lab, points)?.slice(0, 0, points)?;
    let labels: Vec<f32> = (0..points).map(|i| if i % 2 == 1 { 1.0 } else { -1.0 }).collect();
    let labels = Tensor::from_slice(lab.device(), &labels, [points, 1])?;
    let wrong = |f: &Tensor| -> Result<f64> {
        let product = f.reshape([points, 1])?.mul(&labels)?;
        product.less(&product.full_like(0.0)?)?.mean(&[], false)?.item()
    };
    let deep = wrong(&iterated(lab, &x, k)?.add_scalar(-0.5)?)?;
    let (mut bounds, mut random, mut placed) = (Vec::new(), Vec::new(), Vec::new());
    for (index, m) in widths.into_iter().enumerate() {
        bounds.push(0.5 * (1.0 - (m + 2) as f64 / points as f64));
        random.push(random_layers(lab, m, 130 + 2 * index as u64, &x, &labels)?);
        placed.push(wrong(&zigzag(lab, m, &x)?)?);
    }
    let names = widths.map(|m| format!("m = {m}"));
    chapter
        .claim(
            Claim::check(
                "C1.3",
                lab.say(
                    "k tents in a row, 2k ReLUs, have exactly 2^k linear pieces",
                    "k 个帐篷映射依次复合，共 2k 个 ReLU，恰有 2^k 段折线",
                ),
                "Telgarsky 2015, 2016",
                (1..=deepest).map(|k| f64::from(1u32 << k)).collect::<Vec<_>>(),
                pieces,
                Tolerance::Exact,
            )
            .parts((1..=deepest).map(|k| format!("k = {k}"))),
        )
        .claim(
            Claim::check(
                "C1.3.shallow",
                lab.say(
                    "On 64 points with alternating labels the best of 200 random layers of m ReLUs with a least-squares \
                     readout errs at least as often as counting pieces says",
                    "64 个点，标签交替：取 200 个宽度为 m 的随机隐层，输出层用最小二乘，其中最好的一个，错误率也不低于数折线段得出的下界",
                ),
                "Telgarsky 2016; the bound by counting",
                bounds.clone(),
                random,
                Tolerance::AtLeast,
            )
            .formula(r"\text{error} \ge \frac{1}{2}\left(1 - \frac{m+2}{64}\right)")
            .parts(names.clone()),
        )
        .claim(
            Claim::check(
                "C1.3.sharp",
                lab.say(
                    "and the bound is attained: a layer of m ReLUs with its kinks at the first m points errs exactly \
                     so often; twelve ReLUs in six layers never",
                    "这个下界可以达到：把 m 个 ReLU 的折点放在前 m 个点上，错误率恰好等于它；而六层共十二个 ReLU 一个也不错",
                ),
                lab.say("by construction", "构造性证明"),
                [&bounds[..], &[0.0]].concat(),
                [&placed[..], &[deep]].concat(),
                Tolerance::Exact,
            )
            .parts(names.into_iter().chain([lab.say("six tents", "六个帐篷").to_owned()])),
        );
    figures::tents(lab, chapter, &|k| {
        let cells = 512;
        let y = iterated(lab, &grid(lab, cells)?, k)?.to_f64()?;
        Ok(y.into_iter().enumerate().map(|(i, y)| (i as f64 / cells as f64, y)).collect())
    })
}

/// The smallest share of wrong labels over 200 random layers of m units, each with the readout that fits the
/// labels best in the least-squares sense. A value within rounding of zero counts as right.
fn random_layers(lab: &Lab, m: usize, stream: u64, x: &Tensor, labels: &Tensor) -> Result<f64> {
    let (nets, points) = (200, x.count());
    let knots = lab.uniform(stream, [nets, 1, m])?;
    let directions = lab.normal(stream + 1, [nets, 1, m])?.sign()?;
    let units = x.reshape([1, points, 1])?.sub(&knots)?.mul(&directions)?.relu()?;
    let ones = Tensor::ones(lab.device(), [nets, points, 1])?;
    let a = Tensor::concat(&[&units, &ones], 2)?;
    let target = labels.unsqueeze(0)?.broadcast_to([nets, points, 1])?;
    let identity: Vec<f32> =
        (0..(m + 1) * (m + 1)).map(|i| if i % (m + 2) == 0 { 1e-3 } else { 0.0 }).collect();
    let ridge = Tensor::from_slice(lab.device(), &identity, [1, m + 1, m + 1])?;
    let factor = a.t()?.matmul(&a)?.add(&ridge)?.cholesky()?;
    let readout = factor.cholesky_solve(&a.t()?.matmul(&target)?)?;
    // The computed value is within (m + 3)·2⁻²³·Σ|terms| of that of a real network with these weights.
    let rounding = a.abs()?.matmul(&readout.abs()?)?.mul_scalar((m + 3) as f64 * 2f64.powi(-23))?;
    let signed = a.matmul(&readout)?.mul(&target)?;
    let wrong = signed.less(&rounding.neg()?)?.mean(&[1, 2], false)?;
    wrong.min(&[], false)?.item()
}

/// A layer of m ≥ 4 ReLUs (m even) with kinks at the points 1 … m, whose sign alternates on the points 0 … m + 1:
/// slopes 256, −128, 128, −128, …. One unit looks left, the one at point 3, and gives the first slope.
fn zigzag(lab: &Lab, m: usize, x: &Tensor) -> Result<Tensor> {
    let points = x.count() as f32;
    let slope = |p: usize| match p {
        0 => 4.0 * points,
        p if p % 2 == 1 => -2.0 * points,
        _ => 2.0 * points,
    };
    let (left, offset) = (3, 9.0);
    let knots: Vec<f32> = (1..=m).map(|i| i as f32 / points).collect();
    let sides: Vec<f32> = (1..=m).map(|i| if i == left { -1.0 } else { 1.0 }).collect();
    let jumps: Vec<f32> = (1..=m).map(|i| slope(i) - slope(i - 1)).collect();
    let row = |values: &[f32]| Tensor::from_slice(lab.device(), values, [1, m]);
    let hidden = x.reshape([x.count(), 1])?.sub(&row(&knots)?)?.mul(&row(&sides)?)?.relu()?;
    hidden.matmul(&row(&jumps)?.t()?)?.add_scalar(offset)
}

/// C1.5: the activation patterns of n lines in the plane, counted at their crossings.
pub(super) fn regions(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let cpu = Device::cpu();
    let (mut counted, mut predicted, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (index, n) in [4usize, 8, 16, 24].into_iter().enumerate() {
        let w = lab.normal(150 + 2 * index as u64, [n, 2])?.to_f64()?;
        let b: Vec<f64> =
            lab.normal(151 + 2 * index as u64, [n])?.to_f64()?.iter().map(|b| 0.5 * b).collect();
        let (mut pairs, mut corners) = (Vec::new(), Vec::new());
        for i in 0..n {
            for j in 0..i {
                // Where lines i and j cross, by Cramer's rule.
                let (p, q) = ((w[2 * i], w[2 * i + 1]), (w[2 * j], w[2 * j + 1]));
                let det = p.0 * q.1 - p.1 * q.0;
                pairs.push((i, j));
                corners.extend([(p.1 * b[j] - q.1 * b[i]) / det, (q.0 * b[i] - p.0 * b[j]) / det]);
            }
        }
        let corners = Tensor::from_slice(&cpu, &corners, [pairs.len(), 2])?;
        let lines = Tensor::from_slice(&cpu, &w, [n, 2])?;
        let z = corners.matmul_bias(&lines.t()?, &Tensor::from_slice(&cpu, &b, [n])?)?.to_f64()?;
        // Every region that lines in general position cut out has a corner, and around a corner the two units
        // that cross there take all four signs while the others keep theirs.
        let mut patterns = HashSet::new();
        for (row, (i, j)) in z.chunks(n).zip(&pairs) {
            let others =
                row.iter().zip(0..).fold(0u32, |bits, (z, unit)| bits | (u32::from(*z > 0.0) << unit));
            let others = others & !(1 << i) & !(1 << j);
            patterns.extend([0, 1 << i, 1 << j, 1 << i | 1 << j].map(|own| others | own));
        }
        counted.push(patterns.len() as f64);
        predicted.push((1 + n + n * (n - 1) / 2) as f64);
        names.push(format!("n = {n}"));
    }
    chapter.claim(
        Claim::check(
            "C1.5",
            lab.say(
                "n ReLUs on the plane have 1 + n + n(n − 1)/2 activation patterns",
                "平面上 n 个 ReLU 共有 1 + n + n(n − 1)/2 种激活模式",
            ),
            "Zaslavsky 1975; Montúfar et al. 2014",
            predicted,
            counted,
            Tolerance::Exact,
        )
        .parts(names),
    );
    Ok(())
}

/// C1.6: how often the units of random deep networks switch along a great circle.
pub(super) fn breakpoints(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (nets, points, width, layers) = (20usize, if lab.full() { 8192 } else { 4096 }, 64usize, 8usize);
    let circle: Vec<f32> = (0..points)
        .flat_map(|i| {
            let angle = TAU * i as f64 / points as f64;
            [angle.cos() as f32, angle.sin() as f32]
        })
        .collect();
    let mut h = Tensor::from_slice(lab.device(), &circle, [1, points, 2])?.broadcast_to([nets, points, 2])?;
    let mut each = Vec::new();
    for layer in 0..layers {
        let inputs = if layer == 0 { 2 } else { width };
        let w = lab.normal(160 + layer as u64, [nets, inputs, width])?;
        let z = h.matmul(&w.mul_scalar((2.0 / inputs as f64).sqrt())?)?;
        let on = z.full_like(0.0)?.less(&z)?;
        let switches = on.sub(&on.roll(1, 1)?)?.abs()?.sum(&[], false)?.item()?;
        each.push(switches / (nets * width) as f64);
        h = z.relu()?;
        lab.progress(layer as u64 + 1, layers as u64);
    }
    let mean = each.iter().sum::<f64>() / layers as f64;
    chapter.claim(Claim::check(
        "C1.6",
        lab.say(
            "Along a great circle a unit of a random ReLU network switches twice on average, in layer eight as in \
             layer one: random depth folds nothing (mean over eight layers)",
            "沿大圆走一圈，随机 ReLU 网络的每个单元平均切换两次，第八层与第一层一样：随机的深度并不产生折叠（八层平均）",
        ),
        "Hanin & Rolnick 2019; Hanin et al. 2022",
        2.0,
        mean,
        Tolerance::Relative(0.1),
    ));
    figures::breakpoints(lab, chapter, &each);
    Ok(())
}
