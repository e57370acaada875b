//! What the chapter draws.

use super::claims::Barron;
use crate::error::Result;
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Rule, Series};
use std::f64::consts::PI;

/// The points of a curve.
type Points = Vec<(f64, f64)>;

/// The error of x² against the number of units: one layer, and a deep chain.
pub(super) fn square(lab: &Lab, chapter: &mut Chapter, shallow: Points, deep: Points) {
    let law = shallow.iter().map(|(n, _)| (*n, 0.25 / (n * n)));
    let plot = Plot::new(
        Axis::new(lab.say("ReLU units", "ReLU 单元数")).log(),
        Axis::new(lab.say("sup error for x²", "x² 的上确界误差")).log(),
    )
    .series(Series::line(lab.say("1/(4N²)", "1/(4N²)"), law).dashed().colour(0))
    .series(Series::scatter(lab.say("one hidden layer", "单隐层"), shallow).colour(0))
    .series(Series::line(lab.say("iterated tents", "复合帐篷"), deep).dots().colour(1));
    chapter.figure(
        Figure::new(lab.say("What depth buys", "深度换来了什么"), plot)
            .caption(lab.say(
                "Sup error on [0, 1]. One layer follows a straight line of slope −2; in the deep chain each two \
                 units more divide the error by four.",
                "[0, 1] 上的上确界误差。单隐层沿斜率为 −2 的直线下降；深层链条每多两个单元，误差就缩小到四分之一。",
            ))
            .alt(lab.say(
                "Two curves of error against units: one layer falls like a power, the deep chain exponentially",
                "误差随单元数变化的两条曲线：单隐层按幂律下降，深层链条按指数下降",
            )),
    );
}

/// The error of random features against their number, in three dimensions.
pub(super) fn barron(lab: &Lab, chapter: &mut Chapter, found: &[Barron]) {
    let theory = [50.0, 1200.0].map(|n: f64| (n, ((PI - 1.0) / n).sqrt()));
    let mut plot = Plot::new(
        Axis::new(lab.say("random units n", "随机单元数 n")).log(),
        Axis::new(lab.say("relative rms error", "相对均方根误差")).log(),
    )
    .series(Series::line("√((π − 1)/n)", theory).dashed().colour(5));
    for (colour, b) in found.iter().enumerate() {
        // The three stand on one line: moved apart a little, so that each is seen.
        let aside = 1.08f64.powi(colour as i32 - 1);
        let (mut points, mut bars) = (Vec::new(), Vec::new());
        for ((n, mean), error) in b.widths.iter().zip(&b.means).zip(&b.errors) {
            let rms = (mean / *n as f64).sqrt();
            points.push((*n as f64 * aside, rms));
            bars.push(2.0 * rms * error / (2.0 * mean));
        }
        plot =
            plot.series(Series::scatter(format!("d = {}", b.dimension), points).errors(bars).colour(colour));
    }
    chapter.figure(
        Figure::new(lab.say("No curse of dimension here", "这里没有维数灾难"), plot)
            .caption(lab.say(
                "Root mean square error of $f_n$ for $\\|x\\|$; bars are two standard errors over the networks. Points \
                 of one $n$ are drawn side by side.",
                "$f_n$ 逼近 $\\|x\\|$ 的均方根误差；误差线为各网络间两倍标准误。同一 $n$ 的三个点略微错开画出。",
            ))
            .alt(lab.say(
                "Error against the number of random units in 2, 16 and 128 dimensions: all on one line of slope −1/2",
                "2、16、128 维中误差随随机单元数的变化：全部落在同一条斜率为 −1/2 的直线上",
            )),
    );
}

/// T∘…∘T for one to five tents, above one another.
pub(super) fn tents(lab: &Lab, chapter: &mut Chapter, curve: &dyn Fn(usize) -> Result<Points>) -> Result<()> {
    let apart = 1.3;
    let ticks = (1..=5).map(|k| (apart * f64::from(k - 1), format!("k = {k}")));
    let top = 4.0 * apart + 1.1;
    let mut plot = Plot::new(
        Axis::new("x").range(0.0, 1.0),
        Axis::new(lab.say("k-fold tent, from 0 to 1", "k 重帐篷，值从 0 到 1")).range(-0.1, top).ticks(ticks),
    );
    for k in 1..=5usize {
        let shifted = curve(k)?.into_iter().map(|(x, y)| (x, y + apart * (k - 1) as f64));
        plot = plot.series(Series::line("", shifted).colour(0));
    }
    chapter.figure(
        Figure::new(lab.say("Folding", "折叠"), plot)
            .caption(lab.say(
                "Each tent folds the line once more: $2^k$ pieces from $2k$ units. Each curve stands on its tick.",
                "每过一个帐篷，线段就再对折一次：$2k$ 个单元给出 $2^k$ 段。各曲线以自己的刻度为零点。",
            ))
            .alt(lab.say(
                "Five sawtooth curves with 2, 4, 8, 16 and 32 pieces",
                "五条锯齿线，分别有 2、4、8、16、32 段",
            )),
    );
    Ok(())
}

/// How often a unit switches along the circle, layer by layer.
pub(super) fn breakpoints(lab: &Lab, chapter: &mut Chapter, each: &[f64]) {
    let layers: Points = each.iter().zip(1..).map(|(y, layer)| (f64::from(layer), *y)).collect();
    let plot = Plot::new(
        Axis::new(lab.say("layer", "层")),
        Axis::new(lab.say("switches of a unit", "每个单元的切换次数")).range(0.0, 3.0),
    )
    .rule(Rule::horizontal(2.0, lab.say("theory", "理论值")))
    .series(Series::line(lab.say("measured", "实测"), layers).dots());
    chapter.figure(
        Figure::new(lab.say("Random depth does not fold", "随机的深度并不折叠"), plot)
            .caption(lab.say(
                "Mean number of sign changes of a unit of random networks of width 64 along a great circle of the \
                 input. Folding would double it with every layer.",
                "宽度为 64 的随机网络，输入沿大圆走一圈时单元符号改变的平均次数。若有折叠，每过一层次数就该翻一倍。",
            ))
            .alt(lab.say("A level line at two for eight layers", "八层都在 2 附近的一条水平线")),
    );
}

/// Accuracy against width.
pub(super) fn widths(lab: &Lab, chapter: &mut Chapter, curve: &[(usize, f64, f64)], tested: usize) {
    let error = |p: f64| 2.0 * (p * (1.0 - p) / tested as f64).sqrt();
    let series = |name: &str, pick: fn(&(usize, f64, f64)) -> f64| {
        Series::line(name, curve.iter().map(|c| (c.0 as f64, pick(c))))
            .dots()
            .errors(curve.iter().map(|c| error(pick(c))))
    };
    let plot = Plot::new(
        Axis::new(lab.say("hidden units H", "隐层单元数 H")).log(),
        Axis::new(lab.say("accuracy", "准确率")).percent(),
    )
    .series(series(lab.say("training images", "训练图片"), |c| c.1))
    .series(series(lab.say("test images", "测试图片"), |c| c.2));
    chapter.figure(
        Figure::new(lab.say("Clothes by width", "宽度与服装识别"), plot)
            .caption(lab.language().pick(
                format!(
                    "784-H-10 on Fashion-MNIST; bars are two binomial standard errors for {tested} images."
                ),
                format!("Fashion-MNIST 上的 784-H-10；误差线为 {tested} 张图片的两倍二项标准误。"),
            ))
            .alt(lab.say(
                "Accuracy on training and test images rises with the width",
                "训练与测试准确率都随宽度上升",
            )),
    );
}
