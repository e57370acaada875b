//! The cases of this room.

use super::backward::Backward;
use super::forward::{Forward, Kind};
use super::{Cell, RecurrentWeights, Sequence};
use crate::error::Result;
use crate::op;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// Steps, sequences, inputs and hidden units. At the edges of what the kernels do: 1, 4 or 8 sequences and 32
/// or 64 hidden units a tile, 64 or 128 where there is one gate. Few steps: the bound grows with each.
const SHAPES: [[usize; 4]; 16] = [
    [1, 1, 1, 1],
    [2, 1, 3, 2],
    [3, 2, 2, 3],
    [2, 4, 1, 5],
    [5, 5, 2, 4],
    [2, 8, 1, 7],
    [3, 9, 2, 3],
    [2, 3, 1, 31],
    [2, 2, 1, 33],
    [2, 1, 2, 65],
    [1, 9, 1, 129],
    [2, 65, 1, 3],
    // Hidden units that fill their tiles, for several tiles of sequences.
    [1, 17, 1, 32],
    [1, 2, 1, 64],
    [1, 9, 1, 31],
    [1, 9, 1, 128],
];

/// Where a case runs through its sequences.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Forwards,
    Reverse,
    /// Sequences of their own lengths, from none to all steps.
    Lengths,
    ReverseLengths,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Forwards, ""),
    (Way::Reverse, " reverse"),
    (Way::Lengths, " lengths"),
    (Way::ReverseLengths, " reverse lengths"),
];

impl Way {
    fn reverse(self) -> bool {
        matches!(self, Way::Reverse | Way::ReverseLengths)
    }

    /// Lengths of `batch` sequences: all steps, none, and between.
    fn lengths(self, steps: usize, batch: usize) -> Option<Input> {
        let lengths: Vec<i32> = (0..batch).map(|b| ((steps + 2 * b) % (steps + 1)) as i32).collect();
        let wanted = matches!(self, Way::Lengths | Way::ReverseLengths);
        wanted.then(|| Input::fixed_index([batch], &lengths))
    }
}

/// All of what a layer computes, in one vector: y, and the final state behind it.
fn both(y: &Tensor, state: &Tensor) -> Result<Tensor> {
    Tensor::concat(&[&y.reshape([y.count()])?, &state.reshape([state.count()])?], 0)
}

/// A call with x, both weights, both biases, the initial state, and perhaps lengths.
fn call(cell: Cell, reverse: bool) -> impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync {
    move |t| {
        let bias = Some([t[3].clone(), t[4].clone()]);
        let weights = RecurrentWeights { input: t[1].clone(), hidden: t[2].clone(), bias };
        let sequence = Sequence { initial: Some(t[5].clone()), lengths: t.get(6).cloned(), reverse };
        let out = t[0].recurrent(cell, &weights, &sequence)?;
        both(&out.y, &out.state)
    }
}

fn inputs(cell: Cell, [steps, batch, features, hidden]: [usize; 4], way: Way) -> Vec<Input> {
    let rows = cell.gates() * hidden;
    // Large enough that each weight counts, small enough that the bound does not outgrow the values.
    let reach = 2.0 / (hidden as f64).sqrt();
    let mut inputs = vec![
        Input::any([steps, batch, features]),
        Input::uniform([rows, features], -1.0, 1.0),
        Input::uniform([rows, hidden], -reach, reach),
        Input::uniform([rows], -0.5, 0.5),
        Input::uniform([rows], -0.5, 0.5),
        Input::uniform([cell.states(), batch, hidden], -1.0, 1.0),
    ];
    inputs.extend(way.lengths(steps, batch));
    inputs
}

/// Whether so many hidden units stay clear of the kink of relu, and are quickly differenced.
fn small(cell: Cell, [steps, batch, _, hidden]: [usize; 4]) -> bool {
    steps * batch * hidden <= if cell == Cell::Relu { 12 } else { 70 }
}

