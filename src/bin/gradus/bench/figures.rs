//! Figures of what `gradus bench` measured, in the manner of the labs' report.

use super::scaling::Family;
use super::{Roofline, Row};
use gradus::labs::report::{Axis, Plot, Rule, Series};
use gradus::{Device, Error, Result};
use std::path::Path;

const WIDTH: f64 = 760.0;

/// Writes a figure into a folder, which is made if it is missing.
pub fn write(folder: &Path, name: &str, svg: String) -> Result<()> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, svg)).map_err(|source| Error::Io {
        op: "bench",
        path,
        source,
        remedy: "Give --figures a folder that can be written to.".into(),
    })
}

/// Time against work, a line a family.
pub fn scaling(device: &Device, roofline: &Roofline, families: &[Family]) -> String {
    let mut plot = Plot::new(Axis::new("work").unit("FLOP").log(), Axis::new("time").unit("ms").log());
    for family in families {
        let slope = family.slope.map_or(String::new(), |slope| format!(", slope {slope:.2}"));
        let points = family.points.iter().map(|point| (point.flop, point.median_ms));
        plot = plot.series(Series::line(format!("{}{slope}", family.name), points).dots());
    }
    let all = || families.iter().flat_map(|family| &family.points);
    let shortest = all().map(|point| point.median_ms).fold(f64::INFINITY, f64::min);
    let most = all().map(|point| point.flop).fold(0.0, f64::max);
    // From where the peak alone would take as long as anything took: below, it is not arithmetic that takes time.
    let peak = [shortest * 1e-3 * roofline.flops, most].map(|flop| (flop, flop / roofline.flops * 1e3));
    plot = plot.series(Series::line("arithmetic at its peak", peak).colour(5).dashed());
    let alt = format!("Time against work on {device}, both logarithmic: a line a family, and the peak.");
    plot.svg(&alt, WIDTH, 460.0)
}

/// The share of the roofline that each workload reaches.
pub fn roofline(device: &Device, roofline: &Roofline, rows: &[Row]) -> String {
    let height = |i: usize| (rows.len() - 1 - i) as f64;
    let names = rows.iter().enumerate().map(|(i, row)| (height(i), row.name.as_str()));
    let y = Axis::new("workload").ticks(names).range(-0.6, rows.len() as f64 - 0.4);
    let largest = rows.iter().map(|row| row.roofline_share).fold(1.0, f64::max);
    let x = Axis::new("share of the roofline").percent().range(0.0, 1.08 * largest);
    let mut plot = Plot::new(x, y).rule(Rule::vertical(1.0, ""));
    let by_memory = |row: &Row| row.gbps * 1e9 / roofline.copy_bytes > row.gflops * 1e9 / roofline.flops;
    for (name, memory) in [("bound by arithmetic", false), ("bound by memory", true)] {
        let points = rows.iter().enumerate().filter(|(_, row)| by_memory(row) == memory);
        let points: Vec<(f64, f64)> = points.map(|(i, row)| (row.roofline_share, height(i))).collect();
        if !points.is_empty() {
            plot = plot.series(Series::scatter(name, points));
        }
    }
    let alt = format!("The share of the roofline that each workload reaches on {device}.");
    plot.svg(&alt, WIDTH, 88.0 + 17.0 * rows.len() as f64)
}
