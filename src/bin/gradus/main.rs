//! The command line of gradus.

mod bench;
mod info;
mod lab;
mod tune;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A deep-learning compute engine on wgpu, and the mathematics it lets you measure.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Where to compute: auto (hardware, else software, else the CPU reference), cpu, gpu, a number in the
    /// list of `gradus info`, or part of an adapter's name.
    #[arg(long, global = true, default_value = "auto")]
    device: String,
    /// Print JSON, and nothing else, to standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the adapters, their limits and features.
    Info(info::Args),
    /// Hold every operation on this device against its proven error bound.
    Verify(verify::Args),
    /// Run chapters of the mathematics and write the illustrated report.
    Lab(lab::Args),
    /// Time workloads, as a share of what this device can do at most.
    Bench(bench::Args),
    /// Measure the variants of kernels for your shapes, and keep the fastest in your cache folder.
    Tune(tune::Args),
}

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("error"));
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Info(args) => info::run(&cli, args),
        Command::Verify(args) => verify::run(&cli, args),
        Command::Lab(args) => lab::run(&cli, args),
        Command::Bench(args) => bench::run(&cli, args),
        Command::Tune(args) => tune::run(&cli, args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gradus: {error}");
            ExitCode::FAILURE
        }
    }
}
