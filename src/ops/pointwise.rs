//! The cases of pointwise functions; the functions themselves are formulas.

use crate::dtype::DType;
use crate::error::Result;
use crate::formula::Formula;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

type Unary = fn(&Tensor) -> Result<Tensor>;
type Binary = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// Name, function, and the interval it is tried on. Kinks lie on multiples of 1/8 that `distinct` avoids.
const UNARY: [(&str, Unary, f64, f64); 30] = [
    ("neg", Tensor::neg, -4.0, 4.0),
    ("exp", Tensor::exp, -20.0, 20.0),
    ("ln", Tensor::ln, 0.01, 9.0),
    ("sqrt", Tensor::sqrt, 0.01, 9.0),
    ("rsqrt", Tensor::rsqrt, 0.01, 9.0),
    ("sin", Tensor::sin, -3.1, 3.1),
    ("cos", Tensor::cos, -3.1, 3.1),
    ("asin", Tensor::asin, -0.49, 0.49),
    ("acos", Tensor::acos, 0.51, 0.95),
    ("abs", Tensor::abs, 0.1, 4.0),
    ("floor", Tensor::floor, 0.1, 0.9),
    ("tanh", Tensor::tanh, -9.0, 9.0),
    ("erf", Tensor::erf, -4.0, 4.0),
    ("relu", Tensor::relu, 0.0, 0.0),
    ("leaky_relu", |x| x.leaky_relu(0.1), 0.0, 0.0),
    ("sigmoid", Tensor::sigmoid, -20.0, 20.0),
    ("silu", Tensor::silu, -9.0, 9.0),
    ("softplus", Tensor::softplus, 0.1, 20.0),
    ("gelu", Tensor::gelu, -4.0, 4.0),
    ("gelu_tanh", Tensor::gelu_tanh, -4.0, 4.0),
    ("elu", |x| x.elu(0.7), 0.0, 0.0),
    ("selu", Tensor::selu, 0.0, 0.0),
    ("mish", Tensor::mish, 0.1, 9.0),
    ("softsign", Tensor::softsign, 0.1, 9.0),
    ("hardswish", Tensor::hardswish, 0.0, 0.0),
    ("square", Tensor::square, -4.0, 4.0),
    ("recip", Tensor::recip, 0.1, 4.0),
    ("sign", Tensor::sign, 0.1, 4.0),
    ("powi", |x| x.powi(-3), 0.5, 2.0),
    ("powf", |x| x.powf(1.7), 0.5, 2.0),
];

const BINARY: [(&str, Binary); 8] = [
    ("add", Tensor::add),
    ("sub", Tensor::sub),
    ("mul", Tensor::mul),
    ("div", Tensor::div),
    ("maximum", Tensor::maximum),
    ("minimum", Tensor::minimum),
    ("less", Tensor::less),
    ("equal", Tensor::equal),
];

/// Six workgroups but for one element: verification folds them, and an index that runs short does not reach
/// the last, one that runs over leaves the tensor.
const FOLDED: usize = 6 * 256 - 1;

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let mut rooms: Vec<Room> = UNARY.into_iter().map(|(op, f, low, high)| unary(op, f, low, high)).collect();
    rooms.extend(BINARY.into_iter().map(|(op, f)| binary(op, f)));
    rooms.push(Room { op: "where", cases: selection() });
    rooms.push(Room { op: "clamp", cases: vec![kinked("clamp", |x| x.clamp(-1.0, 1.5))] });
    rooms.push(Room { op: "map", cases: fused() });
    rooms
}

fn kinked(op: &str, f: Unary) -> Case {
    Case::new(op, "8x8 over the kinks", [Input::distinct([8, 8])], move |x| f(&x[0]))
}

