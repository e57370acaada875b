//! The cases of this room.

use super::{ClassLoss, Reduction};
use crate::error::Result;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

pub(super) const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

pub(in crate::ops) fn rooms() -> Vec<Room> {
    let mut rooms = vec![cross_entropy(), nll(), probabilities(), bce(), multi_margin()];
    rooms.extend(pairs());
    rooms.extend(embeddings());
    rooms.extend(super::ctc::rooms());
    rooms
}

fn cross_entropy() -> Room {
    let entropy = |detail: &str, logits: Input, labels: Input| {
        Case::new("cross_entropy", detail, [logits, labels], |x| x[0].cross_entropy(&x[1]))
    };
    let with = |detail: &str, logits: Input, labels: Input, reduction| {
        Case::new("cross_entropy", detail, [logits, labels], move |x| {
            x[0].cross_entropy_with(&x[1], reduction)
        })
    };
    let mut cases = vec![
        entropy("one of one", Input::any([1, 1]), Input::index([1], 1)),
        entropy("one row without an axis", Input::any([5]), Input::index([], 5)),
        entropy("13 of 10", Input::any([13, 10]), Input::index([13], 10)),
        entropy("2x3x4 of 5", Input::any([2, 3, 4, 5]), Input::index([2, 3, 4], 5)),
        entropy("64 of 33, steep", Input::uniform([64, 33], -80.0, 80.0), Input::index([64], 33))
            .value_only(),
        entropy("far from zero", Input::uniform([7, 5], 1000.0, 1004.0), Input::index([7], 5)).value_only(),
        entropy("transposed", Input::any([6, 7]).transposed(), Input::index([6], 7)),
        entropy("strided", Input::any([6, 7]).strided(), Input::index([6], 7).strided()),
        entropy("repeated", Input::any([6, 7]).repeated(), Input::index([6], 7)),
        entropy("66000 of 3", Input::any([66_000, 3]), Input::index([66_000], 3)).value_only(),
        with("sum", Input::any([13, 10]), Input::index([13], 10), Reduction::Sum),
        with("apart", Input::any([5, 4]), Input::index([5], 4), Reduction::None),
        with("sum over no rows", Input::any([0, 4]), Input::index([0], 4), Reduction::Sum),
        with("apart over no rows", Input::any([0, 4]), Input::index([0], 4), Reduction::None),
        entropy("mean over no rows", Input::any([0, 4]), Input::index([0], 4)).fails(),
        entropy("no classes", Input::any([3, 0]), Input::index([3], 1)).fails(),
        entropy("label too large", Input::any([3, 4]), Input::fixed_index([3], &[0, 4, 1])).fails(),
        entropy("too few labels", Input::any([3, 4]), Input::index([2], 4)).fails(),
        entropy("one-hot labels", Input::any([3, 4]), Input::index([3, 4], 2)).fails(),
        entropy("float labels", Input::any([3, 4]), Input::whole([3])).fails(),
        entropy("no axis", Input::any([]), Input::index([], 1)).fails(),
    ];
    // One, eight and 64 lanes to a row, of classes by fours and not; in several groups, and far from zero.
    for (rows, classes) in
        [(2, 131), (3, 4), (9, 132), (31, 36), (33, 37), (41, 40), (70, 63), (257, 32), (300, 35), (700, 8)]
    {
        let id = |detail: &str| format!("{detail}{rows} of {classes}");
        let labels = || Input::index([rows], classes as i32);
        cases.push(with(&id(""), Input::any([rows, classes]), labels(), Reduction::None));
        for (detail, low, high) in [("±1e3, ", -1e3, 1e3), ("near -1e4, ", -10_002.0, -9_998.0)] {
            let far = Input::uniform([rows, classes], low, high);
            cases.push(with(&id(detail), far, labels(), Reduction::None).value_only());
        }
    }
    // Without a preference the loss is ln C, here with the label in every place.
    let even = Input::fixed([4, 4], &[2.0; 16]);
    cases.push(with("even", even, Input::fixed_index([4], &[0, 1, 2, 3]), Reduction::None));
    for reduction in REDUCTIONS {
        cases.extend(options("cross_entropy", reduction, Tensor::cross_entropy_by));
    }
    Room { op: "cross_entropy", cases }
}

