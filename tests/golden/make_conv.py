#!/usr/bin/env python3
"""Makes conv.safetensors and conv.json: convolution in all its forms, pooling, resizing, patches."""

import torch
import torch.nn.functional as F

from recorder import Case, save


def convolutions():
    def case(axes, name, xs, ws, stride=1, padding=0, dilation=1, groups=1, bias=True):
        full = lambda v: v if isinstance(v, tuple) else (v,) * axes
        options = dict(stride=full(stride), padding=padding if isinstance(padding, str) else full(padding),
                       dilation=full(dilation), groups=groups)
        c = Case(f"conv{axes}d", name, **options)
        leaves = {"x": c.normal("x", xs), "w": c.normal("w", ws, 0.5)}
        if bias:
            leaves["b"] = c.normal("b", ws[:1])
        f = [F.conv1d, F.conv2d, F.conv3d][axes - 1]
        c.finish(f(leaves["x"], leaves["w"], leaves.get("b"), *options.values()), leaves)
    case(1, "k3", (2, 3, 9), (4, 3, 3))
    case(1, "k4_stride3_pad2", (2, 2, 11), (3, 2, 4), 3, 2)
    case(1, "dilation_groups", (1, 4, 12), (6, 2, 3), 1, 2, 3, 2, False)
    case(1, "same_even", (2, 3, 8), (2, 3, 4), 1, "same")
    case(2, "same", (2, 2, 5, 6), (3, 2, 3, 4), 1, "same")
    case(2, "same_dilated", (1, 2, 6, 7), (2, 2, 2, 3), 1, "same", (3, 2))
    case(2, "depthwise_stride2", (2, 4, 7, 6), (4, 1, 3, 3), 2, 1, 1, 4)
    case(2, "depthwise_by_3", (1, 3, 6, 5), (9, 1, 2, 3), 1, (1, 2), (2, 1), 3)
    case(3, "k2", (2, 2, 3, 4, 3), (3, 2, 2, 2, 2))
    case(3, "mixed", (1, 4, 5, 4, 6), (4, 2, 3, 2, 3), (2, 1, 2), (1, 0, 2), (1, 2, 1), 2)
    case(3, "depthwise", (1, 3, 4, 4, 4), (3, 1, 3, 3, 3), 1, 1, 1, 3, False)


def transposed():
    def case(axes, name, xs, ws, stride=1, padding=0, extra=0, groups=1, dilation=1, bias=True):
        full = lambda v: v if isinstance(v, tuple) else (v,) * axes
        options = dict(stride=full(stride), padding=full(padding), output_padding=full(extra), groups=groups,
                       dilation=full(dilation))
        c = Case(f"conv_transpose{axes}d", name, **options)
        leaves = {"x": c.normal("x", xs), "w": c.normal("w", ws, 0.5)}
        if bias:
            leaves["b"] = c.normal("b", (ws[1] * groups,))
        f = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][axes - 1]
        c.finish(f(leaves["x"], leaves["w"], leaves.get("b"), *options.values()), leaves)
    case(1, "stride3_op2", (2, 3, 4), (3, 2, 4), 3, 1, 2)
    case(1, "groups", (1, 4, 5), (4, 3, 3), 1, 0, 0, 2, 2, False)
    case(2, "k3", (2, 3, 4, 3), (3, 2, 3, 3))
    case(2, "stride2_pad1_op1", (2, 3, 3, 4), (3, 2, 3, 3), 2, 1, 1)
    case(2, "mixed", (1, 4, 3, 4), (4, 2, 2, 3), (3, 2), (1, 2), (2, 0), 2, (2, 1))
    case(2, "depthwise", (1, 3, 4, 4), (3, 1, 4, 4), 2, 1, 0, 3, 1, False)
    case(3, "stride2", (1, 2, 2, 3, 2), (2, 2, 3, 2, 2), 2, (1, 0, 1), (1, 1, 0))
    case(3, "groups", (1, 4, 2, 2, 3), (4, 1, 2, 3, 2), 1, 0, 0, 2, (2, 1, 1))


def apart(c, shape):
    n = torch.Size(shape).numel()
    return c.given("x", (c.rng.permutation(n).reshape(shape) - 0.4 * n) / 4)


