//! Which kernels the cases launch.

use super::run::{Direction, outputs};
use super::{Case, Room, half};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{GpuOptions, Kernels};
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Every kernel that some case of the rooms launches in some direction, as it is given to the device: WGSL
/// text by key. The key of a shader is its path with its constants; that of a generated kernel is its text.
/// Kernels over f16 are among them where the adapter offers it.
/// Surveyed are both families of kernels, with all that the adapter offers and as a portable device.
///
/// Errors: [`Error::Device`] on the CPU, and that of a case which cannot run.
pub fn launched_kernels(request: &str, rooms: &[Room]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for kernels in [Kernels::Software, Kernels::Hardware].map(Some) {
        for portable in [false, true] {
            let options = GpuOptions { kernels, portable, ..GpuOptions::default() };
            found.extend(launched_kernels_with(request, rooms, options)?);
        }
    }
    Ok(found)
}

/// [`launched_kernels`] of a device opened with these options.
pub fn launched_kernels_with(
    request: &str,
    rooms: &[Room],
    options: GpuOptions,
) -> Result<BTreeMap<String, String>> {
    let device = Device::select_with(request, GpuOptions { guard: true, ..options })?;
    let gpu = device.as_gpu().ok_or_else(|| {
        Error::device("launched_kernels", "the CPU device", "Kernels run on a GPU: name an adapter.")
    })?;
    gpu.take_launched();
    let run = |case: &Case, dtype: DType| -> Result<()> {
        for direction in Direction::ALL {
            if direction == Direction::Forward || case.gradient {
                let results = outputs(case, direction, &device, dtype)?;
                results.iter().try_for_each(Tensor::finish)?;
            }
        }
        Ok(())
    };
    for room in rooms {
        room.cases.iter().filter(|case| !case.fails).try_for_each(|case| run(case, DType::F32))?;
        if gpu.half() {
            half::chosen(room).into_iter().try_for_each(|case| run(case, DType::F16))?;
        }
    }
    Ok(gpu.take_launched().texts.into_iter().collect())
}
