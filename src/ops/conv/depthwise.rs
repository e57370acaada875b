//! The launches of depthwise convolution: where each channel is a group of its own, and few outputs share it,
//! a matrix product would leave most of its tile empty.

use super::Extents;
use super::gpu::geometry;
use crate::choice::TURNS;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::GpuView;
use crate::ops::reduce;
use crate::shape::{Layout, Shape};

static DEPTHWISE: Shader = shader!("conv/depthwise.wgsl");
static WEIGHT: Shader = shader!("conv/depthwise_weight.wgsl");

/// Outputs of one channel from which on a matrix product pays.
const MANY: usize = 5;
/// Invocations of the weight gradient below which its lines are cut into chunks.
const BUSY: usize = 4096;

/// Whether these kernels are the ones to take.
pub(super) fn suits(e: &Extents) -> bool {
    e.cin == 1 && e.cout < MANY && e.options.groups > 1
}

/// The forward product of w and x, or with `transposed` of w and dy.
pub(super) fn product(
    gpu: &Gpu,
    e: &Extents,
    transposed: bool,
    (w, x, bias): (&GpuView, &GpuView, Option<&GpuView>),
    y: &GpuView,
) -> Result<()> {
    let (read, written) = if transposed { (e.y, e.x) } else { (e.x, e.y) };
    let channels = if transposed { e.options.groups } else { e.options.groups * e.cout };
    let count = e.batch * channels * written[0] * written[1];
    let params: Vec<u32> =
        [count, channels, e.cout].into_iter().chain(geometry(e, read, written)).map(|v| v as u32).collect();
    let constants = [("TRANSPOSED", u32::from(transposed)), ("BIAS", u32::from(bias.is_some()))];
    gpu.dispatch(Dispatch {
        op: "conv2d",
        source: Source::File(&DEPTHWISE, &constants),
        params: bytemuck::cast_slice(&params),
        buffers: &[&w.buffer, &x.buffer, &bias.unwrap_or(w).buffer, &y.buffer],
        groups: gpu.fold(count, 64),
    })
}

/// The gradient of w from dy and x: partial sums over chunks of lines, then their sum.
pub(super) fn weight_gradient(gpu: &Gpu, e: &Extents, dy: &GpuView, x: &GpuView, dw: &GpuView) -> Result<()> {
    let (weights, lines) = (dw.shape().count(), e.batch * e.y[0]);
    let line = lines.div_ceil(BUSY.div_ceil(weights.max(1)).min(lines.max(1)));
    let line = line.clamp(1, (TURNS / (e.y[1] + 1)).max(1));
    let chunks = lines.div_ceil(line).max(1);
    let count = weights * chunks;
    let counts = [count, e.options.groups * e.cout, e.cout, lines, line];
    let params: Vec<u32> = counts.into_iter().chain(geometry(e, e.x, e.y)).map(|v| v as u32).collect();
    let partial = if chunks == 1 { dw.buffer.clone() } else { gpu.buffer("conv2d", 4 * count as u64)? };
    gpu.dispatch(Dispatch {
        op: "conv2d_weight_gradient",
        source: Source::File(&WEIGHT, &[]),
        params: bytemuck::cast_slice(&params),
        buffers: &[&dy.buffer, &x.buffer, &partial],
        groups: gpu.fold(count, 64),
    })?;
    if chunks == 1 {
        return Ok(());
    }
    let pieces = Layout::contiguous(Shape::known(&[chunks, weights]));
    reduce::sum_axis(gpu, &partial, &pieces, 0, &dw.buffer)
}
