//! Dispatches go into an open command encoder; it is submitted when somebody reads, or when enough has
//! gathered.

use super::half::Kernel;
use super::pool::Buffer;
use super::shader::Source;
use super::{Gpu, Inner};
use crate::error::{Error, Result};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

/// Work is handed to the device after this many dispatches, so that it starts while more is recorded.
const DISPATCHES_PER_SUBMISSION: usize = 64;
/// How many submissions may be under way before recording waits for the oldest.
const SUBMISSIONS_IN_FLIGHT: usize = 3;
/// The parameters of one submission's dispatches: each takes one slot of the device's uniform alignment.
const UNIFORM_BYTES: usize = DISPATCHES_PER_SUBMISSION * 1024;

/// Workgroups along x beyond which verification folds into y: prime, and few enough for small cases.
const FOLD_IN_VERIFICATION: usize = 5;

/// One kernel launch.
pub struct Dispatch<'a> {
    /// The operation, for error messages.
    pub op: &'static str,
    /// The kernel.
    pub source: Source<'a>,
    /// The bytes of the kernel's `params`, or none.
    pub params: &'a [u8],
    /// The storage buffers, in the order of the bindings from 1 on.
    pub buffers: &'a [&'a Buffer],
    /// Workgroups along x, y and z.
    pub groups: [u32; 3],
}

pub(super) struct Recorder {
    pass: Option<(wgpu::CommandEncoder, wgpu::ComputePass<'static>)>,
    /// Counts recordings; a buffer remembers the one that used it last.
    pub serial: u64,
    uniforms: wgpu::Buffer,
    staged: Vec<u8>,
    dispatches: usize,
    in_flight: std::collections::VecDeque<wgpu::SubmissionIndex>,
}

impl Recorder {
    pub fn new(device: &wgpu::Device) -> Self {
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: UNIFORM_BYTES as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Recorder {
            pass: None,
            serial: 1,
            uniforms,
            staged: vec![],
            dispatches: 0,
            in_flight: Default::default(),
        }
    }

    fn pass(&mut self, device: &wgpu::Device) -> &mut wgpu::ComputePass<'static> {
        let open = || {
            let mut encoder = device.create_command_encoder(&Default::default());
            let pass = encoder.begin_compute_pass(&Default::default()).forget_lifetime();
            (encoder, pass)
        };
        &mut self.pass.get_or_insert_with(open).1
    }

    /// Hands the recording over, with a last copy behind it if asked for.
    pub fn submit(&mut self, gpu: &Inner, copy: Option<(&Buffer, u64, &wgpu::Buffer, u64)>) {
        let encoder = match (self.pass.take(), copy) {
            (Some((encoder, pass)), _) => {
                drop(pass);
                Some(encoder)
            }
            (None, Some(_)) => Some(gpu.device.create_command_encoder(&Default::default())),
            (None, None) => None,
        };
        let Some(mut encoder) = encoder else { return };
        if let Some((from, offset, to, bytes)) = copy {
            encoder.copy_buffer_to_buffer(from.raw(), offset, to, 0, bytes);
        }
        if !self.staged.is_empty() {
            // Ordered behind the submissions before and ahead of this one: one buffer serves them all.
            gpu.queue.write_buffer(&self.uniforms, 0, &self.staged);
        }
        self.in_flight.push_back(gpu.queue.submit([encoder.finish()]));
        self.staged.clear();
        self.dispatches = 0;
        self.serial += 1;
        while self.in_flight.len() > SUBMISSIONS_IN_FLIGHT {
            let oldest = self.in_flight.pop_front();
            // A lost device is noted by its callback and reported by the next reader.
            let _ = gpu.device.poll(wgpu::PollType::Wait { submission_index: oldest, timeout: None });
        }
    }
}

