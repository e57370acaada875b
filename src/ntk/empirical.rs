//! The kernel of a finite network.

use crate::autodiff;
use crate::error::{Error, Result};
use crate::nn::{Affine, Params, Seen, observed};
use crate::tensor::Tensor;
use std::cell::Cell;
use std::collections::BTreeMap;

/// How [`empirical_ntk`] computes Θ, for N and M inputs, K outputs and P parameters. All three give the same
/// numbers but for rounding; F is the cost of one input's pass forward. `op::counted` tells the price of a case.
/// Source of the comparison: Novak, Sohl-Dickstein and Schoenholz 2022, arXiv:2206.08720.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtkMethod {
    /// All per-example gradients, then their products: about (N + M)·K·2F + 2NMK²P operations, and (N + M)·K·P
    /// numbers of memory. The plainest, and the dearest where outputs or parameters are many. For models of
    /// [`Linear`](crate::nn::Linear) and convolutional layers, as
    /// [`Params::per_example_grad`](crate::nn::Params::per_example_grad) has it.
    Jacobian,
    /// A column at a time: back from output b of input m to the parameters, and from there forward to all outputs,
    /// Θ·e = J·(Jᵀ·e). About MK·(2 + 2N)F operations, and hardly more memory than a pass forward and
    /// its graph. For every model, whatever its layers; slow for few parameters, where launches dominate.
    Products,
    /// Layer by layer. The gradient of an affine layer is the outer product of its input h and the cotangent δ of
    /// its output, so that a layer gives ⟨δ, δ′⟩·⟨h, h′⟩ and its gradient is never formed: about
    /// (N + M)·K·F + 2NMK²·(widths) operations, and as much memory as the layers' values and cotangents. The cheapest
    /// by far for wide layers. Of a layer that meets many positions (a convolution) the gradient is formed where
    /// that is cheaper. For models whose parameters are all of [`Linear`](crate::nn::Linear) and
    /// [`Conv2d`](crate::nn::Conv2d) layers, which may be used more than once.
    Layers,
}

/// The neural tangent kernel of a model between inputs `x1` `[N, ..]` and `x2` `[M, ..]` (or x1 itself):
/// Θ\[n, m, a, b\] = ⟨∂f_a(x1\[n\])/∂θ, ∂f_b(x2\[m\])/∂θ⟩, `[N, M, K, K]`, over all trained parameters of `params`.
///
/// `model` gives `[N, K]` outputs for N inputs, each from its own input alone: in a network with batch norm use
/// `Mode::Eval`. The kernel is a plain value, no part of a graph. For one output, `reshape([n, m])`.
///
/// Errors: [`Error::Shape`] unless the outputs are `[N, K]`; [`Error::Argument`] for a model that the method does not
/// know, naming the parameter; those of the model and of the walks.
pub fn empirical_ntk(
    params: &Params,
    model: impl Fn(&Tensor) -> Result<Tensor>,
    x1: &Tensor,
    x2: Option<&Tensor>,
    method: NtkMethod,
) -> Result<Tensor> {
    let kernel = match method {
        NtkMethod::Jacobian => {
            let one = jacobian(params, &model, x1)?;
            let other = x2.map(|x2| jacobian(params, &model, x2)).transpose()?;
            let other = other.as_ref().unwrap_or(&one);
            let terms = one.iter().zip(other).map(|(a, b)| inner(a, b));
            sum(terms.collect::<Result<Vec<_>>>()?)?
        }
        NtkMethod::Products => columns(params, &model, x1, x2.unwrap_or(x1))?,
        NtkMethod::Layers => {
            let one = layers(params, &model, x1)?;
            let other = x2.map(|x2| layers(params, &model, x2)).transpose()?;
            let other = other.as_ref().unwrap_or(&one);
            // The same model passes the same layers, so the keys agree.
            let both = one.iter().filter_map(|(path, uses)| Some((uses, other.get(path)?)));
            sum(both.map(|(a, b)| contract(a, b)).collect::<Result<Vec<_>>>()?)?
        }
    };
    kernel.permute(&[0, 2, 1, 3])?.contiguous()
}

/// N and K of the outputs `[N, K]` for an input.
fn outputs(y: &Tensor, x: &Tensor) -> Result<(usize, usize)> {
    match (&y.shape()[..], x.shape().first()) {
        (&[n, k], Some(&examples)) if n == examples && n * k > 0 => Ok((n, k)),
        _ => Err(Error::shape(
            "empirical_ntk",
            format!("outputs {} for inputs {}", y.describe(), x.describe()),
            "The model gives [N, K] for N inputs: flatten what is more.",
        )),
    }
}

fn sum(terms: Vec<Tensor>) -> Result<Tensor> {
    let mut terms = terms.into_iter();
    let Some(first) = terms.next() else {
        return Err(Error::argument("empirical_ntk", "no trained parameters", "Give the model's Params."));
    };
    terms.try_fold(first, |sum, term| sum.add(&term))
}

