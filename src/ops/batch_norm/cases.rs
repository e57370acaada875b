//! The cases of this room.

use super::{BatchNorm, backward::Backward};
use crate::error::Result;
use crate::op;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// Large enough to be missed: beside a variance of one, 1e-5 hides within the bound of a long sum.
const EPS: f64 = 0.125;

/// Shapes at the edges of what the kernels do: 8 lanes, or 64 and, from 1024 terms on, 256; chunks from 4096 terms
/// on; both ways to step through a channel, by rows longer and shorter than the lanes; every rank.
const SHAPES: [&[usize]; 24] = [
    &[2, 1],
    &[3, 5],
    &[63, 3],
    &[64, 3],
    &[65, 3],
    &[5, 3, 13],
    &[2, 1, 64],
    &[2, 3, 5, 7],
    &[1, 4, 6, 6],
    &[2, 3, 2, 3, 5],
    &[3, 2, 5, 17],
    &[257, 2],
    &[41, 1, 47],
    &[31, 3, 33],
    &[32, 3, 32],
    &[25, 2, 41],
    &[55, 3, 61],
    &[16, 2, 16, 16],
    &[3, 1, 61, 67],
    &[2, 5, 64, 65],
    &[131, 2, 33],
    &[131, 2, 36],
    &[4099, 1],
    &[26_000, 1],
];

fn vectors(x: &[usize]) -> [Input; 2] {
    [Input::uniform([x[1]], 0.5, 1.5), Input::any([x[1]])]
}

fn train(detail: &str, x: Input, shape: &[usize], large: bool) -> Case {
    let [gamma, beta] = vectors(shape);
    let case =
        Case::new("batch_norm", detail, [x, gamma, beta], |x| Ok(x[0].batch_norm(&x[1], &x[2], EPS)?.y));
    if large { case.value_only() } else { case }
}

/// Output `output` of the fused gradient at x, gamma and dy, with the statistics of x.
fn gradient(x: &[Tensor], output: usize) -> Result<Tensor> {
    let gamma = x[1].detach();
    let saved = op::apply(BatchNorm { eps: EPS }, &[&x[0].detach(), &gamma, &gamma])?.swap_remove(3);
    Ok(op::apply(Backward { eps: EPS }, &[&x[0], &x[1], &x[2], &saved])?.swap_remove(output))
}

fn backward(detail: &str, x: Input, shape: &[usize], large: bool) -> Vec<Case> {
    let cases = ["dx", "dgamma", "dbeta"].into_iter().enumerate().map(|(output, name)| {
        let inputs = [x.clone(), vectors(shape)[0].clone(), Input::any(shape)];
        let case = Case::new("batch_norm_backward", &format!("{detail}, {name}"), inputs, move |x| {
            gradient(x, output)
        });
        // The derivative of dbeta with respect to x and gamma is zero by its structure.
        if large || output == 2 { case.value_only() } else { case }
    });
    cases.collect()
}

