//! The cases of this room.

use super::backward::Gradient;
use super::{Attention, Flash};
use crate::error::Result;
use crate::op;
use crate::ops::random::Stream;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// q `[B, H, Tq, D]`; heads of keys and values, keys, and features of values.
type Sizes = ([usize; 4], [usize; 3]);

fn operands(([b, h, tq, d], [groups, tk, dv]): Sizes) -> [Input; 3] {
    [Input::any([b, h, tq, d]), Input::any([b, groups, tk, d]), Input::any([b, groups, tk, dv])]
}

/// Attention of the first three inputs, with options that read the others.
fn case(
    detail: &str,
    inputs: Vec<Input>,
    options: impl Fn(&[Tensor]) -> Attention + Send + Sync + 'static,
) -> Case {
    Case::new("attention", detail, inputs, move |x| x[0].attention(&x[1], &x[2], &options(&x[3..])))
}

fn plain(detail: &str, sizes: Sizes, options: Attention) -> Case {
    case(detail, operands(sizes).into(), move |_| options.clone())
}

fn with(sizes: Sizes, more: impl IntoIterator<Item = Input>) -> Vec<Input> {
    operands(sizes).into_iter().chain(more).collect()
}

fn masked(x: &[Tensor]) -> Attention {
    Attention { mask: Some(x[0].clone()), ..Attention::default() }
}

fn biased(x: &[Tensor]) -> Attention {
    Attention { bias: Some(x[0].clone()), ..Attention::default() }
}

/// Two batch entries of two heads, five queries and seven keys.
const SMALL: Sizes = ([2, 2, 5, 3], [2, 7, 4]);

/// One head of as many queries and keys.
const fn square(t: usize) -> Sizes {
    ([1, 1, t, 3], [1, t, 2])
}

const STREAM: Stream = Stream::new(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);

/// The products of its first block carry into their high words from their very lowest bits, and the upper 24 bits of
/// its third word are 0x1198c2.
const CARRY: Stream = Stream::new(7, 146);

fn sizes() -> Vec<Case> {
    let all: [Sizes; 19] = [
        ([1, 1, 1, 1], [1, 1, 1]),
        ([1, 1, 1, 4], [1, 9, 5]),
        ([2, 1, 4, 2], [1, 4, 3]),
        SMALL,
        ([1, 7, 3, 2], [7, 5, 1]),
        ([1, 4, 6, 3], [2, 5, 3]),
        ([2, 3, 5, 2], [1, 6, 2]),
        ([1, 1, 9, 16], [1, 13, 17]),
        ([1, 2, 31, 2], [1, 33, 2]),
        ([2, 1, 32, 3], [1, 32, 3]),
        ([1, 1, 33, 5], [1, 31, 2]),
        ([1, 1, 3, 64], [1, 5, 64]),
        ([1, 1, 2, 128], [1, 3, 128]),
        ([1, 1, 128, 2], [1, 5, 2]),
        ([1, 1, 5, 2], [1, 128, 1]),
        ([1, 1, 129, 1], [1, 130, 2]),
        ([1, 2, 41, 47], [2, 59, 61]),
        ([2, 1, 3, 1], [1, 4, 81]),
        ([1, 2, 3, 2], [2, 4, 65]),
    ];
    let mut cases: Vec<Case> = all
        .into_iter()
        .map(|(q, kv)| {
            let made = plain(&format!("{q:?} of {kv:?}"), (q, kv), Attention::default());
            if q[2] * q[3] < 500 { made } else { made.value_only() }
        })
        .collect();
    // More tiles than groups along one axis of the grid.
    cases.push(plain("70001 entries", ([70_001, 1, 1, 1], [1, 2, 1]), Attention::default()).value_only());
    cases.push(plain("no keys", ([1, 2, 3, 2], [1, 0, 2]), Attention::default()).value_only());
    cases.push(plain("no queries", ([1, 2, 0, 2], [1, 3, 2]), Attention::default()).value_only());
    cases.push(plain("empty batch", ([0, 2, 3, 2], [1, 3, 2]), Attention::default()).value_only());
    cases
}

