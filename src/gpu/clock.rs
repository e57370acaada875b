//! How long the device itself works, by its timestamps.

use super::{Gpu, Inner};
use crate::error::{Error, Result};

/// Timestamps of one measurement, two for each submission: as many as WebGPU lets one set have.
const STAMPS: u32 = 4096;

/// Stamps the beginning and the end of every pass.
pub(super) struct Clock {
    set: wgpu::QuerySet,
    used: u32,
}

impl Clock {
    /// Where the next pass writes its times, while there is room.
    pub fn stamps(&mut self) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let first = self.used;
        self.used += 2;
        (self.used <= STAMPS).then_some(wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }
}

impl Gpu {
    /// Begins to measure how long the device works, if it offers timestamps.
    pub fn start_clock(&self) {
        if !self.0.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return;
        }
        let mut recorder = self.recorder();
        recorder.submit(&self.0, None);
        let set = self.0.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("clock"),
            ty: wgpu::QueryType::Timestamp,
            count: STAMPS,
        });
        recorder.clock = Some(Clock { set, used: 0 });
    }

    /// Waits for the device, and returns the seconds that it spent on what was launched since
    /// [`start_clock`](Self::start_clock): without the time between two submissions. `None` if it offers no
    /// timestamps, or there were more than 2048 submissions.
    ///
    /// Errors: [`Error::DeviceLost`], and what else the device reports.
    pub fn stop_clock(&self) -> Result<Option<f64>> {
        self.wait()?;
        let Some(clock) = self.recorder().clock.take().filter(|clock| clock.used <= STAMPS) else {
            return Ok(None);
        };
        if clock.used == 0 {
            return Ok(Some(0.0));
        }
        let Inner { device, queue, .. } = &*self.0;
        let size = u64::from(clock.used) * 8;
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
        encoder.resolve_query_set(&clock.set, 0..clock.used, &resolved, 0);
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
        let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        let ticks: u64 = stamps.chunks_exact(2).map(|pass| pass[1].saturating_sub(pass[0])).sum();
        Ok(Some(ticks as f64 * f64::from(queue.get_timestamp_period()) * 1e-9))
    }
}
