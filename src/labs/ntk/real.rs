//! R2: a wide network and its kernel on handwritten digits.

use super::figures;
use super::kernel::params;
use crate::data;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::labs::training::{predicted, share_right, split};
use crate::nn::{Mode, Module};
use crate::ntk::{FullyConnected, KernelRegression};
use crate::ops::lanczos;
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;

/// Images less the mean of the training images, each of length one.
fn prepared(lab: &Lab, pixels: &[f32], mean: &[f64]) -> Result<Tensor> {
    let d = mean.len();
    let mut rows = Vec::with_capacity(pixels.len());
    for image in pixels.chunks(d) {
        let centred: Vec<f64> = image.iter().zip(mean).map(|(p, m)| f64::from(*p) - m).collect();
        let length = centred.iter().map(|c| c * c).sum::<f64>().sqrt();
        rows.extend(centred.iter().map(|c| (c / length) as f32));
    }
    Tensor::from_slice(lab.device(), &rows, [pixels.len() / d, d])
}

/// Kernel regression against gradient descent.
pub(super) fn digits(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (train, width, steps) = if lab.full() { (600, 2048usize, 1000u64) } else { (300, 1024, 200) };
    let (train, rest) = split(&data::digits()?, train, lab.seed())?;
    let (test, _) = split(&rest, 600, lab.seed())?;
    let (pixels, d) = (train.to_f32(), train.height * train.width);
    let mean: Vec<f64> = (0..d)
        .map(|p| pixels.iter().skip(p).step_by(d).map(|v| f64::from(*v)).sum::<f64>() / train.len() as f64)
        .collect();
    let (x, x_test) = (prepared(lab, &pixels, &mean)?, prepared(lab, &test.to_f32(), &mean)?);
    let targets: Vec<f32> = train
        .labels
        .iter()
        .flat_map(|&label| (0..10u8).map(move |k| if k == label { 0.9 } else { -0.1 }))
        .collect();
    let y = Tensor::from_slice(lab.device(), &targets, [train.len(), 10])?;

    let limit = FullyConnected::relu(1);
    let kernel = limit.kernels(&x, &x)?.ntk;
    let regression = KernelRegression::fit(&kernel, &y, 1e-6)?;
    let of_kernel = regression.predict(&limit.kernels(&x_test, &x)?.ntk)?.to_f64()?;
    let spectrum =
        lanczos(|v| kernel.matmul(&v.unsqueeze(1)?)?.squeeze(1), &lab.normal(290, [train.len()])?, 20)?;
    let steepest = spectrum.values.last().copied().unwrap_or(1.0);

    let params = params(lab, 40_000);
    let network = limit.network(&params, d, width, 10)?;
    // Units in pairs of equal weights and opposite readouts: the network starts as zero, as the regression does.
    for (path, axis, sign) in [("layer0.weight", 0isize, 1.0), ("layer1.weight", 1, -1.0)] {
        let weight = params.get(path)?;
        let half = weight.get().detach().slice(axis, 0, width / 2)?;
        weight.set(&Tensor::concat(&[&half, &half.mul_scalar(sign)?], axis)?)?;
    }
    let mut sgd = Sgd::new(&params, 1.8 / steepest)?.momentum(0.9)?;
    for step in 0..steps {
        let loss = network.forward(&x, Mode::Eval)?.sub(&y)?.square()?.sum(&[], false)?.mul_scalar(0.5)?;
        sgd.step(&loss.backward()?)?;
        lab.progress(step + 1, steps);
    }
    let of_network = network.forward(&x_test, Mode::Eval)?.to_f64()?;
    let same = of_kernel.chunks(10).zip(of_network.chunks(10)).filter(|(a, b)| predicted(a) == predicted(b));
    let agreement = same.count() as f64 / test.len() as f64;
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let apart = norm(&mut of_kernel.iter().zip(&of_network).map(|(a, b)| a - b));
    let apart = apart / norm(&mut of_kernel.iter().copied());
    chapter.claim(
        Claim::check(
            "R2",
            lab.language().pick(
                format!(
                    "Digits, {} to learn from and {} to judge by: regression with the kernel of infinite width and a network \
                     of {width} units agree (accuracy of each, share of equal answers)",
                    train.len(),
                    test.len()
                ),
                format!(
                    "手写数字，{} 个训练、{} 个测试：用无穷宽的核作回归，与 {width} 个单元的网络结论一致（各自的准确率，以及答案相同的比例）",
                    train.len(),
                    test.len()
                ),
            ),
            lab.say("measured", "实测"),
            [0.93, 0.93, 0.97],
            [share_right(&of_kernel, &test), share_right(&of_network, &test), agreement],
            Tolerance::AtLeast,
        )
        .parts([
            lab.say("kernel regression", "核回归"),
            lab.say("network", "网络"),
            lab.say("equal answers", "答案相同"),
        ]),
    );
    let pairs = of_kernel.iter().copied().zip(of_network.iter().copied()).take(600).collect();
    figures::predictions(lab, chapter, pairs);
    chapter.method(lab.language().pick(
        format!(
            "R2: 8 × 8 digits, centred by the training mean and normalised; targets one-hot less 0.1. Kernel: one hidden \
             layer of ReLU, ridge 1e-6, Cholesky on the device. Network: {width} units in pairs that start as zero, \
             {steps} steps of full-batch descent with momentum 0.9 and rate 1.8/λ_max, which Lanczos finds. Its \
             outputs differ from those of the kernel by {apart:.2} of their size, which a wider network would lessen and \
             longer training would not, so only the answers are compared."
        ),
        format!(
            "R2：8 × 8 手写数字，减去训练均值后归一化；目标为独热编码减 0.1。核：单隐层 ReLU，岭参数 1e-6，在设备上作 Cholesky 分解。\
             网络：{width} 个单元两两成对，初始输出为零；全批量梯度下降 {steps} 步，动量 0.9，学习率 1.8/λ_max（由 Lanczos 法求得）。\
             两者的输出相差 {apart:.2}（相对值）：\
             加宽网络能缩小这一差距，延长训练则不能，因此只比较答案。"
        ),
    ));
    Ok(())
}
