//! One chip's compiler: pipelines made and asked about, never run.

use ash::{Entry, khr, vk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::{CStr, CString};

/// A kernel, lowered.
#[derive(Serialize, Deserialize)]
pub struct Kernel {
    /// The shader's file.
    pub name: String,
    /// The file with the values of its constants.
    pub key: String,
    pub entry: String,
    /// Of a workgroup.
    pub invocations: u32,
    pub uniform: Vec<u32>,
    pub storage: Vec<u32>,
    pub words: Vec<u32>,
}

/// What the compiler said of a kernel.
#[derive(Clone, Serialize, Deserialize)]
pub struct Report {
    pub name: String,
    pub key: String,
    pub invocations: u32,
    /// Lanes of a subgroup.
    pub subgroup: u32,
    /// By the driver's names: `VGPRs`, `Spilled VGPRs`, `Scratch size`, `Subgroups per SIMD`, …
    pub statistics: BTreeMap<String, u64>,
    /// Of the basic block with the most multiply-adds: these, and its loads and stores.
    pub inner: Inner,
}

/// Instructions of the inner loop.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Inner {
    /// Multiply-adds; a packed one counts as two.
    pub fma: u32,
    /// Loads and stores of memory and of workgroup memory.
    pub memory: u32,
    /// Instructions of the vector units, these among them.
    pub vector: u32,
}

/// Compiles every kernel for the chip that the environment names.
pub fn compile(kernels: &[Kernel]) -> Result<Vec<Report>, Box<dyn Error>> {
    // SAFETY: the calls below follow the Vulkan specification: handles are used while alive, structures outlive
    // the calls they are given to, and nothing is destroyed before the process ends, which frees it all.
    unsafe {
        let entry = Entry::load()?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
        let instance =
            entry.create_instance(&vk::InstanceCreateInfo::default().application_info(&application), None)?;
        let physical = *instance.enumerate_physical_devices()?.first().ok_or("the driver shows no chip")?;
        let (queues, priorities) = (0, [1.0]);
        let queue =
            [vk::DeviceQueueCreateInfo::default().queue_family_index(queues).queue_priorities(&priorities)];
        let extensions = [khr::pipeline_executable_properties::NAME.as_ptr()];
        let mut wanted = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
            .pipeline_executable_info(true);
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queue)
            .enabled_extension_names(&extensions)
            .push_next(&mut wanted);
        let device = instance.create_device(physical, &info, None)?;
        let asked = khr::pipeline_executable_properties::Device::new(&instance, &device);
        kernels.iter().map(|kernel| report(&device, &asked, kernel)).collect()
    }
}

/// SAFETY: `device` and `asked` are of one living device.
unsafe fn report(
    device: &ash::Device,
    asked: &khr::pipeline_executable_properties::Device,
    kernel: &Kernel,
) -> Result<Report, Box<dyn Error>> {
    let binding = |kind| {
        move |&slot: &u32| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(slot)
                .descriptor_type(kind)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        }
    };
    let bindings: Vec<_> = kernel
        .uniform
        .iter()
        .map(binding(vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC))
        .chain(kernel.storage.iter().map(binding(vk::DescriptorType::STORAGE_BUFFER)))
        .collect();
    // SAFETY: as promised by the caller; every structure lives to the end of this function.
    unsafe {
        let set = device.create_descriptor_set_layout(
            &vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings),
            None,
        )?;
        let sets = [set];
        let layout = device
            .create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&sets), None)?;
        let module =
            device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&kernel.words), None)?;
        let entry = CString::new(kernel.entry.clone())?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(&entry);
        let create = vk::ComputePipelineCreateInfo::default()
            .flags(
                vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                    | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
            )
            .stage(stage)
            .layout(layout);
        let pipeline = device
            .create_compute_pipelines(vk::PipelineCache::null(), &[create], None)
            .map_err(|(_, error)| format!("{}: {error}", kernel.key))?[0];
        let properties =
            asked.get_pipeline_executable_properties(&vk::PipelineInfoKHR::default().pipeline(pipeline))?;
        let subgroup = properties.first().map_or(0, |p| p.subgroup_size);
        let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        let mut statistics = BTreeMap::new();
        for found in asked.get_pipeline_executable_statistics(&executable)? {
            let name = CStr::from_ptr(found.name.as_ptr()).to_string_lossy().into_owned();
            let value = match found.format {
                vk::PipelineExecutableStatisticFormatKHR::UINT64 => found.value.u64,
                vk::PipelineExecutableStatisticFormatKHR::INT64 => found.value.i64.unsigned_abs(),
                vk::PipelineExecutableStatisticFormatKHR::BOOL32 => u64::from(found.value.b32),
                _ => found.value.f64 as u64,
            };
            statistics.insert(name, value);
        }
        let inner = assembly(asked, &executable)?.map_or(Inner::default(), |text| inner(&text));
        device.destroy_pipeline(pipeline, None);
        Ok(Report {
            name: kernel.name.clone(),
            key: kernel.key.clone(),
            invocations: kernel.invocations,
            subgroup,
            statistics,
            inner,
        })
    }
}

/// The machine's instructions as text, if the driver gives them.
///
/// SAFETY: `executable` names a living pipeline made with its representations.
unsafe fn assembly(
    asked: &khr::pipeline_executable_properties::Device,
    executable: &vk::PipelineExecutableInfoKHR,
) -> Result<Option<String>, Box<dyn Error>> {
    // SAFETY: as promised by the caller; the second call is given as much room as the first asked for.
    unsafe {
        let mut found = asked.get_pipeline_executable_internal_representations(executable)?;
        let mut rooms: Vec<Vec<u8>> = found.iter().map(|f| vec![0; f.data_size]).collect();
        for (one, room) in found.iter_mut().zip(&mut rooms) {
            one.p_data = room.as_mut_ptr().cast();
        }
        let mut count = found.len() as u32;
        let call = asked.fp().get_pipeline_executable_internal_representations_khr;
        call(asked.device(), executable, &mut count, found.as_mut_ptr()).result()?;
        let last = found.iter().zip(&rooms).rfind(|(one, _)| one.is_text == vk::TRUE);
        Ok(last.map(|(_, room)| String::from_utf8_lossy(room).into_owned()))
    }
}

/// The block with the most multiply-adds. A block begins at a label.
fn inner(text: &str) -> Inner {
    let (mut best, mut now) = (Inner::default(), Inner::default());
    for line in text.lines().map(str::trim).chain(["end:"]) {
        if line.starts_with("BB") || line.ends_with(':') {
            if now.fma > best.fma {
                best = now;
            }
            now = Inner::default();
            continue;
        }
        let instruction = line.split_whitespace().next().unwrap_or("");
        let starts = |names: &[&str]| names.iter().any(|name| instruction.starts_with(name));
        now.vector += u32::from(starts(&["v_"]));
        if starts(&["v_pk_fma", "v_dual_fma"]) {
            now.fma += 2;
        } else if starts(&["v_fma", "v_mac", "v_mad_f", "v_madak", "v_madmk"]) {
            now.fma += 1;
        } else if starts(&[
            "buffer_",
            "global_",
            "flat_",
            "ds_read",
            "ds_write",
            "ds_load",
            "ds_store",
            "s_buffer_",
            "s_load",
        ]) {
            now.memory += 1;
        }
    }
    best
}
