//! Pointwise work inside other kernels: what comes before a reduction, where it reads, and what comes behind a
//! product or a convolution, where it stores. These cases are compositions; on a CPU device nothing is fused.

use super::conv::Conv2dOptions;
use crate::error::Result;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

fn case(
    detail: &str,
    shapes: &[&[usize]],
    run: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Case {
    Case::new("fusion", detail, shapes.iter().map(Input::any), run)
}

/// Sums and maxima of what has not been computed.
fn before() -> Vec<Case> {
    let matrix: &[usize] = &[6, 8];
    let product = |axis: isize| move |x: &[Tensor]| x[0].mul(&x[1])?.sum(&[axis], false);
    let all = |x: &[Tensor]| x.iter().skip(1).try_fold(x[0].clone(), |sum, x| sum.mul(x))?.sum(&[1], false);
    vec![
        case("sum of a square", &[&[7, 5]], |x| x[0].square()?.sum(&[], false)),
        case("sum of a square, in fours", &[&[33, 64]], |x| x[0].square()?.sum(&[1], false)),
        case("rows of a product", &[&[7, 5], &[7, 5]], product(1)),
        case("rows of a product, in fours", &[&[33, 64], &[33, 64]], product(1)),
        case("columns of a product, in fours", &[&[33, 64], &[33, 64]], product(0)),
        case("a vector for each row", &[&[7, 5], &[5]], product(1)),
        case("a vector for each row, in fours", &[&[6, 8], &[8]], product(1)),
        case("a number for each row", &[&[7, 5], &[7, 1]], product(1)),
        case("a number for each row, in fours", &[&[6, 8], &[6, 1]], product(1)),
        case("a number for each row first, in fours", &[&[6, 1], &[6, 8]], product(0)),
        case("a number for each channel", &[&[2, 3, 5, 7], &[3, 1, 1]], product(1)),
        case("a number for each channel, in fours", &[&[2, 3, 4, 5], &[3, 1, 1]], product(-1)),
        case("one number", &[&[7, 5], &[1]], product(1)),
        case("one number, in fours", &[&[6, 8], &[]], product(0)),
        case("one vector in every place but one", &[&[6, 8], &[6]], |x| {
            x[0].mul(&x[1].reshape([6, 1])?)?.sum(&[0], false)
        }),
        case("rows of a part", &[&[9, 8], &[6, 8]], |x| x[0].slice(0, 2, 8)?.mul(&x[1])?.sum(&[1], false)),
        case("rows of a part, not by fours", &[&[9, 7], &[6, 7]], |x| {
            x[1].mul(&x[0].slice(0, 3, 9)?)?.sum(&[1], false)
        }),
        case("a vector out of another", &[&[6, 8], &[17]], |x| {
            x[0].mul(&x[1].slice(0, 4, 12)?)?.sum(&[1], false)
        }),
        case("transposed, which does not go in", &[&[5, 7], &[7, 5]], |x| {
            x[0].t()?.mul(&x[1])?.sum(&[1], false)
        }),
        case("five", &[matrix; 5], all),
        case("six, which are too many", &[matrix; 6], all),
        case("numbers that change", &[&[6, 8]], |x| x[0].mul_scalar(3.0)?.add_scalar(0.5)?.sum(&[1], false)),
        case("tanh and erf", &[&[6, 8], &[6, 8]], |x| x[0].tanh()?.add(&x[1].gelu()?)?.sum(&[1], false)),
        case("in chunks", &[&[2, 9001], &[9001]], product(1)).value_only(),
        case("in chunks, in fours", &[&[2, 9004], &[9004]], product(1)).value_only(),
        case("a maximum", &[&[7, 5], &[7, 5]], |x| x[0].sub(&x[1])?.max(&[1], false)).value_only(),
        case("asked for again", &[&[7, 5]], |x| {
            let square = x[0].square()?;
            square.div(&square.sum(&[1], true)?)
        }),
    ]
}

/// Products and convolutions with work behind them.
fn behind() -> Vec<Case> {
    let matrices: [&[usize]; 2] = [&[5, 7], &[7, 6]];
    let fours: [&[usize]; 2] = [&[9, 8], &[8, 12]];
    let with = |two: [&'static [usize]; 2], third: &'static [usize]| [two[0], two[1], third];
    let added = |x: &[Tensor]| x[0].matmul(&x[1])?.add(&x[2]);
    let scaled = |x: &[Tensor]| x[2].mul(&x[0].matmul(&x[1])?);
    let convolved = |x: &[Tensor]| x[0].conv2d(&x[1], None, Conv2dOptions::default().padding([1, 1]));
    let images: [&[usize]; 2] = [&[2, 4, 6, 6], &[8, 4, 3, 3]];
    vec![
        case("product, relu", &matrices, |x| x[0].matmul(&x[1])?.relu()),
        case("product, relu, in fours", &fours, |x| x[0].matmul(&x[1])?.relu()),
        case("product, tanh", &fours, |x| x[0].matmul(&x[1])?.tanh()),
        case("product, numbers that change", &fours, |x| {
            x[0].matmul(&x[1])?.mul_scalar(0.7)?.add_scalar(-2.0)
        }),
        case("product and a matrix", &with(matrices, &[5, 6]), added),
        case("product and a matrix, in fours", &with(fours, &[9, 12]), added),
        case("product and a vector", &with(matrices, &[6]), added),
        case("product and a vector, in fours", &with(fours, &[12]), added),
        case("a column and a product", &with(matrices, &[5, 1]), scaled),
        case("a column and a product, in fours", &with(fours, &[9, 1]), scaled),
        case("product and a matrix that widens it", &with(matrices, &[2, 5, 6]), added),
        case("products", &[&[2, 3, 5, 7], &[7, 4], &[3, 5, 4]], added),
        case("product of few outputs and many terms", &[&[3, 700], &[700, 8], &[3, 8]], added),
        case("two products", &[&[9, 8], &[8, 12], &[9, 4], &[4, 12]], |x| {
            x[0].matmul(&x[1])?.add(&x[2].matmul(&x[3])?)
        }),
        case("product, read twice", &fours, |x| {
            let product = x[0].matmul(&x[1])?;
            product.relu()?.add(&product)
        }),
        case(
            "product and five matrices, which are too many",
            &[&[9, 8], &[8, 12], &[9, 12], &[9, 12], &[9, 12], &[9, 12], &[9, 12]],
            |x| x[2..].iter().try_fold(x[0].matmul(&x[1])?, |sum, x| sum.add(x)),
        ),
        case("product of nothing", &[&[5, 0], &[0, 6], &[5, 6]], added),
        case("no product", &[&[0, 7], &[7, 6], &[6]], added),
        case("convolution, relu", &images, move |x| convolved(x)?.relu()),
        case("convolution and images", &[images[0], images[1], &[2, 8, 6, 6]], move |x| {
            convolved(x)?.add(&x[2])
        }),
        case("convolution and a number for each channel", &[images[0], images[1], &[8, 1, 1]], move |x| {
            convolved(x)?.mul(&x[2])
        }),
        case("convolution of odd sizes, tanh", &[&[1, 3, 5, 7], &[2, 3, 3, 3], &[2, 5, 7]], move |x| {
            convolved(x)?.tanh()?.mul(&x[2])
        }),
        case("convolution, each channel by itself", &[&[2, 4, 5, 5], &[4, 1, 3, 3]], |x| {
            x[0].conv2d(&x[1], None, Conv2dOptions::default().groups(4))?.relu()
        }),
    ]
}

pub(super) fn rooms() -> Vec<Room> {
    vec![Room { op: "fusion", cases: [before(), behind()].concat() }]
}
