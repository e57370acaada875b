//! What the chapter draws.

use super::dynamics::Lazy;
use super::kernel::formula;
use crate::labs::host::moments;
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Series, Table};
use std::f64::consts::PI;

/// Entries of the kernels of two networks against the angle between their inputs, with both formulas.
pub(super) fn scatter(
    lab: &Lab,
    chapter: &mut Chapter,
    cosines: &[f64],
    samples: &[(usize, Vec<f64>)],
    hidden: usize,
) {
    let curve = |exchanged: bool| {
        (0..=90).map(move |i| {
            let angle = PI * f64::from(i) / 90.0;
            (angle.to_degrees(), formula(angle.cos(), hidden, exchanged))
        })
    };
    let mut plot = Plot::new(
        Axis::new(lab.say("angle between the inputs", "两输入的夹角")).unit("°").range(0.0, 180.0),
        Axis::new(lab.say("tangent kernel", "正切核")),
    );
    let inputs = (cosines.len() as f64).sqrt() as usize;
    for (colour, (n, kernel)) in samples.iter().enumerate() {
        let points = (0..cosines.len())
            .filter(|i| i / inputs <= i % inputs)
            .map(|i| (cosines[i].clamp(-1.0, 1.0).acos().to_degrees(), kernel[i]));
        plot = plot.series(Series::scatter(format!("n = {n}"), points).colour(colour));
    }
    let plot = plot
        .series(Series::line(lab.say("theory", "理论"), curve(false)).colour(5))
        .series(Series::line(lab.say("Σ and Σ̇ exchanged", "Σ 与 Σ̇ 颠倒"), curve(true)).colour(3).dashed());
    chapter.figure(
        Figure::new(lab.say("The kernel becomes deterministic", "核趋于确定"), plot)
            .caption(lab.language().pick(
                format!("Entries of $\\hat{{Θ}}$ of one random network of {hidden} hidden layers for each width, against the angle between the two inputs."),
                format!("每种宽度取一个 {hidden} 隐层的随机网络，$\\hat{{Θ}}$ 的各元对两输入夹角作图。"),
            ))
            .alt(lab.say(
                "Scatter of kernel entries against the angle: wide for n = 64, close to the curve of theory for n = 1024",
                "核的各元随夹角的散点图：n = 64 时很分散，n = 1024 时贴近理论曲线",
            )),
    );
}

/// What the three algorithms took.
pub(super) fn costs(
    lab: &Lab,
    chapter: &mut Chapter,
    ways: &[&str],
    rows: Vec<Vec<String>>,
    inputs: usize,
    outputs: usize,
) {
    let head = [lab.say("width", "宽度"), lab.say("parameters", "参数个数")];
    let table = rows.into_iter().fold(Table::new(head.into_iter().chain(ways.iter().copied())), Table::row);
    chapter.figure(
        Figure::new(lab.say("Three ways to one kernel", "同一个核的三种算法"), table)
            .caption(lab.language().pick(
                format!("Millions of floating-point operations of the kernel between {inputs} inputs with {outputs} outputs, two hidden layers, counted as they ran."),
                format!("{inputs} 个输入、{outputs} 个输出、两个隐层时算出整个核所用的浮点运算（百万次），按实际执行计数。"),
            ))
            .alt(lab.say("Table of operation counts", "运算次数表"))
            .wide(),
    );
}

/// How the three distances fall with the width.
pub(super) fn laziness(lab: &Lab, chapter: &mut Chapter, found: &[Lazy]) {
    let series = |name: &str, of: fn(&Lazy) -> &Vec<f64>| {
        let error = |l: &Lazy| {
            let values = of(l);
            2.0 * (moments(values).1 / (values.len() - 1) as f64).sqrt()
        };
        Series::line(name, found.iter().map(|l| (l.width as f64, moments(of(l)).0)))
            .dots()
            .errors(found.iter().map(error))
    };
    let top = found.first().map_or(0.0, |l| 2.0 * moments(&l.moved).0 * (l.width as f64).sqrt());
    let law = [128.0, 2048.0].map(|n: f64| (n, top / n.sqrt()));
    let plot = Plot::new(
        Axis::new(lab.say("width n", "宽度 n")).log(),
        Axis::new(lab.say("relative change", "相对变化")).log(),
    )
    .series(series(lab.say("weights ‖ΔW‖/‖W‖", "权重 ‖ΔW‖/‖W‖"), |l| &l.moved))
    .series(series(lab.say("kernel ‖ΔΘ‖/‖Θ‖", "核 ‖ΔΘ‖/‖Θ‖"), |l| &l.turned))
    .series(series(lab.say("gap from the linear dynamics", "与线性动力学的偏差"), |l| &l.gap))
    .series(Series::line(lab.say("slope −1/2", "斜率 −1/2"), law).dashed().colour(5));
    chapter.figure(
        Figure::new(lab.say("The lazy regime", "懒惰训练"), plot)
            .caption(lab.say(
                "After 300 steps of gradient descent on 20 examples; bars are two standard errors over four networks.",
                "20 个样本，梯度下降 300 步之后；误差线为四个网络的两倍标准误。",
            ))
            .alt(lab.say(
                "Three quantities that fall with the width, as fast as its inverse root or faster",
                "三个量都随宽度下降，不慢于其平方根的倒数",
            )),
    );
}

