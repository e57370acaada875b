//! R9: a GRU foretells sunspots; in full also a GRU on Shakespeare's letters.

use super::figures::{self, Forecasts};
use crate::data::{Batches, sunspots};
use crate::device::Device;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::lab::Lab;
use crate::labs::language::{Plays, Recipe};
use crate::labs::report::Chapter;
use crate::models::{
    Forecaster, ForecasterOptions, RecurrentKind, RecurrentLanguageModel, RecurrentModelOptions, windows,
};
use crate::nn::{Mode, Params};
use crate::optim::{Adam, Optimizer};
use crate::tensor::Tensor;

/// Years that are read.
const WINDOW: usize = 22;
/// The first year that is not learned from.
const TEST: f64 = 1950.0;
const EPOCHS: u64 = 130;
const BATCH: usize = 76;
const NETWORKS: u64 = 3;

/// Trains three networks, and holds them against persistence and linear autoregression.
pub(super) fn sun(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let series = sunspots()?;
    let first = series.times.iter().filter(|year| **year < TEST).count();
    // The square root makes the noise about as large at the maximum of a cycle as at its minimum.
    let s: Vec<f64> = series.values.iter().map(|n| n.sqrt() / 8.0).collect();
    let (truth, years) = (&series.values[first..], &series.times[first..]);
    let numbers = |s: &[f64]| s.iter().map(|s| (s.max(0.0) * 8.0).powi(2)).collect::<Vec<f64>>();
    let error = |s: &[f64]| {
        let squares = numbers(s).iter().zip(truth).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        (squares / truth.len() as f64).sqrt()
    };
    let persistence = error(&s[first - 1..s.len() - 1]);
    let two = error(&autoregression(&s, first, 2)?);
    let linear = autoregression(&s, first, 9)?;
    let mut networks = Vec::new();
    for network in 0..NETWORKS {
        networks.push(foretold(lab, &s, first, network)?);
    }
    let errors: Vec<f64> = networks.iter().map(|n| error(n)).collect();
    let mean = errors.iter().sum::<f64>() / NETWORKS as f64;
    let together: Vec<f64> =
        (0..truth.len()).map(|t| networks.iter().map(|n| n[t]).sum::<f64>() / NETWORKS as f64).collect();
    let (ensemble, nine) = (error(&together), error(&linear));
    chapter.claim(
        Claim::check(
            "R9",
            lab.say(
                "A GRU of 16 units that has read the years up to 1949 foretells the sunspots of 1950 to 2008, a year ahead, \
                 with at most 0.8 of the error of persistence; three of them together with at most 1.1 of that of a linear \
                 model over nine years (ratios of root mean squares)",
                "16 个单元的 GRU 只学习 1949 年及以前的数据，提前一年预测 1950 至 2008 年的太阳黑子，误差不超过“与去年相同”的 0.8 倍；\
                 三个网络取平均，误差不超过九年线性自回归的 1.1 倍（均方根误差之比）",
            ),
            lab.say("measured", "实测"),
            [0.8, 1.1],
            [mean / persistence, ensemble / nine],
            Tolerance::AtMost,
        )
        .parts([lab.say("one GRU / persistence", "单个 GRU / 持续预测"), "3 GRU / AR(9)"]),
    );
    let networks: Vec<Vec<f64>> = networks.iter().map(|n| numbers(n)).collect();
    figures::forecast(
        lab,
        chapter,
        &Forecasts { years, truth, networks: &networks, linear: &numbers(&linear) },
    );
    let each: Vec<String> = errors.iter().map(|e| format!("{e:.1}")).collect();
    let each = each.join(", ");
    chapter.method(lab.language().pick(
        format!(
            "R9: yearly sunspot numbers n as √n/8, windows of {WINDOW} years, {} of them to learn from; the GRU foretells the \
             change from the last year; Adam at 5e-3, batches of {BATCH}, {EPOCHS} epochs. Root mean square errors in sunspot \
             numbers: networks {each}, together {ensemble:.1}; persistence {persistence:.1}, AR(2) {two:.1}, AR(9) {nine:.1}.",
            first - WINDOW
        ),
        format!(
            "R9：年太阳黑子数 n 取 √n/8，窗口 {WINDOW} 年，训练用 {} 个窗口；GRU 预测相对上一年的变化；Adam 学习率 5e-3，每批 {BATCH} \
             个，{EPOCHS} 轮。以黑子数计的均方根误差：各网络 {each}，平均后 {ensemble:.1}；持续预测 {persistence:.1}，AR(2) {two:.1}，\
             AR(9) {nine:.1}。",
            first - WINDOW
        ),
    ));
    if lab.full() {
        letters(lab, chapter)?;
    }
    Ok(())
}

