//! The cases of gathering and scattering element by element, and by tuples of indices.

use super::Scatter;
use super::winner::{Wins, winners};
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// x, the axis, the shape of the indices, and whether central differences are affordable.
fn choices() -> Vec<(Vec<usize>, isize, Vec<usize>, bool)> {
    vec![
        (vec![1], 0, vec![1], true),
        (vec![5], 0, vec![0], true),
        (vec![7], 0, vec![63], true),
        (vec![3, 65], 1, vec![3, 31], true),
        (vec![13, 5], 0, vec![31, 5], true),
        (vec![4, 11], -1, vec![4, 17], true),
        (vec![3, 7, 5], 1, vec![3, 9, 5], true),
        (vec![3, 7, 5], 1, vec![2, 4, 3], true),
        (vec![2, 3, 0], 1, vec![2, 4, 0], true),
        (vec![0, 3], 1, vec![0, 4], true),
        (vec![2, 2, 3, 2], 2, vec![2, 2, 40, 2], true),
        (vec![97, 33], 0, vec![257, 33], false),
        (vec![11, 2], 0, vec![33_000, 2], false),
    ]
}

const MODES: [Scatter; 6] =
    [Scatter::Replace, Scatter::Add, Scatter::Mean, Scatter::Mul, Scatter::Max, Scatter::Min];

/// `x` cut along the axis into what is written to, of this extent, and what is written.
fn parts(x: &Tensor, axis: isize, extent: usize, indices: &[usize]) -> Result<[Tensor; 2]> {
    let at = axis.rem_euclid(indices.len() as isize) as usize;
    let mut values = x.slice(axis, extent, x.shape()[at])?;
    for (a, &end) in indices.iter().enumerate() {
        values = values.slice(a as isize, 0, end)?;
    }
    Ok([x.slice(axis, 0, extent)?, values])
}

fn along() -> [Room; 2] {
    let (mut gather, mut scatter) = (vec![], vec![]);
    for (shape, axis, chosen, gradient) in choices() {
        let at = axis.rem_euclid(shape.len() as isize) as usize;
        let (extent, detail) = (shape[at], format!("{shape:?} axis {axis}, {chosen:?}"));
        let limited = |case: Case| if gradient { case } else { case.value_only() };
        let indices = || Input::index(&chosen, extent as i32);
        let run = move |x: &[Tensor]| x[0].gather(axis, &x[1]);
        gather.push(limited(Case::new("gather", &detail, [Input::whole(&shape), indices()], run).exact()));
        let mut both = shape.clone();
        both[at] += chosen[at];
        for mode in MODES {
            if mode == Scatter::Mul && !gradient {
                continue;
            }
            // One input holds both, so that no two of all its numbers are alike.
            let extreme = matches!(mode, Scatter::Max | Scatter::Min);
            let input = if extreme {
                Input::distinct(&both)
            } else if mode == Scatter::Mul {
                Input::uniform(&both, 0.5, 1.5)
            } else {
                Input::whole(&both)
            };
            let chosen = chosen.clone();
            let run = move |x: &[Tensor]| {
                let [base, values] = parts(&x[0], axis, extent, &chosen)?;
                base.scatter(axis, &x[1], &values, mode)
            };
            let case = Case::new("scatter", &format!("{mode:?} {detail}"), [input, indices()], run);
            let case = if matches!(mode, Scatter::Mean | Scatter::Mul) { case } else { case.exact() };
            scatter.push(limited(case));
        }
    }
    gather.extend(gathered());
    scatter.extend(scattered());
    [Room { op: "gather", cases: gather }, Room { op: "scatter", cases: scatter }]
}

fn gathered() -> Vec<Case> {
    let x = || Input::whole([6, 5]);
    let indices = || Input::index([6, 5], 5);
    let run = |x: &[Tensor]| x[0].gather(1, &x[1]);
    let mut cases: Vec<Case> = [
        ("strided", x().strided(), indices().strided()),
        ("transposed", x().transposed(), indices().transposed()),
        ("repeated", x().repeated(), indices().repeated()),
    ]
    .into_iter()
    .map(|(detail, x, indices)| Case::new("gather", detail, [x, indices], run).exact())
    .collect();
    let integers = [Input::index([6, 5], 1 << 30), indices()];
    cases.push(Case::new("gather", "integers", integers, run).value_only());
    let calls = [
        ("index too large", x(), Input::fixed_index([6, 1], &[0, 5, 0, 0, 0, 0])),
        ("index negative", x(), Input::fixed_index([6, 1], &[0, -1, 0, 0, 0, 0])),
        ("another rank", x(), Input::index([6], 5)),
        ("longer than x", x(), Input::index([7, 2], 5)),
        ("float indices", x(), Input::whole([6, 5])),
        ("no axis", Input::whole([]), Input::index([], 1)),
    ];
    cases.extend(calls.map(|(detail, x, indices)| Case::new("gather", detail, [x, indices], run).fails()));
    cases
}

