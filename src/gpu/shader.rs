//! From a WGSL file to a pipeline: specialise, parse, validate, reflect, compile.
//!
//! A shader file is valid WGSL as it stands. Specialising it replaces the values of top-level `const`s, makes
//! top-level `alias`es of `f32` or of vectors of it the one or the other, changes for f16 the types of buffers
//! (see [`half`](super::half)), and nothing else. By convention binding 0 is a uniform `params` struct, and the
//! storage buffers follow from binding 1 in the order in which a dispatch lists them.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A hand-written kernel: its name (the path under `shaders/`) and its text.
#[derive(Debug)]
pub struct Shader {
    /// The path of the file under `shaders/`.
    pub name: &'static str,
    /// The WGSL text.
    pub source: &'static str,
}

/// Declares the kernel in a file of the `shaders/` folder.
macro_rules! shader {
    ($path:literal) => {
        $crate::gpu::Shader {
            name: $path,
            source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path)),
        }
    };
}
pub(crate) use shader;

/// New values for a shader's top-level constants, by name. For an alias: how many numbers it holds, 1 or 4.
pub type Constants<'a> = &'a [(&'static str, u32)];

/// What a kernel is made from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A file, with new values for some of its constants.
    File(&'static Shader, Constants<'a>),
    /// Text that was generated for one purpose: fused pointwise kernels.
    Generated(&'a str),
}

impl Source<'_> {
    /// A name that is equal exactly for equal kernels.
    pub(crate) fn key(&self) -> String {
        match self {
            Source::File(shader, constants) => {
                // Made at every launch: once long enough, and without the machinery of `write!`.
                let mut key = String::with_capacity(256);
                key.push_str(shader.name);
                for (name, value) in *constants {
                    key.push(' ');
                    key.push_str(name);
                    key.push('=');
                    decimal(&mut key, *value);
                }
                key
            }
            Source::Generated(text) => (*text).into(),
        }
    }

    pub(crate) fn label(&self) -> &str {
        match self {
            Source::File(shader, _) => shader.name,
            Source::Generated(_) => "pointwise",
        }
    }

    /// The WGSL text with its constants in place.
    pub fn text(&self) -> Result<String> {
        match self {
            Source::File(shader, constants) => specialise(shader, constants),
            Source::Generated(text) => Ok((*text).into()),
        }
    }
}

fn decimal(text: &mut String, number: u32) {
    if number > 9 {
        decimal(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// The shader's text with `const NAME = …;` and `alias NAME = …;` lines replaced. A name the file does not declare
/// is an error.
fn specialise(shader: &Shader, constants: Constants) -> Result<String> {
    let mut found = 0;
    let lines: Vec<String> = shader
        .source
        .lines()
        .map(|line| {
            let alias = line.starts_with("alias ");
            let rest = line.strip_prefix(if alias { "alias " } else { "const " });
            let declared = rest.and_then(|rest| rest.split([':', ' ', '=']).next());
            let Some((name, value)) = constants.iter().find(|(name, _)| Some(*name) == declared) else {
                return line.into();
            };
            found += 1;
            if alias {
                return format!("alias {name} = {};", if *value == 1 { "f32" } else { "vec4<f32>" });
            }
            let (is_bool, comment) = (line.contains("bool"), line.split_once("//").map_or("", |(_, c)| c));
            let value = if is_bool { (*value != 0).to_string() } else { format!("{value}u") };
            let kind = if is_bool { "bool" } else { "u32" };
            format!("const {name}: {kind} = {value}; //{comment}")
        })
        .collect();
    if found != constants.len() {
        return Err(Error::validation(
            "shader",
            format!("{} does not declare each of {constants:?}", shader.name),
            "Declare them as top-level constants of type u32 or bool, or aliases.",
        ));
    }
    Ok(lines.join("\n") + "\n")
}

/// Parses and validates WGSL text.
pub fn parse(name: &str, text: &str) -> Result<(naga::Module, naga::valid::ModuleInfo)> {
    let bug = |given: String| {
        Error::validation("shader", given, "This is a defect of the kernel's text: mend the WGSL.")
    };
    let module =
        naga::front::wgsl::parse_str(text).map_err(|e| bug(format!("{name}: {}", e.emit_to_string(text))))?;
    let info =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
            .validate(&module)
            .map_err(|e| bug(format!("{name}: {}", e.emit_to_string(text))))?;
    Ok((module, info))
}

/// What a kernel binds, read from its text.
#[derive(Debug)]
pub(crate) struct Reflection {
    pub entry: String,
    /// The size of the uniform `params` in bytes, if there is one.
    pub params: Option<u32>,
    /// For each storage buffer, from binding 1 on: whether the kernel may write it.
    pub writable: Vec<bool>,
    pub workgroup: [u32; 3],
}

pub(crate) fn reflect(name: &str, module: &naga::Module) -> Result<Reflection> {
    let bug = |given: &str| {
        Error::validation(
            "shader",
            format!("{name}: {given}"),
            "Follow the binding convention of the shaders.",
        )
    };
    let entry = module.entry_points.first().ok_or_else(|| bug("has no entry point"))?;
    let mut params = None;
    let mut storage: Vec<(u32, bool)> = Vec::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(binding) = variable.binding else { continue };
        match variable.space {
            naga::AddressSpace::Uniform if binding.binding == 0 => {
                params = Some(module.types[variable.ty].inner.size(module.to_ctx()));
            }
            naga::AddressSpace::Storage { access } => {
                storage.push((binding.binding, access.contains(naga::StorageAccess::STORE)));
            }
            _ => return Err(bug("binds something other than params at 0 and storage buffers")),
        }
    }
    storage.sort_unstable();
    if storage.iter().enumerate().any(|(i, (binding, _))| *binding != i as u32 + 1) {
        return Err(bug("storage buffers must be bound to 1, 2, … without gaps"));
    }
    Ok(Reflection {
        entry: entry.name.clone(),
        params,
        writable: storage.into_iter().map(|(_, w)| w).collect(),
        workgroup: entry.workgroup_size,
    })
}

/// How many pipelines have been made.
static PIPELINES: AtomicU32 = AtomicU32::new(0);

/// A compiled kernel.
pub(crate) struct Pipeline {
    /// What tells it from all others.
    pub number: u32,
    /// The kernel's file, or what else it is called.
    pub label: String,
    pub raw: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub reflection: Reflection,
}

/// Compiles a validated module. `unchecked` leaves out the bounds tests and loop limits that wgpu adds.
pub(crate) fn compile(
    device: &wgpu::Device,
    label: &str,
    module: naga::Module,
    unchecked: bool,
) -> Result<Pipeline> {
    let reflection = reflect(label, &module)?;
    let limits = device.limits();
    if reflection.workgroup.iter().product::<u32>() > limits.max_compute_invocations_per_workgroup {
        return Err(Error::validation(
            "shader",
            format!("{label}: a workgroup of {:?} is larger than the device allows", reflection.workgroup),
            "Choose a smaller variant of the kernel.",
        ));
    }
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let source = wgpu::ShaderModuleDescriptor {
        label: Some(label),
        source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
    };
    let shader = if unchecked {
        // SAFETY: unchecked devices are asked for by name, and `gradus verify` runs every kernel on all of
        // its cases both with and without the checks, with poison behind each buffer.
        unsafe { device.create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked()) }
    } else {
        device.create_shader_module(source)
    };
    // With the least size given, wgpu need not look it up at every launch.
    let entry = |binding, ty, params: Option<u32>| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: params.is_some(),
            min_binding_size: params.and_then(|bytes| wgpu::BufferSize::new(bytes.into())),
        },
        count: None,
    };
    let uniform = reflection.params.map(|bytes| entry(0, wgpu::BufferBindingType::Uniform, Some(bytes)));
    let storage = reflection.writable.iter().zip(1..).map(|(&writable, binding)| {
        entry(binding, wgpu::BufferBindingType::Storage { read_only: !writable }, None)
    });
    let entries: Vec<_> = uniform.into_iter().chain(storage).collect();
    let layout = device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries });
    let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: Some(&device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        })),
        module: &shader,
        entry_point: Some(&reflection.entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[],
            // No kernel reads workgroup memory that it has not written.
            zero_initialize_workgroup_memory: !unchecked,
        },
        cache: None,
    });
    match pollster::block_on(scope.pop()) {
        Some(error) => Err(Error::validation(
            "shader",
            format!("{label}: {error}"),
            "Report this with the output of `gradus info`: the driver rejects the kernel.",
        )),
        None => {
            let number = PIPELINES.fetch_add(1, Relaxed);
            Ok(Pipeline { number, label: label.into(), raw, layout, reflection })
        }
    }
}
