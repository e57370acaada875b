//! Dispatches go into an open command encoder; it is submitted when somebody reads, or when enough has
//! gathered.

use super::clock::Clock;
use super::groups::Groups;
use super::kernel::Kernel;
use super::pool::Buffer;
use super::shader::{Pipeline, Source};
use super::{Gpu, Inner, tape};
use crate::choice;
use crate::error::{Error, Result};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

/// Work is handed to the device after this many dispatches, so that it starts while more is recorded.
const DISPATCHES_PER_SUBMISSION: usize = 64;
/// How many submissions may be under way before recording waits for the oldest.
const SUBMISSIONS_IN_FLIGHT: usize = 3;
/// The parameters of one submission's dispatches: each takes one slot of the device's uniform alignment.
const UNIFORM_BYTES: usize = DISPATCHES_PER_SUBMISSION * 1024;

/// Workgroups along x beyond which verification folds into y: prime, and few enough for small cases.
const FOLD_IN_VERIFICATION: usize = 5;
/// Turns of a loop that is cut into launches, where small cases are to try that.
const TURNS_IN_VERIFICATION: usize = 23;

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
    // The pass first: it ends before what it is recorded in goes.
    pass: Option<Pass>,
    encoder: Option<wgpu::CommandEncoder>,
    /// Counts recordings; a buffer remembers the one that used it last.
    pub serial: u64,
    uniforms: wgpu::Buffer,
    staged: Vec<u8>,
    dispatches: usize,
    in_flight: std::collections::VecDeque<wgpu::SubmissionIndex>,
    pub groups: Groups,
    pub clock: Option<Clock>,
}

