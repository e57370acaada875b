//! The launches of convolution on subgroups, where an adapter is a CPU: a lane reads four channels of a pixel at
//! once, so what is read is first brought into that order, which costs far less than it saves. Where channels or
//! positions do not come by fours, others stand in for those that are missing.

use super::Extents;
use super::gpu::geometry;
use crate::dtype::DType;
use crate::error::Result;
use crate::formula::Formula;
use crate::gpu::{Buffer, Dispatch, Gpu, Shader, Source, pointwise, shader};
use crate::op::GpuView;
use crate::ops::reduce;
use crate::shape::{Layout, Shape};
use std::sync::Arc;

static ARRANGE: Shader = shader!("conv/arrange.wgsl");
static FORWARD: Shader = shader!("conv/subgroup.wgsl");
static WEIGHT: Shader = shader!("conv/subgroup_weight.wgsl");

/// Workgroups of the weight gradient below which its images are cut into chunks.
const BUSY: usize = 32;

/// Whether [`product`] is the one to take: unless of four positions only one is there.
pub(super) fn suits_product(e: &Extents, transposed: bool) -> bool {
    let [h, w] = if transposed { e.x } else { e.y };
    h * w != 1
}

/// Whether [`weight_gradient`] is.
pub(super) fn suits_weight_gradient(e: &Extents) -> bool {
    e.y[1] >= 4
}

/// How many channels a group has in a copy, or positions a plane.
fn filled(count: usize) -> usize {
    count.next_multiple_of(4)
}

/// A copy of a dense tensor, seen as one of that shape, with its axes in another order, the last [`filled`] up with zeros.
fn reordered(gpu: &Gpu, x: &GpuView, shape: [usize; 4], order: [usize; 4]) -> Result<Arc<Buffer>> {
    let from = Layout::contiguous(Shape::known(&shape)).permuted(&order);
    let channels = from.shape[3];
    let mut extents = order.map(|axis| shape[axis]);
    extents[3] = filled(channels) / 4;
    let to = Layout::contiguous(Shape::known(&extents));
    let copy = gpu.buffer("conv2d", 16 * to.shape.count() as u64)?;
    let steps = |layout: &Layout| std::array::from_fn(|axis| layout.strides[axis]);
    let (mut x_steps, mut y_steps): ([usize; 4], [usize; 4]) = (steps(&from), steps(&to));
    let channel = std::mem::take(&mut x_steps[3]);
    // Places are read by fours along the axis where they are neighbours.
    let fours = (0..3).find(|&axis| order[axis] == 3 && extents[axis].is_multiple_of(4));
    let mut place = 0;
    if let Some(axis) = fours {
        place = y_steps[axis];
        extents[axis] /= 4;
        x_steps[axis] *= 4;
        y_steps[axis] *= 4;
    }
    let count = extents.iter().product();
    let params = [[count, channels, channel, place], extents, x_steps, y_steps];
    let params: Vec<u32> = params.into_iter().flatten().map(|v| v as u32).collect();
    let constants = [("FOURS", fours.is_some().into()), ("X", if fours.is_some() { 4 } else { 1 })];
    gpu.dispatch(Dispatch {
        op: "conv2d",
        source: Source::File(&ARRANGE, &constants),
        params: bytemuck::cast_slice(&params),
        buffers: &[&x.buffer, &copy],
        groups: gpu.fold(count, 64),
    })?;
    Ok(copy)
}