fn positions() -> Vec<Case> {
    let causal = |offset, window| Attention { causal: true, offset, window, ..Attention::default() };
    let near = |offset, window| Attention { offset, window: Some(window), ..Attention::default() };
    let mut cases = vec![
        plain("causal", SMALL, causal(0, None)),
        plain("causal, more queries", ([1, 2, 7, 3], [2, 5, 2]), causal(0, None)),
        plain("causal, offset 2", SMALL, causal(2, None)),
        plain("causal, offset beyond the keys", SMALL, causal(9, None)),
        plain("causal, one query", ([1, 2, 1, 3], [1, 6, 2]), causal(5, None)),
        plain("causal, grouped", ([1, 4, 6, 2], [2, 6, 3]), causal(0, None)),
        plain("window 1", square(6), near(0, 1)),
        plain("window 3", square(9), near(0, 3)),
        plain("window 3, causal", square(9), causal(0, Some(3))),
        plain("window 2, offset 3", SMALL, near(3, 2)),
        plain("window beyond the keys", ([1, 1, 6, 2], [1, 3, 2]), near(0, 2)),
        plain("window behind the keys", ([1, 1, 3, 2], [1, 4, 2]), causal(20, Some(5))),
    ];
    // A whole tile of 32, whose last key no block of four ends with.
    cases.push(plain("40, causal, offset 1", square(40), causal(1, None)));
    cases.push(plain("40, window 2, causal, offset 5", square(40), causal(5, Some(2))));
    // Tiles of 32 and of 128 whose first and last keys lie within.
    for (t, window) in [(33, 5), (70, 11), (131, 9), (140, 40)] {
        cases.push(plain(&format!("{t}, causal"), square(t), causal(0, None)));
        cases.push(plain(&format!("{t}, window {window}"), square(t), near(0, window)));
        let shifted = causal(3, Some(window));
        cases.push(plain(&format!("{t}, window {window}, causal, offset 3"), square(t), shifted));
    }
    cases
}

/// More than one block of keys, of 64, and more than one tile of columns, of 64 too; features by fours as they are.
fn broad() -> Vec<Case> {
    // Later blocks bring new maxima, for every query another.
    let rising: Vec<f64> = (0..130 * 4).map(|i| 0.05 * f64::from(i / 4)).collect();
    let q = Input::uniform([1, 1, 33, 4], 0.2, 1.0);
    let risen = vec![q, Input::fixed([1, 1, 130, 4], &rising), Input::any([1, 1, 130, 68])];
    let all: [(&str, Sizes, Attention); 10] = [
        ("", ([2, 1, 40, 36], [1, 6, 36]), Attention::default()),
        ("", ([1, 2, 17, 4], [2, 70, 64]), Attention::default()),
        ("", ([1, 1, 70, 68], [1, 17, 128]), Attention::default()),
        ("", ([2, 3, 5, 40], [3, 9, 40]), Attention::default()),
        ("", ([1, 1, 20, 4], [1, 5, 68]), Attention::default()),
        (
            ", causal, window 20, offset 40",
            ([1, 1, 40, 4], [1, 90, 8]),
            Attention { causal: true, window: Some(20), offset: 40, ..Attention::default() },
        ),
        (", grouped", ([1, 2, 70, 64], [1, 70, 36]), Attention::default()),
        (
            ", causal, window, offset",
            ([1, 2, 70, 36], [2, 80, 36]),
            Attention { causal: true, window: Some(20), offset: 5, ..Attention::default() },
        ),
        (
            ", window",
            ([1, 1, 80, 36], [1, 70, 36]),
            Attention { window: Some(30), offset: 2, ..Attention::default() },
        ),
        (
            ", dropout",
            ([1, 2, 21, 36], [1, 70, 36]),
            Attention { dropout: Some((0.4, STREAM)), ..Attention::default() },
        ),
    ];
    let mut cases: Vec<Case> = all
        .into_iter()
        .map(|(what, sizes, options)| plain(&format!("{sizes:?}{what}"), sizes, options))
        .collect();
    cases.push(case("rising over blocks", risen, |_| Attention::default()));
    let biased_sizes = ([1, 1, 21, 36], [1, 70, 36]);
    cases.push(case("bias of 21x70, broad", with(biased_sizes, [Input::any([21, 70])]), biased));
    cases
}

