//! How long the device itself works, by its timestamps.

use super::{Gpu, Inner};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Timestamps of one set, as many as WebGPU lets it have.
const STAMPS: u32 = 4096;

/// Stamps the beginning and the end of every pass.
pub(super) struct Clock {
    sets: Vec<wgpu::QuerySet>,
    /// Stamps given away, those of all sets.
    used: u32,
    /// What was launched between each two, if each launch is a pass of its own.
    kernels: Option<Vec<String>>,
}

/// What passes took, in order.
struct Passes {
    seconds: Vec<f64>,
    /// What each was, if each launch was one.
    kernels: Option<Vec<String>>,
}

/// What the launches of one kernel took.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The kernel: its file under `shaders/`, or `pointwise`.
    pub kernel: String,
    /// How often it was launched.
    pub launches: u64,
    /// The seconds of all launches.
    pub seconds: f64,
}

impl Clock {
    fn new(each: bool) -> Self {
        Clock { sets: vec![], used: 0, kernels: each.then(Vec::new) }
    }

    /// Whether each launch is a pass of its own.
    pub fn each(&self) -> bool {
        self.kernels.is_some()
    }

    /// Where the next pass, which begins with this kernel, writes its times.
    pub fn stamps(&mut self, device: &wgpu::Device, kernel: &str) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = self.used % STAMPS;
        if first == 0 {
            self.sets.push(device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("clock"),
                ty: wgpu::QueryType::Timestamp,
                count: STAMPS,
            }));
        }
        self.used += 2;
        if let Some(kernels) = &mut self.kernels {
            kernels.push(kernel.into());
        }
        wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[self.sets.len() - 1],
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }
}

impl Gpu {
    /// Begins to measure how long the device works, if it offers timestamps: each kernel by itself if `each`, which
    /// itself takes time.
    pub fn start_clock(&self, each: bool) {
        if !self.0.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return;
        }
        let mut recorder = self.recorder();
        recorder.submit(&self.0, None);
        recorder.clock = Some(Clock::new(each));
    }

    /// Waits for the device, and returns the seconds that it spent on what was launched since
    /// [`start_clock`](Self::start_clock): without the time between two submissions. `None` if it offers no
    /// timestamps.
    ///
    /// Errors: [`Error::DeviceLost`], and what else the device reports.
    pub fn stop_clock(&self) -> Result<Option<f64>> {
        Ok(self.stopped()?.map(|passes| passes.seconds.iter().sum()))
    }

    /// [`stop_clock`](Self::stop_clock) where each kernel was measured by itself: the one that took longest first.
    pub fn stop_clocks(&self) -> Result<Option<Vec<KernelTime>>> {
        let Some(Passes { seconds, kernels: Some(kernels) }) = self.stopped()? else { return Ok(None) };
        let mut found: BTreeMap<String, (u64, f64)> = BTreeMap::new();
        for (kernel, seconds) in kernels.into_iter().zip(seconds) {
            let (launches, sum) = found.entry(kernel).or_default();
            (*launches, *sum) = (*launches + 1, *sum + seconds);
        }
        let row = |(kernel, (launches, seconds))| KernelTime { kernel, launches, seconds };
        let mut rows: Vec<KernelTime> = found.into_iter().map(row).collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(Some(rows))
    }

    /// The passes since the start.
    fn stopped(&self) -> Result<Option<Passes>> {
        self.wait()?;
        let Some(clock) = self.recorder().clock.take() else { return Ok(None) };
        let period = f64::from(self.0.queue.get_timestamp_period()) * 1e-9;
        let mut seconds = Vec::with_capacity(clock.used as usize / 2);
        for (set, first) in clock.sets.iter().zip((0..).step_by(STAMPS as usize)) {
            let stamps = self.resolve(set, (clock.used - first).min(STAMPS))?;
            seconds
                .extend(stamps.chunks_exact(2).map(|pass| pass[1].saturating_sub(pass[0]) as f64 * period));
        }
        Ok(Some(Passes { seconds, kernels: clock.kernels }))
    }

    /// The first `count` stamps of a set.
    fn resolve(&self, set: &wgpu::QuerySet, count: u32) -> Result<Vec<u64>> {
        let Inner { device, queue, .. } = &*self.0;
        let size = u64::from(count) * 8;
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("clock"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.resolve_query_set(set, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, size);
        queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        let _ = device.poll(wgpu::PollType::wait_indefinitely());
        self.health("clock")?;
        let view = staging.get_mapped_range(..).map_err(|e| {
            Error::device_lost(
                "clock",
                e.to_string(),
                "Create the device again and resume from a checkpoint.",
            )
        })?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}
