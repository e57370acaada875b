//! A run in a file.

use super::archive::{self, Archive};
use crate::error::{Error, Result};
use crate::nn::{Parameter, Params, RESERVED};
use crate::optim::{Optimizer, State};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Where a run is, to be saved with its parameters and optimiser.
///
/// The file is safetensors: parameters and buffers under their paths, the optimiser's averages under
/// `optim.<path>.<name>`, the rest in the metadata. It replaces an older one in one move, so a run that is
/// killed while saving leaves the older one whole.
///
/// ```
/// use gradus::io::Checkpoint;
/// use gradus::nn::{Init, Params};
/// use gradus::optim::{Adam, Optimizer};
/// # fn main() -> gradus::Result<()> {
/// # let path = std::env::temp_dir().join(format!("gradus-doc-{}.safetensors", std::process::id()));
/// let model = || -> gradus::Result<_> {
///     let params = Params::new(&gradus::Device::cpu(), 7);
///     params.parameter("x", [2], Init::Ones)?;
///     let adam = Adam::new(&params, 0.1)?;
///     Ok((params, adam))
/// };
/// let (params, mut adam) = model()?;
/// adam.step(&params.get("x")?.get().square()?.sum(&[], false)?.backward()?)?;
/// Checkpoint { epoch: 0, step: 1, seed: 7, ..Default::default() }.save(&path, &params, Some(&adam))?;
///
/// let (resumed, mut adam) = model()?;
/// let run = Checkpoint::load(&path, &resumed, Some(&mut adam))?;
/// assert_eq!((run.step, run.seed), (1, 7));
/// assert_eq!(resumed.get("x")?.get().to_f64()?, params.get("x")?.get().to_f64()?);
/// # std::fs::remove_file(path).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Epochs completed.
    pub epoch: u64,
    /// Steps taken.
    pub step: u64,
    /// The seed of the run, from which its batches and random numbers follow.
    pub seed: u64,
    /// Whatever else the run wants to find again.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}

/// What a file says beside its tensors.
#[derive(Serialize, Deserialize)]
struct About {
    version: u32,
    #[serde(default)]
    run: Option<Checkpoint>,
    #[serde(default)]
    optimizer: Option<OptimizerAbout>,
}

#[derive(Serialize, Deserialize)]
struct OptimizerAbout {
    kind: String,
    /// As text, because not every JSON reader gives back the bits of a number.
    lr: String,
    steps: BTreeMap<String, u64>,
}

/// The version of what [`About`] says.
const VERSION: u32 = 1;

impl Checkpoint {
    /// Saves the run.
    ///
    /// Errors: [`Error::Io`]; [`Error::DType`] for parameters that files do not hold; what the device
    /// reports. An older file is then still there.
    pub fn save(
        &self,
        path: impl AsRef<Path>,
        params: &Params,
        optimizer: Option<&dyn Optimizer>,
    ) -> Result<()> {
        let mut tensors = values(params);
        let state = optimizer.map(Optimizer::state);
        for (name, tensor) in state.iter().flat_map(|s| &s.tensors) {
            tensors.insert(format!("{RESERVED}.{name}"), tensor.clone());
        }
        let optimizer = state.map(|s| OptimizerAbout { kind: s.kind, lr: s.lr.to_string(), steps: s.steps });
        let about = About { version: VERSION, run: Some(self.clone()), optimizer };
        archive::write("checkpoint", path.as_ref(), &tensors, text(&about)?)
    }

