//! Would the cases notice if a shader were wrong? Every shader is changed in every small way that
//! [`mutate`](super::mutate) knows, one at a time, and the cases that launch it are run against the change.
//!
//! 1. Survey: every case runs once in every direction, with both families of kernels, that for software also
//!    without the features a portable device lacks. That tells which
//!    kernels it launches, that it passes with its loops bounded (a case that needs more turns is left out),
//!    and how long it takes.
//! 2. A shader file's mutants are those of all its specialisations together; a mutant changes each that has
//!    the place. Generated kernels have no file: a few cases stand for them ([`GENERATED`]).
//! 3. A mutant is tried on the cases that launch a specialisation it changes, the quick ones first, until one
//!    rejects it: by a wrong result, by poison that was read or written, or because an invocation spent its
//!    loop turns, in which case it stores nothing and leaves poison. A mutant that is known to be equivalent
//!    is given up after [`PATIENCE`].
//! 4. A survivor is a gap in the cases, unless a line of `equivalent.tsv` says why no case can tell it from
//!    the original. A line there that names no mutant of its shader is out of date, and reported as well.

use super::Room;
use super::case::Case;
use super::mutate::{Mutant, apply, fuelled, mutants};
use super::run::{Direction, WRITTEN_BEHIND, compare_all, guarded_outputs, outputs, reference};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{self, Gpu, GpuOptions, Kernels};
use crate::tensor::Tensor;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Loop turns an invocation may take in all: far more than any case needs, so that a mutant ends.
const FUEL: u32 = 8192;

/// Seconds of trials for a mutant that is known to be equivalent.
const PATIENCE: f64 = 2.0;

/// The cases whose generated kernels are examined, in forward direction.
const GENERATED: [&str; 7] = [
    "concat/views",
    "erf/edges",
    "map/floats to integers",
    "map/integers to floats",
    "map/views",
    "pad/more than five workgroups",
    "tanh/edges",
];

/// Why some mutants compute what the original computes: shader, key and reason, separated by tabs.
const EQUIVALENT: &str = include_str!("equivalent.tsv");

/// What became of the mutants of one shader.
#[derive(Clone, Debug, Serialize)]
pub struct MutationRow {
    /// The shader's path under `shaders/`, or the case whose generated kernel it is.
    pub shader: String,
    /// How many mutants there are.
    pub mutants: usize,
    /// How many some case rejected.
    pub killed: usize,
    /// Survivors with a reason why they are equivalent: key and reason.
    pub explained: Vec<(String, String)>,
    /// Survivors without one: a gap in the cases.
    pub unexplained: Vec<String>,
    /// Keys of reasons for mutants that do not exist.
    pub stale: Vec<String>,
    /// Seconds.
    pub seconds: f64,
}

/// A case in one direction, with what it should give.
struct Trial<'a> {
    case: &'a Case,
    direction: Direction,
    expected: Vec<Tensor>,
    device: usize,
    /// The kernels it launches.
    kernels: HashSet<String>,
    seconds: f64,
}

/// A shader as the trials launch it: the texts of its specialisations by key, and the trials.
#[derive(Default)]
struct Subject {
    texts: BTreeMap<String, String>,
    trials: Vec<usize>,
}

/// Mutates every shader that the rooms' cases launch and whose name contains `filter`, or one of several
/// separated by commas; of each shader, the mutants that are `chosen`, by the shader's name and their key.
///
/// Errors: [`Error::Device`] on the CPU, [`Error::Validation`] if a case fails before anything is changed.
pub fn mutate_shaders(
    request: &str,
    rooms: &[Room],
    filter: &str,
    chosen: impl Fn(&str, &str) -> bool,
    mut report: impl FnMut(&MutationRow),
) -> Result<Vec<MutationRow>> {
    let open = |kernels, portable| {
        let options = GpuOptions { guard: true, kernels: Some(kernels), portable, ..GpuOptions::default() };
        Device::select_with(request, options)
    };
    let devices =
        [open(Kernels::Software, false)?, open(Kernels::Software, true)?, open(Kernels::Hardware, false)?];
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
        let row = examine(&shader, &subject, &trials, &devices, &gpus, &chosen)?;
        report(&row);
        rows.push(row);
    }
    // Reasons for shaders that do not exist, which no row has.
    for (shader, key, _) in reasons().filter(|(shader, ..)| matches(shader, filter)) {
        if !rows.iter().any(|row| row.shader == shader) {
            rows.push(MutationRow { stale: vec![key.into()], ..MutationRow::new(shader) });
            rows.last().into_iter().for_each(&mut report);
        }
    }
    Ok(rows)
}

