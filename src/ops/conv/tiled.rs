//! The launches of convolution for hardware adapters: matrix products whose operands are gathered into workgroup
//! memory.

use super::Extents;
use super::gpu::geometry;
use crate::choice;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::GpuView;
use crate::ops::reduce;
use crate::shape::{Layout, Shape};

static TILED: Shader = shader!("conv/tiled.wgsl");
static WEIGHT: Shader = shader!("conv/tiled_weight.wgsl");

/// Workgroups that cover a matrix, of 4 · `tile` rows by 64 columns.
fn tiles(tile: u32, rows: usize, columns: usize) -> usize {
    rows.div_ceil(4 * tile as usize) * columns.div_ceil(64)
}

/// The forward product of w and x, or with `transposed` of w and dy; `tile` outputs above each other an invocation.
pub(super) fn product(
    gpu: &Gpu,
    e: &Extents,
    transposed: bool,
    (w, x, bias): (&GpuView, &GpuView, Option<&GpuView>),
    y: &GpuView,
    tile: u32,
) -> Result<()> {
    let groups = e.options.groups;
    let taps = e.kernel[0] * e.kernel[1];
    let (rows, channels) = if transposed { (e.cin, e.cout) } else { (e.cout, e.cin) };
    let (read, written) = if transposed { (e.y, e.x) } else { (e.x, e.y) };
    let strides = if transposed { [taps, e.cin * taps] } else { [e.cin * taps, taps] };
    let columns = e.batch * written[0] * written[1];
    let tiles = groups * tiles(tile, rows, columns);
    let params: Vec<u32> = [rows, columns, channels, tiles, groups]
        .into_iter()
        .chain(geometry(e, read, written))
        .chain(strides)
        .chain([0])
        .map(|v| v as u32)
        .collect();
    let constants = [
        ("TRANSPOSED", u32::from(transposed)),
        ("STRIDED", (e.options.stride != [1, 1]).into()),
        ("BIAS", u32::from(bias.is_some())),
        ("ROWS", tile),
    ];
    gpu.dispatch(Dispatch {
        op: "conv2d",
        source: Source::File(&TILED, &constants),
        params: bytemuck::cast_slice(&params),
        buffers: &[&w.buffer, &x.buffer, &bias.unwrap_or(w).buffer, &y.buffer],
        groups: gpu.fold(tiles, 1),
    })
}

/// The gradient of w from dy and x: partial sums over chunks of positions, then their sum.
pub(super) fn weight_gradient(
    gpu: &Gpu,
    e: &Extents,
    (dy, x): (&GpuView, &GpuView),
    dw: &GpuView,
    tile: u32,
) -> Result<()> {
    let groups = e.options.groups;
    let columns = e.cin * e.kernel[0] * e.kernel[1];
    let positions = e.batch * e.y[0] * e.y[1];
    let matrix = groups * tiles(tile, e.cout, columns);
    let wanted = choice::pieces(&gpu.capabilities(), matrix, positions);
    let chunk = positions.div_ceil(wanted).max(1).next_multiple_of(8);
    let chunks = positions.div_ceil(chunk).max(1);
    let tiles = matrix * chunks;
    let params: Vec<u32> = [e.cout, columns, positions, chunk, tiles, groups]
        .into_iter()
        .chain(geometry(e, e.x, e.y))
        .chain([e.cin, 0])
        .map(|v| v as u32)
        .collect();
    let count = dw.shape().count();
    let partial =
        if chunks == 1 { dw.buffer.clone() } else { gpu.buffer("conv2d", 4 * (chunks * count) as u64)? };
    gpu.dispatch(Dispatch {
        op: "conv2d_weight_gradient",
        source: Source::File(&WEIGHT, &[("ROWS", tile)]),
        params: bytemuck::cast_slice(&params),
        buffers: &[&dy.buffer, &x.buffer, &partial],
        groups: gpu.fold(tiles, 1),
    })?;
    if chunks == 1 {
        return Ok(());
    }
    let pieces = Layout::contiguous(Shape::known(&[chunks, count]));
    reduce::sum_axis(gpu, &partial, &pieces, 0, &dw.buffer)
}
