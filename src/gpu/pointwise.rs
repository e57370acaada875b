//! Fused pointwise kernels: the one kind of shader whose text is made at run time, from a formula.

use super::{Buffer, Dispatch, Gpu, Source};
use crate::dtype::DType;
use crate::error::Result;
use crate::formula::Formula;
use crate::shape::{Layout, coalesce};
use std::fmt::Write;

/// Invocations of a workgroup.
const GROUP: usize = 256;
/// Views of one kernel: inputs and the output.
const VIEWS: usize = 8;

/// The tanh and erf that WGSL lacks or leaves loose.
const SPECIAL: &str = include_str!("../../shaders/lib/special.wgsl");

/// A view and its element type.
pub(crate) type Operand<'a> = (&'a Buffer, Layout, DType);

/// Writes the formula of the inputs into the output, all of one shape.
pub(crate) fn pointwise(gpu: &Gpu, formula: &Formula, inputs: &[Operand], output: Operand) -> Result<()> {
    let count = output.1.shape.count();
    if count == 0 {
        return Ok(());
    }
    let mut layouts: Vec<Layout> = inputs.iter().chain([&output]).map(|(_, layout, _)| *layout).collect();
    coalesce(&mut layouts);
    let emitted = formula.emit();
    let identity = emitted.body.is_empty() && emitted.result == "x0";

    let (rank, dims) = (layouts[0].shape.rank(), layouts[0].shape);
    let mut words: Vec<u32> = vec![count as u32, 0, 0, 0];
    let mut eight = |values: &mut dyn Iterator<Item = usize>| {
        let start = words.len();
        words.extend(values.take(8).map(|v| v as u32));
        words.resize(start + 8, 0);
    };
    eight(&mut dims.iter().copied());
    eight(&mut layouts.iter().map(|l| l.offset));
    for layout in &layouts {
        eight(&mut layout.strides[..rank].iter().copied());
    }
    words.resize(4 + 8 * (2 + VIEWS), 0);
    words.extend(emitted.scalars.iter().map(|s| s.to_bits()));
    let slots = emitted.scalars.len().div_ceil(4).max(1);
    words.resize(4 + 8 * (2 + VIEWS) + 4 * slots, 0);

    // f16 too is f32 here: it is a matter of the buffer.
    let wgsl = |dtype| if dtype == DType::I32 { "i32" } else { "f32" };
    let mut text = String::new();
    if emitted.special {
        text.push_str(SPECIAL);
    }
    let _ = write!(
        text,
        "struct Params {{\n    count: u32,\n    dims: array<vec4<u32>, 2>,\n    offsets: array<vec4<u32>, 2>,\n    \
         strides: array<vec4<u32>, {}>,\n    scalars: array<vec4<f32>, {slots}>,\n}}\n\
         @group(0) @binding(0) var<uniform> params: Params;\n",
        2 * VIEWS
    );
    for (k, (_, _, dtype)) in inputs.iter().enumerate() {
        let _ = writeln!(
            text,
            "@group(0) @binding({}) var<storage, read> in{k}: array<{}>;",
            k + 1,
            wgsl(*dtype)
        );
    }
    let _ = write!(
        text,
        "@group(0) @binding({}) var<storage, read_write> result: array<{}>;\n\
         @compute @workgroup_size({GROUP})\n\
         fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, \
         @builtin(local_invocation_index) lane: u32) {{\n    \
         let i = (group.y * groups.x + group.x) * {GROUP}u + lane;\n    \
         if (i >= params.count) {{\n        return;\n    }}\n",
        inputs.len() + 1,
        wgsl(output.2)
    );
    // Row-major coordinates of element i, the innermost first.
    for axis in (0..rank).rev() {
        let from = if axis + 1 == rank { "i".into() } else { format!("q{}", axis + 1) };
        let extent = format!("params.dims[{}][{}]", axis / 4, axis % 4);
        if axis == 0 {
            let _ = writeln!(text, "    let c0 = {from};");
        } else {
            let _ =
                writeln!(text, "    let c{axis} = {from} % {extent};\n    let q{axis} = {from} / {extent};");
        }
    }
    let position = |view: usize| {
        let mut at = format!("params.offsets[{}][{}]", view / 4, view % 4);
        for axis in 0..rank {
            match layouts[view].strides[axis] {
                0 => {}
                // A stride of one is most of them, and worth a kernel of its own.
                1 => at += &format!(" + c{axis}"),
                _ => {
                    let word = view * 8 + axis;
                    at += &format!(" + c{axis} * params.strides[{}][{}]", word / 4, word % 4);
                }
            }
        }
        at
    };
    for (k, (_, _, dtype)) in inputs.iter().enumerate() {
        let load = format!("in{k}[{}]", position(k));
        let convert = *dtype == DType::I32 && !(identity && output.2 == DType::I32);
        let _ = writeln!(text, "    let x{k} = {};", if convert { format!("f32({load})") } else { load });
    }
    let result = match (output.2, identity && inputs.iter().all(|(_, _, d)| *d == DType::I32)) {
        (DType::I32, false) => format!("i32({})", emitted.result),
        _ => emitted.result,
    };
    let _ = write!(text, "{}    result[{}] = {result};\n}}\n", emitted.body, position(inputs.len()));

    let buffers: Vec<&Buffer> = inputs.iter().chain([&output]).map(|(buffer, _, _)| *buffer).collect();
    gpu.dispatch(Dispatch {
        op: "map",
        source: Source::Generated(&text),
        params: bytemuck::cast_slice(&words),
        buffers: &buffers,
        groups: gpu.fold(count, GROUP),
    })
}
