//! Runs cases on a device and holds every result against its reference.

use super::case::Case;
use super::compare::{Comparison, compare_tensors, exceeds, same_bits};
use super::half;
use super::{Input, Room};
use crate::autodiff;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{GpuOptions, Kernels};
use crate::tensor::Tensor;
use serde::Serialize;
use std::time::Instant;

/// Which way an operation is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Its value.
    Forward,
    /// Cotangents of the inputs for a random cotangent of the output.
    Vjp,
    /// The tangent of the output for random tangents of the inputs.
    Jvp,
}

impl Direction {
    /// All three.
    pub const ALL: [Direction; 3] = [Direction::Forward, Direction::Vjp, Direction::Jvp];
}

/// What a case came to in one direction.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The case.
    pub id: String,
    /// The largest |result − reference|.
    pub worst_error: f64,
    /// The largest share of the bound.
    pub worst_share: f64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// A row of the table: an operation in one direction.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The operation.
    pub op: &'static str,
    /// Which way.
    pub direction: Direction,
    /// The element type.
    pub dtype: String,
    /// How many cases ran.
    pub cases: usize,
    /// How many failed.
    pub failed: usize,
    /// The largest |result − reference| of any.
    pub worst_error: f64,
    /// The largest share of the bound of any.
    pub worst_share: f64,
    /// Seconds.
    pub seconds: f64,
    /// What failed, and how.
    #[serde(skip)]
    pub failures: Vec<String>,
}

/// A device under verification: the same adapter, opened in every way that must agree.
pub struct Bench {
    /// Name of the device.
    pub name: String,
    main: Device,
    /// Without bounds checks: must give the bits of `main`.
    unchecked: Option<Device>,
    /// With the kernels meant for the other kind of adapter: must stay within the bound too.
    other: Option<Device>,
    /// The same with the features of the adapter, if f16 is among them: a portable device has none.
    other_half: Option<Device>,
}

impl Bench {
    /// Opens the device that `request` means (see [`Device::select`]).
    pub fn open(request: &str) -> Result<Self> {
        let guard = GpuOptions { guard: true, ..GpuOptions::default() };
        let main = Device::select_with(request, guard)?;
        let Some(gpu) = main.as_gpu() else {
            return Ok(Bench {
                name: main.to_string(),
                main,
                unchecked: None,
                other: None,
                other_half: None,
            });
        };
        let family = match gpu.kernels() {
            Kernels::Software => Kernels::Hardware,
            Kernels::Hardware => Kernels::Software,
        };
        let family = GpuOptions { kernels: Some(family), ..guard };
        let other = GpuOptions { portable: true, ..family };
        let half = gpu.half().then(|| Device::select_with(request, family)).transpose()?;
        Ok(Bench {
            name: main.to_string(),
            unchecked: Some(Device::select_with(request, GpuOptions { unchecked: true, ..guard })?),
            other: Some(Device::select_with(request, other)?),
            other_half: half,
            main,
        })
    }

    /// The types that the device computes in: f32, and f16 where it is offered.
    pub fn dtypes(&self) -> Vec<DType> {
        let half = self.main.as_gpu().is_none_or(|gpu| gpu.half());
        if half { vec![DType::F32, DType::F16] } else { vec![DType::F32] }
    }
}

/// The function a case is checked as: in the middle of a graph, between exact changes of sign.
fn embedded(case: &Case, x: &[Tensor]) -> Result<Tensor> {
    let turn = |t: &Tensor| if t.dtype().is_float() { t.neg()?.neg() } else { Ok(t.clone()) };
    let turned: Result<Vec<Tensor>> = x.iter().map(turn).collect();
    (case.run)(&turned?)?.neg()
}

/// A random companion of a tensor: a cotangent or tangent. Whole numbers for exact cases.
fn companion(case: &Case, like: &[usize], device: &Device, dtype: DType, seed: u64) -> Result<Tensor> {
    let input = if case.exact { Input::whole(like) } else { Input::any(like) };
    input.make(device, dtype, seed)
}

/// Runs a case in one direction; the outputs that are to be compared.
pub(super) fn outputs(
    case: &Case,
    direction: Direction,
    device: &Device,
    dtype: DType,
) -> Result<Vec<Tensor>> {
    let inputs = case.make(device, dtype)?;
    if direction == Direction::Forward {
        return Ok(vec![(case.run)(&inputs)?]);
    }
    let floats: Vec<usize> = (0..inputs.len()).filter(|&i| case.inputs[i].is_float()).collect();
    let points: Vec<&Tensor> = floats.iter().map(|&i| &inputs[i]).collect();
    let f = |x: &[Tensor]| {
        let mut all = inputs.clone();
        for (&i, x) in floats.iter().zip(x) {
            all[i] = x.clone();
        }
        embedded(case, &all)
    };
    match direction {
        Direction::Vjp => {
            let y = (case.run)(&inputs)?;
            let dy = companion(case, y.shape(), device, dtype, 1000)?;
            Ok(autodiff::vjp(f, &points, &dy)?.1)
        }
        _ => {
            let tangents: Result<Vec<Tensor>> = points
                .iter()
                .zip(2000..)
                .map(|(x, seed)| companion(case, x.shape(), device, dtype, seed))
                .collect();
            let tangents = tangents?;
            Ok(vec![autodiff::jvp(f, &points, &tangents.iter().collect::<Vec<_>>())?.1])
        }
    }
}

