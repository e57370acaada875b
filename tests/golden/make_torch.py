#!/usr/bin/env python3
"""Makes torch.safetensors and torch.json: golden values that PyTorch computed, for tests/ to read.

Inputs, cotangents and directions are float32; everything PyTorch computes from them is computed and
stored in float64. The random numbers of a case depend only on its name. README.md has the conventions.

    make_torch.py            write the two files beside this script
    make_torch.py --check    also hold every unary function to mpmath at 60 digits
"""

import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

from recorder import Case, direction_check, save, tensors

CHECK = "--check" in sys.argv


# ---------------------------------------------------------------- matmul

def matmul():
    def case(name, xs, ws, tx=False, tw=False, bias=None, scale=1.0):
        c = Case("matmul", name, transpose_x=tx, transpose_w=tw, bias=bias is not None)
        x, w = c.normal("x", xs, scale), c.normal("w", ws, scale)
        y = (x.transpose(-1, -2) if tx else x) @ (w.transpose(-1, -2) if tw else w)
        leaves = {"x": x, "w": w}
        if bias is not None:
            leaves["b"] = b = c.normal("b", bias)
            y = y + b
        c.finish(y, leaves)
    case("2d", (5, 7), (7, 3))
    case("2d_long_k", (3, 65), (65, 5))
    case("2d_tile_edge", (17, 9), (9, 19))
    case("batched", (3, 4, 5), (3, 5, 2))
    case("batched_rank4", (2, 3, 3, 2), (2, 3, 2, 5))
    case("broadcast", (2, 1, 3, 4), (5, 4, 6))
    case("broadcast_matrix", (3, 4, 5), (5, 2))
    case("tx", (7, 5), (7, 3), tx=True)
    case("tw", (5, 7), (3, 7), tw=True)
    case("tx_tw", (7, 5), (3, 7), tx=True, tw=True)
    case("batched_tw", (2, 3, 5), (2, 4, 5), tw=True)
    case("bias", (5, 7), (7, 3), bias=(3,))
    case("linear", (2, 3, 7), (5, 7), tw=True, bias=(5,))
    case("row_by_matrix", (1, 9), (9, 5))
    case("matrix_by_column", (5, 9), (9, 1))
    case("inner", (1, 33), (33, 1))
    case("outer", (6, 1), (1, 5))
    case("one", (1, 1), (1, 1))
    case("large_values", (4, 6), (6, 3), scale=1e4)


# ---------------------------------------------------------------- convolution, pooling

def conv2d():
    def case(name, xs, ws, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, bias=True):
        c = Case("conv2d", name, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias)
        x, w = c.normal("x", xs), c.normal("w", ws, 0.5)
        leaves = {"x": x, "w": w}
        if bias:
            leaves["b"] = c.normal("b", ws[:1])
        y = F.conv2d(x, w, leaves.get("b"), stride, padding, dilation, groups)
        c.finish(y, leaves)
    case("k1", (2, 3, 4, 5), (4, 3, 1, 1))
    case("k1_stride2_nobias", (2, 3, 5, 4), (2, 3, 1, 1), stride=(2, 2), bias=False)
    case("k3", (2, 3, 6, 5), (4, 3, 3, 3))
    case("k3_pad1", (2, 2, 5, 6), (3, 2, 3, 3), padding=(1, 1))
    case("k3_stride2_pad1", (2, 2, 7, 6), (3, 2, 3, 3), stride=(2, 2), padding=(1, 1))
    case("k3_stride21_pad12", (1, 2, 7, 5), (3, 2, 3, 3), stride=(2, 1), padding=(1, 2), bias=False)
    case("k3_dil2", (1, 2, 7, 8), (3, 2, 3, 3), dilation=(2, 2))
    case("k3_dil3_pad2", (1, 2, 7, 6), (2, 2, 3, 3), padding=(2, 2), dilation=(3, 3), bias=False)
    case("k3_dil12_stride2_pad12", (1, 2, 8, 7), (2, 2, 3, 3), (2, 2), (1, 2), (1, 2))
    case("k5_pad2", (1, 2, 6, 5), (2, 2, 5, 5), padding=(2, 2))
    case("k5_stride2", (1, 1, 9, 8), (2, 1, 5, 5), stride=(2, 2), bias=False)
    case("k23_pad01", (2, 2, 4, 5), (3, 2, 2, 3), padding=(0, 1))
    case("groups2", (2, 4, 5, 4), (6, 2, 3, 3), padding=(1, 1), groups=2)
    case("groups2_stride2_dil2", (1, 4, 8, 7), (4, 2, 2, 3), (2, 2), (1, 1), (2, 2), 2, False)
    case("depthwise", (2, 5, 5, 4), (5, 1, 3, 3), padding=(1, 1), groups=5)
    case("depthwise_mult2_stride2", (1, 3, 6, 7), (6, 1, 3, 3), (2, 2), (1, 1), (1, 1), 3, False)
    case("unused_border", (1, 1, 6, 6), (1, 1, 3, 3), stride=(2, 2))
    case("whole_image", (2, 2, 4, 3), (3, 2, 4, 3))


