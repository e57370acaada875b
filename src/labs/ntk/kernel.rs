//! The kernel of random networks and its limit: C2.1, C2.2, C2.8 and C2.9.

use super::figures;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, moments, slope};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Mode, Module, Params};
use crate::ntk::{Convolutional, FullyConnected, NtkMethod, Phi, Readout, empirical_ntk};
use crate::op::counted;
use crate::tensor::Tensor;
use std::f64::consts::PI;

/// Parameters of network `index` of this run: every use has a number of its own.
pub(super) fn params(lab: &Lab, index: u64) -> Params {
    Params::new(lab.device(), lab.seed().wrapping_mul(1_000_003).wrapping_add(200_000 + index))
}

/// The rows of a matrix, of length one.
pub(super) fn unit_rows(x: &Tensor) -> Result<Tensor> {
    x.div(&x.square()?.sum(&[1], true)?.sqrt()?)
}

/// The same numbers in f64 on the CPU reference.
pub(super) fn exactly(x: &Tensor) -> Result<Tensor> {
    x.to_device(&Device::cpu())?.to_dtype(DType::F64)
}

/// C2.1: Θ(x, x) of shallow networks, many at a time.
pub(super) fn fluctuation(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (nets, d) = (400usize, 8usize);
    let widths = [64usize, 256, 1024, 4096];
    let x = Tensor::ones(lab.device(), [d, 1])?.mul_scalar(1.0 / (d as f64).sqrt())?;
    let (mut means, mut spreads, mut tolerances) = (Vec::new(), Vec::new(), Vec::new());
    let (mut done, all) = (0, nets * widths.iter().sum::<usize>());
    for (k, n) in widths.into_iter().enumerate() {
        let at_once = nets.min((1 << 19) / n);
        let (weights, readouts) =
            (lab.normal(210 + 2 * k as u64, [nets * n, d])?, lab.normal(211 + 2 * k as u64, [nets, n])?);
        let scale = if lab.with("width-scale") { (2.0 / n as f64).sqrt() } else { 2f64.sqrt() };
        let mut values = Vec::with_capacity(nets);
        for first in (0..nets).step_by(at_once) {
            let last = nets.min(first + at_once);
            let w = weights.slice(0, first * n, last * n)?.variable()?;
            let a = readouts.slice(0, first, last)?.variable()?;
            let h = w.matmul(&x)?.reshape([last - first, n])?.relu()?.mul_scalar(scale)?;
            // The networks share nothing, so the gradient of the sum is that of each.
            let gradients = h.mul(&a)?.sum(&[], false)?.backward()?;
            let of_w = gradients.get(&w)?.square()?.reshape([last - first, n * d])?.sum(&[1], false)?;
            let of_a = gradients.get(&a)?.square()?.sum(&[1], false)?;
            values.extend(of_w.add(&of_a)?.to_f64()?);
            done += (last - first) * n;
            lab.progress(done as u64, all as u64);
        }
        let (mean, variance) = moments(&values);
        means.push(mean);
        spreads.push(n as f64 * variance / (mean * mean));
        // Four standard errors of a mean over 400 networks.
        tolerances.push(Tolerance::Absolute(8.0 * (3.0 / n as f64 / nets as f64).sqrt()));
    }
    let names = widths.map(|n| format!("n = {n}"));
    let source = "Jacot et al. 2018; Gaussian moments 3 and 3/2";
    let average = spreads.iter().sum::<f64>() / 4.0;
    let mut within = vec![Tolerance::Relative(0.3); 4];
    within.push(Tolerance::Relative(0.15));
    chapter
        .claim(
            Claim::check(
                "C2.1",
                lab.say(
                    "One hidden layer: Θ(x, x) is a mean of n terms, so it fluctuates by √(3/n) of itself (n times the \
                     relative variance over 400 networks)",
                    "单隐层：Θ(x, x) 是 n 项的平均，所以相对涨落为 √(3/n)（所列为 400 个网络的相对方差乘以 n）",
                ),
                source,
                vec![3.0; 5],
                [&spreads[..], &[average]].concat(),
                Tolerance::Each(within),
            )
            .formula(r"n \frac{\operatorname{Var} Θ}{(\operatorname{E} Θ)^2} = 3")
            .parts(names.clone().into_iter().chain([lab.say("mean of the four", "四者平均").to_owned()])),
        )
        .claim(
            Claim::check(
                "C2.1.mean",
                lab.say("around a mean of 2, at every width (four standard errors)", "均值为 2，与宽度无关（四倍标准误）"),
                source,
                vec![2.0; 4],
                means,
                Tolerance::Each(tolerances),
            )
            .parts(names),
        );
    Ok(())
}

/// κ₀(c) = (π − arccos c)/π and κ₁(c) = (√(1 − c²) + (π − arccos c)·c)/π.
fn kappas(c: f64) -> (f64, f64) {
    let c = c.clamp(-1.0, 1.0);
    let rest = PI - c.acos();
    (rest / PI, ((1.0 - c * c).sqrt() + rest * c) / PI)
}

