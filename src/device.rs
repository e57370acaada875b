//! Where tensors live: a GPU, or the CPU reference.

use crate::error::{Error, Result};
use crate::gpu::{Gpu, GpuOptions};
use std::fmt;

/// A device. Cloning shares it; tensors of one device cannot meet those of another.
#[derive(Clone)]
pub struct Device(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    Cpu,
    Gpu(Gpu),
}

impl Device {
    /// The CPU reference.
    pub fn cpu() -> Self {
        Device(Kind::Cpu)
    }

    /// The best there is: a hardware adapter, else a software one, else the CPU reference. Never fails for
    /// want of an adapter; [`Display`](fmt::Display) says which it is.
    pub fn auto() -> Result<Self> {
        match Device::gpu() {
            Err(Error::NoAdapter { given, .. }) => {
                log::info!("no adapter ({given}): using the CPU reference");
                Ok(Device::cpu())
            }
            other => other,
        }
    }

    /// The best adapter, hardware before software.
    ///
    /// Errors: [`Error::NoAdapter`].
    pub fn gpu() -> Result<Self> {
        Device::gpu_with(GpuOptions::default())
    }

    /// The best adapter, opened as the options say.
    pub fn gpu_with(options: GpuOptions) -> Result<Self> {
        Gpu::best(options).map(|gpu| Device(Kind::Gpu(gpu)))
    }

    /// The device meant by `auto`, `cpu`, `gpu`, a number in the list of `gradus info`, or part of an
    /// adapter's name.
    ///
    /// Errors: [`Error::NoAdapter`], naming the adapters there are.
    pub fn select(request: &str) -> Result<Self> {
        Device::select_with(request, GpuOptions::default())
    }

    /// [`select`](Self::select), with options for a GPU.
    pub fn select_with(request: &str, options: GpuOptions) -> Result<Self> {
        match request {
            "cpu" => Ok(Device::cpu()),
            "auto" => match Device::gpu_with(options) {
                Err(Error::NoAdapter { .. }) => Ok(Device::cpu()),
                other => other,
            },
            "gpu" => Device::gpu_with(options),
            name => Gpu::named(name, options).map(|gpu| Device(Kind::Gpu(gpu))),
        }
    }

    /// Whether this is the CPU reference.
    pub fn is_cpu(&self) -> bool {
        matches!(self.0, Kind::Cpu)
    }

    /// The GPU, if this is one.
    pub fn as_gpu(&self) -> Option<&Gpu> {
        match &self.0 {
            Kind::Cpu => None,
            Kind::Gpu(gpu) => Some(gpu),
        }
    }

    /// Waits until everything recorded so far has been done.
    pub fn wait(&self) -> Result<()> {
        self.as_gpu().map_or(Ok(()), Gpu::wait)
    }

    /// Whether both are the same device.
    pub fn same(&self, other: &Device) -> bool {
        match (&self.0, &other.0) {
            (Kind::Cpu, Kind::Cpu) => true,
            (Kind::Gpu(a), Kind::Gpu(b)) => a.same(b),
            _ => false,
        }
    }

    pub(crate) fn check_same(&self, op: &'static str, other: &Device) -> Result<()> {
        if self.same(other) {
            return Ok(());
        }
        Err(Error::device(
            op,
            format!("one tensor is on {self}, another on {other}"),
            "Move one of them with to_device.",
        ))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cpu => f.write_str("CPU reference"),
            Kind::Gpu(gpu) => {
                let s = gpu.summary();
                write!(f, "{} [{}, {}]", s.name, s.kind, s.backend)
            }
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
