//! How storage buffers hold the floats that kernels compute with.
//!
//! Every kernel is written for f32 and computes in it. Which of its buffers hold f16 is known when it is
//! launched; for those, the declaration's `f32` becomes `f16`, what is read widens to f32, and what is
//! written is rounded to f16. So one file serves every mixture of types, arithmetic and workgroup memory are
//! f32 in all of them, and a kernel need not know. WGSL converts nothing by itself: if an access were missed,
//! the kernel would not compile.
//!
//! A kernel that moves floats as the words that hold them, or compares these, is given the words of the f32.
//!
//! On a CPU, fours of f32 move as pairs of words of 64 bits, by the same means.
//!
//! The accesses are found in the text. A storage buffer is an array, so they are `name[…]`, with a component
//! of a vector behind it perhaps, and a write is one at the beginning of a statement with `=` behind it.

use crate::error::{Error, Result};
use std::fmt::Write;

/// The text with f16 in the buffers that `half` names.
pub(super) fn narrow(label: &str, text: &str, half: u32) -> Result<String> {
    // On the first line, so that every line keeps its number.
    let mut out = format!("enable f16; {text}");
    for binding in (0..32).filter(|k| half >> k & 1 == 1).map(|k| k + 1) {
        let known = |wide: &str| ELEMENTS.iter().find(|element| element.wide == wide);
        let Some((name, element)) =
            declared(&out, binding).and_then(|(name, wide)| Some((name, known(wide)?)))
        else {
            return Err(Error::validation(
                "shader",
                format!("{label}: binding {binding} cannot hold f16"),
                "Declare it as an array of f32, vectors of f32, or words, in one line.",
            ));
        };
        out = rewrite(&out, binding, &name, element);
    }
    Ok(out)
}

/// The text with every two floats held as a word of 64 bits, in the buffers that hold fours, eights or sixteens, if any does.
/// llvmpipe takes loads and stores apart, invocation by invocation and word by word, whether it be a word of 32 or of 64
/// bits.
pub(super) fn pair(text: &str) -> Option<String> {
    let mut paired: Option<String> = None;
    for binding in 1..32 {
        let now = paired.as_deref().unwrap_or(text);
        let element =
            |(name, wide): (String, &str)| Some((name, PAIRS.iter().find(|pair| pair.wide == wide)?));
        if let Some((name, element)) = declared(now, binding).and_then(element) {
            paired = Some(rewrite(now, binding, &name, element));
        }
    }
    paired.map(|text| text + UNPAIR)
}