/// A case of the cell, which is the operation's only one or has a name.
fn case(
    op: &str,
    name: &str,
    detail: &str,
    inputs: Vec<Input>,
    run: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Case {
    Case::new(op, format!("{name} {detail}").trim(), inputs, run)
}

fn forward(cell: Cell, name: &str) -> Vec<Case> {
    let op = cell.name();
    let mut cases = Vec::new();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        for (way, suffix) in WAYS {
            // Every way for some shapes, and for each shape some way.
            if !matches!(number, 2 | 4 | 6) && way != WAYS[number % 4].0 {
                continue;
            }
            let detail = format!("{shape:?}{suffix}");
            let case = case(op, name, &detail, inputs(cell, shape, way), call(cell, way.reverse()));
            cases.push(if small(cell, shape) { case } else { case.value_only() });
        }
    }
    for (detail, shape) in [("no steps", [0, 2, 3, 4]), ("no sequences", [2, 0, 3, 4])] {
        cases.push(case(op, name, detail, inputs(cell, shape, Way::Forwards), call(cell, false)));
    }
    let shape = [2, 3, 4, 5];
    for (which, detail) in [(0, "input"), (2, "hidden weight"), (5, "state")] {
        let mut given = inputs(cell, shape, Way::Forwards);
        given[which] = given[which].clone().transposed();
        cases.push(case(op, name, &format!("{detail} transposed"), given, call(cell, false)));
    }
    let mut repeated = inputs(cell, shape, Way::Reverse);
    repeated[0] = Input::any([2, 3, 4]).repeated();
    cases.push(case(op, name, "stride 0", repeated, call(cell, true)).value_only());
    let wide = [1, 66_000, 1, 1];
    let many = case(op, name, "66000 sequences", inputs(cell, wide, Way::Lengths), call(cell, false));
    cases.push(many.value_only());
    // Where tanh and the logistic function are as good as constant, on both sides.
    let mut saturated = inputs(cell, [1, 3, 1, 5], Way::Forwards);
    saturated[0] = Input::fixed([1, 3, 1], &[60.0, -60.0, 25.0]);
    cases.push(case(op, name, "saturated", saturated, call(cell, false)).value_only());
    cases.push(plain(cell, name));
    for (which, wrong, detail) in [
        (0, Input::any([2, 3]), "input of rank 2"),
        (1, Input::any([cell.gates() * 5, 3]), "input weight for other features"),
        (2, Input::any([cell.gates() * 5, 4]), "hidden weight for other gates"),
        (3, Input::any([4]), "bias too short"),
        (5, Input::any([cell.states(), 2, 5]), "state of another batch"),
        (6, Input::fixed_index([3], &[1, 3, 2]), "length beyond the steps"),
        (6, Input::fixed_index([3], &[1, -1, 2]), "negative length"),
        (6, Input::fixed_index([2], &[1, 2]), "too few lengths"),
        (6, Input::any([3]), "lengths that are no integers"),
    ] {
        let mut given = inputs(cell, shape, Way::Lengths);
        given[which] = wrong;
        cases.push(case(op, name, detail, given, call(cell, false)).fails());
    }
    cases
}

/// Neither biases nor an initial state.
fn plain(cell: Cell, name: &str) -> Case {
    let mut given = inputs(cell, [3, 2, 2, 3], Way::Forwards);
    given.truncate(3);
    case(cell.name(), name, "without bias and state", given, move |t| {
        let weights = RecurrentWeights { input: t[1].clone(), hidden: t[2].clone(), bias: None };
        let out = t[0].recurrent(cell, &weights, &Sequence::default())?;
        both(&out.y, &out.state)
    })
}

/// The gradients of the gates and of the initial state at projected x, wᵀ, bias, initial state and the
/// cotangent of all states, with what the forward operation leaves at these.
fn gradient(kind: Kind) -> impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync {
    move |t| {
        let plain: Vec<Tensor> = t.iter().map(Tensor::detach).collect();
        let w = plain[1].t()?;
        let given: Vec<&Tensor> =
            [&plain[0], &w, &plain[2], &plain[3]].into_iter().chain(plain.get(5)).collect();
        let left = op::apply(Forward(kind), &given)?;
        let all: Vec<&Tensor> = t[..5].iter().chain(&left).chain(t.get(5)).collect();
        let out = op::apply(Backward(kind), &all)?;
        both(&out[0], &out[1])
    }
}

