//! Every kernel as text: it parses, keeps to the limits that every WebGPU device has, and lowers to each of
//! the languages that drivers read.

mod common;

use gradus::gpu::{Dispatch, Source, parse};
use gradus::rooms;
use gradus::verify::launched_kernels;
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy, Layouter};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The default limits of WebGPU (W3C, "Limits"), which the narrowest device grants.
const STORAGE_BUFFERS: usize = 8;
const INVOCATIONS: u32 = 256;
const WORKGROUP_EXTENTS: [u32; 3] = [256, 256, 64];
const WORKGROUP_BYTES: u32 = 16 * 1024;
const UNIFORM_BYTES: u32 = 64 * 1024;

/// Every kernel that any case launches, by key, surveyed once.
fn launched() -> &'static BTreeMap<String, String> {
    static KERNELS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    KERNELS.get_or_init(|| launched_kernels(&common::adapter(), &rooms()).unwrap())
}

/// What a failure calls a kernel: a shader's name and constants, or the text of a generated one.
fn modules() -> impl Iterator<Item = (&'static str, Module, ModuleInfo)> {
    launched().iter().map(|(key, text)| {
        let (module, info) = parse(key, text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        (key.as_str(), module, info)
    })
}

/// Whether all of the adapter's subgroups have one size that kernels may count on.
fn subgroups_offered() -> bool {
    common::gpu().as_gpu().is_some_and(|gpu| matches!(gpu.subgroup(), Some(4 | 8 | 16)))
}

/// Whether a module is valid where a device offers these capabilities.
fn valid(module: &Module, capabilities: Capabilities) -> bool {
    Validator::new(ValidationFlags::all(), capabilities).validate(module).is_ok()
}

/// Whether a kernel reads or writes f16, which its text says in its first line.
fn needs_f16(module: &Module) -> bool {
    !valid(module, Capabilities::SUBGROUP)
}

/// Whether a kernel needs subgroups: with f16 the one feature beyond a portable device that any uses.
fn needs_subgroups(module: &Module) -> bool {
    if valid(module, Capabilities::SHADER_FLOAT16) {
        return false;
    }
    let both = Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16;
    assert!(valid(module, both), "{:?} needs more than subgroups", module.entry_points[0].name);
    true
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_file_is_valid_as_it_stands() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let files = files(&folder);
    for path in &files {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        assert!(name.ends_with(".wgsl"), "{name} is no shader");
        let (module, _) = parse(&name, &std::fs::read_to_string(path).unwrap()).unwrap();
        if name.starts_with("lib") {
            let bound = module.global_variables.iter().any(|(_, variable)| variable.binding.is_some());
            let bare = module.entry_points.is_empty() && !bound;
            assert!(bare && !module.functions.is_empty(), "{name}");
            // What stands in front of generated text must not take its names; the others are copied into kernels
            // that have the constants.
            assert!(module.constants.is_empty() || name != "lib/special.wgsl", "{name}");
        } else {
            assert_eq!(module.entry_points.len(), 1, "{name}");
        }
    }
    println!("{} files", files.len());
}

/// There is no import: who needs a function of the library has its text, and this is where the copies are kept
/// equal.
#[test]
fn every_copy_of_a_library_function_is_the_one_in_the_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    // Each function of a file, name and text.
    let functions = |path: &Path| -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(path).unwrap();
        let starts = text.match_indices("\nfn ").map(|(at, _)| &text[at + 4..]);
        let named =
            |rest: &str| Some((rest.split_once('(')?.0.to_owned(), rest.split_once("\n}\n")?.0.to_owned()));
        starts.map(|rest| named(rest).expect("a function ends")).collect()
    };
    let (library, kernels): (Vec<PathBuf>, Vec<PathBuf>) =
        files(&folder).into_iter().partition(|path| path.starts_with(folder.join("lib")));
    let library: BTreeMap<String, String> = library.iter().flat_map(|path| functions(path)).collect();
    let mut copies = 0;
    for path in kernels {
        for (name, text) in functions(&path) {
            if let Some(original) = library.get(&name) {
                assert_eq!(&text, original, "{name} in {}", path.display());
                copies += 1;
            }
        }
    }
    assert!(copies >= 10, "{copies} copies");
}