    /// Continues a run: fills the parameters and the optimiser, and says where it was. The optimiser's
    /// learning rate comes back too; its other options are the caller's.
    ///
    /// Without an optimiser, the state of one in the file is ignored. Nothing changes unless all of the
    /// file fits.
    ///
    /// Errors: [`Error::Io`]; [`Error::Format`] for a file that is cut off or corrupt, lacks a tensor, has
    /// one too many or one of another shape or type, or comes from another kind of optimiser; what the
    /// device reports.
    pub fn load(
        path: impl AsRef<Path>,
        params: &Params,
        optimizer: Option<&mut (dyn Optimizer + '_)>,
    ) -> Result<Checkpoint> {
        let file = archive::read("checkpoint", path.as_ref())?;
        let about = about(&file)?;
        let Some(run) = about.run else {
            return Err(file.wrong("a model without a run", "Load it with Params::load."));
        };
        let fresh = fitting(&file, params)?;
        if let Some(optimizer) = optimizer {
            let state = state(&file, about.optimizer, params)?;
            optimizer.restore(&state).map_err(|error| match error {
                Error::Format { given, remedy, .. } => file.wrong(given, &remedy),
                other => other,
            })?;
        }
        fill(&fresh)?;
        Ok(run)
    }
}

impl Params {
    /// Saves the parameters and buffers that this handle sees, as safetensors under their paths.
    ///
    /// Errors: [`Error::Io`]; [`Error::DType`] for types that files do not hold; what the device reports.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let about = About { version: VERSION, run: None, optimizer: None };
        archive::write("params", path.as_ref(), &values(self), text(&about)?)
    }

    /// Fills the parameters and buffers that this handle sees from a file of [`save`](Self::save), of
    /// [`Checkpoint::save`], or of any program that writes safetensors under the same names. What lies
    /// outside the handle's path is ignored. Nothing changes unless all of them fit.
    ///
    /// Errors: as for [`Checkpoint::load`].
    pub fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        let file = archive::read("params", path.as_ref())?;
        fill(&fitting(&file, self)?)
    }
}

fn values(params: &Params) -> BTreeMap<String, Tensor> {
    params.all().iter().map(|p| (p.path().to_string(), p.get())).collect()
}

fn text(about: &About) -> Result<String> {
    serde_json::to_string(about)
        .map_err(|e| Error::format("checkpoint", e.to_string(), "Report this as a defect."))
}

fn about(file: &Archive) -> Result<About> {
    let Some(text) = &file.about else {
        return Err(file.wrong("no run of gradus in the metadata", "Load a model with Params::load."));
    };
    let about: About = serde_json::from_str(text).map_err(|e| {
        file.wrong(format!("its metadata: {e}"), "The file was changed, or is of a newer gradus.")
    })?;
    if about.version == VERSION {
        return Ok(about);
    }
    Err(file.wrong(
        format!("version {} of the metadata, this gradus reads {VERSION}", about.version),
        "Use the gradus that wrote it.",
    ))
}

/// The new values of all parameters, on their device: everything that can fail, before anything changes.
fn fitting(file: &Archive, params: &Params) -> Result<Vec<(Parameter, Tensor)>> {
    let all = params.all();
    let known = |name: &str| all.iter().any(|p| p.path() == name);
    let state = |name: &str| name.split('.').next() == Some(RESERVED);
    if let Some(extra) = file.names().find(|name| params.covers(name) && !state(name) && !known(name)) {
        return Err(file.wrong(
            format!("tensor `{extra}` is not in the model"),
            "The file belongs to another model, or to another version of this one.",
        ));
    }
    // All shapes before the first upload: a wrong file is found at once.
    all.iter().try_for_each(|p| file.matches(p.path(), &p.get()))?;
    all.into_iter().map(|p| file.tensor(p.path(), params.device()).map(|value| (p, value))).collect()
}

fn fill(fresh: &[(Parameter, Tensor)]) -> Result<()> {
    fresh.iter().try_for_each(|(parameter, value)| parameter.set(value))
}

/// The optimiser's state in the file.
fn state(file: &Archive, about: Option<OptimizerAbout>, params: &Params) -> Result<State> {
    let Some(OptimizerAbout { kind, lr, steps }) = about else {
        return Err(file.wrong(
            "no state of an optimiser",
            "It was saved without one: load it without one, and start the optimiser anew.",
        ));
    };
    let lr: f64 =
        lr.parse().map_err(|_| file.wrong(format!("learning rate `{lr}`"), "The file was changed."))?;
    let mut tensors = BTreeMap::new();
    for name in file.names() {
        if let Some(own) = name.strip_prefix(RESERVED).and_then(|rest| rest.strip_prefix('.')) {
            tensors.insert(own.to_string(), file.tensor(name, params.device())?);
        }
    }
    Ok(State { kind, lr, steps, tensors })
}
