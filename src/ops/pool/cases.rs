//! The cases of pooling.

use super::Pool2d;
use super::max::{gather, scatter};
use super::sum::spread;
use crate::dtype::DType;
use crate::error::Result;
use crate::op::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// Images, windows, and whether central differences are affordable.
fn geometries() -> Vec<(&'static str, [usize; 4], Pool2d, bool)> {
    let new = Pool2d::new;
    vec![
        ("1", [1, 1, 1, 1], new([1, 1]), true),
        ("2x3x8x8 by 2", [2, 3, 8, 8], new([2, 2]), true),
        ("1x2x7x9 by 2, rows left over", [1, 2, 7, 9], new([2, 2]), true),
        ("2x1x7x5 by 3 stride 2 padding 1", [2, 1, 7, 5], new([3, 3]).stride([2, 2]).padding([1, 1]), true),
        ("1x2x6x7 by 3x2 stride 1, overlapping", [1, 2, 6, 7], new([3, 2]).stride([1, 1]), true),
        (
            "1x1x5x11 by 2x5 stride 3x1 padding 1x2",
            [1, 1, 5, 11],
            new([2, 5]).stride([3, 1]).padding([1, 2]),
            true,
        ),
        ("1x2x9x8 by 2 stride 3x4, gaps", [1, 2, 9, 8], new([2, 2]).stride([3, 4]), true),
        (
            "1x2x8x7 by 3x2, padding 1x0, apart",
            [1, 2, 8, 7],
            new([3, 2]).stride([3, 2]).padding([1, 0]),
            true,
        ),
        ("1x1x5x4 by 7x6 padding 3, one window", [1, 1, 5, 4], new([7, 6]).padding([3, 3]), true),
        ("1x1x6x5 by 3x4 stride 1x3, columns left over", [1, 1, 6, 5], new([3, 4]).stride([1, 3]), true),
        (
            "1x1x6x7 by 5x2 stride 1, padding above the stride",
            [1, 1, 6, 7],
            new([5, 2]).stride([1, 1]).padding([2, 0]),
            true,
        ),
        ("2x3x5x3 by 3 stride 1, one column of windows", [2, 3, 5, 3], new([3, 3]).stride([1, 1]), true),
        ("1x2x9x8 by 3x2 dilation 2x3", [1, 2, 9, 8], new([3, 2]).stride([1, 2]).dilation([2, 3]), true),
        (
            "2x1x8x7 by 3 stride 2 dilation 2 padding 2x1",
            [2, 1, 8, 7],
            new([3, 3]).stride([2, 2]).dilation([2, 2]).padding([2, 1]),
            true,
        ),
        (
            "1x1x7x9 by 3x2 dilation 3x4 padding 5x3",
            [1, 1, 7, 9],
            new([3, 2]).stride([2, 1]).dilation([3, 4]).padding([5, 3]),
            true,
        ),
        (
            "1x2x6x5 by 3 uneven padding",
            [1, 2, 6, 5],
            new([3, 3]).stride([2, 2]).padding_each([2, 0], [0, 1]),
            true,
        ),
        ("1x2x7x8 by 3 stride 2 ceil", [1, 2, 7, 8], new([3, 3]).stride([3, 2]).ceil(true), true),
        (
            "1x1x6x7 by 3 stride 3 padding 1 ceil",
            [1, 1, 6, 7],
            new([3, 3]).stride([3, 4]).padding([1, 1]).ceil(true),
            true,
        ),
        ("1x1x6x7 by 4 same", [1, 1, 6, 7], new([4, 2]).stride([2, 1]).same_lower([6, 7]), true),
        ("1x63x1x2 by 1x2", [1, 63, 1, 2], new([1, 2]), true),
        ("1x1x8x8 by 1", [1, 1, 8, 8], new([1, 1]), true),
        ("5x13x1x1 by 1", [5, 13, 1, 1], new([1, 1]), true),
        (
            "2x3x31x37 by 3 stride 2 padding 1",
            [2, 3, 31, 37],
            new([3, 3]).stride([2, 2]).padding([1, 1]),
            false,
        ),
        ("66000x1x2x3 by 2 stride 1", [66_000, 1, 2, 3], new([2, 2]).stride([1, 1]), false),
        ("0x3x4x4 empty", [0, 3, 4, 4], new([2, 2]), true),
        ("2x0x4x4 empty", [2, 0, 4, 4], new([2, 2]), true),
    ]
}

