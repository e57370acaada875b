//! The cases of this room.

use super::cholesky::Cholesky;
use crate::error::Result;
use crate::op;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// The identity of the last two axes times `scale`, in the type and on the device of `like`.
fn identity(like: &Tensor, scale: f64) -> Result<Tensor> {
    let n = like.shape()[like.rank() - 1];
    let rows = Tensor::arange(like.device(), 0, n as i32)?.to_dtype(like.dtype())?;
    rows.reshape([n, 1])?.equal(&rows.reshape([1, n])?)?.mul_scalar(scale)
}

/// Symmetric and diagonally dominant: X + Xᵀ with a multiple of the identity.
fn definite(x: &Tensor) -> Result<Tensor> {
    let n = x.shape()[x.rank() - 1];
    x.add(&x.t()?)?.add(&identity(x, 1.0 + 0.5 * n as f64)?)
}

/// Entries small enough that none of the triangles amplifies errors much, a diagonal well away from zero.
fn triangular(x: &Tensor) -> Result<Tensor> {
    x.add(&identity(x, 1.5)?)
}

const SMALL: f64 = 0.25;

fn cholesky() -> Vec<Case> {
    let case = |detail: &str, x: Input| Case::new("cholesky", detail, [x], |x| definite(&x[0])?.cholesky());
    let small = |shape: &[usize]| Input::uniform(shape, -SMALL, SMALL);
    let mut cases: Vec<Case> =
        [&[1, 1][..], &[2, 2], &[3, 5, 5], &[2, 3, 4, 4], &[7, 7], &[0, 3, 3], &[2, 0, 0]]
            .into_iter()
            .map(|shape| case(&format!("{shape:?}"), small(shape)))
            .collect();
    // The factor with the numbers of the columns that failed, which `cholesky` would read and turn into an error.
    let whole = |detail: &str, x: Input, make: fn(&Tensor) -> Result<Tensor>| {
        let run = move |x: &[Tensor]| {
            let out = op::apply(Cholesky, &[&make(&x[0])?])?;
            let [l, info] =
                [0, 1].map(|k| out[k].to_dtype(x[0].dtype()).and_then(|t| t.reshape([t.count()])));
            Tensor::concat(&[&l?, &info?], 0)
        };
        Case::new("cholesky", detail, [x], run).value_only()
    };
    for shape in [&[31, 31][..], &[63, 63], &[64, 64], &[65, 65], &[2, 70, 70], &[65_537, 2, 2]] {
        cases.push(whole(&format!("{shape:?}"), small(shape), definite));
    }
    // Definite with a pivot below one; failing at the second column and again at the third; at the first, with
    // a pivot of zero.
    #[rustfmt::skip]
    let pivots = [
        4.0, 0.0, 0.0,  2.0, 1.25, 0.0,  0.0, 1.0, 9.0,
        1.0, 0.0, 0.0,  2.0, 1.0, 0.0,  1.0, 5.0, 2.0,
        0.0, 0.0, 0.0,  1.0, 5.0, 0.0,  2.0, 4.0, 9.0,
    ];
    cases.push(whole("failing columns", Input::fixed([3, 3, 3], &pivots), |a| Ok(a.clone())));
    cases.push(case("4x4 stored strided", small(&[4, 4]).strided()));
    cases.push(case("3x4x4 stride 0", small(&[3, 4, 4]).repeated()).value_only());
    let plain = |detail: &str, x: Input| Case::new("cholesky", detail, [x], |x| x[0].cholesky());
    // The triangle above the diagonal is not read.
    cases.push(plain("upper triangle ignored", Input::fixed([2, 2], &[4.0, 1e30, 1.0, 3.0])).value_only());
    cases.push(plain("not definite", Input::fixed([2, 2], &[1.0, 2.0, 2.0, 1.0])).fails());
    let second = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0];
    cases.push(plain("second matrix singular", Input::fixed([2, 2, 2], &second)).fails());
    cases.push(plain("not square", Input::any([2, 3])).fails());
    cases.push(plain("a vector", Input::any([3])).fails());
    cases.push(plain("integers", Input::index([2, 2], 3)).fails());
    cases
}

fn triangular_solve() -> Vec<Case> {
    let mut cases = Vec::new();
    let make = |detail: &str, t: Input, b: Input, upper: bool, transpose: bool| {
        Case::new("triangular_solve", detail, [t, b], move |x| {
            triangular(&x[0])?.triangular_solve_with(&x[1], upper, transpose)
        })
    };
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[1, 1], &[1, 1]),
        (&[5, 5], &[5, 3]),
        (&[3, 4, 4], &[3, 4, 1]),
        (&[2, 3, 3], &[3, 65]),
        (&[4, 4], &[2, 2, 4, 3]),
        (&[3, 3], &[3, 0]),
        (&[0, 0], &[0, 2]),
        (&[23, 23], &[23, 7]),
        (&[3, 3], &[3, 66_000]),
    ];
    for (upper, transpose) in [(false, false), (false, true), (true, false), (true, true)] {
        for (t, b) in shapes {
            let name = format!(
                "{t:?} {b:?}{}{}",
                if upper { " upper" } else { "" },
                if transpose { " transposed" } else { "" }
            );
            let reach = SMALL / (t[t.len() - 1] as f64).max(2.0).sqrt();
            let case = make(&name, Input::uniform(t, -reach, reach), Input::any(b), upper, transpose);
            let large = t[t.len() - 1] > 20 || b[b.len() - 1] > 100;
            cases.push(if large { case.value_only() } else { case });
        }
    }
    let (t, b) = (Input::uniform([4, 4], -SMALL, SMALL), Input::any([4, 3]));
    cases.push(make("both stored transposed", t.clone().transposed(), b.clone().transposed(), false, false));
    cases.push(make("stride 0", Input::uniform([2, 4, 4], -SMALL, SMALL).repeated(), b.clone(), true, false));
    for (detail, t, b) in [
        ("rows differ", t.clone(), Input::any([3, 3])),
        ("a vector", t.clone(), Input::any([4])),
        ("batches differ", Input::any([2, 4, 4]), Input::any([3, 4, 1])),
    ] {
        cases.push(make(detail, t, b, false, false).fails());
    }
    let raw = |x: &[Tensor]| x[0].triangular_solve(&x[1], false);
    cases.push(Case::new("triangular_solve", "not square", [Input::any([4, 3]), b.clone()], raw).fails());
    cases.push(Case::new("triangular_solve", "integers", [t, Input::index([4, 3], 5)], raw).fails());
    cases
}

fn cholesky_solve() -> Vec<Case> {
    let case = |detail: &str, a: &[usize], b: &[usize]| {
        let inputs = [Input::uniform(a, -SMALL, SMALL), Input::any(b)];
        Case::new("cholesky_solve", detail, inputs, |x| definite(&x[0])?.cholesky()?.cholesky_solve(&x[1]))
    };
    vec![
        case("1x1", &[1, 1], &[1, 1]),
        case("5x5", &[5, 5], &[5, 2]),
        case("batched", &[3, 4, 4], &[4, 1]),
        case("12x12", &[12, 12], &[12, 3]).value_only(),
        case("rows differ", &[4, 4], &[3, 1]).fails(),
    ]
}

pub(in crate::ops) fn rooms() -> Vec<Room> {
    let room = |op, cases: Vec<Case>| Room { op, cases: cases.into_iter().map(Case::single).collect() };
    vec![
        room("cholesky", cholesky()),
        room("triangular_solve", triangular_solve()),
        room("cholesky_solve", cholesky_solve()),
    ]
}