def pools():
    def maxp(name, xs, kernel, stride, padding=(0, 0), shift=0.0):
        c = Case("max_pool2d", name, kernel=kernel, stride=stride, padding=padding)
        x = c.normal("x", xs, 1.0, shift)
        assert len(np.unique(x.detach().numpy())) == x.numel()
        c.finish(F.max_pool2d(x, kernel, stride, padding), {"x": x})
    def avgp(name, xs, kernel, stride, padding=(0, 0), include=True):
        c = Case("avg_pool2d", name, kernel=kernel, stride=stride, padding=padding, count_include_pad=include)
        x = c.normal("x", xs)
        c.finish(F.avg_pool2d(x, kernel, stride, padding, count_include_pad=include), {"x": x})
    k2, k3, s1, s3 = (2, 2), (3, 3), (1, 1), (3, 3)
    maxp("k2_s2", (2, 3, 6, 4), k2, k2)
    maxp("k2_s1", (1, 2, 5, 4), k2, s1)
    maxp("k3_s2_pad1_negative", (2, 2, 7, 6), k3, k2, s1, -10.0)
    maxp("k3_s1_pad1", (1, 2, 4, 5), k3, s1, s1)
    maxp("k2_s3_odd", (1, 3, 8, 7), k2, s3)
    maxp("k23_s12", (1, 2, 5, 7), (2, 3), (1, 2), (0, 1))
    avgp("k2_s2", (2, 3, 6, 4), k2, k2)
    avgp("k3_s2_odd", (1, 2, 8, 6), k3, k2)
    avgp("k3_s2_pad1_include", (2, 2, 7, 6), k3, k2, s1, True)
    avgp("k3_s2_pad1_exclude", (2, 2, 7, 6), k3, k2, s1, False)
    avgp("k23_s12_exclude", (1, 2, 5, 7), (2, 3), (1, 2), (1, 1), False)
    c = Case("global_avg_pool2d", "plain")
    x = c.normal("x", (2, 3, 5, 7))
    c.finish(F.adaptive_avg_pool2d(x, 1), {"x": x})


# ---------------------------------------------------------------- reductions

def reductions():
    fns = {"sum": torch.sum, "mean": torch.mean, "amax": torch.amax}
    shape = (3, 4, 2, 5)
    for op, fn in fns.items():
        for name, axes, keep in [("axis0", [0], False), ("last_keep", [3], True),
                                 ("axes13", [1, 3], False), ("all", [0, 1, 2, 3], False)]:
            c = Case(op, name, axes=axes, keepdim=keep)
            x = c.normal("x", shape)
            assert len(np.unique(x.detach().numpy())) == x.numel()
            c.finish(fn(x, dim=tuple(axes), keepdim=keep), {"x": x})
    c = Case("sum", "axes02_keep", axes=[0, 2], keepdim=True)
    x = c.normal("x", shape)
    c.finish(x.sum(dim=(0, 2), keepdim=True), {"x": x})
    c = Case("sum", "long", axes=[1], keepdim=False)
    x = c.uniform("x", (2, 1031), 0.0, 1.0)
    c.finish(x.sum(dim=1), {"x": x})
    c = Case("sum", "cancel", axes=[1], keepdim=False, ill_conditioned=True)
    a = c.rng.standard_normal((3, 40)) * 1e6
    x = c.given("x", np.concatenate([a, -a + c.rng.standard_normal(a.shape)], axis=1))
    c.finish(x.sum(dim=1), {"x": x})
    for axis in [0, 1, 2]:
        c = Case("argmax", f"axis{axis}", axis=axis, keepdim=axis == 1)
        x = c.normal("x", (4, 5, 7))
        assert len(np.unique(x.detach().numpy())) == x.numel()
        c.put("y", x.argmax(dim=axis, keepdim=axis == 1))
    c = Case("argmax", "minus_infinity", axis=1, keepdim=False)
    x = c.given("x", [[-np.inf, -3e38, -np.inf], [-1.0, -np.inf, -2.0], [1.0, np.inf, 3e38]])
    c.put("y", x.argmax(dim=1))


