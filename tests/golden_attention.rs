//! Attention, its module and transformer layers against what PyTorch computes: values and gradients, in f64, in f32
//! and on the adapter; see golden/README.md.

mod common;
mod golden;

use golden::Case;
use gradus::nn::{
    Activation, HeadOptions, Mode, MultiHeadAttention, Params, TransformerDecoderLayer,
    TransformerEncoderLayer, TransformerOptions,
};
use gradus::ops::{Attention, Pairs, Rotary};
use gradus::real::Bounded;
use gradus::verify::compare;
use gradus::{DType, Device, Result, Tensor};
use safetensors::Dtype;
use std::collections::BTreeMap;

/// What f64 may be off by, as a share of the bound that f32 is held to; see golden_torch.rs.
const F64_SHARE: f64 = 1.0 / (1u64 << 28) as f64;

/// A stored tensor on a device, floats in `dtype`.
fn place(case: &Case, what: &str, device: &Device, dtype: DType) -> Result<Tensor> {
    let stored = case.stored(what);
    let shape = stored.shape;
    match (stored.dtype, dtype) {
        (Dtype::I32, _) => Tensor::from_slice(device, &all(&stored.data, |v| v as i32), shape),
        (_, DType::F64) => Tensor::from_slice(device, &stored.data, shape),
        (_, DType::Bounded) => Tensor::from_slice(device, &all(&stored.data, Bounded::exact), shape),
        _ => Tensor::from_slice(device, &all(&stored.data, |v| v as f32), shape),
    }
}

fn all<T>(data: &[f64], convert: impl Fn(f64) -> T) -> Vec<T> {
    data.iter().map(|&v| convert(v)).collect()
}

type Given = BTreeMap<String, Tensor>;

/// The value of a case, of the tensors that are given, and of the parameters, which have PyTorch's names.
fn call(case: &Case, t: &Given, params: &Params) -> Result<Tensor> {
    let attention = |causal| Attention { causal, ..Attention::default() };
    let x = t.get("x");
    let set = || -> Result<()> {
        for parameter in params.all() {
            parameter.set(&t[parameter.path()])?;
        }
        Ok(())
    };
    let layer = || TransformerOptions {
        activation: if case.options["activation"] == "gelu" { Activation::Gelu } else { Activation::Relu },
        norm_first: case.flag("norm_first"),
        ..TransformerOptions::new(case.whole("heads"), case.whole("hidden"))
    };
    match (case.op.as_str(), x) {
        ("rotary", Some(x)) => {
            let pairs = if case.flag("interleaved") { Pairs::Neighbours } else { Pairs::Halves };
            x.rotary(&Rotary { pairs, ..Rotary::default() }, case.whole("offset"))
        }
        ("multi_head_attention", Some(x)) => {
            let options = HeadOptions { bias: case.flag("bias"), ..HeadOptions::new(case.whole("heads")) };
            let layer = MultiHeadAttention::with(params, x.shape()[2], options)?;
            set()?;
            layer.forward(x, t.get("memory").unwrap_or(x), &attention(case.flag("causal")), Mode::Train)
        }
        ("encoder_layer", Some(x)) => {
            let layer = TransformerEncoderLayer::new(params, x.shape()[2], layer())?;
            set()?;
            layer.forward(x, &attention(case.flag("causal")), Mode::Train)
        }
        ("decoder_layer", Some(x)) => {
            let layer = TransformerDecoderLayer::new(params, x.shape()[2], layer())?;
            set()?;
            layer.forward(x, &t["memory"], &attention(true), &attention(false), Mode::Train)
        }
        _ => {
            let options = Attention {
                causal: case.flag("causal"),
                scale: case.options["scale"].as_f64(),
                mask: t.get("mask").cloned(),
                bias: t.get("bias").cloned(),
                ..Attention::default()
            };
            t["q"].attention(&t["k"], &t["v"], &options)
        }
    }
}

/// Everything that the case has PyTorch's result of, by the name it is stored under.
fn outputs(case: &Case, device: &Device, dtype: DType) -> Result<Vec<(String, Tensor)>> {
    let params = match dtype {
        DType::F64 => Params::new_f64(0),
        DType::Bounded => Params::new_bounded(0),
        _ => Params::new(device, 0),
    };
    let mut given = Given::new();
    for what in case.tensors.iter().take_while(|what| *what != "y") {
        let tensor = place(case, what, device, dtype)?;
        let leaf = tensor.dtype().is_float();
        given.insert(what.clone(), if leaf { tensor.variable()? } else { tensor });
    }
    let y = call(case, &given, &params)?;
    // A parameter is a variable of its own.
    for parameter in params.all() {
        given.insert(parameter.path().into(), parameter.get());
    }
    let leaves: Vec<&String> = given.keys().filter(|what| case.has(&format!("d{what}"))).collect();
    let points: Vec<&Tensor> = leaves.iter().map(|what| &given[*what]).collect();
    let slopes = y.pull_back(&place(case, "dy", device, dtype)?, &points)?;
    let names = leaves.iter().map(|what| format!("d{what}"));
    Ok(std::iter::once(("y".to_string(), y.clone())).chain(names.zip(slopes)).collect())
}

fn follows_torch(device: &Device, dtype: DType) {
    let mut failures = vec![];
    let mut tallies = BTreeMap::<String, (usize, usize, f64, f64)>::new();
    for case in golden::cases_of("attention", None) {
        let found = outputs(&case, device, dtype).unwrap_or_else(|e| panic!("{}: {e}", case.id));
        let bounds = outputs(&case, &Device::cpu(), DType::Bounded).unwrap();
        let tally = tallies.entry(case.op.clone()).or_default();
        tally.0 += 1;
        for ((what, found), (_, bound)) in found.iter().zip(&bounds) {
            let torch = case.stored(what);
            let observed = found.to_f64().unwrap();
            let expected: Vec<Bounded> = bound
                .to_vec::<Bounded>()
                .unwrap()
                .iter()
                .zip(&torch.data)
                .map(|(bound, &torch)| {
                    let share = if dtype == DType::F64 { F64_SHARE } else { 1.0 };
                    Bounded::new(torch, share * bound.error)
                })
                .collect();
            let verdict = compare(found.shape(), &observed, &torch.shape, &expected, false);
            tally.1 += observed.len();
            for (observed, torch) in observed.iter().zip(&torch.data) {
                tally.2 = tally.2.max((observed - torch).abs() / torch.abs().max(1.0));
            }
            tally.3 = tally.3.max(verdict.worst_share);
            if let Some(why) = verdict.rejected {
                failures.push(format!("{}/{what}: {why}", case.id));
            }
        }
        // Nothing that PyTorch computed is left unread.
        for what in case.tensors.iter().skip_while(|what| *what != "y").filter(|what| *what != "dy") {
            assert!(found.iter().any(|(name, _)| name == what), "{}/{what} is not compared", case.id);
        }
    }
    println!("{device} {dtype}: operation, cases, elements, deviation, share of the bound");
    for (op, (cases, elements, deviation, share)) in &tallies {
        println!("{op:24} {cases:3} {elements:6}  {deviation:.1e}  {share:.4}");
    }
    assert_eq!(tallies.values().map(|tally| tally.0).sum::<usize>(), 42, "the golden file has other cases");
    assert!(failures.is_empty(), "{} rejected\n{}", failures.len(), failures.join("\n"));
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
