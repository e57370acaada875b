//! Chapter 5: batch normalisation.

mod claims;
mod dynamics;
mod network;
mod predictive;
mod real;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "batchnorm",
    words,
    steps: &[
        Step { id: "C5.1", weight: 1, run: claims::variance },
        Step { id: "C5.2", weight: 1, run: claims::scale_invariance },
        Step { id: "C5.3", weight: 1, run: claims::jacobian },
        Step { id: "C5.4", weight: 6, run: dynamics::rotation },
        Step { id: "C5.5", weight: 4, run: dynamics::explosion },
        Step { id: "C5.6", weight: 1, run: claims::pairs },
        Step { id: "C5.7", weight: 1, run: claims::inference },
        Step { id: "C5.8", weight: 16, run: predictive::gradients },
        Step { id: "R5", weight: 40, run: real::clothes },
    ],
    ingredients: &[
        Ingredient { name: "biased-variance", claim: "C5.1" },
        Ingredient { name: "statistics-gradient", claim: "C5.3" },
        Ingredient { name: "weight-decay", claim: "C5.4.rotation" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("batchnorm", lab.say("Batch normalisation", "批归一化"));
    chapter
        .idea(lab.say(
            "Batch normalisation subtracts the mean of a batch and divides by its standard deviation. What follows \
             from that is geometry: *the length of a weight vector no longer matters, only its direction does*, and \
             the gradient loses exactly two directions. Learning rate and weight decay then no longer set how large \
             the weights are, but how fast they turn.",
            "批归一化减去一批数据的均值，再除以它的标准差。由此得到的是几何事实：*权重向量的长度不再起作用，\
             起作用的只有方向*；梯度恰好失去两个方向。于是学习率与权重衰减决定的不再是权重有多大，而是它转得有多快。",
        ))
        .idea(lab.say(
            "Why it helps is another question. That it “reduces internal covariate shift” is not asserted here. What \
             is measured instead: gradients that change less in a step, learning rates at which a plain network \
             fails, and a price, since without skip connections it makes gradients explode in depth.",
            "它为什么有效，是另一个问题。“减少内部协变量偏移”这一说法，本章不作断言。这里测量的是：走完一步之后，\
             梯度改变了多少；普通网络无法承受的学习率是否可用；以及它的代价——没有残差连接时，它使梯度随深度爆炸。",
        ))
        .theorem(
            Theorem::new(
                lab.say("Scale invariance", "尺度不变性"),
                lab.say(
                    "With $\\hat{x} = (x - \\mu)/\\sqrt{v}$ per batch, scaling the weights before it changes nothing \
                     but the gradient, which shrinks by the same factor. By Euler's identity the gradient of every \
                     unit is orthogonal to its weights.",
                    "设每一批按 $\\hat{x} = (x - \\mu)/\\sqrt{v}$ 归一化，那么放大它前面的权重，损失不变，\
                     只有梯度按同样的倍数缩小。由欧拉齐次恒等式，每个单元的梯度都与它的权重正交。",
                ),
            )
            .formula(r"L(aW) = L(W), \quad \nabla L(aW) = \frac{1}{a} \nabla L(W), \quad \langle w_j, \nabla_{w_j} L \rangle = 0")
            .source("Ioffe and Szegedy 2015; van Laarhoven 2017; Arora, Li and Lyu 2019"),
        )
        .theorem(
            Theorem::new(
                lab.say("The backward pass is a projection", "反向传播是一个投影"),
                lab.say(
                    "The Jacobian of a normalised batch of $m$ values removes the direction of all ones, shrinks the \
                     direction $\\hat{x}$ to the share $\\epsilon/(v + \\epsilon)$, and leaves the other $m - 2$ \
                     alone, up to the factor $1/\\sqrt{v + \\epsilon}$. The gradient can therefore only become \
                     shorter, by exactly what was projected away.",
                    "把 $m$ 个数归一化，其雅可比矩阵（除去因子 $1/\\sqrt{v + \\epsilon}$）消去全一方向，\
                     把 $\\hat{x}$ 方向压缩到 $\\epsilon/(v + \\epsilon)$，其余 $m - 2$ 个方向原样保留。\
                     因此梯度只会变短，短掉的恰是被投影掉的部分。",
                ),
            )
            .formula(r"dx = \frac{1}{\sqrt{v + \epsilon}} \left( dy - \frac{1}{m} \sum dy - \hat{x} \cdot \frac{1}{m} \sum dy \odot \hat{x} \right)")
            .source("Ioffe and Szegedy 2015; Santurkar, Tsipras, Ilyas and Mądry 2018"),
        )
        .theorem(
            Theorem::new(
                lab.say("Equilibrium of growth and decay", "增长与衰减的平衡"),
                lab.say(
                    "A step orthogonal to $w$ makes it longer (Pythagoras), weight decay makes it shorter. Where both \
                     balance, $w$ turns by the same angle in every step, whatever the loss is.",
                    "与 $w$ 正交的一步使它变长（勾股定理），权重衰减使它变短。二者平衡之后，$w$ 每一步转过的角度是固定的，\
                     与损失函数无关。",
                ),
            )
            .formula(r"\|w_{t+1}\|^2 = \|w_t\|^2 + \eta^2 \|g_t\|^2, \quad \text{angle} \to \sqrt{2 \eta \lambda}")
            .source("van Laarhoven 2017; Wan, Zhu, Zhang and Sun 2021"),
        )
        .theorem(
            Theorem::new(
                lab.say("Gradients explode", "梯度爆炸"),
                lab.say(
                    "In a deep network of layers relu(BN($Wh$)) without skip connections, at initialisation, relu' \
                     keeps half of the squared gradient and the division by the standard deviation of relu \
                     multiplies it by $2\\pi/(\\pi - 1)$.",
                    "在没有残差连接、每层为 relu(BN($Wh$)) 的深层网络中，初始化时 relu 的导数保留梯度平方的一半，\
                     而除以 relu 输出的标准差又把它乘以 $2\\pi/(\\pi - 1)$。",
                ),
            )
            .formula(r"\frac{\| \partial L / \partial h_{l-1} \|^2}{\| \partial L / \partial h_l \|^2} \to \frac{1}{2} \cdot \frac{2\pi}{\pi - 1} = \frac{\pi}{\pi - 1} \approx 1.467")
            .source("Yang, Pennington, Rao, Sohl-Dickstein and Schoenholz 2019"),
        );
    chapter.method(lab.say(
        "Every number was computed by the engine's own kernels through its public API, in f32 on the device named \
         above, from the seed. “ε = 0” stands for ε = 10⁻³⁰, which vanishes in the rounding. What only f64 can \
         resolve (C5.6, last part), and equality of bits under a scaling by a power of two (C5.2), were computed \
         on the CPU reference.",
        "除另有说明外，所有数值都由引擎自身的着色器通过公开接口、以 f32 精度在上述设备上从随机种子算得。“ε = 0”实取 \
         ε = 10⁻³⁰，它在舍入中消失。只有 f64 才分辨得出的量（C5.6 最后一项），以及按 2 的幂缩放时的逐位相等（C5.2），\
         在 CPU 参考实现上计算。",
    ));
    chapter
}
