//! Recurrent layers, Cholesky factors and triangular solves against what PyTorch computes: outputs, final states
//! and the gradients of everything, in f64, in f32 and on the adapter; see golden/README.md.

mod common;
mod golden;

use golden::{Case, Stored, cases_of};
use gradus::nn::{Gru, GruCell, Lstm, LstmCell, Mode, Nonlinearity, Params, RecurrentOptions, Rnn, RnnCell};
use gradus::ops::{Cell, RecurrentWeights, Sequence};
use gradus::real::Bounded;
use gradus::verify::compare;
use gradus::{DType, Device, Result, Tensor};
use safetensors::Dtype;
use std::collections::BTreeMap;

/// The operands of a case, and its outputs, by name.
type Named = BTreeMap<String, Tensor>;

/// What f64 may be off by, as a share of the bound that f32 is held to: the bound is linear in the unit of
/// rounding, 2⁻²³ there and 2⁻⁵³ here, and both sides round.
const F64_SHARE: f64 = 1.0 / (1u64 << 28) as f64;

fn place(stored: &Stored, device: &Device, dtype: DType) -> Tensor {
    let (data, shape) = (&stored.data, &stored.shape);
    let made = match (stored.dtype, dtype) {
        (Dtype::I32, _) => Tensor::from_slice(device, &all(data, |v| v as i32), shape),
        (_, DType::F64) => Tensor::from_slice(device, data, shape),
        (_, DType::Bounded) => Tensor::from_slice(device, &all(data, Bounded::exact), shape),
        _ => Tensor::from_slice(device, &all(data, |v| v as f32), shape),
    };
    made.unwrap()
}

fn all<T>(data: &[f64], convert: impl Fn(f64) -> T) -> Vec<T> {
    data.iter().map(|&v| convert(v)).collect()
}

/// What a case is given: everything before its first output.
fn operands(case: &Case, device: &Device, dtype: DType) -> Named {
    let first = case.tensors.iter().position(|t| ["y", "hn"].contains(&t.as_str())).unwrap();
    case.tensors[..first]
        .iter()
        .map(|what| {
            let tensor = place(&case.stored(what), device, dtype);
            (what.clone(), if tensor.dtype() == DType::I32 { tensor } else { tensor.variable().unwrap() })
        })
        .collect()
}

fn cell(case: &Case) -> Cell {
    match (case.op.trim_end_matches("_cell"), case.options["nonlinearity"].as_str()) {
        ("lstm", _) => Cell::Lstm,
        ("gru", _) => Cell::Gru,
        (_, Some("relu")) => Cell::Relu,
        _ => Cell::Tanh,
    }
}

fn weights(t: &Named, suffix: &str) -> RecurrentWeights {
    let get = |name: &str| t.get(&format!("{name}{suffix}")).cloned();
    RecurrentWeights {
        input: get("weight_ih").unwrap(),
        hidden: get("weight_hh").unwrap(),
        bias: get("bias_ih").zip(get("bias_hh")).map(|(a, b)| [a, b]),
    }
}

fn named(names: &[&str], tensors: impl IntoIterator<Item = Tensor>) -> Named {
    names.iter().map(|n| n.to_string()).zip(tensors).collect()
}

/// The outputs by tensor operations alone, which run in every type.
fn outputs(case: &Case, t: &Named) -> Result<Named> {
    match case.op.as_str() {
        "triangular_solve" => {
            let turned = t["t"].add(&identity(&t["t"], 1.5)?)?;
            let x = turned.triangular_solve_with(&t["b"], case.flag("upper"), case.flag("transpose"))?;
            Ok(named(&["y"], [x]))
        }
        "cholesky" | "cholesky_solve" => {
            let n = t["x"].shape()[2] as f64;
            let l = t["x"].add(&t["x"].t()?)?.add(&identity(&t["x"], 1.0 + 0.5 * n)?)?.cholesky()?;
            Ok(named(&["y"], [if case.op == "cholesky" { l } else { l.cholesky_solve(&t["b"])? }]))
        }
        op if op.ends_with("_cell") => {
            let sequence = Sequence { initial: Some(state(t, None)?), ..Sequence::default() };
            let out = t["x"].unsqueeze(0)?.recurrent(cell(case), &weights(t, ""), &sequence)?;
            finals(&out.state)
        }
        _ => layers(case, t),
    }
}

