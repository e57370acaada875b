//! The cases of all convolutions but the plain two-dimensional one.

use super::{Conv1dOptions, Conv2dOptions, Conv3dOptions};
use crate::error::Result;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// A case of whole numbers and one of any, with a bias as long as `channels` if there is one.
fn both(
    op: &str,
    detail: &str,
    (x, w): (&[usize], &[usize]),
    channels: Option<usize>,
    run: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + Clone + 'static,
) -> Vec<Case> {
    let make = |exact: bool| {
        let input = |shape: &[usize]| if exact { Input::whole(shape) } else { Input::any(shape) };
        let mut inputs = vec![input(x), input(w)];
        inputs.extend(channels.map(|channels| input(&[channels])));
        let detail = format!("{detail}{}", if exact { " whole" } else { "" });
        let case = Case::new(op, &detail, inputs, run.clone());
        if exact { case.exact() } else { case }
    };
    vec![make(true), make(false)]
}

/// Two-dimensional convolutions that differ in padding, and depthwise ones.
pub fn plane() -> Vec<Case> {
    let o = Conv2dOptions::default();
    let mut cases = vec![];
    for (detail, x, w, options) in [
        ("uneven padding", [2, 3, 6, 5], [4, 3, 3, 2], o.padding_each([0, 2], [1, 0])),
        ("uneven padding s2", [1, 2, 7, 6], [3, 2, 3, 3], o.stride([2, 3]).padding_each([2, 0], [0, 1])),
        ("padding behind alone", [1, 2, 2, 2], [3, 2, 3, 3], o.padding_each([0, 0], [1, 2])),
        ("same upper s2", [2, 2, 7, 6], [3, 2, 2, 4], o.stride([2, 2]).same_upper([7, 6], [2, 4])),
        ("same lower s2", [2, 2, 7, 6], [3, 2, 2, 4], o.stride([2, 2]).same_lower([7, 6], [2, 4])),
        ("same dilated", [1, 2, 5, 6], [3, 2, 3, 2], o.dilation([2, 3]).same_upper([5, 6], [3, 2])),
        ("depthwise 1", [1, 2, 1, 1], [2, 1, 1, 1], o.groups(2)),
        ("depthwise by 2", [2, 3, 7, 5], [6, 1, 3, 3], o.groups(3).padding([1, 1])),
        ("depthwise by 4 s2x3", [1, 5, 9, 8], [20, 1, 2, 3], o.groups(5).stride([2, 3]).padding([1, 0])),
        ("depthwise dilated", [2, 4, 9, 11], [4, 1, 3, 2], o.groups(4).dilation([2, 3]).padding([2, 1])),
        ("depthwise uneven", [1, 3, 6, 5], [3, 1, 4, 3], o.groups(3).padding_each([3, 0], [0, 2])),
        ("depthwise of many lines", [3, 2, 31, 7], [2, 1, 3, 1], o.groups(2)),
        // So many weights that the lines of their gradient fall into chunks of several.
        ("depthwise of long chunks", [3, 64, 3, 3], [256, 1, 3, 3], o.groups(64).padding([1, 1])),
        ("depthwise far padding", [1, 2, 2, 3], [4, 1, 2, 2], o.groups(2).padding([4, 5])),
    ] {
        let run = move |t: &[Tensor]| t[0].conv2d(&t[1], t.get(2), options);
        cases.extend(both("conv2d", detail, (&x, &w), Some(w[0]), run));
    }
    for (detail, x, w, options) in [
        ("depthwise 65x63", [1, 3, 65, 63], [3, 1, 3, 3], o.groups(3).padding([1, 1])),
        ("depthwise of 66000 images", [33_000, 2, 1, 2], [2, 1, 1, 2], o.groups(2)),
    ] {
        let run = move |t: &[Tensor]| t[0].conv2d(&t[1], None, options);
        cases.extend(both("conv2d", detail, (&x, &w), None, run).into_iter().map(Case::value_only));
    }
    let empty = [Input::whole([0, 3, 4, 4]), Input::whole([3, 1, 2, 2])];
    cases.push(
        Case::new("conv2d", "depthwise of nothing", empty, move |t| t[0].conv2d(&t[1], None, o.groups(3)))
            .exact(),
    );
    cases
}

