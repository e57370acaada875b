//! C7.6 and C7.7: what the spread over masks tells, and what it does not.

use super::claims::{ROUNDING, dropped};
use super::figures;
use super::penalty::{dropout_ridge, normal_equations, solve};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest, moments};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Dropout, Init, LayerInit, Linear, Mode, Module, Params, Sequential, mc_dropout};
use crate::optim::{Adam, Optimizer};
use crate::tensor::Tensor;

/// C7.6: the variance over masks stays as the data grow.
pub(super) fn not_epistemic(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (d, p, noise) = (20, 0.2, 0.5);
    let (sets, points, masks) = (8, 32, 250);
    let (truth, x) = (lab.normal(760, [d, 1])?, lab.normal(761, [points, d])?);
    let copies = x.unsqueeze(1)?.broadcast_to([points, masks, d])?.reshape([points * masks, d])?;
    let at = x.to_f64()?;
    let sizes = [50, 160, 500, 1600, 5000];
    let mut rows = Vec::new();
    for (k, n) in (0..).zip(sizes) {
        lab.progress(k, sizes.len() as u64);
        let inputs = lab.normal(762 + k, [sets * n, d])?;
        let errors = lab.normal(767 + k, [sets * n, 1])?.mul_scalar(noise)?;
        let targets = inputs.matmul(&truth)?.add(&errors)?;
        let (mut over_masks, mut over_data) = (0.0, 0.0);
        for set in 0..sets {
            let part = |t: &Tensor| t.slice(0, set * n, (set + 1) * n);
            let (gram, right) = normal_equations(&part(&inputs)?, &part(&targets)?)?;
            let w: Vec<f32> = dropout_ridge(&gram, &right, p)?.iter().map(|&w| w as f32).collect();
            let w = Tensor::from_slice(lab.device(), &w, [d, 1])?;
            let outputs = dropped(lab, &copies, p, lab.stream(772))?.matmul(&w)?.reshape([points, masks])?;
            over_masks += outputs.var(&[1], 1, false)?.mean(&[], false)?.item()?;
            for x in at.chunks(d) {
                over_data += noise * noise * dot(x, &solve(&gram, x)?) / points as f64;
            }
        }
        rows.push((n as f64, over_masks / sets as f64, over_data / sets as f64));
    }
    let (few, many) = (rows[0], rows[sizes.len() - 1]);
    figures::variances(lab, chapter, &rows);
    chapter.claim(
        Claim::check(
            "C7.6",
            lab.say(
                "From 50 to 5000 examples the variance over masks of a linear prediction stays, while that of the \
                 estimate over data sets falls as 1/N (ratios of means over 8 data sets and 32 inputs; p = 0.2, d = 20)",
                "样本从 50 增至 5000，线性预测在掩码上的方差不变，而估计量在数据集上的方差按 1/N 下降\
                 （对 8 个数据集与 32 个输入取平均后的比值；p = 0.2，d = 20）",
            ),
            "Osband 2016; Gal & Ghahramani 2016",
            [1.0, 0.02],
            [many.1 / few.1, many.2 / few.2],
            Tolerance::Each(vec![Tolerance::Between(0.7, 1.4), Tolerance::Below]),
        )
        .parts(lab.language().pick(["over masks", "over data"], ["对掩码", "对数据"])),
    );
    chapter.method(lab.say(
        "C7.6: the weights fitted to fifty examples differ from set to set, and the variance at one input with them; so \
         both variances are averaged over 8 data sets of each size and over 32 inputs, with 250 masks each.",
        "C7.6：由五十个样本拟合的权重因数据集而异，单个输入处的方差也随之起伏；因此两种方差都对每种大小的 8 个数据集、\
         32 个输入取平均，每处 250 个掩码。",
    ));
    Ok(())
}

/// C7.7: with relu and without biases everything scales, the spread too; and with biases far outside the data.
pub(super) fn far_out(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (rows, inputs, hidden, p) = (200, 4, 32, 0.5);
    let x = lab.normal(773, [1, inputs])?;
    let weights = [
        lab.normal(774, [inputs, hidden])?,
        lab.normal(775, [hidden, hidden])?,
        lab.normal(776, [hidden, 1])?,
    ];
    let outputs = |factor: f64| -> Result<Vec<f64>> {
        let x = x.mul_scalar(factor)?.broadcast_to([rows, inputs])?;
        let h = dropped(lab, &x.matmul(&weights[0])?.relu()?, p, lab.stream(777))?;
        let h = dropped(lab, &h.matmul(&weights[1])?.relu()?, p, lab.stream(778))?;
        h.matmul(&weights[2])?.to_f64()
    };
    let (one, eight, seven) = (outputs(1.0)?, outputs(8.0)?, outputs(7.0)?);
    let deviation = |values: &[f64]| moments(values).1.sqrt();
    let unequal = largest(eight.iter().zip(&one).map(|(e, o)| e - 8.0 * o));
    let source = "Gal & Ghahramani 2016";
    chapter.claim(
        Claim::check(
            "C7.7",
            lab.say(
                "A relu network without biases is positively homogeneous: with the same masks f(8x) = 8f(x) in every \
                 bit, so the deviation over masks is linear in ‖x‖ (ratios for factors 8 and 7)",
                "无偏置的 relu 网络是正齐次的：掩码相同时 f(8x) = 8f(x) 逐位成立，因此对掩码的标准差随 ‖x‖ 线性增长（因子 8 与 7 的比值）",
            ),
            source,
            [0.0, 8.0, 7.0],
            [unequal, deviation(&eight) / deviation(&one), deviation(&seven) / deviation(&one)],
            Tolerance::Each(vec![Tolerance::Exact, Tolerance::Exact, Tolerance::Relative(ROUNDING)]),
        )
        .parts(["f(8x) − 8f(x)", "sd(8x)/sd(x)", "sd(7x)/sd(x)"]),
    );
    trained(lab, chapter, source)
}