/// The same images in another place: strided, transposed, repeated.
fn placed(op: &str, input: fn([usize; 4]) -> Input, run: fn(&Tensor, Pool2d) -> Result<Tensor>) -> Vec<Case> {
    let pool = Pool2d::new([3, 2]).stride([2, 1]).padding([1, 0]);
    let x = || input([2, 2, 6, 5]);
    [("strided", x().strided()), ("transposed", x().transposed()), ("repeated", x().repeated())]
        .map(|(detail, x)| Case::new(op, detail, [x], move |x| run(&x[0], pool)).exact())
        .into()
}

fn failing(op: &str, run: fn(&Tensor, Pool2d) -> Result<Tensor>) -> Vec<Case> {
    let new = Pool2d::new;
    let calls: [(&str, &[usize], Pool2d); 8] = [
        ("rank 3", &[2, 4, 4], new([2, 2])),
        ("kernel beyond the image", &[1, 1, 4, 4], new([2, 5])),
        ("no rows", &[1, 1, 0, 4], new([2, 2]).padding([1, 1])),
        ("kernel 0", &[1, 1, 4, 4], new([0, 2])),
        ("kernel beyond counting", &[1, 1, 4, 4], new([usize::MAX, 2]).padding([usize::MAX / 2, 0])),
        ("stride 0", &[1, 1, 4, 4], new([2, 2]).stride([1, 0])),
        ("padding of a window", &[1, 1, 4, 4], new([3, 3]).padding([3, 0])),
        ("padding beyond counting", &[1, 1, 4, 4], new([3, 3]).padding([0, usize::MAX])),
    ];
    let mut cases: Vec<Case> = calls
        .into_iter()
        .map(|(detail, shape, pool)| {
            Case::new(op, detail, [Input::any(shape)], move |x| run(&x[0], pool)).fails()
        })
        .collect();
    let integers = Input::index([1, 1, 4, 4], 9);
    cases.push(Case::new(op, "integers", [integers], move |x| run(&x[0], new([2, 2]))).fails());
    cases
}

/// Distinct images of this shape pooled by a maximum: where positions come from.
fn positions(x: &Tensor, pool: Pool2d) -> Result<Tensor> {
    Ok(x.max_pool2d_with_indices(pool)?.1)
}