def softmaxes():
    for op, fn in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
        for axis in range(3):
            c = Case(op, f"axis{axis}", axis=axis)
            x = c.normal("x", (3, 5, 4), 2.0)
            c.finish(fn(x, dim=axis), {"x": x})
        c = Case(op, "wide", axis=1)
        x = c.uniform("x", (5, 9), -80.0, 80.0)
        c.finish(fn(x, dim=1), {"x": x})
        c = Case(op, "offset", axis=1)
        x = c.normal("x", (3, 6), 1.0, 1e4)
        c.finish(fn(x, dim=1), {"x": x})
        c = Case(op, "masked", axis=1, forward_only=True)
        inf = np.inf
        x = c.given("x", [[-inf, 0.0, 1.0, 2.0], [3.0, -inf, -inf, -inf], [0.0] * 4, [80.0, -80.0, 80.0, 0.0]])
        c.put("y", fn(x, dim=1))


# ---------------------------------------------------------------- normalisation, losses

def batch_norms():
    eps, momentum = 1e-5, 0.1
    def train(name, shape, scale=1.0, shift=0.0, affine=True):
        c = Case("batch_norm_train", name, eps=eps, momentum=momentum, affine=affine)
        x, n = c.normal("x", shape, scale, shift), shape[1]
        leaves = {"x": x}
        if affine:
            leaves["w"], leaves["b"] = c.normal("w", n, 0.3, 1.0), c.normal("b", n)
        rm, rv = c.normal("rm0", n).detach(), c.uniform("rv0", n, 0.5, 2.0).detach()
        y = F.batch_norm(x, rm, rv, leaves.get("w"), leaves.get("b"), True, momentum, eps)
        axes = [a for a in range(len(shape)) if a != 1]
        mean, var = x.mean(axes), x.var(axes, unbiased=False)
        count = x.numel() // n
        rm0 = torch.tensor(tensors[c.key + "/rm0"].astype(np.float64))
        rv0 = torch.tensor(tensors[c.key + "/rv0"].astype(np.float64))
        assert torch.allclose(rm, 0.9 * rm0 + 0.1 * mean, rtol=1e-12)
        assert torch.allclose(rv, 0.9 * rv0 + 0.1 * var * count / (count - 1), rtol=1e-10)
        c.put("mean", mean), c.put("var", var), c.put("rm", rm), c.put("rv", rv)
        c.finish(y, leaves)
    def infer(name, shape):
        c = Case("batch_norm_eval", name, eps=eps, affine=True)
        x, n = c.normal("x", shape), shape[1]
        leaves = {"x": x, "w": c.normal("w", n, 0.3, 1.0), "b": c.normal("b", n)}
        rm, rv = c.normal("rm", n).detach(), c.uniform("rv", n, 0.1, 2.0).detach()
        c.finish(F.batch_norm(x, rm, rv, leaves["w"], leaves["b"], False, momentum, eps), leaves)
    train("rank4", (3, 4, 3, 2))
    train("rank2", (7, 5))
    train("rank4_plain", (2, 3, 4, 3), affine=False)
    train("rank4_large_mean", (3, 3, 3, 4), 1.0, 1e3)
    train("rank2_large_mean", (11, 3), 2.0, 1e3)
    train("rank2_small_var", (6, 4), 1e-3)
    infer("rank4", (2, 4, 3, 3))
    infer("rank2", (5, 3))


def losses():
    for name, (n, k), scale, reduction in [
        ("mean", (7, 5), 2.0, "mean"), ("sum", (6, 4), 2.0, "sum"), ("none", (5, 9), 2.0, "none"),
        ("mean_wide", (8, 6), 40.0, "mean"), ("none_wide", (4, 10), 40.0, "none"), ("one_row", (1, 3), 1.0, "mean"),
    ]:
        c = Case("cross_entropy", name, reduction=reduction)
        x = c.normal("x", (n, k), scale)
        t = c.ints("t", c.rng.integers(0, k, n))
        c.finish(F.cross_entropy(x, t, reduction=reduction), {"x": x})


# ---------------------------------------------------------------- moving data

