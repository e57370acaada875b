//! Chapter 3: backpropagation.

mod claims;
mod cost;
mod differences;
mod network;
mod real;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "backprop",
    words,
    steps: &[
        Step { id: "C3.1", weight: 2, run: claims::adjoint },
        Step { id: "C3.2", weight: 6, run: differences::anatomy },
        Step { id: "C3.3", weight: 1, run: claims::paths },
        Step { id: "C3.4", weight: 4, run: cost::gradient },
        Step { id: "C3.5", weight: 8, run: cost::checkpoints },
        Step { id: "C3.6", weight: 2, run: claims::curvature },
        Step { id: "R3", weight: 20, run: real::digits },
    ],
    ingredients: &[
        Ingredient { name: "chain-rule", claim: "C3.1" },
        Ingredient { name: "symmetry", claim: "C3.2" },
        Ingredient { name: "fan-in", claim: "C3.3" },
        Ingredient { name: "checkpoints", claim: "C3.5" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("backprop", lab.say("Backpropagation", "反向传播"));
    chapter
        .idea(lab.say(
            "A network is a composition of simple maps, and the derivative of a composition is a product of their \
             Jacobians. Backpropagation multiplies them *from the left*, starting at the loss: a row vector times a \
             matrix each time, never a matrix times a matrix. One sweep gives the derivative by every parameter, for \
             about the price of two more evaluations, however many parameters there are.",
            "网络是许多简单映射的复合，复合的导数是各雅可比矩阵之积。反向传播从损失出发、*从左边*乘起：每一步都只是行向量乘矩阵，\
             从不做矩阵乘矩阵。只需往回走一遍，就得到损失对每个参数的导数；无论参数有多少，代价都只相当于再多算两次函数值。",
        ))
        .theorem(
            Theorem::new(
                lab.say("The adjoint", "伴随"),
                lab.say(
                    "Forward mode computes $J v$, reverse mode $J^\\top w$, and neither forms $J$. That they are \
                     transposes of each other can be tested with one number and random vectors.",
                    "前向模式算 $J v$，反向模式算 $J^\\top w$，两者都不写出 $J$。它们互为转置，用随机向量只比较一个数便可检验。",
                ),
            )
            .formula(r"\langle J v, w \rangle = \langle v, J^\top w \rangle")
            .source("Griewank & Walther 2008"),
        )
        .theorem(
            Theorem::new(
                lab.say("Why not differences", "为什么不用差商"),
                lab.say(
                    "A central difference with step $h$ errs by $c h^2$ from truncation and by about $ε/h$ from \
                     rounding. The best step is $h \\sim ε^{1/3}$, and even then a third of the digits is lost. \
                     Reverse mode has no step and loses none.",
                    "步长为 $h$ 的中心差商，截断误差为 $c h^2$，舍入误差约为 $ε/h$。最好的步长是 $h \\sim ε^{1/3}$，\
                     即便如此仍要丢掉三分之一的有效数字。反向模式没有步长，也就一位不丢。",
                ),
            )
            .formula(r"\frac{f(θ+hv) - f(θ-hv)}{2h} = \langle \nabla f, v \rangle + c h^2 + O\left(\frac{ε}{h}\right)")
            .source("Griewank & Walther 2008; Squire & Trapp 1998"),
        )
        .theorem(
            Theorem::new(
                lab.say("Sum over paths", "对路径求和"),
                lab.say(
                    "The derivative is the sum, over all paths from input to output, of the product of the local \
                     derivatives along each. Adding up cotangents where paths meet computes this sum over \
                     exponentially many paths in linear time.",
                    "导数等于对输入到输出的所有路径求和，每条路径贡献沿途局部导数之积。\
                     在路径交汇处把余切相加，便在线性时间内算出了对指数多条路径的和。",
                ),
            )
            .formula(r"\frac{\partial y}{\partial x} = \sum_{p : x \to y} \prod_{(i, j) \in p} \frac{\partial z_j}{\partial z_i}")
            .source("Bauer 1974"),
        )
        .theorem(
            Theorem::new(
                lab.say("The cheap gradient", "廉价梯度"),
                lab.say(
                    "Value and gradient together cost at most a small constant times the value. For a network of \
                     layers $n_0, n_1, \\dots$ and products of matrices the constant is exact: each product is done \
                     three times, except that the data need no derivative.",
                    "同时求函数值与梯度，代价至多是单求函数值的一个小常数倍。若网络各层宽度为 $n_0, n_1, \\dots$，只计矩阵乘法，\
                     这个常数可以精确写出：每个乘法共做三遍，只是不必对输入数据求导。",
                ),
            )
            .formula(r"\frac{\operatorname{cost}(f, \nabla f)}{\operatorname{cost}(f)} = 3 - \frac{n_0 n_1}{\sum_l n_l n_{l+1}}")
            .source("Baur & Strassen 1983; Griewank & Walther 2008"),
        )
        .theorem(
            Theorem::new(
                lab.say("Memory for time", "以时间换内存"),
                lab.say(
                    "Reverse mode reads what the forward pass computed, last layer first, so it seems to need all \
                     $L$ layers in memory. Keep every $\\sqrt{L}$-th and compute the rest again: $2\\sqrt{L}$ layers \
                     in memory, one more forward pass, and the same bits.",
                    "反向模式要倒着读前向过程的结果，似乎必须把 $L$ 层全部留在内存里。\
                     若每隔 $\\sqrt{L}$ 层只留一层，其余用到时重算：内存里只需 $2\\sqrt{L}$ 层，多做一遍前向，梯度逐位不变。",
                ),
            )
            .source("Chen et al. 2016"),
        );
    chapter.method(lab.say(
        "Every number was computed by the engine through its public API: in f32 on the device named above, and where \
         f64 is said, in f64 on the CPU reference. FLOPs were counted by the operations as they ran, memory by the \
         tensors as they came and went.",
        "所有数值都由引擎的公开接口算出：f32 在上面所列的设备上计算，注明 f64 的在 CPU 参考实现上计算。\
         浮点运算次数由各运算在执行时自行计数，内存由张量在产生与释放时计数。",
    ));
    chapter
}