/// The forward product of w and x, or with `transposed` of w and dy.
pub(super) fn product(
    gpu: &Gpu,
    e: &Extents,
    transposed: bool,
    (w, x, bias): (&GpuView, &GpuView, Option<&GpuView>),
    y: &GpuView,
    [lanes, tile_rows]: [u32; 2],
) -> Result<()> {
    let (width, groups) = (8 * lanes as usize, e.options.groups);
    let (rows, channels) = if transposed { (e.cin, e.cout) } else { (e.cout, e.cin) };
    let (read, written) = if transposed { (e.y, e.x) } else { (e.x, e.y) };
    let positions = written[0] * written[1];
    let columns = e.batch * filled(positions);
    let tiles = groups * rows.div_ceil(16) * columns.div_ceil(width);
    let order = if transposed { [0, 2, 3, 1] } else { [0, 1, 3, 2] };
    let weights = reordered(gpu, w, [groups, e.cout, e.cin, e.taps()], order)?;
    let pixels = reordered(gpu, x, [e.batch, groups, channels, read[0] * read[1]], [0, 3, 1, 2])?;
    let counts = [rows, columns, filled(channels), tiles, groups];
    // Of what is written the kernel asks for the plane and its lines.
    let planes = geometry(e, read, [filled(positions), written[1]]);
    let mut params: Vec<u32> = counts.into_iter().chain(planes).map(|v| v as u32).collect();
    // Without strides going backwards is going by negative steps, for which no other kernel need be compiled.
    let strided = e.options.stride != [1, 1];
    if transposed && !strided {
        let steps = params.len() - 4;
        params[steps..].iter_mut().for_each(|step| *step = step.wrapping_neg());
    }
    params.push(bias.is_some().into());
    let constants = [
        ("TRANSPOSED", (transposed && strided).into()),
        ("LANES", lanes),
        ("ROWS", tile_rows),
        ("WIDE", u32::from(columns > width / 2)),
    ];
    let whole = positions.is_multiple_of(4);
    let all = Layout::contiguous(Shape::known(&[e.batch * groups * rows, filled(positions)]));
    let made = if whole { y.buffer.clone() } else { gpu.buffer("conv2d", 4 * all.shape.count() as u64)? };
    gpu.dispatch(Dispatch {
        op: "conv2d",
        source: Source::File(&FORWARD, &constants),
        params: bytemuck::cast_slice(&params),
        buffers: &[&weights, &pixels, bias.map_or(&weights, |bias| &bias.buffer), &made],
        groups: gpu.fold(tiles, 1),
    })?;
    if whole {
        return Ok(());
    }
    let part = all.sliced(1, 0, positions, 1);
    let to = (&*y.buffer, Layout::contiguous(part.shape), DType::F32);
    pointwise(gpu, &Formula::input(0), &[(&made, part, DType::F32)], to)
}

/// The gradient of w from dy and x: partial sums over chunks of images, then their sum, in the order of w.
pub(super) fn weight_gradient(
    gpu: &Gpu,
    e: &Extents,
    (dy, x): (&GpuView, &GpuView),
    dw: &GpuView,
    [lanes, tile_rows]: [u32; 2],
) -> Result<()> {
    let (width, groups) = (8 * lanes as usize, e.options.groups);
    let (channels, count) = (filled(e.cin), groups * e.cout);
    let columns = e.taps() * channels;
    let matrix = groups * e.cout.div_ceil(16) * columns.div_ceil(width);
    let fours = filled(e.y[0] * e.y[1]) / 4;
    let parts = fours.div_ceil(gpu.turns()).max(1);
    let part = fours.div_ceil(parts);
    let chunk = e.batch.div_ceil(BUSY.div_ceil(matrix.max(1))).clamp(1, (gpu.turns() / (part + 1)).max(1));
    let chunks = e.batch.div_ceil(chunk).max(1) * parts;
    let tiles = matrix * chunks;
    let pixels = reordered(gpu, x, [e.batch, groups, e.cin, e.x[0] * e.x[1]], [0, 3, 1, 2])?;
    let positions = e.y[0] * e.y[1];
    let slopes = match positions.is_multiple_of(4) {
        true => dy.buffer.clone(),
        false => reordered(gpu, dy, [1, e.batch, count, positions], [0, 1, 2, 3])?,
    };
    let partial = gpu.buffer("conv2d", 4 * (chunks * count * columns) as u64)?;
    let counts = [e.cout, columns, channels, tiles, groups];
    let images = [e.batch, chunk, parts, part];
    let params: Vec<u32> =
        counts.into_iter().chain(geometry(e, e.x, e.y)).chain(images).map(|v| v as u32).collect();
    let constants = [("LANES", lanes), ("ROWS", tile_rows), ("WIDE", u32::from(columns > width / 2))];
    gpu.dispatch(Dispatch {
        op: "conv2d_weight_gradient",
        source: Source::File(&WEIGHT, &constants),
        params: bytemuck::cast_slice(&params),
        buffers: &[&slopes, &pixels, &partial],
        groups: gpu.fold(tiles, 1),
    })?;
    let pieces =
        Layout::contiguous(Shape::known(&[chunks, count, e.taps(), channels])).sliced(3, 0, e.cin, 1);
    reduce::sum_axis(gpu, &partial, &pieces.permuted(&[0, 1, 3, 2]), 0, &dw.buffer)
}
