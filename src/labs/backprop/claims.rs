//! The identities: C3.1, C3.3 and C3.6.

use super::network::{doubles, forward, inner, loss, moved, parameters, refs, spread};
use crate::autodiff::{hvp, jvp, vjp};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{double, largest};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::tensor::Tensor;

/// The function of the chapter's ingredient `chain-rule`: without it reverse mode takes the slope of the network's
/// last nonlinearity for one.
fn network(lab: &Lab, p: &[Tensor], x: &Tensor) -> Result<Tensor> {
    let y = forward(p, x)?;
    let squashed = y.tanh()?;
    if lab.with("chain-rule") { Ok(squashed) } else { y.add(&squashed.sub(&y)?.detach()) }
}

/// C3.1: one number from forward mode, the same from reverse mode.
pub(super) fn adjoint(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let p = parameters(lab, 300, &[10, 32, 32, 5])?;
    let (x, w) = (lab.normal(310, [16, 10])?, lab.normal(311, [16, 5])?);
    let v = spread(lab, 312, &p)?;
    let truth = |p: &[Tensor], x: &Tensor| forward(p, x)?.tanh();
    let apart = |p: &[Tensor], x: &Tensor, v: &[Tensor], w: &Tensor| -> Result<f64> {
        let (_, jv) = jvp(|p| truth(p, x), &refs(p), &refs(v))?;
        let (_, jw) = vjp(|p| network(lab, p, x), &refs(p), w)?;
        let (forward, size) = inner(&[jv], std::slice::from_ref(w))?;
        Ok((forward - inner(v, &jw)?.0).abs() / size)
    };
    let (p64, x64, v64, w64) = (doubles(&p)?, double(&x)?, doubles(&v)?, double(&w)?);
    let measured = [apart(&p, &x, &v, &w)?, apart(&p64, &x64, &v64, &w64)?];
    let source = "Griewank & Walther 2008";
    chapter.claim(
        Claim::check(
            "C3.1",
            lab.say(
                "Forward and reverse mode are adjoint: for the 1573 parameters of a network and random v and w, the \
                 two inner products agree (difference as a share of Σ|terms|)",
                "前向模式与反向模式互为伴随：对含 1573 个参数的网络和随机的 v、w，两个内积相等（差占 Σ|各项| 的比例）",
            ),
            source,
            [0.0; 2],
            measured,
            Tolerance::Each(vec![Tolerance::Absolute(1e-6), Tolerance::Absolute(1e-13)]),
        )
        .formula(r"\langle J v, w \rangle = \langle v, J^\top w \rangle")
        .parts([lab.say("f32, the device", "f32，设备"), lab.say("f64, the reference", "f64，参考实现")]),
    );
    let h = 1e-6;
    let (_, jv) = jvp(|p| truth(p, &x64), &refs(&p64), &refs(&v64))?;
    let (up, down) = (truth(&moved(&p64, &v64, h)?, &x64)?, truth(&moved(&p64, &v64, -h)?, &x64)?);
    let quotient = up.sub(&down)?.mul_scalar(0.5 / h)?;
    let off = largest(jv.sub(&quotient)?.to_f64()?) / largest(jv.to_f64()?);
    chapter.claim(Claim::check(
        "C3.1.forward",
        lab.say(
            "and forward mode is the limit it should be: central differences in f64 with h = 10⁻⁶ give the same Jv \
             (largest difference, relative to the largest element)",
            "前向模式也确实是它应有的极限：f64 下取 h = 10⁻⁶ 的中心差商给出同样的 Jv（最大差，相对于最大分量）",
        ),
        source,
        0.0,
        off,
        Tolerance::Absolute(1e-9),
    ));
    Ok(())
}

