//! Every operation on every device, by its cases; the same as `gradus verify`.

mod common;

use gradus::verify::{Bench, Direction, Row, verify};
use gradus::{DType, rooms};

fn run(device: &str) {
    let bench =
        Bench::open(device).unwrap_or_else(|e| panic!("run scripts/test.sh to install an adapter. {e}"));
    let mut failures = Vec::new();
    let rows = verify(&bench, &rooms(), "", |row| {
        println!(
            "{:24} {:?} {}: {} cases, worst share {:.4}, {:.1} s",
            row.op, row.direction, row.dtype, row.cases, row.worst_share, row.seconds
        );
        failures.extend(row.failures.clone());
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let forward = |dtype: &'static str| move |r: &&Row| r.direction == Direction::Forward && r.dtype == dtype;
    assert!(rows.iter().filter(forward("f32")).count() == rooms().len());
    // A row in f16 that is missing would pass unseen: all its numbers out of range, or no small case.
    if bench.dtypes().contains(&DType::F16) {
        let rooms = rooms();
        let tried = |op| rooms.iter().any(|r| r.op == op && r.cases.iter().any(|case| case.half));
        for row in rows.iter().filter(|r| r.dtype == "f32" && tried(r.op)) {
            let there = rows.iter().any(|r| (r.op, r.direction, &*r.dtype) == (row.op, row.direction, "f16"));
            assert!(there, "{} {:?} has no row in f16", row.op, row.direction);
        }
    }
}

#[test]
fn every_operation_on_the_adapter_is_within_its_bound() {
    run(&common::adapter());
}

#[test]
fn every_operation_on_the_cpu_is_within_its_bound() {
    run("cpu");
}

/// Every file with operations has its rooms in the registry, and no case is listed twice.
#[test]
fn the_registry_is_complete() {
    let source = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let registry = source(std::path::Path::new("src/ops/mod.rs"));
    for entry in std::fs::read_dir("src/ops").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        let listed = registry.contains(&format!("{name}::rooms()"));
        let exempt = ["mod", "tests"].contains(&name.as_str());
        assert!(listed || exempt, "{name} has no rooms in the registry");
    }
    let mut ids: Vec<String> = rooms().iter().flat_map(|r| r.cases.iter().map(|c| c.id.clone())).collect();
    ids.sort();
    let shared: Vec<&[String]> = ids.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).collect();
    assert!(shared.is_empty(), "two cases share an id: {shared:?}");
}
