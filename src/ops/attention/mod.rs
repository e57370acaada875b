//! Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762), fused: no tensor of queries by keys.
//!
//! Forward goes through the keys once with a running maximum and sum (the online softmax of Milakov and
//! Gimelshein 2018, arXiv:1805.02867) and keeps the logarithm of the sum, one number a query. From it the
//! backward kernels recompute every weight (Dao et al. 2022, arXiv:2205.14135): one goes through the keys for
//! each query, one through the queries for each key, and neither needs an atomic addition.
//!
//! Which pairs count is said in two ways. What follows from positions (causal, window) is arithmetic, and
//! whole blocks outside are skipped. What a mask closes is written into the bias as a number so low that it
//! says so ([`CLOSED`]): a kernel then has one table to read instead of two, and no infinity, which WGSL does
//! not promise.
//!
//! [`compose`] has the same function in tensor operations, with all its weights in memory: it is the oracle,
//! and the way to second derivatives and tangents.

mod backward;
mod cases;
mod compose;
mod pattern;
#[cfg(test)]
mod tests;

use self::backward::Gradient;
pub(super) use self::cases::rooms;
use self::compose::compose;
use self::pattern::{CLOSED, Extents, Launch, Pattern};
use crate::autodiff::{self, At};
use crate::choice;
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::gpu::{Gpu, Shader, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::ops::dropout::check_probability;
use crate::ops::random::Stream;
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;
use rayon::prelude::*;

static FORWARD: Shader = shader!("attention/forward.wgsl");
static SUBGROUP: Shader = shader!("attention/subgroup.wgsl");
static TILED_FORWARD: Shader = shader!("attention/tiled_forward.wgsl");

/// How [`Tensor::attention`] weighs the keys of a query. The default: every key, by the softmax of its product
/// with the query over √D.
///
/// Query i stands at position i + `offset` among the keys, key j at position j. A key counts if every part
/// says so: `causal`, `window` and `mask`.
///
/// ```
/// use gradus::{Device, Tensor, ops::{Attention, Stream}};
/// # fn main() -> gradus::Result<()> {
/// let x = Tensor::normal(&Device::cpu(), [2, 4, 10, 16], Stream::new(1, 0))?;
/// let y = x.attention(&x, &x, &Attention { causal: true, ..Attention::default() })?;
/// assert_eq!(**y.shape(), [2, 4, 10, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Attention {
    /// What products are multiplied by; 1/√D if `None`.
    pub scale: Option<f64>,
    /// No query sees a key behind its own position. With an offset of zero the first query sees the first key
    /// alone, however many keys there are, as PyTorch's `is_causal` and ONNX's Attention have it.
    pub causal: bool,
    /// The position of the first query among the keys: how many keys a cache held before, for decoding.
    pub offset: usize,
    /// A query sees keys less than this away from its position: with `causal` as many as the number says, its
    /// own included.
    pub window: Option<usize>,
    /// Integers that broadcast to `[B, H, Tq, Tk]`: keys count where they are not zero.
    pub mask: Option<Tensor>,
    /// Numbers that broadcast to `[B, H, Tq, Tk]`, added to the scaled products. They get a gradient. At −3·10³⁸
    /// or below the key does not count.
    pub bias: Option<Tensor>,
    /// With c: the scaled product s becomes c·tanh(s/c), before the bias is added. This goes through tensor
    /// operations with all weights in memory.
    pub softcap: Option<f64>,
    /// Weights are dropped with this probability, and the others divided by one minus it: by the mask that
    /// [`dropout`](Tensor::dropout) with this stream has for a tensor `[B, H, Tq, Tk]`, Tk rounded up to a
    /// multiple of four.
    pub dropout: Option<(f64, Stream)>,
}

/// q, k, v and possibly a bias → y, and lse `[B, H, Tq]`: the logarithm of what each softmax divides by.
struct Flash {
    pattern: Pattern,
}

