//! Links to optimisation, statistics and information theory.

mod edge;
mod information;
mod linear;
mod optimisation;
mod statistics;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "links",
    words,
    steps: &[
        Step { id: "L.1", weight: 4, run: optimisation::quadratic },
        Step { id: "L.2", weight: 4, run: optimisation::noise },
        Step { id: "L.3", weight: 1, run: optimisation::adam },
        Step { id: "L.4", weight: 60, run: edge::stability },
        Step { id: "L.5", weight: 10, run: statistics::double_descent },
        Step { id: "L.6", weight: 14, run: statistics::memory },
        Step { id: "L.7", weight: 12, run: linear::curves },
        Step { id: "L.8", weight: 2, run: information::selection },
    ],
    ingredients: &[
        Ingredient { name: "momentum", claim: "L.1.momentum" },
        Ingredient { name: "zero-start", claim: "L.5.descent" },
        Ingredient { name: "aligned-start", claim: "L.7" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("links", lab.say("Links", "相邻的学科"));
    chapter
        .idea(lab.say(
            "Three older subjects meet in a network. *Optimisation* says how fast a loss can fall, and that a step too \
             long for the curvature must grow. *Statistics* says what fitting many parameters to few data costs, and \
             that past the point of perfect fit it may cost less again. *Information theory* says what it takes to \
             select one thing among many: a logit that grows like $\\ln n$.",
            "三门更老的学科在神经网络里相遇。*最优化*告诉我们损失能降多快，以及步长若超出曲率所容许的范围，误差必然增长。\
             *统计学*告诉我们用很少的数据拟合很多参数要付出什么代价，而越过恰好拟合的那一点之后，代价又会变小。\
             *信息论*告诉我们从众多对象中选出一个需要什么：对数几率要按 $\\ln n$ 增长。",
        ))
        .theorem(
            Theorem::new(
                lab.say("Descent on a quadratic", "二次函数上的下降"),
                lab.say(
                    "With curvatures from $μ$ to $M$ and $κ = M/μ$, the best fixed step contracts the error by \
                     $(κ-1)/(κ+1)$, momentum by its square-rooted twin; a step beyond $2/M$ diverges.",
                    "曲率介于 $μ$ 与 $M$ 之间，$κ = M/μ$。最好的固定步长每步把误差缩小为 $(κ-1)/(κ+1)$ 倍；\
                     加上动量，则式中的 $κ$ 换成 $\\sqrt{κ}$；步长一旦超过 $2/M$ 就发散。",
                ),
            )
            .formula(r"ρ = \frac{κ - 1}{κ + 1}, \quad ρ_{\text{momentum}} = \frac{\sqrt{κ} - 1}{\sqrt{κ} + 1}")
            .source("Polyak 1964; Nesterov 2004"),
        )
        .theorem(
            Theorem::new(
                lab.say("The edge of stability", "稳定性的边缘"),
                lab.say(
                    "Full-batch gradient descent on a network does not stay where its step is safe. The largest \
                     curvature $λ$ rises until $ηλ/2 = 1$ and hovers there, while the loss falls, though not steadily.",
                    "网络上的全批量梯度下降并不停留在步长安全的区域：最大曲率 $λ$ 一直升到 $ηλ/2 = 1$，随后徘徊于此，\
                     损失仍在下降，只是不再单调。",
                ),
            )
            .formula(r"\frac{η λ_{\max}(\nabla^2 L)}{2} \to 1")
            .source("Cohen et al. 2021"),
        )
        .theorem(
            Theorem::new(
                lab.say("Double descent", "双下降"),
                lab.say(
                    "Least squares with $p$ Gaussian features and $n$ observations, $\\|β\\| = 1$, noise $σ^2$. The \
                     excess risk is known for every finite $n$ and $p$; it diverges where $p = n$ and falls again beyond.",
                    "以 $p$ 个高斯特征、$n$ 个观测作最小二乘，$\\|β\\| = 1$，噪声方差 $σ^2$。\
                     对任意有限的 $n$ 与 $p$，超额风险都有精确公式：它在 $p = n$ 处发散，越过之后又下降。",
                ),
            )
            .formula(r"\frac{σ^2 p}{n - p - 1} \quad (p < n - 1), \quad 1 - \frac{n}{p} + \frac{σ^2 n}{p - n - 1} \quad (p > n + 1)")
            .source("Hastie et al. 2022; Belkin et al. 2019"),
        )
        .theorem(
            Theorem::new(
                lab.say("An exact learning curve", "一条精确的学习曲线"),
                lab.say(
                    "In a linear network of two layers that starts small and aligned, each singular value $s$ of the \
                     task is learnt by itself, along a sigmoid: a plateau, then a jump, the strong ones first.",
                    "两层线性网络若从小而对齐的初值出发，任务的每个奇异值 $s$ 各自沿一条 S 形曲线被学会：先是平台，然后跃升，强的在前。",
                ),
            )
            .formula(r"a(t) = \frac{s e^{2st}}{e^{2st} - 1 + s / u_0}")
            .source("Saxe, McClelland & Ganguli 2014"),
        )
        .theorem(
            Theorem::new(
                lab.say("Selection costs ln n", "选择的代价是 ln n"),
                lab.say(
                    "A softmax that is to give one of $n$ keys half of its weight needs a logit of $\\ln(n-1)$ over the \
                     others.",
                    "要让 softmax 把一半权重给 $n$ 个键中的一个，它的对数几率须比其余高出 $\\ln(n-1)$。",
                ),
            )
            .formula(r"p^* = \frac{1}{1 + (n - 1) e^{-β}}")
            .source(lab.say("Gibbs; Ramsauer et al. 2021 for the context", "吉布斯分布；背景见 Ramsauer 等 2021")),
        );
    chapter.method(lab.say(
        "Every number was computed by the engine through its public API, its optimisers and derivatives included: in \
         f32 on the device named above, and where f64 is said, in f64 on the CPU reference.",
        "所有数值都由引擎的公开接口算出，优化器与求导也用引擎自己的：f32 在上面所列的设备上计算，注明 f64 的在 CPU 参考实现上计算。",
    ));
    chapter
}
