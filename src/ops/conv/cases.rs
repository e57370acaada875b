//! The cases of convolution: the forward product, and through its gradients both others.

use super::Conv2dOptions;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

type Size = ([usize; 4], [usize; 4], Conv2dOptions, bool);

pub(in crate::ops) fn rooms() -> Vec<Room> {
    let o = Conv2dOptions::default();
    let sizes: [(&str, Size); 33] = [
        ("1x1x1x1 k1", ([1, 1, 1, 1], [1, 1, 1, 1], o, true)),
        ("2x3x7x6 k3", ([2, 3, 7, 6], [4, 3, 3, 3], o, true)),
        ("1x1x28x28 k5 s2 p2", ([1, 1, 28, 28], [8, 1, 5, 5], o.stride([2, 2]).padding([2, 2]), true)),
        ("3x8x14x14 k3 p1", ([3, 8, 14, 14], [16, 8, 3, 3], o.padding([1, 1]), true)),
        ("2x16x7x7 k3 p1", ([2, 16, 7, 7], [32, 16, 3, 3], o.padding([1, 1]), false)),
        ("1x5x9x9 k1", ([1, 5, 9, 9], [7, 5, 1, 1], o, true)),
        ("2x4x8x9 k2x3 s2x1", ([2, 4, 8, 9], [5, 4, 2, 3], o.stride([2, 1]).padding([0, 1]), true)),
        ("1x2x11x13 dilation", ([1, 2, 11, 13], [3, 2, 3, 3], o.dilation([2, 3]).padding([2, 1]), false)),
        ("2x6x8x8 groups 3", ([2, 6, 8, 8], [9, 2, 3, 3], o.groups(3).padding([1, 1]), true)),
        ("2x5x6x6 depthwise", ([2, 5, 6, 6], [5, 1, 3, 3], o.groups(5).stride([2, 2]), false)),
        ("1x3x10x10 s3", ([1, 3, 10, 10], [2, 3, 3, 3], o.stride([3, 3]), true)),
        ("1x2x5x5 k4 p3", ([1, 2, 5, 5], [3, 2, 4, 4], o.padding([3, 3]), true)),
        ("1x65x4x4 rows beyond a tile", ([1, 65, 4, 4], [65, 65, 1, 1], o, true)),
        ("1x3x23x23 columns beyond a tile", ([1, 3, 23, 23], [63, 3, 3, 3], o.padding([1, 1]), false)),
        // Two by two whole tiles in each of two groups: forward, and in the gradient of the weights.
        ("2x2x8x8 whole tiles", ([2, 2, 8, 8], [256, 1, 1, 1], o.groups(2), false)),
        ("1x256x1x1 whole tiles", ([1, 256, 1, 1], [256, 128, 1, 1], o.groups(2), false)),
        ("41x1x5x5 odd batch", ([41, 1, 5, 5], [9, 1, 2, 2], o.stride([2, 2]), true)),
        // Channels and positions by fours, for kernels on subgroups: a tile has 16 rows and 64 columns.
        ("1x4x4x5 k1", ([1, 4, 4, 5], [4, 4, 1, 1], o, true)),
        ("2x8x8x8 k3 p1", ([2, 8, 8, 8], [8, 8, 3, 3], o.padding([1, 1]), true)),
        ("3x12x6x6 k3 p1 s2", ([3, 12, 12, 8], [20, 12, 3, 3], o.padding([1, 1]).stride([2, 1]), true)),
        ("2x4x9x11 k2x4", ([2, 4, 9, 11], [33, 4, 2, 4], o, false)),
        ("2x8x7x12 dilation", ([2, 8, 7, 12], [4, 8, 3, 2], o.dilation([1, 3]).padding([1, 2]), false)),
        ("40x8x6x6 groups 2", ([40, 8, 6, 6], [8, 4, 3, 3], o.groups(2).padding([1, 1]), true)),
        ("2x16x6x10 k3 p1", ([2, 16, 6, 10], [17, 16, 3, 3], o.padding([1, 1]), false)),
        ("1x4x14x14 k1", ([1, 4, 14, 14], [4, 4, 1, 1], o, false)),
        ("2x4x6x8 dilation", ([2, 4, 6, 8], [4, 4, 3, 3], o.dilation([1, 2]).padding([1, 2]), false)),
        ("1x4x6x8 k3 p1 s1x2", ([1, 4, 6, 8], [8, 4, 3, 3], o.padding([1, 1]).stride([1, 2]), true)),
        ("2x4x8x1 lines of one", ([2, 4, 8, 1], [8, 4, 1, 1], o, false)),
        // Channels that do not come by fours, in kernels that take them so.
        ("2x10x6x8 groups 2", ([2, 10, 6, 8], [6, 5, 3, 3], o.groups(2).padding([1, 1]), true)),
        ("3x7x4x6 k1x3", ([3, 7, 4, 6], [13, 7, 1, 3], o, false)),
        // Several tiles each way in either group, the last one nearly empty or full.
        ("1x72x4x4 groups 2", ([1, 72, 4, 4], [64, 36, 3, 3], o.groups(2).padding([1, 1]), true)),
        ("1x64x5x5 groups 2", ([1, 64, 5, 5], [8, 32, 2, 2], o.groups(2), false)),
        ("5x47x2x2 s2", ([5, 47, 2, 2], [8, 47, 1, 1], o.stride([2, 2]), false)),
    ];
    let mut cases = Vec::new();
    for (detail, (x, w, options, bias)) in sizes {
        for exact in [true, false] {
            let make = |shape: &[usize]| if exact { Input::whole(shape) } else { Input::any(shape) };
            let mut inputs = vec![make(&x), make(&w)];
            if bias {
                inputs.push(make(&w[..1]));
            }
            let detail = format!("{detail}{}", if exact { " whole" } else { "" });
            let case = Case::new("conv2d", &detail, inputs, move |t| t[0].conv2d(&t[1], t.get(2), options));
            cases.push(if exact { case.exact() } else { case });
        }
    }
    let plain = |detail: &str, x: Input, w: Input| {
        Case::new("conv2d", detail, [x, w], move |t| t[0].conv2d(&t[1], None, o))
    };
    cases.push(
        plain("transposed", Input::whole([2, 2, 6, 5]).transposed(), Input::whole([3, 2, 3, 2]).transposed())
            .exact(),
    );
    cases.push(
        plain("stride 2", Input::whole([2, 2, 6, 5]).strided(), Input::whole([3, 2, 3, 2]).strided()).exact(),
    );
    cases.push(
        plain("stride 0", Input::whole([3, 2, 6, 5]).repeated(), Input::whole([4, 2, 3, 3]).repeated())
            .exact(),
    );
    cases.push(plain("empty batch", Input::any([0, 2, 6, 5]), Input::any([3, 2, 3, 2])).exact());
    cases.push(plain("no output channels", Input::any([1, 2, 6, 5]), Input::any([0, 2, 3, 2])).exact());
    cases.push(plain("kernel larger than image", Input::any([1, 2, 2, 5]), Input::any([3, 2, 3, 2])).fails());
    // Infinite where no window's first line is: what stands behind the last position must not read it.
    let last_line: Vec<f64> = (0..100).map(|i| if i % 25 < 20 { 0.5 } else { f64::INFINITY }).collect();
    let inputs = [Input::fixed([1, 4, 5, 5], &last_line), Input::any([4, 4, 3, 3]), Input::any([1, 4, 5, 5])];
    let run = move |t: &[Tensor]| {
        let w = t[1].detach().variable()?;
        let y = t[0].detach().conv2d(&w, None, o.padding([1, 1]))?;
        y.pull_back(&t[2].detach(), &[&w])?.swap_remove(0).slice(2, 0, 1)
    };
    cases.push(Case::new("conv2d", "infinite, not read", inputs, run).value_only());
    cases.extend(super::more_cases::plane());
    vec![Room { op: "conv2d", cases }]
}