/// What an array of floats may be declared to hold, and how its elements are held, read and written instead.
struct Element {
    wide: &'static str,
    narrow: &'static str,
    /// Around an f16 that is read: what makes it the declared type.
    read: [&'static str; 2],
    /// Around a value that is written.
    write: [&'static str; 2],
}

const ELEMENTS: [Element; 7] = [
    float("f32", "f16", ["f32(", ")"], ["f16(", ")"]),
    float("vec2<f32>", "vec2<f16>", ["vec2<f32>(", ")"], ["vec2<f16>(", ")"]),
    float("vec3<f32>", "vec3<f16>", ["vec3<f32>(", ")"], ["vec3<f16>(", ")"]),
    float("vec4<f32>", "vec4<f16>", ["vec4<f32>(", ")"], ["vec4<f16>(", ")"]),
    float("mat4x4<f32>", "mat4x4<f16>", ["mat4x4<f32>(", ")"], ["mat4x4<f16>(", ")"]),
    word("u32", ["bitcast<u32>(f32(", "))"]),
    word("i32", ["bitcast<i32>(f32(", "))"]),
];

const PAIRS: [Element; 3] = [
    float("vec4<f32>", "vec2<u64>", ["unpaired(", ")"], ["paired(", ")"]),
    float("mat2x4<f32>", "vec4<u64>", ["unpaired_eight(", ")"], ["paired_eight(", ")"]),
    float("mat4x4<f32>", "array<vec4<u64>, 2>", ["unpaired_sixteen(", ")"], ["paired_sixteen(", ")"]),
];

const UNPAIR: &str = "
fn unpaired(words: vec2<u64>) -> vec4<f32> {
    let low = vec2<u32>(words);
    let high = vec2<u32>(words >> vec2<u32>(32u));
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}

fn paired(four: vec4<f32>) -> vec2<u64> {
    let words = bitcast<vec4<u32>>(four);
    return vec2<u64>(words.xz) | (vec2<u64>(words.yw) << vec2<u32>(32u));
}

fn unpaired_eight(words: vec4<u64>) -> mat2x4<f32> {
    return mat2x4<f32>(unpaired(words.xy), unpaired(words.zw));
}

fn unpaired_sixteen(words: array<vec4<u64>, 2>) -> mat4x4<f32> {
    let low = unpaired_eight(words[0]);
    let high = unpaired_eight(words[1]);
    return mat4x4<f32>(low[0], low[1], high[0], high[1]);
}

fn paired_eight(eight: mat2x4<f32>) -> vec4<u64> {
    return vec4<u64>(paired(eight[0]), paired(eight[1]));
}

fn paired_sixteen(sixteen: mat4x4<f32>) -> array<vec4<u64>, 2> {
    let low = paired_eight(mat2x4<f32>(sixteen[0], sixteen[1]));
    return array<vec4<u64>, 2>(low, paired_eight(mat2x4<f32>(sixteen[2], sixteen[3])));
}
";

const fn float(
    wide: &'static str,
    narrow: &'static str,
    read: [&'static str; 2],
    write: [&'static str; 2],
) -> Element {
    Element { wide, narrow, read, write }
}

const fn word(wide: &'static str, read: [&'static str; 2]) -> Element {
    Element { wide, narrow: "f16", read, write: ["f16(bitcast<f32>(", "))"] }
}

fn attribute(binding: u32) -> String {
    format!("@group(0) @binding({binding}) var<storage")
}

/// Name and type of the elements of the array at a binding, through an alias perhaps.
pub(super) fn declared(text: &str, binding: u32) -> Option<(String, &str)> {
    let line = text.lines().find(|line| line.starts_with(&attribute(binding)))?;
    let (name, kind) = line.split_once("> ")?.1.split_once(": ")?;
    let element = elements_of(kind)?;
    let alias = format!("alias {element} = ");
    let meant = text.lines().find_map(|line| line.strip_prefix(&alias)?.split(';').next());
    Some((name.to_string(), meant.unwrap_or(element)))
}

/// What is between the brackets of `array<…>;`.
fn elements_of(kind: &str) -> Option<&str> {
    kind.strip_prefix("array<")?.split(';').next()?.trim_end().strip_suffix('>')
}

/// The text with the elements of the buffer `name` held differently.
fn rewrite(text: &str, binding: u32, name: &str, element: &Element) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    for line in text.lines() {
        if line.starts_with(&attribute(binding)) {
            let (before, kind) = line.split_once(": ").unwrap_or((line, ""));
            let held = elements_of(kind).unwrap_or(element.wide);
            out += &format!("{before}: {}", kind.replacen(held, element.narrow, 1));
        } else {
            let (code, comment) = line.find("//").map_or((line, ""), |at| line.split_at(at));
            accesses(&mut out, code, name, element);
            out += comment;
        }
        out.push('\n');
    }
    out
}

/// One line of code with every access to `name` converted.
fn accesses(out: &mut String, code: &str, name: &str, element: &Element) {
    let Element { read, write, .. } = element;
    let mut rest = code;
    while let Some((before, index, after)) = access(rest, name) {
        // An index may read the same buffer.
        let mut inner = String::new();
        accesses(&mut inner, index, name, element);
        let starts = before.trim().is_empty() && rest.len() == code.len();
        let value = after.strip_prefix(" = ").and_then(|value| value.strip_suffix(';')).filter(|_| starts);
        if let Some(value) = value {
            let _ = write!(out, "{before}{name}[{inner}] = {}", write[0]);
            accesses(out, value, name, element);
            let _ = write!(out, "{};", write[1]);
            return;
        }
        let _ = write!(out, "{before}{}{name}[{inner}]{}", read[0], read[1]);
        rest = after;
    }
    *out += rest;
}

/// The first `name[index]` of a text: what is before it, the index, and what is after it.
pub(super) fn access<'t>(text: &'t str, name: &str) -> Option<(&'t str, &'t str, &'t str)> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    for (at, found) in text.match_indices(name) {
        let inside = &text[at + found.len()..];
        if text[..at].ends_with(part_of_name) || !inside.starts_with('[') {
            continue;
        }
        let mut depth = 0;
        for (end, c) in inside.char_indices() {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some((&text[..at], &inside[1..end], &inside[end + 1..]));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const KERNEL: &str = "\
// copies   y[i] = x[x[i]]
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> next: array<i32>;

@compute @workgroup_size(1)
fn main() {
    let max_x = x[u32(x[0])] + x[1]; // x[2]
    if max_x < 1.0 {
        y[next[0]] = y[1] * vec2(max_x, x[2]);
    }
}
";

    #[test]
    fn reads_widen_and_writes_round() {
        parse("kernel", KERNEL).unwrap();
        for half in 1..8 {
            parse("kernel", &narrow("kernel", KERNEL, half).unwrap()).unwrap();
        }
        let text = narrow("kernel", KERNEL, 3).unwrap();
        assert!(text.contains("var<storage, read> x: array<f16>;"), "{text}");
        assert!(text.contains("let max_x = f32(x[u32(f32(x[0]))]) + f32(x[1]); // x[2]"), "{text}");
        assert!(text.contains("y[next[0]] = vec2<f16>(vec2<f32>(y[1]) * vec2(max_x, f32(x[2])));"), "{text}");
        assert_eq!(text.lines().count(), KERNEL.lines().count());
    }

    /// The name and text of every kernel there is, whatever cases launch.
    fn shaders() -> Vec<(String, String)> {
        let mut folders = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/shaders").into()];
        let mut shaders = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir::<std::path::PathBuf>(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    shaders.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
        shaders
    }

    /// No access is missed.
    #[test]
    fn every_shader_takes_f16_in_all_its_buffers_at_once() {
        let mut count = 0;
        for (name, text) in shaders() {
            let known = |wide: &str| ELEMENTS.iter().any(|element| element.wide == wide);
            let held = (0..8).filter(|k| declared(&text, k + 1).is_some_and(|(_, wide)| known(wide)));
            let half = held.fold(0, |half, k| half | 1 << k);
            parse(&name, &narrow(&name, &text, half).unwrap()).unwrap();
            count += usize::from(half != 0);
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn every_shader_takes_pairs_for_fours() {
        let mut count = 0;
        for (name, text) in shaders() {
            let wide = |text: &str, k| {
                declared(text, k).is_some_and(|(_, of)| PAIRS.iter().any(|pair| pair.wide == of))
            };
            let paired = pair(&text);
            assert_eq!(paired.is_some(), (1..9).any(|k| wide(&text, k)), "{name}");
            let Some(paired) = paired else { continue };
            parse(&name, &paired).unwrap();
            assert!(!(1..9).any(|k| wide(&paired, k)), "{name}");
            count += 1;
        }
        assert!(count > 10, "{count}");
    }

    #[test]
    fn words_are_those_of_the_f32() {
        let text = narrow("kernel", KERNEL, 4).unwrap();
        parse("kernel", &text).unwrap();
        assert!(text.contains("y[bitcast<i32>(f32(next[0]))]"), "{text}");
    }

    #[test]
    fn a_buffer_of_something_else_cannot_hold_f16() {
        let atomics = KERNEL.replace("array<i32>", "array<atomic<i32>>");
        assert!(matches!(narrow("kernel", &atomics, 4), Err(Error::Validation { .. })));
    }
}