fn line() -> [Vec<Case>; 2] {
    let o = Conv1dOptions::default();
    let (mut forward, mut transposed) = (vec![], vec![]);
    for (detail, x, w, options) in [
        ("1", [1, 1, 1], [1, 1, 1], o),
        ("2x3x11 k3", [2, 3, 11], [4, 3, 3], o),
        ("k4 s2 uneven", [2, 2, 10], [3, 2, 4], o.stride([2]).padding_each([2], [1])),
        ("groups dilation", [1, 4, 13], [6, 2, 3], o.groups(2).dilation([3]).padding([2])),
        ("depthwise", [2, 5, 9], [5, 1, 3], o.groups(5).padding([1])),
    ] {
        let run = move |t: &[Tensor]| t[0].conv1d(&t[1], t.get(2), options);
        forward.extend(both("conv1d", detail, (&x, &w), Some(w[0]), run));
    }
    for (detail, x, w, options, extra) in [
        ("1", [1, 1, 1], [1, 1, 1], o, 0),
        ("2x3x7 k3", [2, 3, 7], [3, 4, 3], o, 0),
        ("k4 s3 uneven", [2, 4, 5], [4, 2, 4], o.stride([3]).groups(2).padding_each([2], [1]), 2),
    ] {
        let run = move |t: &[Tensor]| t[0].conv_transpose1d(&t[1], t.get(2), options, [extra]);
        transposed.extend(both("conv_transpose1d", detail, (&x, &w), Some(w[1] * options.groups), run));
    }
    let call = |detail: &str, x: &[usize], w: &[usize], options: Conv1dOptions| {
        let inputs = [Input::any(x), Input::any(w)];
        Case::new("conv1d", detail, inputs, move |t| t[0].conv1d(&t[1], None, options)).fails()
    };
    forward.extend([
        call("four axes", &[1, 2, 5, 5], &[3, 2, 3], o),
        call("kernel beyond", &[1, 2, 2], &[3, 2, 3], o),
        call("stride 0", &[1, 2, 5], &[3, 2, 3], o.stride([0])),
    ]);
    let call = |detail: &str, x: &[usize], w: &[usize], options: Conv1dOptions, extra: usize| {
        let inputs = [Input::any(x), Input::any(w)];
        Case::new("conv_transpose1d", detail, inputs, move |t| {
            t[0].conv_transpose1d(&t[1], None, options, [extra])
        })
        .fails()
    };
    transposed.extend([
        call("weight of others", &[1, 2, 5], &[3, 2, 3], o, 0),
        call("all padded away", &[1, 2, 2], &[2, 2, 1], o.padding([1]), 0),
        call("output padding", &[1, 2, 5], &[2, 2, 3], o.stride([2]), 2),
    ]);
    [forward, transposed]
}

fn transposed_plane() -> Vec<Case> {
    let (op, o) = ("conv_transpose2d", Conv2dOptions::default());
    let mut cases = vec![];
    for (detail, x, w, options, extra) in [
        ("1", [1, 1, 1, 1], [1, 1, 1, 1], o, [0, 0]),
        ("2x3x4x5 k3", [2, 3, 4, 5], [3, 2, 3, 3], o, [0, 0]),
        ("s2 p1 op1", [2, 3, 4, 3], [3, 4, 3, 3], o.stride([2, 2]).padding([1, 1]), [1, 1]),
        ("s3x2 op2x0", [1, 2, 3, 4], [2, 3, 2, 4], o.stride([3, 2]), [2, 0]),
        ("groups dilation", [1, 4, 4, 3], [4, 3, 3, 2], o.groups(2).dilation([2, 3]).padding([1, 2]), [0, 0]),
        ("depthwise s2", [2, 5, 4, 4], [5, 1, 3, 3], o.groups(5).stride([2, 2]).padding([1, 1]), [1, 0]),
        ("depthwise by 3", [1, 2, 3, 4], [2, 3, 2, 2], o.groups(2), [0, 0]),
        ("uneven", [1, 2, 4, 4], [2, 2, 3, 3], o.padding_each([2, 0], [0, 1]), [0, 0]),
        ("65 channels", [1, 65, 3, 3], [65, 9, 2, 2], o, [0, 0]),
    ] {
        let run = move |t: &[Tensor]| t[0].conv_transpose2d(&t[1], t.get(2), options, extra);
        cases.extend(both(op, detail, (&x, &w), Some(w[1] * options.groups), run));
    }
    let call = |detail: &str, x: Input, w: Input| {
        Case::new(op, detail, [x, w], move |t| t[0].conv_transpose2d(&t[1], t.get(2), o, [0, 0]))
    };
    let (x, w) = (|| Input::whole([2, 2, 4, 3]), || Input::whole([2, 3, 2, 2]));
    cases.extend([
        call("transposed", x().transposed(), w().transposed()).exact(),
        call("strided", x().strided(), w().strided()).exact(),
        call("stride 0", x().repeated(), w().repeated()).exact(),
        call("empty batch", Input::whole([0, 2, 4, 3]), w()).exact(),
        call("integers", Input::index([2, 2, 4, 3], 5), w()).fails(),
        call("no rows", Input::whole([1, 2, 0, 3]), w()).fails(),
    ]);
    let bias = [x(), w(), Input::whole([2])];
    cases.push(
        Case::new(op, "bias of others", bias, move |t| t[0].conv_transpose2d(&t[1], t.get(2), o, [0, 0]))
            .fails(),
    );
    cases
}

