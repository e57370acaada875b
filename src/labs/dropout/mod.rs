//! Chapter 7: dropout.

mod claims;
mod figures;
mod penalty;
mod real;
mod uncertainty;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "dropout",
    words,
    steps: &[
        Step { id: "C7.1", weight: 2, run: claims::expectation },
        Step { id: "C7.2", weight: 10, run: penalty::ridge },
        Step { id: "C7.3", weight: 1, run: penalty::logistic },
        Step { id: "C7.4", weight: 1, run: claims::geometric_mean },
        Step { id: "C7.5", weight: 4, run: claims::through_relu },
        Step { id: "C7.6", weight: 1, run: uncertainty::not_epistemic },
        Step { id: "C7.7", weight: 10, run: uncertainty::far_out },
        Step { id: "C7.8", weight: 3, run: claims::variational },
        Step { id: "R7", weight: 40, run: real::clothes },
    ],
    ingredients: &[
        Ingredient { name: "dropout-scale", claim: "C7.1" },
        Ingredient { name: "dropout-geometric-mean", claim: "C7.4" },
        Ingredient { name: "dropout-fresh-masks", claim: "C7.2.sgd" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("dropout", lab.say("Dropout", "随机失活（Dropout）"));
    chapter
        .idea(lab.say(
            "Dropout sets each unit to zero with probability $p$ and multiplies the others by $1/(1 - p)$, so that \
             the expectation stays. For one linear layer everything about it can be computed: noise on the input \
             *is* a penalty on the weights, and the penalty is known in closed form.",
            "随机失活以概率 $p$ 把单元置零，其余的乘以 $1/(1 - p)$，从而期望不变。对单个线性层，一切都可以算出来：\
             输入上的噪声*就是*对权重的惩罚，而且这个惩罚有闭式表达。",
        ))
        .idea(lab.say(
            "Behind a nonlinearity the identities become approximations, and their error is measured here. Left on \
             at prediction time, dropout gives a spread of answers (Monte-Carlo dropout). That spread is useful, and \
             it is not what it is often taken for: it does not shrink with more data.",
            "一旦经过非线性，恒等式就成了近似，这里测量近似的误差。若在预测时仍保留随机失活，就得到一组分散的回答\
             （蒙特卡洛 dropout）。这种分散有用，却不是人们常以为的那样：它并不随数据增多而缩小。",
        ))
        .theorem(
            Theorem::new(
                lab.say("Noise is a penalty", "噪声即惩罚"),
                lab.say(
                    "Least squares with dropout on the inputs is, on average over the masks, ridge regression that \
                     weighs each coordinate by its size. Any noise with mean one and variance $p/(1 - p)$ does the same.",
                    "在输入上施加随机失活的最小二乘，对掩码取平均，就是按各坐标大小加权的岭回归。\
                     任何均值为 1、方差为 $p/(1 - p)$ 的乘性噪声效果相同。",
                ),
            )
            .formula(r"\operatorname{E} \| y - (X \odot M) w \|^2 = \| y - X w \|^2 + \frac{p}{1 - p} w^\top \diag(X^\top X) w")
            .source("Srivastava et al. 2014; Wager, Wang and Liang 2013"),
        )
        .theorem(
            Theorem::new(
                lab.say("Weight scaling is a geometric mean", "权重缩放即几何平均"),
                lab.say(
                    "For one softmax layer the scaled network is not the average of the $2^d$ thinned ones, but their \
                     normalised geometric mean, exactly.",
                    "对单个 softmax 层，缩放权重所得的网络不是 $2^d$ 个稀疏子网络的算术平均，而恰好是它们归一化的几何平均。",
                ),
            )
            .formula(r"\operatorname{softmax}(W^\top (1 - p) x + b) \propto \prod_M p_M(y | x)^{P(M)}")
            .source("Hinton et al. 2012; Baldi and Sadowski 2013"),
        )
        .theorem(
            Theorem::new(
                lab.say("Through a relu", "穿过 relu"),
                lab.say(
                    "A sum of many masked terms is nearly normal, $z + s \\xi$ with $s^2 = p/(1 - p) \\sum w_i^2 x_i^2$. \
                     Its relu has a mean above $\\operatorname{relu}(z)$: at $z = 0$ by $s/\\sqrt{2\\pi}$.",
                    "许多被掩码的项之和近似正态，即 $z + s \\xi$，其中 $s^2 = p/(1 - p) \\sum w_i^2 x_i^2$。\
                     它经 relu 之后的均值高于 $\\operatorname{relu}(z)$：在 $z = 0$ 处高出 $s/\\sqrt{2\\pi}$。",
                ),
            )
            .formula(r"\operatorname{E} \relu(z + s \xi) = z \Phi(z/s) + s \phi(z/s)")
            .source("Wang and Manning 2013"),
        )
        .theorem(
            Theorem::new(
                lab.say("The spread of the masks is not the error", "掩码的分散并非误差"),
                lab.say(
                    "Of a linear predictor the variance over masks depends on the weights and the input alone; the \
                     variance of the estimate over data sets falls as $1/N$.",
                    "对线性预测，掩码引起的方差只取决于权重与输入；而估计量在不同数据集上的方差按 $1/N$ 下降。",
                ),
            )
            .formula(r"\operatorname{Var}_M = \frac{p}{1 - p} \sum_i w_i^2 x_i^2, \quad \operatorname{Var}_{\text{data}} = \sigma^2 x^\top (X^\top X)^{-1} x")
            .source("Gal and Ghahramani 2016; Osband 2016"),
        );
    chapter.method(lab.say(
        "Every number was computed by the engine's own kernels through its public API, in f32 on the device named \
         above, from the seed; expectations over few units by listing all masks, the others by drawing. C7.3 \
         compares two numbers that nearly cancel and is computed in f64 on the CPU reference; the small systems of \
         equations of C7.2 and C7.6 are solved there too.",
        "除另有说明外，所有数值都由引擎自身的着色器通过公开接口、以 f32 精度在上述设备上从随机种子算得；单元少时，\
         期望通过列举全部掩码求得，否则靠抽样。C7.3 比较两个几乎相消的数，因此在 CPU 参考实现上用 f64 计算；\
         C7.2 与 C7.6 中的小型方程组也在那里求解。",
    ));
    chapter
}
