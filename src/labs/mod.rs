//! The labs: theorems turned into measured numbers.
//!
//! A lab is a list of [claims](claim::Claim), computed by the engine through its public API on any device,
//! from a seed, with what a person would rather see than read drawn beside them.

mod approximation;
mod attention;
mod backprop;
mod batchnorm;
pub mod claim;
mod convolution;
mod dropout;
mod host;
mod lab;
mod language;
mod links;
mod ntk;
mod recurrent;
pub mod report;
mod residual;
mod training;

use crate::device::Device;
use crate::error::{Error, Result};
use lab::{Entry, Lab};
use report::Report;
use std::path::PathBuf;

/// The language of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// 简体中文.
    Chinese,
}

impl Language {
    /// The words in this language.
    pub fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }

    /// The tag of RFC 5646.
    pub fn tag(self) -> &'static str {
        self.pick("en", "zh-Hans")
    }
}

/// How a lab is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What all random numbers are made from.
    pub seed: u64,
    /// Longer runs with higher targets.
    pub full: bool,
    /// A folder with the full Fashion-MNIST files, instead of the subset that comes with gradus.
    pub data: Option<PathBuf>,
    /// The language of the report.
    pub language: Language,
    /// Runs only the step that measures this claim, `C8.3`.
    pub only: Option<String>,
    /// Leaves out a piece of the mathematics, so that the claim that needs it is seen to fail: `skip` takes
    /// the residual connections out. An unknown name gives an error that lists those there are.
    pub without: Option<String>,
}

/// Told what is being measured, how much of all work is done, and of how much.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Sync);

/// The chapters there are, in reading order, a line each.
#[rustfmt::skip]
const CHAPTERS: &[&Entry] = &[
    &approximation::CHAPTER,
    &ntk::CHAPTER,
    &backprop::CHAPTER,
    &residual::CHAPTER,
    &batchnorm::CHAPTER,
    &attention::CHAPTER,
    &dropout::CHAPTER,
    &convolution::CHAPTER,
    &recurrent::CHAPTER,
    &links::CHAPTER,
];

/// The names of the chapters, in reading order.
pub fn chapters() -> impl Iterator<Item = &'static str> {
    CHAPTERS.iter().map(|entry| entry.name)
}

/// What can be run alone: each chapter with the ids of its steps, in reading order.
pub fn steps() -> impl Iterator<Item = (&'static str, &'static str)> {
    CHAPTERS.iter().flat_map(|entry| entry.steps.iter().map(|step| (entry.name, step.id)))
}

/// What each chapter can do [without](Options::without): chapter, piece, and the claim that then fails.
pub fn ingredients() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    CHAPTERS.iter().flat_map(|entry| entry.ingredients.iter().map(|i| (entry.name, i.name, i.claim)))
}

/// Runs a chapter, or `all`, on a device.
///
/// Errors: [`Error::Argument`] for a chapter, a step or an ingredient that does not exist, and whatever the
/// device or the data give.
pub fn run(chapter: &str, device: &Device, options: &Options, progress: Progress) -> Result<Report> {
    let chosen: Vec<&Entry> =
        CHAPTERS.iter().copied().filter(|entry| chapter == "all" || chapter == entry.name).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = chapters().collect();
        return Err(Error::argument(
            "lab",
            format!("no chapter is called '{chapter}'"),
            format!("Chapters: all, {}.", names.join(", ")),
        ));
    }
    let lab = Lab::new(device, options, progress);
    if options.data.is_some() {
        // Said now, and not when the first chapter that needs it has its turn.
        lab.fashion()?;
    }
    let mut report = Report::new("Gradus ad Parnassum", device.to_string(), options.seed)
        .language(options.language)
        .lede(lab.say(
            "The mathematics of deep learning, measured: each theorem beside the number it predicts and the \
             number that this device computed.",
            "用数值检验深度学习的数学：每条定理旁边，既有它预言的数，也有这台设备算出的数。",
        ))
        .fact(
            lab.say("Mode", "模式"),
            options.language.pick(["quick", "full"], ["快速", "完整"])[usize::from(options.full)],
        );
    if let Some(without) = &options.without {
        report = report.fact(lab.say("Without", "去掉"), without);
    }
    for chapter in lab.run(&chosen)? {
        report = report.chapter(chapter);
    }
    Ok(report)
}
