//! Pointwise functions as small expression trees.
//!
//! A [`Formula`] is written once, with ordinary operators, and read in every way that is needed: as WGSL
//! text in a fused kernel, as its own symbolic derivative (a formula again), and as a value over any
//! [`Real`]. Broadcasting, strides and element types belong to the kernel around the tree.
//!
//! ```
//! use gradus::{Device, Formula, Tensor};
//! fn swish(x: Formula) -> Formula {
//!     x.clone() / (1.0 + (-x).exp())
//! }
//! let x = Tensor::from_slice(&Device::cpu(), &[0.0f32, 1.0], [2])?;
//! let y = Tensor::map([&x], |[x]| swish(x))?;
//! assert!((y.to_vec::<f32>()?[1] - 0.731_058_6).abs() < 1e-6);
//! # Ok::<(), gradus::Error>(())
//! ```

mod activations;
mod derivative;
mod eval;
mod wgsl;

pub(crate) use eval::Program;
pub(crate) use wgsl::Signature;

use crate::real::Real;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// A pointwise expression over numbered inputs. Cloning shares the tree.
///
/// Arithmetic operators take formulas and `f64` on either side. Comparisons ([`less`](Formula::less),
/// [`equal`](Formula::equal)) yield one or zero and feed [`select`](Formula::select).
#[derive(Clone, Debug)]
pub struct Formula(pub(crate) Arc<Expr>);

#[derive(Debug)]
pub(crate) enum Expr {
    /// The n-th tensor the formula is applied to.
    Input(usize),
    /// A number that is part of the function, and so of the kernel's text.
    Constant(f64),
    /// A number handed to the kernel at run time, so that its value does not make a new kernel.
    Scalar(f64),
    Unary(Unary, Formula),
    Binary(Binary, Formula, Formula),
    /// The first where not zero chooses the second, else the third.
    Select(Formula, Formula, Formula),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Neg,
    Exp,
    Ln,
    Sqrt,
    Rsqrt,
    Tanh,
    Erf,
    Sin,
    Cos,
    Abs,
    Floor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Less,
    Equal,
}

impl Unary {
    pub(crate) fn apply<R: Real>(self, x: R) -> R {
        match self {
            Unary::Neg => -x,
            Unary::Exp => x.exp(),
            Unary::Ln => x.ln(),
            Unary::Sqrt => x.sqrt(),
            Unary::Rsqrt => x.rsqrt(),
            Unary::Tanh => x.tanh(),
            Unary::Erf => x.erf(),
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::Abs => x.abs(),
            Unary::Floor => x.floor(),
        }
    }
}

impl Binary {
    pub(crate) fn apply<R: Real>(self, a: R, b: R) -> R {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Max => a.max(b),
            Binary::Min => a.min(b),
            Binary::Less => a.less(b),
            Binary::Equal => a.equal(b),
        }
    }
}

impl Formula {
    fn new(expr: Expr) -> Self {
        Formula(Arc::new(expr))
    }

    /// The `index`-th tensor the formula is applied to.
    pub fn input(index: usize) -> Self {
        Formula::new(Expr::Input(index))
    }

    /// A number that is part of the function. It stands in the kernel's text: use [`scalar`](Self::scalar)
    /// for one that changes from call to call.
    pub fn constant(value: f64) -> Self {
        Formula::new(Expr::Constant(value))
    }

    /// A number that is handed to the kernel at run time. Its derivative is zero.
    pub fn scalar(value: f64) -> Self {
        Formula::new(Expr::Scalar(value))
    }

    pub(crate) fn as_constant(&self) -> Option<f64> {
        match *self.0 {
            Expr::Constant(value) => Some(value),
            _ => None,
        }
    }

    fn unary(self, op: Unary) -> Self {
        match self.as_constant() {
            Some(value) if op == Unary::Neg => Formula::constant(-value),
            _ => Formula::new(Expr::Unary(op, self)),
        }
    }

    /// Builds the node, leaving out what does nothing: derivatives are full of zeros and ones.
    fn binary(self, op: Binary, other: Self) -> Self {
        match (op, self.as_constant(), other.as_constant()) {
            (Binary::Add | Binary::Sub | Binary::Mul, Some(a), Some(b)) => Formula::constant(op.apply(a, b)),
            (Binary::Add, Some(0.0), _) => other,
            (Binary::Add | Binary::Sub, _, Some(0.0)) => self,
            (Binary::Sub, Some(0.0), _) => -other,
            (Binary::Mul, Some(0.0), _) | (Binary::Mul, _, Some(0.0)) => Formula::constant(0.0),
            (Binary::Div, Some(0.0), _) => Formula::constant(0.0),
            (Binary::Mul, Some(1.0), _) => other,
            (Binary::Mul | Binary::Div, _, Some(1.0)) => self,
            _ => Formula::new(Expr::Binary(op, self, other)),
        }
    }

    /// `self` where `mask` is not zero, else `other`.
    pub fn select(mask: Self, yes: Self, no: Self) -> Self {
        match (mask.as_constant(), yes.as_constant(), no.as_constant()) {
            (Some(m), ..) => {
                if m != 0.0 {
                    yes
                } else {
                    no
                }
            }
            (_, Some(a), Some(b)) if a == b => yes,
            _ => Formula::new(Expr::Select(mask, yes, no)),
        }
    }

    /// One where `self < other`, else zero. Its derivative is zero.
    pub fn less(self, other: impl Into<Formula>) -> Self {
        self.binary(Binary::Less, other.into())
    }

    /// One where `self == other`, else zero. Its derivative is zero.
    pub fn equal(self, other: impl Into<Formula>) -> Self {
        self.binary(Binary::Equal, other.into())
    }

