//! Chapter 4: residual networks.

mod blocks;
mod claims;
mod figures;
mod flow;
mod invert;
mod real;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "residual",
    words,
    steps: &[
        Step { id: "C4.1", weight: 8, run: claims::growth },
        Step { id: "C4.2", weight: 6, run: claims::lengths },
        Step { id: "C4.3", weight: 4, run: flow::euler },
        Step { id: "C4.4", weight: 1, run: invert::identity },
        Step { id: "C4.5", weight: 10, run: claims::shattering },
        Step { id: "C4.6", weight: 1, run: invert::inverse },
        Step { id: "C4.7", weight: 6, run: claims::streams },
        Step { id: "R4", weight: 80, run: real::clothes },
    ],
    ingredients: &[
        Ingredient { name: "skip", claim: "C4.1" },
        Ingredient { name: "branch-scale", claim: "C4.1.stable" },
        Ingredient { name: "pre-norm", claim: "C4.7" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("residual", lab.say("Residual networks", "残差网络"));
    chapter
        .idea(lab.say(
            "A plain layer replaces its input; a residual layer *adds to it*: $x_{l+1} = x_l + F_l(x_l)$. Forward and \
             backward the signal then has a way through on which nothing is multiplied, and depth stops being a \
             product of many random factors. It becomes a sum, or, with small branches, the steps of a flow.",
            "普通的一层会取代它的输入；残差层只在输入上*加一点*：$x_{l+1} = x_l + F_l(x_l)$。\
             于是无论前向还是反向，信号都有一条不经任何乘法的通路，深度不再意味着许多随机因子相乘，\
             而是相加；当支路很小时，就成了沿一个流走过的许多小步。",
        ))
        .theorem(
            Theorem::new(
                lab.say("Growth", "增长"),
                lab.say(
                    "Let $F(x) = α W_2 \\operatorname{relu}(W_1 x)$ with $W_1 \\sim N(0, 2/n)$ and $W_2 \\sim N(0, 1/n)$. \
                     The mean square of the stream, and that of the gradient going back, grow by the same factor in \
                     every block. With $α = 1$ they explode like $2^L$; with $α^2 = 1/L$ they stay below $e$ at any depth.",
                    "设 $F(x) = α W_2 \\operatorname{relu}(W_1 x)$，$W_1 \\sim N(0, 2/n)$，$W_2 \\sim N(0, 1/n)$。\
                     主干信号的均方与回传梯度的均方，每过一个残差块都乘以同一个因子。\
                     $α = 1$ 时按 $2^L$ 爆炸；$α^2 = 1/L$ 时，无论多深都不超过 $e$。",
                ),
            )
            .formula(r"\frac{E \|x_L\|^2}{\|x_0\|^2} = (1 + α^2)^L")
            .source("Hanin & Rolnick 2018; Zhang et al. 2019"),
        )
        .theorem(
            Theorem::new(
                lab.say("A sum over paths", "路径之和"),
                lab.say(
                    "Multiplied out, $L$ blocks are $2^L$ paths: each passes every block by its skip or by its branch. \
                     The energy of the gradient in paths through $k$ branches is binomial, so nearly all of it \
                     travels on paths far shorter than the network.",
                    "把乘积展开，$L$ 个残差块就是 $2^L$ 条路径：每经一块，要么走捷径，要么走支路。\
                     恰好穿过 $k$ 条支路的路径所携带的梯度能量服从二项分布，因此几乎全部能量都走在远短于网络深度的路径上。",
                ),
            )
            .formula(r"E_k \propto \frac{L!}{k! (L-k)!} α^{2k}")
            .source("Veit, Wilber & Belongie 2016"),
        )
        .theorem(
            Theorem::new(
                lab.say("A flow in small steps", "流的小步"),
                lab.say(
                    "With branches of size $1/L$ a residual network is Euler's method for $\\dot x = F(x)$: its error is \
                     of first order in $1/L$, with a constant that can be written down; a block of two evaluations \
                     (Heun) makes it second order.",
                    "支路大小取 $1/L$ 时，残差网络就是求解 $\\dot x = F(x)$ 的欧拉法：误差是 $1/L$ 的一阶，常数可以写出；\
                     若每块求值两次（Heun 法），误差便是二阶。",
                ),
            )
            .formula(r"L \left‖ \left(1 + \frac{A}{L}\right)^L x - e^A x \right‖ \to \frac{1}{2} \left‖ A^2 e^A x \right‖")
            .source("Hairer, Nørsett & Wanner 1993; E 2017; Haber & Ruthotto 2017"),
        )
        .theorem(
            Theorem::new(
                lab.say("Shattered gradients", "破碎的梯度"),
                lab.say(
                    "Take two inputs at cosine $c_0$. Going back through a plain ReLU network their gradients lose \
                     their likeness by a factor $κ_0(c_l)$ in each layer; with skips the factor is close to one.",
                    "取余弦为 $c_0$ 的两个输入。在普通 ReLU 网络里，两者的梯度每回传一层，相似度就乘以 $κ_0(c_l)$；\
                     有了捷径，这个因子便接近 1。",
                ),
            )
            .formula(r"\prod_l κ_0(c_l) \quad \text{or} \quad \prod_l \frac{1 + α^2 κ_0(c_l)}{1 + α^2}")
            .source("Balduzzi et al. 2017"),
        )
        .theorem(
            Theorem::new(
                lab.say("Where the normalisation stands", "归一化放在哪里"),
                lab.say(
                    "A transformer that normalises inside the branch (pre-LN) adds a unit of variance with each block, \
                     so later blocks matter less and their gradients shrink like $(1+L)^{-1/2}$. One that normalises \
                     the sum (post-LN) has a last block whose gradient does not know the depth.",
                    "若把归一化放在支路里（pre-LN），每块给主干增加一个单位的方差，靠后的块因而越来越轻，其梯度按 $(1+L)^{-1/2}$ 变小。\
                     若对和作归一化（post-LN），最后一块的梯度与深度无关。",
                ),
            )
            .formula(r"E x_L^2 = 1 + L")
            .source("Xiong et al. 2020; De & Smith 2020"),
        );
    chapter.method(lab.say(
        "Every number was computed by the engine's kernels through its public API, in f32 on the device named above. \
         Random networks are batched: one product multiplies the layer of all of them. Reference solutions of \
         differential equations, and recursions for the predictions, were computed in f64.",
        "所有数值都由引擎自己的内核经公开接口在上面所列设备上以 f32 算出。随机网络成批计算：一次乘法同时算完所有网络的同一层。\
         微分方程的参考解与用于预言的递推以 f64 计算。",
    ));
    chapter
}