fn masks() -> Vec<Case> {
    // Some row of every mask is closed altogether.
    let holes = |rows: usize, keys: usize| -> Vec<i32> {
        (0..rows * keys).map(|i| i32::from(i / keys % 3 != 1 && i * 7 % 5 > 1)).collect()
    };
    let mut cases = vec![
        case("mask", with(SMALL, [Input::index([2, 2, 5, 7], 2)]), masked),
        case("mask, closed rows", with(SMALL, [Input::fixed_index([5, 7], &holes(5, 7))]), masked),
        case("mask of keys", with(SMALL, [Input::fixed_index([2, 1, 1, 7], &holes(2, 7))]), masked),
        case("mask of queries", with(SMALL, [Input::fixed_index([5, 1], &[1, 0, 1, 1, 0])]), masked),
        case("mask of heads", with(SMALL, [Input::fixed_index([1, 2, 1, 1], &[0, 1])]), masked),
        case("everything closed", with(SMALL, [Input::fixed_index([], &[0])]), masked),
        case(
            "33 rows, closed rows",
            with(square(33), [Input::fixed_index([33, 33], &holes(33, 33))]),
            masked,
        ),
        case("mask and causal", with(square(9), [Input::fixed_index([9, 9], &holes(9, 9))]), |x| Attention {
            causal: true,
            ..masked(x)
        }),
    ];
    // On the verge of what is closed, and everywhere.
    let [_, k, v] = operands(SMALL);
    let verge = vec![Input::fixed([2, 2, 5, 3], &[0.0; 60]), k, v, Input::fixed([1], &[-3e38])];
    cases.push(case("closed by the bias", verge, biased).value_only());
    let both = |x: &[Tensor]| Attention { bias: Some(x[1].clone()), ..masked(x) };
    let mask = Input::fixed_index([2, 1, 1, 7], &holes(2, 7));
    cases.push(case("mask and bias", with(SMALL, [mask, Input::any([2, 5, 7])]), both));
    let shapes: [&[usize]; 9] =
        [&[2, 2, 5, 7], &[5, 7], &[2, 1, 1], &[2, 1, 5, 1], &[1, 2, 5, 7], &[2, 2, 1, 7], &[7], &[1], &[]];
    for shape in shapes {
        cases.push(case(&format!("bias {shape:?}"), with(SMALL, [Input::any(shape)]), biased));
    }
    cases.push(case("bias, grouped", with(([2, 4, 3, 2], [2, 5, 2]), [Input::any([4, 3, 5])]), biased));
    cases.push(case("bias of 33", with(square(33), [Input::any([33, 33])]), biased));
    cases.push(case(
        "bias of 21x20, causal",
        with(([1, 1, 21, 2], [1, 20, 2]), [Input::any([21, 20])]),
        |x| Attention { causal: true, offset: 1, ..biased(x) },
    ));
    for (detail, causal, window) in [("window 2", false, 2), ("causal, window 3", true, 3)] {
        let sizes = ([1, 2, 6, 2], [1, 7, 2]);
        cases.push(case(&format!("bias, {detail}"), with(sizes, [Input::any([2, 6, 7])]), move |x| {
            Attention { causal, window: Some(window), offset: 1, ..biased(x) }
        }));
    }
    cases.push(case("bias transposed", with(SMALL, [Input::any([5, 7]).transposed()]), biased));
    cases
}

fn options() -> Vec<Case> {
    let scaled = |scale| Attention { scale: Some(scale), ..Attention::default() };
    let dropped = |p| Attention { dropout: Some((p, STREAM)), ..Attention::default() };
    let capped = |cap| Attention { softcap: Some(cap), ..Attention::default() };
    let [q, k, v] = operands(SMALL);
    vec![
        plain("scale 2", SMALL, scaled(2.0)),
        plain("scale -0.3", SMALL, scaled(-0.3)),
        plain("scale 0", SMALL, scaled(0.0)),
        plain("dropout", SMALL, dropped(0.3)),
        plain("dropout of none", SMALL, dropped(0.0)),
        plain("dropout of all", SMALL, dropped(1.0)),
        plain("dropout, grouped", ([2, 4, 5, 2], [2, 6, 3]), dropped(0.5)),
        plain("dropout, 33", square(33), dropped(0.5)),
        plain("dropout, window", square(41), Attention { window: Some(4), ..dropped(0.4) }),
        plain("dropout, causal, offset", square(9), Attention { causal: true, offset: 2, ..dropped(0.4) }),
        case("dropout, bias", with(SMALL, [Input::any([2, 2, 5, 7])]), move |x| Attention {
            bias: Some(x[0].clone()),
            ..dropped(0.4)
        }),
        plain("dropout, 5 keys", ([1, 2, 3, 2], [2, 5, 2]), dropped(0.5)),
        plain("dropout, 8 keys", ([1, 2, 3, 2], [2, 8, 2]), dropped(0.5)),
        case("dropout, bias of 5 keys", with(([1, 2, 3, 2], [2, 5, 2]), [Input::any([2, 3, 5])]), move |x| {
            Attention { bias: Some(x[0].clone()), ..dropped(0.5) }
        }),
        case("dropout, bias of 8 keys", with(([1, 2, 3, 2], [2, 8, 2]), [Input::any([2, 3, 8])]), move |x| {
            Attention { bias: Some(x[0].clone()), ..dropped(0.5) }
        }),
        case("dropout, a carry", with(([1, 1, 1, 2], [1, 4, 2]), [Input::any([4])]), move |x| Attention {
            bias: Some(x[0].clone()),
            dropout: Some((0.5, CARRY)),
            ..Attention::default()
        }),
        case("dropout, on the verge", with(([1, 1, 1, 2], [1, 4, 2]), [Input::any([4])]), move |x| {
            Attention {
                bias: Some(x[0].clone()),
                dropout: Some((1.0 - f64::from(0x11_98c2) / f64::from(1 << 24), CARRY)),
                ..Attention::default()
            }
        }),
        plain("softcap", SMALL, capped(1.5)),
        case("softcap, bias", with(SMALL, [Input::any([5, 7])]), move |x| Attention {
            bias: Some(x[0].clone()),
            causal: true,
            ..capped(3.0)
        }),
        case(
            "transposed",
            vec![q.clone().transposed(), k.clone().transposed(), v.clone().transposed()],
            |_| Attention::default(),
        ),
        case("stride 2", vec![q.strided(), k.clone().strided(), v.clone().strided()], |_| {
            Attention::default()
        }),
        case("stride 0", vec![Input::any([2, 2, 5, 3]).repeated(), k.repeated(), v.repeated()], |_| {
            Attention::default()
        }),
    ]
}

