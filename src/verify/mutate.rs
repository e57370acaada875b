//! Small deliberate mistakes in a shader, to see whether the cases notice them.
//!
//! A shader that passes its cases has only shown that it passes them. [`mutants`] lists the shader's
//! neighbours: the same module with one operator, literal, comparison, parameter, component, built-in,
//! condition or barrier changed. A suite that lets a neighbour pass would have let that mistake pass too,
//! so `verify` demands that every mutant is killed, or is explained in a file keyed by [`Mutant::key`].
//!
//! The changes are made on naga's IR, not on text: each one is well typed, is placed where a value is
//! really used, and runs through `ShaderSource::Naga` without being parsed again.
//!
//! Invariants:
//!
//! - Every mutant validates (all flags, all capabilities), differs from the original, and is listed once.
//!   naga 30 does not check that a barrier lies in uniform control flow, so neither do we.
//! - Only what can matter is changed: functions an entry point reaches, expressions some statement uses,
//!   and the arms of an `if`, `switch` or `select` that a constant condition leaves alive. A top-level
//!   constant is specialisation: its declaration, and a condition it decides, stay; a use of its value in
//!   arithmetic may change.
//! - Every global the shader names is still named, so a layout derived from it fits its mutants.
//! - [`apply`] and [`fuelled`] bound the loop turns of an invocation, so every mutant ends.
//! - A key holds no line number. It survives any edit that leaves its own line, and the number of equal
//!   keys above it, alone.
//!
//! ```
//! use gradus::verify::mutate::mutants;
//!
//! let source = "@group(0) @binding(0) var<storage, read_write> y: array<f32>;
//!     @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
//!         y[id.x] = y[id.x] + 2.0;
//!     }";
//! let module = naga::front::wgsl::parse_str(source).unwrap();
//! let keys: Vec<_> = mutants(&module, source).iter().map(|m| m.key().to_owned()).collect();
//! assert!(keys.contains(&"y[id.x] = y[id.x] + 2.0;#1 `y[id.x] + 2.0` + → -".to_owned()));
//! ```

mod builtins;
mod edit;
mod fuel;
mod operators;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use naga::Module;
use naga::valid::{Capabilities, ValidationFlags, Validator};

use edit::Edit;
use walk::Place;

pub use fuel::fuelled;

/// One small change to a shader, made by [`mutants`] and carried out by [`apply`].
#[derive(Clone, Debug)]
pub struct Mutant {
    place: Place,
    edit: Edit,
    line: u32,
    description: String,
    key: String,
}

impl Mutant {
    /// The change for a reader, after its line number: ``57: `k0 + i` + → -``. The caller knows the file.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// The line of the source on which the changed expression begins, counted from 1; 0 if unknown.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The change under a name that survives line moves: the trimmed source line without its comment,
    /// `#` and the count of this name so far, and the change, as in ``acc += x * y;#1 `x * y` * → +``.
    /// No two mutants of a module share one.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// All mutants of `module`, ordered by their place in the function they change.
///
/// `source` is the WGSL text that `module` was parsed from; it supplies lines and snippets, and nothing
/// else depends on it. A module that does not validate has no mutants. Costs one validation per mutant.
pub fn mutants(module: &Module, source: &str) -> Vec<Mutant> {
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let Ok(info) = validator.validate(module) else { return Vec::new() };
    let mut found = Vec::new();
    let mut counts: HashMap<(String, String), u32> = HashMap::new();
    let mut scratch = module.clone();
    for place in walk::reachable(module) {
        let Some(original) = place.function(module) else { continue };
        // Seeded with the original, so that a change which changes nothing counts as a repetition.
        let mut seen = HashSet::from([fingerprint(original)]);
        for proposal in operators::proposals(module, place, &info) {
            let Some(function) = place.function_mut(&mut scratch) else { continue };
            *function = original.clone();
            let new = proposal.edit.apply(function) && seen.insert(fingerprint(function));
            if !new || validator.validate(&scratch).is_err() {
                continue;
            }
            let line = text::line_number(source, proposal.span);
            let change = match text::snippet(source, proposal.span) {
                Some(snippet) => format!("`{snippet}` {}", proposal.change),
                None => proposal.change,
            };
            let home = text::source_line(source, proposal.span).to_owned();
            let count = counts.entry((home.clone(), change.clone())).or_default();
            *count += 1;
            found.push(Mutant {
                place,
                edit: proposal.edit,
                line,
                description: format!("{line}: {change}"),
                key: format!("{home}#{count} {change}"),
            });
        }
        if let Some(function) = place.function_mut(&mut scratch) {
            *function = original.clone();
        }
    }
    found
}

/// `module` with the one change of `mutant`, its loops bounded as by [`fuelled`].
///
/// `mutant` must stem from [`mutants`] of the same module; a change that does not fit is left out.
pub fn apply(module: &Module, mutant: &Mutant, fuel: u32) -> Module {
    let mut changed = module.clone();
    if let Some(function) = mutant.place.function_mut(&mut changed) {
        mutant.edit.apply(function);
    }
    fuelled(&changed, fuel)
}

/// A hash of all that naga's IR says about `function`. Handles have no address in it, so equal functions
/// have equal fingerprints.
fn fingerprint(function: &naga::Function) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{function:?}").hash(&mut hasher);
    hasher.finish()
}
