//! Fused pointwise kernels: the one kind of shader whose text is made at run time, from a formula.

use super::kernel::Kernel;
use super::shader::Pipeline;
use super::{Buffer, Dispatch, Gpu, Source};
use crate::dtype::DType;
use crate::error::Result;
use crate::formula::{Formula, Signature};
use crate::shape::{Layout, Shape, coalesce};
use rustc_hash::FxHashMap;
use std::fmt::Write;
use std::sync::{Arc, OnceLock, PoisonError};

/// Invocations of a workgroup.
const GROUP: usize = 256;
/// Words of a formula's signature up to which it is evaluated eight times an invocation. A longer one, of more than about
/// a dozen operations, gains less than it takes to compile, and so does one of fewer elements than `MANY`.
const SHORT: usize = 40;
const MANY: usize = 1 << 14;
/// Views of one kernel: inputs and the output.
const VIEWS: usize = 8;
/// Words before the scalars: the count, extents and their inverses, offsets, and strides by view.
const WORDS: usize = 4 + 8 * (3 + VIEWS);
/// Elements up to which f32 divides indices exactly, several times faster than integers are divided. Half is added to
/// an index, so that quotients are half a divisor's inverse from the next whole number; WGSL's multiplication is off by
/// less than 2⁻²³ of them, and the inverse by half of that.
const EXACT: usize = 1 << 21;

/// The tanh and erf that WGSL lacks or leaves loose.
pub(super) const SPECIAL: &str = include_str!("../../shaders/lib/special.wgsl");

/// A view and its element type.
pub(crate) type Operand<'a> = (&'a Buffer, Layout, DType);

/// Kernels by what they are made from: writing the text of one takes longer than the launch.
pub(super) type Cache = FxHashMap<Box<[u32]>, Arc<Made>>;

/// A kernel's text and, once it was launched, what became of it.
pub(super) struct Made {
    text: String,
    pipeline: OnceLock<Arc<Pipeline>>,
}

/// If the elements can be taken four at a time, makes the layouts those of the fours, and says of each view whether
/// it is read so; a view that is broadcast along the last axis has one element for all four. Otherwise nothing.
fn by_fours(layouts: &mut [Layout]) -> Vec<bool> {
    let Some(last) = layouts[0].shape.rank().checked_sub(1) else { return Vec::new() };
    let by_four = |layout: &Layout| {
        let outer = layout.strides[..last].iter().chain([&layout.offset]);
        layout.strides[last] == 1 && outer.into_iter().all(|step| step.is_multiple_of(4))
    };
    let quads: Vec<bool> = layouts.iter().map(by_four).collect();
    let fits = |(layout, &quad): (&Layout, &bool)| quad || layout.strides[last] == 0;
    let output = quads.last() == Some(&true);
    if !output || !layouts[0].shape[last].is_multiple_of(4) || !layouts.iter().zip(&quads).all(fits) {
        return Vec::new();
    }
    for (layout, &quad) in layouts.iter_mut().zip(&quads) {
        let mut extents = layout.shape.to_vec();
        extents[last] /= 4;
        layout.shape = Shape::known(&extents);
        if quad {
            layout.offset /= 4;
            layout.strides[..last].iter_mut().for_each(|step| *step /= 4);
        }
    }
    quads
}

/// Whether fours can be taken two at a time: then makes the layouts those of the eights.
fn by_eights(layouts: &mut [Layout], quads: &[bool]) -> bool {
    let even = |layout: &Layout| {
        let shape = layout.shape;
        shape.rank() == 1 && shape[0].is_multiple_of(2) && layout.offset.is_multiple_of(2)
    };
    let fits = !quads.is_empty() && quads.iter().all(|&quad| quad) && layouts.iter().all(even);
    if fits {
        for layout in layouts {
            layout.shape = Shape::known(&[layout.shape[0] / 2]);
            layout.offset /= 2;
        }
    }
    fits
}

