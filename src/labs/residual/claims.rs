//! What depth does to signals and gradients: C4.1, C4.2, C4.5 and C4.7.

use super::blocks::{Nets, Weights, block, branch, cotangents, share, squares};
use super::figures;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, moments, slope};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::tensor::Tensor;
use std::f64::consts::PI;

/// The mean over all rows of Σ a² / Σ b².
fn ratio(a: &Tensor, b: &Tensor) -> Result<f64> {
    let ratios: Vec<f64> = squares(a)?.iter().zip(squares(b)?).map(|(a, b)| a / b).collect();
    Ok(moments(&ratios).0)
}

/// Growth of the mean square over `depth` blocks, forward and backward: the mean over `groups` times `nets` networks
/// of eight inputs each. Few networks at a time, as all weights are kept for the way back.
fn growth_over(
    lab: &Lab,
    base: u64,
    depth: usize,
    alpha2: f64,
    groups: u64,
    nets: usize,
) -> Result<[f64; 2]> {
    let mut sums = [0.0; 2];
    for group in 0..groups {
        let nets = Nets { base: base + group, count: nets, width: 128, alpha2 };
        let x = nets.rows(lab, 1000 * nets.base + 998, 8)?.variable()?;
        let u = nets.rows(lab, 1000 * nets.base + 999, 8)?;
        let mut y = x.clone();
        for layer in 0..depth {
            y = block(lab, &y, &nets.block(lab, layer)?)?;
        }
        let back = y.pull_back(&u, &[&x])?.swap_remove(0);
        sums[0] += ratio(&y, &x)? / groups as f64;
        sums[1] += ratio(&back, &u)? / groups as f64;
    }
    Ok(sums)
}

/// C4.1: growth of the stream and of its gradient.
pub(super) fn growth(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let explodes = growth_over(lab, 450, 16, 1.0, 3, 32)?;
    lab.progress(1, 2);
    let depths = [16usize, 64, 128];
    let mut stable = Vec::new();
    for (base, depth) in (401..).zip(depths) {
        stable.push(growth_over(lab, base, depth, share(lab, depth), 1, 8)?);
    }
    let source = "Hanin & Rolnick 2018; Zhang et al. 2019";
    let both = [lab.say("forward", "前向"), lab.say("backward", "反向")];
    let names = depths.iter().flat_map(|depth| both.map(|way| format!("L = {depth}, {way}")));
    let predicted: Vec<f64> =
        depths.iter().flat_map(|depth| [(1.0 + 1.0 / *depth as f64).powi(*depth as i32); 2]).collect();
    chapter
        .claim(
            Claim::check(
                "C4.1",
                lab.say(
                    "Blocks at full size double the mean square of the stream, and of its gradient: growth of each of \
                     16 blocks",
                    "支路不缩小时，每个残差块使信号与梯度的均方加倍：16 块中平均每块的增长倍数",
                ),
                source,
                [2.0; 2],
                explodes.map(|r| r.powf(1.0 / 16.0)),
                Tolerance::Relative(0.02),
            )
            .formula(r"E \|x_L\|^2 = (1 + α^2)^L \|x_0\|^2, \quad α = 1")
            .parts(both),
        )
        .claim(
            Claim::check(
                "C4.1.stable",
                lab.say(
                    "Branches scaled by L^(−1/2) keep both bounded at any depth: growth over all blocks",
                    "支路乘以 L^(−1/2) 后，无论多深两者都有界：全部块的总增长倍数",
                ),
                source,
                predicted,
                stable.iter().flatten().copied().collect::<Vec<_>>(),
                Tolerance::Relative(0.2),
            )
            .formula(r"\left(1 + \frac{1}{L}\right)^L \to e")
            .parts(names),
        );
    chapter.method(lab.say(
        "C4.1: width 128, 8 networks of 8 inputs each. Where the network explodes the ratios are log-normal with long \
         tails: there it is 96 networks, and the mean growth of a block that is compared.",
        "C4.1：宽度 128，8 个网络各 8 个输入。爆炸时比值近于对数正态，尾部很长，故改用 96 个网络，并比较平均每块的增长倍数。",
    ));
    figures::gradients(lab, chapter)
}

