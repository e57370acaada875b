//! Formulas inside other kernels: evaluated where an input is read, or where the output is stored.
//!
//! A buffer carries the formula to the kernel that it is given to, as it carries the type of its elements, and no
//! kernel is written for it. For an output, `y[i] = value;` becomes `y[i] = fused(i, value);`. For an input, which
//! then need not exist, `x[i]` becomes `fused(i)`. What else the formula reads are leaves, bound behind the kernel's
//! own buffers; its scalars and how leaves lie are parameters behind the kernel's own. A kernel that reads its output
//! back, or whose statements are not of this form, takes no formula, which is an error.

use super::pointwise::SPECIAL;
use super::pool::Buffer;
use super::stored::{access, declared};
use crate::error::{Error, Result};
use crate::formula::{Formula, Signature};
use crate::shape::{Layout, Shape};
use std::fmt::Write;
use std::sync::Arc;

/// Leaves of a formula besides a kernel's own buffers, of which there are at most four; WebGPU's default limits allow
/// a kernel eight in all.
const MAX_LEAVES: usize = 4;

/// A formula of leaves for each element of a dense whole; for an output, its first input is what is stored.
pub(crate) struct Fused {
    formula: Formula,
    /// What tells the formula from others, and its scalars.
    words: Vec<u32>,
    scalars: Vec<f32>,
    leaves: Vec<(Arc<Buffer>, Place)>,
    stores: bool,
}

/// Where a leaf's element for element `i` of the whole lies: at `offset + i / every % period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    every: usize,
    period: usize,
    offset: usize,
    /// Whether the remainder changes nothing.
    whole: bool,
}

impl Place {
    /// For a view of the whole's shape, if it is repeated along leading and trailing axes, and dense along those
    /// between; and if fours of the whole, where there are such, are fours of the leaf or one element.
    fn of(layout: &Layout, shape: &Shape) -> Option<Self> {
        let (mut every, mut period, mut repeats) = (1, 1, false);
        for axis in (0..shape.rank()).rev().filter(|&axis| shape[axis] != 1) {
            match (layout.strides[axis], repeats) {
                (0, _) if period == 1 => every *= shape[axis],
                (0, _) => repeats = true,
                (stride, false) if stride == period => period *= shape[axis],
                _ => return None,
            }
        }
        let (count, offset) = (shape.count(), layout.offset);
        let by_fours = if every == 1 {
            period.is_multiple_of(4) && offset.is_multiple_of(4)
        } else {
            every.is_multiple_of(4)
        };
        let place = Place { every, period, offset, whole: every * period == count };
        (by_fours || !count.is_multiple_of(4)).then_some(place)
    }

    /// The bits that make texts differ.
    fn kind(&self) -> u32 {
        u32::from(self.every > 1) | u32::from(!self.whole) << 1 | u32::from(self.offset > 0) << 2
    }

    /// The type of a leaf, and the position in it, for element or four `i` of the whole.
    fn text(&self, leaf: usize, fours: bool) -> (&'static str, String) {
        let vector = fours && self.every == 1;
        let word =
            |k: usize, four: bool| format!("params.places[{leaf}][{k}]{}", if four { " / 4u" } else { "" });
        let mut at = "i".to_owned();
        if self.every > 1 {
            at = format!("i / ({})", word(0, fours));
        }
        if !self.whole {
            at = format!("{at} % ({})", word(1, vector));
        }
        if self.offset > 0 {
            at = format!("{at} + {}", word(2, vector));
        }
        (if vector { "vec4<f32>" } else { "f32" }, at)
    }
}

impl Fused {
    /// A formula of leaves in a whole of that shape, if it can be evaluated inside a kernel: with `stores` where its
    /// output is stored, which is the formula's first input and no leaf.
    pub fn new(
        formula: Formula,
        leaves: impl IntoIterator<Item = (Arc<Buffer>, Layout)>,
        shape: &Shape,
        stores: bool,
    ) -> Option<Self> {
        let leaves: Option<Vec<_>> =
            leaves.into_iter().map(|(buffer, layout)| Some((buffer, Place::of(&layout, shape)?))).collect();
        // An input's first leaf takes the place of the input.
        let leaves = leaves.filter(|leaves| stores || !leaves.is_empty())?;
        let more = leaves.len() - usize::from(!stores);
        let mut signature = Signature::default();
        signature.add(&formula);
        let Signature { words, scalars, .. } = signature;
        (more <= MAX_LEAVES).then_some(Fused { formula, words, scalars, leaves, stores })
    }

    /// What a kernel is to be given for an input that this formula computes.
    pub fn input(self) -> Arc<Buffer> {
        let first = self.leaves[0].0.clone();
        first.carrying(Arc::new(self))
    }

    /// What a kernel is to be given for an output that this formula finishes.
    pub fn output(self, buffer: &Arc<Buffer>) -> Arc<Buffer> {
        buffer.carrying(Arc::new(self))
    }

