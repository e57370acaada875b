//! `gradus bench`: workloads against the roofline of the device.

mod figures;
mod record;
mod roofline;
mod scaling;
pub mod workloads;

use crate::Cli;
use gradus::gpu::{GpuOptions, KernelTime};
use gradus::op::counted;
use gradus::{DType, Device, Error, Result};
pub use roofline::Roofline;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use workloads::{Run, Workload};

#[derive(clap::Args)]
pub struct Args {
    /// Only workloads, or families, whose names contain this.
    #[arg(default_value = "")]
    filter: String,
    /// Time families of workloads from small to large instead: how time grows with work.
    #[arg(long, conflicts_with_all = ["save", "compare", "no_errors", "wall"])]
    scaling: bool,
    /// Seconds that a family may take; each has four sizes at least.
    #[arg(long, value_name = "SECONDS", default_value_t = 8.0, requires = "scaling")]
    within: f64,
    /// Draw what was measured, as SVG, into this folder.
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,
    /// Compile kernels without bounds tests and loop limits.
    #[arg(long)]
    unchecked: bool,
    /// Do not compare the results with those of the CPU device in f64.
    #[arg(long)]
    no_errors: bool,
    /// Print what the device spent on each kernel of the workloads too; launched one by one, which takes longer.
    #[arg(long, conflicts_with = "scaling")]
    kernels: bool,
    /// Take all times by the wall: to compare with programs that have no other clock.
    #[arg(long)]
    wall: bool,
    /// Write the rows to this file, for `--compare`.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print the ratio to the rows in this file.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

/// What was found out about one workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    name: String,
    /// Seconds of the first call, compiling included.
    first_s: f64,
    /// By `clock`.
    median_ms: f64,
    /// By the wall in any case, queue drained.
    wall_ms: f64,
    /// Half the distance between the quartiles, as a share of the median.
    spread: f64,
    gflops: f64,
    gbps: f64,
    /// The least time that arithmetic and memory allow, over the median.
    roofline_share: f64,
    dispatches: u64,
    /// The largest difference from the CPU device in f64, over the largest value, unless `--no-errors`.
    error: Option<f64>,
    /// Whether kernels had bounds tests.
    checked: bool,
    /// What the times were taken with.
    clock: String,
}

/// How often to call a workload.
struct Effort {
    /// Calls after the first that are not timed.
    warm_up: usize,
    /// At most and at least so many that are, within so long.
    most: usize,
    least: usize,
    within: Duration,
}

const OF_A_ROW: Effort = Effort { warm_up: 3, most: 7, least: 3, within: Duration::from_secs(6) };

const WALL: &str = "wall, queue drained";
const DEVICE: &str = "device timestamps";
/// What is timed by the wall on every device: the host's work is part of it.
const OF_THE_HOST: [&str; 4] = ["train/", "capture/", "optimizer/", "transfer/"];

pub fn run(cli: &Cli, args: &Args) -> Result<bool> {
    let options = GpuOptions { unchecked: args.unchecked, ..GpuOptions::default() };
    let device = Device::select_with(&cli.device, options)?;
    let before: Vec<Row> = match &args.compare {
        Some(path) => {
            let failed = |e: std::io::Error| unreadable(path, e);
            serde_json::from_slice(&std::fs::read(path).map_err(failed)?).map_err(|e| failed(e.into()))?
        }
        None => Vec::new(),
    };
    let roofline = Roofline::measure(&device)?;
    if args.scaling {
        return scaling::run(cli, args, &device, &roofline);
    }
    if !cli.json {
        head(&device, &roofline, args);
    }
    let mut rows = Vec::new();
    for workload in workloads::all().iter().filter(|w| w.name.contains(&args.filter)) {
        let row = measure(&device, workload, &roofline, args)?;
        if !cli.json {
            print(&row, &before);
            if args.kernels {
                kernels(&device, workload)?;
            }
        }
        rows.push(row);
    }
    let json = serde_json::to_string_pretty(&rows).map_err(|e| unreadable(&PathBuf::from("-"), e.into()))?;
    if cli.json {
        println!("{json}");
    }
    if let Some(path) = &args.save {
        std::fs::write(path, json).map_err(|e| unreadable(path, e))?;
    }
    if rows.is_empty() {
        return Err(nothing_called(&args.filter));
    }
    if let Some(folder) = &args.figures {
        figures::write(folder, "roofline.svg", figures::roofline(&device, &roofline, &rows))?;
    }
    Ok(true)
}

