//! Training in the lazy regime: C2.3 and C2.4.

use super::figures;
use super::kernel::{params, unit_rows};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest, moments, slope};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Mode, Module, Params, Sequential};
use crate::ntk::{FullyConnected, Linearised, NtkMethod, empirical_ntk};
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;

const EXAMPLES: usize = 20;
const FEATURES: usize = 10;
const RATE: f64 = 0.1;
const STEPS: usize = 300;
/// Networks of each width.
const NETS: u64 = 4;

/// Random unit inputs and signs: the `set`-th of this run.
fn task(lab: &Lab, set: u64) -> Result<(Tensor, Tensor)> {
    let x = unit_rows(&lab.normal(230 + 2 * set, [EXAMPLES, FEATURES])?)?;
    Ok((x, lab.normal(231 + 2 * set, [EXAMPLES, 1])?.sign()?))
}

/// Gradient descent on ½Σ(f − y)²: the outputs before each step.
fn descend(params: &Params, model: &dyn Module, x: &Tensor, y: &Tensor) -> Result<Vec<Vec<f64>>> {
    let mut sgd = Sgd::new(params, RATE)?;
    let mut outputs = Vec::with_capacity(STEPS);
    for _ in 0..STEPS {
        let f = model.forward(x, Mode::Eval)?;
        let loss = f.sub(y)?.square()?.sum(&[], false)?.mul_scalar(0.5)?;
        sgd.step(&loss.backward()?)?;
        outputs.push(f.detach());
    }
    let all = Tensor::stack(&outputs.iter().collect::<Vec<_>>(), 0)?.to_f64()?;
    Ok(all.chunks(EXAMPLES).map(<[f64]>::to_vec).collect())
}

/// The linear dynamics f ← f − ηΘ(f − y) from f₀, before each of as many steps; and Σ_t η(f_t − y) over all of them.
fn linear(kernel: &[f64], start: &[f64], y: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (mut f, mut path, mut sum) = (start.to_vec(), Vec::with_capacity(STEPS), vec![0.0; y.len()]);
    for _ in 0..STEPS {
        path.push(f.clone());
        let residual: Vec<f64> = f.iter().zip(y).map(|(f, y)| f - y).collect();
        for (i, row) in kernel.chunks(y.len()).enumerate() {
            f[i] -= RATE * dot(row, &residual);
            sum[i] += RATE * residual[i];
        }
    }
    (path, sum)
}

fn kernel_of(params: &Params, network: &Sequential, x: &Tensor) -> Result<Vec<f64>> {
    empirical_ntk(params, |x| network.forward(x, Mode::Eval), x, None, NtkMethod::Layers)?.to_f64()
}

/// ‖a − b‖ and ‖b‖, in the sense of Frobenius.
fn apart(a: &[f64], b: &[f64]) -> (f64, f64) {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    (squares.sqrt(), dot(b, b).sqrt())
}

/// What was measured at one width: for each network a number.
#[derive(Default)]
pub(super) struct Lazy {
    pub width: usize,
    /// The largest rms distance of the outputs from the linear dynamics.
    pub gap: Vec<f64>,
    /// ‖ΔW₁‖/‖W₁‖.
    pub moved: Vec<f64>,
    /// ‖ΔΘ‖/‖Θ‖.
    pub turned: Vec<f64>,
    /// ‖Δθ‖² over what the linear dynamics predict.
    pub ratio: Vec<f64>,
}

/// Networks of three widths, trained, against the kernels they start with.
fn runs(lab: &Lab) -> Result<Vec<Lazy>> {
    let mut found = Vec::new();
    for (k, width) in [128usize, 512, 2048].into_iter().enumerate() {
        let mut lazy = Lazy { width, ..Lazy::default() };
        for net in 0..NETS {
            let (x, y) = task(lab, net)?;
            let params = params(lab, 30_000 + 10 * k as u64 + net);
            let network = FullyConnected::relu(1).network(&params, FEATURES, width, 1)?;
            let values = |params: &Params| -> Result<Vec<Vec<f64>>> {
                params.trainable().iter().map(|p| p.get().to_f64()).collect()
            };
            let (start, kernel) = (values(&params)?, kernel_of(&params, &network, &x)?);
            let outputs = descend(&params, &network, &x, &y)?;
            let (end, turned) = (values(&params)?, kernel_of(&params, &network, &x)?);
            let (path, sum) = linear(&kernel, &outputs[0], &y.to_f64()?);
            let rms = |(a, b): (&Vec<f64>, &Vec<f64>)| apart(a, b).0 / (EXAMPLES as f64).sqrt();
            lazy.gap.push(largest(outputs.iter().zip(&path).map(rms)));
            let (by, of) = apart(&end[0], &start[0]);
            lazy.moved.push(by / of);
            let (by, of) = apart(&turned, &kernel);
            lazy.turned.push(by / of);
            // θ_T − θ₀ = −Jᵀs with s = Σ η(f_t − y), so its square is sᵀΘs.
            let predicted: f64 = kernel.chunks(EXAMPLES).zip(&sum).map(|(row, s)| s * dot(row, &sum)).sum();
            let squares: f64 = end.iter().zip(&start).map(|(a, b)| apart(a, b).0.powi(2)).sum();
            lazy.ratio.push(squares / predicted);
            lab.progress(k as u64 * NETS + net + 1, 3 * NETS);
        }
        found.push(lazy);
    }
    Ok(found)
}