pub(in crate::ops) fn rooms() -> Vec<Room> {
    let mut forward = Vec::new();
    let mut backwards = Vec::new();
    for shape in SHAPES {
        let detail = format!("{shape:?}");
        let count: usize = shape.iter().product();
        forward.push(train(&detail, Input::any(shape), shape, count > 1000));
        backwards.extend(backward(&detail, Input::any(shape), shape, count > 500));
    }
    for (detail, x) in [
        ("6x9x7 transposed", Input::any([6, 9, 7]).transposed()),
        ("6x9x7 stride 2", Input::any([6, 9, 7]).strided()),
        ("6x9x7 stride 0", Input::any([6, 9, 7]).repeated()),
    ] {
        forward.push(train(detail, x.clone(), &[6, 9, 7], false));
        backwards.extend(backward(detail, x, &[6, 9, 7], false));
    }
    for mean in [1e3, 1e4, -1e4] {
        let detail = format!("mean {mean}");
        let x = Input::uniform([4, 3, 8, 9], mean - 2.0, mean + 2.0);
        forward.push(train(&detail, x.clone(), &[4, 3, 8, 9], true));
        backwards.extend(backward(&detail, x, &[4, 3, 8, 9], true));
    }
    // Mostly zero, as behind a relu, with the first element far out: the worst place to count from.
    let mut sparse = vec![0.0; 2 * 150];
    (sparse[0], sparse[20], sparse[151], sparse[299]) = (50.0, 1.0, 2.0, 3.0);
    forward.push(train("first element far out", Input::fixed([2, 1, 150], &sparse), &[2, 1, 150], true));
    forward.push(train("constant channel", Input::fixed([3, 2], &[7.3f32.into(); 6]), &[3, 2], true));
    // More channels than groups along one axis of the grid, and an odd number, which does not fill the fold.
    forward.push(train("70001 channels", Input::any([2, 70_001]), &[2, 70_001], true));
    backwards.extend(backward("70001 channels", Input::any([2, 70_001]), &[2, 70_001], true));
    forward.push(train("no channels", Input::any([4, 0, 3]), &[4, 0, 3], true));
    let tiny = [Input::any([4, 3]), Input::any([3]), Input::any([3])];
    let y = |x: &[Tensor]| Ok(x[0].batch_norm(&x[1], &x[2], 1e-5)?.y);
    forward.push(Case::new("batch_norm", "eps 1e-5", tiny, y));
    for (name, pick) in [("mean", false), ("var", true)] {
        for shape in [&[65, 3][..], &[3, 2, 64, 65]] {
            let [gamma, beta] = vectors(shape);
            let x = Input::uniform(shape, 98.0, 102.0);
            let case = Case::new("batch_norm", &format!("{name} of {shape:?}"), [x, gamma, beta], move |x| {
                let out = x[0].batch_norm(&x[1], &x[2], EPS)?;
                Ok(if pick { out.var } else { out.mean })
            });
            forward.push(case.value_only());
        }
    }
    for (detail, shape) in [
        ("one element a channel", &[1, 3][..]),
        ("no elements", &[0, 3]),
        ("rank 1", &[4]),
        ("rank 6", &[2; 6]),
    ] {
        forward.push(train(detail, Input::any(shape), &[0, *shape.last().unwrap_or(&1)], true).fails());
    }
    let [gamma, beta] = vectors(&[4, 3]);
    forward.push(
        Case::new("batch_norm", "gamma too short", [Input::any([4, 5]), gamma.clone(), beta.clone()], |x| {
            Ok(x[0].batch_norm(&x[1], &x[2], EPS)?.y)
        })
        .fails(),
    );
    for eps in [0.0, -1e-5, f64::NAN, 1e-300] {
        let inputs = [Input::any([4, 3]), gamma.clone(), beta.clone()];
        let case = Case::new("batch_norm", &format!("eps {eps}"), inputs, move |x| {
            Ok(x[0].batch_norm(&x[1], &x[2], eps)?.y)
        });
        forward.push(case.fails());
    }
    backwards.push(exact_dbeta(&[65, 3]));
    backwards.push(exact_dbeta(&[3, 2, 61, 67]));
    vec![
        Room { op: "batch_norm", cases: forward },
        Room { op: "batch_norm_backward", cases: backwards },
        Room { op: "batch_norm_inference", cases: inference() },
    ]
}

/// dbeta is a plain sum: whole numbers must come out exactly.
fn exact_dbeta(shape: &'static [usize]) -> Case {
    let inputs = [Input::whole(shape), Input::whole([shape[1]]), Input::whole(shape)];
    let detail = format!("{shape:?}, dbeta of whole numbers");
    Case::new("batch_norm_backward", &detail, inputs, |x| gradient(x, 2)).value_only().exact()
}

fn inference() -> Vec<Case> {
    let case = |detail: &str, x: Input, channels: usize| {
        let [gamma, beta] = vectors(&[0, channels]);
        let inputs = [x, gamma, beta, Input::any([channels]), Input::uniform([channels], 0.1, 2.0)];
        Case::new("batch_norm_inference", detail, inputs, |x| {
            x[0].batch_norm_inference(&x[1], &x[2], &x[3], &x[4], EPS)
        })
    };
    vec![
        case("5x3", Input::any([5, 3]), 3),
        case("1x1", Input::any([1, 1]), 1),
        case("2x3x5", Input::any([2, 3, 5]), 3),
        case("2x3x4x5", Input::any([2, 3, 4, 5]), 3),
        case("2x3x2x3x2", Input::any([2, 3, 2, 3, 2]), 3),
        case("6x9x7 transposed", Input::any([6, 9, 7]).transposed(), 9),
        case("6x9x7 stride 0", Input::any([6, 9, 7]).repeated(), 9),
        case("0x3 empty", Input::any([0, 3]), 3).value_only(),
        case("channels differ", Input::any([5, 4]), 3).fails(),
        case("rank 1", Input::any([3]), 3).fails(),
    ]
}
