//! `gradus lab`.

use crate::Cli;
use gradus::labs::{self, Language, Options};
use gradus::{Device, Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// The chapter to run, or all.
    #[arg(default_value = "all")]
    chapter: String,
    /// Longer runs with higher targets.
    #[arg(long)]
    full: bool,
    /// What all random numbers are made from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the report goes.
    #[arg(long, default_value = "gradus-report")]
    out: PathBuf,
    /// The language of the report.
    #[arg(long, value_enum, default_value_t = Lang::En)]
    lang: Lang,
    /// List the chapters, the steps and the pieces that `--without` takes out, and run nothing.
    #[arg(long)]
    list: bool,
    /// Run only the step that measures this claim, C8.3 for instance.
    #[arg(long, value_name = "ID")]
    only: Option<String>,
    /// Leave a piece of the mathematics out, and see the claim that needs it fail.
    #[arg(long, value_name = "PIECE")]
    without: Option<String>,
    /// Print where the time went.
    #[arg(long)]
    times: bool,
    /// A folder with the full Fashion-MNIST files, to be used instead of the subset.
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Lang {
    /// English
    En,
    /// 简体中文
    Zh,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::En => Language::English,
            Lang::Zh => Language::Chinese,
        }
    }
}

pub fn run(cli: &Cli, args: &Args) -> Result<bool> {
    if args.list {
        list();
        return Ok(true);
    }
    // Asked now and not after minutes of work: can the report be written?
    std::fs::create_dir_all(&args.out).map_err(|source| unwritable(&args.out, source))?;
    let probe = args.out.join(".gradus-probe");
    std::fs::write(&probe, b"").map_err(|source| unwritable(&args.out, source))?;
    let _ = std::fs::remove_file(probe);

    let device = Device::select(&cli.device)?;
    eprintln!("device: {device}");
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:8} {bar:40} {percent:>3} % {elapsed} + {eta}") {
        bar.set_style(style);
    }
    let progress = |stage: &str, done: u64, of: u64| {
        bar.set_message(stage.to_string());
        bar.set_length(of);
        bar.set_position(done);
    };
    let options = Options {
        seed: args.seed,
        full: args.full,
        data: args.data.clone(),
        language: args.lang.into(),
        only: args.only.clone(),
        without: args.without.clone(),
    };
    let begun = Instant::now();
    if let Some(gpu) = device.as_gpu().filter(|_| args.times) {
        gpu.start_clock(false);
    }
    let report = labs::run(&args.chapter, &device, &options, &progress)?;
    bar.finish_and_clear();
    let run = begun.elapsed().as_secs_f64();
    report.write(&args.out).map_err(|source| unwritable(&args.out, source))?;
    if args.times {
        times(&device, run, begun.elapsed().as_secs_f64())?;
    }
    if cli.json {
        let json = report.claims_json().map_err(|source| unwritable(&args.out, source))?;
        println!("{json}");
    } else {
        for claim in report.claims() {
            println!("{claim}");
        }
        println!("\nreport: {}", args.out.join("report.html").display());
    }
    Ok(report.holds())
}

/// Prints where the time went: `run` seconds without drawing the report, `all` with it.
fn times(device: &Device, run: f64, all: f64) -> Result<()> {
    let row = |what: &str, seconds: f64| {
        eprintln!("{what:34} {seconds:8.2} s {:5.1} %", 100.0 * seconds / all);
    };
    row("in all", all);
    if let Some(gpu) = device.as_gpu() {
        let waited = gpu.waited();
        if let Some(kernels) = gpu.stop_clock()? {
            row("kernels", kernels);
        }
        row("the host, waiting for the device", waited);
        row("the host, not waiting", run - waited);
    }
    row("drawing", all - run);
    Ok(())
}

fn list() {
    for chapter in labs::chapters() {
        let steps: Vec<&str> = labs::steps().filter(|s| s.0 == chapter).map(|s| s.1).collect();
        println!("{chapter:14} {}", steps.join(" "));
        for (_, piece, claim) in labs::ingredients().filter(|i| i.0 == chapter) {
            println!("{:14} --without {piece:12} and {claim} fails", "");
        }
    }
}

fn unwritable(path: &std::path::Path, source: std::io::Error) -> Error {
    Error::Io {
        op: "lab",
        path: path.into(),
        source,
        remedy: "Choose a folder that can be written with --out.".into(),
    }
}
