//! `gradus verify`.

use crate::Cli;
use gradus::verify::{Bench, MutationRow, Row, mutate_shaders, verify};
use gradus::{Error, Result, rooms};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// Only cases whose names contain this (with --mutate: shaders, and commas separate alternatives).
    #[arg(default_value = "")]
    filter: String,
    /// Change every shader in every small way, and see that the cases notice.
    #[arg(long)]
    mutate: bool,
    /// Change only what the output of an earlier `--mutate`, in this file, names as unexplained: after adding cases.
    #[arg(long, value_name = "FILE", requires = "mutate")]
    again: Option<PathBuf>,
}

pub fn run(cli: &Cli, args: &Args) -> Result<bool> {
    if args.mutate { mutate(cli, args) } else { check(cli, args) }
}

fn check(cli: &Cli, args: &Args) -> Result<bool> {
    let bench = Bench::open(&cli.device)?;
    if !cli.json {
        println!("{}\n", bench.name);
        println!(
            "{:24} {:8} {:5} {:>6} {:>7} {:>12} {:>12} {:>8}",
            "operation", "way", "type", "cases", "failed", "worst error", "worst share", "seconds"
        );
    }
    let rows = verify(&bench, &rooms(), &args.filter, |row| {
        if !cli.json {
            print(row);
        }
    });
    let failed: usize = rows.iter().map(|r| r.failed).sum();
    let cases: usize = rows.iter().map(|r| r.cases).sum();
    if cli.json {
        let json = serde_json::json!({ "device": bench.name, "ops": rows, "failed": failed });
        println!("{json:#}");
    } else {
        println!("\n{} passed, {failed} failed", cases - failed);
        if cases == 0 {
            println!("no case matches '{}'", args.filter);
        }
    }
    Ok(failed == 0 && cases > 0)
}

fn print(row: &Row) {
    let direction = format!("{:?}", row.direction).to_lowercase();
    println!(
        "{:24} {direction:8} {:5} {:6} {:7} {:12.2e} {:12.4} {:8.2}",
        row.op, row.dtype, row.cases, row.failed, row.worst_error, row.worst_share, row.seconds
    );
    for failure in &row.failures {
        println!("    {failure}");
    }
}

fn mutate(cli: &Cli, args: &Args) -> Result<bool> {
    if !cli.json {
        println!(
            "{:32} {:>8} {:>7} {:>10} {:>12} {:>8}",
            "shader", "mutants", "killed", "equivalent", "unexplained", "seconds"
        );
    }
    let before =
        args.again.as_ref().map(|path| std::fs::read_to_string(path).map_err(|e| unreadable(path, e)));
    let before = before.transpose()?;
    // Shader and key, before the second tab, in a row or in a line of the log.
    let two = |line: &str| {
        let line = line.split_once("::mutation] ").map_or(line, |(_, logged)| logged);
        let end = line.match_indices('\t').nth(1).map_or(line.len(), |(at, _)| at);
        line[..end].to_string()
    };
    let named: Option<HashSet<String>> = before.map(|text| text.lines().map(two).collect());
    let chosen = |shader: &str, key: &str| {
        named.as_ref().is_none_or(|named| named.contains(&format!("{shader}\t{key}")))
    };
    let rows = mutate_shaders(&cli.device, &rooms(), &args.filter, chosen, |row| {
        if !cli.json {
            print_mutants(row);
        }
    })?;
    if cli.json {
        println!("{:#}", serde_json::json!({ "shaders": rows }));
    }
    let total = |f: fn(&MutationRow) -> usize| rows.iter().map(f).sum::<usize>();
    let (open, stale) = (total(|r| r.unexplained.len()), total(|r| r.stale.len()));
    if !cli.json {
        println!(
            "\n{} mutants: {} killed, {} equivalent with a reason, {open} unexplained; {stale} reasons out of date",
            total(|r| r.mutants),
            total(|r| r.killed),
            total(|r| r.explained.len())
        );
    }
    Ok(open == 0 && stale == 0 && !rows.is_empty())
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    let remedy = "Give a file with the output of `gradus verify --mutate`.".into();
    Error::Io { op: "verify", path: path.into(), source, remedy }
}

fn print_mutants(row: &MutationRow) {
    println!(
        "{:32} {:8} {:7} {:10} {:12} {:8.1}",
        row.shader,
        row.mutants,
        row.killed,
        row.explained.len(),
        row.unexplained.len(),
        row.seconds
    );
    for key in &row.unexplained {
        println!("{}\t{key}\t", row.shader);
    }
    for key in &row.stale {
        println!("    out of date: {key}");
    }
}