fn scattered() -> Vec<Case> {
    let x = || Input::whole([6, 5]);
    let run = |mode| move |x: &[Tensor]| x[0].scatter(1, &x[2], &x[1], mode);
    let mut cases = vec![];
    for (detail, place) in [
        ("strided", Input::strided as fn(Input) -> Input),
        ("transposed", Input::transposed),
        ("repeated", Input::repeated),
    ] {
        for mode in [Scatter::Replace, Scatter::Add] {
            let inputs = [place(x()), place(x()), place(Input::index([6, 5], 5))];
            cases.push(Case::new("scatter", &format!("{mode:?} {detail}"), inputs, run(mode)).exact());
        }
    }
    let all_to_one = |mode| {
        let inputs = [Input::distinct([2, 4]), Input::fixed_index([2, 70], &[2; 140])];
        let run = move |x: &[Tensor]| {
            let values = x[0].reshape([2, 4])?.slice(1, 0, 1)?.broadcast_to([2, 70])?;
            x[0].scatter(1, &x[1], &values, mode)
        };
        Case::new("scatter", &format!("{mode:?} all to one"), inputs, run)
    };
    cases.push(all_to_one(Scatter::Replace).exact());
    cases.push(all_to_one(Scatter::Add));
    let zeros = [
        Input::fixed([1, 4], &[2.0, 3.0, 0.0, 1.0]),
        Input::fixed([1, 7], &[0.0, 2.0, 0.0, 3.0, 5.0, 0.0, -1.0]),
        Input::fixed_index([1, 7], &[0, 0, 1, 1, 2, 1, 2]),
    ];
    cases.push(Case::new("scatter", "Mul over zeros", zeros, run(Scatter::Mul)).exact());
    let factors = [Input::whole([3, 5]), Input::whole([3, 9]), Input::index([3, 9], 5)];
    cases.push(Case::new("scatter", "Mul of whole numbers", factors, run(Scatter::Mul)).exact());
    let ties = |mode| {
        let inputs = [Input::whole([4, 5]), Input::whole([4, 33]), Input::index([4, 33], 5)];
        Case::new("scatter", &format!("{mode:?} ties"), inputs, run(mode)).exact().value_only()
    };
    cases.extend([ties(Scatter::Max), ties(Scatter::Min)]);
    for wins in [Wins::Last, Wins::Largest, Wins::Smallest] {
        let inputs = [Input::whole([4, 5]), Input::whole([4, 33]), Input::index([4, 33], 5)];
        let places = move |x: &[Tensor]| winners(&x[0], &x[1], &x[2], 1, wins).map(|[_, source]| source);
        cases.push(Case::new("scatter", &format!("{wins:?} ties, places"), inputs, places).value_only());
    }
    let integers = || [Input::index([6, 5], 99), Input::index([6, 7], 1 << 30), Input::index([6, 7], 5)];
    cases.push(Case::new("scatter", "Replace integers", integers(), run(Scatter::Replace)).value_only());
    let bad =
        |detail: &str, inputs: [Input; 3], mode| Case::new("scatter", detail, inputs, run(mode)).fails();
    let indices = || Input::index([6, 5], 5);
    cases.extend([
        bad("integers added", integers(), Scatter::Add),
        bad("index too large", [x(), x(), Input::fixed_index([6, 5], &[5; 30])], Scatter::Add),
        bad("fewer values", [x(), Input::whole([6, 4]), indices()], Scatter::Add),
        bad("longer than x", [Input::whole([5, 5]), x(), indices()], Scatter::Replace),
        bad("another rank", [Input::whole([6, 5, 1]), x(), indices()], Scatter::Max),
        bad("float indices", [x(), x(), x()], Scatter::Replace),
    ]);
    cases
}

