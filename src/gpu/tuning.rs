//! Variants of kernels chosen by measurement, and the file that keeps them.
//!
//! Without that file, which `gradus tune` writes and nothing else, kernels are those of the table in
//! `src/choice.rs`. With it results may differ in their last bits from those of the table's kernels: sums are added
//! in another order. They remain those of one device, one seed and one file.

use super::{AdapterSummary, Gpu};
use crate::choice::{Candidates, Variant};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A variant that was found to be the fastest for a shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The operation and the numbers that its variants are chosen by.
    pub shape: String,
    /// The variants that the device can launch, the table's first, and the seconds of the work with each.
    pub trials: Vec<(String, f64)>,
    /// The variant that was chosen.
    pub chosen: String,
}

/// A file of choices. It is that of a device only if all but the choices is equal.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    adapter: String,
    backend: String,
    driver: String,
    /// Of gradus: another version may have other variants.
    version: String,
    choices: BTreeMap<String, String>,
}

impl Kept {
    fn new(adapter: &AdapterSummary, choices: BTreeMap<String, String>) -> Self {
        let AdapterSummary { name, backend, driver, .. } = adapter.clone();
        Kept { adapter: name, backend, driver, version: env!("CARGO_PKG_VERSION").into(), choices }
    }

    /// The choices in a text, if it is of this adapter; else what is wrong with it.
    fn read(text: &str, adapter: &AdapterSummary) -> std::result::Result<BTreeMap<String, String>, String> {
        let mut found: Kept = serde_json::from_str(text).map_err(|error| format!("is damaged ({error})"))?;
        let choices = std::mem::take(&mut found.choices);
        if found == Kept::new(adapter, BTreeMap::new()) {
            return Ok(choices);
        }
        let Kept { adapter, backend, driver, version, .. } = found;
        Err(format!("is of {adapter} [{backend}] with driver {driver} and of gradus {version}"))
    }
}

/// Where choices are kept: `GRADUS_CACHE`, or `gradus` in the folder that the platform has for what can be made
/// again. `None` where the environment names no such folder.
pub fn cache_folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let platform = || {
        if cfg!(target_os = "windows") {
            named("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            named("HOME").map(|home| home.join("Library/Caches"))
        } else {
            named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")))
        }
    };
    named("GRADUS_CACHE").or_else(|| platform().map(|folder| folder.join("gradus")))
}

/// The file of an adapter and its driver.
fn file(folder: &Path, adapter: &AdapterSummary) -> PathBuf {
    let all = format!("{} {} {}", adapter.name, adapter.backend, adapter.driver);
    let plain: String = all.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    folder.join(format!("tuned-{plain}.json"))
}

/// What a device knows of choices.
#[derive(Default)]
pub(super) struct Tuning {
    /// Whether there is anything to look up: without, choosing costs no lock.
    active: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chosen: BTreeMap<String, String>,
    /// What there was to choose from, while somebody keeps a record.
    offered: Option<BTreeMap<String, Vec<String>>>,
}

impl Tuning {
    /// What is kept of an adapter. A file that is not its own, or damaged, is ignored with a warning.
    pub fn of(adapter: &AdapterSummary) -> Self {
        let tuning = Tuning::default();
        let Some(path) = cache_folder().map(|folder| file(&folder, adapter)) else { return tuning };
        let Ok(bytes) = std::fs::read(&path) else { return tuning };
        match Kept::read(&String::from_utf8_lossy(&bytes), adapter) {
            Ok(chosen) => {
                log::info!("kernels for {} shapes are those of {}", chosen.len(), path.display());
                tuning.set(|state| state.chosen = chosen);
            }
            Err(why) => log::warn!(
                "{} {why}: ignored, kernels are those of the table. Run `gradus tune` to make it anew.",
                path.display()
            ),
        }
        tuning
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        self.active.store(state.offered.is_some() || !state.chosen.is_empty(), Relaxed);
        changed
    }
}

impl Gpu {
    /// The variant to launch of these, for an operation on something of these sizes.
    pub(crate) fn choose<V: Variant>(&self, op: &str, sizes: &[usize], candidates: Candidates<V>) -> V {
        let Candidates { best, others } = candidates;
        let tuning = &self.0.tuning;
        if others.is_empty() || !tuning.active.load(Relaxed) {
            return best;
        }
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let key = format!("{op} {}", sizes.join(" "));
        let mut state = tuning.state();
        if let Some(offered) = &mut state.offered {
            let names = [best].iter().chain(&others).map(V::to_string).collect();
            offered.insert(key.clone(), names);
        }
        // A name that is not offered is of no use, and no harm.
        let chosen = state.chosen.get(&key);
        others.into_iter().find(|one| chosen == Some(&one.to_string())).unwrap_or(best)
    }