/// What is wrong when a guard is not intact.
pub(super) const WRITTEN_BEHIND: &str = "something was written behind the end of a buffer";

/// [`outputs`], finished, and whether the guards of all buffers on the way are intact.
pub(super) fn guarded_outputs(
    case: &Case,
    direction: Direction,
    device: &Device,
    dtype: DType,
) -> Result<(Vec<Tensor>, bool)> {
    let run = || {
        let observed = outputs(case, direction, device, dtype)?;
        observed.iter().try_for_each(Tensor::finish)?;
        Ok(observed)
    };
    let (observed, mut intact) = match device.as_gpu() {
        Some(gpu) => gpu.watched(run)?,
        None => (run()?, true),
    };
    for tensor in &observed {
        intact &= tensor.guard_intact()?;
    }
    Ok((observed, intact))
}

/// The reference outputs of a case: values in f64 with their bounds.
pub(super) fn reference(case: &Case, direction: Direction) -> Result<Vec<Tensor>> {
    outputs(case, direction, &Device::cpu(), DType::Bounded)
}

pub(super) fn compare_all(observed: &[Tensor], expected: &[Tensor], exact: bool) -> Result<Comparison> {
    let mut total = Comparison::default();
    if observed.len() != expected.len() || expected.is_empty() {
        let given = format!("{} outputs, expected {}", observed.len(), expected.len());
        total.rejected = Some(given);
    }
    for (observed, expected) in observed.iter().zip(expected) {
        total = total.and(compare_tensors(observed, expected, exact)?);
    }
    Ok(total)
}

/// One case in one direction and type on every form of the device, against the reference outputs.
pub(super) fn check(
    case: &Case,
    direction: Direction,
    bench: &Bench,
    dtype: DType,
    (expected, exact): (&[Tensor], bool),
) -> Result<Comparison> {
    let run = |device: &Device| outputs(case, direction, device, dtype);
    let (observed, intact) = guarded_outputs(case, direction, &bench.main, dtype)?;
    let mut result = compare_all(&observed, expected, exact)?;
    let mut reject = |why: &str| {
        result.rejected.get_or_insert_with(|| why.into());
    };
    if !intact {
        reject(WRITTEN_BEHIND);
    }
    let mut same = |device: &Device, why: &str| -> Result<()> {
        for (a, b) in observed.iter().zip(&run(device)?) {
            if !same_bits(a, b)? {
                reject(why);
            }
        }
        Ok(())
    };
    same(&bench.main, "a second run gives other bits")?;
    if let Some(unchecked) = &bench.unchecked {
        same(unchecked, "without bounds checks it gives other bits")?;
    }
    if let Some(other) = if dtype == DType::F16 { &bench.other_half } else { &bench.other } {
        result = result.and(compare_all(&run(other)?, expected, exact)?);
    }
    Ok(result)
}

fn must_fail(case: &Case, bench: &Bench) -> Comparison {
    let mut result = Comparison::default();
    for (device, dtype) in [(&bench.main, DType::F32), (&Device::cpu(), DType::Bounded)] {
        if outputs(case, Direction::Forward, device, dtype).is_ok() {
            result.rejected = Some(format!("no error on {device}"));
        }
    }
    result
}

/// Step of the central differences.
const STEP: f64 = 1e-3;
/// What they may be off by, relative to the largest numbers they are made of: with Richardson's
/// extrapolation the truncation is of order STEP⁴ = 1e-12 times a fifth derivative, the rounding 1e-13.
const DIFFERENCE_TOLERANCE: f64 = 1e-7;
/// What two f64 sums of the same products may differ by, relative to the sum of their magnitudes.
const ADJOINT_TOLERANCE: f64 = 1e-11;

