//! Has the compilers of several chips look at the kernels, each in a process of its own: the driver reads from the
//! environment which chip it is to compile for.

use crate::chip::{self, Kernel, Report};
use crate::table::Finding;
use gradus::gpu::{GpuOptions, Kernels, parse};
use gradus::rooms;
use gradus::verify::launched_kernels_with;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The chips asked about: GCN 4 and 5, RDNA 2 and 3.
pub const CHIPS: [&str; 4] = ["polaris10", "vega10", "navi21", "gfx1100"];

/// Name to [`work`] the file with the kernels, and that for its answer.
const KERNELS: &str = "GRADUS_RADV_KERNELS";
const ANSWER: &str = "GRADUS_RADV_ANSWER";

/// Lowers the kernels that the cases launch on `device` as if it were hardware, of shaders whose names contain
/// `filter`, and has each chip's compiler look at them: in this program, which with `worker` as its arguments
/// is to call [`work`].
pub fn ask(device: &str, filter: &str, worker: &[&str]) -> Result<Vec<Finding>, Box<dyn Error>> {
    let driver = driver()?;
    let folder = std::env::temp_dir().join(format!("gradus-radv-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let kernels = folder.join("kernels.json");
    std::fs::write(&kernels, serde_json::to_vec(&lowered(device, filter)?)?)?;
    // All at once: each is one thread.
    let mut running = Vec::new();
    for chip in CHIPS {
        let answer = folder.join(chip);
        let run = Command::new(std::env::current_exe()?)
            .args(worker)
            .env(KERNELS, &kernels)
            .env(ANSWER, &answer)
            .env("RADV_FORCE_FAMILY", chip)
            .env("VK_DRIVER_FILES", &driver)
            .env("MESA_SHADER_CACHE_DISABLE", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        running.push((chip, answer, run));
    }
    let mut findings: Vec<Finding> = Vec::new();
    for (chip, answer, run) in running {
        let run = run.wait_with_output()?;
        if !run.status.success() {
            let said = [run.stdout, run.stderr].concat();
            return Err(format!("{chip}: {}", String::from_utf8_lossy(&said)).into());
        }
        let found: Vec<Report> = serde_json::from_slice(&std::fs::read(answer)?)?;
        findings.extend(found.into_iter().map(|report| Finding { chip: chip.to_owned(), report }));
    }
    let _ = std::fs::remove_dir_all(folder);
    Ok(findings)
}

/// In the environment of one chip: what its compiler says.
pub fn work() -> Result<(), Box<dyn Error>> {
    let named = |name: &str| std::env::var_os(name).ok_or(format!("{name} names no file"));
    let kernels: Vec<Kernel> = serde_json::from_slice(&std::fs::read(named(KERNELS)?)?)?;
    std::fs::write(named(ANSWER)?, serde_json::to_vec(&chip::compile(&kernels)?)?)?;
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
fn lowered(device: &str, filter: &str) -> Result<Vec<Kernel>, Box<dyn Error>> {
    // Without features: kernels over f16 differ in loads and stores alone, and none for hardware needs subgroups.
    let options = GpuOptions { kernels: Some(Kernels::Hardware), portable: true, ..GpuOptions::default() };
    let policy = BoundsCheckPolicy::Restrict;
    let bounds_check_policies =
        BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy };
    let mut kernels = Vec::new();
    for (key, text) in launched_kernels_with(device, &rooms(), options)? {
        // Generated kernels have no name.
        let Some(name) =
            key.split(' ').next().filter(|name| name.ends_with(".wgsl") && name.contains(filter))
        else {
            continue;
        };
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