/// C4.2: which paths carry the gradient.
pub(super) fn lengths(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const DEPTH: usize = 32;
    const NETS: usize = 16;
    let (mut means, mut expected, mut apart, mut drawn) = (vec![], vec![], vec![], vec![]);
    for (index, alpha2) in [1.0, 0.25].into_iter().enumerate() {
        let nets = Nets { base: 410 + index as u64, count: NETS, width: 128, alpha2 };
        let mut x = nets.rows(lab, 452, 1)?;
        let mut layers: Vec<(Tensor, Weights)> = Vec::new();
        for layer in 0..DEPTH {
            let w = nets.block(lab, layer)?;
            let y = block(lab, &x, &w)?;
            // Only where units are active matters here, so the stream is kept at one size.
            let size = y.square()?.mean(&[-1], true)?.sqrt()?;
            layers.push((x, w));
            x = y.div(&size)?.contiguous()?;
        }
        // Row k of the table is the cotangent that came through k branches.
        let start = nets.rows(lab, 453, 1)?;
        let mut table = start.pad(&[(0, 0), (0, DEPTH), (0, 0)], 0.0)?;
        for (x, w) in layers.iter().rev() {
            let at = x.broadcast_to([NETS, DEPTH + 1, 128])?.contiguous()?.variable()?;
            let through = branch(&at, w)?.pull_back(&table, &[&at])?.swap_remove(0).detach();
            let longer = through.slice(1, 0, DEPTH)?.pad(&[(0, 0), (1, 0), (0, 0)], 0.0)?;
            table = if lab.with("skip") { table.add(&longer)? } else { longer };
        }
        let mut energy = vec![0.0; DEPTH + 1];
        for net in squares(&table)?.chunks(DEPTH + 1) {
            let total: f64 = net.iter().sum();
            energy.iter_mut().zip(net).for_each(|(e, s)| *e += s / total / NETS as f64);
        }
        let p = alpha2 / (1.0 + alpha2);
        let binomial = binomial(DEPTH, p);
        means.push(energy.iter().enumerate().map(|(k, e)| k as f64 * e).sum::<f64>());
        expected.push(DEPTH as f64 * p);
        apart.push(0.5 * energy.iter().zip(&binomial).map(|(a, b)| (a - b).abs()).sum::<f64>());
        drawn.push((alpha2, energy, binomial));
    }
    let source = "Veit, Wilber & Belongie 2016";
    let names = ["α² = 1", "α² = 1/4"];
    chapter
        .claim(
            Claim::check(
                "C4.2",
                lab.say(
                    "Of 32 blocks, the gradient passes on average only L α²/(1+α²) through their branches",
                    "共 32 块，梯度平均只穿过其中 L α²/(1+α²) 条支路",
                ),
                source,
                expected,
                means,
                Tolerance::Relative(0.06),
            )
            .formula(r"E k = \frac{L α^2}{1 + α^2}")
            .parts(names),
        )
        .claim(
            Claim::check(
                "C4.2.distribution",
                lab.say(
                    "and the energies of the paths of each length are binomial (distance in total variation)",
                    "而且各长度路径的能量服从二项分布（全变差距离）",
                ),
                source,
                0.1,
                apart,
                Tolerance::Below,
            )
            .formula(r"E_k \sim \operatorname{Bin}\left(L, \frac{α^2}{1+α^2}\right)")
            .parts(names),
        );
    figures::lengths(lab, chapter, &drawn);
    Ok(())
}

/// The probabilities of 0 … n successes.
fn binomial(n: usize, p: f64) -> Vec<f64> {
    let mut probability = (1.0 - p).powi(n as i32);
    (0..=n)
        .map(|k| {
            let now = probability;
            probability *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
            now
        })
        .collect()
}

