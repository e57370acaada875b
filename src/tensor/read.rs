//! From the device to the host, to another device, or to another type.

use super::{Host, Storage, Tensor, cast};
use crate::autodiff::{self, At, Differentiable};
use crate::cpu::gather;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::op::{Meta, unsupported};
use crate::real::Bounded;
use half::f16;

impl Tensor {
    /// The elements, row-major, waiting for the device.
    ///
    /// Errors: [`Error::DType`] if `T` is not the tensor's type, and whatever the device reports:
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`], [`Error::Validation`].
    pub fn to_vec<T: Host>(&self) -> Result<Vec<T>> {
        match self.start_read::<T>()? {
            Read::Done(data) => Ok(data),
            Read::Waiting(readback) => Ok(cast_bytes(&readback.wait()?, self.count())),
        }
    }

    /// The elements, row-major, without blocking. On native platforms something must poll the device,
    /// for instance another thread in [`Device::wait`].
    pub async fn to_vec_async<T: Host>(&self) -> Result<Vec<T>> {
        match self.start_read::<T>()? {
            Read::Done(data) => Ok(data),
            Read::Waiting(readback) => Ok(cast_bytes(&readback.bytes().await?, self.count())),
        }
    }

    /// The only element, as f64.
    ///
    /// Errors: [`Error::Shape`] if there is not exactly one.
    pub fn item(&self) -> Result<f64> {
        if self.count() != 1 {
            return Err(Error::shape(
                "item",
                format!("{} has {} elements", self.shape(), self.count()),
                "Reduce it first, or use to_vec.",
            ));
        }
        self.to_f64().map(|v| v[0])
    }

    /// The elements as f64, whatever their type.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(match self.dtype() {
            DType::F32 => self.to_vec::<f32>()?.into_iter().map(f64::from).collect(),
            DType::I32 => self.to_vec::<i32>()?.into_iter().map(f64::from).collect(),
            DType::F64 => self.to_vec::<f64>()?,
            DType::Bounded | DType::BoundedF16 => {
                self.to_vec::<Bounded>()?.into_iter().map(|b| b.value).collect()
            }
            DType::F16 => self.to_vec::<f16>()?.into_iter().map(f64::from).collect(),
        })
    }

    fn start_read<T: Host>(&self) -> Result<Read<T>> {
        if T::DTYPE != self.dtype().host() {
            return Err(Error::dtype(
                "to_vec",
                format!("{} read as {}", self.describe(), T::DTYPE),
                "Ask for the tensor's own type, or convert with to_dtype.",
            ));
        }
        let view = self.view()?;
        match &view.storage {
            Storage::Cpu(data) => {
                let data = T::unwrap(data).ok_or_else(|| unsupported("to_vec", T::DTYPE, self.device()))?;
                Ok(Read::Done(gather(data, &view.layout)))
            }
            Storage::Gpu(_) if self.count() == 0 => Ok(Read::Done(vec![])),
            Storage::Gpu(_) => {
                // A copy between buffers starts and ends on words, which hold two elements of f16.
                let size = T::DTYPE.size();
                let copyable = view.layout.is_contiguous() && (size * view.layout.offset).is_multiple_of(4);
                let dense = if copyable { view } else { cast::copy(self)?.view()? };
                match (&dense.storage, self.device().as_gpu()) {
                    (Storage::Gpu(buffer), Some(gpu)) => {
                        let (start, bytes) = (size * dense.layout.offset, size * self.count());
                        let words = bytes.next_multiple_of(4) as u64;
                        Ok(Read::Waiting(gpu.read(buffer, start as u64, words)?))
                    }
                    _ => Err(unsupported("to_vec", T::DTYPE, self.device())),
                }
            }
        }
    }

    /// Runs what is pending, without reading the result.
    pub fn finish(&self) -> Result<()> {
        self.view().map(|_| ())
    }

    /// The tensor on another device. The gradient does not follow.
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        if self.device().same(device) {
            return Ok(self.detach());
        }
        let shape = *self.shape();
        match self.dtype() {
            DType::F32 => Tensor::from_vec(device, self.to_vec::<f32>()?, shape),
            DType::I32 => Tensor::from_vec(device, self.to_vec::<i32>()?, shape),
            DType::F64 => Tensor::from_vec(device, self.to_vec::<f64>()?, shape),
            DType::Bounded => Tensor::from_vec(device, self.to_vec::<Bounded>()?, shape),
            DType::F16 => Tensor::from_vec(device, self.to_vec::<f16>()?, shape),
            DType::BoundedF16 => Err(unsupported("to_device", DType::BoundedF16, device)),
        }
    }

    /// The tensor in another element type: to integers truncated towards zero, to [`DType::Bounded`] with
    /// error zero (from [`DType::BoundedF16`] with its own), to f16 rounded. What f16 cannot hold, beyond
    /// ±65504, becomes an infinity on the CPU device and is undefined on a GPU. The gradient passes between
    /// floating-point types.
    ///
    /// Errors: [`Error::DType`] if the device does not store the type.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        // Integers as numbers are read by what comes next.
        if self.dtype() == DType::I32 && dtype == DType::F32 && self.device().as_gpu().is_some() {
            let meta = Meta::new(*self.shape(), dtype);
            return Tensor::pending(self.device(), meta, Formula::input(0), vec![self.value.clone()]);
        }
        let out = cast::convert(self, dtype)?;
        Ok(if dtype.is_float() && self.dtype().is_float() {
            autodiff::record_rule(Cast(dtype), &[self], out)
        } else {
            out
        })
    }

    /// The same value outside the graph of derivatives.
    pub fn detach(&self) -> Tensor {
        Tensor { value: self.value.clone(), edge: None }
    }

    /// The raw bits of every buffer word of a GPU tensor, guard included: for verification.
    pub(crate) fn guard_intact(&self) -> Result<bool> {
        match (&self.view()?.storage, self.device().as_gpu()) {
            (Storage::Gpu(buffer), Some(gpu)) if gpu.options().guard => gpu.guard_intact(buffer),
            _ => Ok(true),
        }
    }
}

enum Read<T> {
    Done(Vec<T>),
    Waiting(crate::gpu::Readback),
}

/// The first `count` elements; behind an odd number of f16 the last word holds one more.
fn cast_bytes<T: Host>(bytes: &[u8], count: usize) -> Vec<T> {
    bytemuck::pod_collect_to_vec(&bytes[..bytes.len().min(count * T::DTYPE.size())])
}

/// Conversion between floating-point types.
struct Cast(DType);

impl Differentiable for Cast {
    fn name(&self) -> &'static str {
        "to_dtype"
    }
    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let to = at.input_meta(0).dtype;
        Ok(vec![dy[0].as_ref().map(|dy| dy.to_dtype(to)).transpose()?])
    }
    fn jvp(&self, _: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dx[0].as_ref().map(|dx| dx.to_dtype(self.0)).transpose()?])
    }
}
