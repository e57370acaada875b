//! The claims that are algebra: C8.1 to C8.4.

use super::fourier::{dft, frequency_values};
use crate::device::Device;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest, singular_values};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::ops::Conv2dOptions;
use crate::tensor::Tensor;

/// The identities of this chapter hold to this share of Σ|terms| in f32.
const ROUNDING: f64 = 1e-5;

/// x `[.., H, W]` continued by `p` on each side as on a torus.
pub(super) fn wrapped(x: &Tensor, p: usize) -> Result<Tensor> {
    [-2isize, -1].into_iter().try_fold(x.clone(), |x, axis| {
        let n = x.shape()[(x.rank() as isize + axis) as usize];
        Tensor::concat(&[&x.slice(axis, n - p, n)?, &x, &x.slice(axis, 0, p)?], axis)
    })
}

/// x `[.., H, W]` moved down by `dy` and right by `dx` on the torus.
fn rolled(x: &Tensor, dy: usize, dx: usize) -> Result<Tensor> {
    [(-2isize, dy), (-1, dx)].into_iter().try_fold(x.clone(), |x, (axis, by)| {
        let n = x.shape()[(x.rank() as isize + axis) as usize];
        Tensor::concat(&[&x.slice(axis, n - by % n, n)?, &x.slice(axis, 0, n - by % n)?], axis)
    })
}

/// C8.1: convolution on the torus against the product of Fourier transforms, the latter in f64.
pub(super) fn convolution_theorem(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let n = 64;
    let (x, w) = (lab.normal(810, [1, 1, n, n])?, lab.normal(811, [1, 1, 5, 5])?);
    let plain = Conv2dOptions::default();
    let y = wrapped(&x, 2)?.conv2d(&w, None, plain)?.to_f64()?;
    let sums = wrapped(&x.abs()?, 2)?.conv2d(&w.abs()?, None, plain)?.to_f64()?;
    // Cross-correlation reads x at p + tap − 2, so tap (a, b) of the kernel stands at (2 − a, 2 − b) mod n.
    let taps = w.to_f64()?;
    let mut kernel = vec![0.0; n * n];
    for (t, value) in taps.iter().enumerate() {
        let (row, column) =
            if lab.with("flip") { (n + 2 - t / 5, n + 2 - t % 5) } else { (n + t / 5 - 2, n + t % 5 - 2) };
        kernel[row % n * n + column % n] += value;
    }
    let cpu = Device::cpu();
    let plane = |data: &[f64]| Tensor::from_slice(&cpu, data, [n, n]);
    let [fx, fk] = [dft(&plane(&x.to_f64()?)?, None, 1.0)?, dft(&plane(&kernel)?, None, 1.0)?];
    let re = fx[0].mul(&fk[0])?.sub(&fx[1].mul(&fk[1])?)?;
    let im = fx[0].mul(&fk[1])?.add(&fx[1].mul(&fk[0])?)?;
    let product = dft(&re, Some(&im), -1.0)?[0].mul_scalar(1.0 / (n * n) as f64)?.to_f64()?;
    let worst = largest(y.iter().zip(&product).zip(&sums).map(|((a, b), s)| (a - b) / s));
    chapter.claim(Claim::check(
        "C8.1",
        lab.say(
            "Circular convolution is the inverse Fourier transform of the product of Fourier transforms (largest \
             difference, as a share of Σ|terms|)",
            "循环卷积等于傅里叶变换之积的逆变换（最大偏差，相对于 Σ|各项|）",
        ),
        lab.say("classical", "经典结果"),
        0.0,
        worst,
        Tolerance::Absolute(ROUNDING),
    ));
    Ok(())
}