def moving():
    c = Case("embedding", "vector")
    w, idx = c.normal("w", (6, 5)), c.ints("idx", [3, 0, 3, 5, 3, 1, 0])
    c.finish(F.embedding(idx, w), {"w": w})
    c = Case("embedding", "matrix")
    w, idx = c.normal("w", (5, 3)), c.ints("idx", c.rng.integers(0, 5, (3, 7)))
    c.finish(F.embedding(idx, w), {"w": w})
    for axis, idx in [(0, [2, 2, 0, 3, 2]), (1, [4, 1, 1]), (2, [0, 2, 0, 0])]:
        c = Case("index_select", f"axis{axis}", axis=axis)
        x, i = c.normal("x", (4, 5, 3)), c.ints("idx", idx)
        c.finish(torch.index_select(x, axis, i), {"x": x})
    for axis, sizes in [(0, (2, 1, 3)), (1, (3, 4)), (2, (1, 5, 2))]:
        c = Case("cat", f"axis{axis}", axis=axis, inputs=len(sizes))
        leaves = {}
        for k, size in enumerate(sizes):
            shape = [3, 4, 2]
            shape[axis] = size
            leaves[f"x{k}"] = c.normal(f"x{k}", shape)
        c.finish(torch.cat(list(leaves.values()), dim=axis), leaves)
    for name, shape, pads, value in [
        ("last", (3, 4), [[0, 0], [2, 1]], 0.0), ("both", (2, 3), [[1, 0], [0, 2]], -1.5),
        ("image", (2, 2, 3, 4), [[0, 0], [0, 0], [1, 2], [3, 0]], 0.0),
        ("every", (2, 1, 3, 2), [[1, 1], [0, 2], [1, 0], [2, 1]], 0.25),
    ]:
        c = Case("pad", name, pads=pads, value=value)
        x = c.normal("x", shape)
        c.finish(F.pad(x, [p for axis in reversed(pads) for p in axis], value=value), {"x": x})
    for name, shape, ranges in [
        ("rows", (7, 3), [[2, 6, 1], [0, 3, 1]]), ("inner", (4, 5, 6), [[1, 3, 1], [0, 5, 1], [2, 5, 1]]),
        ("step", (7, 9), [[1, 7, 2], [0, 9, 3]]), ("one", (3, 4), [[2, 3, 1], [1, 2, 1]]),
    ]:
        c = Case("slice", name, ranges=ranges)
        x = c.normal("x", shape)
        c.finish(x[tuple(slice(*r) for r in ranges)], {"x": x})
    for name, cs, xs, ws in [("same", (3, 5), (3, 5), (3, 5)), ("broadcast", (4, 1), (4, 5), (5,)),
                             ("broadcast3", (2, 1, 4), (3, 1), (1,))]:
        c = Case("where", name)
        cond = c.ints("cond", c.rng.integers(0, 2, cs))
        x, w = c.normal("x", xs), c.normal("w", ws)
        c.finish(torch.where(cond.bool(), x, w), {"x": x, "w": w})


# ---------------------------------------------------------------- unary functions

# Softplus with the threshold out of reach: PyTorch's default (20) is 2e-9 off the function itself.
def softplus(x):
    return F.softplus(x, beta=1.0, threshold=300.0)


