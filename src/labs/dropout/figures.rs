//! What the chapter draws.

use super::claims::relu_mean;
use super::real::Judged;
use crate::labs::claim::number;
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Rule, Series, Table};

/// C7.5: the mean of relu with and without the masks' spread.
pub(super) fn relu(lab: &Lab, chapter: &mut Chapter, heights: &[f64], measured: &[f64], s: f64) {
    let curve = |f: &dyn Fn(f64) -> f64| {
        (0..=80).map(|k| -2.0 + f64::from(k) / 20.0).map(|z| (z, f(z))).collect::<Vec<_>>()
    };
    let points = heights.iter().copied().zip(measured.iter().copied());
    chapter.figure(
        Figure::new(
            lab.say("What weight scaling overlooks", "权重缩放忽略了什么"),
            Plot::new(
                Axis::new(lab.say("z, the value without dropout", "z，不失活时的值")),
                Axis::new(lab.say("mean of the relu", "relu 的均值")),
            )
            .series(Series::line("relu(z)", curve(&|z| z.max(0.0))).colour(2).dashed())
            .series(Series::line("zΦ(z/s) + sφ(z/s)", curve(&|z| relu_mean(z, s))).colour(1))
            .series(Series::scatter(lab.say("40 000 masks", "40 000 个掩码"), points).colour(0)),
        )
        .caption(lab.language().pick(
            format!(
                "The scaled network computes relu of the mean; the masks give the mean of relu, which is larger. \
                 Deviation of z over masks: s ≈ {s:.2}."
            ),
            format!("缩放后的网络计算的是均值的 relu，而掩码给出 relu 的均值，后者更大。z 对掩码的标准差 s ≈ {s:.2}。"),
        ))
        .alt(lab.say(
            "The measured means lie on the smooth curve, above the kinked relu",
            "实测均值落在光滑曲线上，高于折线状的 relu",
        )),
    );
}

/// C7.8: −KL and its fit.
pub(super) fn divergence(lab: &Lab, chapter: &mut Chapter, curve: &[(f64, f64, f64)]) {
    let part = |f: fn(&(f64, f64, f64)) -> f64| curve.iter().map(|c| (c.0, f(c))).collect::<Vec<_>>();
    chapter.figure(
        Figure::new(
            lab.say("The divergence of variational dropout", "变分随机失活的散度"),
            Plot::new(Axis::new("ln α"), Axis::new("−KL").unit(lab.say("nats", "奈特")))
                .series(Series::line(lab.say("closed fit", "闭式拟合"), part(|c| c.2)).colour(1))
                .series(Series::scatter(lab.say("quadrature", "数值积分"), part(|c| c.1)).colour(0)),
        )
        .caption(lab.say(
            "Posterior N(1, α) for each weight, log-uniform prior: the more noise α a weight bears, the less it costs.",
            "每个权重的后验为 N(1, α)，先验为对数均匀分布：权重所能承受的噪声 α 越大，代价越小。",
        ))
        .alt(lab.say(
            "Minus the divergence rises with ln α to zero; points and fitted curve coincide",
            "负散度随 ln α 升至零；数据点与拟合曲线重合",
        )),
    );
}

/// C7.6: (examples, variance over masks, variance over data).
pub(super) fn variances(lab: &Lab, chapter: &mut Chapter, rows: &[(f64, f64, f64)]) {
    let part = |f: fn(&(f64, f64, f64)) -> f64| rows.iter().map(|r| (r.0, f(r))).collect::<Vec<_>>();
    chapter.figure(
        Figure::new(
            lab.say("More data, the same spread", "数据更多，分散依旧"),
            Plot::new(
                Axis::new(lab.say("examples", "样本数")).log(),
                Axis::new(lab.say("variance of the prediction", "预测的方差")).log(),
            )
            .series(Series::line(lab.say("over masks", "对掩码"), part(|r| r.1)).dots().colour(0))
            .series(
                Series::line(lab.say("of the estimate, over data sets", "估计量，对数据集"), part(|r| r.2))
                    .dots()
                    .colour(1),
            ),
        )
        .caption(lab.say(
            "The spread of Monte-Carlo dropout measures how much a prediction leans on single inputs. It is no error \
             bar that shrinks with what was learned.",
            "蒙特卡洛 dropout 的分散，度量的是预测对单个输入的依赖程度；它不是会随所学增多而缩短的误差棒。",
        ))
        .alt(lab.say(
            "Variance against number of examples, both axes logarithmic: flat over masks, falling as 1/N over data sets",
            "双对数坐标下方差随样本数的变化：对掩码是水平线，对数据集按 1/N 下降",
        )),
    );
}

