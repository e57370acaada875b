//! The kernels for hardware adapters, judged by a compiler for hardware: Mesa's RADV, which compiles for AMD chips
//! that are not there. `cargo run --release --example radv` prints the whole table.
//!
//! RADV is a driver for Linux; elsewhere there is nothing to ask, and the test is empty.
#![cfg(target_os = "linux")]

#[path = "../examples/radv/chip.rs"]
mod chip;
mod common;
#[path = "../examples/radv/judge.rs"]
mod judge;
#[path = "../examples/radv/table.rs"]
#[allow(dead_code, reason = "the table itself is the example's")]
mod table;

/// No spills, no scratch, room for several subgroups on a SIMD, and no idle lanes.
#[test]
fn every_kernel_for_hardware_suits_its_registers_and_lanes() {
    let worker = ["--exact", "in_the_environment_of_one_chip", "--ignored"];
    let findings = judge::ask(&common::adapter(), "", &worker).unwrap_or_else(|error| panic!("{error}"));
    assert!(findings.len() > 4 * 40, "only {} findings", findings.len());
    let complaints = table::complaints(&findings);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
#[ignore = "the other test runs it, once for each chip"]
fn in_the_environment_of_one_chip() {
    judge::work().unwrap_or_else(|error| panic!("{error}"));
}
