//! What recording a launch costs, beside a loop over wgpu that does nothing else: the same text, the same adapter.

use super::roofline::{FMA, Probe};
use gradus::{Device, Error, Result, Tensor};
use serde::Serialize;
use std::fmt;
use std::time::Instant;
use wgpu::util::DeviceExt;

/// Seconds from the first call until the work is handed over, a launch.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Recording {
    /// By wgpu alone: a bind group made before, its offset set, a dispatch.
    pub raw: f64,
    /// An operation with its kernel: rule, buffer, launch, and letting go of the result.
    pub operation: f64,
    /// A fused pointwise function, from its formula.
    pub pointwise: f64,
}

/// No more than are handed over at once: a software adapter at work would take the processor from what is timed.
const LAUNCHES: u32 = 64;
const ROUNDS: usize = 50;
/// Bytes between the parameters of two launches.
const SLOT: u32 = 256;

impl Recording {
    /// Measures on the device's adapter, in turns; what is left is the shortest round of each.
    pub fn measure(device: &Device) -> Result<Option<Self>> {
        let Some(gpu) = device.as_gpu() else { return Ok(None) };
        let raw = Raw::new(&gpu.summary().name)?;
        let probe = Probe { shader: &FMA, size: 64, invocations: 64, turns: 1, expected: 0.0 };
        let x = Tensor::from_slice(device, &[0.5f32, 1.0], [2])?;
        let mut best = Recording { raw: f64::INFINITY, operation: f64::INFINITY, pointwise: f64::INFINITY };
        for _ in 0..ROUNDS {
            let once = |work: &dyn Fn() -> Result<()>| -> Result<f64> {
                device.wait()?;
                let start = Instant::now();
                (0..LAUNCHES).try_for_each(|_| work())?;
                gpu.flush();
                let seconds = start.elapsed().as_secs_f64() / f64::from(LAUNCHES);
                device.wait()?;
                Ok(seconds)
            };
            // The first after another device's turn finds the caches cold.
            let record = |work: &dyn Fn() -> Result<()>| Ok::<_, Error>(once(work)?.min(once(work)?));
            best.operation = best.operation.min(record(&|| probe.launch(&x).map(drop))?);
            best.pointwise = best.pointwise.min(record(&|| x.add_scalar(1.0)?.finish())?);
            best.raw = best.raw.min(raw.record()).min(raw.record());
        }
        Ok(Some(best))
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |seconds: f64| format!("{:.2} µs (× {:.2})", seconds * 1e6, seconds / self.raw);
        write!(
            f,
            "recording one     {:9.2} µs by wgpu alone, {} an operation, {} a pointwise function",
            self.raw * 1e6,
            micros(self.operation),
            micros(self.pointwise)
        )
    }
}

/// Everything that can be made before.
struct Raw {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    uniforms: wgpu::Buffer,
}

impl Raw {
    fn new(adapter: &str) -> Result<Self> {
        let failed = |given: String| Error::NoAdapter {
            given,
            remedy: "See `gradus info` for the adapters there are.".into(),
        };
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let found = adapters.into_iter().find(|known| known.get_info().name == adapter);
        let found = found.ok_or_else(|| failed(format!("{adapter} is not there for a second device")))?;
        let (device, queue) = pollster::block_on(found.request_device(&wgpu::DeviceDescriptor::default()))
            .map_err(|e| failed(e.to_string()))?;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(FMA.source.into()),
        });
        let entry = |binding, ty, params| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: params,
                min_binding_size: wgpu::BufferSize::new(4),
            },
            count: None,
        };
        let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &[
                entry(0, wgpu::BufferBindingType::Uniform, true),
                entry(1, storage(true), false),
                entry(2, storage(false), false),
            ],
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            })),
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let buffer = |usage, contents: &[f32]| {
            let contents = bytemuck::cast_slice(contents);
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage })
        };
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(LAUNCHES * SLOT),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let x = buffer(wgpu::BufferUsages::STORAGE, &[0.5, 1.0]);
        let y = buffer(wgpu::BufferUsages::STORAGE, &[0.0; 64]);
        let params = wgpu::BufferBinding { buffer: &uniforms, offset: 0, size: wgpu::BufferSize::new(16) };
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(params) },
                wgpu::BindGroupEntry { binding: 1, resource: x.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 2, resource: y.as_entire_binding() },
            ],
        });
        Ok(Raw { device, queue, pipeline, group, uniforms })
    }

    /// Seconds a launch, in one pass and one submission.
    fn record(&self) -> f64 {
        let start = Instant::now();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        let mut params = Vec::new();
        for launch in 0..LAUNCHES {
            params.extend_from_slice(&1u32.to_le_bytes());
            params.resize(((launch + 1) * SLOT) as usize, 0);
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.group, &[launch * SLOT]);
            pass.dispatch_workgroups(1, 1, 1);
        }
        drop(pass);
        self.queue.write_buffer(&self.uniforms, 0, &params);
        self.queue.submit([encoder.finish()]);
        let seconds = start.elapsed().as_secs_f64() / f64::from(LAUNCHES);
        let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
        seconds
    }
}
