//! What a launch asks for: a kernel, the types of its buffers, and a formula that one of them carries.

use super::fused::Fused;
use super::pool::Buffer;
use super::shader::Source;
use super::stored::narrow;
use crate::error::Result;
use std::fmt::Write;

/// A kernel, which of its storage buffers hold f16, bit k for binding k + 1, and which carries a formula.
pub(super) struct Kernel<'a> {
    pub source: Source<'a>,
    half: u32,
    fused: Option<(u32, &'a Fused)>,
}

impl<'a> Kernel<'a> {
    /// For a launch on these buffers.
    pub fn of(source: Source<'a>, buffers: &[&'a Buffer]) -> Self {
        let carried = |(buffer, binding): (&&'a Buffer, u32)| Some((binding, buffer.fused()?));
        let fused = buffers.iter().zip(1..).find_map(carried);
        let bound = buffers.iter().copied().chain(fused.iter().flat_map(|(_, fused)| fused.leaves()));
        let half = bound.enumerate().map(|(k, buffer)| u32::from(buffer.is_half()) << k).sum();
        Kernel { source, half, fused }
    }

    /// The formula that one of its buffers carries.
    pub fn fused(&self) -> Option<&'a Fused> {
        self.fused.map(|(_, fused)| fused)
    }

    /// What the kernel is called where it is measured.
    pub fn label(&self) -> String {
        let with = if self.fused.is_some() { " + formula" } else { "" };
        format!("{}{with}", self.source.label())
    }

    /// A name that is equal exactly for equal kernels.
    pub fn key(&self) -> String {
        let mut key = self.source.key();
        if self.half != 0 {
            let _ = write!(key, " f16={:b}", self.half);
        }
        if let Some((binding, fused)) = self.fused {
            fused.key(&mut key, binding);
        }
        key
    }

    /// The WGSL text.
    pub fn text(&self) -> Result<String> {
        let (label, mut text) = (self.source.label(), self.source.text()?);
        if let Some((binding, fused)) = self.fused {
            text = fused.text(label, &text, binding)?;
        }
        if self.half == 0 { Ok(text) } else { narrow(label, &text, self.half) }
    }
}
