//! Would the cases notice if a shader were wrong? Every shader is changed in every small way that
//! [`mutate`](super::mutate) knows, one at a time, and the cases that launch it are run against the change.

use super::Room;
use super::case::Case;
use super::mutate::{Mutant, apply, fuelled, mutants};
use super::run::{Direction, compare_all, outputs, reference};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{self, Gpu, GpuOptions, Kernels, Source};
use crate::tensor::Tensor;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Loop turns an invocation may take in all: far more than any case needs, so that a mutant ends.
const FUEL: u32 = 4096;

/// Why some mutants compute what the original computes: shader, key and reason, separated by tabs.
const EQUIVALENT: &str = include_str!("equivalent.tsv");

/// What became of the mutants of one shader.
#[derive(Clone, Debug, Serialize)]
pub struct MutationRow {
    /// The shader's path under `shaders/`.
    pub shader: String,
    /// How many mutants there are.
    pub mutants: usize,
    /// How many some case rejected.
    pub killed: usize,
    /// Survivors with a reason why they are equivalent: key and reason.
    pub explained: Vec<(String, String)>,
    /// Survivors without one: a gap in the cases.
    pub unexplained: Vec<String>,
    /// Seconds.
    pub seconds: f64,
}

/// A case in one direction, with what it should give.
struct Trial<'a> {
    case: &'a Case,
    direction: Direction,
    expected: Vec<Tensor>,
    device: usize,
    seconds: f64,
}

/// A shader as the trials launch it: the texts of its specialisations by key, and the trials.
#[derive(Default)]
struct Subject {
    texts: BTreeMap<(usize, String), String>,
    trials: Vec<usize>,
}

/// Mutates every shader that the rooms' cases launch and whose name contains `filter`.
///
/// Errors: [`Error::Device`] on the CPU, [`Error::Validation`] if a case fails before anything is changed.
pub fn mutate_shaders(
    request: &str,
    rooms: &[Room],
    filter: &str,
    mut report: impl FnMut(&MutationRow),
) -> Result<Vec<MutationRow>> {
    let open = |kernels| {
        let options = GpuOptions { guard: true, kernels: Some(kernels), ..GpuOptions::default() };
        Device::select_with(request, options)
    };
    let devices = [open(Kernels::Software)?, open(Kernels::Hardware)?];
    let gpus: Option<Vec<&Gpu>> = devices.iter().map(Device::as_gpu).collect();
    let gpus = gpus.ok_or_else(|| {
        Error::device(
            "verify --mutate",
            "the CPU device",
            "Shaders run on a GPU: name an adapter with --device.",
        )
    })?;
    let (trials, subjects) = survey(&devices, &gpus, rooms, filter)?;
    let mut rows = Vec::new();
    for (shader, subject) in subjects {
        let row = examine(&shader, &subject, &trials, &devices, &gpus)?;
        report(&row);
        rows.push(row);
    }
    Ok(rows)
}

/// Runs everything once unchanged, and notes which shaders each case launches.
fn survey<'a>(
    devices: &[Device],
    gpus: &[&Gpu],
    rooms: &'a [Room],
    filter: &str,
) -> Result<(Vec<Trial<'a>>, BTreeMap<String, Subject>)> {
    let mut trials = Vec::new();
    let mut subjects: BTreeMap<String, Subject> = BTreeMap::new();
    let control: gpu::Rewrite = Arc::new(|_, module| fuelled(&module, FUEL));
    for gpu in gpus {
        gpu.set_rewrite("", Some(control.clone()));
    }
    for case in rooms.iter().flat_map(|room| &room.cases).filter(|case| !case.fails) {
        for direction in Direction::ALL {
            if direction != Direction::Forward && !case.gradient {
                continue;
            }
            for (device, gpu) in gpus.iter().enumerate() {
                gpu.take_launched();
                outputs(case, direction, &devices[device], DType::F32)?
                    .iter()
                    .try_for_each(Tensor::finish)?;
                let launched = gpu.take_launched();
                let wanted: Vec<(String, String)> = launched
                    .into_iter()
                    .filter(|(key, _)| is_file(key) && shader_of(key).contains(filter))
                    .collect();
                if wanted.is_empty() {
                    continue;
                }
                let expected = reference(case, direction)?;
                let start = std::time::Instant::now();
                let mut trial = Trial { case, direction, expected, device, seconds: 0.0 };
                if let Some(why) = rejects(&trial, devices)? {
                    return Err(Error::validation(
                        "verify --mutate",
                        format!("{} {direction:?} fails unchanged: {why}", case.id),
                        "Let `gradus verify` pass first.",
                    ));
                }
                trial.seconds = start.elapsed().as_secs_f64();
                for (key, text) in wanted {
                    let subject = subjects.entry(shader_of(&key).into()).or_default();
                    subject.texts.insert((device, key), text);
                    if subject.trials.last() != Some(&trials.len()) {
                        subject.trials.push(trials.len());
                    }
                }
                trials.push(trial);
            }
        }
    }
    Ok((trials, subjects))
}