/// ⟨a\[n, i\], b\[m, j\]⟩ over the last axis: `[N, K, P]`, `[M, K, P]` → `[N, K, M, K]`.
fn inner(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ([n, k, p], [m, l, _]) = (dims(a), dims(b));
    a.reshape([n * k, p])?.matmul(&b.reshape([m * l, p])?.t()?)?.reshape([n, k, m, l])
}

fn dims(t: &Tensor) -> [usize; 3] {
    std::array::from_fn(|axis| t.shape()[axis])
}

/// For each parameter the gradients of all outputs, `[N, K, P]`.
fn jacobian(params: &Params, model: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Vec<Tensor>> {
    let n = x.shape().first().copied().unwrap_or(0);
    let (mut rows, mut output, all) = (Vec::new(), 0, Cell::new(1));
    while output < all.get() {
        let gradients = params.per_example_grad(n, || {
            let y = model(x)?;
            all.set(outputs(&y, x)?.1);
            y.select(1, output)
        })?;
        rows.push(gradients);
        output += 1;
    }
    let of_parameter = |index: usize| {
        let rows: Result<Vec<Tensor>> = rows.iter().map(|row| row[index].detach().flatten(1)).collect();
        Tensor::stack(&rows?.iter().collect::<Vec<_>>(), 1)
    };
    (0..rows.first().map_or(0, Vec::len)).map(of_parameter).collect()
}

/// Θ column by column, `[N, K, M, K]`.
fn columns(
    params: &Params,
    model: &dyn Fn(&Tensor) -> Result<Tensor>,
    x1: &Tensor,
    x2: &Tensor,
) -> Result<Tensor> {
    let tapped = |x: &Tensor| -> Result<(Vec<Tensor>, Tensor)> {
        let taps: Vec<Tensor> = params.trainable().iter().map(|p| p.get().tap()).collect();
        let y = params.with(&taps, || model(x))?;
        Ok((taps, y))
    };
    let (taps, y1) = tapped(x1)?;
    let (n, k) = outputs(&y1, x1)?;
    let m = x2.shape().first().copied().unwrap_or(0);
    let mut columns = Vec::with_capacity(m * k);
    for input in 0..m {
        let x = x2.slice(0, input, input + 1)?;
        let (own, y) = tapped(&x)?;
        outputs(&y, &x)?;
        let own: Vec<&Tensor> = own.iter().collect();
        for output in 0..k {
            let back = y.pull_back(&one_hot(&y, output)?, &own)?;
            let back: Vec<Tensor> = back.iter().map(Tensor::detach).collect();
            let column = autodiff::forward_linear(&y1, &taps, &back.iter().collect::<Vec<_>>())?;
            columns.push(column.map_or_else(|| y1.full_like(0.0), |c| Ok(c.detach()))?);
        }
    }
    Tensor::stack(&columns.iter().collect::<Vec<_>>(), 2)?.reshape([n, k, m, k])
}

/// One for an output of every input, among zeros.
fn one_hot(y: &Tensor, output: usize) -> Result<Tensor> {
    let (n, k) = (y.shape()[0], y.shape()[1]);
    Tensor::full(y.device(), y.dtype(), [n, 1], 1.0)?.pad(&[(0, 0), (output, k - output - 1)], 0.0)
}

/// One use of a layer by a batch: inputs h `[N, R, in]` and the cotangents of outputs δ `[N, K, R, out]`, for R
/// positions.
struct Use {
    h: Tensor,
    d: Tensor,
    bias: bool,
}

/// The uses of each layer, by the path of its weight.
fn layers(
    params: &Params,
    model: &dyn Fn(&Tensor) -> Result<Tensor>,
    x: &Tensor,
) -> Result<BTreeMap<String, Vec<Use>>> {
    let (y, seen) = observed(|| model(x))?;
    let (_, k) = outputs(&y, x)?;
    let trained: Vec<String> = params.trainable().iter().map(|p| p.path().to_owned()).collect();
    let known = |path: &str| {
        seen.iter().any(|s| s.weight.path() == path || s.bias.as_ref().is_some_and(|b| b.path() == path))
    };
    if let Some(path) = trained.iter().find(|path| !known(path)) {
        return Err(unknown(&format!("`{path}` is of another layer, or not used")));
    }
    let seen: Vec<Seen> =
        seen.into_iter().filter(|s| trained.iter().any(|path| path == s.weight.path())).collect();
    let targets: Vec<&Tensor> = seen.iter().map(|s| &s.output).collect();
    let mut cotangents = vec![Vec::with_capacity(k); seen.len()];
    for output in 0..k {
        let found = y.pull_back(&one_hot(&y, output)?, &targets)?;
        for (all, one) in cotangents.iter_mut().zip(found) {
            all.push(one.detach());
        }
    }
    let mut uses: BTreeMap<String, Vec<Use>> = BTreeMap::new();
    for (seen, cotangents) in seen.iter().zip(cotangents) {
        let rows = |t: &Tensor| positions(t, &seen.map);
        let d: Result<Vec<Tensor>> = cotangents.iter().map(rows).collect();
        let d = Tensor::stack(&d?.iter().collect::<Vec<_>>(), 1)?;
        let h = inputs(seen)?.detach();
        let bias = seen.bias.as_ref().is_some_and(|b| trained.iter().any(|path| path == b.path()));
        uses.entry(seen.weight.path().to_owned()).or_default().push(Use { h, d, bias });
    }
    Ok(uses)
}

fn unknown(given: &str) -> Error {
    let remedy = "The method knows Linear and Conv2d layers without groups: use NtkMethod::Products.";
    Error::argument("empirical_ntk", given, remedy)
}

/// A layer's output `[N, .., out]`, or `[N, out, ..]` of a convolution, as `[N, R, out]`.
fn positions(y: &Tensor, map: &Affine) -> Result<Tensor> {
    let shape = y.shape();
    match map {
        Affine::Linear => {
            let (n, out) = (shape[0], shape[shape.rank() - 1]);
            y.reshape([n, y.count() / (n * out).max(1), out])
        }
        _ => y.flatten(2)?.t(),
    }
}

/// What each position of a layer's output is made from, `[N, R, in]`.
fn inputs(seen: &Seen) -> Result<Tensor> {
    match &seen.map {
        Affine::Linear => positions(&seen.input, &seen.map),
        Affine::Conv2d(options) if options.groups == 1 => {
            let kernel = seen.weight.shape();
            seen.input.unfold([kernel[2], kernel[3]], *options)?.t()
        }
        _ => Err(unknown(&format!("`{}` convolves in groups or along other axes", seen.weight.path()))),
    }
}

/// What one layer gives to the kernel, `[N, K, M, K]`.
fn contract(one: &[Use], other: &[Use]) -> Result<Tensor> {
    let of_weight = match (one, other) {
        ([a], [b]) if outer_is_cheaper(a, b) => outer(a, b)?,
        _ => inner(&gradient(one)?, &gradient(other)?)?,
    };
    if !one.iter().any(|u| u.bias) {
        return Ok(of_weight);
    }
    let of_bias =
        |uses: &[Use]| sum(uses.iter().map(|u| u.d.sum(&[2], false)).collect::<Result<Vec<_>>>()?);
    of_weight.add(&inner(&of_bias(one)?, &of_bias(other)?)?)
}

/// N, K, R, in, out of a use.
fn extents(u: &Use) -> [usize; 5] {
    let ([n, r, input], d) = (dims(&u.h), u.d.shape());
    [n, d[1], r, input, d[3]]
}

/// Whether ⟨δ, δ′⟩·⟨h, h′⟩ over all pairs of positions takes less than forming the gradients and multiplying them.
fn outer_is_cheaper(a: &Use, b: &Use) -> bool {
    let ([n, k, r, input, out], [m, _, s, ..]) = (extents(a), extents(b));
    let pairs = n * m * r * s * (input + k * k * (out + 1));
    let formed = (n * r + m * s) * k * input * out + n * m * k * k * input * out;
    pairs <= formed
}

/// Σ over positions r, s of ⟨δ\[r\], δ′\[s\]⟩·⟨h\[r\], h′\[s\]⟩.
fn outer(a: &Use, b: &Use) -> Result<Tensor> {
    let ([n, k, r, input, out], [m, _, s, ..]) = (extents(a), extents(b));
    let rows = |t: &Tensor, rows: usize, width: usize| t.reshape([rows, width]);
    let h = rows(&a.h, n * r, input)?.matmul(&rows(&b.h, m * s, input)?.t()?)?;
    let d = rows(&a.d, n * k * r, out)?.matmul(&rows(&b.d, m * k * s, out)?.t()?)?;
    if r * s == 1 {
        return d.reshape([n, k, m, k])?.mul(&h.reshape([n, 1, m, 1])?);
    }
    d.reshape([n, k, r, m, k, s])?.mul(&h.reshape([n, 1, r, m, 1, s])?)?.sum(&[2, 5], false)
}

/// The gradient of a layer's weight for each output of each input, `[N, K, out·in]`, over all its uses.
fn gradient(uses: &[Use]) -> Result<Tensor> {
    let each = uses.iter().map(|u| {
        let [n, k, _, input, out] = extents(u);
        u.d.t()?.matmul(&u.h.unsqueeze(1)?)?.reshape([n, k, out * input])
    });
    sum(each.collect::<Result<Vec<_>>>()?)
}