/// The kernel of depth H at cosine c, from the formula of the theorem or from that with Σ and Σ̇ exchanged.
pub(super) fn formula(c: f64, hidden: usize, exchanged: bool) -> f64 {
    let (mut values, mut slopes) = (vec![c], vec![1.0]);
    for l in 0..hidden {
        let (slope, value) = kappas(values[l]);
        values.push(value);
        slopes.push(slope);
    }
    let (first, second) = if exchanged { (&slopes, &values) } else { (&values, &slopes) };
    (0..=hidden).map(|l| first[l] * second[l + 1..].iter().product::<f64>()).sum()
}

fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// C2.2: the kernel of deep networks of three widths.
pub(super) fn convergence(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (hidden, inputs, d, nets) = (3usize, 12usize, 8usize, 8u64);
    let widths = [64usize, 256, 1024];
    let x = unit_rows(&lab.normal(220, [inputs, d])?)?;
    let exact = exactly(&x)?;
    let limit = FullyConnected::relu(hidden);
    let cosines = exact.matmul(&exact.t()?)?.to_f64()?;
    let expected = limit.kernels(&exact, &exact)?.ntk.to_f64()?;
    let predicted: Vec<f64> = match lab.with("kernel-order") {
        true => expected.clone(),
        false => cosines.iter().map(|c| formula(*c, hidden, true)).collect(),
    };
    let exchanged: Vec<f64> = cosines.iter().map(|c| formula(*c, hidden, true)).collect();
    let mut errors: Vec<Vec<f64>> = Vec::new();
    let mut samples = Vec::new();
    let mut mean = vec![0.0; inputs * inputs];
    let mut done = 0;
    for (k, &n) in widths.iter().enumerate() {
        let wide = k + 1 == widths.len();
        let count = if wide { 4 * nets } else { nets };
        let mut of_width = Vec::new();
        for net in 0..count {
            let params = params(lab, 1000 * k as u64 + net);
            let network = limit.network(&params, d, n, 1)?;
            let model = |x: &Tensor| network.forward(x, Mode::Eval);
            let kernel = empirical_ntk(&params, model, &x, None, NtkMethod::Layers)?.to_f64()?;
            let apart = norm(kernel.iter().zip(&expected).map(|(a, b)| a - b));
            if net < nets {
                of_width.push(apart / norm(expected.iter().copied()));
            }
            if wide {
                mean.iter_mut().zip(&kernel).for_each(|(m, k)| *m += k / count as f64);
            }
            if net == 0 && k != 1 {
                samples.push((n, kernel));
            }
            done += n;
            lab.progress(done as u64, (8 * (64 + 256) + 32 * 1024) as u64);
        }
        errors.push(of_width);
    }
    let average: Vec<f64> = errors.iter().map(|e| moments(e).0).collect();
    let off = |i: &usize| i / inputs != i % inputs;
    let distance = |to: &[f64]| {
        let pairs: Vec<usize> = (0..inputs * inputs).filter(off).collect();
        norm(pairs.iter().map(|&i| mean[i] - to[i])) / norm(pairs.iter().map(|&i| to[i]))
    };
    let diagonal = (0..inputs).map(|i| mean[i * (inputs + 1)]).sum::<f64>() / inputs as f64;
    let n: Vec<f64> = widths.iter().map(|n| *n as f64).collect();
    chapter.claim(
        Claim::check(
            "C2.2",
            lab.say(
                "Three hidden layers: ‖Θ̂ − Θ‖/‖Θ‖ falls like n^(−1/2); the mean over 32 networks of width 1024 has \
                 diagonal H + 1 and fits the formula off it, and not the one with Σ and Σ̇ exchanged",
                "三个隐层：‖Θ̂ − Θ‖/‖Θ‖ 按 n^(−1/2) 下降；32 个宽 1024 的网络取平均，对角线为 H + 1，非对角元与公式相符，\
                 而与 Σ、Σ̇ 颠倒的公式不符",
            ),
            "Jacot et al. 2018; Arora et al. 2019",
            [-0.5, (hidden + 1) as f64, 0.05, 0.1],
            [slope(&n, &average), diagonal, distance(&predicted), distance(&exchanged)],
            Tolerance::Each(vec![
                Tolerance::Absolute(0.1),
                Tolerance::Relative(0.05),
                Tolerance::Below,
                Tolerance::Above,
            ]),
        )
        .formula(r"\frac{\|\hat{Θ} - Θ\|}{\|Θ\|} \propto n^{-1/2}")
        .parts([
            lab.say("slope in width", "对宽度的斜率"),
            lab.say("diagonal", "对角线"),
            lab.say("off the diagonal, from the formula", "非对角元与公式的距离"),
            lab.say("from the exchanged one", "与颠倒公式的距离"),
        ]),
    );
    figures::scatter(lab, chapter, &cosines, &samples, hidden);
    chapter.method(lab.say(
        "C2.2: the mean is over 32 networks, as the bound of 0.05 is two standard deviations of the mean over 16.",
        "C2.2：取 32 个网络平均；若只取 16 个，0.05 的界限只合平均值的两个标准差。",
    ));
    Ok(())
}

