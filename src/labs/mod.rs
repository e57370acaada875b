//! The labs: theorems turned into measured numbers.
//!
//! A lab is a list of [claims](claim::Claim), computed by the engine through its public API on any device,
//! from a seed, with what a person would rather see than read drawn beside them.

pub mod claim;
mod convolution;
mod host;
pub mod report;

use crate::device::Device;
use crate::error::{Error, Result};
use report::{Chapter, Report};
use std::path::PathBuf;

/// How a lab is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What all random numbers are made from.
    pub seed: u64,
    /// Longer runs with higher targets.
    pub full: bool,
    /// A folder with the full Fashion-MNIST files, instead of the subset that comes with gradus.
    pub data: Option<PathBuf>,
}

/// Told what is being done, how much of it is done, and of how much.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Sync);

type Run = fn(&Device, &Options, Progress) -> Result<Chapter>;

/// The chapters there are, by name.
const CHAPTERS: [(&str, Run); 1] = [("convolution", convolution::run)];

/// Runs a chapter, or `all`, on a device.
///
/// Errors: [`Error::Argument`] for a chapter that does not exist, and whatever the device or the data give.
pub fn run(chapter: &str, device: &Device, options: &Options, progress: Progress) -> Result<Report> {
    let chosen: Vec<_> = CHAPTERS.iter().filter(|(name, _)| chapter == "all" || chapter == *name).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = CHAPTERS.iter().map(|(name, _)| *name).collect();
        return Err(Error::argument(
            "lab",
            format!("no chapter is called '{chapter}'"),
            format!("Chapters: all, {}.", names.join(", ")),
        ));
    }
    let mode = if options.full { "full" } else { "quick" };
    let mut report = Report::new("Gradus ad Parnassum", device.to_string(), options.seed)
        .lede(
            "The mathematics of deep learning, measured: each theorem beside the number it predicts and the \
               number that this device computed.",
        )
        .fact("Mode", mode);
    for (_, run) in chosen {
        report = report.chapter(run(device, options, progress)?);
    }
    Ok(report)
}
