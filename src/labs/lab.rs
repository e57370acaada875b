//! What a chapter is given to run with, and how its steps are run one after the other.

use super::report::{Chapter, Cost};
use super::{Language, Options, Progress};
use crate::data::FashionMnist;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::op::counted;
use crate::ops::random::Stream;
use crate::tensor::Tensor;
use std::cell::Cell;
use std::time::Instant;

/// A chapter: its words, then the steps that measure its claims.
pub(super) struct Entry {
    /// The name on the command line.
    pub name: &'static str,
    /// Title, idea, theorems and method.
    pub words: fn(&Lab) -> Chapter,
    /// What is measured, in reading order.
    pub steps: &'static [Step],
    /// What `without` can take out, each with a claim that then fails.
    pub ingredients: &'static [Ingredient],
}

/// A part of a chapter that can be run alone.
pub(super) struct Step {
    /// The claim it measures, `C8.3` or `R8`; `C8.6.support` belongs to the step `C8.6`.
    pub id: &'static str,
    /// About how much of the chapter's time it takes, in any unit.
    pub weight: u32,
    /// Measures, and adds claims and figures.
    pub run: fn(&Lab, &mut Chapter) -> Result<()>,
}

impl Step {
    /// Whether the claim, `C8.6` or `C8.6.support`, is of this step.
    pub fn measures(&self, claim: &str) -> bool {
        claim.strip_prefix(self.id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// A piece of the mathematics that a claim needs.
pub(super) struct Ingredient {
    /// The name for `without`: `scale`, `skip`.
    pub name: &'static str,
    /// The claim that fails without it.
    pub claim: &'static str,
}

/// What a step is given: the device, the seed, what the user asked for, and a place to say how far it is.
pub(super) struct Lab<'a> {
    device: Device,
    options: &'a Options,
    progress: Progress<'a>,
    /// The step that runs: its id, and which part of all work it begins at and takes.
    at: Cell<(&'static str, f64, f64)>,
}

/// How finely progress is told.
const PARTS: f64 = 1000.0;

impl<'a> Lab<'a> {
    pub(super) fn new(device: &Device, options: &'a Options, progress: Progress<'a>) -> Self {
        Lab { device: device.clone(), options, progress, at: Cell::new(("", 0.0, 0.0)) }
    }

    /// The device to measure on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What all random numbers are made from.
    pub fn seed(&self) -> u64 {
        self.options.seed
    }

    /// Whether longer runs with higher targets are asked for.
    pub fn full(&self) -> bool {
        self.options.full
    }

    /// The words in the language of the report.
    pub fn say(&self, english: &'static str, chinese: &'static str) -> &'static str {
        self.options.language.pick(english, chinese)
    }

    /// The language of the report.
    pub fn language(&self) -> Language {
        self.options.language
    }

    /// Whether a piece of the mathematics is in place: not if the user asked to do without it.
    pub fn with(&self, ingredient: &str) -> bool {
        self.options.without.as_deref() != Some(ingredient)
    }

    /// Standard normal numbers; every use has a stream of its own, numbered from a hundred times the chapter.
    pub fn normal(&self, stream: u64, shape: impl AsRef<[usize]>) -> Result<Tensor> {
        Tensor::normal(&self.device, shape, self.stream(stream))
    }

    /// Numbers uniform on [0, 1); streams as for [`normal`](Self::normal).
    pub fn uniform(&self, stream: u64, shape: impl AsRef<[usize]>) -> Result<Tensor> {
        Tensor::uniform(&self.device, shape, self.stream(stream))
    }

    /// A stream of the run's seed.
    pub fn stream(&self, stream: u64) -> Stream {
        Stream { seed: self.options.seed, stream }
    }

    /// The clothes: the user's full set where a folder is given, else the subset.
    pub fn fashion(&self) -> Result<FashionMnist> {
        match &self.options.data {
            Some(folder) => FashionMnist::from_dir(folder),
            None => FashionMnist::bundled(),
        }
    }

    /// Tells how much of the running step is done.
    pub fn progress(&self, done: u64, of: u64) {
        let (id, start, share) = self.at.get();
        let part = start + share * (done as f64 / of.max(1) as f64).min(1.0);
        (self.progress)(id, (part * PARTS) as u64, PARTS as u64);
    }

    /// Runs the chosen steps of the chosen chapters, and adds to each chapter what it took.
    pub(super) fn run(&self, chapters: &[&Entry]) -> Result<Vec<Chapter>> {
        let chosen = |step: &&Step| self.options.only.as_deref().is_none_or(|id| step.measures(id));
        let steps: Vec<(&Entry, Vec<&Step>)> = chapters
            .iter()
            .map(|entry| (*entry, entry.steps.iter().filter(chosen).collect::<Vec<_>>()))
            .filter(|(_, steps)| !steps.is_empty())
            .collect();
        if steps.is_empty() {
            let ids: Vec<&str> = chapters.iter().flat_map(|e| e.steps).map(|step| step.id).collect();
            return Err(Error::argument(
                "lab",
                format!("nothing to run under the id '{}'", self.options.only.as_deref().unwrap_or_default()),
                format!("Steps of these chapters: {}.", ids.join(", ")),
            ));
        }
        self.check_ingredient(chapters)?;
        let all: u32 = steps.iter().flat_map(|(_, steps)| steps).map(|step| step.weight).sum();
        let mut before = 0;
        let mut done = Vec::with_capacity(steps.len());
        for (entry, steps) in steps {
            let start = Instant::now();
            let launched = || self.device.as_gpu().map_or(0, |gpu| gpu.dispatches());
            let dispatches = launched();
            let mut chapter = (entry.words)(self);
            let (ran, flop) = counted(|| -> Result<()> {
                for step in steps {
                    let share = |weight: u32| f64::from(weight) / f64::from(all.max(1));
                    self.at.set((step.id, share(before), share(step.weight)));
                    self.progress(0, 1);
                    (step.run)(self, &mut chapter)?;
                    before += step.weight;
                }
                self.device.wait()
            });
            ran?;
            chapter.cost(Cost {
                seconds: start.elapsed().as_secs_f64(),
                flop: flop as f64,
                dispatches: launched() - dispatches,
                device: self.device.to_string(),
            });
            done.push(chapter);
        }
        Ok(done)
    }

    fn check_ingredient(&self, chapters: &[&Entry]) -> Result<()> {
        let Some(without) = &self.options.without else { return Ok(()) };
        let known = || chapters.iter().flat_map(|entry| entry.ingredients);
        if known().any(|ingredient| ingredient.name == without) {
            return Ok(());
        }
        let names: Vec<String> = known().map(|i| format!("{} ({})", i.name, i.claim)).collect();
        Err(Error::argument(
            "lab",
            format!("cannot do without '{without}'"),
            format!(
                "What these chapters can do without, each with the claim that then fails: {}.",
                names.join(", ")
            ),
        ))
    }
}