fn unary(op: &'static str, f: Unary, low: f64, high: f64) -> Room {
    if low == high {
        return Room {
            op,
            cases: vec![kinked(op, f), Case::new(op, "empty", [Input::any([0, 3])], move |x| f(&x[0]))],
        };
    }
    let make = |detail: &str, input: Input| Case::new(op, detail, [input], move |x| f(&x[0]));
    let mut cases = vec![
        make("1", Input::uniform([1], low, high)),
        make("257", Input::uniform([257], low, high)),
        make("7x41 transposed", Input::uniform([7, 41], low, high).transposed()),
    ];
    if matches!(op, "tanh" | "erf") {
        // Where one formula takes over from another, and far out.
        let edges = [0.0, 1e-3, 0.25, 0.75, 1.0, 1.25, 2.5, 4.0, 4.5, 8.0, 10.0, 10.5, 50.0];
        let both: Vec<f64> = edges.iter().flat_map(|&x| [x, -x]).cycle().take(FOLDED + 5).collect();
        let input = Input::fixed([FOLDED + 5], &both);
        cases
            .push(Case::new(op, "edges", [input], move |x| f(&x[0].slice(0, 5, x[0].count())?)).value_only());
    }
    if matches!(op, "asin" | "acos") {
        // The other branch, both signs, and the ends, where the derivative is infinite.
        make_arcs(&mut cases, op, f);
    }
    if op == "exp" {
        // What f16 can hold too.
        cases.push(make("small", Input::uniform([33], -4.0, 4.0)));
    }
    if low > 0.0 && matches!(op, "abs" | "softplus" | "mish" | "softsign" | "sign") {
        cases.push(make("negative", Input::uniform([47], -high, -low)));
    }
    // Smooth functions whose formulas have branches that meet there.
    if matches!(op, "tanh" | "erf" | "sigmoid" | "silu" | "softplus" | "gelu" | "gelu_tanh" | "mish") {
        cases.push(make("at zero", Input::fixed([3], &[0.0, -0.0, 0.25])));
    }
    Room { op, cases }
}

/// Both branches of an arc function on both sides of zero, and its ends.
fn make_arcs(cases: &mut Vec<Case>, op: &'static str, f: Unary) {
    let on = |low: f64, high: f64| Input::uniform([65], low, high);
    for (detail, input) in
        [("small", on(-0.49, 0.49)), ("large", on(0.51, 0.95)), ("negative", on(-0.95, -0.51))]
    {
        cases.push(Case::new(op, detail, [input], move |x| f(&x[0])));
    }
    let ends = Input::fixed([5], &[-1.0, 0.0, -0.0, 0.25, 1.0]);
    cases.push(Case::new(op, "ends", [ends], move |x| f(&x[0])).value_only());
}

fn binary(op: &'static str, f: Binary) -> Room {
    // Values of different parity in sixteenths: never equal, never zero, and a comparison is not near.
    let left = |shape: &[usize]| Input::distinct(shape);
    let right = |shape: &[usize]| Input::uniform(shape, 40.2, 44.9);
    let mixed = |shape: &[usize]| {
        if op == "div" {
            return Input::uniform(shape, 0.6, 3.0);
        }
        let count: usize = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|i| f64::from((i * 37 % 64) as u32) / 8.0 - 3.9).collect();
        Input::fixed(shape, &values)
    };
    let make = |detail: &str, a: Input, b: Input| Case::new(op, detail, [a, b], move |x| f(&x[0], &x[1]));
    let mut cases = vec![
        make("256", left(&[256]), mixed(&[256])),
        make("9x55 row", left(&[9, 55]), mixed(&[55])),
        make("9x55 column", left(&[9, 55]), mixed(&[9, 1])),
        make("outer", left(&[61, 1]), mixed(&[1, 5])),
        make("scalar", left(&[3, 4]), right(&[])),
        make("strided", left(&[5, 6]).strided(), mixed(&[5, 6])),
        make("transposed", left(&[47, 5]).transposed(), mixed(&[47, 5])),
        make("rank 6", left(&[2, 1, 3, 1, 2, 2]), mixed(&[1, 2, 1, 2, 2, 1])),
        make("empty", left(&[2, 0]), mixed(&[2, 1])),
        make("shapes differ", left(&[2, 3]), mixed(&[2, 2])).fails(),
    ];
    if matches!(op, "add" | "sub" | "mul") {
        let whole = [Input::whole([70_001, 3]), Input::whole([70_001, 1])];
        cases.push(Case::new(op, "70001 rows", whole, move |x| f(&x[0], &x[1])).exact().value_only());
    }
    if matches!(op, "equal" | "less" | "maximum" | "minimum") {
        let whole = [Input::whole([33, 3]), Input::whole([33, 3])];
        cases.push(Case::new(op, "ties", whole, move |x| f(&x[0], &x[1])).exact().value_only());
    }
    Room { op, cases }
}

