//! Which adapters there are, and which is meant.

use crate::error::{Error, Result};
use serde::Serialize;

/// What is known of an adapter before a device is made on it.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterSummary {
    /// The name the driver gives.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: String,
    /// The driver and its version.
    pub driver: String,
    /// Smallest and largest subgroup, in lanes.
    pub subgroup: [u32; 2],
    /// Whether shaders may compute in f16.
    pub f16: bool,
    /// Whether the device can time its own work.
    pub timestamps: bool,
    /// The largest buffer a kernel can be given, in bytes.
    pub max_binding_bytes: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Invocations in a workgroup, at most.
    pub workgroup_invocations: u32,
}

/// Whether the "adapter" is a program on the CPU.
pub(crate) fn is_software(info: &wgpu::AdapterInfo) -> bool {
    info.device_type == wgpu::DeviceType::Cpu
}

fn kind(info: &wgpu::AdapterInfo) -> &'static str {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    }
}

pub(crate) fn summary(adapter: &wgpu::Adapter) -> AdapterSummary {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    AdapterSummary {
        backend: info.backend.to_string().to_lowercase(),
        kind: kind(&info).into(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
        subgroup: [info.subgroup_min_size, info.subgroup_max_size],
        f16: features.contains(wgpu::Features::SHADER_F16),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        max_binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        workgroup_invocations: limits.max_compute_invocations_per_workgroup,
        name: info.name,
    }
}

/// All adapters that can run compute shaders, the preferred first: discrete, integrated, virtual and
/// unknown hardware, then software.
pub(crate) fn all() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    // Messages of the API's own validation layers are asked for with WGPU_VALIDATION=1, in any build.
    if std::env::var_os("WGPU_VALIDATION").is_none() {
        descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION);
    }
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    descriptor.backends &= backends;
    let instance = wgpu::Instance::new(descriptor);
    let mut found = pollster::block_on(instance.enumerate_adapters(backends));
    found.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    found.sort_by_key(|a| match a.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    found
}

/// The first adapter for which `meant` holds of its position and name in lower case.
pub(crate) fn choose(request: &str, meant: impl Fn(usize, &str) -> bool) -> Result<wgpu::Adapter> {
    let adapters = all();
    let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
    let position = names.iter().enumerate().position(|(i, name)| meant(i, &name.to_lowercase()));
    position.and_then(|i| adapters.into_iter().nth(i)).ok_or_else(|| {
        let there = if names.is_empty() {
            "there is none".into()
        } else {
            format!("there are: {}", names.join(", "))
        };
        Error::NoAdapter {
            given: format!("'{request}' was asked for; {there}"),
            remedy: "Install a Vulkan, Metal or DX12 driver (Debian and Ubuntu: mesa-vulkan-drivers \
                     libvulkan1 for a software one), or use the CPU device (--device cpu)."
                .into(),
        }
    })
}
