//! What AMD's compiler makes of the kernels for hardware adapters, on a machine without one.
//!
//! Mesa's driver RADV compiles for chips that are not there (`RADV_FORCE_FAMILY`) and reports registers, spills,
//! workgroup memory and how many subgroups a SIMD can hold. This is a compiler's word, not a measurement.
//!
//! ```sh
//! cargo run --release --example radv > docs/HARDWARE.md    # the table; fails if a kernel spills or starves
//! cargo run --release --example radv -- --json matmul      # every number, of shaders whose names contain this
//! ```
//!
//! Needs Mesa's `radeon_icd` (Debian: mesa-vulkan-drivers) and any adapter for `gradus` itself, which says by
//! running its cases which kernels a hardware adapter is given. `tests/hardware.rs` asks the same and fails where
//! the table would complain.

mod chip;
mod judge;
mod table;

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let flag = |words: &mut Vec<String>, name: &str| {
        let found = words.iter().position(|word| word == name);
        found.map(|at| words.remove(at)).is_some()
    };
    let (worker, json) = (flag(&mut words, "--worker"), flag(&mut words, "--json"));
    let filter = words.first().map_or("", String::as_str);
    let done = if worker { judge::work().map(|()| true) } else { print(filter, json) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("radv: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what was found, and whether there is nothing to complain of.
fn print(filter: &str, json: bool) -> Result<bool, Box<dyn Error>> {
    let findings = judge::ask("auto", filter, &["--worker"])?;
    if json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        print!("{}", table::markdown(&findings, &judge::CHIPS));
    }
    let complaints = table::complaints(&findings);
    complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
    Ok(complaints.is_empty() && !findings.is_empty())
}