    /// Measures every variant that the device can launch for the shapes that some work meets, and uses the fastest
    /// from now on. `work` does it once, from nothing recorded to nothing left to wait for, and says how many
    /// seconds it took; `report` hears of each shape. The table's variant is only left for one that is faster by
    /// a twentieth.
    ///
    /// Errors: those of `work`.
    pub fn tune(
        &self,
        mut work: impl FnMut() -> Result<f64>,
        mut report: impl FnMut(&Choice),
    ) -> Result<Vec<Choice>> {
        let tuning = &self.0.tuning;
        tuning.set(|state| state.offered = Some(BTreeMap::new()));
        let done = work();
        let offered = tuning.set(|state| state.offered.take()).unwrap_or_default();
        done?;
        let mut choices = Vec::new();
        for (shape, names) in offered {
            let mut trials = Vec::new();
            let found = names.iter().try_for_each(|name| {
                tuning.set(|state| state.chosen.insert(shape.clone(), name.clone()));
                // The first compiles.
                work()?;
                let times: Result<Vec<f64>> = (0..TRIALS).map(|_| work()).collect();
                trials.push((name.clone(), times?.into_iter().fold(f64::INFINITY, f64::min)));
                Ok(())
            });
            let (table, seconds) = trials.first().cloned().unwrap_or_default();
            let fastest =
                trials.iter().min_by(|a, b| a.1.total_cmp(&b.1)).filter(|one| one.1 < 0.95 * seconds);
            let chosen = fastest.map_or(table, |one| one.0.clone());
            // What the table says anyway is not kept: the table may learn.
            tuning.set(|state| match names.first() == Some(&chosen) {
                true => state.chosen.remove(&shape),
                false => state.chosen.insert(shape.clone(), chosen.clone()),
            });
            found?;
            let choice = Choice { shape, trials, chosen };
            report(&choice);
            choices.push(choice);
        }
        Ok(choices)
    }

    /// Writes all choices to the [cache](cache_folder), where devices on this adapter with this driver will find
    /// them, and says where.
    ///
    /// Errors: [`Error::Io`]; [`Error::Argument`] if there is no such folder.
    pub fn keep_choices(&self) -> Result<PathBuf> {
        let folder = cache_folder()
            .ok_or_else(|| Error::argument("tune", "no cache folder", "Name one in GRADUS_CACHE."))?;
        let path = file(&folder, &self.0.summary);
        let failed = |source: std::io::Error| Error::Io {
            op: "tune",
            path: path.clone(),
            source,
            remedy: "Name a folder that can be written to in GRADUS_CACHE.".into(),
        };
        let kept = Kept::new(&self.0.summary, self.0.tuning.state().chosen.clone());
        let text = serde_json::to_string_pretty(&kept).map_err(|error| failed(error.into()))?;
        std::fs::create_dir_all(&folder).map_err(failed)?;
        // Whole or not at all: somebody may be reading.
        let draft = path.with_extension(format!("{}", std::process::id()));
        std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &path)).map_err(failed)?;
        Ok(path)
    }
}

/// How often work is timed with each variant. The least counts.
const TRIALS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(driver: &str) -> AdapterSummary {
        AdapterSummary {
            name: "Some GPU (TM)".into(),
            backend: "vulkan".into(),
            kind: "discrete".into(),
            driver: driver.into(),
            subgroup: [32, 32],
            f16: false,
            timestamps: false,
            max_binding_bytes: 1 << 27,
            workgroup_bytes: 1 << 14,
            workgroup_invocations: 256,
        }
    }

    #[test]
    fn what_is_kept_is_read_again_by_the_same_adapter_and_driver_alone() {
        let choices = BTreeMap::from([("matmul 1 64 64 64".to_owned(), "naive".to_owned())]);
        let text = serde_json::to_string(&Kept::new(&adapter("one 1.2"), choices.clone())).unwrap();
        assert_eq!(Kept::read(&text, &adapter("one 1.2")), Ok(choices));
        let foreign = Kept::read(&text, &adapter("one 1.3")).unwrap_err();
        assert!(foreign.contains("driver one 1.2"), "{foreign}");
        let older = text.replace(env!("CARGO_PKG_VERSION"), "0.0.0");
        assert!(Kept::read(&older, &adapter("one 1.2")).unwrap_err().contains("gradus 0.0.0"));
        for damaged in ["", "null", "[]", "{}", &text[..text.len() / 2], &text.replace("\"naive\"", "7")] {
            assert!(Kept::read(damaged, &adapter("one 1.2")).unwrap_err().contains("damaged"), "{damaged}");
        }
    }

    #[test]
    fn every_adapter_and_driver_has_a_file_of_its_own_whose_name_any_system_takes() {
        let folder = Path::new("cache");
        let (one, two) = (file(folder, &adapter("1: a/b")), file(folder, &adapter("2")));
        assert_ne!(one, two);
        assert_eq!(one, folder.join("tuned-Some-GPU--TM--vulkan-1--a-b.json"));
    }
}