fn nothing_called(filter: &str) -> Error {
    Error::Argument {
        op: "bench",
        given: format!("no workload is called '{filter}'"),
        remedy: "Run it without a filter to see all.".into(),
    }
}

/// What the calls of a workload took, in seconds.
struct Timing {
    /// The first, compiling included.
    first: f64,
    /// In order, by the wall.
    walls: Vec<f64>,
    /// In order, of the device's own work, where it offers timestamps.
    stamps: Option<Vec<f64>>,
    /// Of one call.
    flop: f64,
    dispatches: u64,
}

/// What stands at a share, from 0 to 1, of numbers in order.
fn quantile(ordered: &[f64], share: f64) -> f64 {
    ordered[((ordered.len() - 1) as f64 * share).round() as usize]
}

fn time(device: &Device, workload: &Workload, effort: &Effort) -> Result<Timing> {
    let mut run = (workload.make)(device, DType::F32)?;
    device.wait()?;
    let launched = || device.as_gpu().map_or(0, |gpu| gpu.dispatches());
    let (first, _) = timed(device, &mut run)?;
    for _ in 1..effort.warm_up {
        timed(device, &mut run)?;
    }
    let before = launched();
    let (counted_run, flop) = counted(|| timed(device, &mut run));
    counted_run?;
    let dispatches = launched() - before;
    let (start, mut samples) = (Instant::now(), Vec::new());
    while samples.len() < effort.most && (samples.len() < effort.least || start.elapsed() < effort.within) {
        samples.push(timed(device, &mut run)?);
    }
    let mut walls: Vec<f64> = samples.iter().map(|(wall, _)| *wall).collect();
    let mut stamps: Option<Vec<f64>> = samples.iter().map(|(_, device)| *device).collect();
    walls.sort_by(f64::total_cmp);
    stamps.iter_mut().for_each(|stamps| stamps.sort_by(f64::total_cmp));
    Ok(Timing { first, walls, stamps, flop: flop as f64, dispatches })
}

fn measure(device: &Device, workload: &Workload, roofline: &Roofline, args: &Args) -> Result<Row> {
    let Timing { first, walls, stamps, flop, dispatches } = time(device, workload, &OF_A_ROW)?;
    let by_wall = args.wall || OF_THE_HOST.iter().any(|kind| workload.name.starts_with(kind));
    let (clock, samples) = match stamps.filter(|_| !by_wall) {
        Some(stamps) => (DEVICE, stamps),
        None => (WALL, walls.clone()),
    };
    let median = quantile(&samples, 0.5);
    Ok(Row {
        name: workload.name.clone(),
        first_s: first,
        median_ms: median * 1e3,
        wall_ms: quantile(&walls, 0.5) * 1e3,
        spread: (quantile(&samples, 0.75) - quantile(&samples, 0.25)) / (2.0 * median),
        gflops: flop / median / 1e9,
        gbps: workload.bytes / median / 1e9,
        roofline_share: roofline.seconds(flop, workload.bytes) / median,
        dispatches,
        error: if args.no_errors { None } else { Some(error(device, workload)?) },
        checked: !args.unchecked || device.is_cpu(),
        clock: clock.to_owned(),
    })
}

