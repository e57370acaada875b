//! C4.4 and C4.6: blocks that do nothing, and blocks that can be undone.

use super::blocks::{block, squares};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{double, largest, singular_values};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::nn::{Init, Params};
use crate::tensor::Tensor;

/// C4.4: a hundred blocks with W₂ = 0.
pub(super) fn identity(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let n = 64;
    let x = lab.normal(480, [8, n])?.variable()?;
    let u = lab.normal(481, [8, n])?.contiguous()?;
    let zero = Tensor::zeros(lab.device(), [n, n])?.contiguous()?;
    let mut y = x.clone();
    for layer in 0..100 {
        let w1 = lab.normal(482_000 + layer, [n, n])?.mul_scalar((2.0 / n as f64).sqrt())?;
        y = block(lab, &y, &[w1, zero.clone()])?;
    }
    let back = y.pull_back(&u, &[&x])?.swap_remove(0);
    let apart = |a: &Tensor, b: &Tensor| -> Result<f64> {
        Ok(largest(a.to_f64()?.iter().zip(b.to_f64()?).map(|(a, b)| a - b)))
    };
    chapter.claim(
        Claim::check(
            "C4.4",
            lab.say(
                "A hundred blocks whose last weight is zero are the identity, bit for bit, forward and backward \
                 (largest difference)",
                "一百个末层权重为零的残差块，前向与反向都逐位等于恒等映射（最大差）",
            ),
            "He et al. 2016",
            [0.0; 2],
            [apart(&y, &x)?, apart(&back, &u)?],
            Tolerance::Exact,
        )
        .parts([lab.say("forward", "前向"), lab.say("backward", "反向")]),
    );
    Ok(())
}

/// A weight of f64 on the CPU reference, scaled to spectral norm `norm`.
fn scaled(lab: &Lab, stream: u64, n: usize, norm: f64) -> Result<Tensor> {
    let w = double(&lab.normal(stream, [n, n])?)?;
    let largest = singular_values(&w.to_f64()?, n)[0];
    w.mul_scalar(norm / largest)?.contiguous()
}

/// C4.6: undoing y = x + F(x).
pub(super) fn inverse(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    const WIDTH: usize = 32;
    const Q: f64 = 0.6;
    // F = q·O with O orthogonal: each step of x ← y − F(x) shrinks the error by exactly q.
    let params = Params::new(lab.device(), lab.seed());
    let o = params.parameter("orthogonal", [WIDTH, WIDTH], Init::Orthogonal { gain: Q })?.get().detach();
    let x = lab.normal(483, [16, WIDTH])?.contiguous()?;
    let length = |t: &Tensor| -> Result<f64> { Ok(squares(t)?.iter().sum::<f64>().sqrt()) };
    let y = x.add(&x.matmul(&o)?)?.contiguous()?;
    let mut z = y.clone();
    let before = length(&z.sub(&x)?)?;
    let rounds = 15;
    for _ in 0..rounds {
        z = y.sub(&z.matmul(&o)?)?.contiguous()?;
    }
    let rate = (length(&z.sub(&x)?)? / before).powf(1.0 / f64::from(rounds));

    // A nonlinear branch of the same Lipschitz constant stays within the bound, here in f64 down to its rounding.
    let (w1, w2) = (scaled(lab, 484, WIDTH, 1.0)?, scaled(lab, 485, WIDTH, Q)?);
    let branch = |x: &Tensor| x.matmul(&w1)?.tanh()?.matmul(&w2);
    let x64 = double(&x)?;
    let y64 = x64.add(&branch(&x64)?)?.contiguous()?;
    let worst = |t: &Tensor| -> Result<f64> { Ok(largest(squares(t)?).sqrt()) };
    let start = worst(&y64.sub(&x64)?)?;
    let (mut z, mut share) = (y64.clone(), 0.0f64);
    for k in 1..=40 {
        z = y64.sub(&branch(&z)?)?.contiguous()?;
        // Below 10⁻¹³ the error is f64's own.
        share = share.max((worst(&z.sub(&x64)?)? - 1e-13) / (Q.powi(k) * start));
    }

    // A coupling of two halves has its inverse written down: x₂ = y₂ − G(y₁), x₁ = y₁ − F(x₂).
    let half = WIDTH / 2;
    let size = (2.0 / (half as f64 * 20.0)).sqrt();
    let weight = |stream: u64| lab.normal(stream, [half, half])?.mul_scalar(size)?.contiguous();
    let (a, b) = (weight(486)?, weight(487)?);
    let (x1, x2) = (x.slice(1, 0, half)?.contiguous()?, x.slice(1, half, WIDTH)?.contiguous()?);
    let (f, g) = (|t: &Tensor| t.matmul(&a)?.relu(), |t: &Tensor| t.matmul(&b)?.relu());
    let (mut u1, mut u2) = (x1.clone(), x2.clone());
    for _ in 0..20 {
        u1 = u1.add(&f(&u2)?)?.contiguous()?;
        u2 = u2.add(&g(&u1)?)?.contiguous()?;
    }
    let scale = largest(u1.to_f64()?.into_iter().chain(u2.to_f64()?));
    for _ in 0..20 {
        u2 = u2.sub(&g(&u1)?)?.contiguous()?;
        u1 = u1.sub(&f(&u2)?)?.contiguous()?;
    }
    let off = largest(u1.sub(&x1)?.to_f64()?.into_iter().chain(u2.sub(&x2)?.to_f64()?)) / scale;
    chapter.claim(
        Claim::check(
            "C4.6",
            lab.say(
                "A branch of Lipschitz constant q = 0.6 can be undone by iteration: the error shrinks by q each time, \
                 exactly so for q times a rotation; a coupling block is undone by a formula (20 blocks there and back, \
                 as a share of the largest activation)",
                "利普希茨常数 q = 0.6 的支路可以迭代求逆：误差每次缩小为 q 倍，支路为 q 乘旋转时恰好如此；\
                 耦合块则有显式的逆（20 块往返，占最大激活的比例）",
            ),
            "Behrmann et al. 2019; Gomez et al. 2017",
            [Q, 1.0, 0.0],
            [rate, share, off],
            Tolerance::Each(vec![Tolerance::Relative(1e-5), Tolerance::AtMost, Tolerance::Absolute(1e-5)]),
        )
        .formula(r"\|x_k - x\| \le q^k \|y - x\|")
        .parts([
            lab.say("rate for a rotation", "旋转情形的收缩率"),
            lab.say("tanh branch, share of the bound", "tanh 支路，占界的比例"),
            lab.say("coupling, there and back", "耦合块，往返误差"),
        ]),
    );
    Ok(())
}