def drawn(kind):
    return lambda c: {
        "normal": lambda: c.normal("x", (5, 7), 2.0), "wide": lambda: c.uniform("x", (5, 7), -20.0, 20.0),
        "exp": lambda: c.uniform("x", (5, 7), -10.0, 10.0), "positive": lambda: c.loguniform("x", (5, 7), 1e-3, 1e3),
        "angle": lambda: c.uniform("x", (5, 7), -10.0, 10.0), "small": lambda: c.uniform("x", (5, 7), -1e-2, 1e-2),
        "apart": lambda: c.given("x", np.where(c.rng.integers(0, 2, (5, 7)), 1, -1)
                                 * np.exp(c.rng.uniform(-3, 2, (5, 7)))),
    }[kind]()


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
UNARY = [  # op, case, function, options, kind of input, smooth
    ("relu", "normal", F.relu, {}, "normal", False),
    ("leaky_relu", "normal", lambda x: F.leaky_relu(x, 0.01), {"slope": 0.01}, "normal", False),
    ("hardswish", "normal", F.hardswish, {}, "normal", False),
    ("abs", "normal", torch.abs, {}, "normal", False),
    ("elu", "normal", F.elu, {"alpha": 1.0}, "normal", True),
    ("elu", "alpha", lambda x: F.elu(x, 0.5), {"alpha": 0.5}, "normal", True),
    ("selu", "normal", F.selu, {"alpha": SELU_ALPHA, "scale": SELU_SCALE}, "normal", True),
    ("gelu", "erf", F.gelu, {"approximate": "none"}, "normal", True),
    ("gelu", "erf_wide", F.gelu, {"approximate": "none"}, "wide", True),
    ("gelu", "tanh", lambda x: F.gelu(x, approximate="tanh"), {"approximate": "tanh"}, "normal", True),
    ("gelu", "tanh_wide", lambda x: F.gelu(x, approximate="tanh"), {"approximate": "tanh"}, "wide", True),
    ("silu", "normal", F.silu, {}, "normal", True),
    ("silu", "wide", F.silu, {}, "wide", True),
    ("sigmoid", "normal", torch.sigmoid, {}, "normal", True),
    ("sigmoid", "wide", torch.sigmoid, {}, "wide", True),
    ("tanh", "normal", torch.tanh, {}, "normal", True),
    ("tanh", "wide", torch.tanh, {}, "wide", True),
    ("tanh", "small", torch.tanh, {}, "small", True),
    ("softplus", "normal", softplus, {"beta": 1.0}, "normal", True),
    ("softplus", "wide", softplus, {"beta": 1.0}, "wide", True),
    ("mish", "normal", F.mish, {}, "normal", True),
    ("mish", "wide", F.mish, {}, "wide", True),
    ("softsign", "normal", F.softsign, {}, "normal", True),
    ("erf", "normal", torch.erf, {}, "normal", True),
    ("erf", "small", torch.erf, {}, "small", True),
    ("exp", "ten", torch.exp, {}, "exp", True),
    ("log", "positive", torch.log, {}, "positive", True),
    ("sqrt", "positive", torch.sqrt, {}, "positive", True),
    ("rsqrt", "positive", torch.rsqrt, {}, "positive", True),
    ("pow", "p2", lambda x: x.pow(2.0), {"exponent": 2.0}, "normal", True),
    ("pow", "p3", lambda x: x.pow(3.0), {"exponent": 3.0}, "normal", True),
    ("pow", "p05", lambda x: x.pow(0.5), {"exponent": 0.5}, "positive", True),
    ("pow", "pm1", lambda x: x.pow(-1.0), {"exponent": -1.0}, "apart", True),
    ("sin", "ten", torch.sin, {}, "angle", True),
    ("cos", "ten", torch.cos, {}, "angle", True),
]
SPECIAL = ["relu", "abs", "sigmoid", "tanh", "softplus", "silu", "erf", "exp", "log", "sqrt", "rsqrt"]
SPECIAL_X = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 88.5, -88.5, 104.0, -104.0, 3e38, -3e38,
             np.inf, -np.inf, np.nan]
# Hardswish is left out: at -3 and 3 its derivative differs between PyTorch versions.
KINKS = {"relu": [0.0], "leaky_relu": [0.0], "abs": [0.0], "elu": [0.0]}


def unary():
    seen = {}
    for op, name, fn, options, kind, smooth in UNARY:
        seen.setdefault(op, (fn, options))
        c = Case(op, name, **options)
        x = drawn(kind)(c)
        dy, (g,) = c.finish(fn(x), {"x": x})
        if smooth:
            v = c.normal("v", tuple(x.shape)).detach()
            (d2x,) = torch.autograd.grad((g * v).sum(), x)
            c.put("d2x", d2x)
        if CHECK:
            against_mpmath(c, op, options, smooth)
    for op in SPECIAL:
        fn, options = seen[op]
        c = Case(op, "special", forward_only=True, **options)
        c.put("y", fn(c.given("x", SPECIAL_X)))
    for op, at in KINKS.items():
        fn, options = seen[op]
        c = Case(op, "kink", convention=True, **options)
        x = c.given("x", at)
        c.finish(fn(x), {"x": x})