#[test]
fn every_file_is_launched_by_some_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    for path in files(&folder) {
        let name = path.strip_prefix(&folder).unwrap().display().to_string().replace('\\', "/");
        let needs = [
            "attention/subgroup.wgsl",
            "conv/subgroup.wgsl",
            "conv/subgroup_weight.wgsl",
            "matmul/quads.wgsl",
        ];
        let used = launched().keys().any(|key| key.split(' ').next() == Some(&name));
        let exempt = name.starts_with("lib/") || (needs.contains(&&*name) && !subgroups_offered());
        assert!(used || exempt, "no case launches {name}");
    }
}

#[test]
fn every_kernel_keeps_to_the_binding_convention_and_the_portable_limits() {
    let (mut widest, mut most_memory, mut most_buffers, mut with_subgroups) = (0, 0, 0, 0);
    for (key, module, _) in modules() {
        with_subgroups += usize::from(needs_subgroups(&module));
        let [entry] = &module.entry_points[..] else { panic!("{key}: one entry point") };
        assert_eq!(entry.stage, ShaderStage::Compute, "{key}");
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!((1..=INVOCATIONS).contains(&invocations), "{key}: {invocations} invocations");
        let extents = entry.workgroup_size.iter().zip(WORKGROUP_EXTENTS);
        assert!(extents.into_iter().all(|(&e, most)| e <= most), "{key}: {:?}", entry.workgroup_size);

        let mut layouter = Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let (mut bytes, mut storage) = (0, vec![]);
        for (_, variable) in module.global_variables.iter() {
            let size = module.types[variable.ty].inner.size(module.to_ctx());
            let slot = variable.binding.as_ref().map(|b| (b.group, b.binding));
            match variable.space {
                AddressSpace::Uniform => {
                    assert_eq!((slot, variable.name.as_deref()), (Some((0, 0)), Some("params")), "{key}");
                    assert!(size <= UNIFORM_BYTES, "{key}: {size} bytes of params");
                }
                AddressSpace::Storage { .. } => storage.push(slot),
                AddressSpace::WorkGroup => bytes += layouter[variable.ty].to_stride(),
                AddressSpace::Private => assert!(slot.is_none(), "{key}"),
                other => panic!("{key}: {:?} is in {other:?}", variable.name),
            }
        }
        storage.sort_unstable();
        let expected: Vec<_> = (1..=storage.len() as u32).map(|binding| Some((0, binding))).collect();
        assert_eq!(storage, expected, "{key}: storage buffers are bound from 1 on, without gaps");
        assert!(storage.len() <= STORAGE_BUFFERS, "{key}: {} storage buffers", storage.len());
        assert!(bytes <= WORKGROUP_BYTES, "{key}: {bytes} bytes of workgroup memory");
        widest = widest.max(invocations);
        most_memory = most_memory.max(bytes);
        most_buffers = most_buffers.max(storage.len());
    }
    println!(
        "{} kernels; at most {widest} invocations, {most_memory} bytes of workgroup memory, \
         {most_buffers} storage buffers; {with_subgroups} need subgroups",
        launched().len()
    );
}

/// With the bounds tests that a device is asked for, and without.
fn policies() -> [BoundsCheckPolicies; 2] {
    [BoundsCheckPolicy::Restrict, BoundsCheckPolicy::Unchecked].map(|policy| BoundsCheckPolicies {
        index: policy,
        buffer: policy,
        image_load: policy,
        binding_array: policy,
    })
}

fn spirv(
    key: &str,
    module: &Module,
    info: &ModuleInfo,
    bounds_check_policies: BoundsCheckPolicies,
) -> Vec<u32> {
    // SPIR-V has subgroups from 1.3 on, as Vulkan does from 1.1 on.
    let lang_version = if needs_subgroups(module) { (1, 3) } else { (1, 0) };
    let options = spv::Options { lang_version, bounds_check_policies, ..spv::Options::default() };
    let pipeline = spv::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: module.entry_points[0].name.clone(),
    };
    spv::write_vec(module, info, &options, Some(&pipeline)).unwrap_or_else(|e| panic!("SPIR-V of {key}: {e}"))
}

