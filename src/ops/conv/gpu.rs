//! The launches of the convolution kernels.

use super::{Extents, depthwise, subgroup, tiled};
use crate::choice::{self, Convolution, TURNS};
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::GpuView;
use crate::ops::reduce;
use crate::shape::{Layout, Shape};

static FORWARD: Shader = shader!("conv/forward.wgsl");
static WEIGHT_GRADIENT: Shader = shader!("conv/weight_gradient.wgsl");

/// Invocations of a workgroup.
const GROUP: usize = 64;

/// Along one side of a workgroup: how many invocations of eight outputs each, at most `most`.
fn side(extent: usize, most: usize) -> usize {
    extent.div_ceil(8).next_power_of_two().clamp(1, most)
}

/// The words about windows that all kernels have in common.
pub(super) fn geometry(e: &Extents, read: [usize; 2], written: [usize; 2]) -> [usize; 12] {
    let ([kh, kw], o) = (e.kernel, &e.options);
    let ([sh, sw], [ph, pw], [dh, dw]) = (o.stride, o.padding, o.dilation);
    [kh, kw, read[0], read[1], written[0], written[1], sh, sw, ph, pw, dh, dw]
}

/// The kernel for a way through a convolution, which makes so many channels of each group; `fours` says whether
/// positions can be taken four at a time.
fn kernel(gpu: &Gpu, e: &Extents, way: &'static str, channels: usize, fours: bool) -> Convolution {
    let [[kh, kw], [h, w]] = [e.kernel, e.y];
    let sizes = [e.batch, e.options.groups, e.cin, e.cout, kh, kw, h, w];
    gpu.choose(way, &sizes, choice::convolution(&gpu.capabilities(), channels, fours))
}

/// The forward product of w and x, or with `transposed` of w and dy.
pub(super) fn product(
    gpu: &Gpu,
    e: &Extents,
    transposed: bool,
    (w, x, bias): (&GpuView, &GpuView, Option<&GpuView>),
    y: &GpuView,
) -> Result<()> {
    if depthwise::suits(e) {
        return depthwise::product(gpu, e, transposed, (w, x, bias), y);
    }
    let way = if transposed { "conv2d_dx" } else { "conv2d" };
    let terms = e.kernel[0] * e.kernel[1] * if transposed { e.cout } else { e.cin };
    choice::check_turns(&gpu.capabilities(), way, terms)?;
    let (channels, fours) = (if transposed { e.cin } else { e.cout }, subgroup::suits_product(e, transposed));
    match kernel(gpu, e, way, channels, fours) {
        Convolution::Subgroup { lanes, rows } => {
            return subgroup::product(gpu, e, transposed, (w, x, bias), y, [lanes, rows]);
        }
        Convolution::Tiled { rows } => return tiled::product(gpu, e, transposed, (w, x, bias), y, rows),
        Convolution::Register => {}
    }
    let groups = e.options.groups;
    let taps = e.kernel[0] * e.kernel[1];
    let (rows, channels) = if transposed { (e.cin, e.cout) } else { (e.cout, e.cin) };
    let (read, written) = if transposed { (e.y, e.x) } else { (e.x, e.y) };
    let (w_row, w_channel) = if transposed { (taps, e.cin * taps) } else { (e.cin * taps, taps) };
    let columns = e.batch * written[0] * written[1];
    let wy = side(rows, 8);
    let wx = side(columns, GROUP / wy);
    let tiles = groups * rows.div_ceil(8 * wy) * columns.div_ceil(8 * wx);
    let params: Vec<u32> = [rows, columns, channels, tiles, groups]
        .into_iter()
        .chain(geometry(e, read, written))
        .chain([w_row, w_channel])
        .map(|v| v as u32)
        .collect();
    let constants = [
        ("TRANSPOSED", u32::from(transposed)),
        ("BIAS", u32::from(bias.is_some())),
        ("WX", wx as u32),
        ("WY", wy as u32),
    ];
    gpu.dispatch(Dispatch {
        op: "conv2d",
        source: Source::File(&FORWARD, &constants),
        params: bytemuck::cast_slice(&params),
        buffers: &[&w.buffer, &x.buffer, &bias.unwrap_or(w).buffer, &y.buffer],
        groups: gpu.fold(tiles, 1),
    })
}

/// The gradient of w from dy and x: partial sums over chunks of lines, then their sum.
pub(super) fn weight_gradient(gpu: &Gpu, e: &Extents, dy: &GpuView, x: &GpuView, dw: &GpuView) -> Result<()> {
    if depthwise::suits(e) {
        return depthwise::weight_gradient(gpu, e, dy, x, dw);
    }
    match kernel(gpu, e, "conv2d_dw", e.cout, subgroup::suits_weight_gradient(e)) {
        Convolution::Subgroup { lanes, rows } => {
            return subgroup::weight_gradient(gpu, e, (dy, x), dw, [lanes, rows]);
        }
        Convolution::Tiled { rows } => return tiled::weight_gradient(gpu, e, (dy, x), dw, rows),
        Convolution::Register => {}
    }
    let groups = e.options.groups;
    let columns = e.cin * e.kernel[0] * e.kernel[1];
    let lines = e.batch * e.y[0];
    let wy = side(e.cout, 8);
    let wx = side(columns, GROUP / wy);
    let wz = GROUP / wy / wx;
    let matrix = groups * e.cout.div_ceil(8 * wy) * columns.div_ceil(8 * wx);
    // Enough chunks to occupy the device, each long enough to repay the second pass.
    let wanted = (64usize.div_ceil(matrix) * wz).min(lines.div_ceil(4)).max(1);
    let line = lines.div_ceil(wanted).clamp(1, (TURNS / (e.y[1] + 1)).max(1));
    let chunks = lines.div_ceil(line).max(1);
    let tiles = matrix * chunks.div_ceil(wz);
    let params: Vec<u32> = [e.cout, columns, lines, line, chunks, groups]
        .into_iter()
        .chain(geometry(e, e.x, e.y))
        .chain([e.cin])
        .map(|v| v as u32)
        .collect();
    let count = dw.shape().count();
    let partial =
        if chunks == 1 { dw.buffer.clone() } else { gpu.buffer("conv2d", 4 * (chunks * count) as u64)? };
    let constants = [("WX", wx as u32), ("WY", wy as u32), ("WZ", wz as u32)];
    gpu.dispatch(Dispatch {
        op: "conv2d_weight_gradient",
        source: Source::File(&WEIGHT_GRADIENT, &constants),
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