/// The derivative rules of a case, in f64 on the CPU: forward mode against central differences, and
/// reverse mode against forward mode by ⟨Jv, w⟩ = ⟨v, Jᵀw⟩.
pub(super) fn check_rules(case: &Case, direction: Direction) -> Result<Comparison> {
    let cpu = Device::cpu();
    let inputs = case.make(&cpu, DType::F64)?;
    let floats: Vec<usize> = (0..inputs.len()).filter(|&i| case.inputs[i].is_float()).collect();
    let jv = outputs(case, Direction::Jvp, &cpu, DType::F64)?.swap_remove(0);
    let mut result = Comparison::default();
    if direction == Direction::Jvp {
        let moved = |h: f64| -> Result<Vec<f64>> {
            let mut x = inputs.clone();
            for (&i, seed) in floats.iter().zip(2000..) {
                let v = companion(case, x[i].shape(), &cpu, DType::F64, seed)?;
                x[i] = x[i].add(&v.mul_scalar(h)?)?;
            }
            embedded(case, &x)?.to_f64()
        };
        let slope = |h: f64| -> Result<Vec<f64>> {
            let (plus, minus) = (moved(h)?, moved(-h)?);
            Ok(plus.iter().zip(&minus).map(|(p, m)| (p - m) / (2.0 * h)).collect())
        };
        let (wide, narrow) = (slope(STEP)?, slope(STEP / 2.0)?);
        let exact = jv.to_f64()?;
        let size = |v: &[f64]| v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let scale = size(&exact).max(size(&moved(0.0)?)).max(1.0);
        for (index, ((w, n), e)) in wide.iter().zip(&narrow).zip(&exact).enumerate() {
            let difference = (4.0 * n - w) / 3.0;
            if exceeds((difference - e).abs(), DIFFERENCE_TOLERANCE * scale) {
                result.rejected = Some(format!("tangent {index} is {e:e}, differences give {difference:e}"));
            }
        }
    } else {
        let dx = outputs(case, Direction::Vjp, &cpu, DType::F64)?;
        let w = companion(case, jv.shape(), &cpu, DType::F64, 1000)?;
        let (mut left, mut right, mut scale) = (0.0, 0.0, 0.0);
        for (a, b) in jv.to_f64()?.iter().zip(&w.to_f64()?) {
            left += a * b;
            scale += (a * b).abs();
        }
        for ((&i, dx), seed) in floats.iter().zip(&dx).zip(2000..) {
            let v = companion(case, inputs[i].shape(), &cpu, DType::F64, seed)?;
            for (a, b) in dx.to_f64()?.iter().zip(&v.to_f64()?) {
                right += a * b;
                scale += (a * b).abs();
            }
        }
        if exceeds((left - right).abs(), ADJOINT_TOLERANCE * scale) {
            result.rejected = Some(format!("⟨Jv, w⟩ = {left:e} but ⟨v, Jᵀw⟩ = {right:e}"));
        }
    }
    Ok(result)
}

/// One case in one direction, in f32: the device against the bound, and the derivative rules.
pub fn find(case: &Case, direction: Direction, bench: &Bench) -> Finding {
    finding(case, || {
        if case.fails {
            return Ok(must_fail(case, bench));
        }
        let expected = reference(case, direction)?;
        let found = check(case, direction, bench, DType::F32, (&expected, case.exact))?;
        Ok(match direction {
            Direction::Forward => found,
            _ => {
                let rules = check_rules(case, direction)?;
                Comparison { rejected: found.rejected.clone().or(rules.rejected), ..found }
            }
        })
    })
}

pub(super) fn finding(case: &Case, judge: impl FnOnce() -> Result<Comparison>) -> Finding {
    let comparison = judge().unwrap_or_else(|error: Error| Comparison {
        rejected: Some(error.to_string()),
        worst_share: f64::INFINITY,
        ..Comparison::default()
    });
    Finding {
        id: case.id.clone(),
        worst_error: comparison.worst_error,
        worst_share: comparison.worst_share,
        failure: comparison.rejected,
    }
}

/// Runs all cases of the rooms whose ids contain `filter`, one row per operation, direction and type.
pub fn verify(bench: &Bench, rooms: &[Room], filter: &str, mut report: impl FnMut(&Row)) -> Vec<Row> {
    let mut rows = Vec::new();
    for room in rooms {
        for dtype in bench.dtypes() {
            for direction in Direction::ALL {
                rows.extend(row(bench, room, filter, direction, dtype).inspect(&mut report));
            }
        }
    }
    rows
}

/// One row, if there are cases for it.
fn row(bench: &Bench, room: &Room, filter: &str, direction: Direction, dtype: DType) -> Option<Row> {
    let start = Instant::now();
    let wanted =
        |case: &&Case| (direction == Direction::Forward || case.gradient) && case.id.contains(filter);
    let findings: Vec<Finding> = match dtype {
        DType::F16 => half::chosen(room)
            .into_iter()
            .filter(|case| wanted(case))
            .filter_map(|case| half::find(case, direction, bench))
            .collect(),
        _ => room.cases.iter().filter(wanted).map(|case| find(case, direction, bench)).collect(),
    };
    if findings.is_empty() {
        return None;
    }
    let worst = |f: fn(&Finding) -> f64| findings.iter().map(f).fold(0.0, f64::max);
    Some(Row {
        op: room.op,
        direction,
        dtype: dtype.to_string(),
        cases: findings.len(),
        failed: findings.iter().filter(|f| f.failure.is_some()).count(),
        worst_error: worst(|f| f.worst_error),
        worst_share: worst(|f| f.worst_share),
        seconds: start.elapsed().as_secs_f64(),
        failures: findings
            .iter()
            .filter_map(|f| f.failure.as_ref().map(|why| format!("{} in {dtype}: {why}", f.id)))
            .collect(),
    })
}
