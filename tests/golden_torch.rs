//! Every operation against what PyTorch computes: values, gradients and second derivatives, in f64, in f32
//! and on the adapter; see golden/README.md.

mod common;
mod golden;

use golden::{Case, Stored, calls};
use gradus::real::Bounded;
use gradus::verify::compare;
use gradus::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// Operations that are no calls on tensors: `golden_optim.rs` holds them to PyTorch.
const ELSEWHERE: [&str; 19] = [
    "sgd",
    "adam",
    "adamw",
    "rmsprop",
    "adagrad",
    "adadelta",
    "lion",
    "lamb",
    "muon",
    "sgd_groups",
    "adamw_groups",
    "rmsprop_groups",
    "schedule",
    "plateau",
    "clip_grad_norm",
    "gain",
    "fan",
    "init_kaiming",
    "init_xavier",
];

/// Cases with elements of which WGSL promises nothing, and why. There the CPU alone is held to PyTorch; the
/// other elements are judged on every device.
const UNPROMISED: [(&str, &str); 16] = [
    ("argmax/minus_infinity", "infinities"),
    ("softmax/masked", "minus infinity masks"),
    ("log_softmax/masked", "minus infinity masks"),
    ("sin/ten", "beyond π from zero"),
    ("cos/ten", "beyond π from zero"),
    ("relu/special", "infinities and NaN"),
    ("abs/special", "infinities and NaN"),
    ("sigmoid/special", "infinities and NaN"),
    ("tanh/special", "infinities and NaN"),
    ("softplus/special", "infinities and NaN"),
    ("silu/special", "infinities and NaN"),
    ("erf/special", "infinities and NaN"),
    ("exp/special", "infinities and NaN; overflow from 88.7 on"),
    ("log/special", "infinities and NaN; at zero and below"),
    ("sqrt/special", "infinities and NaN; below zero"),
    ("rsqrt/special", "infinities and NaN; at zero and below"),
];

/// What f64 may be off by, as a share of the bound that f32 is held to. The bound is linear in the unit of
/// rounding, 2⁻²³ there and 2⁻⁵³ here; both sides round (2), and each may use functions that are an ULP or two
/// off, where the bound sometimes counts one (2).
const F64_SHARE: f64 = 1.0 / (1u64 << 28) as f64;

/// What PyTorch's own f64 may be off by, relative to the value or to one, where it computes less carefully
/// than the bound assumes.
fn torch_error(case: &Case) -> f64 {
    match case.op.as_str() {
        // It folds mean and scale into one shift: with means of 1000, 1000·2⁻⁵³ = 1e-13 cancels, a few times.
        "batch_norm_train" => 1e-12,
        // Likewise with a mean of 10⁴; in extended precision it is these values that are off, by 3e-12.
        "layer_norm" | "group_norm" if case.id.ends_with("large_mean") => 1e-11,
        // Its derivatives cancel in the tails, as make_torch.py --check found against 60 digits.
        "sigmoid" | "silu" | "softplus" => 1e-14,
        // It computes places as (p + ½)·in/out − ½, which rounds before it cancels: in·2⁻⁵³ ≤ 1e-15 for at most
        // nine inputs, times the few units that neighbours differ by.
        "interpolate" => 4e-15,
        _ => 0.0,
    }
}

/// What became of the cases of an operation.
#[derive(Default)]
struct Tally {
    cases: usize,
    elements: usize,
    unpromised: usize,
    deviation: f64,
    share: f64,
}

fn unpromised(case: &Case) -> bool {
    UNPROMISED.iter().any(|(id, _)| *id == case.id)
}

/// Where WGSL promises nothing: near PyTorch's value as the type holds it, NaN for NaN, ∞ for ∞.
fn near(observed: f64, expected: f64, dtype: DType) -> bool {
    let (expected, unit) = match dtype {
        DType::F64 => (expected, 1e-15),
        _ => (f64::from(expected as f32), 1e-6),
    };
    observed == expected
        || (observed.is_nan() && expected.is_nan())
        || (observed - expected).abs() <= unit * expected.abs().max(1.0)
}