fn selection() -> Vec<Case> {
    let run = |x: &[Tensor]| x[0].less(&x[0].full_like(0.0)?)?.where_(&x[1], &x[2]);
    let make = |detail: &str, no: usize| {
        let inputs = [Input::distinct([3, 4]), Input::whole([3, 4]), Input::whole([no])];
        Case::new("where", detail, inputs, run)
    };
    let integers = [Input::index([3, 4], 2), Input::whole([3, 4]), Input::whole([4])];
    let integers = Case::new("where", "mask of integers", integers, |x: &[Tensor]| x[0].where_(&x[1], &x[2]));
    vec![make("3x4", 4).exact(), integers.exact(), make("shapes differ", 5).fails()]
}

/// Chains that fuse, and values that several consumers share.
fn fused() -> Vec<Case> {
    let any = |shape: &[usize]| Input::uniform(shape, 0.5, 1.5);
    vec![
        Case::new("map", "chain", [any(&[65]), any(&[65])], |x| {
            x[0].mul_scalar(2.0)?.add_scalar(1.0)?.tanh()?.mul(&x[1])?.exp()
        }),
        Case::new("map", "shared", [any(&[9, 7]), any(&[7])], |x| {
            let y = x[0].exp()?;
            y.mul(&x[1])?.add(&y.square()?)?.sub(&y)
        }),
        Case::new("map", "seven inputs", vec![any(&[31]); 7], |x| {
            Tensor::map([&x[0], &x[1], &x[2], &x[3], &x[4], &x[5], &x[6]], |[a, b, c, d, e, f, g]| {
                a * b + c / d - e.clone() * f + g.sqrt()
            })
        }),
        // Every view with an offset and strides of its own, all of them 13×2×59, one less than FOLDED.
        Case::new(
            "map",
            "views",
            [Input::whole([2, 59, 15]), Input::whole([15, 1, 122]), Input::whole([4, 1])],
            |x| {
                let a = x[0].permute(&[2, 0, 1])?.slice(0, 1, 14)?;
                let b = x[1].slice(0, 2, 15)?.slice_step(-1, 3, 120, 2)?;
                Tensor::map([&a, &b, &x[2].slice(0, 2, 4)?], |[a, b, c]| {
                    let f = Formula::scalar;
                    ((a * f(2.0) + f(3.0)) * b - c * f(5.0) + f(7.0)) * f(0.25) + f(11.0)
                })
            },
        )
        .exact()
        .value_only(),
        Case::new("map", "integers to floats", [Input::index([FOLDED + 5], 4000), Input::whole([])], |x| {
            x[0].slice(0, 5, FOLDED + 5)?.to_dtype(x[1].dtype())
        })
        .exact()
        .value_only(),
        Case::new("map", "floats to integers", [Input::distinct([FOLDED + 5])], |x| {
            x[0].slice(0, 5, FOLDED + 5)?.to_dtype(DType::I32)
        })
        .value_only(),
        Case::new("map", "nine tensors", vec![any(&[31]); 9], |x| {
            x[1..].iter().try_fold(x[0].clone(), |sum, t| sum.mul_scalar(0.5)?.add(t))
        }),
        Case::new("map", "a hundred steps", [any(&[17])], |x| {
            (0..100).try_fold(x[0].clone(), |y, _| y.mul_scalar(0.75)?.add(&x[0]))
        }),
        Case::new("map", "broadcast then reduce", [any(&[5, 1]), any(&[1, 6])], |x| {
            x[0].exp()?.add(&x[1])?.square()?.sum(&[0], false)?.ln()
        }),
    ]
}
