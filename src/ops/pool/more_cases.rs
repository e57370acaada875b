//! The cases of pooling over one and three axes, by powers, to given extents, and back.

use super::{Pool1d, Pool2d, Pool3d};
use crate::error::Result;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

fn case(
    op: &str,
    detail: &str,
    x: Input,
    run: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Case {
    Case::new(op, detail, [x], move |x| run(&x[0]))
}

fn lines_and_volumes() -> Vec<Room> {
    let lines: [(&str, [usize; 3], Pool1d); 5] = [
        ("1", [1, 1, 1], Pool1d::new([1])),
        ("2x3x11 by 3", [2, 3, 11], Pool1d::new([3])),
        ("by 3 stride 2 padding 1", [2, 2, 9], Pool1d::new([3]).stride([2]).padding([1])),
        ("by 2 dilation 3 ceil", [1, 2, 12], Pool1d::new([2]).stride([4]).dilation([3]).ceil(true)),
        ("uneven", [1, 2, 7], Pool1d::new([3]).stride([2]).padding_each([2], [0])),
    ];
    let volumes: [(&str, [usize; 5], Pool3d); 5] = [
        ("1", [1, 1, 1, 1, 1], Pool3d::new([1, 1, 1])),
        ("2x2x4x5x6 by 2", [2, 2, 4, 5, 6], Pool3d::new([2, 2, 2])),
        ("by 3x2x3 padding", [1, 2, 5, 4, 5], Pool3d::new([3, 2, 3]).stride([2, 1, 2]).padding([1, 1, 0])),
        ("dilation", [1, 1, 5, 6, 4], Pool3d::new([2, 2, 2]).stride([1, 1, 1]).dilation([2, 3, 1])),
        (
            "ceil uneven",
            [1, 1, 4, 5, 6],
            Pool3d::new([3, 3, 3]).stride([2, 2, 2]).padding_each([0, 1, 2], [1, 0, 1]).ceil(true),
        ),
    ];
    let (mut max1, mut avg1, mut max3, mut avg3) = (vec![], vec![], vec![], vec![]);
    for (detail, x, pool) in lines {
        max1.push(case("max_pool1d", detail, Input::distinct(x), move |x| x.max_pool1d(pool)).exact());
        for padded in [false, true] {
            let detail = format!("{detail}{}", if padded { " padded" } else { "" });
            avg1.push(case("avg_pool1d", &detail, Input::any(x), move |x| x.avg_pool1d(pool, padded)));
        }
    }
    for (detail, x, pool) in volumes {
        max3.push(case("max_pool3d", detail, Input::distinct(x), move |x| x.max_pool3d(pool)).exact());
        for padded in [false, true] {
            let detail = format!("{detail}{}", if padded { " padded" } else { "" });
            avg3.push(case("avg_pool3d", &detail, Input::any(x), move |x| x.avg_pool3d(pool, padded)));
        }
    }
    let bad = || Input::any([1, 2, 4, 4]);
    max1.push(case("max_pool1d", "four axes", bad(), |x| x.max_pool1d(Pool1d::new([2]))).fails());
    avg1.push(case("avg_pool1d", "four axes", bad(), |x| x.avg_pool1d(Pool1d::new([2]), true)).fails());
    max3.push(case("max_pool3d", "four axes", bad(), |x| x.max_pool3d(Pool3d::new([2; 3]))).fails());
    avg3.push(case("avg_pool3d", "four axes", bad(), |x| x.avg_pool3d(Pool3d::new([2; 3]), true)).fails());
    let missed = Pool1d::new([2]).stride([1]).dilation([2]).padding([1]);
    max1.push(
        case("max_pool1d", "cells around all", Input::any([1, 1, 1]), move |x| x.max_pool1d(missed)).fails(),
    );
    vec![
        Room { op: "max_pool1d", cases: max1 },
        Room { op: "avg_pool1d", cases: avg1 },
        Room { op: "max_pool3d", cases: max3 },
        Room { op: "avg_pool3d", cases: avg3 },
    ]
}

fn powers() -> Room {
    let pool = Pool2d::new([3, 2]).stride([2, 1]).padding([1, 0]);
    let run = |p: f64, detail: &str, x: Input| {
        case("lp_pool2d", &format!("{p} {detail}"), x, move |x| x.lp_pool2d(p, pool))
    };
    let mut cases: Vec<Case> =
        [1.0, 2.0, 3.0, 1.5].map(|p| run(p, "of 2x2x6x5", Input::uniform([2, 2, 6, 5], 0.1, 3.0))).into();
    cases.push(run(2.0, "of zeros", Input::fixed([1, 1, 3, 3], &[0.0; 9])).value_only());
    cases.push(run(2.0, "of negative numbers", Input::uniform([1, 1, 4, 5], -3.0, -0.1)));
    cases.extend([0.0, f64::INFINITY, f64::NAN].map(|p| run(p, "", Input::any([1, 1, 3, 3])).fails()));
    Room { op: "lp_pool2d", cases }
}

fn back() -> Room {
    let mut cases = vec![];
    for (detail, shape, pool) in [
        ("1", [1, 1, 1, 1], Pool2d::new([1, 1])),
        ("2x3x6x8 by 2", [2, 3, 6, 8], Pool2d::new([2, 2])),
        ("by 3 stride 2, shared maxima", [1, 2, 7, 9], Pool2d::new([3, 3]).stride([2, 2])),
    ] {
        let meta = crate::op::Meta::new(crate::shape::Shape::known(&shape), crate::dtype::DType::F32);
        let windows = pool.output("pool", &meta).map_or(vec![], |shape| shape.to_vec());
        let inputs = [Input::distinct(shape), Input::whole(windows)];
        let run = move |x: &[Tensor]| {
            let positions = x[0].max_pool2d_with_indices(pool)?.1;
            x[1].max_unpool2d(&positions, [shape[2], shape[3]])
        };
        cases.push(Case::new("max_unpool2d", detail, inputs, run).exact());
    }
    let bad = |detail: &str, x: &[usize], positions: Input| {
        Case::new("max_unpool2d", detail, [Input::any(x), positions], |x| x[0].max_unpool2d(&x[1], [4, 4]))
            .fails()
    };
    cases.extend([
        bad("position outside", &[1, 1, 1, 2], Input::fixed_index([1, 1, 1, 2], &[16, 0])),
        bad("fewer positions", &[1, 1, 1, 2], Input::index([1, 1, 1, 1], 16)),
        bad("three axes", &[1, 1, 2], Input::index([1, 1, 2], 16)),
    ]);
    Room { op: "max_unpool2d", cases }
}

fn adaptive(
    op: &'static str,
    input: fn(&[usize]) -> Input,
    run: fn(&Tensor, &[usize]) -> Result<Tensor>,
) -> Room {
    let call = |x: &[usize], extents: &[usize]| {
        let extents = extents.to_vec();
        case(op, &format!("{x:?} to {extents:?}"), input(x), move |x| run(x, &extents))
    };
    let cases = vec![
        call(&[1, 1, 1, 1], &[1, 1]),
        call(&[2, 3, 6, 8], &[3, 2]),
        call(&[2, 3, 7, 5], &[3, 2]),
        call(&[1, 2, 3, 4], &[5, 7]),
        call(&[2, 2, 11], &[4]),
        call(&[1, 2, 4, 5, 3], &[3, 2, 2]),
        call(&[0, 2, 4, 4], &[2, 2]),
        call(&[1, 2, 4, 4], &[2]).fails(),
        call(&[1, 2, 4, 4], &[2, 0]).fails(),
        call(&[1, 2, 0, 4], &[2, 2]).fails(),
    ];
    Room { op, cases }
}

pub fn rooms() -> Vec<Room> {
    let mut rooms = lines_and_volumes();
    rooms.extend([
        powers(),
        back(),
        adaptive("adaptive_avg_pool", |s| Input::any(s), |x, extents| x.adaptive_avg_pool(extents)),
        adaptive("adaptive_max_pool", |s| Input::distinct(s), |x, extents| x.adaptive_max_pool(extents)),
    ]);
    rooms
}