#[test]
fn every_kernel_lowers_to_every_language() {
    let mut sizes = [0; 4];
    for (key, module, info) in modules() {
        let name = module.entry_points[0].name.clone();
        for policy in policies() {
            sizes[0] += 4 * spirv(key, &module, &info, policy).len();

            let options = msl::Options {
                lang_version: (2, 0),
                bounds_check_policies: policy,
                ..msl::Options::default()
            };
            let (text, translated) = msl::write_string(&module, &info, &options, &Default::default())
                .unwrap_or_else(|e| panic!("MSL of {key}: {e}"));
            assert!(translated.entry_point_names.iter().all(Result::is_ok), "MSL of {key}");
            sizes[1] += text.len();

            // naga writes no f16 in GLSL; devices on OpenGL do not offer it.
            if needs_f16(&module) {
                continue;
            }
            let (options, mut text) = (
                glsl::Options {
                    version: glsl::Version::Embedded { version: 310, is_webgl: false },
                    writer_flags: glsl::WriterFlags::empty(),
                    ..glsl::Options::default()
                },
                String::new(),
            );
            let pipeline = glsl::PipelineOptions {
                shader_stage: ShaderStage::Compute,
                entry_point: name.clone(),
                multiview: None,
            };
            glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, policy)
                .and_then(|mut writer| writer.write())
                .unwrap_or_else(|e| panic!("GLSL of {key}: {e}"));
            sizes[2] += text.len();
        }
        for restrict_indexing in [true, false] {
            let shader_model = if needs_f16(&module) {
                hlsl::ShaderModel::V6_2
            } else if needs_subgroups(&module) {
                hlsl::ShaderModel::V6_0
            } else {
                hlsl::ShaderModel::V5_1
            };
            let options = hlsl::Options { shader_model, restrict_indexing, ..hlsl::Options::default() };
            let (pipeline, mut text) = (hlsl::PipelineOptions::default(), String::new());
            let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
            let reflected = written.unwrap_or_else(|e| panic!("HLSL of {key}: {e}"));
            assert!(reflected.entry_point_names.iter().all(Result::is_ok), "HLSL of {key}");
            sizes[3] += text.len();
        }
    }
    let [spirv, msl, glsl, hlsl] = sizes.map(|bytes| bytes / 1024);
    println!("{} kernels: {spirv} KiB SPIR-V, {msl} MSL, {glsl} GLSL, {hlsl} HLSL", launched().len());
}

/// The validator of the Khronos group reads what naga wrote. Where it is not installed the test says so;
/// with `GRADUS_REQUIRE_SPIRV_VAL=1`, as `scripts/test.sh` sets it, that is a failure.
#[test]
fn spirv_val_accepts_every_kernel() {
    if Command::new("spirv-val").arg("--version").output().is_err() {
        let required = std::env::var("GRADUS_REQUIRE_SPIRV_VAL").is_ok_and(|v| v == "1");
        assert!(!required, "spirv-val is not installed: on Debian it is in spirv-tools");
        println!("NOT CHECKED: spirv-val is not installed, so no SPIR-V was validated (Debian: spirv-tools)");
        return;
    }
    let folder = std::env::temp_dir().join(format!("gradus-spirv-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (mut refused, mut count) = (vec![], 0);
    for (number, (key, module, info)) in modules().enumerate() {
        let environment = if needs_subgroups(&module) { "vulkan1.1" } else { "vulkan1.0" };
        for (form, policy) in ["checked", "unchecked"].into_iter().zip(policies()) {
            let words = spirv(key, &module, &info, policy);
            let file = folder.join(format!("{number}-{form}.spv"));
            std::fs::write(&file, words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
            let said =
                Command::new("spirv-val").args(["--target-env", environment]).arg(&file).output().unwrap();
            if !said.status.success() {
                refused.push(format!("{key}, {form}: {}", String::from_utf8_lossy(&said.stderr)));
            }
            count += 1;
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(refused.is_empty(), "{} of {count} refused\n{}", refused.len(), refused.join("\n"));
    println!("{count} modules are valid");
}

/// On some devices the text of a kernel is changed where it reads and writes fours.
#[test]
fn a_kernel_of_a_user_may_write_components_of_fours() {
    let device = common::gpu();
    let gpu = device.as_gpu().unwrap();
    let text = "
        @group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
        @compute @workgroup_size(1) fn main() { y[0].x = 1.0; y[1] += y[0]; }";
    let buffer = gpu.buffer("test", 32).unwrap();
    gpu.dispatch(Dispatch {
        op: "test",
        source: Source::Generated(text),
        params: &[],
        buffers: &[&buffer],
        groups: [1, 1, 1],
    })
    .unwrap();
    gpu.wait().unwrap();
}