fn backward(cell: Cell, name: &str) -> Vec<Case> {
    let op = format!("{}_backward", cell.name());
    let mut cases = Vec::new();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let [steps, batch, _, hidden] = shape;
        for (way, suffix) in WAYS {
            if !matches!(number, 2 | 4 | 6) && way != WAYS[(number + 1) % 4].0 {
                continue;
            }
            let wide = cell.gates() * hidden;
            let reach = 2.0 / (hidden as f64).sqrt();
            let mut given = vec![
                Input::any([steps, batch, wide]),
                Input::uniform([wide, hidden], -reach, reach),
                Input::uniform([wide], -0.5, 0.5),
                Input::uniform([cell.states(), batch, hidden], -1.0, 1.0),
                Input::any([cell.states(), steps + 1, batch, hidden]),
            ];
            given.extend(way.lengths(steps, batch));
            let run = gradient(Kind { cell, reverse: way.reverse() });
            let case = case(&op, name, &format!("{shape:?}{suffix}"), given, run);
            cases.push(if small(cell, shape) && steps < 5 { case } else { case.value_only() });
        }
    }
    cases
}

/// The relu cell is linear but for its kink: whole numbers come out exactly, forwards and back.
fn exact() -> [Vec<Case>; 2] {
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for shape in [[3, 3, 2, 5], [2, 9, 1, 31], [2, 5, 1, 64], [2, 4, 1, 65], [2, 17, 1, 130]] {
        let [steps, batch, features, hidden] = shape;
        for (way, suffix) in WAYS {
            let detail = format!("relu {shape:?}{suffix} whole");
            let state = Input::whole([1, batch, hidden]);
            let mut given = vec![
                Input::whole([steps, batch, features]),
                Input::whole([hidden, features]),
                Input::whole([hidden, hidden]),
                Input::whole([hidden]),
                Input::whole([hidden]),
                state.clone(),
            ];
            given.extend(way.lengths(steps, batch));
            let call = call(Cell::Relu, way.reverse());
            forward.push(Case::new("rnn", &detail, given, call).value_only().exact());
            let mut given = vec![
                Input::whole([steps, batch, hidden]),
                Input::whole([hidden, hidden]),
                Input::whole([hidden]),
                state,
                Input::whole([1, steps + 1, batch, hidden]),
            ];
            given.extend(way.lengths(steps, batch));
            let run = gradient(Kind { cell: Cell::Relu, reverse: way.reverse() });
            backward.push(Case::new("rnn_backward", &detail, given, run).value_only().exact().single());
        }
    }
    [forward, backward]
}

pub(in crate::ops) fn rooms() -> Vec<Room> {
    let join = |parts: Vec<Vec<Case>>| parts.concat();
    // Sequences of f16 reach these operations as f32.
    let backward = |cell, name: &str| backward(cell, name).into_iter().map(Case::single).collect();
    let [exact_forward, exact_backward] = exact();
    vec![
        Room {
            op: "rnn",
            cases: join(vec![forward(Cell::Tanh, "tanh"), forward(Cell::Relu, "relu"), exact_forward]),
        },
        Room {
            op: "rnn_backward",
            cases: join(vec![backward(Cell::Tanh, "tanh"), backward(Cell::Relu, "relu"), exact_backward]),
        },
        Room { op: "lstm", cases: forward(Cell::Lstm, "") },
        Room { op: "lstm_backward", cases: backward(Cell::Lstm, "") },
        Room {
            op: "gru",
            cases: join(vec![forward(Cell::Gru, ""), forward(Cell::GruResetBefore, "reset before")]),
        },
        Room { op: "gru_backward", cases: backward(Cell::Gru, "") },
    ]
}
