//! How time grows with work: families of workloads from small to large, and the slope of log time over log work.

use super::workloads::{Workload, attention_of, convolution, product, recurrent_of};
use super::{Args, Effort, Roofline, WALL, figures, mode, nothing_called, quantile, time};
use crate::Cli;
use gradus::{Device, Result};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Workloads that differ in one size.
struct Kind {
    name: &'static str,
    /// What grows, and what stays.
    what: &'static str,
    /// In order; with the last no tensor has more than 128 MiB, what every adapter binds.
    sizes: &'static [usize],
    /// Work grows as this power of the size.
    power: i32,
    workload: fn(usize) -> Workload,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "matmul",
        what: "n, of n × n times n × n",
        sizes: &[16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096],
        power: 3,
        workload: |n| product(format!("matmul/{n}"), [n; 3]),
    },
    Kind {
        name: "conv2d",
        what: "side of an image, 64 channels to 64, 3 × 3",
        sizes: &[4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512],
        power: 2,
        workload: |side| convolution(0, [1, 64, side, 64, 3, 1]),
    },
    Kind {
        name: "conv2d_batch",
        what: "images of 28 × 28, 16 channels to 32, 3 × 3",
        sizes: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
        power: 1,
        workload: |batch| convolution(0, [batch, 16, 28, 32, 3, 1]),
    },
    Kind {
        name: "attention",
        what: "T, 8 heads of 64 features",
        sizes: &[
            16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192, 16384, 32768,
        ],
        power: 2,
        workload: |t| attention_of([1, 8, t, 64], false),
    },
    Kind {
        name: "lstm",
        what: "T, 16 sequences, 64 inputs, 128 hidden units",
        sizes: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048],
        power: 1,
        workload: |t| recurrent_of(true, [t, 16, 64, 128], false),
    },
];

const EFFORT: Effort = Effort { warm_up: 1, most: 9, least: 3, within: Duration::from_millis(300) };
/// Sizes that are timed however long they take: fewer give no slope.
const LEAST: usize = 4;
/// Steeper is clearly worse than the arithmetic: of ten times the work each FLOP takes a quarter longer.
const STEEP: f64 = 1.1;

/// One size.
#[derive(Debug, Serialize)]
pub struct Point {
    size: usize,
    /// Of one call.
    pub flop: f64,
    pub median_ms: f64,
    gflops: f64,
    dispatches: u64,
}

/// What was found out about one kind.
#[derive(Debug, Serialize)]
pub struct Family {
    pub name: &'static str,
    /// What the size is, and what stays.
    what: &'static str,
    pub points: Vec<Point>,
    /// Of log time over log work, by least squares over the larger half of the points.
    pub slope: Option<f64>,
    /// Whether time grows clearly faster than work.
    steep: bool,
}

pub fn run(cli: &Cli, args: &Args, device: &Device, roofline: &Roofline) -> Result<bool> {
    if !cli.json {
        println!(
            "{device}\n{roofline}\nmedian by the {WALL}{}\n\n\
             Slopes are of log time over log work, by least squares over the larger half of the sizes: 1 where time\n\
             grows as the arithmetic does. Small sizes show what any call costs, its launches and the wait for them,\n\
             so their GFLOP/s say little.",
            mode(device, args)
        );
    }
    let mut families = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.name.contains(&args.filter)) {
        let family = measure(device, kind, args.within)?;
        if !cli.json {
            print(&family);
        }
        families.push(family);
    }
    if families.is_empty() {
        return Err(nothing_called(&args.filter));
    }
    if cli.json {
        let checked = !args.unchecked || device.is_cpu();
        let all = serde_json::json!({
            "device": device.to_string(),
            "clock": WALL,
            "checked": checked,
            "roofline": roofline,
            "families": families,
        });
        println!("{all:#}");
    }
    if let Some(folder) = &args.figures {
        figures::write(folder, "scaling.svg", figures::scaling(device, roofline, &families))?;
    }
    Ok(true)
}

