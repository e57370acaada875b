//! What a stack of layers sees, and what pooling does: C8.6 and C8.7.

use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, moments};
use crate::labs::lab::Lab;
use crate::labs::report::{Chapter, Figure, HeatMap, Shade};
use crate::ops::{Conv2dOptions, Pool2d};
use crate::tensor::Tensor;

/// C8.6: the spread of the gradient through a stack of averaging convolutions.
pub(super) fn receptive_field(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (mut variances, mut predicted, mut supports, mut widths) = (vec![], vec![], vec![], vec![]);
    for (k, layers) in [(3usize, 5usize), (3, 20), (5, 10), (7, 8)] {
        let field = field(lab, k, layers)?;
        let n = (field.len() as f64).sqrt() as usize;
        let half = (n / 2) as f64;
        let columns: Vec<f64> = (0..n).map(|j| (0..n).map(|i| field[i * n + j]).sum()).collect();
        let total: f64 = columns.iter().sum();
        let spread: f64 = columns.iter().enumerate().map(|(j, v)| v * (j as f64 - half).powi(2)).sum();
        variances.push(spread / total);
        predicted.push((layers * (k * k - 1)) as f64 / 12.0);
        supports.push(columns.iter().filter(|v| **v > 0.0).count() as f64);
        widths.push((layers * (k - 1) + 1) as f64);
    }
    let names = ["k = 3, L = 5", "k = 3, L = 20", "k = 5, L = 10", "k = 7, L = 8"];
    let source = "Luo et al. 2016";
    chapter
        .claim(
            Claim::check(
                "C8.6",
                lab.say(
                    "Through L averaging convolutions k × k the gradient of the centre has variance L(k² − 1)/12 along \
                     each axis",
                    "中心点的梯度穿过 L 层 k × k 均值卷积后，沿每个轴的方差为 L(k² − 1)/12",
                ),
                source,
                predicted,
                variances,
                Tolerance::Relative(1e-4),
            )
            .parts(names),
        )
        .claim(
            Claim::check(
                "C8.6.support",
                lab.say(
                    "and support L(k − 1) + 1: the reach grows like L, the spread like √L",
                    "支撑宽度为 L(k − 1) + 1：可及范围按 L 增长，散布按 √L 增长",
                ),
                source,
                widths,
                supports,
                Tolerance::Exact,
            )
            .parts(names),
        );
    for layers in [5usize, 20] {
        let field = field(lab, 3, layers)?;
        let n = (field.len() as f64).sqrt() as usize;
        let top = largest(field.iter().copied());
        let half = n as f64 / 2.0;
        let sigma = ((layers * 8) as f64 / 12.0).sqrt();
        let offset = lab.say("pixels from the centre", "到中心的像素数");
        let map = HeatMap::new(n, n, field.iter().map(|v| v / top))
            .extent([-half, half], [-half, half])
            .axes(offset, offset)
            .shade(Shade::Sqrt)
            .bar(lab.say("gradient, relative to its peak", "梯度（相对于峰值）"))
            .circle(0.0, 0.0, sigma, lab.say("one standard deviation", "一个标准差"));
        let language = lab.language();
        chapter.figure(
            Figure::new(language.pick(format!("What {layers} layers look at"), format!("{layers} 层看到了什么")), map)
                .caption(language.pick(
                    format!(
                        "Gradient of the centre with respect to the image, through {layers} convolutions 3 × 3. The image \
                         is {n} pixels wide; the circle has radius $\\sqrt{{L(k^2-1)/12}}$ = {sigma:.2}."
                    ),
                    format!(
                        "中心点对图像的梯度，经过 {layers} 层 3 × 3 卷积。图像宽 {n} 像素；圆的半径为 $\\sqrt{{L(k^2-1)/12}}$ = {sigma:.2}。"
                    ),
                ))
                .alt(language.pick(
                    format!("Heat map of the effective receptive field of {layers} layers: a round spot in the middle"),
                    format!("{layers} 层的有效感受野热图：中央一个圆斑"),
                )),
        );
    }
    Ok(())
}

/// |∂ centre / ∂ image| through `layers` averaging convolutions of side `k`, on an image of odd side
/// that the support does not fill.
fn field(lab: &Lab, k: usize, layers: usize) -> Result<Vec<f64>> {
    let n = layers * (k - 1) + 9;
    let n = n + 1 - n % 2;
    let image = Tensor::zeros(lab.device(), [1, 1, n, n])?.variable()?;
    let w = Tensor::zeros(lab.device(), [1, 1, k, k])?.add_scalar(1.0 / (k * k) as f64)?;
    let same = Conv2dOptions::default().padding([k / 2; 2]);
    let y = (0..layers).try_fold(image.clone(), |x, _| x.conv2d(&w, None, same))?;
    let centre = y.slice(2, n / 2, n / 2 + 1)?.slice(3, n / 2, n / 2 + 1)?;
    centre.reshape([])?.backward()?.get(&image)?.to_f64()
}

/// C8.7: what pooling does to noise and to sparse features.
pub(super) fn pooling(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let pool = Pool2d::new([2, 2]);
    let x = lab.normal(870, [1, 1, 512, 512])?;
    let (max_mean, max_var) = moments(&x.max_pool2d(pool)?.to_f64()?);
    let (_, avg_var) = moments(&x.avg_pool2d(pool, true)?.to_f64()?);
    let stream = lab.stream(871);
    let sparse = Tensor::bernoulli(lab.device(), [1, 1, 1024, 1024], 0.1, stream)?;
    let (hits, hits_var) = moments(&sparse.max_pool2d(pool)?.to_f64()?);
    let p = 1.0 - 0.9f64.powi(4);
    chapter.claim(
        Claim::check(
            "C8.7",
            lab.say(
                "Over windows of four: the maximum of N(0, 1) has mean 1.0294 and variance 0.4917, the average variance \
                 1/4; features present with probability a = 0.1 survive max pooling with 1 − (1 − a)⁴",
                "对四个数的窗口：N(0, 1) 的最大值均值为 1.0294、方差为 0.4917，平均值的方差为 1/4；\
                 以概率 a = 0.1 出现的特征，经最大池化后以概率 1 − (1 − a)⁴ 留存",
            ),
            lab.say("Boureau et al. 2010; order statistics", "Boureau et al. 2010；次序统计量"),
            [1.029_375, 0.491_715, 0.25, p, p * (1.0 - p)],
            [max_mean, max_var, avg_var, hits, hits_var],
            Tolerance::Absolute(0.01),
        )
        .parts(lab.language().pick(
            ["max, mean", "max, variance", "average, variance", "sparse, mean", "sparse, variance"],
            ["最大值，均值", "最大值，方差", "平均值，方差", "稀疏特征，均值", "稀疏特征，方差"],
        )),
    );
    Ok(())
}
