//! Storage buffers, and the pool they return to when the last tensor lets go.

use super::fused::Fused;
use super::tape;
use crate::error::{Error, Result};
use crate::footprint;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes of poison behind every buffer in guard mode. Longer than any kernel's tile of a row.
const GUARD_BYTES: u64 = 4096;
/// A NaN as f32, an index far outside everything as i32 and u32. The low 20 bits number the buffer: arithmetic
/// hands a NaN on as it is, so poison read in one buffer and written behind the end of another would not show.
const POISON: u32 = 0x7fe0_0001;

/// What the first byte of a part is a multiple of: WebGPU's default for what is bound.
pub(crate) const PART_ALIGNMENT: u64 = 256;

/// How much memory a device's pool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Bytes of buffers that tensors hold.
    pub live: u64,
    /// Bytes of buffers waiting to be used again.
    pub idle: u64,
    /// How many buffers have been created on the device so far.
    pub created: u64,
}

/// A buffer as the device made it.
struct Raw {
    buffer: wgpu::Buffer,
    /// What tells it from all others of the device, those that are gone included.
    number: u32,
    /// The serial number of the last recording that uses it.
    last_use: u64,
}

/// Buffers waiting to be used again, by size class.
#[derive(Default)]
struct Shelf {
    idle: FxHashMap<u64, Vec<Raw>>,
    /// What was dropped since a watch began.
    watched: Option<Vec<Buffer>>,
    stats: PoolStats,
}

/// Where buffers come from and return to.
pub(crate) struct Pool {
    device: wgpu::Device,
    shelf: Mutex<Shelf>,
    pub max_bytes: u64,
    guard: bool,
}

/// How many buffers any pool has handed out.
static LEASES: AtomicU64 = AtomicU64::new(0);

/// A storage buffer of some tensor. Dropping it returns it to the pool.
pub struct Buffer {
    raw: Option<wgpu::Buffer>,
    number: u32,
    /// What tells this use of the device's buffer from all others.
    lease: u64,
    /// For [`alias`](Buffer::alias) and [`part`](Buffer::part): whose buffer it is.
    of: Option<Arc<Buffer>>,
    /// The byte of the device's buffer that is this one's first.
    start: u64,
    me: Weak<Buffer>,
    class: u64,
    /// The bytes that hold data.
    bytes: u64,
    /// Whether the elements are of 16 bits.
    half: bool,
    /// What kernels evaluate where they read or store it.
    fused: Option<Arc<Fused>>,
    /// What it was filled with, in guard mode.
    poison: u32,
    /// The serial number of the last recording that uses the buffer.
    last_use: AtomicU64,
    pool: Arc<Pool>,
}

/// The capacity for a request: the next of 8, 10, 12, 14 times a power of two, so at most a quarter is
/// wasted and buffers of similar sizes can stand in for one another.
fn class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (bytes.next_power_of_two() / 8).max(64);
    bytes.div_ceil(step) * step
}

impl Pool {
    pub fn new(device: wgpu::Device, max_bytes: u64, guard: bool) -> Arc<Self> {
        Arc::new(Pool { device, shelf: Mutex::default(), max_bytes, guard })
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins or ends to keep what is dropped, for its guard to be read; returns what was kept.
    pub fn watch(&self, on: bool) -> Vec<Buffer> {
        std::mem::replace(&mut self.shelf().watched, on.then(Vec::new)).unwrap_or_default()
    }

    pub fn stats(&self) -> PoolStats {
        self.shelf().stats
    }

    /// Gives what is idle back to the driver.
    pub fn trim(&self) {
        let mut shelf = self.shelf();
        shelf.idle.clear();
        shelf.stats.idle = 0;
    }

    /// A buffer for `bytes` bytes. Its contents are unspecified; in guard mode they are poison, and
    /// [`Buffer::guard_intact`] tells whether anything was written behind the end.
    pub fn take(self: &Arc<Self>, op: &'static str, bytes: u64, half: bool) -> Result<Arc<Buffer>> {
        let bytes = bytes.max(4).next_multiple_of(4);
        if bytes > self.max_bytes {
            return Err(Error::out_of_memory(
                op,
                format!("{bytes} bytes in one tensor, the device binds at most {}", self.max_bytes),
                "Split the tensor, or use a device with larger limits (see `gradus info`).",
            ));
        }
        let class = if self.guard { bytes + GUARD_BYTES } else { class(bytes).min(self.max_bytes) };
        let lease = LEASES.fetch_add(1, Relaxed);
        let poison = POISON + (lease % 0xf_ffff) as u32;
        let reused = {
            let mut shelf = self.shelf();
            let reused = shelf.idle.get_mut(&class).and_then(Vec::pop);
            if reused.is_some() {
                shelf.stats.idle -= class;
                shelf.stats.live += class;
            }
            reused
        };
        let raw = match reused {
            Some(raw) => raw,
            None => self.create(op, class, poison)?,
        };
        footprint::hold(bytes);
        Ok(Arc::new_cyclic(|me| Buffer {
            raw: Some(raw.buffer),
            number: raw.number,
            lease,
            of: None,
            start: 0,
            me: me.clone(),
            class,
            bytes,
            half,
            fused: None,
            poison,
            last_use: AtomicU64::new(raw.last_use),
            pool: self.clone(),
        }))
    }

    fn create(&self, op: &'static str, size: u64, poison: u32) -> Result<Raw> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(op),
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: self.guard,
        });
        let failed = pollster::block_on(validation.pop()).or(pollster::block_on(memory.pop()));
        if let Some(error) = failed {
            return Err(Error::out_of_memory(
                op,
                format!("the device refused {size} bytes ({error})"),
                "Free tensors, use smaller batches, or a device with more memory.",
            ));
        }
        if self.guard {
            if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
                view.copy_from_slice(&poison.to_le_bytes().repeat(size as usize / 4));
            }
            buffer.unmap();
        }
        let mut shelf = self.shelf();
        shelf.stats.created += 1;
        shelf.stats.live += size;
        Ok(Raw { buffer, number: shelf.stats.created as u32, last_use: 0 })
    }
}