/// The mean over the networks of each width.
fn means(found: &[Lazy], of: fn(&Lazy) -> &Vec<f64>) -> Vec<f64> {
    found.iter().map(|l| moments(of(l)).0).collect()
}

fn widths(found: &[Lazy]) -> Vec<f64> {
    found.iter().map(|l| l.width as f64).collect()
}

/// C2.3: the outputs in training.
pub(super) fn linear_in_time(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let found = runs(lab)?;
    let gaps = means(&found, |l| &l.gap);
    chapter.claim(
        Claim::check(
            "C2.3",
            lab.say(
                "Gradient descent follows y + (1 − ηΘ₀)^t (f₀ − y) for 300 steps: the largest rms gap falls like \
                 n^(−1/2) and is at most 0.05 at n = 2048",
                "梯度下降 300 步，输出始终跟随 y + (1 − ηΘ₀)^t (f₀ − y)：最大均方根偏差按 n^(−1/2) 下降，n = 2048 时不超过 0.05",
            ),
            "Lee et al. 2019",
            [-0.5, 0.05],
            [slope(&widths(&found), &gaps), gaps[2]],
            Tolerance::Each(vec![Tolerance::Between(-0.8, -0.4), Tolerance::AtMost]),
        )
        .formula(r"\sup_t \|f_t - f_t^{\text{lin}}\| = O(n^{-1/2})")
        .parts([lab.say("slope in width", "对宽度的斜率"), lab.say("gap at n = 2048", "n = 2048 时的偏差")]),
    );
    figures::laziness(lab, chapter, &found);
    Ok(())
}

/// C2.4: the weights and the kernel in training.
pub(super) fn lazy(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let found = runs(lab)?;
    let slope = |of: fn(&Lazy) -> &Vec<f64>| slope(&widths(&found), &means(&found, of));
    chapter.claim(
        Claim::check(
            "C2.4",
            lab.say(
                "The same runs are lazy: ‖ΔW‖/‖W‖ falls like n^(−1/2), ‖ΔΘ‖/‖Θ‖ at least so fast, and ‖Δθ‖² is what \
                 the kernel predicts (ratio at n = 2048)",
                "同样的训练是“懒惰”的：‖ΔW‖/‖W‖ 按 n^(−1/2) 下降，‖ΔΘ‖/‖Θ‖ 下降得不比它慢，‖Δθ‖² 等于核所预言的值（n = 2048 时的比值）",
            ),
            "Lee et al. 2019; Chizat et al. 2019",
            [-0.5, -0.45, 1.0],
            [slope(|l| &l.moved), slope(|l| &l.turned), means(&found, |l| &l.ratio)[2]],
            Tolerance::Each(vec![Tolerance::Absolute(0.08), Tolerance::AtMost, Tolerance::Relative(0.05)]),
        )
        .parts([
            lab.say("slope of ‖ΔW‖/‖W‖", "‖ΔW‖/‖W‖ 的斜率"),
            lab.say("slope of ‖ΔΘ‖/‖Θ‖", "‖ΔΘ‖/‖Θ‖ 的斜率"),
            lab.say("‖Δθ‖², measured over predicted", "‖Δθ‖² 的实测与理论之比"),
        ]),
    );
    Ok(())
}

/// C2.10: a linearised network, trained, against the recursion of its kernel.
pub(super) fn tangent(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (x, y) = task(lab, 0)?;
    let params = params(lab, 31_000);
    let network = FullyConnected::relu(1).network(&params, FEATURES, 128, 1)?;
    let kernel = kernel_of(&params, &network, &x)?;
    let outputs = descend(&params, &Linearised::new(&params, network), &x, &y)?;
    let (path, _) = linear(&kernel, &outputs[0], &y.to_f64()?);
    let gap = largest(outputs.iter().flatten().zip(path.iter().flatten()).map(|(a, b)| a - b));
    chapter.claim(Claim::check(
        "C2.10",
        lab.say(
            "A linearised network, trained as in C2.3, follows the linear dynamics of its kernel at any width: n = 128, \
             largest distance in 300 steps",
            "线性化的网络按 C2.3 的方式训练，无论宽窄都严格服从自身核的线性动力学：n = 128，300 步内的最大偏差",
        ),
        "Lee et al. 2019",
        0.0,
        gap,
        Tolerance::Absolute(1e-4),
    ));
    Ok(())
}
