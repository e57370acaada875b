//! Copies: to another layout, another type, or into regions of a larger tensor.

use super::{Storage, Tensor, View};
use crate::cpu::{CpuData, Stored, StoredReal, gather};
use crate::device::{Device, Kind};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::footprint::Held;
use crate::formula::Formula;
use crate::gpu;
use crate::op::{Meta, unsupported};
use crate::real::{Bounded, Real};
use crate::shape::Layout;
use half::f16;
use std::sync::Arc;

/// The elements row-major in a buffer of their own. No edge: the caller says what the copy means.
pub(super) fn copy(tensor: &Tensor) -> Result<Tensor> {
    convert(tensor, tensor.dtype())
}

/// The elements in another type, in a buffer of their own.
pub(super) fn convert(tensor: &Tensor, to: DType) -> Result<Tensor> {
    let view = tensor.view()?;
    let (shape, device) = (*tensor.shape(), tensor.device());
    let layout = Layout::contiguous(shape);
    let mut meta = Meta::new(shape, to);
    if to == tensor.dtype() {
        meta.range = tensor.meta().range;
    }
    let storage = match (&view.storage, &device.0) {
        (Storage::Gpu(buffer), Kind::Gpu(gpu)) => {
            let out = gpu.elements("to_dtype", to, shape.count())?;
            let input = (&**buffer, view.layout, tensor.dtype());
            gpu::pointwise(gpu, &Formula::input(0), &[input], (&out, layout, to))?;
            Storage::Gpu(out)
        }
        (Storage::Cpu(data), _) => Storage::Cpu(convert_cpu(data, &view.layout, tensor.dtype(), to)),
        _ => return Err(unsupported("to_dtype", to, device)),
    };
    Ok(Tensor::ready(device, meta, View { storage, layout }))
}

fn convert_cpu(data: &CpuData, layout: &Layout, from: DType, to: DType) -> CpuData {
    // Same type: keep the bits. From one bound to another: keep the error. Otherwise through f64, which
    // holds every f32 and i32.
    let wide: Vec<f64> = match data {
        CpuData::F16(v) if from == to => return f16::wrap(gather(v, layout)),
        CpuData::F32(v) if from == to => return f32::wrap(gather(v, layout)),
        CpuData::F64(v) if from == to => return f64::wrap(gather(v, layout)),
        CpuData::Bounded(v) if from == to || to == DType::Bounded => return Bounded::wrap(gather(v, layout)),
        CpuData::Bounded(v) if to == DType::BoundedF16 => return Bounded::store(gather(v, layout), to),
        CpuData::I32(v) if from == to => return i32::wrap(gather(v, layout)),
        CpuData::F16(v) => gather(v, layout).into_iter().map(f64::from).collect(),
        CpuData::F32(v) => gather(v, layout).into_iter().map(f64::from).collect(),
        CpuData::F64(v) => gather(v, layout),
        CpuData::Bounded(v) => gather(v, layout).into_iter().map(Real::to_f64).collect(),
        CpuData::I32(v) => gather(v, layout).into_iter().map(f64::from).collect(),
    };
    match to {
        DType::F16 => f16::wrap(wide.into_iter().map(f16::from_f64).collect()),
        DType::F32 => f32::wrap(wide.into_iter().map(|v| v as f32).collect()),
        DType::F64 => f64::wrap(wide),
        DType::Bounded | DType::BoundedF16 => {
            Bounded::store(wide.into_iter().map(Bounded::exact).collect(), to)
        }
        DType::I32 => i32::wrap(wide.into_iter().map(|v| v as i32).collect()),
    }
}

/// A new dense tensor with `parts` written into regions of it, over `fill` or nothing. The regions are
/// layouts of the new tensor. Without a fill they must cover it.
pub(crate) fn assemble(
    op: &'static str,
    device: &Device,
    meta: Meta,
    fill: Option<f64>,
    parts: &[(&Tensor, Layout)],
) -> Result<Tensor> {
    let layout = Layout::contiguous(meta.shape);
    let storage = match &device.0 {
        Kind::Cpu => Storage::Cpu(match meta.dtype {
            DType::F32 => assemble_cpu::<f32>(op, meta, fill.map(|v| v as f32), parts)?,
            DType::F64 => assemble_cpu::<f64>(op, meta, fill, parts)?,
            DType::Bounded => assemble_cpu::<Bounded>(op, meta, fill.map(Bounded::from_f64), parts)?,
            DType::BoundedF16 => {
                let fill = fill.map(|v| Bounded::from_f64(v).stored_as_f16());
                assemble_cpu::<Bounded>(op, meta, fill, parts)?
            }
            DType::F16 => assemble_cpu::<f16>(op, meta, fill.map(f16::from_f64), parts)?,
            DType::I32 => assemble_cpu::<i32>(op, meta, fill.map(|v| v as i32), parts)?,
        }),
        Kind::Gpu(gpu) => {
            let buffer = gpu.elements(op, meta.dtype, meta.shape.count())?;
            if let Some(value) = fill {
                gpu::pointwise(gpu, &Formula::scalar(value), &[], (&buffer, layout, meta.dtype))?;
            }
            for (part, region) in parts {
                let view = part.view()?;
                let Storage::Gpu(from) = &view.storage else {
                    return Err(Error::device(op, part.describe(), "Move it with to_device."));
                };
                let input = (&**from, view.layout, part.dtype());
                gpu::pointwise(gpu, &Formula::input(0), &[input], (&buffer, *region, meta.dtype))?;
            }
            Storage::Gpu(buffer)
        }
    };
    Ok(Tensor::ready(device, meta, View { storage, layout }))
}

fn assemble_cpu<T: Stored>(
    op: &'static str,
    meta: Meta,
    fill: Option<T>,
    parts: &[(&Tensor, Layout)],
) -> Result<CpuData> {
    let mut out = vec![fill.unwrap_or_default(); meta.shape.count()];
    for (part, region) in parts {
        let view = part.view()?;
        let Storage::Cpu(data) = &view.storage else {
            return Err(Error::device(op, part.describe(), "Move it with to_device."));
        };
        let data: &Arc<Held<T>> =
            T::unwrap(data).ok_or_else(|| unsupported(op, part.dtype(), part.device()))?;
        for (to, from) in region.positions().zip(view.layout.positions()) {
            out[to] = data[from];
        }
    }
    Ok(T::wrap(out))
}