def against_mpmath(c, op, options, smooth):
    from mpmath import mp, mpf
    mp.dps = 60
    a, s = options.get("alpha", 1.0), options.get("scale", 1.0)
    sig = lambda x: 1 / (1 + mp.exp(-x))
    sp = lambda x: mp.log(1 + mp.exp(x))
    elu = lambda x: s * (x if x > 0 else a * (mp.exp(x) - 1))
    gelu = ((lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2) if options.get("approximate") == "none" else
            (lambda x: x * sig(2 * mp.sqrt(2 / mp.pi) * (x + mpf(0.044715) * x**3))))
    f = {
        "relu": lambda x: max(x, 0), "leaky_relu": lambda x: x if x > 0 else mpf(0.01) * x,
        "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6, "abs": abs, "elu": elu, "selu": elu, "gelu": gelu,
        "silu": lambda x: x * sig(x), "sigmoid": sig, "tanh": mp.tanh, "softplus": sp,
        "mish": lambda x: x * mp.tanh(sp(x)), "softsign": lambda x: x / (1 + abs(x)), "erf": mp.erf, "exp": mp.exp,
        "log": mp.log, "sqrt": mp.sqrt, "rsqrt": lambda x: 1 / mp.sqrt(x),
        "pow": lambda x: x ** mpf(options.get("exponent", 1)), "sin": mp.sin, "cos": mp.cos,
    }[op]
    got = {k: tensors[f"{c.key}/{k}"].ravel() for k in c.entry["tensors"]}
    h = mpf(10) ** -12  # differences by hand: mp.diff would step over the kinks
    worst = {"y": [0.0, 0.0], "dx": [0.0, 0.0], "d2x": [0.0, 0.0]}
    for i, x in enumerate(got["x"]):
        x, dy = mpf(float(x)), mpf(float(got["dy"][i]))
        want = {"y": f(x), "dx": dy * (f(x + h) - f(x - h)) / (2 * h)}
        if smooth:
            want["d2x"] = dy * mpf(float(got["v"][i])) * (f(x + h) - 2 * f(x) + f(x - h)) / h**2
        for k, w in want.items():
            e = abs(w - mpf(float(got[k][i])))
            worst[k][0] = max(worst[k][0], float(e / max(1, abs(w))))
            worst[k][1] = max(worst[k][1], float(e / abs(w)) if w else 0.0)
    for k, (mixed, rel) in worst.items():
        assert mixed < 1e-14, (c.key, k, mixed)
    print(f"{c.key:22}", *(f"{k} {m:.0e} rel {r:.0e}" for k, (m, r) in worst.items()))


# ---------------------------------------------------------------- second derivatives

LAW = "L = sum(dy * y*y) / 2; g = dL/dx; hv = d(sum(g*v))/dx; hw, hb = d(sum(g*v))/dw, /db"


def hvps():
    def case(op, name, inputs, f, options):
        c = Case("hvp_" + op, name, law=LAW, **options)
        leaves = inputs(c)
        x = leaves["x"]
        y = f(leaves, c)
        c.put("y", y)
        dy = c.normal("dy", tuple(y.shape)).detach()
        (g,) = torch.autograd.grad((dy * y * y).sum() / 2, x, create_graph=True)
        c.put("g", g)
        v = c.normal("v", tuple(x.shape)).detach()
        found = torch.autograd.grad((g * v).sum(), list(leaves.values()), allow_unused=True)
        for leaf, h in zip(leaves, found):
            c.put("hv" if leaf == "x" else "h" + leaf, torch.zeros_like(leaves[leaf]) if h is None else h)
        def grad_of(at):
            at = at.clone().requires_grad_()
            out = f({**leaves, "x": at}, c)
            return torch.autograd.grad((dy * out * out).sum() / 2, at)[0]
        direction_check(grad_of, x, v, found[0], c.key)

    mm = lambda c: {"x": c.normal("x", (3, 4)), "w": c.normal("w", (4, 5))}
    case("matmul", "2d", mm, lambda l, c: l["x"] @ l["w"], {"transpose_x": False, "transpose_w": False, "bias": False})
    bmm = lambda c: {"x": c.normal("x", (2, 1, 3, 2)), "w": c.normal("w", (3, 2, 4)), "b": c.normal("b", (4,))}
    case("matmul", "broadcast_bias", bmm, lambda l, c: l["x"] @ l["w"] + l["b"],
         {"transpose_x": False, "transpose_w": False, "bias": True})
    for name, xs, ws, o in [
        ("k3_pad1", (2, 2, 4, 5), (3, 2, 3, 3), {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}),
        ("stride2_dil2_groups2", (1, 4, 6, 7), (4, 2, 3, 2),
         {"stride": (2, 2), "padding": (1, 1), "dilation": (2, 2), "groups": 2}),
    ]:
        case("conv2d", name, lambda c: {"x": c.normal("x", xs), "w": c.normal("w", ws, 0.5), "b": c.normal("b", ws[:1])},
             lambda l, c: F.conv2d(l["x"], l["w"], l["b"], **o), {**o, "bias": True})
    for name, shape in [("rank4", (3, 2, 3, 2)), ("rank2", (6, 3))]:
        n = shape[1]
        case("batch_norm_train", name,
             lambda c: {"x": c.normal("x", shape), "w": c.normal("w", n, 0.3, 1.0), "b": c.normal("b", n)},
             lambda l, c: F.batch_norm(l["x"], None, None, l["w"], l["b"], True, 0.1, 1e-5),
             {"eps": 1e-5, "affine": True})
    for op, fn in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
        for axis in [0, 1]:
            case(op, f"axis{axis}", lambda c: {"x": c.normal("x", (4, 5), 1.5)},
                 lambda l, c: fn(l["x"], dim=axis), {"axis": axis})
    for reduction in ["mean", "sum", "none"]:
        def inputs(c):
            x = c.normal("x", (5, 4), 1.5)
            c.t = c.ints("t", c.rng.integers(0, 4, 5))
            return {"x": x}
        case("cross_entropy", reduction, inputs,
             lambda l, c: F.cross_entropy(l["x"], c.t, reduction=reduction), {"reduction": reduction})


