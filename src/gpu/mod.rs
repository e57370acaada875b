//! The GPU device: adapter, buffers, pipelines, recorder and readback. Nothing outside this module names
//! wgpu; operations see [`Gpu`], [`Buffer`] and [`Dispatch`].

mod adapter;
mod clock;
mod fused;
mod groups;
mod kernel;
mod pointwise;
mod pool;
mod recorder;
mod shader;
mod stored;
pub(crate) mod tape;
mod transfer;
mod tuning;

pub use adapter::AdapterSummary;
pub use clock::KernelTime;
pub(crate) use fused::Fused;
pub(crate) use pointwise::{Operand, pointwise};
pub(crate) use pool::PART_ALIGNMENT;
pub use pool::{Buffer, PoolStats};
pub use recorder::Dispatch;
pub(crate) use shader::shader;
pub use shader::{Constants, Shader, Source, parse};
pub(crate) use transfer::Readback;
pub use tuning::{Choice, cache_folder};

use crate::choice::{Capabilities, Kind, LLVMPIPE};
use crate::dtype::DType;
use crate::error::{Error, Result};
use kernel::Kernel;
use pool::Pool;
use recorder::Recorder;
use rustc_hash::FxHashMap;
use shader::Pipeline;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tuning::Tuning;

/// How a GPU device is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuOptions {
    /// Ask only for WebGPU's default limits and no features, whatever the adapter offers.
    pub portable: bool,
    /// Compile kernels without bounds tests and loop limits. Every kernel is verified in both modes to
    /// give the same bits, but an input that no case foresaw could then read or write out of bounds.
    pub unchecked: bool,
    /// Fill new buffers with poison, put more behind their ends, and never reuse one: for verification.
    pub guard: bool,
    /// Use the kernels meant for this kind of adapter instead of the adapter's own.
    pub kernels: Option<Kernels>,
}

/// Which family of kernel variants suits an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// A CPU behind a graphics interface: many registers, no benefit from workgroup memory.
    Software,
    /// A GPU: tiles staged through workgroup memory.
    Hardware,
}

/// A change made to every kernel between parsing and compiling; see `verify --mutate`.
pub(crate) type Rewrite = Arc<dyn Fn(&str, naga::Module) -> naga::Module + Send + Sync>;

/// A record of launches.
#[derive(Clone, Default)]
pub(crate) struct Launches {
    /// The texts of the kernels by key.
    pub texts: HashMap<String, String>,
    /// A hash of what was launched, with which parameters and in how many groups, in order.
    pub digest: u64,
}

/// A GPU, open for work. Cloning shares it.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    summary: AdapterSummary,
    limits: wgpu::Limits,
    options: GpuOptions,
    kernels: Kernels,
    pool: Arc<Pool>,
    pipelines: Mutex<FxHashMap<String, Arc<Pipeline>>>,
    formulas: Mutex<pointwise::Cache>,
    tables: Mutex<HashMap<&'static str, Arc<Buffer>>>,
    recorder: Mutex<Recorder>,
    dispatches: AtomicU64,
    /// Nanoseconds that threads have waited for the device.
    waited: AtomicU64,
    /// The first error that no call was there to receive, and whether the device is lost.
    failure: Arc<OnceLock<Error>>,
    lost: Arc<OnceLock<String>>,
    rewrite: Mutex<Option<Rewrite>>,
    launched: Mutex<Option<Launches>>,
    tuning: Tuning,
}

impl Inner {
    /// Notes how long `wait` takes.
    fn blocked<T>(&self, wait: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = wait();
        self.waited.fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
        done
    }
}

impl Gpu {
    /// The preferred adapter: hardware before software.
    pub(crate) fn best(options: GpuOptions) -> Result<Self> {
        Gpu::open(&adapter::choose("gpu", |_, _| true)?, options)
    }