fn taking() -> Room {
    let case = |detail: &str, x: Input, indices: Input, axis| {
        Case::new("take", detail, [x, indices], move |x| x[0].take(axis, &x[1]))
    };
    let cases = vec![
        case("rows by 2x3", Input::whole([5, 4]), Input::index([2, 3], 5), 0).exact(),
        case("columns by one", Input::whole([5, 4]), Input::index([], 4), -1).exact(),
        case("middle by 3x1x2", Input::whole([2, 7, 3]), Input::index([3, 1, 2], 7), 1).exact(),
        case("integers", Input::index([5, 4], 99), Input::index([7], 5), 0).value_only(),
        case("index too large", Input::whole([5, 4]), Input::fixed_index([1], &[5]), 0).fails(),
        case("axis beyond", Input::whole([5, 4]), Input::index([1], 4), 2).fails(),
    ];
    Room { op: "take", cases }
}

fn tuples() -> [Room; 2] {
    let pairs = |limit: [i32; 2], count: usize| -> Vec<i32> {
        (0..count as i32).flat_map(|i| [i * 7 % limit[0], i * 5 % limit[1]]).collect()
    };
    let gather = |detail: &str, x: Input, indices: Input, batch| {
        Case::new("gather_nd", detail, [x, indices], move |x| x[0].gather_nd(&x[1], batch))
    };
    let x = || Input::whole([5, 4, 3]);
    let indices = || Input::fixed_index([2, 7, 2], &pairs([5, 4], 14));
    let wrong = |indices: &[i32]| Input::fixed_index([1, indices.len()], indices);
    let gathers = vec![
        gather("pairs", x(), indices(), 0).exact(),
        gather("pairs of a transpose", x().transposed(), indices(), 0).exact(),
        gather("triples", x(), Input::fixed_index([2, 3], &[4, 3, 2, 0, 1, 2]), 0).exact(),
        gather("nothing named", x(), Input::index([2, 0], 1), 0).exact(),
        gather("no tuple", x(), Input::index([0, 2], 1), 0).exact(),
        gather("of batches", Input::whole([3, 5, 2]), Input::index([3, 4, 1], 5), 1).exact(),
        gather("of two batch axes", Input::whole([2, 3, 4, 2]), Input::index([2, 3, 2], 2), 2).exact(),
        gather("index too large", x(), wrong(&[4, 4]), 0).fails(),
        gather("index negative", x(), wrong(&[-1, 0]), 0).fails(),
        gather("more than axes", x(), wrong(&[0, 0, 0, 0]), 0).fails(),
        gather("batches differ", x(), Input::index([4, 1], 3), 1).fails(),
        gather("float indices", x(), Input::whole([2, 2]), 0).fails(),
        gather("no axis", x(), Input::index([], 1), 0).fails(),
    ];
    let scatter = |detail: &str, values: Input, indices: Input, mode: Scatter| {
        let detail = format!("{detail} {mode:?}");
        Case::new("scatter_nd", &detail, [Input::whole([5, 4, 3]), values, indices], move |x| {
            x[0].scatter_nd(&x[2], &x[1], mode)
        })
    };
    let values = || Input::whole([2, 7, 3]);
    let scatters = vec![
        scatter("pairs", values(), indices(), Scatter::Replace).exact(),
        scatter("pairs", values(), indices(), Scatter::Add).exact(),
        scatter("rows", Input::whole([3, 4, 3]), Input::fixed_index([3, 1], &[4, 0, 4]), Scatter::Replace)
            .exact(),
        scatter("triples", Input::whole([2]), Input::fixed_index([2, 3], &[4, 3, 2, 0, 1, 2]), Scatter::Mul)
            .exact(),
        scatter("ties", values(), indices(), Scatter::Max).exact().value_only(),
        scatter("no tuple", Input::whole([0, 3]), Input::index([0, 2], 1), Scatter::Add).exact(),
        scatter("index too large", Input::whole([1, 3]), wrong(&[5, 0]), Scatter::Add).fails(),
        scatter("other values", Input::whole([1, 4]), wrong(&[0, 0]), Scatter::Add).fails(),
        Case::new("scatter_nd", "integers", [Input::index([5], 9), Input::index([2], 9)], |x| {
            let places = Tensor::from_slice(x[0].device(), &[3, 0], [2, 1])?;
            x[0].scatter_nd(&places, &x[1], Scatter::Replace)?.to_dtype(DType::I32)
        })
        .value_only(),
    ];
    [Room { op: "gather_nd", cases: gathers }, Room { op: "scatter_nd", cases: scatters }]
}

pub fn rooms() -> Vec<Room> {
    along().into_iter().chain([taking()]).chain(tuples()).collect()
}