impl Op for Flash {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let extents = Extents::check(inputs)?;
        let [q, v] = [inputs[0], inputs[2]];
        let rows = Shape::known(&[extents.batch, extents.heads, extents.queries]);
        Ok(vec![
            Meta::new(Shape::new(&[&rows[..], &[v.shape[3]]].concat())?, q.dtype),
            Meta::new(rows, q.dtype),
        ])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let [q, k, v] = std::array::from_fn(|i| inputs.real(i));
        let bias = (inputs.len() > 3).then(|| inputs.real(3));
        let extents = Extents::of(&q.shape, &k.shape, &v.shape);
        let rows: Vec<(Vec<R>, R)> = (0..extents.rows())
            .into_par_iter()
            .map(|row| {
                let open = self.pattern.scores(&extents, [q, k], bias, row);
                let Some((weights, total, lse)) = online(&open) else {
                    return (vec![R::default(); extents.width], R::default());
                };
                let kept = |(&(key, _), &weight): (&(usize, R), &R)| {
                    let weight = self.pattern.kept(&extents, row, key).map_or(weight, |z| weight * z);
                    ((extents.first_key(row) + key) * extents.width, weight)
                };
                let kept: Vec<(usize, R)> = open.iter().zip(&weights).map(kept).collect();
                let y = |d: usize| R::dot(kept.iter().map(|&(at, weight)| (weight, v.data[at + d]))) / total;
                ((0..extents.width).map(y).collect(), lse)
            })
            .collect();
        let lse = Array { shape: outputs[1].shape, data: rows.iter().map(|row| row.1).collect() };
        let y = Array { shape: outputs[0].shape, data: rows.into_iter().flat_map(|row| row.0).collect() };
        vec![Data::Real(y), Data::Real(lse)]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let launch = Launch::new(&self.pattern, inputs, inputs.get(3));
        let [q, k, v] = std::array::from_fn(|i| &*inputs[i].buffer);
        let bias = inputs.get(3).map_or(q, |bias| &*bias.buffer);
        let buffers = [q, k, v, bias, &outputs[0].buffer, &outputs[1].buffer];
        let extents = launch.extents;
        let entries = extents.batch * extents.heads;
        let sizes = [entries, extents.queries, extents.width];
        let kernel = choice::attention(&gpu.capabilities(), extents.by_fours());
        let turns = self.pattern.turns(&extents, kernel, 1);
        choice::check_turns(&gpu.capabilities(), self.name(), turns)?;
        match kernel {
            choice::Attention::Subgroup => launch.subgroup(gpu, &SUBGROUP, sizes, &buffers),
            choice::Attention::Tiled => launch.tiled(gpu, &TILED_FORWARD, &[], sizes, &buffers),
            choice::Attention::Lanes => launch.tiles(gpu, &FORWARD, &[], entries, extents.queries, &buffers),
        }
    }

    fn flops(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        // Every pair of a query and a key counts, hidden or not: scores, and weighted values.
        let e = Extents::of(&inputs[0].shape, &inputs[1].shape, &inputs[2].shape);
        2 * (e.rows() * e.keys * (e.depth + e.width)) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (0b1111, 0b11)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; at.inputs()]) };
        // How y and lse depend on the inputs is the gradient operation's own affair: see its composition.
        let (y, lse) = (at.output(0)?.detach(), at.output(1)?.detach());
        let delta = dy.detach().mul(&y)?.sum(&[-1], false)?;
        let saved = Tensor::concat(&[&lse.unsqueeze(0)?, &delta.unsqueeze(0)?], 0)?;
        let mut inputs: Vec<Tensor> = (0..3).map(|i| at.input(i)).collect::<Result<_>>()?;
        inputs.push(dy.clone());
        let biased = at.inputs() > 3;
        if biased {
            inputs.push(at.input(3)?);
        }
        inputs.push(saved);
        let gradient = Gradient { pattern: self.pattern, of_bias: biased && at.needs(3) };
        let found = op::apply(gradient, &inputs.iter().collect::<Vec<_>>())?;
        let mut found: Vec<Option<Tensor>> = found.into_iter().map(Some).collect();
        found.resize(at.inputs(), None);
        Ok(found)
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let composed = |inputs: &[Tensor]| Ok(vec![compose(&self.pattern, None, inputs)?]);
        let mut dy = autodiff::composed_jvp(at, at.inputs(), dx, composed)?;
        dy.push(None);
        Ok(dy)
    }
}

