//! What sums up many numbers in one, beside sum and maximum: products, minima, variances, norms, the
//! logarithm of summed exponentials. Each is composed of reductions, views and formulas.

use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::shape::MAX_RANK;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// f(x), and zero with derivative zero at zero, where f has no slope.
fn from_zero(x: Formula, f: impl FnOnce(Formula) -> Formula) -> Formula {
    let zero = x.clone().equal(0.0);
    let safe = Formula::select(zero.clone(), Formula::constant(1.0), x);
    Formula::select(zero, Formula::constant(0.0), f(safe))
}

impl Tensor {
    /// The axes named, none twice, with at least one element along them.
    fn some_along(&self, op: &'static str, axes: &[isize]) -> Result<[bool; MAX_RANK]> {
        self.require_float(op)?;
        let chosen = self.shape().axes(op, axes)?;
        if (0..self.rank()).any(|a| chosen[a] && self.shape()[a] == 0) {
            let given = format!("axes {axes:?} of {}, along which there is nothing", self.describe());
            return Err(Error::shape(op, given, "Reduce over at least one element."));
        }
        Ok(chosen)
    }

    /// The minimum over `axes` (all if empty). Elements that share it share its gradient.
    ///
    /// Errors: [`Error::Shape`] over no elements, [`Error::Axis`], [`Error::DType`].
    pub fn min(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.some_along("min", axes)?;
        self.neg()?.max(axes, keep)?.neg()
    }

    /// Where along `axis` the smallest element is, as i32; the first on a tie. The axis disappears.
    ///
    /// Errors: [`Error::Shape`] over no elements, [`Error::Axis`], [`Error::DType`].
    pub fn argmin(&self, axis: isize) -> Result<Tensor> {
        self.shape().axis("argmin", axis)?;
        self.some_along("argmin", &[axis])?;
        self.detach().neg()?.argmax(axis)
    }

    /// The product over `axes` (all if empty); one where there is nothing to multiply.
    ///
    /// Multiplied in a tree of halves. Gradient: the products of all others, without dividing, so that zeros
    /// are no harm. Errors: [`Error::Axis`], [`Error::DType`].
    pub fn prod(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        self.require_float("prod")?;
        let chosen = self.shape().axes("prod", axes)?;
        let (rest, gone): (Vec<usize>, Vec<usize>) = (0..self.rank()).partition(|&a| !chosen[a]);
        let extent = |axes: &[usize]| axes.iter().map(|&a| self.shape()[a]).product::<usize>();
        let (rows, terms) = (extent(&rest), extent(&gone));
        let mut left = terms.next_power_of_two();
        let mut product = self
            .permute(&[rest, gone].concat())?
            .reshape([rows, terms])?
            .pad(&[(0, 0), (0, left - terms)], 1.0)?;
        while left > 1 {
            left /= 2;
            product = product.slice(1, 0, left)?.mul(&product.slice(1, left, 2 * left)?)?;
        }
        product.reshape(self.shape().reduced(&chosen, keep))
    }

    /// The variance over `axes` (all if empty): Σ(x − mean)² / (n − correction). `correction` 1 estimates the
    /// variance of what the numbers were drawn from (Bessel), 0 is their own.
    ///
    /// In two passes, so that a mean far from zero does no harm. Gradient: 2·(x − mean)·dy/(n − correction).
    /// Errors: [`Error::Shape`] unless there are more elements than `correction`, [`Error::Axis`],
    /// [`Error::DType`].
    pub fn var(&self, axes: &[isize], correction: usize, keep: bool) -> Result<Tensor> {
        let chosen = self.some_along("var", axes)?;
        let count: usize = (0..self.rank()).filter(|&a| chosen[a]).map(|a| self.shape()[a]).product();
        if count <= correction {
            let given = format!("{count} elements of {} less a correction of {correction}", self.describe());
            return Err(Error::shape("var", given, "Give more elements than are taken off."));
        }
        let squares = self.sub(&self.mean(axes, true)?)?.square()?;
        squares.sum(axes, keep)?.mul_scalar(1.0 / (count - correction) as f64)
    }

    /// The standard deviation over `axes`, the root of [`var`](Self::var); where it is zero, its gradient is too.
    pub fn std(&self, axes: &[isize], correction: usize, keep: bool) -> Result<Tensor> {
        Tensor::map([&self.var(axes, correction, keep)?], |[var]| from_zero(var, Formula::sqrt))
    }

