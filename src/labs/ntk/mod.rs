//! Chapter 2: the neural tangent kernel.

mod dynamics;
mod figures;
mod kernel;
mod real;
mod signals;
mod spectrum;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "ntk",
    words,
    steps: &[
        Step { id: "C2.1", weight: 4, run: kernel::fluctuation },
        Step { id: "C2.2", weight: 10, run: kernel::convergence },
        Step { id: "C2.3", weight: 12, run: dynamics::linear_in_time },
        Step { id: "C2.4", weight: 12, run: dynamics::lazy },
        Step { id: "C2.5", weight: 3, run: spectrum::circle },
        Step { id: "C2.6", weight: 4, run: signals::moments },
        Step { id: "C2.7", weight: 6, run: signals::depth },
        Step { id: "C2.8", weight: 1, run: kernel::methods },
        Step { id: "C2.9", weight: 5, run: kernel::limits },
        Step { id: "C2.10", weight: 2, run: dynamics::tangent },
        Step { id: "R2", weight: 16, run: real::digits },
    ],
    ingredients: &[
        Ingredient { name: "width-scale", claim: "C2.1.mean" },
        Ingredient { name: "kernel-order", claim: "C2.2" },
        Ingredient { name: "bias-free", claim: "C2.5" },
        Ingredient { name: "he-scale", claim: "C2.7" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("ntk", lab.say("The neural tangent kernel", "神经正切核"));
    chapter
        .idea(lab.say(
            "To first order, a step of gradient descent moves the outputs of a network by its *tangent kernel* \
             $Θ(x, x') = ∂_θ f(x) · ∂_θ f(x')$ times the gradient of the loss. In a wide network two things happen to \
             this kernel: it hardly depends on the random start, and it hardly moves in training. Training is then \
             linear regression with a kernel known in closed form.",
            "在一阶近似下，梯度下降走一步，网络输出的变化等于*正切核* $Θ(x, x') = ∂_θ f(x) · ∂_θ f(x')$ 乘以损失的梯度。\
             网络很宽时，这个核有两个特点：几乎不依赖随机初值，训练中也几乎不动。于是训练就成了核回归，而这个核有封闭的表达式。",
        ))
        .idea(lab.say(
            "This chapter measures how wide “wide” is, what such a network learns first and what it cannot learn at all, \
             and why the variance of the initial weights has to be two over the fan-in.",
            "本章测量多宽才算“宽”，这样的网络先学会什么、根本学不会什么，以及初始权重的方差为什么应是二除以扇入。",
        ))
        .theorem(
            Theorem::new(
                lab.say("The kernel of infinite width", "无穷宽时的核"),
                lab.say(
                    "Let $z_1 = W_1 x$ with $\\|x\\| = 1$, $h_l = \\sqrt{2/n} \\relu(z_l)$, $z_{l+1} = W_{l+1} h_l$, all \
                     weights standard normal. As $n \\to \\infty$ the tangent kernel tends to the one below; on the \
                     diagonal it is $H + 1$ for $H$ hidden layers. (Exchanging $Σ$ and $\\dot{Σ}$ in it, as some \
                     printings do, gives another kernel.)",
                    "设 $z_1 = W_1 x$，$\\|x\\| = 1$，$h_l = \\sqrt{2/n} \\relu(z_l)$，$z_{l+1} = W_{l+1} h_l$，权重全为标准正态。\
                     当 $n \\to \\infty$ 时，正切核趋于下式；有 $H$ 个隐层时，对角线上等于 $H + 1$。（有的书把式中 $Σ$ 与 \
                     $\\dot{Σ}$ 印反了，那是另一个核。）",
                ),
            )
            .formula(r"Θ = \sum_{l=1}^{H+1} Σ^{(l)} \prod_{l'=l+1}^{H+1} \dot{Σ}^{(l')}")
            .formula(r"Σ^{(l+1)} = κ_1(Σ^{(l)}), \quad \dot{Σ}^{(l+1)} = κ_0(Σ^{(l)})")
            .formula(r"κ_0(c) = \frac{π - \arccos c}{π}")
            .formula(r"κ_1(c) = \frac{\sqrt{1 - c^2} + (π - \arccos c) c}{π}")
            .source("Jacot, Gabriel and Hongler 2018; Cho and Saul 2009; Arora et al. 2019"),
        )
        .theorem(
            Theorem::new(
                lab.say("Training is linear", "训练是线性的"),
                lab.say(
                    "Gradient descent on $\\frac{1}{2} \\sum (f - y)^2$ follows the linear dynamics of the kernel at the \
                     start, up to $O(n^{-1/2})$ and for all time; the weights move by $O(n^{-1/2})$ of themselves.",
                    "对 $\\frac{1}{2} \\sum (f - y)^2$ 做梯度下降，输出始终服从初始核的线性动力学，偏差为 $O(n^{-1/2})$；\
                     权重的相对变化也是 $O(n^{-1/2})$。",
                ),
            )
            .formula(r"f_t \approx y + (1 - ηΘ_0)^t r_0, \quad r_0 = f_0 - y")
            .formula(r"\|θ_T - θ_0\|^2 \to r_0^⊤ Θ_0^{-1} \left(1 - (1 - ηΘ_0)^T\right)^2 r_0")
            .source("Lee et al. 2019; Chizat, Oyallon and Bach 2019"),
        )
        .theorem(
            Theorem::new(
                lab.say("Spectral bias, and a blind spot", "谱偏好与盲区"),
                lab.say(
                    "On the circle the kernel is a convolution: each Fourier mode is learned at the rate of its \
                     eigenvalue $λ_k$, low frequencies first. Without biases $\\relu(z) = (z + |z|)/2$ is linear plus even, \
                     so $λ_k = 0$ for odd $k \\ge 3$, and *no* width fits $\\cos 3θ$.",
                    "在圆周上这个核就是卷积：每个傅里叶分量按各自的特征值 $λ_k$ 学习，低频在先。没有偏置时 \
                     $\\relu(z) = (z + |z|)/2$ 是线性函数加偶函数，因此奇数 $k \\ge 3$ 时 $λ_k = 0$，*多宽的网络*也拟合不了 $\\cos 3θ$。",
                ),
            )
            .formula(r"1 - c_k(t) = (1 - ηλ_k)^t")
            .source("Bietti and Mairal 2019; Basri et al. 2019"),
        )
        .theorem(
            Theorem::new(
                lab.say("Signals in random networks", "随机网络中的信号"),
                lab.say(
                    "In a ReLU network with weights $N(0, σ^2/n)$ the size of the signal performs a random walk. \
                     $σ^2 = 2$ keeps its mean and is critical; any other value grows or decays exponentially with depth. The \
                     walk itself costs $5/n$ a layer: depth over width is what counts.",
                    "ReLU 网络的权重取 $N(0, σ^2/n)$ 时，信号的大小作随机游走。$σ^2 = 2$ 使均值不变，恰在临界点；取别的值，信号就随\
                     深度指数增长或衰减。游走本身每层带来 $5/n$ 的涨落：要紧的是深度与宽度之比。",
                ),
            )
            .formula(r"\operatorname{E} \|h_L\|^4 = \left(1 + \frac{5}{n}\right)^L")
            .formula(r"\operatorname{E} \log_2 \frac{\|h_{l+1}\|^2}{\|h_l\|^2} \approx \log_2 \frac{σ^2}{2} - \frac{5}{2 n \ln 2}")
            .source("Glorot and Bengio 2010; He et al. 2015; Hanin and Rolnick 2018"),
        );
    chapter.method(lab.say(
        "Networks in the NTK parametrisation ran in f32 on the device named above. Limits are those of the library's \
         `ntk` module, in f64 on the CPU reference where they are a prediction; kernels of networks are its \
         `empirical_ntk`, layer by layer.",
        "网络采用 NTK 参数化，在上面所列的设备上以 f32 运行。极限核由库中的 `ntk` 模块给出，作为理论值时在 CPU 参考实现上以 f64 计算；\
         有限网络的核由 `empirical_ntk` 逐层计算。",
    ));
    chapter
}
