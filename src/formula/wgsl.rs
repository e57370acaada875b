//! A formula as WGSL text.

use super::{Binary, Expr, Formula, Unary};
use rustc_hash::FxHashMap;
use std::collections::HashMap;
use std::fmt::Write;

/// A formula's statements, with the scalars they read.
pub(crate) struct Emitted {
    /// `let` statements over `x0`, `x1`, … and `params.scalars`, one a distinct value.
    pub body: String,
    /// The name or literal that holds the value.
    pub result: String,
    /// The values of the run-time scalars, in the order of their slots.
    pub scalars: Vec<f32>,
    /// Whether the functions of `shaders/lib/special.wgsl` are called.
    pub special: bool,
}

/// What tells formulas of different texts apart, written much faster than the text.
#[derive(Default)]
pub(crate) struct Signature {
    /// Equal only for equal texts.
    pub words: Vec<u32>,
    /// As in [`Emitted`].
    pub scalars: Vec<f32>,
    seen: FxHashMap<*const Expr, u32>,
}

impl Signature {
    /// Adds the formula's nodes, operands first, and returns the number of the last.
    pub fn add(&mut self, f: &Formula) -> u32 {
        if let Some(&number) = self.seen.get(&f.address()) {
            return number;
        }
        // The first word says how many follow.
        match &*f.0 {
            Expr::Input(index) => self.words.extend([0, *index as u32]),
            Expr::Constant(value) => self.words.extend([1, (*value as f32).to_bits()]),
            Expr::Scalar(value) => {
                self.scalars.push(*value as f32);
                self.words.push(2);
            }
            Expr::Unary(op, a) => {
                let a = self.add(a);
                self.words.extend([3, *op as u32, a]);
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.add(a), self.add(b));
                self.words.extend([4, *op as u32, a, b]);
            }
            Expr::Select(mask, a, b) => {
                let (mask, a, b) = (self.add(mask), self.add(a), self.add(b));
                self.words.extend([5, mask, a, b]);
            }
        }
        let number = self.seen.len() as u32;
        self.seen.insert(f.address(), number);
        number
    }
}

impl Formula {
    pub(crate) fn emit(&self) -> Emitted {
        let mut out = Emitted { body: String::new(), result: String::new(), scalars: vec![], special: false };
        let mut names: HashMap<*const Expr, String> = HashMap::new();
        // The same text is the same value: derivatives repeat subexpressions that are not shared in memory.
        let mut known: HashMap<String, String> = HashMap::new();
        for node in self.nodes() {
            let at = |f: &Formula| names[&f.address()].as_str();
            let text = match &*node.0 {
                Expr::Input(index) => {
                    names.insert(node.address(), format!("x{index}"));
                    continue;
                }
                Expr::Constant(value) => {
                    names.insert(node.address(), literal(*value as f32));
                    continue;
                }
                Expr::Scalar(value) => {
                    let slot = out.scalars.len();
                    out.scalars.push(*value as f32);
                    format!("params.scalars[{}][{}]", slot / 4, slot % 4)
                }
                Expr::Unary(op, a) => {
                    out.special |= matches!(op, Unary::Tanh | Unary::Erf);
                    unary(*op, at(a))
                }
                Expr::Binary(op, a, b) => binary(*op, at(a), at(b)),
                Expr::Select(mask, a, b) => format!("select({}, {}, {} != 0.0)", at(b), at(a), at(mask)),
            };
            let fresh = format!("t{}", known.len());
            let name = known.entry(text).or_insert_with_key(|text| {
                let _ = writeln!(out.body, "    let {fresh} = {text};");
                fresh
            });
            names.insert(node.address(), name.clone());
        }
        out.result = names[&self.address()].clone();
        out
    }
}

/// A number as a WGSL literal of type f32, exactly.
fn literal(value: f32) -> String {
    // WGSL has no literal for what is not finite; the largest finite number is the nearest there is.
    let value = if value.is_nan() { 0.0 } else { value.clamp(f32::MIN, f32::MAX) };
    if value.is_sign_negative() { format!("({value:e}f)") } else { format!("{value:e}f") }
}

fn unary(op: Unary, x: &str) -> String {
    let name = match op {
        Unary::Neg => return format!("-({x})"),
        Unary::Exp => "exp",
        Unary::Ln => "log",
        Unary::Sqrt => "sqrt",
        Unary::Rsqrt => "inverseSqrt",
        Unary::Tanh => "gradus_tanh",
        Unary::Erf => "gradus_erf",
        Unary::Sin => "sin",
        Unary::Cos => "cos",
        Unary::Abs => "abs",
        Unary::Floor => "floor",
    };
    format!("{name}({x})")
}

fn binary(op: Binary, a: &str, b: &str) -> String {
    match op {
        Binary::Add => format!("{a} + {b}"),
        Binary::Sub => format!("{a} - {b}"),
        Binary::Mul => format!("{a} * {b}"),
        Binary::Div => format!("{a} / {b}"),
        Binary::Max => format!("max({a}, {b})"),
        Binary::Min => format!("min({a}, {b})"),
        Binary::Less => format!("select(0.0, 1.0, {a} < {b})"),
        Binary::Equal => format!("select(0.0, 1.0, {a} == {b})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_subexpressions_are_computed_once() {
        let x = Formula::input(0);
        let y = x.clone().exp() + x.exp();
        assert_eq!(y.emit().body.matches("exp(").count(), 1);
    }

    #[test]
    fn signatures_are_equal_where_texts_are() {
        let sign = |f: &Formula| {
            let mut signature = Signature::default();
            signature.add(f);
            (signature.words, signature.scalars)
        };
        let f = |k: f64, s: f64| (Formula::input(0) * k + Formula::scalar(s)).tanh().max(Formula::input(1));
        assert_eq!(sign(&f(2.0, 3.0)).0, sign(&f(2.0, 4.0)).0);
        assert_ne!(sign(&f(2.0, 3.0)).0, sign(&f(2.5, 3.0)).0);
        assert_eq!(sign(&f(2.0, 3.0)).1, f(2.0, 3.0).emit().scalars);
        let [x, y] = [0, 1].map(Formula::input);
        assert_ne!(sign(&(x.clone() - y.clone())).0, sign(&(y - x)).0);
    }

    #[test]
    fn scalars_do_not_enter_the_text() {
        let with = |v| (Formula::input(0) * Formula::scalar(v)).emit();
        assert_eq!(with(2.0).body, with(3.0).body);
        assert_eq!(with(3.0).scalars, [3.0]);
    }
}
