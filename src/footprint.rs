//! How much storage tensors take while something runs, on any device.

use std::cell::Cell;
use std::ops::Deref;

thread_local! {
    /// Bytes of storage made on this thread and not yet let go on it, and the most there have been of them.
    static HELD: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

/// Storage of so many bytes came into being.
pub(crate) fn hold(bytes: u64) {
    let (now, most) = HELD.get();
    let now = now.wrapping_add_unsigned(bytes);
    HELD.set((now, most.max(now)));
}

/// Storage of so many bytes is gone.
pub(crate) fn release(bytes: u64) {
    // A tensor may outlive what counts for its thread.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now.wrapping_sub_unsigned(bytes), most));
    });
}

/// The result of `work`, and the most bytes of elements that tensors held at any one time in it beyond those held
/// before it: activations, gradients, and what an operation needs between its launches. The same on every
/// device, as it counts elements and not what an allocator rounds them to. Work on other threads does not count.
///
/// ```
/// use gradus::{Device, Tensor, op::footprint};
/// # fn main() -> gradus::Result<()> {
/// let a = Tensor::full(&Device::cpu(), gradus::DType::F32, [16, 16], 1.0)?.contiguous()?;
/// let (square, bytes) = footprint(|| a.matmul(&a));
/// assert_eq!((square?.count(), bytes), (256, 256 * 4)); // 256 elements of four bytes
/// # Ok(())
/// # }
/// ```
pub fn footprint<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let (before, most) = HELD.get();
    HELD.set((before, before));
    let result = work();
    let (now, peak) = HELD.get();
    HELD.set((now, most.max(peak)));
    (result, u64::try_from(peak.wrapping_sub(before)).unwrap_or(0))
}

/// Elements on the CPU device, counted while they are there.
#[derive(Debug)]
pub(crate) struct Held<T>(Vec<T>);

impl<T> Held<T> {
    pub fn new(data: Vec<T>) -> Self {
        hold(size_of_val(&data[..]) as u64);
        Held(data)
    }
}

impl<T> Deref for Held<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        release(size_of_val(&self.0[..]) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Device, Result, Tensor};

    #[test]
    fn the_most_at_one_time_counts_and_not_the_sum() -> Result<()> {
        let device = Device::cpu();
        let kilobytes = |n: usize| Tensor::full(&device, DType::F32, [n, 256], 1.0)?.contiguous();
        let before = kilobytes(7)?;
        let (kept, bytes) = footprint(|| -> Result<Tensor> {
            kilobytes(5)?;
            kilobytes(3)?;
            let (kept, inside) = footprint(|| kilobytes(2));
            assert_eq!(inside, 2048 + 4);
            kept
        });
        // A constant is four bytes until it is made contiguous.
        assert_eq!(bytes, 5 * 1024 + 4);
        drop((before, kept));
        assert_eq!(footprint(|| ()).1, 0);
        Ok(())
    }
}