# ---------------------------------------------------------------- training

def optimisers():
    def case(op, name, make, **options):
        c = Case(op, name, **options)
        p = c.normal("p0", 7).detach().clone().requires_grad_()
        # Gradients of a quadratic seen through noise; one always zero, one tiny, one large.
        size = np.array([1.0, 0.3, 0.0, 1e-6, 100.0, 1.0, 3.0])
        g = size * (np.linspace(1.0, -0.4, 10)[:, None] + 0.5 * c.rng.standard_normal((10, 7)))
        grads = c.given("G", g).detach()
        opt = make([p], **options)
        trail = []
        for row in grads:
            p.grad = row.clone()
            opt.step()
            trail.append(p.detach().clone())
        c.put("P", torch.stack(trail))
    sgd = dict(lr=0.1, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0)
    case("sgd", "plain", torch.optim.SGD, **sgd)
    case("sgd", "momentum", torch.optim.SGD, **{**sgd, "momentum": 0.9})
    case("sgd", "nesterov", torch.optim.SGD, **{**sgd, "momentum": 0.9, "nesterov": True})
    case("sgd", "weight_decay", torch.optim.SGD, **{**sgd, "weight_decay": 0.1})
    case("sgd", "momentum_weight_decay", torch.optim.SGD, **{**sgd, "momentum": 0.9, "weight_decay": 0.1})
    adam = dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    case("adam", "plain", torch.optim.Adam, **adam)
    case("adam", "weight_decay", torch.optim.Adam, **{**adam, "weight_decay": 0.1})
    case("adam", "betas", torch.optim.Adam, **{**adam, "lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4})
    case("adamw", "weight_decay", torch.optim.AdamW, **{**adam, "weight_decay": 0.1})
    case("adamw", "plain", torch.optim.AdamW, **adam)


def schedules():
    S, n = torch.optim.lr_scheduler, 20
    def case(name, make, formula, **options):
        c = Case("schedule", name, **options)
        opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=options["lr"])
        sched = make(opt)
        values = []
        for _ in range(n):
            values.append(opt.param_groups[0]["lr"])
            opt.step()
            if len(values) < n:
                sched.step()
        assert np.allclose(values, [formula(t) for t in range(n)], rtol=1e-12, atol=1e-15), (name, values)
        c.entry["options"]["values"] = [float(v) for v in values]
    cos = lambda a, b, f: b + (a - b) * (1 + math.cos(math.pi * f)) / 2  # from a (f=0) to b (f=1)
    case("step", lambda o: S.StepLR(o, 5, 0.5), lambda t: 0.1 * 0.5 ** (t // 5), lr=0.1, step_size=5, gamma=0.5)
    case("multi_step", lambda o: S.MultiStepLR(o, [3, 11, 12], 0.1),
         lambda t: 0.1 * 0.1 ** sum(t >= m for m in [3, 11, 12]), lr=0.1, milestones=[3, 11, 12], gamma=0.1)
    case("exponential", lambda o: S.ExponentialLR(o, 0.9), lambda t: 0.1 * 0.9**t, lr=0.1, gamma=0.9)
    case("cosine", lambda o: S.CosineAnnealingLR(o, 19, 0.001), lambda t: cos(0.1, 0.001, t / 19),
         lr=0.1, t_max=19, eta_min=0.001)
    case("linear_warmup", lambda o: S.LinearLR(o, 0.1, 1.0, 8), lambda t: 0.1 * (0.1 + 0.9 * min(t, 8) / 8),
         lr=0.1, start_factor=0.1, end_factor=1.0, total_iters=8)
    case("warmup_cosine",
         lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.2, 1.0, 4), S.CosineAnnealingLR(o, 15, 0.0)], [4]),
         lambda t: 0.1 * (0.2 + 0.8 * t / 4) if t < 4 else cos(0.1, 0.0, (t - 4) / 15),
         lr=0.1, start_factor=0.2, end_factor=1.0, total_iters=4, milestone=4, t_max=15, eta_min=0.0)
    peak = 0.3 * 20 - 1
    case("one_cycle", lambda o: S.OneCycleLR(o, 0.1, total_steps=20, pct_start=0.3, div_factor=25.0,
                                             final_div_factor=1e4, cycle_momentum=False),
         lambda t: cos(0.004, 0.1, t / peak) if t <= peak else cos(0.1, 4e-7, (t - peak) / (19 - peak)),
         lr=0.1, max_lr=0.1, total_steps=20, pct_start=0.3, div_factor=25.0, final_div_factor=1e4, anneal="cos")


