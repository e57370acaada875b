//! What the device can do at most: arithmetic, memory, and what a launch costs.

use super::record::Recording;
use gradus::autodiff::At;
use gradus::gpu::{Dispatch, Gpu, Shader, Source};
use gradus::op::{self, Data, GpuView, Inputs, Meta, Op};
use gradus::real::Real;
use gradus::{Array, DType, Device, Error, Result, Shape, Tensor};
use serde::Serialize;
use std::fmt;
use std::sync::LazyLock;
use std::time::Instant;

pub(super) static FMA: Shader = Shader { name: "bench/fma.wgsl", source: include_str!("fma.wgsl") };
/// The same in f16: the numbers that it comes to are exact there too.
static HALF_FMA: LazyLock<Shader> = LazyLock::new(|| {
    let [factor, term, sum] = ["vec4(x[0])", "vec4(x[1])", "(s.x + s.y) + (s.z + s.w)"];
    let text = FMA.source.replace("vec4<f32>()", "vec4<f16>()").replace(sum, &format!("f32({sum})"));
    let text = text.replace(factor, "vec4(f16(x[0]))").replace(term, "vec4(f16(x[1]))");
    Shader { name: "bench/fma.wgsl in f16", source: Box::leak(format!("enable f16; {text}").into()) }
});
static SHARED: Shader = Shader { name: "bench/shared.wgsl", source: include_str!("shared.wgsl") };

/// What the device reached, each the best of several tries; of what it does not have, nothing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Roofline {
    /// f32 operations a second, two for each multiplication with addition.
    pub flops: f64,
    /// f16 operations a second, where shaders may compute in it.
    pub half_flops: Option<f64>,
    /// Bytes a second read and written by a copy of 64 MiB.
    pub copy_bytes: f64,
    /// Bytes a second read from workgroup memory.
    pub workgroup_bytes: Option<f64>,
    /// Seconds for one launch that is waited for.
    pub launch_alone: Option<f64>,
    /// Seconds for one launch among a thousand.
    pub launch_in_batch: Option<f64>,
    /// What recording a launch costs the host.
    pub recording: Option<Recording>,
}

const TRIES: usize = 5;

impl Roofline {
    /// Measures; takes about a second on a software adapter.
    pub fn measure(device: &Device) -> Result<Self> {
        let elements = 1 << 24;
        let x = Tensor::zeros(device, [elements])?.contiguous()?;
        let copy = best(device, || x.add_scalar(1.0)?.finish())?;
        let copy_bytes = 8.0 * elements as f64 / copy;
        if device.is_cpu() {
            // The fastest arithmetic that the CPU device has: a product that stays in the caches.
            let n = 512;
            let a = Tensor::ones(device, [n, n])?;
            let seconds = best(device, || a.matmul(&a).map(|_| ()))?;
            let flops = 2.0 * (n * n * n) as f64 / seconds;
            return Ok(Roofline {
                flops,
                half_flops: None,
                copy_bytes,
                workgroup_bytes: None,
                launch_alone: None,
                launch_in_batch: None,
                recording: None,
            });
        }
        let half = device.as_gpu().is_some_and(Gpu::half);
        let small = Tensor::zeros(device, [64])?;
        let alone = best(device, || small.add_scalar(1.0)?.finish())?;
        let batch = best(device, || (0..1000).try_for_each(|_| small.add_scalar(1.0)?.finish()))?;
        Ok(Roofline {
            flops: arithmetic(device, &FMA)?,
            half_flops: half.then(|| arithmetic(device, &HALF_FMA)).transpose()?,
            copy_bytes,
            workgroup_bytes: Some(shared(device)?),
            launch_alone: Some(alone),
            launch_in_batch: Some(batch / 1000.0),
            recording: Recording::measure(device)?,
        })
    }

    /// The least time for so much arithmetic and so many bytes.
    pub fn seconds(&self, flop: f64, bytes: f64) -> f64 {
        (flop / self.flops).max(bytes / self.copy_bytes)
    }
}

impl fmt::Display for Roofline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arithmetic        {:9.1} GFLOP/s (f32)", self.flops / 1e9)?;
        match self.half_flops {
            Some(half) => writeln!(f, ", {:.1} (f16)", half / 1e9)?,
            None => writeln!(f)?,
        }
        write!(f, "memory, copying   {:9.2} GB/s", self.copy_bytes / 1e9)?;
        if let Some(bytes) = self.workgroup_bytes {
            write!(f, "\nworkgroup memory  {:9.1} GB/s", bytes / 1e9)?;
        }
        if let (Some(alone), Some(batch)) = (self.launch_alone, self.launch_in_batch) {
            write!(
                f,
                "\na launch          {:9.1} µs alone, {:.1} µs among a thousand",
                alone * 1e6,
                batch * 1e6
            )?;
        }
        if let Some(recording) = self.recording {
            write!(f, "\n{recording}")?;
        }
        Ok(())
    }
}

/// The shortest time of `work`, device drained.
fn best(device: &Device, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..=TRIES {
        device.wait()?;
        let start = Instant::now();
        work()?;
        device.wait()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}

/// Operations a second, from registers.
fn arithmetic(device: &Device, shader: &'static Shader) -> Result<f64> {
    let (invocations, turns) = (512 * 64, 256);
    let probe = Probe { shader, size: 64, invocations, turns, expected: 64.0 };
    let seconds = probe.time(&Tensor::from_slice(device, &[0.5f32, 1.0], [2])?)?;
    Ok((invocations * turns * 16 * 4 * 2) as f64 / seconds)
}

/// Bytes a second from workgroup memory.
fn shared(device: &Device) -> Result<f64> {
    let (invocations, turns) = (128 * 256, 256);
    let probe = Probe { shader: &SHARED, size: 256, invocations, turns, expected: 16.0 * turns as f64 };
    let seconds = probe.time(&Tensor::ones(device, [1])?)?;
    Ok((invocations * turns * 64) as f64 / seconds)
}

/// A kernel that shows how fast the device is, and leaves the same number in every invocation.
#[derive(Clone, Copy)]
pub(super) struct Probe {
    pub shader: &'static Shader,
    /// Invocations of a workgroup, and all.
    pub size: usize,
    pub invocations: usize,
    pub turns: usize,
    pub expected: f64,
}

impl Probe {
    pub fn launch(self, x: &Tensor) -> Result<Tensor> {
        Ok(op::apply(self, &[x])?.swap_remove(0))
    }

    fn time(self, x: &Tensor) -> Result<f64> {
        let run = || self.launch(x);
        match run()?.to_f64()?.into_iter().find(|word| *word != self.expected) {
            None => best(x.device(), || run().map(|_| ())),
            Some(word) => Err(Error::Validation {
                op: self.shader.name,
                given: format!("{word} where {} is right", self.expected),
                remedy: "The adapter computes wrongly: run `gradus verify`.".into(),
            }),
        }
    }
}

impl Op for Probe {
    fn name(&self) -> &'static str {
        self.shader.name
    }

    fn rule(&self, _: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![Meta::new(Shape::new(&[self.invocations])?, DType::F32)])
    }

    fn reference<R: Real>(&self, _: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        vec![Data::Real(Array::from_fn(outputs[0].shape, |_| R::from_f64(self.expected)))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        gpu.dispatch(Dispatch {
            op: self.shader.name,
            source: Source::File(self.shader, &[]),
            params: bytemuck::cast_slice(&[self.turns as u32]),
            buffers: &op::buffers(inputs, outputs),
            groups: [(self.invocations / self.size) as u32, 1, 1],
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }

    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}
