//! `gradus lab`.

use crate::Cli;
use gradus::labs::{self, Options};
use gradus::{Device, Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

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
    /// A folder with the full Fashion-MNIST files, to be used instead of the subset.
    #[arg(long)]
    data: Option<PathBuf>,
}

pub fn run(cli: &Cli, args: &Args) -> Result<bool> {
    // Asked now and not after minutes of work: can the report be written?
    std::fs::create_dir_all(&args.out).map_err(|source| unwritable(&args.out, source))?;
    let probe = args.out.join(".gradus-probe");
    std::fs::write(&probe, b"").map_err(|source| unwritable(&args.out, source))?;
    let _ = std::fs::remove_file(probe);

    let device = Device::select(&cli.device)?;
    eprintln!("device: {device}");
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:28} {bar:36} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let progress = |stage: &str, done: u64, of: u64| {
        bar.set_message(stage.to_string());
        bar.set_length(of);
        bar.set_position(done);
    };
    let options = Options { seed: args.seed, full: args.full, data: args.data.clone() };
    let report = labs::run(&args.chapter, &device, &options, &progress)?;
    bar.finish_and_clear();
    report.write(&args.out).map_err(|source| unwritable(&args.out, source))?;
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

fn unwritable(path: &std::path::Path, source: std::io::Error) -> Error {
    Error::Io {
        op: "lab",
        path: path.into(),
        source,
        remedy: "Choose a folder that can be written with --out.".into(),
    }
}