/// Seconds of one call by the wall, the device drained while its results are alive, and of the device's own work,
/// where it offers timestamps.
pub fn timed(device: &Device, run: &mut Run) -> Result<(f64, Option<f64>)> {
    if let Some(gpu) = device.as_gpu() {
        gpu.start_clock(false);
    }
    let start = Instant::now();
    let results = run()?;
    results.iter().try_for_each(|tensor| tensor.finish())?;
    device.wait()?;
    let wall = start.elapsed().as_secs_f64();
    let work = device.as_gpu().map(|gpu| gpu.stop_clock()).transpose()?.flatten();
    Ok((wall, work.filter(|&seconds| seconds > 0.0)))
}

/// Prints what the device spends on each kernel of a call, the second after its kernels were compiled.
fn kernels(device: &Device, workload: &Workload) -> Result<()> {
    let Some(gpu) = device.as_gpu() else { return Ok(()) };
    let mut run = (workload.make)(device, DType::F32)?;
    timed(device, &mut run)?;
    timed(device, &mut run)?;
    gpu.start_clock(true);
    let _results = run()?;
    for KernelTime { kernel, launches, seconds } in gpu.stop_clocks()?.unwrap_or_default() {
        println!("    {kernel:34} {launches:8} {:9.3}", seconds * 1e3);
    }
    Ok(())
}

/// The largest difference between the results of a first call here and on the CPU device in f64, relative to the
/// largest value among them.
fn error(device: &Device, workload: &Workload) -> Result<f64> {
    let found = (workload.make)(device, DType::F32)?()?;
    let truth = (workload.make)(&Device::cpu(), DType::F64)?()?;
    let (mut worst, mut scale) = (0.0f64, f64::MIN_POSITIVE);
    for (found, truth) in found.iter().zip(&truth) {
        for (f, t) in found.to_f64()?.iter().zip(&truth.to_f64()?) {
            let apart = (f - t).abs();
            // `max` alone would lose a NaN.
            worst = if apart.is_nan() || worst.is_nan() { f64::NAN } else { worst.max(apart) };
            scale = scale.max(t.abs());
        }
    }
    Ok(worst / scale)
}

fn head(device: &Device, roofline: &Roofline, args: &Args) {
    println!("{device}\n{roofline}");
    let mode = mode(device, args);
    println!("median by the device's timestamps; marked w where by the wall, queue drained{mode}\n");
    println!(
        "{:38} {:>8} {:>11} {:>10} {:>6} {:>9} {:>7} {:>9} {:>9} {:>9}",
        "workload",
        "first s",
        "median ms  ",
        "wall ms",
        "±",
        "GFLOP/s",
        "GB/s",
        "roofline",
        "launches",
        "error"
    );
}

fn mode(device: &Device, args: &Args) -> &'static str {
    if device.is_cpu() {
        ""
    } else if args.unchecked {
        ", kernels unchecked"
    } else {
        ", kernels checked"
    }
}

fn print(row: &Row, before: &[Row]) {
    let error = row.error.map_or("–".to_owned(), |error| format!("{error:.1e}"));
    print!(
        "{:38} {:8.3} {:9.3} {} {:10.3} {:4.0} % {:9.1} {:7.2} {:7.1} % {:9} {error:>9}",
        row.name,
        row.first_s,
        row.median_ms,
        if row.clock == WALL { 'w' } else { ' ' },
        row.wall_ms,
        row.spread * 100.0,
        row.gflops,
        row.gbps,
        row.roofline_share * 100.0,
        row.dispatches
    );
    match before.iter().find(|old| old.name == row.name) {
        Some(old) => println!("   × {:.2} of before", row.median_ms / old.median_ms),
        None => println!(),
    }
}

fn unreadable(path: &std::path::Path, source: std::io::Error) -> Error {
    Error::Io {
        op: "bench",
        path: path.into(),
        source,
        remedy: "Give a file that `gradus bench --save` can write, or has written.".into(),
    }
}