fn identity(like: &Tensor, scale: f64) -> Result<Tensor> {
    let n = like.shape()[2];
    let rows = Tensor::arange(like.device(), 0, n as i32)?.to_dtype(like.dtype())?;
    rows.reshape([n, 1])?.equal(&rows.reshape([1, n])?)?.mul_scalar(scale)
}

/// The initial state of a layer's direction, or of a cell.
fn state(t: &Named, number: Option<usize>) -> Result<Tensor> {
    let parts: Vec<Tensor> = ["h0", "c0"]
        .iter()
        .filter_map(|name| t.get(*name))
        .map(|s| number.map_or_else(|| Ok(s.clone()), |number| s.select(0, number)))
        .collect::<Result<_>>()?;
    Tensor::stack(&parts.iter().collect::<Vec<_>>(), 0)
}

/// h, and for an LSTM c, under the names of the final states.
fn finals(state: &Tensor) -> Result<Named> {
    let parts: Result<Vec<Tensor>> = (0..state.shape()[0]).map(|s| state.select(0, s)).collect();
    Ok(named(&["hn", "cn"], parts?))
}

fn layers(case: &Case, t: &Named) -> Result<Named> {
    let turn = |x: &Tensor| if case.flag("batch_first") { x.transpose(0, 1) } else { Ok(x.clone()) };
    let ways: &[&str] = if case.flag("bidirectional") { &["", "_reverse"] } else { &[""] };
    let (mut y, mut states) = (turn(&t["x"])?, vec![]);
    for layer in 0..case.whole("layers") {
        let mut parts = vec![];
        for (number, way) in ways.iter().enumerate() {
            let at = layer * ways.len() + number;
            let initial = if t.contains_key("h0") { Some(state(t, Some(at))?) } else { None };
            let sequence = Sequence { initial, lengths: t.get("lengths").cloned(), reverse: number == 1 };
            let out = y.recurrent(cell(case), &weights(t, &format!("_l{layer}{way}")), &sequence)?;
            parts.push(out.y);
            states.push(out.state);
        }
        y = Tensor::concat(&parts.iter().collect::<Vec<_>>(), 2)?;
    }
    let mut found = finals(&Tensor::stack(&states.iter().collect::<Vec<_>>(), 1)?)?;
    found.insert("y".into(), turn(&y)?);
    Ok(found)
}

/// The outputs and the gradients of the operands, for PyTorch's cotangents.
fn with_gradients(case: &Case, t: &Named, outputs: Named) -> Named {
    let mut product: Option<Tensor> = None;
    for (name, output) in &outputs {
        let w = place(&case.stored(&format!("w{name}")), output.device(), output.dtype());
        let term = output.mul(&w).unwrap().sum(&[], false).unwrap();
        product = Some(product.map_or(term.clone(), |sum| sum.add(&term).unwrap()));
    }
    let leaves: Vec<(&String, &Tensor)> = t.iter().filter(|(_, t)| t.is_tracked()).collect();
    let points: Vec<&Tensor> = leaves.iter().map(|(_, t)| *t).collect();
    let slopes = product.unwrap().grad(&points).unwrap();
    outputs.into_iter().chain(leaves.iter().map(|(name, _)| format!("d{name}")).zip(slopes)).collect()
}

fn follows_torch(device: &Device, dtype: DType) {
    let (mut cases, mut elements, mut deviation, mut share) = (0, 0, 0.0f64, 0.0f64);
    let mut failures = vec![];
    for case in cases_of("recurrent", None) {
        let given = operands(&case, device, dtype);
        let found = with_gradients(&case, &given, outputs(&case, &given).unwrap());
        let given = operands(&case, &Device::cpu(), DType::Bounded);
        let bounds = with_gradients(&case, &given, outputs(&case, &given).unwrap());
        // Nothing that PyTorch computed is left unread.
        for what in case.tensors.iter().filter(|t| case.stored(t).dtype == Dtype::F64) {
            let (found, torch) = (&found[what], case.stored(what));
            let scale = if dtype == DType::F64 { F64_SHARE } else { 1.0 };
            let allowed = bounds[what].to_vec::<Bounded>().unwrap();
            let expected: Vec<Bounded> =
                torch.data.iter().zip(allowed).map(|(&v, b)| Bounded::new(v, scale * b.error)).collect();
            let observed = found.to_f64().unwrap();
            let verdict = compare(found.shape(), &observed, &torch.shape, &expected, false);
            failures.extend(verdict.rejected.map(|why| format!("{}/{what}: {why}", case.id)));
            share = share.max(verdict.worst_share);
            elements += observed.len();
            for (o, t) in observed.iter().zip(&torch.data) {
                deviation = deviation.max((o - t).abs() / t.abs().max(1.0));
            }
        }
        cases += 1;
    }
    println!(
        "{device} {dtype}: {cases} cases, {elements} elements, {deviation:.1e} off, {share:.4} of the bound"
    );
    assert!(failures.is_empty(), "{} rejected\n{}", failures.len(), failures.join("\n"));
    assert_eq!(cases, 54);
}