/// Writes the formula of the inputs into the output, all of one shape.
pub(crate) fn pointwise(gpu: &Gpu, formula: &Formula, inputs: &[Operand], output: Operand) -> Result<()> {
    let count = output.1.shape.count();
    if count == 0 {
        return Ok(());
    }
    let mut layouts: Vec<Layout> = inputs.iter().chain([&output]).map(|(_, layout, _)| *layout).collect();
    coalesce(&mut layouts);
    let quads = by_fours(&mut layouts);
    let mut signature = Signature::default();
    signature.add(formula);
    let floats =
        inputs.iter().chain([&output]).all(|(buffer, _, dtype)| *dtype != DType::I32 && !buffer.is_half());
    let worth = signature.words.len() <= SHORT && count >= MANY;
    let eights = gpu.pairs() && floats && worth && by_eights(&mut layouts, &quads);
    let at_once = if quads.is_empty() { 1 } else { 4 << u32::from(eights) };
    let count = count / at_once;
    let dims = layouts[0].shape;
    for (layout, (buffer, _, dtype)) in layouts.iter().zip(inputs.iter().chain([&output])) {
        // Strides of zero and one stand in the text, the rest in the parameters.
        let element = 2 * u32::from(buffer.is_half()) + u32::from(*dtype == DType::I32);
        let strides = layout.strides[..dims.rank()].iter();
        let digits = strides.fold(element, |word, &stride| 3 * word + stride.min(2) as u32);
        signature.words.push(digits);
    }
    // Of views that fit, those that are not broadcast along the last axis are read by fours: the strides say which.
    let exact = count <= EXACT;
    signature.words.extend([dims.rank() as u32, at_once as u32, u32::from(exact)]);

    let scalars = &signature.scalars;
    let mut words = Vec::with_capacity(WORDS + scalars.len().next_multiple_of(4).max(4));
    words.extend([count as u32, 0, 0, 0]);
    let mut eight = |values: &mut dyn Iterator<Item = u32>| {
        let start = words.len();
        words.extend(values.take(8));
        words.resize(start + 8, 0);
    };
    eight(&mut dims.iter().map(|&extent| extent as u32));
    eight(&mut dims.iter().map(|&extent| (1.0 / extent as f32).to_bits()));
    eight(&mut layouts.iter().map(|layout| layout.offset as u32));
    for layout in &layouts {
        eight(&mut layout.strides[..dims.rank()].iter().map(|&stride| stride as u32));
    }
    words.resize(WORDS, 0);
    words.extend(scalars.iter().map(|s| s.to_bits()));
    words.resize(words.len().next_multiple_of(4).max(WORDS + 4), 0);

    let cache = || gpu.0.formulas.lock().unwrap_or_else(PoisonError::into_inner);
    let known = cache().get(&*signature.words).cloned();
    let made = known.unwrap_or_else(|| {
        let text = write(formula, inputs, output.2, &layouts, (&quads, eights), exact);
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

/// The text of the kernel for views that lie so, of which some are read by fours, or all by eights.
fn write(
    formula: &Formula,
    inputs: &[Operand],
    output: DType,
    layouts: &[Layout],
    (quads, eights): (&[bool], bool),
    exact: bool,
) -> String {
    let emitted = formula.emit();
    let identity = emitted.body.is_empty() && emitted.result == "x0";
    let (rank, slots) = (layouts[0].shape.rank(), emitted.scalars.len().div_ceil(4).max(1));
    // f16 too is f32 here: it is a matter of the buffer.
    let wgsl = |view: usize, dtype| match (dtype, quads.get(view)) {
        (DType::I32, Some(true)) => "vec4<i32>",
        (DType::I32, _) => "i32",
        (_, Some(true)) if eights => "mat2x4<f32>",
        (_, Some(true)) => "vec4<f32>",
        (..) => "f32",
    };
    let mut text = String::new();
    if emitted.special {
        text.push_str(SPECIAL);
    }
    let _ = write!(
        text,
        "struct Params {{\n    count: u32,\n    dims: array<vec4<u32>, 2>,\n    inverses: array<vec4<f32>, 2>,\n    \
         offsets: array<vec4<u32>, 2>,\n    strides: array<vec4<u32>, {}>,\n    scalars: array<vec4<f32>, {slots}>,\n}}\n\
         @group(0) @binding(0) var<uniform> params: Params;\n",
        2 * VIEWS
    );
    for (k, (_, _, dtype)) in inputs.iter().enumerate() {
        let _ = writeln!(
            text,
            "@group(0) @binding({}) var<storage, read> in{k}: array<{}>;",
            k + 1,
            wgsl(k, *dtype)
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
        wgsl(inputs.len(), output)
    );
    // Row-major coordinates of element i, the innermost first.
    for axis in (0..rank).rev() {
        let from = if axis + 1 == rank { "i".into() } else { format!("q{}", axis + 1) };
        let extent = format!("params.dims[{}][{}]", axis / 4, axis % 4);
        if axis == 0 {
            let _ = writeln!(text, "    let c0 = {from};");
        } else {
            let quotient = match exact {
                true => format!("u32((f32({from}) + 0.5) * params.inverses[{}][{}])", axis / 4, axis % 4),
                false => format!("{from} / {extent}"),
            };
            let _ = write!(
                text,
                "    let q{axis} = {quotient};\n    let c{axis} = {from} - q{axis} * {extent};\n"
            );
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
    // Integers that only move are not converted.
    let moved = identity && output == DType::I32 && inputs.iter().all(|(_, _, d)| *d == DType::I32);
    for (k, (_, _, dtype)) in inputs.iter().enumerate() {
        let load = format!("in{k}[{}]", position(k));
        let float = if quads.get(k) == Some(&true) { "vec4<f32>" } else { "f32" };
        let load = if *dtype == DType::I32 && !moved { format!("{float}({load})") } else { load };
        let _ = writeln!(text, "    let x{k} = {load};");
    }
    let to = format!("    result[{}] =", position(inputs.len()));
    let value = if quads.is_empty() {
        text.push_str(&emitted.body);
        emitted.result.clone()
    } else if moved {
        format!("{}(x0)", wgsl(1, DType::I32))
    } else {
        let component = |of_quad: &str| {
            let of = |k: usize| if quads[k] { format!("x{k}{of_quad}") } else { format!("x{k}") };
            format!("formula({})", (0..inputs.len()).map(of).collect::<Vec<_>>().join(", "))
        };
        let four = |of: &str| {
            let components = ["x", "y", "z", "w"].map(|c| component(&format!("{of}.{c}")));
            format!("vec4({})", components.join(", "))
        };
        if eights { format!("mat2x4({}, {})", four("[0]"), four("[1]")) } else { four("") }
    };
    let _ = match output {
        DType::I32 if !moved => {
            writeln!(text, "{to} {}({value});\n}}", if quads.is_empty() { "i32" } else { "vec4<i32>" })
        }
        _ => writeln!(text, "{to} {value};\n}}"),
    };
    if !quads.is_empty() {
        let given: Vec<String> = (0..inputs.len()).map(|k| format!("x{k}: f32")).collect();
        let (body, result) = (&emitted.body, &emitted.result);
        let _ = write!(text, "fn formula({}) -> f32 {{\n{body}    return {result};\n}}\n", given.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::EXACT;

    /// Quotients where they change, with the inverse and both products that WGSL allows.
    #[test]
    fn f32_divides_exactly() {
        let divisors = (1..=3000).chain((3000..=EXACT).step_by(1009)).chain(EXACT - 9..=EXACT);
        for divisor in divisors {
            let inverse = 1.0 / divisor as f32;
            let most = EXACT / divisor;
            let multiples =
                (0..=most).step_by(most.div_ceil(500).max(1)).chain([most.saturating_sub(1), most]);
            for index in
                multiples.flat_map(|m| [(m * divisor).wrapping_sub(1), m * divisor, (m + 1) * divisor - 1])
            {
                if index >= EXACT {
                    continue;
                }
                let product = (index as f32 + 0.5) * inverse;
                for product in [product.next_down(), product, product.next_up()] {
                    assert_eq!(product as usize, index / divisor, "{index} / {divisor}");
                }
            }
        }
    }
}