/// C7.7: (x, mean, deviation), and the data.
pub(super) fn fit(lab: &Lab, chapter: &mut Chapter, fit: &[(f64, f64, f64)], data: Vec<(f64, f64)>) {
    let band = fit.iter().map(|(_, mean, sd)| (mean - 2.0 * sd, mean + 2.0 * sd));
    chapter.figure(
        Figure::new(
            lab.say("Less sure where there are no data", "没有数据的地方更不确定"),
            Plot::new(Axis::new("x"), Axis::new("y"))
                .series(
                    Series::line(lab.say("mean ± 2 sd of 200 masks", "200 个掩码的均值 ± 2 倍标准差"), fit.iter().map(|f| (f.0, f.1)))
                        .band(band)
                        .colour(0),
                )
                .series(Series::scatter(lab.say("data", "数据"), data).colour(1)),
        )
        .caption(lab.say(
            "Monte-Carlo dropout of a network of one input. Outside the data the spread grows linearly, because relu \
             networks do; in the gap between the data it hardly grows.",
            "一元网络的蒙特卡洛 dropout。在数据之外，分散线性增长，因为 relu 网络本身如此；在两段数据之间的空隙里则几乎不增。",
        ))
        .alt(lab.say(
            "A narrow band through two clusters of points that opens like a funnel on both sides",
            "一条窄带穿过两簇数据点，向两侧像漏斗一样张开",
        )),
    );
}

/// R7: the table.
pub(super) fn judged(lab: &Lab, chapter: &mut Chapter, judged: &[Judged], masks: u64) {
    let mut table = Table::new(lab.language().pick(
        ["network", "train", "test", "test loss (nats)", "AUROC"],
        ["网络", "训练", "测试", "测试损失（奈特）", "AUROC"],
    ));
    let sampled = lab.language().pick(format!("dropout, {masks} masks"), format!("失活，{masks} 个掩码"));
    let names =
        [lab.say("no dropout", "不失活"), lab.say("dropout, scaled weights", "失活，缩放权重"), &sampled];
    let shown = |v: f64| number((v * 1e3).round() / 1e3);
    for (name, row) in names.iter().zip(judged) {
        let train = row.train.map_or("–".to_owned(), shown);
        table = table.row([name.to_string(), train, shown(row.test), shown(row.nll), shown(row.auroc)]);
    }
    chapter.figure(
        Figure::new(lab.say("A thousand images", "一千幅图像"), table)
            .caption(lab.say(
                "Accuracies on training and test images, the loss on test images, and how well the entropy of the \
                 prediction tells digits from clothes. The masks beat the plain network's entropy by little.",
                "训练与测试图像上的准确率，测试损失，以及预测的熵区分数字与服饰的能力。掩码比普通网络的熵只好一点点。",
            ))
            .alt(lab.say("Accuracies, test loss and AUROC of the three predictors", "三种预测的准确率、测试损失与 AUROC")),
    );
}

/// R7: how the entropies are distributed.
pub(super) fn entropies(lab: &Lab, chapter: &mut Chapter, entropies: &[Vec<f64>; 2]) {
    let (bins, top) = (23, 10f64.ln());
    let histogram = |values: &[f64]| {
        let mut counts = vec![0.0; bins];
        for v in values {
            counts[((v / top * bins as f64) as usize).min(bins - 1)] += 1.0 / values.len() as f64;
        }
        // A staircase keeps its value up to the next point: one more at the end.
        let last = counts[bins - 1];
        let steps = counts.into_iter().enumerate().map(|(k, c)| (k as f64 * top / bins as f64, c));
        steps.chain([(top, last)]).collect::<Vec<_>>()
    };
    chapter.figure(
        Figure::new(
            lab.say("How unsure, about what", "对什么有多不确定"),
            Plot::new(
                Axis::new(lab.say("predictive entropy", "预测的熵")).unit(lab.say("nats", "奈特")),
                Axis::new(lab.say("share of the images", "图像占比")).percent(),
            )
            .series(Series::step(lab.say("clothes", "服饰"), histogram(&entropies[0])).colour(0))
            .series(Series::step(lab.say("digits", "数字"), histogram(&entropies[1])).colour(1))
            .rule(Rule::vertical(top, "ln 10")),
        )
        .caption(lab.say(
            "Entropy of the mean prediction over the masks, for test images of the kind it has learned and for digits, \
             which it has never seen.",
            "对掩码取平均后预测的熵：一为它学过的那类测试图像，一为它从未见过的数字。",
        ))
        .alt(lab.say(
            "Two histograms: clothes pile up at small entropies, digits spread over the larger ones",
            "两个直方图：服饰集中在低熵处，数字分布在较高的熵上",
        )),
    );
}