/// Scores far from zero. Products of one feature, so that they can be told: q·k is up to ±10⁴.
fn extremes() -> Vec<Case> {
    let of = |detail: &str, q: Input, k: Input| {
        let scaled = |_: &[Tensor]| Attention { scale: Some(1.0), ..Attention::default() };
        case(detail, vec![q, k, Input::any([1, 1, 9, 2])], scaled).value_only()
    };
    let wide = |t| Input::uniform([1, 1, t, 1], -100.0, 100.0);
    let rising: Vec<f64> = (0..9).map(f64::from).collect();
    let falling: Vec<f64> = rising.iter().map(|x| -x).collect();
    vec![
        of("±1e4", wide(6), wide(9)),
        of("near 1e4", Input::uniform([1, 1, 6, 1], 99.9, 100.0), Input::uniform([1, 1, 9, 1], 99.9, 100.0)),
        of(
            "near -1e4",
            Input::uniform([1, 1, 6, 1], -100.0, -99.9),
            Input::uniform([1, 1, 9, 1], 99.9, 100.0),
        ),
        of("rising", Input::uniform([1, 1, 6, 1], 1.0, 30.0), Input::fixed([1, 1, 9, 1], &rising)),
        of("falling", Input::uniform([1, 1, 6, 1], 1.0, 30.0), Input::fixed([1, 1, 9, 1], &falling)),
        of("all alike", Input::uniform([1, 1, 6, 1], 1.0, 30.0), Input::fixed([1, 1, 9, 1], &[2.0; 9])),
    ]
}

fn failures() -> Vec<Case> {
    let fails = |detail: &str, sizes: Sizes, options: Attention| plain(detail, sizes, options).fails();
    let default = Attention::default;
    let inputs = |shapes: [&[usize]; 3]| shapes.map(Input::any).to_vec();
    let other = |detail: &str, inputs: Vec<Input>| case(detail, inputs, |_| Attention::default()).fails();
    vec![
        other("features differ", inputs([&[1, 1, 2, 3], &[1, 1, 2, 4], &[1, 1, 2, 3]])),
        other("batches differ", inputs([&[2, 1, 2, 3], &[1, 1, 2, 3], &[1, 1, 2, 3]])),
        other("keys without values", inputs([&[1, 1, 2, 3], &[1, 1, 4, 3], &[1, 1, 3, 3]])),
        other("rank 3", inputs([&[1, 2, 3], &[1, 2, 3], &[1, 2, 3]])),
        other("integers", vec![Input::index([1, 1, 2, 3], 3); 3]),
        fails("three heads for two", ([1, 3, 2, 2], [2, 2, 2]), default()),
        fails("no heads of keys", ([1, 3, 2, 2], [0, 2, 2]), default()),
        fails("no features", ([1, 1, 2, 0], [1, 2, 2]), default()),
        fails("no features of values", ([1, 1, 2, 2], [1, 2, 0]), default()),
        fails("window 0", SMALL, Attention { window: Some(0), ..default() }),
        fails("offset", SMALL, Attention { offset: usize::MAX, ..default() }),
        fails("scale that is no number", SMALL, Attention { scale: Some(f64::NAN), ..default() }),
        fails("softcap of zero", SMALL, Attention { softcap: Some(0.0), ..default() }),
        fails("dropout of more than all", SMALL, Attention { dropout: Some((1.1, STREAM)), ..default() }),
        case("mask of floats", with(SMALL, [Input::any([5, 7])]), masked).fails(),
        case("bias of integers", with(SMALL, [Input::index([5, 7], 2)]), biased).fails(),
        case("mask of another shape", with(SMALL, [Input::index([4, 7], 2)]), masked).fails(),
        case("mask that widens", with(SMALL, [Input::index([3, 1, 2, 5, 7], 2)]), masked).fails(),
        case("bias of another shape", with(SMALL, [Input::any([5, 6])]), biased).fails(),
    ]
}

