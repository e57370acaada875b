//! The table of docs/HARDWARE.md, and what no kernel may do.

use crate::chip::{Inner, Report};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What one chip's compiler said of one kernel.
#[derive(Serialize)]
pub struct Finding {
    pub chip: String,
    #[serde(flatten)]
    pub report: Report,
}

/// Subgroups that a SIMD must be able to hold, so that some work while others wait for memory.
const SUBGROUPS: u64 = 4;

impl Finding {
    fn number(&self, name: &str) -> u64 {
        self.report.statistics.get(name).copied().unwrap_or(0)
    }

    fn spills(&self) -> u64 {
        self.number("Spilled VGPRs") + self.number("Spilled SGPRs") + self.number("Scratch size")
    }

    fn subgroups(&self) -> u64 {
        self.number("Subgroups per SIMD")
    }

    /// Whether every lane of every subgroup has an invocation.
    fn lanes_full(&self) -> bool {
        self.report.subgroup > 0 && self.report.invocations.is_multiple_of(self.report.subgroup)
    }
}

/// A line for each kernel that spills, starves, or leaves lanes idle.
pub fn complaints(findings: &[Finding]) -> Vec<String> {
    let mut found = Vec::new();
    for one in findings {
        let (chip, key) = (&one.chip, &one.report.key);
        if one.spills() > 0 {
            found.push(format!("{chip}: {key} spills ({} registers and bytes)", one.spills()));
        }
        if one.subgroups() < SUBGROUPS {
            found.push(format!("{chip}: {key} leaves room for {} subgroups a SIMD", one.subgroups()));
        }
        if !one.lanes_full() {
            let (invocations, subgroup) = (one.report.invocations, one.report.subgroup);
            found.push(format!("{chip}: {key} has {invocations} invocations for subgroups of {subgroup}"));
        }
    }
    found
}

/// A row for each shader and chip: the worst of its specialisations, and the arithmetic of the densest.
pub fn markdown(findings: &[Finding], chips: &[&str]) -> String {
    let mut text = String::from(
        "# What a hardware compiler makes of the kernels\n\n\
         Mesa's RADV compiles for AMD chips that are not there, and reports what it did. This is a compiler's word on \
         registers and occupancy, not a measurement of speed: no hardware ran these kernels.\n\n\
         Made by `cargo run --release --example radv > docs/HARDWARE.md`. Kernels are those that a hardware adapter is \
         given, in the default, checked mode, over f32; each row is the worst of all specialisations that some case \
         launches. *Subgroups* is how many a SIMD can hold at once, which hides the wait for memory. *Multiply-adds per \
         memory instruction* are counted in the basic block that has the most of them, in the specialisation where that \
         ratio is largest: reading memory and workgroup memory costs an instruction each. *Share of peak* is how many \
         of that block's vector instructions they are: what address arithmetic leaves of the chip's rate, if nothing \
         ever waits.\n",
    );
    for chip in chips {
        let mut shaders: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
        for one in findings.iter().filter(|f| f.chip == *chip) {
            shaders.entry(&one.report.name).or_default().push(one);
        }
        let _ = write!(
            text,
            "\n## {chip}\n\n| shader | specialisations | vector registers | spills | workgroup bytes | subgroups | \
             lanes full | multiply-adds per memory instruction | share of peak |\n\
             |---|---:|---:|---:|---:|---:|---|---:|---:|\n"
        );
        for (name, all) in shaders {
            let most = |f: fn(&Finding) -> u64| all.iter().map(|one| f(one)).max().unwrap_or(0);
            let fewest = all.iter().map(|one| one.subgroups()).min().unwrap_or(0);
            let full = if all.iter().all(|one| one.lanes_full()) { "yes" } else { "no" };
            let ratio =
                |one: &Finding| f64::from(one.report.inner.fma) / f64::from(one.report.inner.memory.max(1));
            let densest = all.iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b)));
            let dense = match densest.filter(|one| one.report.inner.fma >= 8) {
                Some(one) => {
                    let Inner { fma, vector, .. } = one.report.inner;
                    format!("{:.1} | {:.0} %", ratio(one), f64::from(100 * fma) / f64::from(vector.max(1)))
                }
                None => "– | –".to_owned(),
            };
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {fewest} | {full} | {dense} |",
                all.len(),
                most(|f| f.number("VGPRs")),
                most(Finding::spills),
                most(|f| f.number("LDS size")),
            );
        }
    }
    text
}
