//! Chapter 6: attention.

mod depth;
mod energy;
mod figures;
mod real;
mod selection;
mod structure;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "attention",
    words,
    steps: &[
        Step { id: "C6.1", weight: 2, run: selection::variance },
        Step { id: "C6.2", weight: 4, run: selection::temperature },
        Step { id: "C6.3", weight: 1, run: selection::selection },
        Step { id: "C6.4", weight: 1, run: structure::equivariance },
        Step { id: "C6.5", weight: 2, run: structure::fused },
        Step { id: "C6.6", weight: 1, run: structure::rank },
        Step { id: "C6.7", weight: 1, run: depth::features },
        Step { id: "C6.8", weight: 1, run: depth::in_context },
        Step { id: "C6.9", weight: 1, run: depth::collapse },
        Step { id: "R6", weight: 60, run: real::plays },
    ],
    ingredients: &[
        Ingredient { name: "root-d", claim: "C6.1" },
        Ingredient { name: "causal-mask", claim: "C6.4" },
        Ingredient { name: "running-max", claim: "C6.5" },
        Ingredient { name: "layer-skip", claim: "C6.8" },
        Ingredient { name: "attention-skip", claim: "C6.9" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("attention", lab.say("Attention", "注意力"));
    chapter
        .idea(lab.say(
            "Attention lets each token ask a question of all others: the *query* is held against every *key*, softmax \
             turns the scores into shares, and the answer is the mean of the *values* by these shares. It is the \
             softest way to select: among all distributions it trades the best score against the least surprise.",
            "注意力让每个词元向其他所有词元提问：用*查询*去比对每一个*键*，softmax 把分数变成份额，再按份额对*值*取平均，\
             就是回答。这是最柔和的选择方式：在所有分布之中，它恰好在分数与熵之间取得最优的折中。",
        ))
        .idea(lab.say(
            "Almost everything about it is a theorem. Why the scores are divided by $\\sqrt d$ is statistical physics; \
             that it knows no order is a symmetry; that it can be computed without the table of weights is an \
             identity; and that it needs skip connections is a rate of collapse.",
            "它的性质几乎条条都是定理：分数为何要除以 $\\sqrt d$，是统计物理；它不知道次序，是对称性；不必存下整张权重表也能计算，\
             是恒等式；离不开残差连接，则是崩塌的速率。",
        ))
        .theorem(
            Theorem::new(
                lab.say("Softmax selects by free energy", "softmax 按自由能选择"),
                lab.say(
                    "Of all distributions over the keys, softmax of the scores maximises mean score plus entropy.",
                    "在键上的所有分布中，分数的 softmax 使平均分数与熵之和最大。",
                ),
            )
            .formula(r"\max_q \langle q, s \rangle + H(q) = \ln \sum_i e^{s_i}, \quad q^\star = \operatorname{softmax} s")
            .source("Gibbs; Donsker and Varadhan 1975"),
        )
        .theorem(
            Theorem::new(
                lab.say("Freezing", "冻结"),
                lab.say(
                    "Softmax of $n$ independent logits of standard deviation $\\sigma$ is a random-energy model: below \
                     $\\sqrt{2 \\ln n}$ its entropy falls as a parabola, beyond it a few keys hold all the weight and \
                     the gradient is gone. Products of $d$-dimensional vectors have $\\sigma = \\sqrt d$.",
                    "对 $n$ 个标准差为 $\\sigma$ 的独立 logit 取 softmax，就是随机能量模型：$\\sigma$ 小于 $\\sqrt{2 \\ln n}$ 时熵按\
                     抛物线下降；超过之后，少数键占有全部权重，梯度消失。$d$ 维向量的内积有 $\\sigma = \\sqrt d$。",
                ),
            )
            .formula(r"H = \ln n - \frac{\sigma^2}{2}, \quad \sigma < \sqrt{2 \ln n}")
            .source("Derrida 1981"),
        )
        .theorem(
            Theorem::new(
                lab.say("Symmetry", "对称性"),
                lab.say(
                    "Self-attention commutes with every permutation of its tokens, so order must be told to it: by \
                     positions, or by a mask.",
                    "自注意力与词元的任意置换可交换，因此次序必须另外告诉它：用位置编码，或用掩码。",
                ),
            )
            .formula(r"\operatorname{Attn}(P X) = P \operatorname{Attn}(X)")
            .source("Vaswani et al. 2017; Lee et al. 2019"),
        )
        .theorem(
            Theorem::new(
                lab.say("Gradient descent in context", "上下文中的梯度下降"),
                lab.say(
                    "A layer of linear attention over examples takes one step of gradient descent on them; $T$ layers \
                     take $T$ steps.",
                    "一层线性注意力作用在样例上，等于在这些样例上做一步梯度下降；$T$ 层就是 $T$ 步。",
                ),
            )
            .formula(r"y_i ← y_i - \frac{\eta}{N} \sum_j y_j \langle x_j, x_i \rangle")
            .source("von Oswald et al. 2023"),
        )
        .theorem(
            Theorem::new(
                lab.say("Attention is not all you need", "只有注意力是不够的"),
                lab.say(
                    "Without skip connections each layer cubes what tells the tokens apart: the rank collapses doubly \
                     exponentially in depth.",
                    "没有残差连接，每一层都把词元之间的差别取三次方：秩随深度以双重指数崩塌。",
                ),
            )
            .formula(r"\|\operatorname{res}(X_{l+1})\| \le C \|\operatorname{res}(X_l)\|^3")
            .source("Dong, Cordonnier and Loukas 2021"),
        );
    chapter.method(lab.say(
        "Every number was computed by the engine's own kernels through its public API, in f32 on the device named above, \
         from the seed. C6.1 takes more vectors where d is small, since its spread is √(4/(nd)). Beyond the freezing point \
         the law for n → ∞ is right only to 1/ln n, so C6.2 is held to the exact mean for 1024 logits, a one-dimensional \
         integral on the host; the asymptotic Σp² at σ = 8 would be 0.535. C6.3's slope of the entropy comes from the tape, \
         not from differences. The other side of C6.5 is f64 on the CPU reference.",
        "所有数值都由引擎自己的内核经公共接口算出，使用上面所列的设备、f32 精度和给定的种子。C6.1 在 d 较小时取更多的向量，因为其涨落为 \
         √(4/(nd))。过了冻结点，n → ∞ 的定律只精确到 1/ln n，所以 C6.2 与 1024 个 logit 的精确均值（主机上的一维积分）比较；\
         σ = 8 时 Σp² 的渐近值是 0.535。C6.3 中熵的斜率由自动微分给出，而不是差分。C6.5 的另一边是 CPU 参考实现上的 f64。",
    ));
    chapter
}