/// Output `output` of the fused gradient, of q, k, v, dy and possibly a bias.
fn gradient(x: &[Tensor], options: &Attention, output: usize) -> Result<Tensor> {
    let pattern = options.pattern(x[0].shape()[3])?;
    let detached: Vec<Tensor> = x.iter().map(Tensor::detach).collect();
    let [q, k, v, dy] = [&detached[0], &detached[1], &detached[2], &detached[3]];
    let inputs: Vec<&Tensor> = [q, k, v].into_iter().chain(detached.get(4)).collect();
    let forward = op::apply(Flash { pattern }, &inputs)?;
    let delta = dy.mul(&forward[0])?.sum(&[-1], false)?;
    let saved = Tensor::concat(&[&forward[1].unsqueeze(0)?, &delta.unsqueeze(0)?], 0)?;
    let inputs: Vec<&Tensor> = x.iter().chain([&saved]).collect();
    Ok(op::apply(Gradient { pattern, of_bias: x.len() > 4 }, &inputs)?.swap_remove(output))
}

fn backward() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut all = |detail: &str, inputs: Vec<Input>, options: Attention, checked: bool| {
        for (output, name) in (0..inputs.len() - 1).zip(["dq", "dk", "dv", "dbias"]) {
            // The inputs stand as in the operation: dy before the bias.
            let options = options.clone();
            let run = move |x: &[Tensor]| gradient(x, &options, output);
            let made = Case::new("attention_backward", &format!("{detail}, {name}"), inputs.clone(), run);
            // The derivative of dv with respect to v is zero by its structure, the others are not.
            cases.push(if checked { made } else { made.value_only() });
        }
    };
    let with_dy = |sizes: Sizes| {
        let ([b, h, tq, _], [_, _, dv]) = sizes;
        with(sizes, [Input::any([b, h, tq, dv])])
    };
    let default = Attention::default;
    all("small", with_dy(SMALL), default(), true);
    all("grouped, causal", with_dy(([1, 4, 4, 2], [2, 5, 2])), Attention { causal: true, ..default() }, true);
    let dropped = Attention { dropout: Some((0.4, STREAM)), ..default() };
    all("dropout", with_dy(([1, 2, 5, 2], [1, 6, 2])), dropped, true);
    let bias = |sizes, shape: &[usize]| [with_dy(sizes), vec![Input::any(shape)]].concat();
    all("bias", bias(SMALL, &[1, 2, 5, 7]), default(), true);
    all("bias of keys", bias(SMALL, &[2, 1, 1, 7]), default(), true);
    all("41x43", with_dy(([1, 1, 41, 17], [1, 43, 19])), default(), false);
    all("129x131", with_dy(([1, 2, 129, 5], [1, 131, 3])), default(), false);
    let wide = |t| Input::uniform([1, 1, t, 1], -100.0, 100.0);
    let far = vec![wide(6), wide(9), Input::any([1, 1, 9, 2]), Input::any([1, 1, 6, 2])];
    all("±1e4", far, Attention { scale: Some(1.0), ..default() }, false);
    cases
}

/// The case with four times as many features of queries, keys and values, and dy if there is one.
fn widened(mut case: Case, vectors: usize) -> Case {
    case.id += ", by fours";
    for input in &mut case.inputs[..vectors] {
        *input = input.clone().widened(4);
    }
    case
}

pub(in crate::ops) fn rooms() -> Vec<Room> {
    let mut cases = [sizes(), positions(), masks(), options(), extremes()].concat();
    let mut gradients = backward();
    // Kernels on subgroups want features by fours.
    for (cases, vectors) in [(&mut cases, 3), (&mut gradients, 4)] {
        let by_fours: Vec<Case> = cases.iter().map(|case| widened(case.clone(), vectors)).collect();
        cases.extend(by_fours);
    }
    cases.extend(broad());
    cases.extend(failures());
    vec![
        Room { op: "attention", cases },
        Room { op: "attention_backward", cases: gradients.into_iter().map(Case::single).collect() },
    ]
}
