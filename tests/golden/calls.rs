//! The golden cases as calls of gradus: from an operation's name to what computes it.

use super::{Case, calls_conv, calls_index, calls_training};
use gradus::nn::{BatchNorm, BatchNormOptions, Mode, Params};
use gradus::ops::Reduction;
use gradus::real::Bounded;
use gradus::{DType, Device, Result, Tensor, autodiff};
use safetensors::Dtype;
use std::collections::BTreeMap;

/// The operands of a case, by name.
pub type Given = BTreeMap<String, Tensor>;

/// The value of an operation.
pub type Call = fn(&Case, &Given) -> Result<Tensor>;

/// What computes an operation; `None` for what is no operation on tensors. `hvp_op` is `op`.
pub fn call(op: &str) -> Option<Call> {
    let op = op.strip_prefix("hvp_").unwrap_or(op);
    let call: Call = match op {
        "matmul" => |case, t| {
            let side = |name: &str| {
                let flipped = case.flag(&format!("transpose_{name}"));
                if flipped { t[name].t() } else { Ok(t[name].clone()) }
            };
            match t.get("b") {
                Some(bias) => side("x")?.matmul_bias(&side("w")?, bias),
                None => side("x")?.matmul(&side("w")?),
            }
        },
        "global_avg_pool2d" => |_, t| t["x"].global_avg_pool2d(),
        "sum" => |case, t| t["x"].sum(&case.axes("axes"), case.flag("keepdim")),
        "mean" => |case, t| t["x"].mean(&case.axes("axes"), case.flag("keepdim")),
        "amax" => |case, t| t["x"].max(&case.axes("axes"), case.flag("keepdim")),
        "argmax" => |case, t| {
            let position = t["x"].argmax(axis(case))?;
            if case.flag("keepdim") { position.unsqueeze(case.whole("axis")) } else { Ok(position) }
        },
        "softmax" => |case, t| t["x"].softmax(axis(case)),
        "log_softmax" => |case, t| t["x"].log_softmax(axis(case)),
        "batch_norm_train" => |case, t| {
            let [gamma, beta] = affine(t)?;
            Ok(t["x"].batch_norm(&gamma, &beta, case.number("eps"))?.y)
        },
        "batch_norm_eval" => {
            |case, t| t["x"].batch_norm_inference(&t["w"], &t["b"], &t["rm"], &t["rv"], case.number("eps"))
        }
        "cross_entropy" => |case, t| t["x"].cross_entropy_with(&t["t"], reduction(case)),
        "embedding" => |_, t| t["w"].embedding(&t["idx"]),
        "index_select" => |case, t| t["x"].index_select(axis(case), &t["idx"]),
        "cat" => |case, t| Tensor::concat(&t.values().collect::<Vec<_>>(), axis(case)),
        "pad" => |case, t| {
            let amounts: Vec<(usize, usize)> = case.lists("pads").iter().map(|p| (p[0], p[1])).collect();
            t["x"].pad(&amounts, case.number("value"))
        },
        "slice" => |case, t| {
            let ranges = case.lists("ranges").into_iter().zip(0..);
            ranges.into_iter().try_fold(t["x"].clone(), |x, (r, axis)| x.slice_step(axis, r[0], r[1], r[2]))
        },
        "where" => |_, t| t["cond"].to_dtype(t["x"].dtype())?.where_(&t["x"], &t["w"]),
        "relu" => |_, t| t["x"].relu(),
        "leaky_relu" => |case, t| t["x"].leaky_relu(case.number("slope")),
        "hardswish" => |_, t| t["x"].hardswish(),
        "abs" => |_, t| t["x"].abs(),
        "elu" => |case, t| t["x"].elu(case.number("alpha")),
        "selu" => |_, t| t["x"].selu(),
        "gelu" => |case, t| {
            if case.options["approximate"] == "tanh" { t["x"].gelu_tanh() } else { t["x"].gelu() }
        },
        "silu" => |_, t| t["x"].silu(),
        "sigmoid" => |_, t| t["x"].sigmoid(),
        "tanh" => |_, t| t["x"].tanh(),
        "softplus" => |_, t| t["x"].softplus(),
        "mish" => |_, t| t["x"].mish(),
        "softsign" => |_, t| t["x"].softsign(),
        "erf" => |_, t| t["x"].erf(),
        "exp" => |_, t| t["x"].exp(),
        "log" => |_, t| t["x"].ln(),
        "sqrt" => |_, t| t["x"].sqrt(),
        "rsqrt" => |_, t| t["x"].rsqrt(),
        "pow" => |case, t| t["x"].powf(case.number("exponent")),
        "sin" => |_, t| t["x"].sin(),
        "cos" => |_, t| t["x"].cos(),
        _ => {
            let areas = [calls_index::call, calls_conv::call, calls_training::call];
            return areas.iter().find_map(|area| area(op));
        }
    };
    Some(call)
}

pub fn reduction(case: &Case) -> Reduction {
    match case.options["reduction"].as_str() {
        Some("mean") => Reduction::Mean,
        Some("sum") => Reduction::Sum,
        _ => Reduction::None,
    }
}

fn axis(case: &Case) -> isize {
    case.whole("axis") as isize
}

/// Scale and shift of a batch norm; ones and zeros where the case has none.
fn affine(t: &Given) -> Result<[Tensor; 2]> {
    let (x, channels) = (&t["x"], t["x"].shape()[1]);
    let or = |name: &str, value| match t.get(name) {
        Some(given) => Ok(given.clone()),
        None => Tensor::full(x.device(), x.dtype(), [channels], value),
    };
    Ok([or("w", 1.0)?, or("b", 0.0)?])
}

