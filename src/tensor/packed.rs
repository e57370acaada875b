//! Tensors side by side in one buffer of the GPU, each of them still a tensor: what one launch can work on.

use super::{Storage, Tensor, View};
use crate::error::Result;
use crate::formula::Formula;
use crate::gpu::{self, Buffer, Gpu, PART_ALIGNMENT};
use crate::op::{Meta, unsupported};
use crate::shape::{Layout, Shape};
use std::sync::Arc;

/// What the number of the first element of each is a multiple of, so that its place is one that can be bound, whatever
/// the type: elements have two bytes or more.
const STEP: usize = PART_ALIGNMENT as usize / 2;

/// How many elements a tensor takes.
fn room(shape: &Shape) -> usize {
    shape.count().max(1).next_multiple_of(STEP)
}

/// How many elements tensors of these shapes take.
pub(crate) fn extent<'a>(shapes: impl IntoIterator<Item = &'a Shape>) -> usize {
    shapes.into_iter().map(room).sum()
}

/// Tensors of one type on one GPU as one of a single axis, of which [`unpack`] makes them again. What lies between them
/// is unspecified. Nothing is copied if they are what `unpack` returned.
///
/// Errors: [`Error::DType`](crate::Error::DType) for tensors of the CPU device, those of computing what is pending.
pub(crate) fn pack(gpu: &Gpu, tensors: &[Tensor]) -> Result<Tensor> {
    let first = &tensors[0];
    let (device, dtype, size) = (first.device(), first.dtype(), first.dtype().size());
    let views = tensors.iter().map(|tensor| {
        let View { storage, layout } = tensor.view()?;
        match storage {
            Storage::Gpu(buffer) => Ok((buffer, layout)),
            Storage::Cpu(_) => Err(unsupported("pack", dtype, device)),
        }
    });
    let views = views.collect::<Result<Vec<(Arc<Buffer>, Layout)>>>()?;
    let starts = tensors.iter().scan(0, |next, tensor| {
        let start = *next;
        *next += room(tensor.shape()) * size;
        Some(start as u64)
    });
    let starts: Vec<u64> = starts.collect();
    let count = extent(tensors.iter().map(Tensor::shape));
    let buffer = match packed_already(&views, &starts, (count * size) as u64) {
        Some(whole) => whole,
        None => {
            let whole = gpu.elements("pack", dtype, count)?;
            for ((from, layout), &start) in views.iter().zip(&starts) {
                let (dense, bytes) = (Layout::contiguous(layout.shape), (layout.shape.count() * size) as u64);
                let offset = (layout.offset * size) as u64;
                if layout.is_contiguous() && offset.is_multiple_of(4) {
                    gpu.copy((from, offset), (&whole, start), bytes)?;
                    continue;
                }
                let place = whole.part(start, bytes);
                gpu::pointwise(gpu, &Formula::input(0), &[(from, *layout, dtype)], (&place, dense, dtype))?;
            }
            whole
        }
    };
    let shape = Shape::known(&[count]);
    let view = View { storage: Storage::Gpu(buffer), layout: Layout::contiguous(shape) };
    Ok(Tensor::ready(device, Meta::new(shape, dtype), view))
}

/// What these are the parts of, all of them and in order.
fn packed_already(parts: &[(Arc<Buffer>, Layout)], starts: &[u64], bytes: u64) -> Option<Arc<Buffer>> {
    let (whole, _) = parts[0].0.whole()?;
    let lies = |((part, layout), &start): (&(Arc<Buffer>, Layout), &u64)| {
        let found = part.whole().is_some_and(|(of, at)| Arc::ptr_eq(of, whole) && at == start);
        found && *layout == Layout::contiguous(layout.shape)
    };
    (whole.bytes() == bytes && parts.iter().zip(starts).all(lies)).then(|| whole.clone())
}

/// The tensors of these shapes that lie side by side in `packed`.
///
/// Errors: those of [`pack`].
pub(crate) fn unpack(packed: &Tensor, shapes: &[Shape]) -> Result<Vec<Tensor>> {
    let (device, dtype) = (packed.device(), packed.dtype());
    let Storage::Gpu(whole) = packed.dense()?.view()?.storage else {
        return Err(unsupported("unpack", dtype, device));
    };
    let mut start = 0;
    let tensors = shapes.iter().map(|&shape| {
        let part = whole.part((start * dtype.size()) as u64, (shape.count() * dtype.size()) as u64);
        start += room(&shape);
        let view = View { storage: Storage::Gpu(part), layout: Layout::contiguous(shape) };
        Tensor::ready(device, Meta::new(shape, dtype), view)
    });
    Ok(tensors.collect())
}
