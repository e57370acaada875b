//! What the chapter draws.

use super::blocks::{Nets, block, squares};
use super::claims::by_layer;
use crate::error::Result;
use crate::labs::lab::Lab;
use crate::labs::report::smoothed;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Series};
use crate::labs::training::History;

/// The gradient's size at every layer, for four ways to build 32 layers.
pub(super) fn gradients(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const DEPTH: usize = 32;
    const WIDTH: usize = 128;
    let kinds = [
        (lab.say("plain, Xavier", "普通，Xavier"), Some(1.0), 1.0),
        (lab.say("plain, He", "普通，He"), Some(2.0), 1.0),
        (lab.say("residual, α = 1", "残差，α = 1"), None, 1.0),
        (lab.say("residual, α = L^(−1/2)", "残差，α = L^(−1/2)"), None, 1.0 / DEPTH as f64),
    ];
    let mut plot = Plot::new(
        Axis::new(lab.say("layer l", "层 l")).range(0.0, DEPTH as f64),
        Axis::new(lab.say("‖∂/∂x_l‖², relative to the last layer", "‖∂/∂x_l‖²，相对于末层")).log(),
    );
    for (index, (name, plain, alpha2)) in kinds.into_iter().enumerate() {
        let nets = Nets { base: 404 + index as u64, count: 8, width: WIDTH, alpha2 };
        let mut values = vec![nets.rows(lab, 454, 1)?.variable()?];
        for layer in 0..DEPTH {
            let x = &values[layer];
            let y = match plain {
                Some(gain) => x.matmul(&nets.matrix(lab, layer, (gain / WIDTH as f64).sqrt())?)?.relu()?,
                None => block(lab, x, &nets.block(lab, layer)?)?,
            };
            values.push(y);
        }
        let u = nets.rows(lab, 455, 1)?;
        let size = squares(&u)?;
        let rows = by_layer(&values, &u)?;
        let relative = |row: &Vec<f64>| row.iter().zip(&size).map(|(v, s)| v / s).collect::<Vec<f64>>();
        let rows: Vec<Vec<f64>> = rows.iter().map(relative).collect();
        // Sizes multiply along the layers, so their logarithms are averaged.
        let middle = |row: &Vec<f64>| (row.iter().map(|v| v.ln()).sum::<f64>() / row.len() as f64).exp();
        let low = |row: &Vec<f64>| row.iter().copied().fold(f64::INFINITY, f64::min);
        let high = |row: &Vec<f64>| row.iter().copied().fold(0.0, f64::max);
        let points = rows.iter().enumerate().map(|(l, row)| (l as f64, middle(row)));
        let band: Vec<(f64, f64)> = rows.iter().map(|row| (low(row), high(row))).collect();
        plot = plot.series(Series::line(name, points).band(band).colour(index));
    }
    chapter.figure(
        Figure::new(lab.say("Gradients through 32 layers", "梯度穿过 32 层"), plot)
            .caption(lab.say(
                "Going back from the last layer on the right: plain layers with Xavier's weights halve the squared \
                 gradient each time, with He's they keep its mean but let it wander; skips at full size double it; \
                 skips scaled by $L^{-1/2}$ keep it. Geometric mean over 8 networks, band: least and largest.",
                "从右端末层往回看：普通层配 Xavier 权重，梯度平方每层减半；配 He 权重，均值保持但起伏越来越大；\
                 不缩放的残差块使其逐层加倍；乘以 $L^{-1/2}$ 后基本不变。取 8 个网络的几何平均，色带为最小与最大。",
            ))
            .alt(lab.say(
                "Squared gradient by layer: falling, wandering, exploding and level curves",
                "各层梯度平方：分别下降、游走、爆炸与持平的四条曲线",
            )),
    );
    Ok(())
}

