//! Chapter 8: convolutional networks.

mod claims;
mod fields;
mod figures;
mod fourier;
mod layers;
mod network;
mod real;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "convolution",
    words,
    steps: &[
        Step { id: "C8.1", weight: 1, run: claims::convolution_theorem },
        Step { id: "C8.2", weight: 3, run: claims::circulant },
        Step { id: "C8.3", weight: 1, run: claims::equivariance },
        Step { id: "C8.4", weight: 1, run: claims::trilinear },
        Step { id: "C8.5", weight: 1, run: layers::winograd },
        Step { id: "C8.6", weight: 1, run: fields::receptive_field },
        Step { id: "C8.7", weight: 1, run: fields::pooling },
        Step { id: "C8.8", weight: 2, run: layers::isometry },
        Step { id: "R8", weight: 40, run: real::clothes },
    ],
    ingredients: &[Ingredient { name: "flip", claim: "C8.1" }, Ingredient { name: "torus", claim: "C8.3" }],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("convolution", lab.say("Convolutional networks", "卷积网络"));
    chapter
        .idea(lab.say(
            "A convolution looks at every place of an image with the same small window. That one decision, \
             *sharing weights across places*, is a theorem about symmetry: a linear map commutes with all \
             translations exactly when it is a convolution. Everything below follows from it.",
            "卷积用同一个小窗口看图像的每一处。*在各处共享权重*这一个决定，其实是一条关于对称性的定理：\
             线性映射与一切平移可交换，当且仅当它是卷积。以下的一切都由此而来。",
        ))
        .theorem(
            Theorem::new(
                lab.say("Convolution theorem", "卷积定理"),
                lab.say(
                    "On a torus, convolution is multiplication of Fourier coefficients. It is therefore a doubly \
                     block-circulant matrix, and its singular values are those of one small matrix for each frequency.",
                    "在环面上，卷积就是傅里叶系数相乘。因此它是双重分块循环矩阵，其奇异值由每个频率上的一个小矩阵给出。",
                ),
            )
            .formula(r"\mathrm{F}(w * x)(\omega) = \mathrm{F}w(\omega) \mathrm{F}x(\omega)")
            .source(lab.say("classical; Sedghi, Gupta and Long 2019", "经典结果；Sedghi, Gupta and Long 2019")),
        )
        .theorem(
            Theorem::new(
                lab.say("Equivariance", "等变性"),
                lab.say(
                    "Moving the input moves the output: with $T_v$ the shift by $v$, a stack of convolutions and \
                     pointwise functions commutes with it. Zero padding breaks this near the border, a stride \
                     breaks it for shifts that the stride does not divide.",
                    "输入平移，输出随之平移：设 $T_v$ 为平移 $v$，则由卷积与逐点函数叠成的网络与它可交换。\
                     补零在边界附近破坏这一性质；步幅则对不能被它整除的平移破坏这一性质。",
                ),
            )
            .formula(r"f(T_v x) = T_v f(x)")
            .source("Cohen and Welling 2016; Azulay and Weiss 2019"),
        )
        .theorem(
            Theorem::new(
                lab.say("One trilinear form", "同一个三线性型"),
                lab.say(
                    "The forward product and its two gradients are three ways to contract the same form, so each is \
                     the gradient of the other two and the family is closed under differentiation.",
                    "前向运算与它的两个梯度，是同一个三线性型的三种缩并；每一个都是另外两个的梯度，这一族运算对求导封闭。",
                ),
            )
            .formula(r"\langle w * x, u \rangle = \langle x, \partial_x (u, w) \rangle = \langle w, \partial_w (x, u) \rangle")
            .source("Dumoulin and Visin 2016"),
        )
        .theorem(
            Theorem::new(
                lab.say("Effective receptive field", "有效感受野"),
                lab.say(
                    "A deep stack sees far, but it looks mostly at the middle: the support of the gradient grows \
                     like $L$, its spread only like $\\sqrt{L}$.",
                    "深层网络看得远，但主要看中间：梯度的支撑按 $L$ 增长，散布却只按 $\\sqrt{L}$ 增长。",
                ),
            )
            .formula(r"\sigma^2 = \frac{L (k^2 - 1)}{12}")
            .source("Luo et al. 2016"),
        );
    chapter.method(lab.say(
        "Every number was computed by the engine's own kernels through its public API, in f32 on the device named \
         above, from the seed. Where a claim is an identity the other side was computed in f64 on the CPU reference.",
        "所有数值都由引擎自身的着色器通过公开接口、以 f32 精度在上述设备上从随机种子算得。论断为恒等式时，\
         等式的另一边在 CPU 参考实现上以 f64 计算。",
    ));
    chapter
}