pub fn rooms() -> Vec<Room> {
    let (mut max, mut first, mut sum, mut avg) = (vec![], vec![], vec![], vec![]);
    let (mut scattered, mut gathered, mut spreads) = (vec![], vec![], vec![]);
    for (detail, shape, pool, gradient) in geometries() {
        let case = |op: &str, inputs: Vec<Input>, run: fn(&[Tensor], Pool2d) -> Result<Tensor>| {
            let case = Case::new(op, detail, inputs, move |x| run(x, pool));
            if gradient { case } else { case.value_only() }
        };
        let meta = Meta::new(Shape::known(&shape), DType::F32);
        let windows = pool.output("pool", &meta).map_or(vec![], |shape| shape.to_vec());
        let (distinct, whole, any) = (Input::distinct(shape), Input::whole(shape), Input::any(shape));
        max.push(case("max_pool2d", vec![distinct.clone()], |x, pool| x[0].max_pool2d(pool)).exact());
        let run: fn(&[Tensor], Pool2d) -> Result<Tensor> = |x, pool| positions(&x[0], pool);
        first.push(case("max_pool2d_with_indices", vec![distinct.clone()], run).value_only().exact());
        let ties = case("max_pool2d_with_indices", vec![whole.clone()], run).value_only().exact();
        first.push(Case { id: format!("{} ties", ties.id), ..ties });
        sum.push(case("sum_pool2d", vec![whole.clone()], |x, pool| x[0].sum_pool2d(pool)).exact());
        avg.push(case("avg_pool2d", vec![any.clone()], |x, pool| x[0].avg_pool2d(pool, true)));
        let inside = case("avg_pool2d", vec![any], |x, pool| x[0].avg_pool2d(pool, false));
        avg.push(Case { id: format!("{} inside", inside.id), ..inside });
        scattered.push(
            case("max_pool2d_scatter", vec![distinct.clone(), Input::whole(&windows)], |x, pool| {
                scatter(&x[1], &positions(&x[0], pool)?, pool, *x[0].shape())
            })
            .exact(),
        );
        gathered.push(
            case("max_pool2d_gather", vec![distinct, whole], |x, pool| {
                gather(&x[1], &positions(&x[0], pool)?, pool)
            })
            .exact(),
        );
        let images = Shape::known(&shape);
        let run = move |x: &[Tensor]| spread(&x[0], pool, images);
        let case = Case::new("sum_pool2d_spread", detail, [Input::whole(&windows)], run).exact();
        spreads.push(if gradient { case } else { case.value_only() });
    }
    let far = Pool2d::new([2, 2]).stride([usize::MAX, usize::MAX]);
    max.push(Case::new("max_pool2d", "stride beyond counting", [Input::distinct([1, 2, 4, 4])], move |x| {
        x[0].max_pool2d(far)
    }));
    max.push(
        Case::new("max_pool2d", "negative", [Input::uniform([1, 2, 6, 6], -9.0, -1.0)], |x| {
            x[0].max_pool2d(Pool2d::new([3, 3]).stride([1, 1]).padding([1, 1]))
        })
        .value_only(),
    );
    avg.push(
        Case::new("avg_pool2d", "quarters", [Input::whole([2, 3, 8, 6])], |x| {
            x[0].avg_pool2d(Pool2d::new([2, 2]), false)
        })
        .exact(),
    );
    max.extend(placed("max_pool2d", Input::distinct, |x, pool| x.max_pool2d(pool)));
    sum.extend(placed("sum_pool2d", Input::whole, |x, pool| x.sum_pool2d(pool)));
    max.extend(failing("max_pool2d", |x, pool| x.max_pool2d(pool)));
    sum.extend(failing("sum_pool2d", |x, pool| x.sum_pool2d(pool)));
    avg.extend(failing("avg_pool2d", |x, pool| x.avg_pool2d(pool, true)));
    let global = |op, input: fn(&[usize]) -> Input, run: fn(&Tensor) -> Result<Tensor>| {
        let call = move |detail, shape: &[usize]| Case::new(op, detail, [input(shape)], move |x| run(&x[0]));
        vec![
            call("1", &[1, 1, 1, 1]),
            call("3x5x7x6", &[3, 5, 7, 6]),
            call("0x5x7x6 empty", &[0, 5, 7, 6]),
            call("no rows", &[2, 5, 0, 6]).fails(),
            call("rank 3", &[5, 7, 6]).fails(),
        ]
    };
    vec![
        Room { op: "max_pool2d", cases: max },
        Room { op: "max_pool2d_with_indices", cases: first },
        Room { op: "max_pool2d_scatter", cases: scattered },
        Room { op: "max_pool2d_gather", cases: gathered },
        Room { op: "sum_pool2d", cases: sum },
        Room { op: "sum_pool2d_spread", cases: spreads },
        Room { op: "avg_pool2d", cases: avg },
        Room {
            op: "global_avg_pool2d",
            cases: global("global_avg_pool2d", |s| Input::any(s), Tensor::global_avg_pool2d),
        },
        Room {
            op: "global_max_pool2d",
            cases: global("global_max_pool2d", |s| Input::distinct(s), Tensor::global_max_pool2d),
        },
    ]
}