fn volume() -> [Vec<Case>; 2] {
    let o = Conv3dOptions::default();
    let (mut forward, mut transposed) = (vec![], vec![]);
    for (detail, x, w, options) in [
        ("1", [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], o),
        ("2x2x4x3x5 k2x3x2", [2, 2, 4, 3, 5], [3, 2, 2, 3, 2], o.padding([1, 1, 0])),
        ("s2x1x2 dilation", [1, 2, 7, 4, 5], [2, 2, 3, 2, 2], o.stride([2, 1, 2]).dilation([2, 1, 3])),
        ("groups uneven", [1, 4, 3, 4, 3], [4, 2, 2, 2, 3], o.groups(2).padding_each([0, 1, 1], [1, 0, 1])),
        ("depthwise", [2, 3, 4, 4, 3], [3, 1, 3, 3, 3], o.groups(3).padding([1, 1, 1])),
    ] {
        let run = move |t: &[Tensor]| t[0].conv3d(&t[1], t.get(2), options);
        forward.extend(both("conv3d", detail, (&x, &w), Some(w[0]), run));
    }
    for (detail, x, w, options, extra) in [
        ("1", [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], o, [0; 3]),
        ("k2x3x2 s2", [2, 2, 3, 2, 3], [2, 3, 2, 3, 2], o.stride([2, 2, 1]).padding([1, 1, 0]), [1, 0, 0]),
        ("groups dilation", [1, 4, 2, 3, 2], [4, 1, 3, 2, 2], o.groups(2).dilation([2, 1, 2]), [0; 3]),
    ] {
        let run = move |t: &[Tensor]| t[0].conv_transpose3d(&t[1], t.get(2), options, extra);
        transposed.extend(both("conv_transpose3d", detail, (&x, &w), Some(w[1] * options.groups), run));
    }
    let inputs = [Input::any([1, 2, 2, 4, 4]), Input::any([3, 2, 3, 3, 3])];
    forward.push(
        Case::new("conv3d", "kernel beyond", inputs.clone(), move |t| t[0].conv3d(&t[1], None, o)).fails(),
    );
    transposed.push(
        Case::new("conv_transpose3d", "weight of others", inputs, move |t| {
            t[0].conv_transpose3d(&t[1], None, o, [0; 3])
        })
        .fails(),
    );
    [forward, transposed]
}

fn patches() -> [Vec<Case>; 2] {
    let o = Conv2dOptions::default();
    let (mut unfold, mut fold) = (vec![], vec![]);
    for (detail, x, kernel, options) in [
        ("1", [1, 1, 1, 1], [1, 1], o),
        ("2x3x5x4 k2x3", [2, 3, 5, 4], [2, 3], o),
        ("s2 p1", [1, 2, 7, 5], [3, 3], o.stride([2, 2]).padding([1, 1])),
        ("dilation uneven", [1, 2, 6, 7], [2, 3], o.dilation([3, 2]).padding_each([1, 0], [0, 2])),
        ("gaps", [1, 1, 7, 8], [2, 2], o.stride([3, 4])),
        ("none", [0, 2, 4, 4], [2, 2], o),
    ] {
        let run = move |t: &[Tensor]| t[0].unfold(kernel, options);
        unfold.push(Case::new("unfold", detail, [Input::whole(x)], run).exact());
        let outputs: Vec<usize> =
            (0..2).map(|k| options.extent(k, x[2 + k], kernel[k]).unwrap_or_default()).collect();
        let columns = [x[0], x[1] * kernel[0] * kernel[1], outputs[0] * outputs[1]];
        let run = move |t: &[Tensor]| t[0].fold([x[2], x[3]], kernel, options);
        fold.push(Case::new("fold", detail, [Input::whole(columns)], run).exact());
    }
    let bad = |x: &[usize], kernel, options| {
        let detail = format!("{x:?} by {kernel:?}");
        Case::new("unfold", &detail, [Input::any(x)], move |t| t[0].unfold(kernel, options)).fails()
    };
    unfold.extend([
        bad(&[2, 4, 4], [2, 2], o),
        bad(&[1, 2, 4, 4], [5, 2], o),
        bad(&[1, 2, 4, 4], [0, 2], o),
        bad(&[1, 2, 4, 4], [2, 1], o.stride([0, 1])),
    ]);
    let bad = |x: &[usize], kernel| {
        let detail = format!("{x:?} by {kernel:?}");
        Case::new("fold", &detail, [Input::any(x)], move |t| t[0].fold([4, 4], kernel, o)).fails()
    };
    fold.extend([
        bad(&[1, 4, 8], [2, 2]),
        bad(&[1, 5, 9], [2, 2]),
        bad(&[4, 9], [2, 2]),
        bad(&[1, 4, 9], [0, 2]),
    ]);
    [unfold, fold]
}

pub fn rooms() -> Vec<Room> {
    let ([conv1d, transpose1d], [conv3d, transpose3d], [unfold, fold]) = (line(), volume(), patches());
    vec![
        Room { op: "conv1d", cases: conv1d },
        Room { op: "conv3d", cases: conv3d },
        Room { op: "conv_transpose1d", cases: transpose1d },
        Room { op: "conv_transpose2d", cases: transposed_plane() },
        Room { op: "conv_transpose3d", cases: transpose3d },
        Room { op: "unfold", cases: unfold },
        Room { op: "fold", cases: fold },
    ]
}