/// C3.3: the gradient counts the paths.
pub(super) fn paths(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let one = Tensor::ones(lab.device(), [1])?.contiguous()?;
    let cases = [(6usize, 4usize), (8, 4), (12, 4), (16, 2)];
    let (mut predicted, mut measured) = (vec![], vec![]);
    let gradient = |layers: usize, widen: &dyn Fn(&Tensor) -> Result<Tensor>| -> Result<f64> {
        let x = one.variable()?;
        let y = (0..layers).try_fold(x.clone(), |h, _| widen(&h)?.sum(&[0], true))?;
        y.backward()?.get(&x)?.item()
    };
    for (layers, width) in cases {
        // One node used `width` times: the walk back adds as many cotangents into it.
        let uses = |h: &Tensor| {
            let other = if lab.with("fan-in") { h.clone() } else { h.detach() };
            let all: Vec<&Tensor> =
                std::iter::once(h).chain(std::iter::repeat_n(&other, width - 1)).collect();
            Tensor::concat(&all, 0)
        };
        measured.push(gradient(layers, &uses)?);
        measured.push(gradient(layers, &|h| h.broadcast_to([width]))?);
        predicted.extend([(width as f64).powi(layers as i32); 2]);
    }
    chapter.claim(
        Claim::check(
            "C3.3",
            lab.say(
                "Through L layers of \"use w times, then add\", the derivative is the number of paths, wᴸ: exactly, \
                 although only L·w edges were walked",
                "经过 L 层“用 w 次再相加”，导数恰等于路径条数 wᴸ，而实际只走了 L·w 条边",
            ),
            "Bauer 1974",
            predicted,
            measured,
            Tolerance::Exact,
        )
        .formula(r"\frac{\partial y}{\partial x} = w^L")
        .parts(cases.iter().flat_map(|(l, w)| {
            [
                lab.language().pick(format!("L {l}, w {w}: uses of a node"), format!("L {l}，w {w}：节点多次使用")),
                lab.language().pick(format!("L {l}, w {w}: broadcast"), format!("L {l}，w {w}：广播")),
            ]
        })),
    );
    Ok(())
}

/// C3.6: Hessian-vector products without a Hessian.
pub(super) fn curvature(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let p = parameters(lab, 360, &[6, 16, 16, 1])?;
    let (x, y) = (lab.normal(366, [8, 6])?, lab.normal(367, [8, 1])?);
    let (u, v) = (spread(lab, 368, &p)?, spread(lab, 369, &p)?);
    let product =
        |p: &[Tensor], x: &Tensor, y: &Tensor, v: &[Tensor]| hvp(|p| loss(p, x, y), &refs(p), &refs(v));
    let asymmetry = |p: &[Tensor], x: &Tensor, y: &Tensor, u: &[Tensor], v: &[Tensor]| -> Result<f64> {
        let ((a, size), (b, _)) = (inner(u, &product(p, x, y, v)?)?, inner(v, &product(p, x, y, u)?)?);
        Ok((a - b).abs() / size)
    };
    let (p64, x64, y64, u64, v64) = (doubles(&p)?, double(&x)?, double(&y)?, doubles(&u)?, doubles(&v)?);
    let h = 1e-5;
    let gradient = |p: Vec<Tensor>| -> Result<Vec<Tensor>> {
        let p: Result<Vec<Tensor>> = p.iter().map(Tensor::variable).collect();
        let p = p?;
        loss(&p, &x64, &y64)?.grad(&refs(&p))
    };
    let (up, down) = (gradient(moved(&p64, &v64, h)?)?, gradient(moved(&p64, &v64, -h)?)?);
    let exact = product(&p64, &x64, &y64, &v64)?;
    let mut off = Vec::new();
    for ((up, down), exact) in up.iter().zip(&down).zip(&exact) {
        off.push(up.sub(down)?.mul_scalar(0.5 / h)?.sub(exact)?.detach());
    }
    let relative = (inner(&off, &off)?.0 / inner(&exact, &exact)?.0).sqrt();
    chapter.claim(
        Claim::check(
            "C3.6",
            lab.say(
                "Differentiating the gradient along v gives Hv at the price of a few gradients: H is symmetric (as a \
                 share of Σ|terms|), and differences of gradients agree (relative)",
                "沿 v 再对梯度求导便得到 Hv，代价只是几次梯度：H 是对称的（占 Σ|各项| 的比例），并与梯度的差商一致（相对误差）",
            ),
            "Pearlmutter 1994",
            [0.0; 3],
            [asymmetry(&p, &x, &y, &u, &v)?, asymmetry(&p64, &x64, &y64, &u64, &v64)?, relative],
            Tolerance::Each(vec![
                Tolerance::Absolute(1e-5),
                Tolerance::Absolute(1e-12),
                Tolerance::Absolute(1e-8),
            ]),
        )
        .formula(r"\langle u, H v \rangle = \langle v, H u \rangle")
        .parts([
            lab.say("symmetry, f32 on the device", "对称性，设备 f32"),
            lab.say("symmetry, f64", "对称性，f64"),
            lab.say("differences of gradients, f64", "梯度差商，f64"),
        ]),
    );
    Ok(())
}