/// The statistics of a batch, and the running ones behind it: by the layer in types that it trains in, and
/// by its formula in [`DType::Bounded`].
fn statistics(case: &Case, t: &Given) -> Result<Vec<(String, Tensor)>> {
    let ([gamma, beta], momentum, eps) = (affine(t)?, case.number("momentum"), case.number("eps"));
    let x = t["x"].detach();
    let out = x.batch_norm(&gamma, &beta, eps)?;
    let params = match x.dtype() {
        DType::F64 => Some(Params::new_f64(0)),
        DType::F32 => Some(Params::new(x.device(), 0)),
        _ => None,
    };
    let count = (x.count() / gamma.count()) as f64;
    let (rm, rv) = if let Some(params) = params {
        let layer = BatchNorm::with(&params, gamma.count(), BatchNormOptions { momentum, eps })?;
        layer.running_mean.set(&t["rm0"])?;
        layer.running_var.set(&t["rv0"])?;
        layer.forward(&x, Mode::Train)?;
        (layer.running_mean.get(), layer.running_var.get())
    } else {
        let follow = |old: &Tensor, new: &Tensor, scale: f64| {
            old.mul_scalar(1.0 - momentum)?.add(&new.mul_scalar(momentum * scale)?)
        };
        (follow(&t["rm0"], &out.mean, 1.0)?, follow(&t["rv0"], &out.var, count / (count - 1.0))?)
    };
    let named = [("mean", out.mean), ("var", out.var), ("rm", rm), ("rv", rv)];
    Ok(named.map(|(name, tensor)| (name.to_string(), tensor)).into())
}

/// A tensor of the case on a device, floats in `dtype`.
fn place(case: &Case, what: &str, device: &Device, dtype: DType) -> Result<Tensor> {
    let stored = case.stored(what);
    let (data, shape) = (stored.data, stored.shape);
    match (stored.dtype, dtype) {
        (Dtype::I32, _) => Tensor::from_slice(device, &all(&data, |v| v as i32), shape),
        (_, DType::F64) => Tensor::from_slice(device, &data, shape),
        (_, DType::Bounded) => Tensor::from_slice(device, &all(&data, Bounded::exact), shape),
        _ => Tensor::from_slice(device, &all(&data, |v| v as f32), shape),
    }
}

fn all<T>(data: &[f64], convert: impl Fn(f64) -> T) -> Vec<T> {
    data.iter().map(|&v| convert(v)).collect()
}

/// Everything that the case has PyTorch's result of, by the name it is stored under. Second derivatives come
/// twice: by reverse mode over reverse mode, and by forward mode over reverse mode.
pub fn outputs(case: &Case, device: &Device, dtype: DType) -> Result<Vec<(String, Tensor)>> {
    let call = call(&case.op).unwrap_or_else(|| panic!("no call for {}", case.op));
    let second = case.op.starts_with("hvp_");
    let slope = |name: &str| match name {
        "x" if second => "hv".to_string(),
        _ if second => format!("h{name}"),
        _ => format!("d{name}"),
    };
    let mut given = Given::new();
    let mut leaves: Vec<String> = vec![];
    for what in case.tensors.iter().take_while(|t| *t != "y") {
        if case.stored(what).dtype == Dtype::F64 {
            continue;
        }
        let mut tensor = place(case, what, device, dtype)?;
        if case.has(&slope(what)) {
            leaves.push(what.clone());
            tensor = tensor.variable()?;
        }
        given.insert(what.clone(), tensor);
    }
    let points: Vec<&Tensor> = leaves.iter().map(|name| &given[name]).collect();
    let named = |slopes: Vec<Tensor>| leaves.iter().map(|name| slope(name)).zip(slopes);
    let y = call(case, &given)?;
    let mut found = vec![("y".to_string(), y.clone())];
    if case.op == "batch_norm_train" {
        found.extend(statistics(case, &given)?);
    }
    if !case.has("dy") {
        return Ok(found);
    }
    let dy = place(case, "dy", device, dtype)?;
    let value = |at: &[Tensor]| {
        let moved = leaves.iter().cloned().zip(at.iter().cloned());
        let all: Given = given.clone().into_iter().chain(moved).collect();
        call(case, &all)
    };
    if second {
        let loss = |at: &[Tensor]| value(at)?.square()?.mul(&dy)?.sum(&[], false)?.mul_scalar(0.5);
        let v = place(case, "v", device, dtype)?;
        let at: Vec<Tensor> = points.iter().map(|&p| p.clone()).collect();
        let g = loss(&at)?.grad(&[&given["x"]])?.swap_remove(0);
        found.push(("g".into(), g.clone()));
        found.extend(named(g.pull_back(&v, &points)?));
        // The Hessian is symmetric: its product with (v, 0, ..) holds the same mixed derivatives.
        let still: Result<Vec<Tensor>> = points[1..].iter().map(|p| p.detach().full_like(0.0)).collect();
        let still = still?;
        let direction: Vec<&Tensor> = std::iter::once(&v).chain(&still).collect();
        found.extend(named(autodiff::hvp(loss, &points, &direction)?));
        return Ok(found);
    }
    let slopes = y.pull_back(&dy, &points)?;
    if case.has("d2x") {
        let v = place(case, "v", device, dtype)?;
        found.push(("d2x".into(), slopes[0].pull_back(&v, &points)?.swap_remove(0)));
        let along = |at: &[Tensor]| value(at)?.mul(&dy)?.sum(&[], false);
        found.push(("d2x".into(), autodiff::hvp(along, &points, &[&v])?.swap_remove(0)));
    }
    found.extend(named(slopes));
    Ok(found)
}