/// Weights exp(s − m), their sum and its logarithm plus m, by the online recurrence: each weight is taken
/// relative to the maximum up to its key, and scaled down at every new maximum after it. In exact arithmetic
/// that is the softmax. A kernel that takes keys in blocks, in order, makes some of these roundings and no others,
/// so the bound holds for it. `None` without keys.
fn online<R: Real>(open: &[(usize, R)]) -> Option<(Vec<R>, R, R)> {
    let one = R::from_f64(1.0);
    let mut highest = open.first()?.1;
    let mut weights = Vec::with_capacity(open.len());
    let mut factors = Vec::with_capacity(open.len());
    for &(_, score) in open {
        let next = highest.max(score);
        factors.push(R::select(highest.less(score), (highest - next).exp(), one));
        weights.push((score - next).exp());
        highest = next;
    }
    let mut scale = one;
    for (weight, &factor) in weights.iter_mut().zip(&factors).rev() {
        *weight = *weight * scale;
        scale = scale * factor;
    }
    let total = R::sum(weights.iter().copied());
    Some((weights, total, highest + total.ln()))
}

impl Attention {
    /// The numbers of the options, checked.
    fn pattern(&self, depth: usize) -> Result<Pattern> {
        let bad = |given: String, remedy: &str| Err(Error::argument("attention", given, remedy));
        let scale = self.scale.unwrap_or(1.0 / (depth.max(1) as f64).sqrt());
        if !scale.is_finite() || scale.abs() > f64::from(f32::MAX) {
            return bad(format!("scale {scale}"), "Give a number that f32 can hold.");
        }
        if self.offset > Pattern::FAR {
            return bad(format!("offset {}", self.offset), "At most 2^30 keys can come before.");
        }
        if self.window == Some(0) {
            return bad(
                "a window of no keys".into(),
                "A window has at least one key: that of the query itself.",
            );
        }
        if let Some((p, _)) = self.dropout {
            check_probability("attention", p)?;
        }
        let reach = self.window.map_or(Pattern::FAR, |window| (window - 1).min(Pattern::FAR));
        Ok(Pattern {
            scale,
            offset: self.offset,
            left: reach,
            right: if self.causal { 0 } else { reach },
            dropout: self.dropout,
        })
    }

    /// The bias with [`CLOSED`] where the mask is zero, of rank four.
    fn biased(&self, like: &Tensor, shape: &Shape) -> Result<Option<Tensor>> {
        let op = "attention";
        let fits = |name: &str, tensor: &Tensor| -> Result<Tensor> {
            let broadcast = Shape::broadcast(op, tensor.shape(), shape);
            if tensor.rank() > 4 || !matches!(broadcast, Ok(found) if found == *shape) {
                let given = format!("{name} {} for weights {shape}", tensor.describe());
                return Err(Error::shape(op, given, format!("The {name} broadcasts to [B, H, Tq, Tk].")));
            }
            tensor.reshape([&[1; 4][tensor.rank()..], &tensor.shape()[..]].concat())
        };
        let bias = match &self.bias {
            Some(bias) if bias.dtype() != like.dtype() => {
                let given = format!("bias {} for queries {}", bias.describe(), like.describe());
                return Err(Error::dtype(op, given, "Convert it with to_dtype; integers are for the mask."));
            }
            bias => bias.as_ref().map(|bias| fits("bias", bias)).transpose()?,
        };
        let Some(mask) = &self.mask else { return Ok(bias) };
        if mask.dtype() != DType::I32 {
            let given = format!("mask {}", mask.describe());
            return Err(Error::dtype(op, given, "A mask is of integers; numbers to add are the bias."));
        }
        let mask = fits("mask", mask)?.to_dtype(like.dtype())?;
        let closed = Formula::constant(CLOSED);
        let (open, added) = (Formula::input(0), Formula::input(1));
        Ok(Some(match &bias {
            Some(bias) => Tensor::map_named(op, &[&mask, bias], &Formula::select(open, added, closed))?,
            None => Tensor::map_named(op, &[&mask], &Formula::select(open, 0.0.into(), closed))?,
        }))
    }
}

