//! Cases in f16: those of f32 that are small, wherever f16 can hold what they compute.

use super::Room;
use super::case::Case;
use super::run::{Bench, Direction, Finding, check, finding, outputs};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::real::Bounded;
use crate::tensor::Tensor;
use half::f16;

/// A case with more input elements is left to f32: the kernels are the same but for loads and stores.
const ELEMENTS: usize = 1500;
/// As many cases of an operation, spread evenly over those there are: every kernel compiled for f16 takes a
/// software adapter long.
const CASES: usize = 10;

/// The cases of an operation that are tried in f16.
pub(super) fn chosen(room: &Room) -> Vec<&Case> {
    let small = |case: &&Case| {
        let elements: usize = case.inputs.iter().map(|input| input.count()).sum();
        case.half && !case.fails && elements <= ELEMENTS
    };
    let all: Vec<&Case> = room.cases.iter().filter(small).collect();
    let taken = all.len().min(CASES);
    (0..taken).map(|k| all[k * all.len() / taken]).collect()
}

/// One case in one direction. `None` where its numbers leave f16's range, so that WGSL promises nothing.
pub(super) fn find(case: &Case, direction: Direction, bench: &Bench) -> Option<Finding> {
    let expected = match reference(case, direction) {
        Ok(Some(expected)) => expected,
        Ok(None) => return None,
        Err(error) => return Some(finding(case, || Err(error))),
    };
    Some(finding(case, || {
        let exact = case.exact && all(&expected, |b| f16::from_f64(b.value).to_f64() == b.value)?;
        check(case, direction, bench, DType::F16, (&expected, exact))
    }))
}

/// The reference outputs with their bounds, if each says something.
fn reference(case: &Case, direction: Direction) -> Result<Option<Vec<Tensor>>> {
    let expected = outputs(case, direction, &Device::cpu(), DType::BoundedF16)?;
    Ok(all(&expected, |b| !b.is_vacuous())?.then_some(expected))
}

fn all(tensors: &[Tensor], holds: impl Fn(Bounded) -> bool) -> Result<bool> {
    for tensor in tensors.iter().filter(|t| t.dtype().is_float()) {
        if !tensor.to_vec::<Bounded>()?.into_iter().all(&holds) {
            return Ok(false);
        }
    }
    Ok(true)
}