/// κ₀(c), the share of units active for both inputs at cosine c, times two.
fn kappa0(c: f64) -> f64 {
    (PI - c.clamp(-1.0, 1.0).acos()) / PI
}

/// κ₁(c), the cosine after a layer.
fn kappa1(c: f64) -> f64 {
    let c = c.clamp(-1.0, 1.0);
    ((1.0 - c * c).sqrt() + (PI - c.acos()) * c) / PI
}

/// C4.5: the cosine between the gradients of two inputs.
pub(super) fn shattering(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const WIDTH: usize = 256;
    const START: f64 = 0.9;
    // Few networks at a time, as the weights of all layers are kept for the way back.
    const GROUPS: u64 = 8;
    const NETS: usize = 4;
    let pair = {
        let mut rows = vec![0.0f32; 2 * WIDTH];
        let size = (WIDTH as f64).sqrt();
        (rows[0], rows[WIDTH], rows[WIDTH + 1]) =
            (size as f32, (size * START) as f32, (size * (1.0 - START * START).sqrt()) as f32);
        Tensor::from_slice(lab.device(), &rows, [1, 2, WIDTH])?
            .broadcast_to([NETS, 2, WIDTH])?
            .contiguous()?
    };
    let mut measured = Vec::new();
    for (index, (residual, depth)) in [(false, 10usize), (true, 40)].into_iter().enumerate() {
        let mut cosines = Vec::new();
        for group in 0..GROUPS {
            let base = 420 + 10 * index as u64 + group;
            let nets = Nets { base, count: NETS, width: WIDTH, alpha2: 1.0 / depth as f64 };
            let x = pair.variable()?;
            let mut y = x.clone();
            for layer in 0..depth {
                y = if residual {
                    block(lab, &y, &nets.block(lab, layer)?)?
                } else {
                    y.matmul(&nets.matrix(lab, layer, (2.0 / WIDTH as f64).sqrt())?)?.relu()?
                };
            }
            let u = nets.rows(lab, 1000 * base + 999, 1)?.broadcast_to([NETS, 2, WIDTH])?.contiguous()?;
            let gradients = y.pull_back(&u, &[&x])?.swap_remove(0).to_f64()?;
            for net in gradients.chunks(2 * WIDTH) {
                let (a, b) = net.split_at(WIDTH);
                cosines.push(dot(a, b) / (dot(a, a) * dot(b, b)).sqrt());
            }
            lab.progress(index as u64 * GROUPS + group + 1, 2 * GROUPS);
        }
        measured.push(moments(&cosines).0);
    }
    let (mut plain, mut c) = (1.0, START);
    for _ in 0..10 {
        plain *= kappa0(c);
        c = kappa1(c);
    }
    let (mut residual, mut c, alpha2) = (1.0, START, 1.0 / 40.0);
    for _ in 0..40 {
        residual *= (1.0 + alpha2 * kappa0(c)) / (1.0 + alpha2);
        c = (c + alpha2 * kappa1(c)) / (1.0 + alpha2);
    }
    chapter.claim(
        Claim::check(
            "C4.5",
            lab.say(
                "Gradients at two inputs of cosine 0.9 shatter in 10 plain layers and stay alike through 40 residual \
                 blocks (their cosine)",
                "两个余弦为 0.9 的输入，其梯度经 10 层普通网络便支离破碎，经 40 个残差块却仍然相近（梯度的余弦）",
            ),
            lab.say(
                "Balduzzi et al. 2017 for the phenomenon; the recursion from mean-field theory",
                "现象见 Balduzzi 等 2017；递推出自平均场理论",
            ),
            [plain, residual],
            measured,
            Tolerance::Each(vec![Tolerance::Absolute(0.12), Tolerance::Absolute(0.02)]),
        )
        .formula(r"\prod_l κ_0(c_l), \quad c_{l+1} = κ_1(c_l)")
        .parts([lab.say("plain, 10 layers", "普通，10 层"), lab.say("residual, 40 blocks", "残差，40 块")]),
    );
    chapter.method(lab.say(
        "C4.5: width 256, mean over 32 networks, one cotangent for both inputs. A finite network of width n deviates by \
         about depth/n; that is what the tolerance of the plain one is for.",
        "C4.5：宽度 256，取 32 个网络的平均，两个输入用同一个余切。宽度 n 有限时偏差约为深度/n，普通网络的容差即为此而设。",
    ));
    Ok(())
}

