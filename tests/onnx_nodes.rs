//! ONNX's node tests through the Rust API: on the CPU device, in f32 and f64, and on the adapter.
//!
//! The expected values were computed by numpy, mostly in f32, in whatever order it liked. So either side may
//! be off by the bound that follows from the case, and together by twice that.

mod common;
mod onnx;

use gradus::real::Bounded;
use gradus::{DType, Device, Tensor};
use onnx::{Node, Stop, Stored};
use std::collections::BTreeMap;

/// Cases that gradus does not answer, or answers otherwise: a name, `*` for any part; how it fails; and why.
const EXCEPTIONS: &str = include_str!("onnx/exceptions.tsv");

/// How a case fails.
enum Failure {
    /// There is nothing in gradus to call.
    Missing(&'static str),
    /// gradus returns an error.
    Refused(String),
    /// The values or the shapes are not those of ONNX, or are not known to be.
    Differs(String),
}

impl Failure {
    /// Its name in the list of exceptions, and what happened.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Failure::Missing(what) => ("missing", what),
            Failure::Refused(error) => ("refused", error),
            Failure::Differs(how) => ("differs", how),
        }
    }
}

fn exceptions() -> Vec<[&'static str; 3]> {
    let columns = |line: &'static str| line.split('\t').collect::<Vec<_>>().try_into();
    EXCEPTIONS.lines().map(|line| columns(line).expect("pattern, how, why")).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(tail, &rest[at..]))
        }),
        None => pattern == name,
    }
}

/// The largest share of the allowed deviation, or why the tensor is wrong.
fn judge(found: &Tensor, bound: &Tensor, expected: &Stored) -> Result<f64, String> {
    if **found.shape() != *expected.shape {
        return Err(format!("shape {}, ONNX has {:?}", found.shape(), expected.shape));
    }
    let (found, bounds) = (found.to_f64().unwrap(), errors(bound));
    let mut worst = 0.0f64;
    for (index, ((&found, bound), &expected)) in found.iter().zip(bounds).zip(&expected.data).enumerate() {
        let deviation = (found - expected).abs();
        if found == expected {
            continue;
        }
        let allowed = 2.0 * bound;
        // A deviation that is NaN, or a bound that promises nothing, is no pass.
        if !allowed.is_finite() || deviation.is_nan() || deviation > allowed {
            return Err(format!("element {index} is {found:e}, ONNX has {expected:e}, allowed ±{allowed:e}"));
        }
        worst = worst.max(deviation / allowed);
    }
    Ok(worst)
}

/// The bound of each element; zero for integers.
fn errors(bound: &Tensor) -> Vec<f64> {
    match bound.dtype() {
        DType::Bounded => bound.to_vec::<Bounded>().unwrap().iter().map(|b| b.error).collect(),
        _ => vec![0.0; bound.count()],
    }
}

/// Runs a case everywhere; the largest share.
fn examine(node: &Node, gpu: &Device) -> Result<f64, Failure> {
    let cpu = Device::cpu();
    let run = |device: &Device, float: DType| {
        node.run(device, float).map_err(|stop| match stop {
            Stop::Missing(what) => Failure::Missing(what),
            Stop::Error(error) => Failure::Refused(error.to_string()),
        })
    };
    let bounds = run(&cpu, DType::Bounded)?;
    let mut worst = 0.0f64;
    for (device, float) in [(&cpu, DType::F32), (&cpu, DType::F64), (gpu, DType::F32)] {
        let found = run(device, float)?;
        let wanted = node.outputs.iter().flatten().count();
        if found.len() != wanted || bounds.len() != wanted {
            return Err(Failure::Differs(format!("{} outputs, ONNX has {wanted}", found.len())));
        }
        for ((found, bound), expected) in found.iter().zip(&bounds).zip(node.outputs.iter().flatten()) {
            let share = judge(found, bound, expected)
                .map_err(|how| Failure::Differs(format!("{float} on {device}: {how}")))?;
            worst = worst.max(share);
        }
    }
    Ok(worst)
}

#[test]
fn every_node_agrees_or_says_why_not() {
    let gpu = common::gpu();
    let exceptions = exceptions();
    let mut used = vec![false; exceptions.len()];
    let mut rows: BTreeMap<&str, (usize, usize, f64)> = BTreeMap::new();
    let mut wrong = vec![];
    let nodes = onnx::nodes();
    for node in &nodes {
        let row = rows.entry(&node.op).or_default();
        row.1 += 1;
        let known = exceptions.iter().position(|[pattern, ..]| matches(pattern, &node.name));
        match (examine(node, &gpu), known) {
            (Ok(share), None) => {
                row.0 += 1;
                row.2 = row.2.max(share);
            }
            (Ok(_), Some(index)) => {
                wrong.push(format!(
                    "{} passes, and stands among the exceptions: {}",
                    node.name, exceptions[index][0]
                ));
            }
            (Err(failure), Some(index)) if failure.parts().0 == exceptions[index][1] => used[index] = true,
            (Err(failure), _) => {
                let (how, what) = failure.parts();
                wrong.push(format!("{}: {how}: {what}", node.name));
            }
        }
    }
    println!("{:28} passed / total   worst share of what both sides may be off", "operator");
    for (op, (passed, total, share)) in &rows {
        println!("{op:28} {passed:6} / {total:5}   {share:.3}");
    }
    let passed: usize = rows.values().map(|row| row.0).sum();
    println!("{:28} {passed:6} / {:5}", "all", nodes.len());
    for ([pattern, how, reason], used) in exceptions.iter().zip(used) {
        println!("not passed: {pattern}: {how}: {reason}");
        if !used {
            wrong.push(format!("{pattern}: no case of this name fails"));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