impl Buffer {
    pub(crate) fn raw(&self) -> &wgpu::Buffer {
        // The option is empty only while the buffer is being dropped.
        self.raw.as_ref().unwrap_or_else(|| unreachable!("a buffer in use"))
    }

    /// What tells the device's buffer from all others, and which words of it are bound.
    pub(super) fn identity(&self) -> [u32; 3] {
        [self.number, (self.start / 4) as u32, (self.bound() / 4) as u32]
    }

    /// The byte of the device's buffer that is this one's first.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn lease(&self) -> u64 {
        self.lease
    }

    /// A handle to what this is a reference to.
    pub(super) fn handle(&self) -> Option<Arc<Buffer>> {
        self.me.upgrade()
    }

    /// The same buffer under another lease, so that a tape can tell who uses it.
    pub(crate) fn alias(self: &Arc<Self>) -> Arc<Buffer> {
        self.reference(LEASES.fetch_add(1, Relaxed), None)
    }

    /// Some of the bytes as a buffer of their own, from a multiple of [`PART_ALIGNMENT`] on.
    pub(crate) fn part(self: &Arc<Self>, start: u64, bytes: u64) -> Arc<Buffer> {
        let bytes = bytes.max(4).next_multiple_of(4);
        self.within(LEASES.fetch_add(1, Relaxed), None, (self.start + start, bytes, bytes.max(16)))
    }

    /// What this is a part of, and from which byte of it on.
    pub(crate) fn whole(&self) -> Option<(&Arc<Buffer>, u64)> {
        self.of.as_ref().map(|of| (of, self.start - of.start))
    }

    /// The same buffer with a formula for the kernels that it is given to.
    pub(super) fn carrying(self: &Arc<Self>, fused: Arc<Fused>) -> Arc<Buffer> {
        self.reference(self.lease, Some(fused))
    }

    fn reference(self: &Arc<Self>, lease: u64, fused: Option<Arc<Fused>>) -> Arc<Buffer> {
        self.within(lease, fused, (self.start, self.bytes, self.class))
    }

    fn within(
        self: &Arc<Self>,
        lease: u64,
        fused: Option<Arc<Fused>>,
        (start, bytes, class): (u64, u64, u64),
    ) -> Arc<Buffer> {
        Arc::new_cyclic(|me| Buffer {
            raw: self.raw.clone(),
            lease,
            of: Some(self.clone()),
            start,
            me: me.clone(),
            class,
            bytes,
            fused,
            last_use: AtomicU64::new(self.last_use()),
            pool: self.pool.clone(),
            ..**self
        })
    }

    /// What kernels evaluate where they read or store it.
    pub(crate) fn fused(&self) -> Option<&Fused> {
        self.fused.as_deref()
    }

    /// The bytes of data.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the elements are f16: kernels read them as f32 and round what they store.
    pub fn is_half(&self) -> bool {
        self.half
    }

    /// The bytes a kernel is given: the data, and in guard mode the poison behind it. At least one vector, which a
    /// kernel that reads by fours wants to see even where it reads nothing.
    pub(crate) fn bound(&self) -> u64 {
        if self.pool.guard { self.class } else { self.bytes.max(16) }
    }

    pub(crate) fn mark_used(&self, recording: u64) {
        self.last_use.store(recording, Relaxed);
    }

    pub(crate) fn last_use(&self) -> u64 {
        self.last_use.load(Relaxed)
    }

    /// Whether the words behind the data, as read back from there on, are still poison.
    pub(crate) fn guard_intact(&self, behind: &[u8]) -> bool {
        behind.chunks_exact(4).all(|word| word == self.poison.to_le_bytes())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(of) = &self.of {
            of.last_use.fetch_max(self.last_use(), Relaxed);
            return;
        }
        tape::dropped(self.lease);
        let Some(buffer) = self.raw.take() else { return };
        let last_use = self.last_use();
        let mut shelf = self.pool.shelf();
        if let Some(watched) = &mut shelf.watched {
            watched.push(Buffer {
                raw: Some(buffer),
                of: None,
                me: Weak::new(),
                fused: None,
                last_use: AtomicU64::new(last_use),
                pool: self.pool.clone(),
                ..*self
            });
            return;
        }
        footprint::release(self.bytes);
        shelf.stats.live -= self.class;
        if !self.pool.guard {
            shelf.stats.idle += self.class;
            shelf.idle.entry(self.class).or_default().push(Raw { buffer, number: self.number, last_use });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::class;

    #[test]
    fn classes_hold_the_request_and_waste_at_most_a_quarter() {
        for bytes in (1..200_000u64).step_by(37) {
            let c = class(bytes);
            assert!(c >= bytes && c.is_multiple_of(4));
            assert!(bytes < 1024 || c <= bytes + bytes / 4, "{bytes} in {c}");
        }
    }
}