/// The file a kernel's key names.
fn shader_of(key: &str) -> &str {
    key.split(' ').next().unwrap_or_default()
}

/// Whether a kernel's key names a file: generated kernels have their text as key.
fn is_file(key: &str) -> bool {
    !key.contains('\n')
}

/// Why a trial's result is rejected, if it is.
fn rejects(trial: &Trial, devices: &[Device]) -> Result<Option<String>> {
    let device = &devices[trial.device];
    let observed = match outputs(trial.case, trial.direction, device, DType::F32) {
        Ok(observed) => observed,
        Err(error) => return Ok(Some(error.to_string())),
    };
    for tensor in &observed {
        match tensor.guard_intact() {
            Ok(true) => {}
            Ok(false) => return Ok(Some("written behind the end".into())),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
    Ok(compare_all(&observed, &trial.expected, trial.case.exact)?.rejected)
}

fn examine(
    shader: &str,
    subject: &Subject,
    trials: &[Trial],
    devices: &[Device],
    gpus: &[&Gpu],
) -> Result<MutationRow> {
    let start = std::time::Instant::now();
    // A mutant is one change to the file; every specialisation that has the place gets it.
    let mut changes: BTreeMap<String, HashMap<String, Mutant>> = BTreeMap::new();
    for ((_, key), text) in &subject.texts {
        let (module, _) = gpu::parse(shader, text)?;
        for mutant in mutants(&module, text) {
            changes.entry(mutant.key().to_string()).or_default().insert(key.clone(), mutant);
        }
    }
    let mut order: Vec<&Trial> = subject.trials.iter().map(|&t| &trials[t]).collect();
    order.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let reasons: HashMap<&str, &str> = EQUIVALENT
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(name, _)| *name == shader)
        .filter_map(|(_, rest)| rest.split_once('\t'))
        .collect();
    let mut row = MutationRow {
        shader: shader.into(),
        mutants: changes.len(),
        killed: 0,
        explained: vec![],
        unexplained: vec![],
        seconds: 0.0,
    };
    // What killed the last mutant is likely to kill the next.
    let mut favourite = 0;
    for (key, places) in changes {
        let places = Arc::new(places);
        let rewrite: gpu::Rewrite =
            Arc::new(move |source: &Source, module| match places.get(&source.key()) {
                Some(mutant) => apply(&module, mutant, FUEL),
                None => fuelled(&module, FUEL),
            });
        for gpu in gpus {
            gpu.set_rewrite(shader, Some(rewrite.clone()));
        }
        let mut killer = None;
        for index in std::iter::once(favourite).chain((0..order.len()).filter(|&i| i != favourite)) {
            if rejects(order[index], devices)?.is_some() {
                killer = Some(index);
                break;
            }
        }
        match (killer, reasons.get(key.as_str())) {
            (Some(index), _) => {
                favourite = index;
                row.killed += 1;
            }
            (None, Some(reason)) => row.explained.push((key, (*reason).into())),
            (None, None) => row.unexplained.push(key),
        }
    }
    let control: gpu::Rewrite = Arc::new(|_, module| fuelled(&module, FUEL));
    for gpu in gpus {
        gpu.set_rewrite(shader, Some(control.clone()));
    }
    row.seconds = start.elapsed().as_secs_f64();
    Ok(row)
}