impl Gpu {
    pub(super) fn recorder(&self) -> std::sync::MutexGuard<'_, Recorder> {
        self.0.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records one kernel launch. A launch without workgroups does nothing.
    ///
    /// Errors: [`Error::Validation`] if the kernel does not compile or its bindings are not those given.
    pub fn dispatch(&self, dispatch: Dispatch) -> Result<()> {
        let Dispatch { op, source, params, buffers, groups } = dispatch;
        if groups.contains(&0) {
            return Ok(());
        }
        let kernel = Kernel::of(source, buffers);
        self.note_launch(&kernel, params, groups)?;
        let pipeline = self.pipeline(&kernel)?;
        let (limits, expected) = (&self.0.limits, &pipeline.reflection);
        let padded = params.len().next_multiple_of(16) as u32;
        if buffers.len() != expected.writable.len()
            || expected.params.unwrap_or(0).next_multiple_of(16) != padded
            || groups.iter().any(|&g| g > limits.max_compute_workgroups_per_dimension)
        {
            return Err(Error::validation(
                op,
                format!(
                    "{}: {} buffers, {} bytes of parameters, {groups:?} workgroups; the kernel takes {} buffers, {:?} bytes",
                    source.label(),
                    buffers.len(),
                    params.len(),
                    expected.writable.len(),
                    expected.params,
                ),
                "The kernel and its launch disagree: mend one of them.",
            ));
        }
        let mut recorder = self.recorder();
        let slot = padded.next_multiple_of(limits.min_uniform_buffer_offset_alignment) as usize;
        if recorder.dispatches == DISPATCHES_PER_SUBMISSION || recorder.staged.len() + slot > UNIFORM_BYTES {
            recorder.submit(&self.0, None);
        }
        let offset = recorder.staged.len();
        recorder.staged.extend_from_slice(params);
        recorder.staged.resize(offset + slot, 0);
        let uniform = expected.params.map(|_| wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &recorder.uniforms,
                offset: 0,
                size: wgpu::BufferSize::new(u64::from(padded)),
            }),
        });
        let storage = buffers.iter().zip(1..).map(|(buffer, binding)| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: buffer.raw(),
                offset: 0,
                size: wgpu::BufferSize::new(buffer.bound()),
            }),
        });
        let entries: Vec<_> = uniform.into_iter().chain(storage).collect();
        let group = self.0.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        drop(entries);
        let serial = recorder.serial;
        let pass = recorder.pass(&self.0.device);
        pass.set_pipeline(&pipeline.raw);
        let offsets = [offset as u32];
        pass.set_bind_group(0, &group, if expected.params.is_some() { &offsets } else { &[] });
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
        recorder.dispatches += 1;
        self.0.dispatches.fetch_add(1, Relaxed);
        for buffer in buffers {
            buffer.mark_used(serial);
        }
        Ok(())
    }

    /// Workgroups for `count` items in groups of `size`: along x, folded into y beyond the device's limit.
    /// The kernel finds its group's number as `group.y * groups.x + group.x` and leaves if it is beyond.
    pub fn fold(&self, count: usize, size: usize) -> [u32; 3] {
        let most = self.0.limits.max_compute_workgroups_per_dimension as usize;
        // Verification folds early, so that small cases try it.
        let limit = if self.0.options.guard { FOLD_IN_VERIFICATION } else { most };
        let groups = count.div_ceil(size);
        if groups <= limit {
            [groups as u32, 1, 1]
        } else {
            // Even rows waste fewer groups in the last one.
            let rows = groups.div_ceil(limit);
            [groups.div_ceil(rows) as u32, rows as u32, 1]
        }
    }

    /// Writes host data into a buffer, after all recorded work that reads it.
    pub(crate) fn upload(&self, buffer: &Buffer, bytes: &[u8]) {
        let mut recorder = self.recorder();
        if buffer.last_use() == recorder.serial {
            recorder.submit(&self.0, None);
        }
        let (whole, rest) = bytes.split_at(bytes.len() / 4 * 4);
        self.0.queue.write_buffer(buffer.raw(), 0, whole);
        if !rest.is_empty() {
            // Copies are of whole words: an odd f16 is written with a zero behind it.
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            self.0.queue.write_buffer(buffer.raw(), whole.len() as u64, &word);
        }
    }

    /// Hands all recorded work to the device without waiting for it.
    pub fn flush(&self) {
        self.recorder().submit(&self.0, None);
    }

    /// Waits until the device has finished everything recorded so far.
    pub fn wait(&self) -> Result<()> {
        self.flush();
        let polled = self.0.device.poll(wgpu::PollType::wait_indefinitely());
        self.health("wait")?;
        polled.map(|_| ()).map_err(|e| {
            Error::device_lost("wait", e.to_string(), "Create the device again and resume from a checkpoint.")
        })
    }

    /// Reads bytes back. The future completes once the device is polled past the copy.
    pub(crate) fn read(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Readback> {
        let staging = self.0.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.recorder().submit(&self.0, Some((buffer, offset, &staging, bytes)));
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        staging.map_async(wgpu::MapMode::Read, .., move |mapped| {
            let _ = sender.send(mapped);
        });
        self.health("read")?;
        Ok(Readback { gpu: self.clone(), staging, receiver })
    }
}

/// A read that is under way.
pub(crate) struct Readback {
    gpu: Gpu,
    staging: wgpu::Buffer,
    receiver:
        futures_intrusive::channel::shared::OneshotReceiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    /// The bytes, once they are there. Somebody must poll the device: a browser does, elsewhere
    /// [`wait`](Self::wait) does.
    pub async fn bytes(self) -> Result<Vec<u8>> {
        let mapped = self.receiver.receive().await;
        self.gpu.health("read")?;
        let view = match mapped {
            Some(Ok(())) => self.staging.get_mapped_range(..).map_err(|e| e.to_string()),
            other => Err(format!("the copy could not be mapped ({other:?})")),
        };
        match view {
            Ok(view) => Ok(view.to_vec()),
            Err(given) => Err(Error::device_lost(
                "read",
                given,
                "Create the device again and resume from a checkpoint.",
            )),
        }
    }

    /// The bytes, blocking until they are there.
    pub fn wait(self) -> Result<Vec<u8>> {
        let _ = self.gpu.0.device.poll(wgpu::PollType::wait_indefinitely());
        pollster::block_on(self.bytes())
    }
}