/// Everything that [`ClassLoss`] says, one by one and together.
fn options(
    op: &'static str,
    reduction: Reduction,
    loss: fn(&Tensor, &Tensor, &ClassLoss) -> Result<Tensor>,
) -> Vec<Case> {
    let labels = |values: &[i32; 7]| Input::fixed_index([7], values);
    let plain = [0, 3, 1, 3, 2, 0, 1];
    let marked = [0, -100, 1, 3, -100, 0, 1];
    let case = |detail: &str, labels: Input, smoothing: f64, ignore: Option<i32>, weighted: bool| {
        let inputs = [Input::any([7, 4]), labels, Input::uniform([4], 0.5, 2.0)];
        Case::new(op, &format!("{detail}, {reduction:?}"), inputs, move |x| {
            let weights = weighted.then(|| x[2].clone());
            let options = ClassLoss { reduction, label_smoothing: smoothing, weights, ignore_index: ignore };
            loss(&x[0], &x[1], &options)
        })
    };
    let mut cases = vec![
        case("smooth", labels(&plain), 0.1, None, false),
        case("all even", labels(&plain), 1.0, None, false),
        case("weights", labels(&plain), 0.0, None, true),
        case("ignored class", labels(&plain), 0.0, Some(3), false),
        case("ignored mark", labels(&marked), 0.0, Some(-100), false),
        case("nothing to ignore", labels(&plain), 0.0, Some(-100), false),
        case("all at once", labels(&marked), 0.2, Some(-100), true),
        case("everything ignored", labels(&[2; 7]), 0.1, Some(2), true).value_only(),
    ];
    if reduction == Reduction::Mean {
        cases.push(case("another mark", labels(&marked), 0.0, Some(-1), false).fails());
        cases.push(case("smoothing 1.5", labels(&plain), 1.5, None, false).fails());
        let short = [Input::any([7, 4]), labels(&plain), Input::any([3])];
        let run = move |x: &[Tensor]| {
            loss(&x[0], &x[1], &ClassLoss { weights: Some(x[2].clone()), ..ClassLoss::default() })
        };
        cases.push(Case::new(op, "too few weights", short, run).fails());
    }
    cases
}

fn nll() -> Room {
    let mut cases = Vec::new();
    for reduction in REDUCTIONS {
        cases.extend(options("nll_loss", reduction, Tensor::nll_loss));
    }
    Room { op: "nll_loss", cases }
}

fn probabilities() -> Room {
    let op = "cross_entropy_probabilities";
    let case =
        |detail: &str, shape: &[usize], target: &[usize], smoothing: f64, weighted: bool, reduction| {
            let classes = shape.last().copied().unwrap_or(1);
            let inputs =
                [Input::any(shape), Input::uniform(target, 0.0, 1.0), Input::uniform([classes], 0.5, 2.0)];
            Case::new(op, &format!("{detail}, {reduction:?}"), inputs, move |x| {
                let weights = weighted.then(|| x[2].clone());
                let options =
                    ClassLoss { reduction, label_smoothing: smoothing, weights, ignore_index: None };
                x[0].cross_entropy_probabilities(&x[1], &options)
            })
        };
    let mut cases = vec![
        case("1", &[1, 1], &[1, 1], 0.0, false, Reduction::Mean),
        case("2x3x5", &[2, 3, 5], &[2, 3, 5], 0.0, false, Reduction::Mean),
        case("1301x3", &[1301, 3], &[1301, 3], 0.1, true, Reduction::Mean).value_only(),
        case("no rows", &[0, 3], &[0, 3], 0.0, false, Reduction::Sum),
        case("no rows", &[0, 3], &[0, 3], 0.0, false, Reduction::Mean).fails(),
        case("other classes", &[2, 3], &[2, 4], 0.0, false, Reduction::Mean).fails(),
        case("no axis", &[], &[], 0.0, false, Reduction::Mean).fails(),
        Case::new(op, "an ignored label", [Input::any([2, 3]), Input::any([2, 3])], |x| {
            let options = ClassLoss { ignore_index: Some(0), ..ClassLoss::default() };
            x[0].cross_entropy_probabilities(&x[1], &options)
        })
        .fails(),
    ];
    for reduction in REDUCTIONS {
        cases.push(case("6x4, smooth", &[6, 4], &[6, 4], 0.2, false, reduction));
        cases.push(case("6x4, smooth and weighted", &[6, 4], &[6, 4], 0.2, true, reduction));
    }
    Room { op, cases }
}

