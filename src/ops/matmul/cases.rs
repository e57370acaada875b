//! The cases of this room.

use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// All of them.
pub(in crate::ops) fn rooms() -> Vec<Room> {
    let mut cases = Vec::new();
    let sizes = [
        [1, 1, 1],
        [4, 4, 4],
        [7, 9, 8],
        [8, 16, 8],
        [9, 17, 9],
        [63, 15, 63],
        [64, 16, 64],
        [65, 17, 65],
        [41, 47, 55],
        [61, 3, 130],
        [1, 70, 33],
        [33, 70, 1],
        [3, 5, 200],
        [200, 31, 5],
    ];
    for [m, k, n] in sizes {
        for exact in [true, false] {
            let make = |shape: [usize; 2]| if exact { Input::whole(shape) } else { Input::any(shape) };
            let detail = format!("{m}x{k}x{n}{}", if exact { " whole" } else { "" });
            let case = Case::new("matmul", &detail, [make([m, k]), make([k, n])], |x| x[0].matmul(&x[1]));
            cases.push(if exact { case.exact() } else { case });
        }
    }
    let exact = |detail: &str, a: Input, b: Input| {
        Case::new("matmul", detail, [a, b], |x| x[0].matmul(&x[1])).exact()
    };
    let whole = |shape: &[usize]| Input::whole(shape);
    cases.push(exact("transposed lhs", whole(&[70, 19]).transposed(), whole(&[19, 66])));
    cases.push(exact("transposed rhs", whole(&[70, 19]), whole(&[19, 66]).transposed()));
    cases.push(exact("strided", whole(&[12, 20]).strided(), whole(&[20, 11]).strided()));
    cases.push(exact("stride 0", whole(&[12, 20]).repeated(), whole(&[20, 11]).repeated()));
    cases.push(exact("batched", whole(&[3, 2, 9, 10]), whole(&[3, 2, 10, 11])));
    cases.push(exact("broadcast batch", whole(&[2, 1, 5, 4]), whole(&[3, 4, 6])));
    cases.push(exact("batch stride 0", whole(&[5, 9, 10]).repeated(), whole(&[5, 10, 12])));
    cases.push(exact("rank 6", whole(&[2, 1, 3, 1, 4, 5]), whole(&[1, 2, 1, 2, 5, 6])));
    // Batches that no two axes of can be merged, of matrices below and above the smallest tile.
    cases.push(
        exact("rank 8", whole(&[2, 1, 3, 1, 2, 1, 5, 4]), whole(&[1, 2, 1, 2, 1, 3, 4, 6])).value_only(),
    );
    cases.push(exact("rank 8, 2x3x3", whole(&[2, 1, 3, 1, 2, 1, 2, 3]), whole(&[1, 2, 1, 2, 1, 3, 3, 3])));
    // Whole tiles: one too many, and the second matrix is not found.
    for m in [8, 64, 128] {
        let inputs = [whole(&[2, m, 3]), whole(&[2, 3, 64])];
        cases.push(Case::new("matmul", &format!("batched {m}x3x64"), inputs, |x| x[0].matmul(&x[1])).exact());
    }
    // The same for the tiles of a subgroup, of which no case above has two beside and two above each other.
    cases.push(exact("rank 8, 16x4x6", whole(&[2, 1, 3, 1, 2, 1, 16, 4]), whole(&[1, 2, 1, 2, 1, 3, 4, 6])));
    cases.push(exact("batched 65x3x128", whole(&[2, 65, 3]), whole(&[2, 3, 128])));
    cases.push(exact("batched 65x3x129", whole(&[2, 65, 3]), whole(&[2, 3, 129])));
    // Six workgroups of one output an invocation, but for one output.
    cases.push(exact("1x3x383", whole(&[1, 3]), whole(&[3, 383])));
    cases.push(exact("70000 rows", whole(&[70_000, 2]), whole(&[2, 4])).value_only());
    cases.push(exact("66000 matrices", whole(&[66_000, 4, 1]), whole(&[1, 4])).value_only());
    // Sums longer than a loop of llvmpipe.
    cases.push(exact("2x70000x3", whole(&[2, 70_000]), whole(&[70_000, 3])).value_only());
    cases.push(exact("9x66000x9", whole(&[9, 66_000]), whole(&[66_000, 9])).value_only());
    cases.push(exact("no terms", whole(&[3, 0]), whole(&[0, 4])));
    cases.push(exact("no terms, batched", whole(&[2, 3, 0]), whole(&[2, 0, 4])));
    cases.push(exact("no rows", whole(&[0, 3]), whole(&[3, 4])));
    cases.push(exact("empty batch", whole(&[0, 2, 3]), whole(&[3, 4])));
    cases.push(exact("inner dimensions differ", whole(&[2, 3]), whole(&[4, 2])).fails());
    for (m, n) in [(9, 66), (2, 7)] {
        let inputs = [whole(&[m, 12]), whole(&[12, n]), whole(&[n])];
        let with_bias = |x: &[Tensor]| x[0].matmul_bias(&x[1], &x[2]);
        cases.push(Case::new("matmul", &format!("bias {m}x{n}"), inputs, with_bias).exact());
    }
    let inputs = [Input::any([9, 512]), Input::any([512, 10]), Input::any([10]).strided()];
    cases.push(Case::new("matmul", "bias 9x512x10", inputs, |x| x[0].matmul_bias(&x[1], &x[2])));
    // One row times matrices whose rows lie together, of sizes that hardware and that software cuts into pieces: strips
    // of columns of which the last is narrow, batches, rows apart, an lhs that is not dense, a bias.
    for [k, n] in [[64, 260], [1040, 1028]] {
        let case = exact(&format!("row 1x{k}x{n}"), whole(&[1, k]), whole(&[k, n]));
        cases.push(if k < 100 { case } else { case.value_only() });
    }
    let any = [Input::any([1, 1040]), Input::any([1040, 1028])];
    cases.push(Case::new("matmul", "row 1x1040x1028 any", any, |x| x[0].matmul(&x[1])).value_only());
    // Batches that no two axes of can be merged, and a piece that is all.
    let (rows, matrices) = (whole(&[2, 1, 3, 1, 2, 1, 1, 64]), whole(&[1, 2, 1, 2, 1, 3, 64, 256]));
    cases.push(exact("row, rank 8", rows, matrices).value_only());
    let inputs = [whole(&[1, 16]), whole(&[16, 1024]), whole(&[1024])];
    let with_bias = |x: &[Tensor]| x[0].matmul_bias(&x[1], &x[2]);
    cases.push(Case::new("matmul", "row bias 16x1024", inputs, with_bias).exact().value_only());
    for [k, n] in [[64, 256], [512, 1024]] {
        let (rows, matrices) = (whole(&[2, 1, 1, k]), whole(&[2, k, n]));
        cases.push(exact(&format!("row batched {k}x{n}"), rows, matrices).value_only());
        let inputs = [whole(&[1, k]).strided(), whole(&[k + 2, n + 4]), whole(&[n])];
        let apart = move |x: &[Tensor]| {
            let inner = x[1].slice(0, 1, 1 + k)?.slice(1, 4, 4 + n)?;
            x[0].matmul_bias(&inner, &x[2])
        };
        cases.push(Case::new("matmul", &format!("row apart {k}x{n}"), inputs, apart).exact().value_only());
    }
    vec![Room { op: "matmul", cases }]
}