/// Measured energy by path length beside the binomial distribution, for each α².
pub(super) fn lengths(lab: &Lab, chapter: &mut Chapter, drawn: &[(f64, Vec<f64>, Vec<f64>)]) {
    let mut plot = Plot::new(
        Axis::new(lab.say("branches on the path k", "路径穿过的支路数 k")).range(-0.5, 32.5),
        Axis::new(lab.say("share of the gradient's energy", "占梯度能量的比例")),
    );
    for (index, (alpha2, energy, binomial)) in drawn.iter().enumerate() {
        let points =
            |values: &[f64]| values.iter().enumerate().map(|(k, v)| (k as f64, *v)).collect::<Vec<_>>();
        plot = plot
            .series(Series::scatter(format!("α² = {alpha2}"), points(energy)).colour(index))
            .series(Series::line(lab.say("binomial", "二项分布"), points(binomial)).dashed().colour(index));
    }
    chapter.figure(
        Figure::new(lab.say("Short paths carry the gradient", "短路径承载梯度"), plot)
            .caption(lab.say(
                "Of the $2^{32}$ paths through 32 blocks, the energy of those through $k$ branches: measured (points) \
                 and $\\operatorname{Bin}(32, α^2/(1+α^2))$ (dashed), nothing fitted.",
                "穿过 32 个残差块共有 $2^{32}$ 条路径；其中恰经过 $k$ 条支路者所携的能量：实测（点）与 \
                 $\\operatorname{Bin}(32, α^2/(1+α^2))$（虚线），没有拟合任何参数。",
            ))
            .alt(lab.say(
                "Two bell-shaped sets of points on their binomial curves, around 16 and 6 branches",
                "两组钟形散点落在各自的二项分布曲线上，中心约在 16 与 6",
            )),
    );
}

/// The last block's gradient against depth, mean and standard deviation over networks.
pub(super) fn norms(lab: &Lab, chapter: &mut Chapter, length: &[f64], sizes: &[Vec<(f64, f64)>; 2]) {
    let series = |name: &'static str, sizes: &[(f64, f64)], colour: usize| {
        Series::line(name, length.iter().zip(sizes).map(|(l, (mean, _))| (*l, *mean)))
            .dots()
            .errors(sizes.iter().map(|(_, variance)| variance.sqrt()))
            .colour(colour)
    };
    let from = sizes[0][0].0 * length[0].sqrt();
    let plot = Plot::new(
        Axis::new("1 + L").log(),
        Axis::new(lab.say("gradient of the last W₂", "末块 W₂ 的梯度大小")).log(),
    )
    .series(series("pre-LN", &sizes[0], 0))
    .series(series("post-LN", &sizes[1], 1))
    .series(Series::line("(1 + L)^(−1/2)", length.iter().map(|l| (*l, from / l.sqrt()))).dashed().colour(0));
    chapter.figure(
        Figure::new(lab.say("Where the normalisation stands", "归一化放在哪里"), plot)
            .caption(lab.say(
                "Norm of the gradient of the last block's weights against depth; error bars: standard deviation over \
                 twelve networks. The dashed line has slope −1/2 and starts at the first point.",
                "末块权重梯度的范数随深度的变化；误差棒为十二个网络的标准差。虚线斜率为 −1/2，从首点出发。",
            ))
            .alt(lab.say("A falling line for pre-LN, a level one for post-LN", "pre-LN 下降，post-LN 持平")),
    );
}

/// Training losses of plain and residual networks.
pub(super) fn training(lab: &Lab, chapter: &mut Chapter, runs: &[(usize, bool, History)]) {
    let mut plot = Plot::new(
        Axis::new(lab.say("step", "步")),
        Axis::new(lab.say("training loss (nats)", "训练损失（奈特）")).log(),
    );
    for (depth, residual, history) in runs {
        let name = match residual {
            true => lab.language().pick(format!("residual, {depth} layers"), format!("残差，{depth} 层")),
            false => lab.language().pick(format!("plain, {depth} layers"), format!("普通，{depth} 层")),
        };
        let points = smoothed(&history.losses, 5.0).into_iter().enumerate().map(|(k, l)| (k as f64 + 1.0, l));
        let series = Series::line(name, points.collect::<Vec<_>>()).colour(usize::from(!residual));
        plot = plot.series(if *depth == 8 { series.dashed() } else { series });
    }
    chapter.figure(
        Figure::new(lab.say("Depth with and without skips", "有捷径与无捷径的深度"), plot)
            .caption(lab.say(
                "Cross-entropy on Fashion-MNIST, smoothed. Of the networks without skips the deep one hardly learns; \
                 with skips depth does no harm.",
                "Fashion-MNIST 上的交叉熵（已平滑）。没有捷径时，深的网络几乎学不动；有了捷径，深度不再有害。",
            ))
            .alt(lab.say("Four training curves, that of the deep plain network far above the others", "四条训练曲线，深的普通网络远在其余之上"))
            .wide(),
    );
}