    /// The norm over `axes` (all if empty): (Σ|x|ᵖ)^(1/p) for p > 0; the largest |x| for an infinite p.
    ///
    /// Powers are not scaled: squares overflow beyond 1e19. Gradient: x·|x|^(p−2)·y^(1−p)·dy, zero where x or y
    /// is zero. Errors: [`Error::Argument`] for p ≤ 0 or not a number, [`Error::Shape`] for the largest of no
    /// elements, [`Error::Axis`], [`Error::DType`].
    pub fn norm(&self, p: f64, axes: &[isize], keep: bool) -> Result<Tensor> {
        if p.is_nan() || p <= 0.0 {
            return Err(Error::argument("norm", format!("p = {p}"), "p is above zero; it may be infinite."));
        }
        self.require_float("norm")?;
        self.shape().axes("norm", axes)?;
        if p == f64::INFINITY {
            self.some_along("norm", axes)?;
            return self.abs()?.max(axes, keep);
        }
        if p == 1.0 {
            return self.abs()?.sum(axes, keep);
        }
        let powers = if p == 2.0 {
            self.square()?
        } else {
            Tensor::map([self], |[x]| from_zero(x.abs(), |x| x.powf(p)))?
        };
        Tensor::map([&powers.sum(axes, keep)?], |[sum]| from_zero(sum, |x| x.powf(1.0 / p)))
    }

    /// ln Σ exp(x) over `axes` (all if empty), in nats.
    ///
    /// The largest is subtracted before the exponential: nothing overflows. Gradient: softmax.
    /// Errors: [`Error::Shape`] over no elements, [`Error::Axis`], [`Error::DType`].
    pub fn logsumexp(&self, axes: &[isize], keep: bool) -> Result<Tensor> {
        let chosen = self.some_along("logsumexp", axes)?;
        // Any constant does: the derivative does not see it.
        let largest = self.detach().max(axes, true)?;
        let sum = Tensor::map([self, &largest], |[x, m]| (x - m).exp())?.sum(axes, true)?;
        let y = Tensor::map([&sum, &largest], |[sum, m]| sum.ln() + m)?;
        if keep { Ok(y) } else { y.reshape(self.shape().reduced(&chosen, false)) }
    }
}

type Reduction = fn(&Tensor, &[isize], bool) -> Result<Tensor>;

/// Shapes and axes with and without the axes kept, small enough for gradients.
fn reductions(op: &'static str, input: fn(&[usize]) -> Input, f: Reduction) -> Vec<Case> {
    let mut cases = vec![];
    for (shape, axes) in [
        (vec![1], vec![]),
        (vec![], vec![]),
        (vec![7, 33], vec![-1]),
        (vec![31, 5], vec![0]),
        (vec![4, 5, 3], vec![0, 2]),
        (vec![2, 3, 4, 5], vec![1, 2]),
        (vec![0, 3], vec![1]),
    ] {
        for keep in [false, true] {
            let (detail, axes) =
                (format!("{shape:?} axes {axes:?}{}", if keep { " keep" } else { "" }), axes.clone());
            cases.push(Case::new(op, &detail, [input(&shape)], move |x| f(&x[0], &axes, keep)));
        }
    }
    cases.push(Case::new(op, "transposed", [input(&[5, 6]).transposed()], move |x| f(&x[0], &[1], false)));
    cases.push(Case::new(op, "axis twice", [input(&[5, 6])], move |x| f(&x[0], &[1, -1], false)).fails());
    let integers = Case::new(op, "integers", [Input::index([5], 9)], move |x| f(&x[0], &[], false));
    cases.push(integers.fails());
    cases
}

fn of_nothing(op: &'static str, f: Reduction) -> Case {
    Case::new(op, "of nothing", [Input::any([0, 3])], move |x| f(&x[0], &[0], false)).fails()
}

