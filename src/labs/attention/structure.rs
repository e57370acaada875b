//! What attention commutes with, and how it is computed: C6.4 to C6.6.

use super::selection::ROUNDING;
use crate::device::Device;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{largest, singular_values};
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::op::counted;
use crate::ops::Attention;
use crate::tensor::Tensor;

/// One head of attention of rows q to rows k and v.
pub(super) fn head(q: &Tensor, k: &Tensor, v: &Tensor, options: &Attention) -> Result<Tensor> {
    let batched = |x: &Tensor| x.unsqueeze(0)?.unsqueeze(0);
    batched(q)?.attention(&batched(k)?, &batched(v)?, options)?.squeeze(0)?.squeeze(0)
}

/// Self-attention of rows with the projections of queries, keys and values.
pub(super) fn attend(x: &Tensor, [q, k, v]: &[Tensor; 3], options: &Attention) -> Result<Tensor> {
    head(&x.matmul(q)?, &x.matmul(k)?, &x.matmul(v)?, options)
}

/// Three d × d projections of entries N(0, 1/d).
pub(super) fn projections(lab: &Lab, stream: u64, d: usize) -> Result<[Tensor; 3]> {
    let one = |i: u64| lab.normal(stream + i, [d, d])?.mul_scalar(1.0 / (d as f64).sqrt());
    Ok([one(0)?, one(1)?, one(2)?])
}

fn apart(a: &Tensor, b: &Tensor) -> Result<f64> {
    Ok(largest(a.sub(b)?.to_f64()?))
}

/// C6.4: permutations, positions and the mask.
pub(super) fn equivariance(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, d) = (128, 32);
    let x = lab.normal(640, [n, d])?;
    let w = projections(lab, 641, d)?;
    let order = lab.uniform(644, [n])?.argsort(0, false)?;
    let permuted = |x: &Tensor| x.index_select(0, &order);
    let plain = Attention::default();
    let causal = Attention { causal: lab.with("causal-mask"), ..Attention::default() };
    let moved = |options: &Attention, positions: &Tensor| -> Result<f64> {
        let after = permuted(&attend(&x.add(positions)?, &w, options)?)?;
        apart(&attend(&permuted(&x)?.add(positions)?, &w, options)?, &after)
    };
    let none = x.full_like(0.0)?;
    let positions = lab.normal(645, [n, d])?;
    let (q, k, v) = (x.slice(0, 0, 16)?.matmul(&w[0])?, x.matmul(&w[1])?, x.matmul(&w[2])?);
    let cross = apart(&head(&q, &permuted(&k)?, &permuted(&v)?, &plain)?, &head(&q, &k, &v, &plain)?)?;
    // Everything behind row `seen` changes.
    let seen = 65;
    let later = x.slice_assign(&[seen, 0], &x.slice(0, seen, n)?.add_scalar(1.0)?)?;
    let kept = |x: &Tensor| attend(x, &w, &causal)?.slice(0, 0, seen);
    let leakage = apart(&kept(&later)?, &kept(&x)?)?;
    chapter.claim(
        Claim::check(
            "C6.4",
            lab.say(
                "Attention knows no order: permuting the rows permutes the result, permuting keys and values \
                 together changes nothing. A causal mask or added positions break this; and with the mask no row \
                 changes by a single bit when what comes after it does",
                "注意力不知道次序：打乱各行，结果也同样被打乱；键和值一起打乱，结果不变。因果掩码或位置编码会打破\
                 这一点；加上掩码之后，后面的内容怎样改变，前面的行一个比特也不变",
            ),
            "Vaswani et al. 2017; Lee et al. 2019",
            [0.0, 0.0, 0.1, 0.1, 0.0],
            [moved(&plain, &none)?, cross, moved(&causal, &none)?, moved(&plain, &positions)?, leakage],
            Tolerance::Each(vec![
                Tolerance::Absolute(ROUNDING),
                Tolerance::Absolute(ROUNDING),
                Tolerance::Above,
                Tolerance::Above,
                Tolerance::Exact,
            ]),
        )
        .formula(r"\operatorname{Attn}(P X) = P \operatorname{Attn}(X)")
        .parts([
            lab.say("rows permuted", "打乱各行"),
            lab.say("keys and values permuted", "打乱键和值"),
            lab.say("with a causal mask", "加因果掩码"),
            lab.say("with positions", "加位置编码"),
            lab.say("leakage from the future", "来自未来的泄漏"),
        ]),
    );
    Ok(())
}