/// The second half of C7.7: a trained network of one input.
fn trained(lab: &Lab, chapter: &mut Chapter, source: &str) -> Result<()> {
    let (hidden, p, steps) = (64, 0.1, 1200);
    let halves = [(lab.uniform(780, [40, 1])?, -1.0), (lab.uniform(781, [40, 1])?, 0.3)];
    let halves = halves.map(|(u, low)| u.mul_scalar(0.7)?.add_scalar(low));
    let [left, right] = halves;
    let x = Tensor::concat(&[&left?, &right?], 0)?;
    // The sine is accurate within ±π: sin 4x = 2 sin 2x cos 2x.
    let half = x.mul_scalar(2.0)?;
    let y = half.sin()?.mul(&half.cos()?)?.mul_scalar(2.0)?;
    let y = y.add(&lab.normal(782, [80, 1])?.mul_scalar(0.05)?)?;
    let params = Params::new(lab.device(), lab.seed());
    let normal = |std: f64| Init::Normal { mean: 0.0, std };
    let layer = |weight: Init, bias: Init| LayerInit { weight, bias: true, bias_init: Some(bias) };
    let output = LayerInit { weight: normal(1.0 / (hidden as f64).sqrt()), ..LayerInit::without_bias() };
    let model = Sequential::new()
        .add(Linear::with(&params.at("first"), 1, hidden, layer(normal(1.0), normal(1.0)))?)
        .add(Tensor::relu)
        .add(Dropout::new(&params.at("drop1"), p)?)
        .add(Linear::with(&params.at("second"), hidden, hidden, layer(Init::he(), Init::Zeros))?)
        .add(Tensor::relu)
        .add(Dropout::new(&params.at("drop2"), p)?)
        .add(Linear::with(&params.at("output"), hidden, 1, output)?);
    let mut adam = Adam::new(&params, 5e-3)?;
    for step in 0..steps {
        adam.step(&model.forward(&x, Mode::Step(step))?.mse_loss(&y)?.backward()?)?;
        lab.progress(step, steps);
    }
    // One row a mask, and the same masks at every x: row k of a sample has masks of its own.
    let masks = 500;
    let deviation = |x: f64| -> Result<f64> {
        let rows = Tensor::full(lab.device(), params.dtype(), [masks, 1], x)?;
        Ok(moments(&model.forward(&rows, Mode::Sample(0))?.to_f64()?).1.sqrt())
    };
    let inside = (deviation(-0.65)? + deviation(0.65)?) / 2.0;
    let (three, twelve, far) = (deviation(3.0)?, deviation(12.0)?, deviation(24.0)?);
    chapter.claim(
        Claim::check(
            "C7.7.trained",
            lab.say(
                "A trained network of one input is less sure outside its data: deviation at 3 over that within the \
                 data, and at 24 over that at 12, where it is linear",
                "训练好的一元网络在数据之外更不确定：3 处与数据内标准差之比，以及 24 处与 12 处之比（此处已是线性增长）",
            ),
            source,
            [2.0, 2.0],
            [three / inside, far / twelve],
            Tolerance::Each(vec![Tolerance::Above, Tolerance::Absolute(0.2)]),
        )
        .parts(["sd(3)/sd(±0.65)", "sd(24)/sd(12)"]),
    );
    let grid: Vec<f64> = (0..=120).map(|k| -3.0 + k as f64 / 20.0).collect();
    let narrow: Vec<f32> = grid.iter().map(|&x| x as f32).collect();
    let at = Tensor::from_slice(lab.device(), &narrow, [grid.len(), 1])?;
    let prediction = mc_dropout(&model, &at, 200)?;
    let (mean, variance) = (prediction.mean.to_f64()?, prediction.variance.to_f64()?);
    let fit: Vec<(f64, f64, f64)> =
        grid.iter().zip(mean).zip(variance).map(|((&x, m), v)| (x, m, v.sqrt())).collect();
    let data: Vec<(f64, f64)> = x.to_f64()?.into_iter().zip(y.to_f64()?).collect();
    figures::fit(lab, chapter, &fit, data);
    chapter.method(lab.say(
        "C7.7: 80 points of sin 4x with noise 0.05 on [−1, −0.3] and [0.3, 1]; 1-64-64-1 with relu and p = 0.1, Adam at \
         rate 5e-3, 1200 steps; deviations over 500 masks, the same at every x.",
        "C7.7：在 [−1, −0.3] 与 [0.3, 1] 上取 sin 4x 的 80 个点，噪声 0.05；1-64-64-1，relu，p = 0.1，Adam，学习率 5e-3，\
         1200 步；标准差取自 500 个掩码，各 x 处掩码相同。",
    ));
    Ok(())
}
