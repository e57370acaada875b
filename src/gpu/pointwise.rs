//! Fused pointwise kernels: the one kind of shader whose text is made at run time, from a formula.

use super::half::Kernel;
use super::shader::Pipeline;
use super::{Buffer, Dispatch, Gpu, Source};
use crate::dtype::DType;
use crate::error::Result;
use crate::formula::{Formula, Signature};
use crate::shape::{Layout, coalesce};
use rustc_hash::FxHashMap;
use std::fmt::Write;
use std::sync::{Arc, OnceLock, PoisonError};

/// Invocations of a workgroup.
const GROUP: usize = 256;
/// Views of one kernel: inputs and the output.
const VIEWS: usize = 8;

/// The tanh and erf that WGSL lacks or leaves loose.
const SPECIAL: &str = include_str!("../../shaders/lib/special.wgsl");

/// A view and its element type.
pub(crate) type Operand<'a> = (&'a Buffer, Layout, DType);

/// Kernels by what they are made from: writing the text of one takes longer than the launch.
pub(super) type Cache = FxHashMap<Box<[u32]>, Arc<Made>>;

/// A kernel's text and, once it was launched, what became of it.
pub(super) struct Made {
    text: String,
    pipeline: OnceLock<Arc<Pipeline>>,
}

/// Writes the formula of the inputs into the output, all of one shape.
pub(crate) fn pointwise(gpu: &Gpu, formula: &Formula, inputs: &[Operand], output: Operand) -> Result<()> {
    let count = output.1.shape.count();
    if count == 0 {
        return Ok(());
    }
    let mut layouts: Vec<Layout> = inputs.iter().chain([&output]).map(|(_, layout, _)| *layout).collect();
    coalesce(&mut layouts);
    let dims = layouts[0].shape;
    let mut signature = Signature::default();
    for (layout, (buffer, _, dtype)) in layouts.iter().zip(inputs.iter().chain([&output])) {
        // Strides of zero and one stand in the text, the rest in the parameters.
        let element = 2 * u32::from(buffer.is_half()) + u32::from(*dtype == DType::I32);
        let strides = layout.strides[..dims.rank()].iter();
        let digits = strides.fold(element, |word, &stride| 3 * word + stride.min(2) as u32);
        signature.words.push(digits);
    }
    signature.words.extend([u32::MAX, dims.rank() as u32]);
    signature.add(formula);

    let scalars = &signature.scalars;
    let mut words = Vec::with_capacity(4 + 8 * (2 + VIEWS) + scalars.len().next_multiple_of(4).max(4));
    words.extend([count as u32, 0, 0, 0]);
    let mut eight = |values: &mut dyn Iterator<Item = usize>| {
        let start = words.len();
        words.extend(values.take(8).map(|v| v as u32));
        words.resize(start + 8, 0);
    };
    eight(&mut dims.iter().copied());
    eight(&mut layouts.iter().map(|l| l.offset));
    for layout in &layouts {
        eight(&mut layout.strides[..dims.rank()].iter().copied());
    }
    words.resize(4 + 8 * (2 + VIEWS), 0);
    words.extend(scalars.iter().map(|s| s.to_bits()));
    words.resize(words.len().next_multiple_of(4).max(4 + 8 * (2 + VIEWS) + 4), 0);

    let cache = || gpu.0.formulas.lock().unwrap_or_else(PoisonError::into_inner);
    let known = cache().get(&*signature.words).cloned();
    let made = known.unwrap_or_else(|| {
        let text = write(formula, inputs, output.2, &layouts);
        let made = Arc::new(Made { text, pipeline: OnceLock::new() });
        cache().insert(signature.words.as_slice().into(), made.clone());
        made
    });
    let buffers: Vec<&Buffer> = inputs.iter().chain([&output]).map(|(buffer, _, _)| *buffer).collect();
    let (source, groups) = (Source::Generated(&made.text), gpu.fold(count, GROUP));
    let params = bytemuck::cast_slice(&words);
    let kernel = Kernel::of(source, &buffers);
    gpu.note_launch(&kernel, params, groups)?;
    let pipeline = match made.pipeline.get() {
        Some(pipeline) => pipeline.clone(),
        None => {
            let compiled = gpu.pipeline(&kernel)?;
            made.pipeline.get_or_init(|| compiled).clone()
        }
    };
    gpu.dispatch_made(Dispatch { op: "map", source, params, buffers: &buffers, groups }, &pipeline)
}

/// The text of the kernel for views that lie so.
fn write(formula: &Formula, inputs: &[Operand], output: DType, layouts: &[Layout]) -> String {
    let emitted = formula.emit();
    let identity = emitted.body.is_empty() && emitted.result == "x0";
    let (rank, slots) = (layouts[0].shape.rank(), emitted.scalars.len().div_ceil(4).max(1));
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
        wgsl(output)
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
        let convert = *dtype == DType::I32 && !(identity && output == DType::I32);
        let _ = writeln!(text, "    let x{k} = {};", if convert { format!("f32({load})") } else { load });
    }
    let result = match (output, identity && inputs.iter().all(|(_, _, d)| *d == DType::I32)) {
        (DType::I32, false) => format!("i32({})", emitted.result),
        _ => emitted.result,
    };
    let _ = write!(text, "{}    result[{}] = {result};\n}}\n", emitted.body, position(inputs.len()));
    text
}