/// C2.8: three ways to one kernel, and what each takes.
pub(super) fn methods(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (inputs, d, outputs) = (8usize, 8usize, 2usize);
    let x = unit_rows(&lab.normal(225, [inputs, d])?)?;
    let ways = [
        (NtkMethod::Jacobian, lab.say("Jacobian contraction", "雅可比矩阵相乘")),
        (NtkMethod::Products, lab.say("kernel-vector products", "核与向量之积")),
        (NtkMethod::Layers, lab.say("layer by layer", "逐层相乘")),
    ];
    let (mut apart, mut rows) = (Vec::new(), Vec::new());
    for (k, n) in [32usize, 128, 512].into_iter().enumerate() {
        let params = params(lab, 10_000 + k as u64);
        let network = FullyConnected::relu(2).network(&params, d, n, outputs)?;
        let model = |x: &Tensor| network.forward(x, Mode::Eval);
        let mut kernels = Vec::new();
        let mut row = vec![n.to_string(), params.count().to_string()];
        for (way, _) in ways {
            let (kernel, flop) = counted(|| empirical_ntk(&params, model, &x, None, way)?.to_f64());
            kernels.push(kernel?);
            row.push(format!("{:.2}", flop as f64 / 1e6));
        }
        let size = largest(kernels[0].iter().copied());
        let others = kernels[1..].iter().flatten().zip(kernels[0].iter().cycle());
        apart.push(largest(others.map(|(a, b)| (a - b) / size)));
        rows.push(row);
    }
    chapter.claim(
        Claim::check(
            "C2.8",
            lab.say(
                "Three algorithms give one kernel: all gradients multiplied, columns by a walk back and one forward, and \
                 layer by layer (largest difference, as a share of the largest entry)",
                "三种算法给出同一个核：全部梯度相乘；逐列先反向再前向；逐层相乘（最大差异与最大元之比）",
            ),
            "Novak et al. 2022",
            [0.0; 3],
            apart,
            Tolerance::Absolute(1e-5),
        )
        .parts(["n = 32", "n = 128", "n = 512"]),
    );
    figures::costs(lab, chapter, &ways.map(|(_, name)| name), rows, inputs, outputs);
    Ok(())
}

/// C2.9: the limits of other networks: error functions, convolutions with both readouts.
pub(super) fn limits(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let nets = 16u64;
    let x = lab.normal(226, [6, 8])?.mul_scalar(0.35)?;
    let images = lab.normal(227, [4, 2, 5, 5])?;
    let mut measured = Vec::new();
    let distance =
        |expected: Vec<f64>, of_net: &dyn Fn(&Params) -> Result<Tensor>, kind: u64| -> Result<f64> {
            let mut mean = vec![0.0; expected.len()];
            for net in 0..nets {
                let kernel = of_net(&params(lab, 20_000 + 100 * kind + net))?.to_f64()?;
                mean.iter_mut().zip(&kernel).for_each(|(m, k)| *m += k / nets as f64);
                lab.progress(kind * nets + net + 1, 4 * nets);
            }
            Ok(norm(mean.iter().zip(&expected).map(|(a, b)| a - b)) / norm(expected.iter().copied()))
        };
    let erf = FullyConnected::erf(2);
    let exact = exactly(&x)?;
    let expected = erf.kernels(&exact, &exact)?.ntk.to_f64()?;
    measured.push(distance(
        expected,
        &|params| {
            let network = erf.network(params, 8, 512, 1)?;
            empirical_ntk(params, |x| network.forward(x, Mode::Eval), &x, None, NtkMethod::Layers)
        },
        0,
    )?);
    let exact = exactly(&images)?;
    for (kind, (readout, phi)) in [
        (Readout::Flatten, Phi::Relu),
        (Readout::GlobalAverage, Phi::Relu),
        (Readout::GlobalAverage, Phi::Erf),
    ]
    .into_iter()
    .enumerate()
    {
        let limit = Convolutional { phi, ..Convolutional::relu(2, 3, readout) };
        let expected = limit.kernels(&exact, &exact)?.ntk.to_f64()?;
        measured.push(distance(
            expected,
            &|params| {
                let network = limit.network(params, 2, [5, 5], 128, 1)?;
                empirical_ntk(params, |x| network.forward(x, Mode::Eval), &images, None, NtkMethod::Layers)
            },
            kind as u64 + 1,
        )?);
    }
    chapter.claim(
        Claim::check(
            "C2.9",
            lab.say(
                "Error functions and convolutions have limits of their own: the mean kernel of 16 finite networks lies \
                 within a tenth of it (relative distance)",
                "误差函数网络与卷积网络各有自己的极限核：16 个有限网络的平均核与它相差不到十分之一（相对距离）",
            ),
            "Williams 1997; Novak et al. 2019; Arora et al. 2019",
            [0.1; 4],
            measured,
            Tolerance::AtMost,
        )
        .parts([
            lab.say("two layers of erf, n = 512", "两层 erf，n = 512"),
            lab.say("two convolutions, flattened", "两层卷积，展平"),
            lab.say("two convolutions, averaged", "两层卷积，全局平均"),
            lab.say("with erf, averaged", "改用 erf，全局平均"),
        ]),
    );
    Ok(())
}