fn bce() -> Room {
    let op = "bce_with_logits";
    let mut cases = Vec::new();
    for reduction in REDUCTIONS {
        let inputs = |x: Input, shape: &[usize]| [x, Input::uniform(shape, 0.0, 1.0)];
        let plain = move |x: &[Tensor]| x[0].bce_with_logits(&x[1], None, reduction);
        let id = |detail: &str| format!("{detail}, {reduction:?}");
        cases.push(Case::new(op, &id("7x5"), inputs(Input::any([7, 5]), &[7, 5]), plain));
        cases.push(Case::new(op, &id("transposed"), inputs(Input::any([6, 5]).transposed(), &[6, 5]), plain));
        let steep = Input::uniform([9, 33], -80.0, 80.0);
        cases.push(Case::new(op, &id("steep"), inputs(steep, &[9, 33]), plain).value_only());
        let weighted = [Input::any([7, 5]), Input::uniform([7, 5], 0.0, 1.0), Input::uniform([5], 0.5, 3.0)];
        cases.push(Case::new(op, &id("positives count more"), weighted, move |x| {
            x[0].bce_with_logits(&x[1], Some(&x[2]), reduction)
        }));
    }
    let plain = |x: &[Tensor]| x[0].bce_with_logits(&x[1], None, Reduction::Mean);
    cases.push(Case::new(op, "row against column", [Input::any([6]), Input::any([6, 1])], plain).fails());
    cases.push(Case::new(op, "empty", [Input::any([0]), Input::any([0])], plain).fails());
    let stretched = [Input::any([6]), Input::any([6]), Input::any([2, 6])];
    let run = |x: &[Tensor]| x[0].bce_with_logits(&x[1], Some(&x[2]), Reduction::Mean);
    cases.push(Case::new(op, "weights that stretch", stretched, run).fails());
    Room { op, cases }
}

fn multi_margin() -> Room {
    let op = "multi_margin_loss";
    // Scores well apart, and a margin between their steps: no difference is near a kink.
    let case = |detail: &str, shape: &[usize], labels: Input, margin: f64, reduction| {
        Case::new(op, &format!("{detail}, {reduction:?}"), [Input::distinct(shape), labels], move |x| {
            x[0].multi_margin_loss(&x[1], margin, reduction)
        })
    };
    let mut cases = vec![
        case("one class", &[3, 1], Input::index([3], 1), 1.04, Reduction::Mean),
        case("2x3x5", &[2, 3, 5], Input::index([2, 3], 5), 0.3, Reduction::Mean),
        case("margin -0.3", &[6, 4], Input::index([6], 4), -0.3, Reduction::Mean),
        case("label too large", &[3, 4], Input::fixed_index([3], &[0, 4, 1]), 1.04, Reduction::Mean).fails(),
        case("too few labels", &[3, 4], Input::index([2], 4), 1.04, Reduction::Mean).fails(),
    ];
    for reduction in REDUCTIONS {
        cases.push(case("13x7", &[13, 7], Input::index([13], 7), 1.04, reduction));
    }
    Room { op, cases }
}