/// The layer norm of the last axis, without parameters.
fn norm(x: &Tensor) -> Result<Tensor> {
    x.layer_norm(1, None, None, 1e-5)
}

/// C4.7: pre-LN and post-LN.
pub(super) fn streams(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const WIDTH: usize = 128;
    const ROWS: usize = 32;
    const NETS: usize = 12;
    let depths = [4usize, 8, 16, 32];
    let (mut variances, mut sizes) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (index, depth) in depths.into_iter().enumerate() {
        let nets = Nets { base: 440 + index as u64, count: NETS, width: WIDTH, alpha2: 1.0 };
        let x = nets.rows(lab, 460, ROWS)?;
        let u = nets.rows(lab, 461, ROWS)?;
        for (kind, pre) in [true, false].into_iter().enumerate() {
            let mut y = x.clone();
            let mut last = None;
            for layer in 0..depth {
                let mut w = nets.block(lab, layer)?;
                if layer + 1 == depth {
                    w[1] = w[1].variable()?;
                    last = Some(w[1].clone());
                }
                let inside = pre && lab.with("pre-norm");
                let seen = if inside { norm(&y)? } else { y.clone() };
                let sum = y.add(&branch(&seen, &w)?)?;
                y = if pre { sum } else { norm(&sum)? };
            }
            if pre {
                variances.push(y.square()?.mean(&[], false)?.item()?);
            }
            let Some(last) = last else { continue };
            let loss = norm(&y)?.mul(&u)?.sum(&[], false)?.mul_scalar(1.0 / ROWS as f64)?;
            let gradient = loss.backward()?.get(&last)?.square()?.sum(&[1, 2], false)?.sqrt()?;
            sizes[kind].push(moments(&gradient.to_f64()?));
        }
    }
    let length = depths.map(|l| 1.0 + l as f64);
    let power = |sizes: &[(f64, f64)]| slope(&length, &sizes.iter().map(|s| s.0).collect::<Vec<_>>());
    let source = "Xiong et al. 2020; De & Smith 2020";
    chapter
        .claim(
            Claim::check(
                "C4.7",
                lab.say(
                    "The stream of a pre-LN network gains one unit of variance with each block",
                    "pre-LN 网络的主干每过一块，方差增加一个单位",
                ),
                source,
                length,
                variances.clone(),
                Tolerance::Relative(0.1),
            )
            .formula(r"E x_L^2 = 1 + L")
            .parts(depths.map(|l| format!("L = {l}"))),
        )
        .claim(
            Claim::check(
                "C4.7.gradient",
                lab.say(
                    "The gradient of the last block's weights: exponent of 1 + L",
                    "最后一块权重的梯度大小：关于 1 + L 的指数",
                ),
                source,
                [-0.5, 0.0],
                [power(&sizes[0]), power(&sizes[1])],
                Tolerance::Absolute(0.07),
            )
            .formula(r"\left‖ \frac{\partial}{\partial W_2} \right‖ \propto (1 + L)^{-1/2} \quad \text{or} \quad (1 + L)^0")
            .parts(["pre-LN", "post-LN"]),
        );
    figures::norms(lab, chapter, &length, &sizes);
    Ok(())
}

/// Σ over the layers' cotangents, for the figure: the mean square of each layer's, by network.
pub(super) fn by_layer(values: &[Tensor], u: &Tensor) -> Result<Vec<Vec<f64>>> {
    cotangents(values, u)?.iter().map(squares).collect()
}
