//! The cases of this room.

use super::super::Reduction;
use super::super::cases::REDUCTIONS;
use super::CtcLoss;
use crate::verify::{Case, Input, Room};

pub(in super::super) fn rooms() -> Vec<Room> {
    vec![loss(), occupancy()]
}

/// Labels of many examples, some repeated; zero is the blank.
fn many_labels(examples: usize, length: usize) -> Input {
    let labels: Vec<i32> = (0..examples * length).map(|i| (i * i / 3 % 4 + 1) as i32).collect();
    Input::fixed_index([examples, length], &labels)
}

fn loss() -> Room {
    let op = "ctc_loss";
    struct Call<'a> {
        detail: &'a str,
        shape: [usize; 3],
        targets: (&'a [usize], &'a [i32]),
        inputs: &'static [usize],
        lengths: &'static [usize],
        options: CtcLoss,
    }
    let case = |call: Call| {
        let Call { inputs, lengths, options, .. } = call;
        let given = [Input::any(call.shape), Input::fixed_index(call.targets.0, call.targets.1)];
        let detail = format!("{}, {:?}", call.detail, options.reduction);
        Case::new(op, &detail, given, move |x| {
            x[0].log_softmax(-1)?.ctc_loss(&x[1], inputs, lengths, options)
        })
    };
    let plain = CtcLoss::default();
    let apart = CtcLoss { reduction: Reduction::None, ..plain };
    let three: (&[usize], &[i32]) = (&[3, 3], &[1, 2, 3, 2, 2, 0, 3, 0, 0]);
    let call = |detail, inputs, lengths, options| Call {
        detail,
        shape: [6, 3, 4],
        targets: three,
        inputs,
        lengths,
        options,
    };
    let mut cases = vec![
        case(Call {
            shape: [1, 1, 1],
            targets: (&[1, 0], &[]),
            inputs: &[1],
            lengths: &[0],
            ..call("one blank", &[], &[], plain)
        }),
        case(Call {
            shape: [1, 1, 2],
            targets: (&[1, 1], &[1]),
            inputs: &[1],
            lengths: &[1],
            ..call("one label", &[], &[], plain)
        }),
        case(Call {
            shape: [3, 1, 2],
            targets: (&[1, 2], &[1, 1]),
            inputs: &[3],
            lengths: &[2],
            ..call("one way", &[], &[], plain)
        }),
        case(call("some without labels", &[6, 6, 6], &[3, 0, 1], apart)),
        case(call("blank last", &[6, 6, 6], &[2, 2, 0], CtcLoss { blank: 3, ..apart })),
    ];
    for reduction in REDUCTIONS {
        let options = CtcLoss { reduction, ..plain };
        cases.push(case(call("6x3x4", &[6, 6, 6], &[3, 2, 1], options)));
        cases.push(case(call("ragged", &[4, 6, 2], &[3, 2, 1], options)));
        let some = CtcLoss { zero_infinity: true, ..options };
        cases.push(case(call("one does not fit", &[6, 2, 6], &[3, 2, 1], some)));
    }
    let transposed = [Input::any([6, 3, 4]).transposed(), Input::fixed_index([3, 3], three.1)];
    cases.push(Case::new(op, "transposed, not normalised", transposed, move |x| {
        x[0].ctc_loss(&x[1], &[6, 5, 6], &[3, 2, 1], plain)
    }));
    let steep = [Input::uniform([6, 3, 4], -80.0, 0.0), Input::fixed_index([3, 3], three.1)];
    cases.push(
        Case::new(op, "steep", steep, move |x| x[0].ctc_loss(&x[1], &[6, 5, 6], &[3, 2, 1], apart))
            .value_only(),
    );
    // More states than lanes; more examples than groups along one axis of the grid, and an odd number.
    cases.push(
        Case::new(op, "67 states", [Input::any([70, 2, 5]), many_labels(2, 33)], move |x| {
            x[0].log_softmax(-1)?.ctc_loss(&x[1], &[70, 61], &[33, 31], apart)
        })
        .value_only(),
    );
    cases.push(
        Case::new(op, "66001 examples", [Input::any([3, 66_001, 5]), many_labels(66_001, 1)], move |x| {
            x[0].ctc_loss(&x[1], &[3; 66_001], &[1; 66_001], apart)
        })
        .value_only(),
    );
    for (detail, inputs, lengths, blank) in [
        ("does not fit", &[6, 2, 6][..], &[3, 2, 1][..], 0),
        ("input too long", &[6, 7, 6], &[3, 2, 1], 0),
        ("no input", &[6, 0, 6], &[3, 2, 1], 0),
        ("target too long", &[6, 6, 6], &[3, 4, 1], 0),
        ("too few lengths", &[6, 6], &[3, 2, 1], 0),
        ("blank among the targets", &[6, 6, 6], &[3, 2, 2], 0),
        ("no such blank", &[6, 6, 6], &[3, 2, 1], 4),
    ] {
        cases.push(case(call(detail, inputs, lengths, CtcLoss { blank, ..plain })).fails());
    }
    let large = (&[3, 1][..], &[1, 4, 2][..]);
    cases.push(
        case(Call { targets: large, ..call("target too large", &[6, 6, 6], &[1, 1, 1], plain) }).fails(),
    );
    let wide = (&[2, 3][..], &[1, 2, 1, 2, 1, 2][..]);
    cases.push(case(Call { targets: wide, ..call("other examples", &[6, 6, 6], &[1, 1, 1], plain) }).fails());
    Room { op, cases }
}

/// The fused gradient of the sum over alignments, as a function of the log-probabilities.
fn occupancy() -> Room {
    let op = "ctc_occupancy";
    let case =
        |detail: &str, shape: [usize; 3], length, inputs: &'static [usize], lengths: &'static [usize]| {
            Case::new(op, detail, [Input::any(shape), many_labels(shape[1], length)], move |x| {
                x[0].ctc_occupancy(&x[1], inputs, lengths)
            })
            // Log-probabilities of f16 reach it as f32.
            .single()
        };
    let cases = vec![
        case("one label", [1, 1, 5], 1, &[1], &[1]),
        case("5x3x5", [5, 3, 5], 3, &[5, 5, 5], &[3, 2, 1]),
        case("ragged", [6, 3, 5], 3, &[4, 6, 2], &[2, 3, 1]),
        case("no labels", [4, 2, 5], 2, &[4, 3], &[0, 2]),
        case("one does not fit", [5, 2, 5], 3, &[5, 2], &[2, 3]),
        case("67 states", [70, 2, 5], 33, &[70, 61], &[33, 31]).value_only(),
        case("66001 examples", [3, 66_001, 5], 1, &[3; 66_001], &[1; 66_001]).value_only(),
    ];
    Room { op, cases }
}