/// Judges a tensor; why it is rejected, if it is.
fn judge(case: &Case, found: &Tensor, bound: &Tensor, torch: &Stored, tally: &mut Tally) -> Option<String> {
    let observed = found.to_f64().unwrap();
    if **found.shape() != *torch.shape {
        return Some(format!("shape {}, PyTorch has {:?}", found.shape(), torch.shape));
    }
    if found.dtype() == DType::I32 {
        if unpromised(case) && !found.device().is_cpu() {
            tally.unpromised += observed.len();
            return None;
        }
        let expected: Vec<Bounded> = torch.data.iter().map(|&v| Bounded::exact(v)).collect();
        tally.elements += observed.len();
        return compare(found.shape(), &observed, &torch.shape, &expected, true).rejected;
    }
    let bounds = bound.to_vec::<Bounded>().unwrap();
    let (mut kept, mut expected) = (vec![], vec![]);
    for (index, ((&observed, bound), &torch)) in observed.iter().zip(&bounds).zip(&torch.data).enumerate() {
        if bound.is_vacuous() && unpromised(case) {
            tally.unpromised += 1;
            // The one difference: no comparison holds for NaN, so relu takes the branch of zero.
            let torch = if case.op == "relu" && torch.is_nan() { 0.0 } else { torch };
            if found.device().is_cpu() && !near(observed, torch, found.dtype()) {
                return Some(format!("element {index} is {observed:e}, PyTorch has {torch:e}"));
            }
            continue;
        }
        let share = if found.dtype() == DType::F64 { F64_SHARE } else { 1.0 };
        let error = share * bound.error + torch_error(case) * torch.abs().max(1.0);
        tally.deviation = tally.deviation.max((observed - torch).abs() / torch.abs().max(1.0));
        kept.push(observed);
        expected.push(Bounded::new(torch, error));
    }
    let shape = [kept.len()];
    let verdict = compare(&shape, &kept, &shape, &expected, false);
    tally.elements += kept.len();
    tally.share = tally.share.max(verdict.worst_share);
    verdict.rejected
}

/// The areas, and how many cases each has.
const AREAS: [(&str, usize); 4] = [("torch", 230), ("index", 63), ("conv", 53), ("training", 128)];

fn follows_torch(device: &Device, dtype: DType) {
    AREAS.iter().for_each(|&(area, count)| area_follows_torch(area, count, device, dtype));
}

fn area_follows_torch(area: &'static str, count: usize, device: &Device, dtype: DType) {
    let (mut tallies, mut failures) = (BTreeMap::<String, Tally>::new(), vec![]);
    let (mut run, mut elsewhere) = (0, 0);
    for case in golden::cases_of(area, None) {
        if ELSEWHERE.contains(&case.op.as_str()) {
            elsewhere += 1;
            continue;
        }
        let found = calls::outputs(&case, device, dtype).unwrap_or_else(|e| panic!("{}: {e}", case.id));
        let bounds = calls::outputs(&case, &Device::cpu(), DType::Bounded).unwrap();
        let tally = tallies.entry(case.op.clone()).or_default();
        for ((what, found), (_, bound)) in found.iter().zip(&bounds) {
            if let Some(why) = judge(&case, found, bound, &case.stored(what), tally) {
                failures.push(format!("{}/{what}: {why}", case.id));
            }
        }
        // Nothing that PyTorch computed is left unread.
        for what in case.tensors.iter().skip_while(|t| *t != "y").filter(|t| *t != "dy" && *t != "v") {
            assert!(found.iter().any(|(name, _)| name == what), "{}/{what} is not compared", case.id);
        }
        tally.cases += 1;
        run += 1;
    }
    println!(
        "{area} on {device}, {dtype}: operation, cases, elements, of them unpromised, deviation, share of the bound"
    );
    for (op, t) in &tallies {
        let (all, left) = (t.elements + t.unpromised, t.unpromised);
        println!("{op:24} {:3} {all:6} {left:4}  {:.1e}  {:.4}", t.cases, t.deviation, t.share);
    }
    println!("{run} cases, {elsewhere} more in golden_optim.rs");
    assert_eq!(run + elsewhere, count, "{area}.json has other cases");
    let unknown = UNPROMISED.iter().find(|(id, _)| !golden::cases(None).iter().any(|case| case.id == *id));
    assert!(unknown.is_none(), "no case {unknown:?}");
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
