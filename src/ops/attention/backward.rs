//! The gradient of attention as an operation of its own.

use super::compose::compose;
use super::pattern::{Extents, Launch, Pattern, broadcast_strides};
use crate::autodiff::{self, At};
use crate::choice;
use crate::cpu::Array;
use crate::error::Result;
use crate::gpu::{Gpu, Shader, shader};
use crate::op::{Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::tensor::Tensor;
use rayon::prelude::*;

static GRADIENT: Shader = shader!("attention/gradient.wgsl");
static SUBGROUP_GRADIENT: Shader = shader!("attention/subgroup_gradient.wgsl");
static TILED_GRADIENT: Shader = shader!("attention/tiled_gradient.wgsl");
static BIAS_GRADIENT: Shader = shader!("attention/bias_gradient.wgsl");

/// q, k, v, dy, possibly the bias, and what the forward pass saved → dq, dk, dv and possibly dbias.
///
/// With y = (P ⊙ Z)·v, P = softmax(S), S = scale·q·kᵀ + bias and Z the factors of dropout:
/// dv = (P ⊙ Z)ᵀ·dy; dP = Z ⊙ dy·vᵀ; dS = P ⊙ (dP − δ), where δ[i] = Σj P[i,j]·dP[i,j] = dy[i]·y[i];
/// dq = scale·dS·k, dk = scale·dSᵀ·q, and dbias is the sum of dS over the axes it is broadcast along.
/// P = exp(S − lse), and `saved` [2, B, H, Tq] holds lse and δ.
///
/// It is a function of q, k, v, dy and the bias: `saved` follows from them, so it has no derivative of its own,
/// and the derivatives are those of the composition, which computes it anew.
pub(super) struct Gradient {
    pub pattern: Pattern,
    pub of_bias: bool,
}

/// What one query and one key bring to the sums.
struct Pair<R> {
    /// P·Z
    weight: R,
    /// dS
    slope: R,
}

impl Gradient {
    /// The same outputs in tensor operations, of q, k, v, dy and possibly the bias.
    fn compose(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let operands: Vec<Tensor> = inputs[..3].iter().chain(inputs.get(4)).cloned().collect();
        let y = compose(&self.pattern, None, &operands)?;
        let wanted = if self.of_bias { 4 } else { 3 };
        y.pull_back(&inputs[3], &operands.iter().take(wanted).collect::<Vec<_>>())
    }

    /// A query and a key, if that is open.
    fn pair<R: Real>(
        &self,
        inputs: &Inputs<R>,
        extents: &Extents,
        row: usize,
        key: usize,
    ) -> Option<Pair<R>> {
        let [q, k, v, dy] = std::array::from_fn(|i| inputs.real(i));
        let bias = (inputs.len() > 5).then(|| inputs.real(4));
        let saved = inputs.real(inputs.len() - 1);
        let score = self.pattern.score(extents, [q, k], bias, row, key)?;
        let p = (score - saved.data[row]).exp();
        let values = v.row(extents.first_key(row) + key, extents.width);
        let product = R::dot(dy.row(row, extents.width).iter().copied().zip(values.iter().copied()));
        let (weight, product) = match self.pattern.kept::<R>(extents, row, key) {
            Some(z) => (p * z, product * z),
            None => (p, product),
        };
        Some(Pair { weight, slope: p * (product - saved.data[extents.rows() + row]) })
    }

    /// Σ f(pair)·x over the pairs, for every feature of the rows of x that stand beside them.
    fn collect<R: Real>(
        pairs: &[(usize, Pair<R>)],
        f: impl Fn(&Pair<R>) -> R,
        x: &Array<R>,
        width: usize,
    ) -> Vec<R> {
        let factors: Vec<R> = pairs.iter().map(|(_, pair)| f(pair)).collect();
        let term =
            |d: usize| R::dot(pairs.iter().zip(&factors).map(|((at, _), &f)| (f, x.data[at * width + d])));
        (0..width).map(term).collect()
    }
}

impl Op for Gradient {
    fn name(&self) -> &'static str {
        "attention_backward"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let mut outputs = inputs[..3].to_vec();
        outputs.extend(self.of_bias.then(|| inputs[4]));
        Ok(outputs)
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let [q, k, v, dy] = std::array::from_fn(|i| inputs.real(i));
        let extents = Extents::of(&q.shape, &k.shape, &v.shape);
        let scale = R::from_f64(self.pattern.scale);
        let scaled = |pair: &Pair<R>| pair.slope * scale;
        let dq = Array::from_rows(q.shape, extents.depth, |row| {
            let pair = |key| Some((extents.first_key(row) + key, self.pair(inputs, &extents, row, key)?));
            let pairs: Vec<_> = (0..extents.keys).filter_map(pair).collect();
            Gradient::collect(&pairs, scaled, k, extents.depth)
        });
        let columns: Vec<(Vec<R>, Vec<R>)> = (0..k.shape[..3].iter().product())
            .into_par_iter()
            .map(|column: usize| {
                // The queries of all heads that share this head of keys.
                let (group, key) = (column / extents.keys, column % extents.keys);
                let queries = extents.shared * extents.queries;
                let rows = group * queries..(group + 1) * queries;
                let pairs: Vec<_> =
                    rows.filter_map(|row| Some((row, self.pair(inputs, &extents, row, key)?))).collect();
                let dk = Gradient::collect(&pairs, scaled, q, extents.depth);
                (dk, Gradient::collect(&pairs, |pair| pair.weight, dy, extents.width))
            })
            .collect();
        let (dk, dv): (Vec<Vec<R>>, Vec<Vec<R>>) = columns.into_iter().unzip();
        let mut gradients = vec![
            dq,
            Array { shape: k.shape, data: dk.concat() },
            Array { shape: v.shape, data: dv.concat() },
        ];
        if self.of_bias {
            let shape = outputs[3].shape;
            let strides = broadcast_strides(&shape);
            let full = [extents.batch, extents.heads, extents.queries, extents.keys];
            gradients.push(Array::from_fn(shape, |element| {
                // Its own place on each axis, or every place of one that it is broadcast along.
                let own = |axis: usize| element.checked_div(strides[axis]).map(|i| i % shape[axis]);
                let range = |axis: usize| own(axis).map_or(0..full[axis], |i| i..i + 1);
                let rows = range(0).flat_map(|b| {
                    range(1).flat_map(move |h| {
                        range(2).map(move |i| (b * extents.heads + h) * extents.queries + i)
                    })
                });
                let pairs = rows.flat_map(|row| range(3).map(move |key| (row, key)));
                R::sum(pairs.filter_map(|(row, key)| Some(self.pair(inputs, &extents, row, key)?.slope)))
            }));
        }
        gradients.into_iter().map(Data::Real).collect()
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (operands, saved) = inputs.split_at(inputs.len() - 1);
        let launch = Launch::new(&self.pattern, operands, operands.get(4));
        let [q, k, v, dy] = std::array::from_fn(|i| &*operands[i].buffer);
        let (bias, saved) = (operands.get(4).map_or(q, |bias| &*bias.buffer), &*saved[0].buffer);
        let extents = launch.extents;
        let (entries, groups) = (extents.batch * extents.heads, inputs[1].shape()[..2].iter().product());
        let queries = [q, k, dy, v, bias, saved];
        let keys = [k, q, v, dy, bias, saved];
        let each = [
            (queries, entries, extents.queries, extents.depth, (false, false)),
            (keys, groups, extents.keys, extents.depth, (true, false)),
            (keys, groups, extents.keys, extents.width, (true, true)),
        ];
        let kernel = choice::attention(&gpu.capabilities(), extents.by_fours());
        let turns = self.pattern.turns(&extents, kernel, 2);
        let of_bias = outputs.get(3).map_or(0, |bias| self.pattern.turns_of_bias(&extents, bias.shape()));
        choice::check_turns(&gpu.capabilities(), self.name(), turns.max(of_bias))?;
        if kernel == choice::Attention::Lanes {
            let unused = gpu.buffer(self.name(), 4)?;
            let buffers = [&queries[..], &[&*outputs[0].buffer, &*unused]].concat();
            launch.tiles(gpu, &GRADIENT, &[("KEYS", 0)], entries, extents.queries, &buffers)?;
            let buffers = [&keys[..], &[&*outputs[1].buffer, &*outputs[2].buffer]].concat();
            launch.tiles(gpu, &GRADIENT, &[("KEYS", 1)], groups, extents.keys, &buffers)?;
        } else {
            for ((operands, entries, count, columns, of), output) in each.into_iter().zip(outputs) {
                let (sizes, (of_keys, of_values)) = ([entries, count, columns], of);
                if kernel == choice::Attention::Tiled {
                    let constants = [("KEYS", of_keys.into()), ("VALUES", of_values.into())];
                    let buffers = [&operands[..], &[&*output.buffer]].concat();
                    launch.tiled(gpu, &TILED_GRADIENT, &constants, sizes, &buffers)?;
                    continue;
                }
                let vectors = operands[if of_values { 3 } else { 1 }];
                let buffers = [&operands[..], &[vectors, &*output.buffer]].concat();
                launch.gradient_of(of_keys, of_values).subgroup(gpu, &SUBGROUP_GRADIENT, sizes, &buffers)?;
            }
        }
        match outputs.get(3) {
            Some(dbias) => {
                let buffers = [q, k, v, dy, bias, saved, &dbias.buffer];
                launch.elements(gpu, &BIAS_GRADIENT, dbias.shape().count(), &buffers)
            }
            None => Ok(()),
        }
    }

    fn flops(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        // For every pair the scores again, the products of dy with v, and what goes to dq, dk and dv.
        let e = Extents::of(&inputs[0].shape, &inputs[1].shape, &inputs[2].shape);
        2 * (e.rows() * e.keys * (3 * e.depth + 2 * e.width)) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (0b1_1111, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        autodiff::composed_vjp(at, at.inputs() - 1, dy, |inputs| self.compose(inputs))
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        autodiff::composed_jvp(at, at.inputs() - 1, dx, |inputs| self.compose(inputs))
    }
}
