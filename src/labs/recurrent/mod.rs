//! Chapter 9: recurrent networks.

mod chaos;
mod figures;
mod gates;
mod gradients;
mod programs;
mod real;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "recurrent",
    words,
    steps: &[
        Step { id: "C9.1", weight: 4, run: gradients::vanishing },
        Step { id: "C9.2", weight: 1, run: gradients::closed_form },
        Step { id: "C9.3", weight: 10, run: chaos::edge },
        Step { id: "C9.4", weight: 1, run: gates::memory },
        Step { id: "C9.5", weight: 1, run: gates::bounded },
        Step { id: "C9.6", weight: 1, run: programs::parity },
        Step { id: "C9.7", weight: 1, run: programs::scan },
        Step { id: "C9.8", weight: 25, run: programs::adding_problem },
        Step { id: "R9", weight: 25, run: real::sun },
    ],
    ingredients: &[
        Ingredient { name: "orthogonal-weights", claim: "C9.1" },
        Ingredient { name: "stop-gradient", claim: "C9.2" },
        Ingredient { name: "tanh-slope", claim: "C9.3" },
        Ingredient { name: "gate-order", claim: "C9.4" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("recurrent", lab.say("Recurrent networks", "循环网络"));
    chapter
        .idea(lab.say(
            "A recurrent network applies one map again and again, and what it learns comes back through all of these \
             applications: a gradient is multiplied by one Jacobian a step. A product of many matrices shrinks or grows \
             *exponentially*, and everything here is about that exponent.",
            "循环网络反复施加同一个映射，学习信号也要原路穿过每一次施加：每退一步，梯度就乘上一个雅可比矩阵。许多矩阵相乘，\
             不是*指数地*缩小，就是指数地增大；本章所谈的，归根到底都是这个指数。",
        ))
        .idea(lab.say(
            "Random networks have it at zero exactly on the edge of chaos. Gates move it: along the cell of an LSTM the \
             Jacobian is the product of the forget gates, which the network itself can hold near one. And a recurrence \
             without the nonlinearity is no sequence of steps at all, but a convolution.",
            "随机网络恰好在混沌边缘使指数为零。门能够改变它：沿着 LSTM 的单元状态，雅可比就是遗忘门之积，而网络自己可以把它保持在一附近。\
             至于没有非线性的递推，其实不必逐步计算，它就是一个卷积。",
        ))
        .theorem(
            Theorem::new(
                lab.say("Vanishing and exploding gradients", "梯度的消失与爆炸"),
                lab.say(
                    "The Jacobian of $T$ steps is a product; its norm is at most the product of the norms.",
                    "$T$ 步的雅可比矩阵是乘积，其范数不超过各因子范数之积。",
                ),
            )
            .formula(r"\left‖ \frac{\partial h_T}{\partial h_0} \right‖ \le \prod_t \sigma_{\max}(W) \max_i (1 - h_{t,i}^2)")
            .source("Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013"),
        )
        .theorem(
            Theorem::new(
                lab.say("The edge of chaos", "混沌边缘"),
                lab.say(
                    "In a large random network the activity is Gaussian, and its variance and the Lyapunov exponent solve two \
                     equations in one variable. The exponent changes sign at gain $g = 1$.",
                    "在大的随机网络中活动服从高斯分布，其方差与李雅普诺夫指数由两个一元方程决定。指数在增益 $g = 1$ 处变号。",
                ),
            )
            .formula(r"q = g^2 \operatorname{E} \tanh^2(\sqrt q z), \quad \lambda = \frac{1}{2} \ln \left( g^2 \operatorname{E} \operatorname{sech}^4(\sqrt q z) \right)")
            .source("Sompolinsky, Crisanti and Sommers 1988; Molgedey, Schuchhardt and Schuster 1992"),
        )
        .theorem(
            Theorem::new(
                lab.say("The constant error carousel", "恒定误差传送带"),
                lab.say(
                    "Along the cell of an LSTM without recurrent weights the Jacobian is diagonal: the forget gates multiplied.",
                    "没有循环权重时，沿 LSTM 单元状态的雅可比矩阵是对角阵：各步遗忘门之积。",
                ),
            )
            .formula(r"\frac{\partial c_T}{\partial c_0} = \operatorname{diag} \prod_t f_t, \quad T_{1/2} = \frac{\ln \frac{1}{2}}{\ln \sigma(b)}")
            .source("Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000; Tallec and Ollivier 2018"),
        )
        .theorem(
            Theorem::new(
                lab.say("Linear recurrence is convolution", "线性递推就是卷积"),
                lab.say(
                    "A diagonal linear recurrence is a causal convolution, and since its steps compose associatively it takes \
                     only $\\log_2 T$ rounds in parallel.",
                    "对角线性递推等于因果卷积；由于各步的复合满足结合律，并行计算只需 $\\log_2 T$ 轮。",
                ),
            )
            .formula(r"y_t = \sum_s K_{t-s} u_s, \quad K_t = \sum_i c_i a_i^t b_i")
            .source("Blelloch 1990; Martin and Cundy 2018; Gu, Goel and Ré 2022"),
        );
    chapter.method(lab.say(
        "Every number was computed by the engine's own kernels through its public API, in f32 on the device named above, from \
         the seed. Jacobians are those of backpropagation: as many copies of a sequence as there are units, and one walk back. \
         C9.1's bound allows a share of 1 + 10⁻⁵ before it counts a violation. In C9.3 a finite network of gain 0.8 decays at \
         the rate of its spectral radius, which at 512 units lies a few per cent above the gain; the tolerance covers that. In \
         C9.5 rounding may carry the state beyond 1 by some units in the last place.",
        "所有数值都由引擎自己的内核经公共接口算出，使用上面所列的设备、f32 精度和给定的种子。雅可比矩阵取自反向传播：把序列复制成与单元数相同的\
         份数，一次回传即得所有行。C9.1 的界允许 1 + 10⁻⁵ 的比例，超过才算违反。C9.3 中增益 0.8 的有限网络按其谱半径衰减，512 个单元时谱半径\
         比增益大百分之几，容差已包含此项。C9.5 中舍入可使状态超出 1 若干个末位单位。",
    ));
    chapter
}