/// Losses of two tensors of one shape.
fn pairs() -> Vec<Room> {
    type Loss = fn(&Tensor, &Tensor, Reduction) -> Result<Tensor>;
    let losses: [(&'static str, Loss); 8] = [
        ("mse_loss", Tensor::mse_loss_with),
        ("l1_loss", Tensor::l1_loss_with),
        ("huber_loss", |x, t, r| x.huber_loss(t, 1.0, r)),
        ("smooth_l1_loss", |x, t, r| x.smooth_l1_loss(t, 0.5, r)),
        ("kl_div", Tensor::kl_div),
        ("kl_div_log", Tensor::kl_div_log),
        ("hinge_loss", |x, t, r| x.hinge_loss(t, 1.0, r)),
        ("hinge_embedding_loss", |x, t, r| x.hinge_embedding_loss(t, 1.0, r)),
    ];
    // Odd multiples of 1/16 and numbers between two of them: no difference is near a multiple of 1/8, where the
    // kinks are.
    let x = |shape: &[usize]| Input::distinct(shape);
    let signs = |count: usize| (0..count).map(|i| if i % 3 == 0 { 1.0 } else { -1.0 }).collect::<Vec<f64>>();
    let target = |op: &str, shape: &[usize]| match op {
        "hinge_loss" | "hinge_embedding_loss" => Input::fixed(shape, &signs(shape.iter().product())),
        _ => Input::uniform(shape, 0.1, 0.15),
    };
    let rooms = losses.map(|(op, loss)| {
        let call = |detail: &str, x: Input, target: Input, reduction| {
            Case::new(op, detail, [x, target], move |x| loss(&x[0], &x[1], reduction))
        };
        let mean = |detail: &str, x: Input, target: Input| call(detail, x, target, Reduction::Mean);
        let mut cases = vec![
            mean("1", x(&[1]), target(op, &[1])),
            mean("no axis", x(&[]), target(op, &[])),
            mean("7x11", x(&[7, 11]), target(op, &[7, 11])),
            mean("transposed", x(&[6, 5]).transposed(), target(op, &[6, 5])),
            mean("stride 2", x(&[6, 5]).strided(), target(op, &[6, 5])),
            mean("repeated", x(&[6, 5]), Input::fixed([6, 5], &[0.12; 5]).repeated()),
            mean("30000", Input::any([30_000]), target(op, &[30_000])).value_only(),
            mean("empty", x(&[0, 3]), target(op, &[0, 3])).fails(),
            call("sum", x(&[5, 4]), target(op, &[5, 4]), Reduction::Sum),
            call("apart", x(&[5, 4]), target(op, &[5, 4]), Reduction::None),
            call("sum over nothing", x(&[0, 3]), target(op, &[0, 3]), Reduction::Sum),
            mean("row against column", x(&[6]), Input::any([6, 1])).fails(),
            mean("integers", Input::index([6], 4), target(op, &[6])).fails(),
        ];
        if ["mse_loss", "l1_loss"].contains(&op) {
            cases.push(mean("16 whole", Input::whole([2, 8]), Input::whole([2, 8])).value_only().exact());
        }
        if op == "kl_div" {
            let some = Input::fixed([2, 3], &[0.0, 0.25, 0.75, 1.0, 0.0, 0.0]);
            cases.push(call("impossible", x(&[2, 3]), some, Reduction::None).value_only());
        }
        Room { op, cases }
    });
    let mut rooms: Vec<Room> = rooms.into();
    for (op, place) in [("huber_loss", 2), ("smooth_l1_loss", 3)] {
        for width in [0.0, -1.0, f64::NAN] {
            let inputs = [Input::any([3]), Input::any([3])];
            let case = Case::new(op, &format!("width {width}"), inputs, move |x| match op {
                "huber_loss" => x[0].huber_loss(&x[1], width, Reduction::Mean),
                _ => x[0].smooth_l1_loss(&x[1], width, Reduction::Mean),
            });
            rooms[place].cases.push(case.fails());
        }
    }
    rooms
}

/// Losses of rows, and of scores to rank.
fn embeddings() -> Vec<Room> {
    let signs = |count: usize| {
        let signs: Vec<f64> = (0..count).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        Input::fixed([count], &signs)
    };
    let mut cosine = Vec::new();
    let mut triplet = Vec::new();
    let mut ranking = Vec::new();
    for reduction in REDUCTIONS {
        let id = |detail: &str| format!("{detail}, {reduction:?}");
        for (rows, width) in [(1, 2), (5, 7), (6, 33)] {
            let any = || Input::any([rows, width]);
            let detail = id(&format!("{rows}x{width}"));
            cosine.push(Case::new("cosine_embedding_loss", &detail, [any(), any(), signs(rows)], move |x| {
                x[0].cosine_embedding_loss(&x[1], &x[2], -0.9, reduction)
            }));
            for swap in [false, true] {
                let detail = format!("{detail}{}", if swap { ", swap" } else { "" });
                triplet.push(Case::new("triplet_margin_loss", &detail, [any(), any(), any()], move |x| {
                    x[0].triplet_margin_loss(&x[1], &x[2], 3.0, swap, reduction)
                }));
            }
        }
        // No difference is near a multiple of 1/8, where the kink is.
        let scores = [Input::distinct([15]), Input::uniform([15], 0.1, 0.15), signs(15)];
        ranking.push(Case::new("margin_ranking_loss", &id("15"), scores, move |x| {
            x[0].margin_ranking_loss(&x[1], &x[2], 0.25, reduction)
        }));
    }
    let wrong = |op: &'static str, second: &[usize], third: &[usize]| {
        let inputs = [Input::any([6, 3]), Input::any(second), Input::any(third)];
        Case::new(op, &format!("{second:?}, {third:?}"), inputs, move |x| match op {
            "triplet_margin_loss" => x[0].triplet_margin_loss(&x[1], &x[2], 1.0, true, Reduction::Mean),
            "margin_ranking_loss" => x[0].margin_ranking_loss(&x[1], &x[2], 0.0, Reduction::Mean),
            _ => x[0].cosine_embedding_loss(&x[1], &x[2], 0.0, Reduction::Mean),
        })
        .fails()
    };
    cosine.extend([
        wrong("cosine_embedding_loss", &[6, 4], &[6]),
        wrong("cosine_embedding_loss", &[6, 3], &[3]),
    ]);
    triplet
        .extend([wrong("triplet_margin_loss", &[6, 3], &[6]), wrong("triplet_margin_loss", &[6], &[6, 3])]);
    ranking
        .extend([wrong("margin_ranking_loss", &[6], &[6, 3]), wrong("margin_ranking_loss", &[6, 3], &[6])]);
    vec![
        Room { op: "cosine_embedding_loss", cases: cosine },
        Room { op: "triplet_margin_loss", cases: triplet },
        Room { op: "margin_ranking_loss", cases: ranking },
    ]
}