def pools():
    def maximum(axes, name, xs, k, s, p=0, d=1, ceil=False):
        full = lambda v: v if isinstance(v, tuple) else (v,) * axes
        options = dict(kernel=full(k), stride=full(s), padding=full(p), dilation=full(d), ceil=ceil)
        c = Case(f"max_pool{axes}d", name, **options)
        x = apart(c, xs)
        f = [F.max_pool1d, F.max_pool2d, F.max_pool3d][axes - 1]
        c.finish(f(x, *options.values()), {"x": x})
    maximum(1, "k3_pad1", (2, 3, 10), 3, 2, 1)
    maximum(2, "dilation", (1, 2, 9, 8), (3, 2), (1, 2), (1, 0), (2, 3))
    maximum(2, "ceil", (2, 2, 7, 8), 3, 2, 1, 1, True)
    maximum(2, "ceil_dropped", (1, 1, 4, 5), 2, 3, 1, 1, True)
    maximum(3, "k2", (1, 2, 4, 5, 4), 2, 2)
    maximum(3, "mixed", (1, 2, 5, 6, 7), (3, 2, 3), (2, 1, 2), (1, 1, 0), (1, 2, 1), True)

    def average(axes, name, xs, k, s, p=0, ceil=False, padded=True):
        full = lambda v: v if isinstance(v, tuple) else (v,) * axes
        options = dict(kernel=full(k), stride=full(s), padding=full(p), ceil=ceil, count_include_pad=padded)
        c = Case(f"avg_pool{axes}d", name, **options)
        x = c.normal("x", xs)
        f = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][axes - 1]
        c.finish(f(x, *options.values()), {"x": x})
    average(1, "k4_pad2", (2, 2, 9), 4, 3, 2)
    average(2, "ceil_padded", (2, 1, 6, 7), 3, 2, 1, True)
    average(2, "ceil_inside", (1, 2, 6, 8), (3, 2), (2, 3), (1, 1), True, False)
    average(3, "padded", (1, 2, 4, 5, 4), (3, 2, 2), (1, 2, 2), (1, 0, 1))
    average(3, "inside_ceil", (1, 1, 5, 4, 6), 3, 2, 1, True, False)
    c = Case("lp_pool2d", "p3", p=3, kernel=(2, 3), stride=(2, 1))
    x = c.uniform("x", (1, 2, 5, 6), 0.1, 2.0)
    c.finish(F.lp_pool2d(x, 3.0, (2, 3), (2, 1)), {"x": x})
    for name, xs, out in [("even", (2, 2, 6, 8), (3, 2)), ("uneven", (1, 3, 7, 5), (3, 4)), ("larger", (1, 1, 3, 2), (5, 3))]:
        c = Case("adaptive_avg_pool2d", name, extents=out)
        x = c.normal("x", xs)
        c.finish(F.adaptive_avg_pool2d(x, out), {"x": x})
        c = Case("adaptive_max_pool2d", name, extents=out)
        x = apart(c, xs)
        c.finish(F.adaptive_max_pool2d(x, out), {"x": x})
    c = Case("adaptive_avg_pool3d", "uneven", extents=(2, 3, 2))
    x = c.normal("x", (1, 2, 3, 4, 5))
    c.finish(F.adaptive_avg_pool3d(x, (2, 3, 2)), {"x": x})
    c = Case("max_unpool2d", "k2", extents=(6, 8))
    x, (_, idx) = c.normal("x", (2, 2, 3, 4)), F.max_pool2d(torch.tensor(c.rng.standard_normal((2, 2, 6, 8))), 2, return_indices=True)
    idx = c.ints("idx", idx.numpy())
    # With one value a place there is nothing to be undetermined about.
    torch.use_deterministic_algorithms(False)
    c.finish(F.max_unpool2d(x, idx, 2, output_size=(6, 8)), {"x": x})
    torch.use_deterministic_algorithms(True)


def resizing():
    for mode, xs, out, corners in [("nearest", (2, 2, 3, 4), (7, 8), None), ("nearest", (1, 2, 8, 6), (4, 3), None),
                                   ("linear", (2, 3, 5), (8,), False), ("linear", (1, 2, 6), (4,), True),
                                   ("bilinear", (2, 2, 3, 4), (7, 5), False), ("bilinear", (1, 2, 4, 5), (7, 3), True),
                                   ("bilinear", (1, 1, 8, 9), (3, 4), False),
                                   ("bicubic", (1, 2, 4, 5), (7, 8), False), ("bicubic", (1, 1, 6, 5), (4, 9), True),
                                   ("trilinear", (1, 2, 2, 3, 4), (4, 5, 3), False)]:
        c = Case("interpolate", "_".join(map(str, (mode, *xs, *out, corners))), mode=mode, extents=out,
                 align_corners=bool(corners))
        x = c.normal("x", xs)
        c.finish(F.interpolate(x, out, mode=mode, align_corners=corners), {"x": x})


def patches():
    for name, xs, k, d, p, s in [("k2x3", (2, 3, 5, 6), (2, 3), 1, 0, 1), ("mixed", (1, 2, 7, 8), (3, 2), (1, 2), (1, 2), (2, 3))]:
        full = lambda v: v if isinstance(v, tuple) else (v, v)
        options = dict(kernel=k, dilation=full(d), padding=full(p), stride=full(s))
        c = Case("unfold", name, **options)
        x = c.normal("x", xs)
        y = F.unfold(x, *options.values())
        c.finish(y, {"x": x})
        c = Case("fold", name, image=xs[2:], **options)
        x = c.normal("x", tuple(y.shape))
        c.finish(F.fold(x, xs[2:], *options.values()), {"x": x})


for part in [convolutions, transposed, pools, resizing, patches]:
    part()
save("conv")