/// Attention with all its weights in memory.
fn naive(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    q.matmul(&k.t()?)?.mul_scalar(1.0 / (q.shape()[1] as f64).sqrt())?.softmax(1)?.matmul(v)
}

/// Attention over blocks of keys, with a running maximum and a running sum for each query.
fn online(lab: &Lab, q: &Tensor, k: &Tensor, v: &Tensor, block: usize) -> Result<Tensor> {
    let (n, d) = (q.shape()[0], q.shape()[1]);
    let column = |value: f64| Tensor::full(q.device(), q.dtype(), [n, 1], value);
    // Without the running maximum exponents are taken as they are.
    let first = if lab.with("running-max") { -1e30 } else { 0.0 };
    let (mut highest, mut sum, mut found) = (column(first)?, column(0.0)?, v.full_like(0.0)?);
    for at in (0..k.shape()[0]).step_by(block) {
        let scores = q.matmul(&k.slice(0, at, at + block)?.t()?)?.mul_scalar(1.0 / (d as f64).sqrt())?;
        let next = match lab.with("running-max") {
            true => highest.maximum(&scores.max(&[1], true)?)?,
            false => highest.clone(),
        };
        let shrink = highest.sub(&next)?.exp()?;
        let weights = scores.sub(&next)?.exp()?;
        sum = sum.mul(&shrink)?.add(&weights.sum(&[1], true)?)?;
        found = found.mul(&shrink)?.add(&weights.matmul(&v.slice(0, at, at + block)?)?)?;
        highest = next;
    }
    found.div(&sum)
}

/// C6.5: the online softmax, by hand and in the fused kernel, and the kernel's gradients.
pub(super) fn fused(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, d) = (512, 64);
    let cpu = Device::cpu();
    let exact = |x: &Tensor| Tensor::from_slice(&cpu, &x.to_f64()?, x.shape());
    let [k, v, dy] = [lab.normal(651, [n, d])?, lab.normal(652, [n, d])?, lab.normal(653, [n, d])?];
    let (mut apart_small, mut errors, mut gradients) = ([0.0; 2], [0.0; 3], Vec::new());
    for scale in [1.0, 100.0] {
        let q = lab.normal(650, [n, d])?.mul_scalar(scale)?;
        let flash = head(&q, &k, &v, &Attention::default())?;
        let (plain, blocks) = (naive(&q, &k, &v)?, online(lab, &q, &k, &v, 64)?);
        let truth = naive(&exact(&q)?, &exact(&k)?, &exact(&v)?)?.to_f64()?;
        let error =
            |y: &Tensor| -> Result<f64> { Ok(largest(y.to_f64()?.iter().zip(&truth).map(|(a, b)| a - b))) };
        if scale == 1.0 {
            apart_small = [apart(&flash, &plain)?, apart(&blocks, &plain)?];
        } else {
            errors = [error(&flash)?, error(&blocks)?, error(&plain)?];
        }
        // Each gradient's error, relative to its largest entry. A weight is exp(s − lse): both scores and their
        // logarithmic sum are rounded, so the weights carry three roundings of what the products add up.
        let terms = q.abs()?.matmul(&k.abs()?.t()?)?.max(&[], false)?.item()? / (d as f64).sqrt();
        let allowed = ROUNDING / 2.0 + 3.0 * f64::from(f32::EPSILON) * terms;
        let pull = |x: [&Tensor; 3], dy: &Tensor, fused: bool| -> Result<Vec<Vec<f64>>> {
            let [q, k, v] = [x[0].variable()?, x[1].variable()?, x[2].variable()?];
            let y = if fused { head(&q, &k, &v, &Attention::default())? } else { naive(&q, &k, &v)? };
            y.pull_back(dy, &[&q, &k, &v])?.iter().map(Tensor::to_f64).collect()
        };
        let true_gradients = pull([&exact(&q)?, &exact(&k)?, &exact(&v)?], &exact(&dy)?, false)?;
        for (found, truth) in pull([&q, &k, &v], &dy, true)?.iter().zip(&true_gradients) {
            let size = largest(truth.iter().copied());
            gradients.push((largest(found.iter().zip(truth).map(|(a, b)| (a - b) / size)), allowed));
        }
    }
    chapter
        .claim(
            Claim::check(
                "C6.5",
                lab.say(
                    "The online softmax, block by block with a running maximum and sum, is attention: the engine's \
                     fused kernel and the recurrence in tensor operations agree with softmax in one piece; at logits \
                     of ±500 either is as near the truth in f64 as that is (at most twice its error + 1e-6)",
                    "在线 softmax 逐块处理键，只保留当前最大值与累计和，结果就是注意力：引擎的融合内核以及用张量运算\
                     写成的递推，都与一次算完的 softmax 相同；logit 达到 ±500 时，两者与 f64 真值之差也不超过它的两倍\
                     加 1e-6",
                ),
                "Milakov & Gimelshein 2018; Dao et al. 2022",
                [0.0, 0.0, 2.0 * errors[2] + 1e-6, 2.0 * errors[2] + 1e-6],
                [apart_small[0], apart_small[1], errors[0], errors[1]],
                Tolerance::Each(vec![
                    Tolerance::Absolute(2e-6),
                    Tolerance::Absolute(2e-6),
                    Tolerance::AtMost,
                    Tolerance::AtMost,
                ]),
            )
            .formula(r"m' = \max(m, \max_j s_j), \quad \ell' = e^{m - m'} \ell + \sum_j e^{s_j - m'}")
            .parts([
                lab.say("kernel, logits of ±5", "内核，logit ±5"),
                lab.say("recurrence, ±5", "递推，±5"),
                lab.say("kernel, ±500", "内核，±500"),
                lab.say("recurrence, ±500", "递推，±500"),
            ]),
        )
        .claim(
            Claim::check(
                "C6.5.gradient",
                lab.say(
                    "The kernel's gradients recompute every weight from one number a query, and are as near the truth as \
                     logits rounded in f32 allow: 3·2⁻²³·Σ|q·k|/√d, and 5·10⁻⁶ for the sums (error relative to the largest entry)",
                    "内核的梯度只凭每个查询的一个数重新算出所有权重，与真值之差不超过 f32 对 logit 舍入所允许的范围：\
                     3·2⁻²³·Σ|q·k|/√d，另加求和的 5·10⁻⁶（相对于最大分量）",
                ),
                "Dao et al. 2022",
                gradients.iter().map(|g| g.1).collect::<Vec<_>>(),
                gradients.iter().map(|g| g.0).collect::<Vec<_>>(),
                Tolerance::AtMost,
            )
            .parts(["dQ, ±5", "dK, ±5", "dV, ±5", "dQ, ±500", "dK, ±500", "dV, ±500"]),
        );
    Ok(())
}