/// C8.2: the matrix of the convolution, its symmetry and its singular values.
pub(super) fn circulant(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, c) = (8, 3);
    let size = c * n * n;
    let w = lab.normal(820, [c, c, 3, 3])?;
    let conv = |x: &Tensor| wrapped(x, 1)?.conv2d(&w, None, Conv2dOptions::default());
    let mut identity = vec![0.0f32; size * size];
    (0..size).for_each(|i| identity[i * size + i] = 1.0);
    // Row i of `columns` is what the i-th unit image becomes: the transposed matrix.
    let basis = Tensor::from_slice(lab.device(), &identity, [size, c, n, n])?;
    let columns = conv(&basis)?;
    let shifted = |dy: usize, dx: usize| -> Result<f64> {
        let moved_in = rolled(&columns.reshape([c, n, n, size])?.permute(&[3, 0, 1, 2])?, dy, dx)?;
        let moved = moved_in.permute(&[1, 2, 3, 0])?.reshape([size, c, n, n])?;
        let both = rolled(&moved, dy, dx)?;
        Ok(largest(both.to_f64()?.iter().zip(&columns.to_f64()?).map(|(a, b)| a - b)))
    };
    let defect = shifted(1, 0)?.max(shifted(0, 1)?);
    let of_matrix = singular_values(&columns.to_f64()?, size);
    let of_frequencies = frequency_values(&w.to_f64()?, n, c);
    let apart = largest(of_matrix.iter().zip(&of_frequencies).map(|(a, b)| (a - b) / of_frequencies[0]));
    // Power iteration by the convolution and its transpose, which is its vector-Jacobian product.
    let mut v = lab.normal(821, [1, c, n, n])?;
    for _ in 0..300 {
        let x = v.variable()?;
        let y = conv(&x)?;
        let back = y.pull_back(&y.detach(), &[&x])?.swap_remove(0).detach();
        v = back.div(&back.square()?.sum(&[], false)?.sqrt()?)?;
    }
    let power = conv(&v)?.square()?.sum(&[], false)?.sqrt()?.item()?;
    chapter.claim(
        Claim::check(
            "C8.2",
            lab.say(
                "A circular convolution is a doubly block-circulant matrix; its singular values are those of the c × c \
                 matrices of the transformed kernel, one for each frequency; power iteration finds the largest",
                "循环卷积是双重分块循环矩阵；其奇异值由核的傅里叶变换在各频率上的 c × c 矩阵给出；幂迭代求得最大者",
            ),
            "Sedghi et al. 2019",
            [0.0, 0.0, 1.0],
            [defect, apart, power / of_frequencies[0]],
            Tolerance::Each(vec![
                Tolerance::Exact,
                Tolerance::Absolute(ROUNDING),
                Tolerance::Relative(1e-3),
            ]),
        )
        .parts(lab.language().pick(
            ["defect of the symmetry", "singular values apart (relative)", "power iteration / largest"],
            ["对称性的缺损", "奇异值的相对偏差", "幂迭代所得 / 最大奇异值"],
        )),
    );
    Ok(())
}

