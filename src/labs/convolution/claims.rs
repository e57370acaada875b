//! The claims that are mathematics: C8.1 to C8.7.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{dot, largest, moments, singular_values};
use crate::labs::lab::Lab;
use crate::labs::report::{Chapter, Figure, HeatMap, Shade};
use crate::ops::{Conv2dOptions, Pool2d};
use crate::tensor::Tensor;
use std::f64::consts::PI;

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
        "Circular convolution is the inverse Fourier transform of the product of Fourier transforms \
         (largest difference, as a share of Σ|terms|)",
        "classical",
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
            "A circular convolution is a doubly block-circulant matrix; its singular values are those of the \
             c × c matrices of the transformed kernel, one for each frequency; power iteration finds the largest",
            "Sedghi et al. 2019, Theorem 6",
            [0.0, 0.0, 1.0],
            [defect, apart, power / of_frequencies[0]],
            Tolerance::Each(vec![
                Tolerance::Exact,
                Tolerance::Absolute(ROUNDING),
                Tolerance::Relative(1e-3),
            ]),
        )
        .parts(["defect of the symmetry", "singular values apart (relative)", "power iteration / largest"]),
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
            if circular {
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
            "Three layers of convolution and relu commute with translation: exactly on the torus; with zero \
             padding exactly beyond L(k − 1)/2 = 3 pixels from the border, and not within; with a last stride \
             of 2 exactly for even shifts, and not for odd ones",
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
        .parts([
            "circular padding",
            "zero padding, interior",
            "zero padding, border",
            "stride 2, even shift",
            "stride 2, odd shift",
        ]),
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
            "⟨conv(x, w), u⟩ = ⟨x, dX(u, w)⟩ = ⟨w, dW(x, u)⟩ (largest difference, as a share of Σ|terms|)",
            "Dumoulin & Visin 2016",
            [0.0; 3],
            apart,
            Tolerance::Absolute(ROUNDING),
        )
        .parts(["stride 1, k 3", "stride 2, k 5", "stride 3, k 4"]),
    );
    Ok(())
}

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
    let names = ["k 3, L 5", "k 3, L 20", "k 5, L 10", "k 7, L 8"];
    let source = "Luo et al. 2016, section 2";
    chapter
        .claim(
            Claim::check(
                "C8.6",
                "Through L averaging convolutions k × k the gradient of the centre has variance L(k² − 1)/12 \
                 along each axis",
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
                "and support L(k − 1) + 1: the reach grows like L, the spread like √L",
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
        let map = HeatMap::new(n, n, field.iter().map(|v| v / top))
            .extent([-half, half], [-half, half])
            .axes("pixels from the centre", "pixels from the centre")
            .shade(Shade::Sqrt)
            .bar("gradient, relative to its peak")
            .circle(0.0, 0.0, sigma, "one standard deviation");
        chapter.figure(
            Figure::new(format!("What {layers} layers look at"), map)
                .caption(format!(
                    "Gradient of the centre with respect to the image, through {layers} convolutions 3 × 3. \
                     The image is {n} pixels wide; the circle has radius $\\sqrt{{L(k^2-1)/12}}$ = {sigma:.2}."
                ))
                .alt(format!("Heat map of the effective receptive field of {layers} layers")),
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
            "Over windows of four: the maximum of N(0, 1) has mean 1.0294 and variance 0.4917, the average \
             variance 1/4; features present with probability a survive max pooling with 1 − (1 − a)⁴",
            "Boureau et al. 2010, section 3; order statistics",
            [1.029_375, 0.491_715, 0.25, p, p * (1.0 - p)],
            [max_mean, max_var, avg_var, hits, hits_var],
            Tolerance::Absolute(0.01),
        )
        .parts([
            "max, mean",
            "max, variance",
            "average, variance",
            "sparse, mean",
            "sparse, variance",
        ]),
    );
    Ok(())
}
/// The two-dimensional discrete Fourier transform Σ x·exp(−`sign`·2πi·…) of a square plane, as products
/// with the matrices of cosines and sines: real and imaginary part.
fn dft(re: &Tensor, im: Option<&Tensor>, sign: f64) -> Result<[Tensor; 2]> {
    let n = re.shape()[0];
    let table = |f: fn(f64) -> f64| {
        let values: Vec<f64> =
            (0..n * n).map(|at| f(2.0 * PI * ((at / n * (at % n)) % n) as f64 / n as f64)).collect();
        Tensor::from_slice(re.device(), &values, [n, n])
    };
    let (c, s) = (table(f64::cos)?, table(f64::sin)?.mul_scalar(-sign)?);
    let zero = Tensor::full(re.device(), DType::F64, [n, n], 0.0)?;
    let im = im.unwrap_or(&zero);
    // (C + iS)·X, then the same along the other axis.
    let left = [c.matmul(re)?.sub(&s.matmul(im)?)?, c.matmul(im)?.add(&s.matmul(re)?)?];
    Ok([left[0].matmul(&c)?.sub(&left[1].matmul(&s)?)?, left[1].matmul(&c)?.add(&left[0].matmul(&s)?)?])
}

/// The singular values of the c × c matrices K̂(ω) of a 3 × 3 kernel on an n × n torus, all together, the
/// largest first. A complex matrix A + iB has the singular values of [[A, −B], [B, A]], each once more.
fn frequency_values(w: &[f64], n: usize, c: usize) -> Vec<f64> {
    let mut all = Vec::with_capacity(n * n * c);
    for frequency in 0..n * n {
        let mut block = vec![0.0; 4 * c * c];
        for (at, value) in w.iter().enumerate() {
            let (o, i, t) = (at / (9 * c), at / 9 % c, at % 9);
            let turn = (frequency / n) as f64 * (t / 3) as f64 + (frequency % n) as f64 * (t % 3) as f64;
            let (sin, cos) = (2.0 * PI * turn / n as f64).sin_cos();
            for (row, column, part) in [(o, i, cos), (o + c, i + c, cos), (o, i + c, -sin), (o + c, i, sin)] {
                block[row * 2 * c + column] += value * part;
            }
        }
        all.extend(singular_values(&block, 2 * c).into_iter().step_by(2));
    }
    all.sort_by(|a, b| b.total_cmp(a));
    all
}