/// C6.6: the rank of the scores, and what linear attention saves.
pub(super) fn rank(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (n, d, depth) = (64, 64, 8);
    let x = lab.normal(660, [n, d])?;
    let scores =
        x.matmul(&lab.normal(661, [d, depth])?)?.matmul(&x.matmul(&lab.normal(662, [d, depth])?)?.t()?)?;
    let values = singular_values(&scores.to_f64()?, n);
    let (n, d) = (512, 16);
    let [q, k, v] = [lab.normal(663, [n, d])?, lab.normal(664, [n, d])?, lab.normal(665, [n, d])?];
    let (quadratic, slow) = counted(|| q.matmul(&k.t()?)?.matmul(&v));
    let (linear, fast) = counted(|| q.matmul(&k.t()?.matmul(&v)?));
    let sums = q.abs()?.matmul(&k.abs()?.t()?.matmul(&v.abs()?)?)?.to_f64()?;
    let off = quadratic?.sub(&linear?)?.to_f64()?;
    chapter.claim(
        Claim::check(
            "C6.6",
            lab.say(
                "Scores QKᵀ of a head of d_h = 8 features have rank 8, however many tokens there are; and without \
                 the softmax (QKᵀ)V = Q(KᵀV), for n/d times fewer operations (512/16 here)",
                "每个头只有 d_h = 8 个特征时，无论有多少词元，分数矩阵 QKᵀ 的秩都是 8；去掉 softmax 后 (QKᵀ)V = \
                 Q(KᵀV)，运算量只有原来的 d/n（此处为 16/512）",
            ),
            "Bhojanapalli et al. 2020; Katharopoulos et al. 2020",
            [0.05, 0.0, 0.0, 32.0],
            [
                values[depth - 1] / values[0],
                values[depth] / values[0],
                largest(off.iter().zip(&sums).map(|(a, s)| a / s)),
                slow as f64 / fast as f64,
            ],
            Tolerance::Each(vec![
                Tolerance::Above,
                Tolerance::Absolute(ROUNDING),
                Tolerance::Absolute(ROUNDING),
                Tolerance::Relative(1e-9),
            ]),
        )
        .formula(r"(Q K^\top) V = Q (K^\top V)")
        .parts([
            "σ₈/σ₁",
            "σ₉/σ₁",
            lab.say("difference of the orders", "两种次序之差"),
            lab.say("ratio of operations", "运算量之比"),
        ]),
    );
    Ok(())
}
