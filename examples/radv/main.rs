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
//! running its cases which kernels a hardware adapter is given.

mod chip;
mod table;

use chip::Kernel;
use gradus::gpu::{GpuOptions, Kernels, parse};
use gradus::rooms;
use gradus::verify::launched_kernels_with;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use table::Finding;

/// The chips asked about: GCN 4 and 5, RDNA 2 and 3.
const CHIPS: [&str; 4] = ["polaris10", "vega10", "navi21", "gfx1100"];

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let flag = |words: &mut Vec<String>, name: &str| {
        let found = words.iter().position(|word| word == name);
        found.map(|at| words.remove(at)).is_some()
    };
    let (worker, json) = (flag(&mut words, "--worker"), flag(&mut words, "--json"));
    let filter = words.first().map_or("", String::as_str);
    let done = if worker { work(filter).map(|()| true) } else { ask(filter, json) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("radv: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lowers the kernels, has each chip's compiler look at them in a process of its own, and prints what it found.
fn ask(filter: &str, json: bool) -> Result<bool, Box<dyn Error>> {
    let driver = driver()?;
    let folder = std::env::temp_dir().join(format!("gradus-radv-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let kernels = folder.join("kernels.json");
    std::fs::write(&kernels, serde_json::to_vec(&lowered(filter)?)?)?;
    let mut findings: Vec<Finding> = Vec::new();
    for chip in CHIPS {
        let run = Command::new(std::env::current_exe()?)
            .args(["--worker".as_ref(), kernels.as_os_str()])
            .env("RADV_FORCE_FAMILY", chip)
            .env("VK_DRIVER_FILES", &driver)
            .env("MESA_SHADER_CACHE_DISABLE", "1")
            .output()?;
        if !run.status.success() {
            let said = String::from_utf8_lossy(&run.stderr);
            return Err(format!("{chip}: {}", said.lines().last().unwrap_or("no word")).into());
        }
        let found: Vec<chip::Report> = serde_json::from_slice(&run.stdout)?;
        findings.extend(found.into_iter().map(|report| Finding { chip: chip.to_owned(), report }));
    }
    let _ = std::fs::remove_dir_all(folder);
    if json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        print!("{}", table::markdown(&findings, &CHIPS));
    }
    let complaints = table::complaints(&findings);
    complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
    Ok(complaints.is_empty() && !findings.is_empty())
}

/// In the environment of one chip: what its compiler says, as JSON on standard output.
fn work(kernels: &str) -> Result<(), Box<dyn Error>> {
    let kernels: Vec<Kernel> = serde_json::from_slice(&std::fs::read(kernels)?)?;
    println!("{}", serde_json::to_string(&chip::compile(&kernels)?)?);
    Ok(())
}

/// The file that names RADV to the Vulkan loader.
fn driver() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("RADV_ICD") {
        return Ok(named.into());
    }
    let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let names = ["radeon_icd.x86_64.json", "radeon_icd.json", "radeon_icd.aarch64.json"];
    let all = folders.iter().flat_map(|folder| names.map(|name| Path::new(folder).join(name)));
    all.into_iter().find(|path| path.exists()).ok_or_else(|| {
        "Mesa's RADV is not here: install it (Debian, Ubuntu: apt-get install mesa-vulkan-drivers), or name its \
         radeon_icd….json in RADV_ICD"
            .to_owned()
    })
}

/// The shaders that a hardware adapter is given by any case, as SPIR-V in the default, checked mode.
fn lowered(filter: &str) -> Result<Vec<Kernel>, Box<dyn Error>> {
    let options = GpuOptions { kernels: Some(Kernels::Hardware), ..GpuOptions::default() };
    let policy = BoundsCheckPolicy::Restrict;
    let bounds_check_policies =
        BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy };
    let mut kernels = Vec::new();
    for (key, text) in launched_kernels_with("auto", &rooms(), options)? {
        // Generated kernels have no name; those over f16 differ in loads and stores alone.
        let Some(name) =
            key.split(' ').next().filter(|name| name.ends_with(".wgsl") && name.contains(filter))
        else {
            continue;
        };
        if text.contains("enable f16") {
            continue;
        }
        let (module, info) = parse(&key, &text)?;
        let entry = &module.entry_points[0];
        let (mut storage, mut uniform) = (Vec::new(), Vec::new());
        for (_, variable) in module.global_variables.iter() {
            if let Some(slot) = &variable.binding {
                let is_uniform = variable.space == naga::AddressSpace::Uniform;
                if is_uniform { &mut uniform } else { &mut storage }.push(slot.binding);
            }
        }
        let options = spv::Options { lang_version: (1, 3), bounds_check_policies, ..spv::Options::default() };
        let pipeline = spv::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: entry.name.clone(),
        };
        kernels.push(Kernel {
            name: name.to_owned(),
            entry: entry.name.clone(),
            invocations: entry.workgroup_size.iter().product(),
            uniform,
            storage,
            words: spv::write_vec(&module, &info, &options, Some(&pipeline))?,
            key: key.clone(),
        });
    }
    Ok(kernels)
}