impl MutationRow {
    fn new(shader: &str) -> Self {
        MutationRow {
            shader: shader.into(),
            mutants: 0,
            killed: 0,
            explained: vec![],
            unexplained: vec![],
            stale: vec![],
            seconds: 0.0,
        }
    }
}

/// Shader, key and reason of each explained mutant.
fn reasons() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    EQUIVALENT.lines().filter_map(|line| {
        let (shader, rest) = line.split_once('\t')?;
        let (key, reason) = rest.split_once('\t')?;
        Some((shader, key, reason))
    })
}

/// The change that leaves every kernel as it is, but for the bound on its loops.
fn control() -> gpu::Rewrite {
    Arc::new(|_, module| fuelled(&module, FUEL))
}

/// The names of the generated kernels that are examined, by key.
fn generated(devices: &[Device], gpus: &[&Gpu], rooms: &[Room]) -> Result<HashMap<String, String>> {
    let mut names = HashMap::new();
    for case in rooms.iter().flat_map(|room| &room.cases).filter(|case| GENERATED.contains(&case.id.as_str()))
    {
        gpus[0].take_launched();
        outputs(case, Direction::Forward, &devices[0], DType::F32)?.iter().try_for_each(Tensor::finish)?;
        let mut keys: Vec<String> =
            gpus[0].take_launched().texts.into_keys().filter(|key| !is_file(key)).collect();
        keys.sort();
        for (number, key) in (1..).zip(keys) {
            let which = if number == 1 { String::new() } else { format!(" ({number})") };
            names.entry(key).or_insert_with(|| format!("generated: {}{which}", case.id));
        }
    }
    Ok(names)
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
    for gpu in gpus {
        gpu.set_rewrite(|_| true, Some(control()));
    }
    let names = generated(devices, gpus, rooms)?;
    let subject_of = |key: &str| -> Option<String> {
        let name = if is_file(key) { shader_of(key).to_owned() } else { names.get(key)?.clone() };
        matches(&name, filter).then_some(name)
    };
    for case in rooms.iter().flat_map(|room| &room.cases).filter(|case| !case.fails) {
        for direction in Direction::ALL {
            if direction != Direction::Forward && !case.gradient {
                continue;
            }
            let mut others = HashSet::new();
            for (device, gpu) in gpus.iter().enumerate() {
                gpu.take_launched();
                // An operation that reads back what it computed fails where its loops were cut short: below
                // it is told from one that fails as it is.
                let _ = outputs(case, direction, &devices[device], DType::F32)
                    .and_then(|results| results.iter().try_for_each(Tensor::finish));
                let launched = gpu.take_launched();
                let kernels: HashSet<String> = launched.texts.keys().cloned().collect();
                // Where two devices launch the same, once is enough.
                if !others.insert(launched.digest) {
                    continue;
                }
                let wanted: Vec<(String, String, String)> = launched
                    .texts
                    .into_iter()
                    .filter_map(|(key, text)| Some((subject_of(&key)?, key, text)))
                    .collect();
                if wanted.is_empty() {
                    continue;
                }
                let expected = reference(case, direction)?;
                let mut trial = Trial { case, direction, expected, device, kernels, seconds: 0.0 };
                let start = Instant::now();
                if rejects(&trial, devices)?.is_some() {
                    // Does it fail, or only need more loop turns than a trial may take?
                    gpu.set_rewrite(|key| trial.kernels.contains(key), None);
                    let failure = rejects(&trial, devices)?;
                    gpu.set_rewrite(|key| trial.kernels.contains(key), Some(control()));
                    match failure {
                        None => continue,
                        Some(why) => {
                            return Err(Error::validation(
                                "verify --mutate",
                                format!("{} {direction:?} fails unchanged: {why}", case.id),
                                "Let `gradus verify` pass first.",
                            ));
                        }
                    }
                }
                trial.seconds = start.elapsed().as_secs_f64();
                for (name, key, text) in wanted {
                    let subject = subjects.entry(name).or_default();
                    subject.texts.insert(key, text);
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

/// Whether a name contains one of the filter's alternatives, separated by commas.
fn matches(name: &str, filter: &str) -> bool {
    filter.split(',').any(|part| name.contains(part))
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
    let observed = match guarded_outputs(trial.case, trial.direction, &devices[trial.device], DType::F32) {
        Ok((observed, true)) => observed,
        Ok((_, false)) => return Ok(Some(WRITTEN_BEHIND.into())),
        Err(error) => return Ok(Some(error.to_string())),
    };
    Ok(compare_all(&observed, &trial.expected, trial.case.exact)?.rejected)
}

fn examine(
    shader: &str,
    subject: &Subject,
    trials: &[Trial],
    devices: &[Device],
    gpus: &[&Gpu],
    chosen: impl Fn(&str, &str) -> bool,
) -> Result<MutationRow> {
    let start = Instant::now();
    // A mutant is one change to the file; every specialisation that has the place gets it.
    let mut changes: BTreeMap<String, HashMap<String, Mutant>> = BTreeMap::new();
    for (key, text) in &subject.texts {
        let (module, _) = gpu::parse(shader, text)?;
        for mutant in mutants(&module, text) {
            changes.entry(mutant.key().to_string()).or_default().insert(key.clone(), mutant);
        }
    }
    let mut order: Vec<&Trial> = subject.trials.iter().map(|&t| &trials[t]).collect();
    order.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let reasons: HashMap<&str, &str> =
        reasons().filter(|(name, ..)| *name == shader).map(|(_, key, reason)| (key, reason)).collect();
    let stale =
        reasons.keys().filter(|key| !changes.contains_key(**key)).map(|key| key.to_string()).collect();
    changes.retain(|key, _| chosen(shader, key));
    let all = changes.len();
    let mut row = MutationRow { mutants: all, stale, ..MutationRow::new(shader) };
    // What killed the last mutant is likely to kill the next.
    let mut favourite = 0;
    for (number, (key, places)) in (1..).zip(changes) {
        log::debug!("{shader}\t{key}\t{number} of {all}");
        let places = Arc::new(places);
        let changed = places.clone();
        let rewrite: gpu::Rewrite = Arc::new(move |kernel: &str, module| match changed.get(kernel) {
            Some(mutant) => apply(&module, mutant, FUEL),
            None => fuelled(&module, FUEL),
        });
        for gpu in gpus {
            gpu.set_rewrite(|key| subject.texts.contains_key(key), Some(rewrite.clone()));
        }
        let reason = reasons.get(key.as_str());
        let (mut killer, begun) = (None, Instant::now());
        for index in std::iter::once(favourite).chain((0..order.len()).filter(|&i| i != favourite)) {
            let trial = order[index];
            if reason.is_some() && begun.elapsed().as_secs_f64() > PATIENCE {
                break;
            }
            if trial.kernels.iter().any(|key| places.contains_key(key)) && rejects(trial, devices)?.is_some()
            {
                killer = Some(index);
                break;
            }
        }
        match (killer, reason) {
            (Some(index), _) => {
                // But a slow case is not worth trying first.
                if order[index].seconds < 0.1 {
                    favourite = index;
                }
                row.killed += 1;
            }
            (None, Some(reason)) => row.explained.push((key, (*reason).into())),
            (None, None) => {
                log::info!("{shader}\t{key}\tsurvived, {number} of {all}");
                row.unexplained.push(key);
            }
        }
    }
    for gpu in gpus {
        gpu.set_rewrite(|key| subject.texts.contains_key(key), Some(control()));
    }
    row.seconds = start.elapsed().as_secs_f64();
    Ok(row)
}