    /// The larger of the two. Where they are equal, each receives half of the derivative.
    pub fn max(self, other: impl Into<Formula>) -> Self {
        self.binary(Binary::Max, other.into())
    }

    /// The smaller of the two. Where they are equal, each receives half of the derivative.
    pub fn min(self, other: impl Into<Formula>) -> Self {
        self.binary(Binary::Min, other.into())
    }

    /// The children of this node.
    fn children(&self) -> [Option<&Formula>; 3] {
        match &*self.0 {
            Expr::Input(_) | Expr::Constant(_) | Expr::Scalar(_) => [None, None, None],
            Expr::Unary(_, a) => [Some(a), None, None],
            Expr::Binary(_, a, b) => [Some(a), Some(b), None],
            Expr::Select(a, b, c) => [Some(a), Some(b), Some(c)],
        }
    }

    fn address(&self) -> *const Expr {
        Arc::as_ptr(&self.0)
    }

    /// The distinct nodes, operands before what uses them.
    pub(crate) fn nodes(&self) -> Vec<&Formula> {
        fn visit<'a>(f: &'a Formula, seen: &mut FxHashSet<*const Expr>, out: &mut Vec<&'a Formula>) {
            if seen.insert(f.address()) {
                for child in f.children().into_iter().flatten() {
                    visit(child, seen, out);
                }
                out.push(f);
            }
        }
        let (mut seen, mut out) = (FxHashSet::default(), Vec::new());
        visit(self, &mut seen, &mut out);
        out
    }

    /// Whether it is an input or a number, as it is.
    pub(crate) fn is_leaf(&self) -> bool {
        self.children().iter().all(Option::is_none)
    }

    /// Whether it is a few steps of arithmetic.
    pub(crate) fn is_cheap(&self) -> bool {
        let cheap = |node: &Formula| match &*node.0 {
            Expr::Unary(op, _) => matches!(op, Unary::Neg | Unary::Abs | Unary::Floor),
            Expr::Binary(op, ..) => !matches!(op, Binary::Div),
            Expr::Input(_) | Expr::Constant(_) | Expr::Scalar(_) | Expr::Select(..) => true,
        };
        let nodes = self.nodes();
        nodes.len() <= 8 && nodes.into_iter().all(cheap)
    }

    /// Which of the first `count` inputs the value depends on.
    pub(crate) fn uses(&self, count: usize) -> Vec<bool> {
        let mut used = vec![false; count];
        for node in self.nodes() {
            if let Expr::Input(index) = *node.0
                && index < count
            {
                used[index] = true;
            }
        }
        used
    }

    /// The tree with every input replaced.
    pub(crate) fn substitute(&self, inputs: &[Formula]) -> Formula {
        if inputs.iter().enumerate().all(|(k, f)| matches!(*f.0, Expr::Input(index) if index == k)) {
            return self.clone();
        }
        let mut done: FxHashMap<*const Expr, Formula> = FxHashMap::default();
        for node in self.nodes() {
            let get = |f: &Formula| done[&f.address()].clone();
            let new = match &*node.0 {
                Expr::Input(index) => inputs.get(*index).cloned().unwrap_or_else(|| node.clone()),
                Expr::Constant(_) | Expr::Scalar(_) => node.clone(),
                Expr::Unary(op, a) => get(a).unary(*op),
                Expr::Binary(op, a, b) => get(a).binary(*op, get(b)),
                Expr::Select(a, b, c) => Formula::select(get(a), get(b), get(c)),
            };
            done.insert(node.address(), new);
        }
        done[&self.address()].clone()
    }

    /// The value at a point.
    ///
    /// Inputs beyond the end of `inputs` read as zero.
    pub fn eval<R: Real>(&self, inputs: &[R]) -> R {
        let mut out = [R::default()];
        let columns: Vec<&[R]> = inputs.iter().map(std::slice::from_ref).collect();
        Program::new(self).run(&columns, &mut out);
        out[0]
    }
}

impl From<f64> for Formula {
    fn from(value: f64) -> Self {
        Formula::constant(value)
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident),*) => {$(
        impl std::ops::$trait for Formula {
            type Output = Formula;
            fn $method(self, other: Formula) -> Formula {
                self.binary(Binary::$op, other)
            }
        }
        impl std::ops::$trait<f64> for Formula {
            type Output = Formula;
            fn $method(self, other: f64) -> Formula {
                self.binary(Binary::$op, Formula::constant(other))
            }
        }
        impl std::ops::$trait<Formula> for f64 {
            type Output = Formula;
            fn $method(self, other: Formula) -> Formula {
                Formula::constant(self).binary(Binary::$op, other)
            }
        }
    )*};
}
operators!(Add add Add, Sub sub Sub, Mul mul Mul, Div div Div);

impl std::ops::Neg for Formula {
    type Output = Formula;
    fn neg(self) -> Formula {
        self.unary(Unary::Neg)
    }
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident $op:ident),* $(,)?) => {
        impl Formula {
            $($(#[$doc])* pub fn $name(self) -> Self { self.unary(Unary::$op) })*
        }
    };
}
functions! {
    /// e to the power of `self`.
    exp Exp,
    /// Natural logarithm.
    ln Ln,
    /// Square root.
    sqrt Sqrt,
    /// One over the square root.
    rsqrt Rsqrt,
    /// Hyperbolic tangent.
    tanh Tanh,
    /// The error function.
    erf Erf,
    /// Sine. WGSL grants accuracy on [−π, π].
    sin Sin,
    /// Cosine. WGSL grants accuracy on [−π, π].
    cos Cos,
    /// Absolute value. Its derivative at zero is zero.
    abs Abs,
    /// The largest integer not above. Its derivative is zero.
    floor Floor,
}