    /// The leaves that are bound behind a kernel's own buffers.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &Buffer> {
        self.leaves.iter().skip(usize::from(!self.stores)).map(|(buffer, _)| &**buffer)
    }

    /// Adds the formula's parameters to those of the kernel.
    pub(super) fn extend(&self, params: &mut Vec<u8>) {
        params.resize(params.len().next_multiple_of(16), 0);
        let mut words: Vec<u32> = self.scalars.iter().map(|scalar| scalar.to_bits()).collect();
        words.resize(words.len().next_multiple_of(4).max(4), 0);
        for (_, Place { every, period, offset, .. }) in &self.leaves {
            words.extend([*every as u32, *period as u32, *offset as u32, 0]);
        }
        params.extend_from_slice(bytemuck::cast_slice(&words));
    }

    /// Adds to a kernel's key what tells the kernel with the formula from all others. Unlike a file's key it has more
    /// than one line.
    pub(super) fn key(&self, key: &mut String, binding: u32) {
        let places =
            self.leaves.iter().fold(u32::from(self.stores), |word, (_, place)| word << 3 | place.kind());
        let _ = write!(key, "\n{binding:x} {places:x} {:x?}", self.words);
    }

    /// The kernel's text with the formula in the buffer of that binding.
    pub(super) fn text(&self, label: &str, text: &str, binding: u32) -> Result<String> {
        let bug = || {
            Error::validation(
                "shader",
                format!("{label}: no formula fits into binding {binding}"),
                "Only an array of f32 or vectors of four, read as name[index] or stored by name[index] = value;, \
                 takes one, in a kernel with parameters.",
            )
        };
        let (name, element) = declared(text, binding).ok_or_else(bug)?;
        let fours = match element {
            "f32" => false,
            "vec4<f32>" => true,
            _ => return Err(bug()),
        };
        let emitted = self.formula.emit();
        let mut last = 1;
        while text.contains(&format!("@binding({}) ", last + 1)) {
            last += 1;
        }
        let places: Vec<_> =
            self.leaves.iter().enumerate().map(|(k, (_, place))| place.text(k, fours)).collect();
        let binding_of = |leaf: usize| match (self.stores, leaf) {
            (true, leaf) => last + 1 + leaf as u32,
            (false, 0) => binding,
            (false, leaf) => last + leaf as u32,
        };
        let declaration = |leaf: usize| {
            let (of, kind) = (binding_of(leaf), places[leaf].0);
            format!("@group(0) @binding({of}) var<storage, read> leaf{leaf}: array<{kind}>;\n")
        };

        let mut out = String::with_capacity(text.len() + 1024);
        let (mut in_params, mut extended) = (false, false);
        for line in text.lines() {
            in_params |= line == "struct Params {";
            if in_params && line == "}" {
                let (scalars, leaves) = (emitted.scalars.len().div_ceil(4).max(1), self.leaves.len());
                let _ = writeln!(out, "    scalars: array<vec4<f32>, {scalars}>,");
                if leaves > 0 {
                    let _ = writeln!(out, "    places: array<vec4<u32>, {leaves}>,");
                }
                (in_params, extended) = (false, true);
            }
            if !self.stores && line.starts_with(&format!("@group(0) @binding({binding}) ")) {
                out += &declaration(0);
                continue;
            }
            let (code, comment) = line.find("//").map_or((line, ""), |at| line.split_at(at));
            if code.starts_with('@') {
                out += code;
            } else if self.stores {
                out += &stored(code, &name).ok_or_else(bug)?;
            } else {
                out += &read(code, &name);
            }
            out += comment;
            out.push('\n');
        }
        if !extended {
            return Err(bug());
        }
        for leaf in usize::from(!self.stores)..self.leaves.len() {
            out += &declaration(leaf);
        }
        if emitted.special {
            out += SPECIAL;
        }
        let inputs = self.leaves.len() + usize::from(self.stores);
        let given: Vec<String> = (0..inputs).map(|k| format!("x{k}: f32")).collect();
        let (body, result) = (&emitted.body, &emitted.result);
        let _ = write!(out, "fn formula({}) -> f32 {{\n{body}    return {result};\n}}\n", given.join(", "));
        let _ = writeln!(
            out,
            "fn fused(i: u32{}) -> {element} {{",
            if self.stores { format!(", x0: {element}") } else { String::new() }
        );
        for (leaf, (_, at)) in places.iter().enumerate() {
            let _ = writeln!(out, "    let x{} = leaf{leaf}[{at}];", leaf + usize::from(self.stores));
        }
        let vector = |input: usize| match (self.stores, input) {
            (true, 0) => true,
            (stores, input) => places[input - usize::from(stores)].0 != "f32",
        };
        let call = |component: &str| {
            let of = |k: usize| if vector(k) { format!("x{k}{component}") } else { format!("x{k}") };
            format!("formula({})", (0..inputs).map(of).collect::<Vec<_>>().join(", "))
        };
        let value =
            if fours { format!("vec4({})", [".x", ".y", ".z", ".w"].map(call).join(", ")) } else { call("") };
        let _ = write!(out, "    return {value};\n}}\n");
        Ok(out)
    }
}

/// A line of code with what it stores in `name` passed through the formula; nothing for any other use of `name`.
fn stored(code: &str, name: &str) -> Option<String> {
    let Some((before, index, after)) = access(code, name) else { return Some(code.into()) };
    let value = after.strip_prefix(" = ")?.strip_suffix(';')?;
    let apart = before.trim().is_empty() && access(index, name).is_none() && access(value, name).is_none();
    apart.then(|| format!("{before}{name}[{index}] = fused({index}, {value});"))
}

/// A line of code with the formula in place of what it reads from `name`.
fn read(code: &str, name: &str) -> String {
    let Some((before, index, after)) = access(code, name) else { return code.into() };
    format!("{before}fused({}){}", read(index, name), read(after, name))
}
