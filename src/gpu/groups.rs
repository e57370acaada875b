//! Bind groups, kept for the next launch of the same kernel on the same buffers.
//!
//! The pool hands the same few buffers out again and again, so a loop soon finds all its bind groups made. A
//! bind group holds its buffers; those here are gone before a buffer goes back to the driver.

use super::pool::Buffer;
use rustc_hash::FxHashMap;

/// How many bind groups are made before those that nobody has asked for since the last time are let go.
const GENERATION: usize = 4096;

/// Bind groups by the pipeline's number and the buffers' identities.
#[derive(Default)]
pub(super) struct Groups {
    young: FxHashMap<Box<[u32]>, wgpu::BindGroup>,
    old: FxHashMap<Box<[u32]>, wgpu::BindGroup>,
    /// What is looked for, in memory that is used again.
    key: Vec<u32>,
}

impl Groups {
    /// The bind group of a pipeline and buffers, made if it is not there.
    pub fn get(
        &mut self,
        pipeline: u32,
        buffers: &[&Buffer],
        make: impl FnOnce() -> wgpu::BindGroup,
    ) -> &wgpu::BindGroup {
        self.key.clear();
        self.key.push(pipeline);
        self.key.extend(buffers.iter().flat_map(|buffer| buffer.identity()));
        if !self.young.contains_key(&*self.key) {
            let group = self.old.remove(&*self.key).unwrap_or_else(make);
            if self.young.len() == GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(self.key.as_slice().into(), group);
        }
        &self.young[&*self.key]
    }

    /// Lets go of all of them, and of the buffers that they hold.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
