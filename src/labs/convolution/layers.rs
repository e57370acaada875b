//! Convolutions with fewer multiplications, and convolutions that keep lengths: C8.5 and C8.8.

use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::largest;
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Conv2d, Fan, Init, LayerInit, Params};
use crate::op::counted;
use crate::ops::Conv2dOptions;
use crate::tensor::Tensor;

/// C8.5: Winograd's minimal filtering of 4 × 4 tiles by 3 × 3 kernels.
pub(super) fn winograd(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (tiles, kernels) = (100, 10);
    let matrix =
        |values: &[f32], rows: usize| Tensor::from_slice(lab.device(), values, [rows, values.len() / rows]);
    let g = matrix(&[1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0.0, 0.0, 1.0], 4)?;
    #[rustfmt::skip]
    let b = matrix(
        &[1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 1.0, 0.0, -1.0],
        4,
    )?;
    let a = matrix(&[1.0, 1.0, 1.0, 0.0, 0.0, 1.0, -1.0, -1.0], 2)?;
    // Small integers, the weights multiples of four: the halves of the transform leave integers.
    let x = lab.uniform(850, [tiles, 1, 4, 4])?.mul_scalar(17.0)?.floor()?.add_scalar(-8.0)?;
    let w = lab.uniform(851, [kernels, 1, 3, 3])?.mul_scalar(9.0)?.floor()?.add_scalar(-4.0)?;
    let w = w.mul_scalar(4.0)?;
    let (direct, flops) = counted(|| x.conv2d(&w, None, Conv2dOptions::default()));
    let both = |m: &Tensor, t: &Tensor| m.matmul(t)?.matmul(&m.t()?);
    let products = both(&b, &x)?.mul(&both(&g, &w)?.reshape([1, kernels, 4, 4])?)?;
    let apart = both(&a, &products)?.sub(&direct?)?;
    // An operation is a multiplication or an addition.
    let multiplications = flops as f64 / 2.0;
    chapter.claim(
        Claim::check(
            "C8.5",
            lab.say(
                "Winograd's transform computes 2 × 2 outputs of a 3 × 3 kernel with 16 multiplications instead of 36, \
                 exactly on small integers (1000 pairs of tile and kernel)",
                "Winograd 变换用 16 次而非 36 次乘法算出 3 × 3 卷积核的 2 × 2 个输出，对小整数完全精确（1000 对图块与卷积核）",
            ),
            "Winograd 1980; Lavin & Gray 2016",
            [0.0, 2.25],
            [largest(apart.to_f64()?), multiplications / products.count() as f64],
            Tolerance::Exact,
        )
        .parts(lab.language().pick(
            ["largest difference", "multiplications, direct / Winograd"],
            ["最大偏差", "乘法次数，直接 / Winograd"],
        ))
        .formula(r"Y = A^\top \left[ (G g G^\top) \odot (B^\top d B) \right] A"),
    );
    Ok(())
}

/// C8.8: a hundred layers that keep every length.
pub(super) fn isometry(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (channels, side, layers) = (16, 16, 100);
    let x = lab.normal(880, [1, channels, side, side])?;
    let length = |t: &Tensor| t.square()?.sum(&[], false)?.sqrt()?.item();
    let through = |weight: Init| -> Result<f64> {
        let params = Params::new(lab.device(), lab.seed());
        let init = LayerInit { weight, ..LayerInit::without_bias() };
        let same = Conv2dOptions::default().padding([1, 1]);
        let mut y = x.clone();
        for layer in 0..layers {
            let at = params.at(format!("layer{layer}"));
            y = Conv2d::with(&at, channels, channels, [3, 3], same, init)?.forward(&y)?.detach();
        }
        Ok(length(&y)? / length(&x)?)
    };
    let orthogonal = through(Init::DeltaOrthogonal { gain: 1.0 })?;
    let gaussian = through(Init::KaimingNormal { gain: 1.0, fan: Fan::In })?;
    chapter.claim(
        Claim::check(
            "C8.8",
            lab.say(
                "Through 100 linear convolutions a delta-orthogonal initialisation keeps the length of every image; \
                 Gaussian weights N(0, 1/fan in) do not (|ln| of the ratio)",
                "穿过 100 层线性卷积，delta 正交初始化保持图像的长度不变；高斯权重 N(0, 1/扇入) 则不然（比值的 |ln|）",
            ),
            "Xiao et al. 2018",
            [1.0, 0.3],
            [orthogonal, gaussian.ln().abs()],
            Tolerance::Each(vec![Tolerance::Absolute(1e-4), Tolerance::Above]),
        )
        .parts(lab.language().pick(
            ["‖y‖/‖x‖, delta-orthogonal", "|ln ‖y‖/‖x‖|, Gaussian"],
            ["‖y‖/‖x‖，delta 正交", "|ln ‖y‖/‖x‖|，高斯"],
        )),
    );
    Ok(())
}