/// Sizes one after the other, until the next would take longer than what is left of so many seconds.
fn measure(device: &Device, kind: &Kind, within: f64) -> Result<Family> {
    let start = Instant::now();
    let mut points: Vec<Point> = Vec::new();
    for &size in kind.sizes {
        if let Some(last) = points.last().filter(|_| points.len() >= LEAST) {
            let growth = (size as f64 / last.size as f64).powi(kind.power);
            let calls = (1 + EFFORT.warm_up + EFFORT.least) as f64;
            if start.elapsed().as_secs_f64() + calls * growth * last.median_ms * 1e-3 > within {
                break;
            }
        }
        let timing = time(device, &(kind.workload)(size), &EFFORT)?;
        let (flop, median) = (timing.flop, quantile(&timing.walls, 0.5));
        let gflops = flop / median / 1e9;
        points.push(Point { size, flop, median_ms: median * 1e3, gflops, dispatches: timing.dispatches });
    }
    let slope = slope(&points[points.len() / 2..]);
    Ok(Family {
        name: kind.name,
        what: kind.what,
        points,
        slope,
        steep: slope.is_some_and(|slope| slope > STEEP),
    })
}

/// The slope of log time over log work by least squares; none where the work is the same everywhere.
fn slope(points: &[Point]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.iter().map(|point| (point.flop.ln(), point.median_ms.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
    let (x, y) = (mean(|log| log.0), mean(|log| log.1));
    let (over, under) = logs.iter().fold((0.0, 0.0), |(over, under), log| {
        (over + (log.0 - x) * (log.1 - y), under + (log.0 - x).powi(2))
    });
    Some(over / under).filter(|slope| slope.is_finite())
}

fn print(family: &Family) {
    println!("\n{}: {}", family.name, family.what);
    println!("{:>8} {:>11} {:>11} {:>9} {:>9}", "size", "MFLOP", "median ms", "GFLOP/s", "launches");
    for point in &family.points {
        println!(
            "{:8} {:11.3} {:11.3} {:9.2} {:9}",
            point.size,
            point.flop / 1e6,
            point.median_ms,
            point.gflops,
            point.dispatches
        );
    }
    if let Some(slope) = family.slope {
        let from = family.points[family.points.len() / 2].size;
        let verdict = if family.steep { ": STEEPER than its arithmetic" } else { "" };
        println!("slope {slope:.2} from {from} on{verdict}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(time: impl Fn(f64) -> f64) -> Vec<Point> {
        let point = |k| {
            let flop = 1e6 * f64::powi(2.0, k);
            Point { size: 1 << k, flop, median_ms: time(flop), gflops: 0.0, dispatches: 1 }
        };
        (0..8).map(point).collect()
    }

    #[test]
    fn the_slope_of_a_power_is_its_exponent() {
        for exponent in [0.0, 1.0, 1.5] {
            let found = slope(&points(|flop| 3e-5 * flop.powf(exponent))).unwrap();
            assert!((found - exponent).abs() < 1e-12, "{found} for {exponent}");
        }
    }

    #[test]
    fn what_every_call_costs_makes_the_slope_flatter() {
        let all = points(|flop| 1.0 + 1e-6 * flop);
        let (whole, large) = (slope(&all).unwrap(), slope(&all[4..]).unwrap());
        assert!(whole < large && large < 1.0, "{whole} {large}");
    }

    #[test]
    fn points_without_a_distance_have_no_slope() {
        assert_eq!(slope(&points(f64::sqrt)[..1]), None);
        assert_eq!(slope(&[]), None);
    }

    #[test]
    fn sizes_grow_and_so_does_the_work_of_their_family() {
        for kind in &KINDS {
            assert!(kind.sizes.len() > LEAST && kind.sizes.is_sorted(), "{}", kind.name);
            let name = (kind.workload)(kind.sizes[0]).name;
            assert!(kind.name.starts_with(name.split('/').next().unwrap()), "{name} for {}", kind.name);
        }
    }
}
