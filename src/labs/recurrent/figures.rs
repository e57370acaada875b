//! What the chapter draws.

use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Rule, Series, smoothed};

/// A name; steps with ln of the growth and its spread; the rate of theory.
pub(super) type Growth = (String, Vec<(f64, f64, f64)>, f64);

/// ln of gradients over time.
pub(super) fn growth(lab: &Lab, chapter: &mut Chapter, curves: Vec<Growth>) {
    let mut plot = Plot::new(
        Axis::new(lab.say("steps between", "相隔步数")),
        Axis::new(lab.say("ln of the growth of a gradient", "梯度增长的对数")),
    );
    for (colour, (name, points, rate)) in curves.into_iter().enumerate() {
        let last = points.last().map_or(0.0, |p| p.0);
        let measured = Series::scatter(name, points.iter().map(|p| (p.0, p.1)));
        plot = plot
            .series(Series::line("", [(0.0, 0.0), (last, rate * last)]).dashed().colour(colour))
            .series(measured.errors(points.iter().map(|p| p.2)).colour(colour));
    }
    chapter.figure(
        Figure::new(lab.say("What is left of a gradient", "梯度还剩多少"), plot)
            .caption(lab.say(
                "Points: measured, for tanh networks the mean and range of three. Dashed: theory, with slope $λ$ for tanh \
                 networks and $\\ln σ(b)$ for an LSTM of forget bias $b$.",
                "点为测量值，tanh 网络取三个的均值与范围。虚线为理论：tanh 网络的斜率为 $λ$，遗忘偏置为 $b$ 的 LSTM 的斜率为 \
                 $\\ln σ(b)$。",
            ))
            .alt(lab.say(
                "Logarithm of gradients against time: rising for g = 1.5 and 2.5, falling for g = 0.8, falling slowly for LSTMs",
                "梯度的对数随时间变化：g = 1.5 和 2.5 上升，g = 0.8 下降，LSTM 缓慢下降",
            ))
            .wide(),
    );
}

/// The losses of two networks on the adding problem.
pub(super) fn adding(lab: &Lab, chapter: &mut Chapter, gated: &[f64], plain: &[f64]) {
    let points =
        |values: &[f64]| values.iter().enumerate().map(|(i, &v)| (i as f64 + 1.0, v)).collect::<Vec<_>>();
    let mut plot = Plot::new(
        Axis::new(lab.say("step", "步数")),
        Axis::new(lab.say("mean squared error", "均方误差")).log(),
    );
    for (colour, (name, losses)) in [("LSTM", gated), ("tanh", plain)].into_iter().enumerate() {
        plot = plot
            .series(Series::line("", points(losses)).colour(colour).faint())
            .series(Series::line(name, points(&smoothed(losses, 10.0))).colour(colour));
    }
    chapter.figure(
        Figure::new(
            lab.say("Adding two of forty numbers", "四十个数中两数相加"),
            plot.rule(Rule::horizontal(1.0 / 6.0, lab.say("best constant, 1/6", "最好的常数，1/6"))),
        )
        .caption(lab.say(
            "Each batch and a moving average with a half-life of ten steps; 16 units each.",
            "浅色为每批的损失，深色为半衰期十步的移动平均；两个网络各 16 个单元。",
        ))
        .alt(lab.say(
            "Loss of an LSTM falling well below one sixth while a tanh network stays near it",
            "LSTM 的损失远降到六分之一以下，tanh 网络则停在附近",
        )),
    );
}

/// Years, what was seen, and what three networks and a linear model had foretold.
pub(super) struct Forecasts<'a> {
    pub years: &'a [f64],
    pub truth: &'a [f64],
    pub networks: &'a [Vec<f64>],
    pub linear: &'a [f64],
}

pub(super) fn forecast(lab: &Lab, chapter: &mut Chapter, f: &Forecasts) {
    let at = |values: &[f64]| f.years.iter().copied().zip(values.iter().copied()).collect::<Vec<_>>();
    let each: Vec<Vec<f64>> =
        (0..f.years.len()).map(|t| f.networks.iter().map(|network| network[t]).collect()).collect();
    let mean: Vec<f64> = each.iter().map(|v| v.iter().sum::<f64>() / v.len() as f64).collect();
    let range = each.iter().map(|v| {
        (v.iter().copied().fold(f64::INFINITY, f64::min), v.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    });
    chapter.figure(
        Figure::new(
            lab.say("Sunspots, a year ahead", "提前一年预测太阳黑子"),
            Plot::new(
                Axis::new(lab.say("year", "年份")),
                Axis::new(lab.say("sunspot number", "太阳黑子数")),
            )
            .series(Series::line("AR(9)", at(f.linear)).dashed().colour(1))
            .series(
                Series::line(lab.say("GRU, three networks", "GRU，三个网络"), at(&mean)).band(range).colour(0),
            )
            .series(Series::scatter(lab.say("seen", "实际值"), at(f.truth)).colour(2)),
        )
        .caption(lab.say(
            "Each forecast uses the 22 years before it. All was learned from the years up to 1949. The band is the range of \
             three networks, the line their mean.",
            "每个预测只用此前 22 年的数据，模型只用 1949 年及以前的数据训练。色带为三个网络的范围，线为其均值。",
        ))
        .alt(lab.say(
            "Sunspot numbers from 1950 to 2008 with one-year forecasts that follow the cycle",
            "1950 至 2008 年的太阳黑子数及提前一年的预测，预测跟随周期",
        ))
        .wide(),
    );
}