def clipping():
    for name, max_norm, kind, scale in [("clips", 1.0, 2.0, 1.0), ("leaves", 100.0, 2.0, 1.0),
                                        ("infinity_norm", 0.5, float("inf"), 1.0), ("tiny", 1.0, 2.0, 1e-4)]:
        c = Case("clip_grad_norm", name, max_norm=max_norm, norm_type="inf" if math.isinf(kind) else kind,
                 eps=1e-6, inputs=3)
        ps = []
        for k, shape in enumerate([(3, 5), (7,), (2, 1, 3)]):
            g = c.normal(f"g{k}", shape, scale).detach()
            p = torch.zeros_like(g, requires_grad=True)
            p.grad = g.clone()
            ps.append(p)
        norm = torch.nn.utils.clip_grad_norm_(ps, max_norm, kind)
        c.put("norm", norm)
        for k, p in enumerate(ps):
            c.put(f"c{k}", p.grad)


def inits():
    init, said = torch.nn.init, {}
    # What the initialisers ask of the generator, rather than what one draw happened to be.
    uniform, normal = torch.Tensor.uniform_, torch.Tensor.normal_
    torch.Tensor.uniform_ = lambda t, a, b: said.update(bound=b, low=a) or t
    torch.Tensor.normal_ = lambda t, m, s: said.update(std=s, mean=m) or t
    try:
        for name, a in [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None), ("relu", None),
                        ("leaky_relu", 0.01), ("leaky_relu", 0.2), ("selu", None)]:
            Case("gain", name if a is None else f"{name}_{a}", nonlinearity=name, param=a,
                 gain=float(init.calculate_gain(name, a)))
        for name, shape in [("linear", (5, 7)), ("square", (16, 16)), ("conv", (8, 3, 3, 3)), ("depthwise", (6, 1, 5, 5)),
                            ("conv1d", (4, 6, 2))]:
            t = torch.empty(shape)
            fan_in, fan_out = init._calculate_fan_in_and_fan_out(t)
            Case("fan", name, shape=shape, fan_in=fan_in, fan_out=fan_out)
            for law, u, s, o in [
                ("kaiming", init.kaiming_uniform_, init.kaiming_normal_, {"mode": "fan_in", "nonlinearity": "relu", "a": 0}),
                ("kaiming", init.kaiming_uniform_, init.kaiming_normal_,
                 {"mode": "fan_out", "nonlinearity": "leaky_relu", "a": 0.2}),
                ("xavier", init.xavier_uniform_, init.xavier_normal_, {"gain": 1.0}),
                ("xavier", init.xavier_uniform_, init.xavier_normal_, {"gain": init.calculate_gain("tanh")}),
            ]:
                said.clear()
                u(t, **o), s(t, **o)
                assert said["low"] == -said["bound"] and said["mean"] == 0
                tag = o.get("nonlinearity") or ("plain" if o["gain"] == 1.0 else "tanh")
                Case(f"init_{law}", f"{name}_{tag}", shape=shape, **o, std=float(said["std"]), bound=float(said["bound"]))
    finally:
        torch.Tensor.uniform_, torch.Tensor.normal_ = uniform, normal


for part in [matmul, conv2d, pools, reductions, softmaxes, batch_norms, losses, moving, unary, hvps, optimisers,
             schedules, clipping, inits]:
    part()

save("torch")