/// What network number `network` foretells for the values from `first` on, each from those before it.
fn foretold(lab: &Lab, s: &[f64], first: usize, network: u64) -> Result<Vec<f64>> {
    let device = lab.device();
    let tensor = |values: Vec<f64>, shape: &[usize]| {
        Tensor::from_slice(device, &values.iter().map(|v| *v as f32).collect::<Vec<_>>(), shape)
    };
    let (read, follow) = windows(&s[..first], WINDOW);
    let count = follow.len();
    let (x, y) = (tensor(read, &[count, WINDOW, 1])?, tensor(follow, &[count, 1])?);
    let seed = lab.seed().wrapping_mul(NETWORKS).wrapping_add(network);
    let params = Params::new(device, seed);
    let model = Forecaster::new(&params, ForecasterOptions::new(RecurrentKind::Gru, 16))?;
    let mut adam = Adam::new(&params, 5e-3)?;
    let batches = Batches::new(count, BATCH, seed)?.drop_last()?;
    for epoch in 0..EPOCHS {
        for indices in batches.epoch(epoch) {
            let indices: Vec<i32> = indices.iter().map(|i| *i as i32).collect();
            let indices = Tensor::from_slice(device, &indices, [indices.len()])?;
            let (x, y) = (x.index_select(0, &indices)?, y.index_select(0, &indices)?);
            adam.step(&model.forward(&x, Mode::Train)?.mse_loss(&y)?.backward()?)?;
        }
        device.wait()?;
        lab.progress(network * EPOCHS + epoch + 1, NETWORKS * EPOCHS);
    }
    let (read, follow) = windows(&s[first - WINDOW..], WINDOW);
    let count = follow.len();
    model.forward(&tensor(read, &[count, WINDOW, 1])?, Mode::Eval)?.detach().to_f64()
}

/// Linear autoregression over `order` values and a constant, by least squares on the values before `first`, and what
/// it foretells from there on.
fn autoregression(s: &[f64], first: usize, order: usize) -> Result<Vec<f64>> {
    let cpu = Device::cpu();
    let rows = |from: usize, to: usize| -> Result<Tensor> {
        let row = |t: usize| std::iter::once(1.0).chain(s[t - order..t].iter().copied());
        let all: Vec<f64> = (from..to).flat_map(row).collect();
        Tensor::from_slice(&cpu, &all, [to - from, order + 1])
    };
    let a = rows(order, first)?;
    let b = Tensor::from_slice(&cpu, &s[order..first], [first - order, 1])?;
    let t = a.t()?;
    let w = t.matmul(&a)?.cholesky()?.cholesky_solve(&t.matmul(&b)?)?;
    rows(first, s.len())?.matmul(&w)?.to_f64()
}

/// A GRU on the letters of Shakespeare's plays.
fn letters(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let recipe = Recipe { batch: 32, steps: 1200, rate: 5e-3, clip: Some(1.0) };
    let plays = Plays::new()?;
    let params = Params::new(lab.device(), lab.seed());
    let options = RecurrentModelOptions::new(plays.alphabet.len(), RecurrentKind::Gru, 32, 128);
    let model = RecurrentLanguageModel::new(&params, options)?;
    let of = |tokens: &Tensor, next: &Tensor, mode: Mode| model.loss(tokens, next, mode);
    plays.learn(lab, &params, &of, &recipe)?;
    chapter.claim(Claim::check(
        "R9.letters",
        lab.say(
            "A GRU of 128 units, after 2.5 million characters of Shakespeare, needs less than 2.4 nats for each character of \
             other plays",
            "128 个单元的 GRU 读过 250 万个莎士比亚字符之后，预测其余剧本每个字符所需不到 2.4 奈特",
        ),
        lab.say("measured", "实测"),
        2.4,
        plays.judge(lab, &of)?,
        Tolerance::Below,
    ));
    Ok(())
}