fn norms() -> Vec<Case> {
    let mut cases = vec![];
    let powers: [(&'static str, Reduction); 5] = [
        ("1", |x, axes, keep| x.norm(1.0, axes, keep)),
        ("2", |x, axes, keep| x.norm(2.0, axes, keep)),
        ("3", |x, axes, keep| x.norm(3.0, axes, keep)),
        ("1.5", |x, axes, keep| x.norm(1.5, axes, keep)),
        ("inf", |x, axes, keep| x.norm(f64::INFINITY, axes, keep)),
    ];
    for (p, f) in powers {
        for case in reductions("norm", |shape| Input::uniform(shape, 0.1, 4.0), f) {
            let id = case.id.replace('/', &format!("/{p}-norm of "));
            // Of the largest alone central differences need numbers that are well apart.
            cases.push(if p == "inf" && !case.fails {
                Case { id, ..case }.value_only()
            } else {
                Case { id, ..case }
            });
        }
        let zero = Input::fixed([2, 3], &[0.0, 0.0, 0.0, 0.0, -3.0, 4.0]);
        cases.push(
            Case::new("norm", &format!("{p}-norm of zeros"), [zero], move |x| f(&x[0], &[1], false))
                .value_only(),
        );
    }
    let apart: Vec<f64> =
        (0..63).map(|i| f64::from(i * 37 % 63 + 1) * if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let apart = [Input::fixed([7, 9], &apart)];
    cases.push(Case::new("norm", "inf-norm of numbers apart", apart, |x| {
        x[0].norm(f64::INFINITY, &[1], false)
    }));
    let signs = [Input::uniform([5, 7], -4.0, -0.1)];
    cases.push(Case::new("norm", "1.5-norm of negative numbers", signs, |x| x[0].norm(1.5, &[1], false)));
    for p in [0.0, -1.0, f64::NAN] {
        cases.push(
            Case::new("norm", &format!("p = {p}"), [Input::any([3])], move |x| x[0].norm(p, &[], false))
                .fails(),
        );
    }
    cases.push(of_nothing("norm", |x, axes, keep| x.norm(f64::INFINITY, axes, keep)));
    cases
}

fn products() -> Vec<Case> {
    let mut cases =
        reductions("prod", |shape| Input::uniform(shape, 0.7, 1.4), |x, axes, keep| x.prod(axes, keep));
    let zeros = Input::fixed([3, 3], &[2.0, 0.0, 3.0, 0.0, 0.0, 5.0, 1.0, 2.0, 3.0]);
    cases.push(Case::new("prod", "over zeros", [zeros], |x| x[0].prod(&[1], false)).exact());
    let nothing = [Input::any([0, 3])];
    cases.push(Case::new("prod", "of nothing", nothing, |x| x[0].prod(&[0], false)).exact());
    cases
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let room = |op: &'static str, input: fn(&[usize]) -> Input, f: Reduction| {
        let mut cases = reductions(op, input, f);
        cases.push(of_nothing(op, f));
        Room { op, cases }
    };
    let any: fn(&[usize]) -> Input = |shape| Input::any(shape);
    let mut rooms = vec![
        room("min", |shape| Input::distinct(shape), |x, axes, keep| x.min(axes, keep)),
        room("var", any, |x, axes, keep| x.var(axes, 0, keep)),
        room("std", any, |x, axes, keep| x.std(axes, 0, keep)),
        room("logsumexp", any, |x, axes, keep| x.logsumexp(axes, keep)),
    ];
    let spread = |detail: &str, input: Input, correction| {
        Case::new("var", detail, [input], move |x| x[0].var(&[1], correction, false))
    };
    rooms[1].cases.extend([
        spread("of 5x17 less one", Input::any([5, 17]), 1),
        spread("far from zero", Input::uniform([5, 17], 9_999.0, 10_001.0), 1),
        spread("of too few", Input::any([5, 2]), 2).fails(),
    ]);
    let alike = Input::fixed([2, 3], &[4.0; 6]);
    rooms[2].cases.push(Case::new("std", "all alike", [alike], |x| x[0].std(&[1], 0, false)).value_only());
    let steep = Input::uniform([5, 17], -1e3, 1e3);
    rooms[3].cases.push(Case::new("logsumexp", "±1e3", [steep], |x| x[0].logsumexp(&[1], true)).value_only());
    let least = |detail: &str, input: Input, axis| {
        Case::new("argmin", detail, [input], move |x| x[0].argmin(axis)).value_only()
    };
    let argmin = vec![
        least("7x33 axis 0", Input::distinct([7, 33]), 0),
        least("7x33 axis 1", Input::distinct([7, 33]), -1),
        least("ties", Input::whole([40, 30]), 1),
        least("axis beyond", Input::whole([4]), 1).fails(),
        least("of nothing", Input::whole([0, 4]), 0).fails(),
        least("integers", Input::index([4], 9), 0).fails(),
    ];
    rooms.extend([
        Room { op: "argmin", cases: argmin },
        Room { op: "prod", cases: products() },
        Room { op: "norm", cases: norms() },
    ]);
    rooms
}
