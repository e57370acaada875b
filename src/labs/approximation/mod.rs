//! Chapter 1: universal approximation.

mod claims;
mod figures;
mod pieces;
mod real;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "approximation",
    words,
    steps: &[
        Step { id: "C1.1", weight: 2, run: claims::interpolation },
        Step { id: "C1.2", weight: 6, run: claims::random_features },
        Step { id: "C1.3", weight: 2, run: pieces::depth_separation },
        Step { id: "C1.4", weight: 1, run: claims::square },
        Step { id: "C1.5", weight: 1, run: pieces::regions },
        Step { id: "C1.6", weight: 6, run: pieces::breakpoints },
        Step { id: "C1.7", weight: 1, run: claims::polynomial },
        Step { id: "R1", weight: 30, run: real::clothes },
    ],
    ingredients: &[
        Ingredient { name: "slope-difference", claim: "C1.1" },
        Ingredient { name: "unbiased", claim: "C1.2" },
        Ingredient { name: "fold", claim: "C1.3" },
        Ingredient { name: "square-activation", claim: "C1.7" },
    ],
};

fn words(lab: &Lab) -> Chapter {
    let mut chapter = Chapter::new("approximation", lab.say("Universal approximation", "万能逼近"));
    chapter
        .idea(lab.say(
            "One hidden layer can approximate every continuous function: that is the famous theorem, and it says \
             nothing about the price. This chapter measures the *price*: how the error falls with the number of \
             units, what the dimension has to do with it, what depth buys, and which activations cannot do it at all.",
            "单隐层网络可以逼近任何连续函数——这就是那条著名的定理，可它对代价只字未提。本章测量的正是*代价*：\
             误差随单元数怎样下降，维数起什么作用，深度换来了什么，以及哪些激活函数根本做不到。",
        ))
        .theorem(
            Theorem::new(
                lab.say("A ReLU layer is a spline", "一层 ReLU 就是样条"),
                lab.say(
                    "For $f \\in C^2$ the network below, with $s_k$ the slope of $f$ over cell $k$ and $s_{-1} = 0$, \
                     is the linear interpolant on $N$ cells; its error is at most that of interpolation.",
                    "设 $f \\in C^2$，$s_k$ 为 $f$ 在第 $k$ 个小区间上的割线斜率，$s_{-1} = 0$。下面的网络恰好就是 \
                     $N$ 个小区间上的分段线性插值，误差不超过插值误差。",
                ),
            )
            .formula(r"f_N(x) = f(0) + \sum_{k<N} (s_k - s_{k-1}) \relu(x - k/N)")
            .formula(r"\sup |f - f_N| \le \frac{\max |f''|}{8 N^2}")
            .source("de Boor 1978; Cybenko 1989; Hornik 1991"),
        )
        .theorem(
            Theorem::new(
                lab.say("Random features do not see the dimension", "随机特征看不见维数"),
                lab.say(
                    "A function that is an expectation of units is approximated by an average of $n$ of them with \
                     mean square error variance over $n$, *whatever the dimension*. For the norm, with \
                     $w_i \\sim N(0, I_d)$, the constant is the same in every dimension.",
                    "若一个函数可以写成神经元的期望，那么取 $n$ 个神经元作平均，均方误差就是方差除以 $n$，*与维数无关*。\
                     对范数函数，取 $w_i \\sim N(0, I_d)$，连常数在各个维数里都一样。",
                ),
            )
            .formula(r"f_n(x) = \frac{\sqrt{2π}}{n} \sum_{i=1}^n \relu(w_i · x)")
            .formula(r"\frac{\operatorname{E}(f_n(x) - \|x\|)^2}{\|x\|^2} = \frac{π - 1}{n}")
            .source("Barron 1993; Maurey in Pisier 1981"),
        )
        .theorem(
            Theorem::new(
                lab.say("Depth folds", "深度即折叠"),
                lab.say(
                    "The tent map $T$ takes two units, and $k$ of them in a row have $2^k$ linear pieces. One hidden \
                     layer of width $m$ has at most $m + 1$ pieces, so on $2^k$ points with alternating labels it \
                     errs on a share of at least",
                    "帐篷映射 $T$ 只用两个单元，把它复合 $k$ 次就得到 $2^k$ 段折线。宽度为 $m$ 的单隐层网络至多有 $m + 1$ \
                     段，因此在 $2^k$ 个标签交替的点上，它的错误率至少是",
                ),
            )
            .formula(r"\frac{1}{2} \left(1 - \frac{m + 2}{2^k}\right), \quad T(x) = 2 \relu(x) - 4 \relu(x - \frac{1}{2})")
            .source("Telgarsky 2015, 2016"),
        )
        .theorem(
            Theorem::new(
                lab.say("Squaring by folding", "用折叠计算平方"),
                lab.say(
                    "Sums of iterated tents interpolate $x^2$ on $2^m$ cells with $O(m)$ units: the error falls by \
                     four with each two units, where one layer would need twice as many.",
                    "把逐次复合的帐篷加起来，只用 $O(m)$ 个单元就得到 $x^2$ 在 $2^m$ 个小区间上的插值：每添两个单元，\
                     误差就缩小到四分之一；而单隐层要做到这一点，单元数必须翻倍。",
                ),
            )
            .formula(r"f_m(x) = x - \sum_{s=1}^m \frac{T^{∘s}(x)}{4^s}, \quad \sup |f_m - x^2| = 4^{-(m+1)}")
            .source("Yarotsky 2017"),
        )
        .theorem(
            Theorem::new(
                lab.say("No polynomial will do", "多项式激活不行"),
                lab.say(
                    "A network with one hidden layer is universal exactly if its activation is not a polynomial. With \
                     $σ(z) = z^2$ every width spans the quadratics alone, and $|x|$ on $[-1, 1]$ stays at mean square \
                     distance $1/192$.",
                    "单隐层网络具有万能逼近性，当且仅当激活函数不是多项式。取 $σ(z) = z^2$，无论多宽，张成的都只是二次多项式，\
                     $[-1, 1]$ 上的 $|x|$ 与它们的均方距离始终是 $1/192$。",
                ),
            )
            .source("Leshno, Lin, Pinkus and Schocken 1993"),
        )
        .theorem(
            Theorem::new(
                lab.say("Regions, possible and typical", "线性区域：能有多少，通常有多少"),
                lab.say(
                    "$n$ lines in general position cut the plane into $1 + n + n(n-1)/2$ regions, one for each \
                     pattern of active units. Depth could multiply them; a *random* deep network does not: along a \
                     great circle every unit of every layer switches twice on average.",
                    "处于一般位置的 $n$ 条直线把平面分成 $1 + n + n(n-1)/2$ 块，每块对应一种激活模式。深度本可使块数成倍增长，\
                     但*随机*的深层网络并不如此：沿大圆走一圈，每一层的每个单元平均都只切换两次。",
                ),
            )
            .source("Zaslavsky 1975; Montúfar et al. 2014; Hanin and Rolnick 2019"),
        );
    chapter.method(lab.say(
        "All networks ran on the engine's kernels in f32 on the device named above. Where a bound is the claim, what \
         rounding can have added was measured and taken off the measured side: in C1.1 the distance between the same \
         network in f32 and in f64, in C1.3 a margin around zero within which a guess counts as right. C1.3, C1.4 and \
         the tent maps are exact: all their values are dyadic and fit into 24 bits. C1.5 and the least squares of C1.7 \
         are in f64 on the CPU reference.",
        "所有网络都在上面所列的设备上，以 f32 用引擎自己的内核计算。凡论断是不等式的，都先测出舍入可能带来的偏差，再从测得的一侧扣除：\
         C1.1 扣的是同一网络 f32 与 f64 结果之差；C1.3 在零附近留出余量，落在余量内的一律算判对。C1.3、C1.4 与帐篷映射没有舍入误差：\
         所有数值都是二进分数，24 位足以表示。C1.5 与 C1.7 的最小二乘在 CPU 参考实现上以 f64 进行。",
    ));
    chapter
}