    /// The adapter with this number in the list, or the first whose name contains this text.
    pub(crate) fn named(request: &str, options: GpuOptions) -> Result<Self> {
        let wanted = request.to_lowercase();
        let chosen = match wanted.parse::<usize>() {
            Ok(number) => adapter::choose(request, |i, _| i == number),
            Err(_) => adapter::choose(request, |_, name| name.contains(&wanted)),
        };
        Gpu::open(&chosen?, options)
    }

    /// Every adapter on this machine, the preferred first.
    pub fn adapters() -> Vec<AdapterSummary> {
        adapter::all().iter().map(adapter::summary).collect()
    }

    fn open(adapter: &wgpu::Adapter, options: GpuOptions) -> Result<Self> {
        let info = adapter.get_info();
        let limits = if options.portable { wgpu::Limits::default() } else { adapter.limits() };
        let software = adapter::is_software(&info);
        let kernels = options.kernels.unwrap_or(if software { Kernels::Software } else { Kernels::Hardware });
        let mut wanted =
            wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY;
        wanted.set(wgpu::Features::SHADER_INT64, kernels == Kernels::Software);
        let features = if options.portable { wgpu::Features::empty() } else { adapter.features() & wanted };
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("gradus"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request).map_err(|e| Error::NoAdapter {
            given: format!("{} gave no device ({e})", info.name),
            remedy: "Try another adapter (see `gradus info`), or --device cpu.".into(),
        })?;
        let (failure, lost) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let (seen, gone) = (failure.clone(), lost.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            log::error!("{error}");
            let _ = seen.set(match error {
                wgpu::Error::OutOfMemory { source } => {
                    Error::out_of_memory("device", source.to_string(), "Free tensors or use smaller batches.")
                }
                other => Error::validation("device", other.to_string(), "Report this: a kernel is at fault."),
            });
        }));
        device.set_device_lost_callback(move |reason, message| {
            let _ = gone.set(format!("{reason:?} {message}"));
        });
        let max_bytes = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let summary = adapter::summary(adapter);
        // What was measured, was measured of kernels as they usually are.
        let usual = !options.portable && !options.guard && options.kernels.is_none();
        let tuning = if usual { Tuning::of(&summary) } else { Tuning::default() };
        Ok(Gpu(Arc::new(Inner {
            pool: Pool::new(device.clone(), max_bytes, options.guard),
            recorder: Mutex::new(Recorder::new(&device)),
            summary,
            tuning,
            pipelines: Mutex::default(),
            formulas: Mutex::default(),
            tables: Mutex::default(),
            dispatches: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            rewrite: Mutex::default(),
            launched: Mutex::default(),
            limits,
            options,
            kernels,
            device,
            queue,
            failure,
            lost,
        })))
    }

    /// What the adapter said of itself.
    pub fn summary(&self) -> &AdapterSummary {
        &self.0.summary
    }

    /// How the device was made.
    pub fn options(&self) -> GpuOptions {
        self.0.options
    }

    /// Which kernel variants suit the adapter.
    pub fn kernels(&self) -> Kernels {
        self.0.kernels
    }

    /// The size of every subgroup, if kernels may use subgroups and all have one size.
    pub fn subgroup(&self) -> Option<u32> {
        let [least, most] = self.0.summary.subgroup;
        let offered = self.0.device.features().contains(wgpu::Features::SUBGROUP);
        (offered && least == most).then_some(least)
    }

    /// What kernels are chosen by.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let kind = match (self.kernels(), self.0.summary.kind.as_str()) {
            (Kernels::Software, _) => Kind::Software,
            (Kernels::Hardware, "integrated") => Kind::Integrated,
            (Kernels::Hardware, _) => Kind::Discrete,
        };
        Capabilities {
            kind,
            subgroup: self.subgroup(),
            bytes: self.workgroup_bytes(),
            invocations: self.0.limits.max_compute_invocations_per_workgroup,
            turns: if self.0.summary.name.starts_with("llvmpipe") { LLVMPIPE } else { usize::MAX },
        }
    }

    /// The workgroup memory a kernel may use, in bytes.
    pub fn workgroup_bytes(&self) -> u32 {
        self.0.limits.max_compute_workgroup_storage_size
    }

    /// How much memory the pool holds.
    pub fn pool_stats(&self) -> PoolStats {
        self.0.pool.stats()
    }

    /// How many kernels have been launched so far.
    pub fn dispatches(&self) -> u64 {
        self.0.dispatches.load(Relaxed)
    }

    /// The seconds that threads have waited for the device so far.
    pub fn waited(&self) -> f64 {
        self.0.waited.load(Relaxed) as f64 * 1e-9
    }

    /// Destroys the device. What is read from it afterwards is [`Error::DeviceLost`].
    pub fn destroy(&self) {
        self.0.device.destroy();
    }

    pub(crate) fn same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A buffer for `bytes` bytes of 32-bit words with unspecified contents.
    ///
    /// Errors: [`Error::OutOfMemory`] if it exceeds the device's limits or memory.
    pub fn buffer(&self, op: &'static str, bytes: u64) -> Result<Arc<Buffer>> {
        self.take(op, bytes, false)
    }

    fn take(&self, op: &'static str, bytes: u64, half: bool) -> Result<Arc<Buffer>> {
        let taken = match self.0.pool.take(op, bytes, half) {
            Err(Error::OutOfMemory { .. })
                if bytes <= self.0.pool.max_bytes && self.pool_stats().idle > 0 =>
            {
                self.trim()?;
                self.0.pool.take(op, bytes, half)?
            }
            other => other?,
        };
        tape::taken(self, op, &taken);
        Ok(taken)
    }

    /// Gives buffers that nobody uses back to the driver, which other programs may need more; out of memory, it is
    /// done without asking. Waits for the device.
    ///
    /// Errors: what the device reports.
    pub fn trim(&self) -> Result<()> {
        self.wait()?;
        self.recorder().groups.clear();
        self.0.pool.trim();
        Ok(())
    }

    /// A buffer for `count` elements of a tensor, with unspecified contents.
    ///
    /// Errors: [`Error::DType`] for a type that the device does not store, f16 among them if it lacks the
    /// feature; [`Error::OutOfMemory`].
    pub fn elements(&self, op: &'static str, dtype: DType, count: usize) -> Result<Arc<Buffer>> {
        let remedy = match dtype {
            DType::F32 | DType::I32 => return self.buffer(op, 4 * count as u64),
            DType::F16 if self.half() => return self.take(op, 2 * count as u64, true),
            DType::F16 => {
                "Its shaders do not compute in f16 (no SHADER_F16): use f32 there, or the CPU device."
            }
            _ => "A GPU computes in f32, f16 and i32: convert with to_dtype, or use the CPU device.",
        };
        Err(Error::dtype(op, format!("{dtype} on {}", self.0.summary.name), remedy))
    }

    /// Whether tensors may be of f16.
    pub fn half(&self) -> bool {
        self.0.device.features().contains(wgpu::Features::SHADER_F16)
    }

    /// Whether nothing was written behind the end of a buffer, in guard mode.
    pub(crate) fn guard_intact(&self, buffer: &Buffer) -> Result<bool> {
        let behind = buffer.bound() - buffer.bytes();
        Ok(behind == 0 || buffer.guard_intact(&self.read(buffer, buffer.bytes(), behind)?.wait()?))
    }

    /// Runs `work`, and tells whether nothing was written behind the end of any buffer that it let go of.
    pub(crate) fn watched<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, bool)> {
        self.0.pool.watch(true);
        let done = work();
        let kept = self.0.pool.watch(false);
        let done = done?;
        for buffer in &kept {
            if !self.guard_intact(buffer)? {
                return Ok((done, false));
            }
        }
        Ok((done, true))
    }

    /// A buffer of numbers that never change, made and uploaded when a kernel first asks for it by name.
    ///
    /// Errors: those of [`buffer`](Self::buffer).
    pub(crate) fn table(&self, name: &'static str, make: impl FnOnce() -> Vec<i32>) -> Result<Arc<Buffer>> {
        let mut tables = self.0.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = tables.get(name) {
            return Ok(found.clone());
        }
        let words = make();
        let made = tape::paused(|| -> Result<Arc<Buffer>> {
            let made = self.buffer(name, 4 * words.len() as u64)?;
            self.upload(&made, bytemuck::cast_slice(&words));
            Ok(made)
        })?;
        tables.insert(name, made.clone());
        Ok(made)
    }

    /// What the device reported when nobody was there to receive it.
    pub(crate) fn health(&self, op: &'static str) -> Result<()> {
        if let Some(reason) = self.0.lost.get() {
            return Err(Error::device_lost(
                op,
                format!("{}: {reason}", self.0.summary.name),
                "Create the device again and resume from a checkpoint.",
            ));
        }
        match self.0.failure.get() {
            Some(Error::OutOfMemory { given, remedy, .. }) => Err(Error::out_of_memory(op, given, remedy)),
            Some(error) => {
                Err(Error::validation(op, error.to_string(), "See the log for the first message."))
            }
            None => Ok(()),
        }
    }

    /// Installs or removes a change to every kernel compiled from now on, and forgets the compiled ones
    /// that `stale` names by their keys.
    pub(crate) fn set_rewrite(&self, stale: impl Fn(&str) -> bool, rewrite: Option<Rewrite>) {
        *self.0.rewrite.lock().unwrap_or_else(PoisonError::into_inner) = rewrite;
        self.pipelines().retain(|key, _| !stale(key));
        self.0.formulas.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What was launched since the last call. Empty on the first call, which starts the record.
    pub(crate) fn take_launched(&self) -> Launches {
        let mut record = self.0.launched.lock().unwrap_or_else(PoisonError::into_inner);
        record.replace(Launches::default()).unwrap_or_default()
    }

    /// Notes a launch, with the kernel's text, if somebody keeps a record.
    fn note_launch(&self, kernel: &Kernel, params: &[u8], groups: [u32; 3]) -> Result<()> {
        if let Some(record) = &mut *self.0.launched.lock().unwrap_or_else(PoisonError::into_inner) {
            let key = kernel.key();
            let mut hasher = DefaultHasher::new();
            (record.digest, &key, params, groups).hash(&mut hasher);
            record.digest = hasher.finish();
            record.texts.insert(key, kernel.text()?);
        }
        Ok(())
    }

    /// Whether kernels move four floats as two words of 64 bits.
    fn pairs(&self) -> bool {
        self.0.device.features().contains(wgpu::Features::SHADER_INT64) && self.rewrite().is_none()
    }

    fn rewrite(&self) -> Option<Rewrite> {
        self.0.rewrite.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pipelines(&self) -> std::sync::MutexGuard<'_, FxHashMap<String, Arc<Pipeline>>> {
        self.0.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pipeline(&self, kernel: &Kernel) -> Result<Arc<Pipeline>> {
        let (key, label) = (kernel.key(), kernel.label());
        if let Some(found) = self.pipelines().get(&key) {
            return Ok(found.clone());
        }
        let text = kernel.text()?;
        // A kernel is changed as it is written. One that was not written here may access its buffers in other ways.
        let paired = self.pairs().then(|| stored::pair(&text)).flatten().map(|text| parse(&label, &text));
        let (mut module, _) = match paired {
            Some(Ok(parsed)) => parsed,
            _ => parse(&label, &text)?,
        };
        if let Some(rewrite) = self.rewrite() {
            module = rewrite(&key, module);
        }
        let made = Arc::new(shader::compile(&self.0.device, &label, module, self.0.options.unchecked)?);
        self.pipelines().insert(key, made.clone());
        Ok(made)
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.0.summary.name, self.0.summary.backend)
    }
}