impl Tensor {
    /// Attention: softmax(q·kᵀ·scale + bias)·v over the keys that are open to each query, fused, with memory
    /// linear in the number of queries and keys.
    ///
    /// `self` is q `[B, H, Tq, D]`, `k` `[B, Hkv, Tk, D]`, `v` `[B, Hkv, Tk, Dv]` → y `[B, H, Tq, Dv]`. H is a
    /// multiple of Hkv: heads h·H/Hkv to (h+1)·H/Hkv − 1 share head h of keys and values (grouped queries; one
    /// head for all is multi-query attention). D and Dv are any. A query that no key is open to gets zeros, and
    /// gives and gets no gradient.
    ///
    /// Scores may be of any size that f32 holds, ±10⁴ included. Gradient: q, k, v and the bias, recomputing the
    /// weights from the logarithm of their sum; kept are the operands, y, and one number a query. Second
    /// derivatives and tangents go through [tensor operations](Attention) with all weights in memory. Operands
    /// of f16 are copied to f32: what a mask closes, and the logarithm of a sum, f16 does not hold.
    ///
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Device`]; [`Error::Argument`] for options without
    /// meaning.
    pub fn attention(&self, k: &Tensor, v: &Tensor, options: &Attention) -> Result<Tensor> {
        let (dtype, wide) = (self.dtype(), self.dtype().wide());
        if dtype != wide && [k, v].into_iter().chain(&options.bias).all(|t| t.dtype() == dtype) {
            let bias = options.bias.as_ref().map(|bias| bias.to_dtype(wide)).transpose()?;
            let [q, k, v] = [self, k, v].map(|t| t.to_dtype(wide));
            return q?.attention(&k?, &v?, &Attention { bias, ..options.clone() })?.to_dtype(dtype);
        }
        let extents = Extents::check(&[self.meta(), k.meta(), v.meta()])?;
        let pattern = options.pattern(extents.depth)?;
        let shape = Shape::new(&[extents.batch, extents.heads, extents.queries, extents.keys])?;
        let bias = options.biased(self, &shape)?;
        let inputs: Vec<Tensor> = [self, k, v].into_iter().chain(&bias).cloned().collect();
        if let Some(cap) = options.softcap
            && !(cap > 0.0 && cap <= f64::from(f32::MAX))
        {
            return Err(Error::argument("attention", format!("softcap {cap}"), "Give a positive number."));
        }
        #[cfg(test)]
        let composed = tests::COMPOSED.get();
        #[cfg(not(test))]
        let composed = false;
        if composed || options.softcap.is_some() {
            return compose(&pattern, options.softcap, &inputs);
        }
        let inputs = finishable(&pattern, &extents, inputs)?;
        let y = op::apply(Flash { pattern }, &inputs.iter().collect::<Vec<_>>())?.swap_remove(0);
        if y.shape()[3] == extents.width { Ok(y) } else { y.slice(3, 0, extents.width) }
    }
}

/// q, k, v and a bias, if there is one, such that the adapter finishes the loops over them, as far as that can be
/// had: features are filled up to fours, for kernels that take them so, and a bias that many pairs share is
/// repeated, so that its gradient is a sum of its own.
fn finishable(pattern: &Pattern, extents: &Extents, mut inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
    let most = inputs[0].device().as_gpu().map_or(usize::MAX, |gpu| gpu.capabilities().turns);
    if !extents.by_fours() && pattern.turns(extents, choice::Attention::Lanes, 2) > most {
        for x in &mut inputs[..3] {
            let missing = x.shape()[3].next_multiple_of(4) - x.shape()[3];
            *x = x.pad(&[(0, 0), (0, 0), (0, 0), (0, missing)], 0.0)?;
        }
    }
    if let Some(bias) = inputs.get_mut(3).filter(|bias| bias.is_tracked())
        && pattern.turns_of_bias(extents, bias.shape()) > most
    {
        *bias = bias.broadcast_to([extents.batch, extents.heads, extents.queries, extents.keys])?;
    }
    Ok(inputs)
}
