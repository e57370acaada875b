//! The cases of views and of tensors put together from others: all exact, since they only move numbers.

use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

fn one(op: &str, detail: &str, input: Input, run: fn(&Tensor) -> crate::Result<Tensor>) -> Case {
    Case::new(op, detail, [input], move |x| run(&x[0])).exact()
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let whole = |shape: &[usize]| Input::whole(shape);
    vec![
        Room {
            op: "reshape",
            cases: vec![
                one("reshape", "dense", whole(&[6, 35]), |x| x.reshape([7, 30])),
                one("reshape", "transposed", whole(&[6, 35]).transposed(), |x| x.reshape([7, 30])),
                one("reshape", "stride 0", whole(&[6, 5]).repeated(), |x| x.reshape([30])),
                one("reshape", "empty", whole(&[0, 5]), |x| x.reshape([5, 0, 2])),
                one("reshape", "flatten", whole(&[2, 3, 4, 5]), |x| x.flatten(1)),
                one("reshape", "count differs", whole(&[6, 5]), |x| x.reshape([7, 5])).fails(),
            ],
        },
        Room {
            op: "permute",
            cases: vec![
                one("permute", "rank 4", whole(&[2, 3, 4, 5]), |x| x.permute(&[2, 0, 3, 1])),
                one("permute", "rank 8", whole(&[2, 1, 2, 1, 2, 3, 1, 2]), |x| {
                    x.permute(&[7, 0, 6, 1, 5, 2, 4, 3])
                }),
                one("permute", "then read dense", whole(&[41, 47]), |x| x.t()?.contiguous()),
                one("permute", "axis twice", whole(&[2, 3]), |x| x.permute(&[0, 0])).fails(),
            ],
        },
        Room {
            op: "slice",
            cases: vec![
                one("slice", "middle", whole(&[7, 9]), |x| x.slice(1, 2, 7)),
                one("slice", "step 3", whole(&[61, 3]), |x| x.slice_step(0, 1, 60, 3)),
                one("slice", "of a transpose", whole(&[7, 9]).transposed(), |x| x.slice(-2, 1, 6)),
                one("slice", "select", whole(&[4, 5, 6]), |x| x.select(1, 4)),
                one("slice", "nothing", whole(&[4, 5]), |x| x.slice(0, 2, 2)),
                one("slice", "beyond the end", whole(&[4, 5]), |x| x.slice(0, 2, 6)).fails(),
            ],
        },
        Room {
            op: "broadcast_to",
            cases: vec![
                one("broadcast_to", "rows", whole(&[5]), |x| x.broadcast_to([4, 5])),
                one("broadcast_to", "middle", whole(&[3, 1, 2]), |x| x.broadcast_to([2, 3, 7, 2])),
                one("broadcast_to", "to nothing", whole(&[1, 2]), |x| x.broadcast_to([0, 2])),
                one("broadcast_to", "shrinks", whole(&[3]), |x| x.broadcast_to([1])).fails(),
            ],
        },
        Room {
            op: "concat",
            cases: vec![
                Case::new("concat", "rows", [whole(&[2, 5]), whole(&[3, 5]), whole(&[1, 5])], |x| {
                    Tensor::concat(&[&x[0], &x[1], &x[2]], 0)
                })
                .exact(),
                Case::new(
                    "concat",
                    "columns, strided",
                    [whole(&[5, 4]).strided(), whole(&[5, 3]).transposed()],
                    |x| Tensor::concat(&[&x[0], &x[1]], -1),
                )
                .exact(),
                Case::new("concat", "views", [whole(&[59, 27]).transposed(), whole(&[26, 61])], |x| {
                    Tensor::concat(&[&x[0].slice(1, 1, 27)?.t()?, &x[1].slice(1, 2, 61)?], 0)
                })
                .exact()
                .value_only(),
                // More than a mask of 32 bits tells apart.
                Case::new("concat", "forty", [whole(&[3]), whole(&[2])], |x| {
                    let parts: Vec<&Tensor> = (0..40).map(|k| &x[k % 2]).collect();
                    Tensor::concat(&parts, 0)
                }),
                Case::new("concat", "with nothing", [whole(&[2, 0]), whole(&[2, 3])], |x| {
                    Tensor::concat(&[&x[0], &x[1]], 1)
                })
                .exact(),
                Case::new("concat", "stack", [whole(&[4, 3]), whole(&[4, 3])], |x| {
                    Tensor::stack(&[&x[0], &x[1]], 1)
                })
                .exact(),
                Case::new("concat", "shapes differ", [whole(&[2, 5]), whole(&[3, 4])], |x| {
                    Tensor::concat(&[&x[0], &x[1]], 0)
                })
                .fails(),
            ],
        },
        Room {
            op: "pad",
            cases: vec![
                one("pad", "all sides", whole(&[4, 5]), |x| x.pad(&[(1, 2), (3, 0)], 0.0)),
                one("pad", "more than five workgroups", whole(&[3, 5]), |x| x.pad(&[(20, 3), (50, 4)], 0.5)),
                one("pad", "with a value", whole(&[2, 3, 4]), |x| x.pad(&[(0, 0), (1, 1), (2, 1)], -3.0)),
                one("pad", "nothing", whole(&[0, 2]), |x| x.pad(&[(1, 1), (0, 0)], 5.0)),
                one("pad", "too few amounts", whole(&[4, 5]), |x| x.pad(&[(1, 2)], 0.0)).fails(),
            ],
        },
        Room {
            op: "slice_assign",
            cases: vec![
                Case::new("slice_assign", "middle", [whole(&[6, 7]), whole(&[3, 2])], |x| {
                    x[0].slice_assign(&[2, 4], &x[1])
                })
                .exact(),
                Case::new("slice_assign", "all of it", [whole(&[3, 2]), whole(&[3, 2]).strided()], |x| {
                    x[0].slice_assign(&[0, 0], &x[1])
                })
                .exact(),
                Case::new("slice_assign", "beyond the end", [whole(&[6, 7]), whole(&[3, 2])], |x| {
                    x[0].slice_assign(&[4, 4], &x[1])
                })
                .fails(),
            ],
        },
    ]
}