/// C8.3: what padding and stride do to equivariance.
pub(super) fn equivariance(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let n = 32;
    let x = lab.normal(830, [1, 2, n, n])?;
    let weights = [
        lab.normal(831, [4, 2, 3, 3])?.mul_scalar(0.25)?,
        lab.normal(832, [4, 4, 3, 3])?.mul_scalar(0.25)?,
        lab.normal(833, [4, 4, 3, 3])?.mul_scalar(0.25)?,
    ];
    let net = |x: &Tensor, circular: bool, stride: usize| {
        weights.iter().enumerate().try_fold(x.clone(), |x, (layer, w)| {
            let step = if layer == 2 { stride } else { 1 };
            let o = Conv2dOptions::default().stride([step; 2]);
            if circular && lab.with("torus") {
                wrapped(&x, 1)?.conv2d(w, None, o)?.relu()
            } else {
                x.conv2d(w, None, o.padding([1, 1]))?.relu()
            }
        })
    };
    let apart =
        |a: &Tensor, b: &Tensor| -> Result<Vec<f64>> { a.sub(b)?.abs()?.max(&[0, 1], false)?.to_f64() };
    let (dy, dx) = (3, 5);
    let moved = rolled(&x, dy, dx)?;
    let circular = apart(&net(&moved, true, 1)?, &rolled(&net(&x, true, 1)?, dy, dx)?)?;
    let zero = apart(&net(&moved, false, 1)?, &rolled(&net(&x, false, 1)?, dy, dx)?)?;
    // Three layers of reach one: border effects end three pixels from the border of either image.
    let reach = 3;
    let inner = |at: usize| {
        let (i, j) = (at / n, at % n);
        (dy + reach..n - reach).contains(&i) && (dx + reach..n - reach).contains(&j)
    };
    let part = |inside: bool| {
        largest(zero.iter().enumerate().filter(|(at, _)| inner(*at) == inside).map(|(_, v)| *v))
    };
    let strided = |by: (usize, usize), expect: (usize, usize)| -> Result<f64> {
        let moved = net(&rolled(&x, by.0, by.1)?, true, 2)?;
        Ok(largest(apart(&moved, &rolled(&net(&x, true, 2)?, expect.0, expect.1)?)?))
    };
    let even = strided((2, 4), (1, 2))?;
    let odd = strided((1, 0), (0, 0))?.min(strided((1, 0), (1, 0))?);
    let values = [largest(circular), part(true), part(false), even, odd];
    chapter.claim(
        Claim::check(
            "C8.3",
            lab.say(
                "Three layers of convolution and relu commute with translation: exactly on the torus; with zero \
                 padding exactly beyond L(k − 1)/2 = 3 pixels from the border, and not within; with a last stride \
                 of 2 exactly for even shifts, and not for odd ones",
                "三层卷积加 relu 与平移可交换：在环面上严格成立；补零时，在距边界 L(k − 1)/2 = 3 个像素以外严格成立，以内则不成立；\
                 末层步幅为 2 时，对偶数平移严格成立，对奇数平移不成立",
            ),
            "Cohen & Welling 2016; Azulay & Weiss 2019; Zhang 2019",
            [0.0, 0.0, 0.01, 0.0, 0.01],
            values,
            Tolerance::Each(vec![
                Tolerance::Exact,
                Tolerance::Exact,
                Tolerance::Above,
                Tolerance::Exact,
                Tolerance::Above,
            ]),
        )
        .parts(lab.language().pick(
            [
                "circular padding",
                "zero padding, interior",
                "zero padding, border",
                "stride 2, even shift",
                "stride 2, odd shift",
            ],
            ["循环填充", "补零，内部", "补零，边界", "步幅 2，偶数平移", "步幅 2，奇数平移"],
        )),
    );
    Ok(())
}

/// C8.4: three contractions of one form.
pub(super) fn trilinear(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let mut apart = Vec::new();
    for (index, (stride, k)) in [(1, 3), (2, 5), (3, 4)].into_iter().enumerate() {
        let stream = 840 + 3 * index as u64;
        let x = lab.normal(stream, [2, 3, 17, 19])?.variable()?;
        let w = lab.normal(stream + 1, [4, 3, k, k])?.variable()?;
        let y = x.conv2d(&w, None, Conv2dOptions::default().stride([stride; 2]))?;
        let u = lab.normal(stream + 2, *y.shape())?;
        let gradients = y.pull_back(&u, &[&x, &w])?;
        let (yv, uv) = (y.to_f64()?, u.to_f64()?);
        let scale: f64 = yv.iter().zip(&uv).map(|(a, b)| (a * b).abs()).sum();
        let form = dot(&yv, &uv);
        let through_x = dot(&x.to_f64()?, &gradients[0].to_f64()?);
        let through_w = dot(&w.to_f64()?, &gradients[1].to_f64()?);
        apart.push(largest([(form - through_x) / scale, (form - through_w) / scale]));
    }
    chapter.claim(
        Claim::check(
            "C8.4",
            lab.say(
                "⟨conv(x, w), u⟩ = ⟨x, dX(u, w)⟩ = ⟨w, dW(x, u)⟩ (largest difference, as a share of Σ|terms|)",
                "⟨conv(x, w), u⟩ = ⟨x, dX(u, w)⟩ = ⟨w, dW(x, u)⟩（最大偏差，相对于 Σ|各项|）",
            ),
            "Dumoulin & Visin 2016",
            [0.0; 3],
            apart,
            Tolerance::Absolute(ROUNDING),
        )
        .parts(lab.language().pick(
            ["stride 1, k 3", "stride 2, k 5", "stride 3, k 4"],
            ["步幅 1，k = 3", "步幅 2，k = 5", "步幅 3，k = 4"],
        )),
    );
    Ok(())
}