#[test]
fn the_truth_is_torchs() {
    follows_torch(&Device::cpu(), DType::F64);
}

#[test]
fn the_cpu_is_within_its_bound_of_torch() {
    follows_torch(&Device::cpu(), DType::F32);
}

#[test]
fn the_adapter_is_within_its_bound_of_torch() {
    follows_torch(&common::gpu(), DType::F32);
}

/// The layers take PyTorch's parameters by PyTorch's names, and compute what it does.
#[test]
fn the_layers_are_torchs() {
    let (mut cases, mut deviation) = (0, 0.0f64);
    for case in cases_of("recurrent", None).into_iter().filter(|case| case.options["hidden"].is_u64()) {
        let params = Params::new_f64(0);
        let t = operands(&case, &Device::cpu(), DType::F64);
        let found = layer(&case, &t, &params).unwrap();
        for (what, found) in found {
            let torch = case.stored(&what);
            assert_eq!((**found.shape()).to_vec(), torch.shape, "{}/{what}", case.id);
            for (f, t) in found.to_f64().unwrap().iter().zip(&torch.data) {
                deviation = deviation.max((f - t).abs());
            }
        }
        cases += 1;
    }
    println!("{cases} cases through the layers, {deviation:.1e} off");
    assert!(cases == 44 && deviation < 1e-14);
}

/// The outputs of the layer of a case, with the case's parameters.
fn layer(case: &Case, t: &Named, params: &Params) -> Result<Named> {
    let features = *t["x"].shape().last().unwrap();
    let hidden = case.whole("hidden");
    let set = || -> Result<()> {
        let names: Vec<String> = params.all().iter().map(|p| p.path().to_string()).collect();
        let given = t.keys().filter(|name| name.starts_with("weight") || name.starts_with("bias"));
        assert_eq!(names.len(), given.count(), "{}", case.id);
        names.iter().try_for_each(|name| params.get(name)?.set(&t[name]))
    };
    let nonlinearity =
        if case.options["nonlinearity"] == "relu" { Nonlinearity::Relu } else { Nonlinearity::Tanh };
    let h0 = t.get("h0");
    let both = h0.zip(t.get("c0")).map(|(h, c)| [h, c]);
    if case.op.ends_with("_cell") {
        return match case.op.as_str() {
            "rnn_cell" => {
                let cell = RnnCell::new(params, features, hidden, nonlinearity)?;
                set()?;
                Ok(named(&["hn"], [cell.forward(&t["x"], h0)?]))
            }
            "gru_cell" => {
                let cell = GruCell::new(params, features, hidden)?;
                set()?;
                Ok(named(&["hn"], [cell.forward(&t["x"], h0)?]))
            }
            _ => {
                let cell = LstmCell::new(params, features, hidden)?;
                set()?;
                Ok(named(&["hn", "cn"], cell.forward(&t["x"], both)?))
            }
        };
    }
    let options = RecurrentOptions {
        layers: case.whole("layers"),
        bias: case.flag("bias"),
        batch_first: case.flag("batch_first"),
        bidirectional: case.flag("bidirectional"),
        ..RecurrentOptions::default()
    };
    let lengths = t.get("lengths");
    match case.op.as_str() {
        "rnn" => {
            let layer = Rnn::with(params, features, hidden, nonlinearity, options)?;
            set()?;
            let out = layer.forward(&t["x"], h0, lengths, Mode::Eval)?;
            Ok(named(&["y", "hn"], [out.y, out.h]))
        }
        "gru" => {
            let layer = Gru::with(params, features, hidden, options)?;
            set()?;
            let out = layer.forward(&t["x"], h0, lengths, Mode::Eval)?;
            Ok(named(&["y", "hn"], [out.y, out.h]))
        }
        _ => {
            let layer = Lstm::with(params, features, hidden, options)?;
            set()?;
            let out = layer.forward(&t["x"], both, lengths, Mode::Eval)?;
            Ok(named(&["y", "hn", "cn"], [out.y, out.h, out.c]))
        }
    }
}