/// The launches that are being recorded.
struct Pass {
    raw: wgpu::ComputePass<'static>,
    /// The pipeline that is set.
    pipeline: Option<u32>,
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
            encoder: None,
            serial: 1,
            uniforms,
            staged: vec![],
            dispatches: 0,
            in_flight: Default::default(),
            groups: Groups::default(),
            clock: None,
        }
    }

    /// Hands the recording over, with a last copy behind it if asked for.
    pub fn submit(&mut self, gpu: &Inner, copy: Option<(&Buffer, u64, &wgpu::Buffer, u64)>) {
        self.pass = None;
        if let Some((from, at, to, bytes)) = copy {
            let at = from.start() + at;
            self.encoder(&gpu.device).copy_buffer_to_buffer(from.raw(), at, to, 0, bytes);
        }
        let Some(encoder) = self.encoder.take() else { return };
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
            let wait = wgpu::PollType::Wait { submission_index: oldest, timeout: None };
            let _ = gpu.blocked(|| gpu.device.poll(wait));
        }
    }

    fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()))
    }

    /// Copies bytes from one buffer, from there on, to another.
    pub fn copy(&mut self, gpu: &Inner, (from, at): (&Buffer, u64), (to, into): (&Buffer, u64), bytes: u64) {
        self.pass = None;
        let (at, into) = (from.start() + at, to.start() + into);
        self.encoder(&gpu.device).copy_buffer_to_buffer(from.raw(), at, to.raw(), into, bytes);
        from.mark_used(self.serial);
        to.mark_used(self.serial);
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
        let Dispatch { source, params, buffers, groups, .. } = dispatch;
        if groups.contains(&0) {
            return Ok(());
        }
        let kernel = Kernel::of(source, buffers);
        let Some(fused) = kernel.fused() else {
            self.note_launch(&kernel, params, groups)?;
            return self.dispatch_made(dispatch, &self.pipeline(&kernel)?);
        };
        let mut params = params.to_vec();
        fused.extend(&mut params);
        let buffers: Vec<&Buffer> = buffers.iter().copied().chain(fused.leaves()).collect();
        self.note_launch(&kernel, &params, groups)?;
        self.dispatch_made(
            Dispatch { params: &params, buffers: &buffers, ..dispatch },
            &self.pipeline(&kernel)?,
        )
    }

    /// [`dispatch`](Self::dispatch) where the kernel has been compiled, and the launch noted.
    pub(super) fn dispatch_made(&self, dispatch: Dispatch, pipeline: &Arc<Pipeline>) -> Result<()> {
        let Dispatch { op, source, params, buffers, groups } = dispatch;
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
        tape::launched(self, pipeline, params, buffers, groups)?;
        self.launch(pipeline, params, buffers, groups);
        Ok(())
    }

    /// Records a launch that fits its kernel.
    pub(super) fn launch(&self, pipeline: &Pipeline, params: &[u8], buffers: &[&Buffer], groups: [u32; 3]) {
        let mut guard = self.recorder();
        let recorder = &mut *guard;
        let padded = params.len().next_multiple_of(16) as u32;
        let slot = padded.next_multiple_of(self.0.limits.min_uniform_buffer_offset_alignment) as usize;
        if recorder.dispatches == DISPATCHES_PER_SUBMISSION || recorder.staged.len() + slot > UNIFORM_BYTES {
            recorder.submit(&self.0, None);
        }
        let offset = recorder.staged.len();
        recorder.staged.extend_from_slice(params);
        recorder.staged.resize(offset + slot, 0);
        let uniforms = (&recorder.uniforms, padded);
        let make = || bind_group(&self.0.device, pipeline, uniforms, buffers);
        // In guard mode no buffer is ever used again, and must not be kept.
        let made;
        let group = match self.0.options.guard {
            true => {
                made = make();
                &made
            }
            false => recorder.groups.get(pipeline.number, buffers, make),
        };
        let each = recorder.clock.as_ref().is_some_and(Clock::each);
        // Where each launch is a pass of its own, the one before must end first.
        recorder.pass.take_if(|_| each);
        let pass = recorder.pass.get_or_insert_with(|| {
            let device = &self.0.device;
            let encoder =
                recorder.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()));
            let timestamp_writes = recorder.clock.as_mut().map(|clock| clock.stamps(device, &pipeline.label));
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
            Pass { raw: encoder.begin_compute_pass(&descriptor).forget_lifetime(), pipeline: None }
        });
        if pass.pipeline.replace(pipeline.number) != Some(pipeline.number) {
            pass.raw.set_pipeline(&pipeline.raw);
        }
        let offsets = [offset as u32];
        pass.raw.set_bind_group(0, group, if pipeline.reflection.params.is_some() { &offsets } else { &[] });
        pass.raw.dispatch_workgroups(groups[0], groups[1], groups[2]);
        recorder.dispatches += 1;
        self.0.dispatches.fetch_add(1, Relaxed);
        for buffer in buffers {
            buffer.mark_used(recorder.serial);
        }
    }

    /// Workgroups for `count` items in groups of `size`: along x, folded into y beyond the device's limit.
    /// The kernel finds its group's number as `group.y * groups.x + group.x` and leaves if it is beyond.
    pub fn fold(&self, count: usize, size: usize) -> [u32; 3] {
        let most = self.0.limits.max_compute_workgroups_per_dimension as usize;
        // Verification folds early, so that small cases try it.
        let limit = if self.0.options.guard { FOLD_IN_VERIFICATION } else { most };
        choice::fold(count.div_ceil(size), limit)
    }

    /// How often a loop turns in one launch, where longer work can be cut.
    pub(crate) fn turns(&self) -> usize {
        if self.0.options.guard { TURNS_IN_VERIFICATION } else { choice::TURNS }
    }

    /// The ranges of 0..n for a launch each, where a loop turns once for each of them; one at least.
    pub(crate) fn launches(&self, n: usize) -> impl Iterator<Item = [u32; 2]> {
        let most = self.turns();
        (0..n.max(1)).step_by(most).map(move |first| [first, n.min(first + most)].map(|v| v as u32))
    }

    /// Room for what each of `count` invocations hands from one of the [`launches`](Self::launches) of 0..n to the next.
    pub(crate) fn carry(&self, op: &'static str, n: usize, count: usize) -> Result<Arc<Buffer>> {
        let carried = if n > self.turns() { count } else { 1 };
        self.buffer(op, 4 * carried as u64)
    }
}

fn bind_group(
    device: &wgpu::Device,
    pipeline: &Pipeline,
    (uniforms, params): (&wgpu::Buffer, u32),
    buffers: &[&Buffer],
) -> wgpu::BindGroup {
    let entry = |binding, buffer, offset, bytes| wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(bytes),
        }),
    };
    let uniform = pipeline.reflection.params.map(|_| entry(0, uniforms, 0, params.into()));
    let storage = (buffers.iter().zip(1..))
        .map(|(buffer, binding)| entry(binding, buffer.raw(), buffer.start(), buffer.bound()));
    let entries: Vec<_> = uniform.into_iter().chain(storage).collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.layout,
        entries: &entries,
    })
}