/// What is left of each Fourier mode, with (1 − ηλ)^t.
pub(super) fn modes(lab: &Lab, chapter: &mut Chapter, curves: &[(usize, Vec<f64>, f64)]) {
    let mut plot = Plot::new(
        Axis::new(lab.say("step", "步")),
        Axis::new(lab.say("what is left of the mode", "该分量尚未学到的部分")).log().range(1e-3, 2.0),
    );
    for (k, coefficients, factor) in curves {
        let left = coefficients.iter().zip(0..).map(|(c, t)| (f64::from(t), (1.0 - c).abs()));
        let theory = (0..coefficients.len()).map(|t| (t as f64, factor.powi(t as i32)));
        plot = plot
            .series(Series::line(format!("cos {k}θ"), left).colour(k - 1))
            .series(Series::line("", theory).colour(k - 1).dashed());
    }
    chapter.figure(
        Figure::new(lab.say("Low frequencies first, odd ones never", "低频先学，奇频不学"), plot)
            .caption(lab.say(
                "$|1 - c_k|$ in training on $\\sum_{k \\le 4} \\cos kθ$; dashed $(1 - ηλ_k)^t$. The third mode stays where it was.",
                "在 $\\sum_{k \\le 4} \\cos kθ$ 上训练时的 $|1 - c_k|$；虚线为 $(1 - ηλ_k)^t$。第三个分量纹丝不动。",
            ))
            .alt(lab.say(
                "Four curves: modes 1, 2 and 4 decay along the dashed lines, mode 3 stays at one",
                "四条曲线：分量 1、2、4 沿虚线衰减，分量 3 停在 1",
            )),
    );
}

/// log₂ of the size of signals through the layers.
pub(super) fn signals(
    lab: &Lab,
    chapter: &mut Chapter,
    tracks: &[Vec<(f64, f64, f64)>],
    predicted: &[f64; 3],
) {
    let mut plot = Plot::new(
        Axis::new(lab.say("layer", "层")),
        Axis::new(lab.say("log₂ of ‖h‖², from the start", "log₂ ‖h‖² 的变化")),
    );
    for (k, (track, slope)) in tracks.iter().zip(predicted).enumerate() {
        let name = ["He, σ² = 2", "Xavier, σ² = 1", "σ² = 2.2"][k];
        plot = plot
            .series(
                Series::line(name, track.iter().map(|t| (t.0, t.1)))
                    .band(track.iter().map(|t| (t.1 - t.2, t.1 + t.2)))
                    .colour(k),
            )
            .series(Series::line("", track.iter().map(|t| (t.0, slope * t.0))).colour(k).dashed());
    }
    chapter.figure(
        Figure::new(lab.say("Two is critical", "临界值是二"), plot)
            .caption(lab.say(
                "Mean over the networks; the band is one standard deviation between them, the dashes are the theory.",
                "各网络的平均；色带为网络间的一个标准差，虚线为理论值。",
            ))
            .alt(lab.say(
                "Three lines: level for variance two, falling steeply for one, rising for 2.2",
                "三条线：方差为 2 时持平，为 1 时急降，为 2.2 时上升",
            )),
    );
}

/// Outputs of the network against those of the kernel.
pub(super) fn predictions(lab: &Lab, chapter: &mut Chapter, pairs: Vec<(f64, f64)>) {
    let ends = [(-0.4, -0.4), (1.2, 1.2)];
    let plot =
        Plot::new(Axis::new(lab.say("kernel regression", "核回归")), Axis::new(lab.say("network", "网络")))
            .series(Series::line(lab.say("equal", "相等"), ends).dashed().colour(5))
            .series(Series::scatter(lab.say("outputs for 60 digits", "60 个数字的输出"), pairs).colour(0));
    chapter.figure(
        Figure::new(lab.say("A network and its kernel", "网络与它的核"), plot)
            .caption(lab.say(
                "The ten outputs for each of sixty test digits, by regression with the kernel of infinite width and by a trained network.",
                "六十个测试数字各自的十个输出：横轴为无穷宽核的回归值，纵轴为训练后网络的值。",
            ))
            .alt(lab.say("Scatter along the diagonal", "沿对角线分布的散点")),
    );
}
