#!/usr/bin/env python3
"""Makes index.safetensors and index.json: choosing, scattering, sorting, scanning, arranging and summing up."""

import numpy as np
import torch

from recorder import Case, save


def unary(op, name, shape, f, scale=1.0, **options):
    """A case with the operand x alone."""
    c = Case(op, name, **options)
    x = c.normal("x", shape, scale)
    c.finish(f(x), {"x": x})


def apart(c, shape):
    """Numbers no two of which are near."""
    return c.given("x", (c.rng.permutation(int(np.prod(shape))).reshape(shape) - 0.4 * np.prod(shape)) / 4)


def indices():
    for name, shape, axis, chosen in [("rows", (5, 3), 0, (7, 3)), ("columns", (4, 6), 1, (4, 3)),
                                      ("middle", (2, 5, 3), 1, (2, 4, 3)), ("shorter", (4, 5, 3), 1, (2, 6, 2))]:
        c = Case("gather", name, axis=axis)
        x, idx = c.normal("x", shape), c.ints("idx", c.rng.integers(0, shape[axis], chosen))
        c.finish(x.gather(axis, idx), {"x": x})
    c = Case("take", "rows_by_2x3", axis=0)
    x, idx = c.normal("x", (5, 4)), c.ints("idx", c.rng.integers(0, 5, (2, 3)))
    c.finish(x[idx], {"x": x})
    for mode in ["sum", "mean", "amax", "amin", "prod"]:
        for name, shape, axis, chosen in [("rows", (5, 3), 0, (9, 3)), ("columns", (3, 4), 1, (2, 7))]:
            c = Case("scatter_reduce", f"{mode}_{name}", axis=axis, mode=mode)
            x, w = c.normal("x", shape), c.normal("w", chosen)
            idx = c.ints("idx", c.rng.integers(0, shape[axis], chosen))
            c.finish(x.scatter_reduce(axis, idx, w, mode), {"x": x, "w": w})
    c = Case("scatter", "replace", axis=1, mode="replace")
    x, w = c.normal("x", (3, 7)), c.normal("w", (3, 4))
    idx = c.ints("idx", np.stack([c.rng.permutation(7)[:4] for _ in range(3)]))
    c.finish(x.scatter(1, idx, w), {"x": x, "w": w})
    c = Case("one_hot", "3x4_of_5", classes=5)
    x, idx = c.normal("x", (3, 4)), c.ints("idx", c.rng.integers(0, 5, (3, 4)))
    c.finish(torch.nn.functional.one_hot(idx, 5) * x.unsqueeze(2), {"x": x})


def order():
    for name, shape, axis, falling in [("rows", (40, 2), 0, False), ("columns", (3, 33), 1, True)]:
        for op in ["sort", "argsort"]:
            c = Case(op, name, axis=axis, falling=falling)
            x = apart(c, shape)
            y, idx = x.sort(axis, descending=falling)
            c.finish(y, {"x": x}) if op == "sort" else c.put("y", idx)
    c = Case("argsort", "ties", axis=1, falling=False)
    x = c.given("x", c.rng.integers(-2, 3, (3, 70)))
    c.put("y", torch.sort(x, dim=1, stable=True)[1])
    for name, k, axis, largest in [("largest", 3, 1, True), ("smallest", 2, 0, False)]:
        c = Case("topk", name, k=k, axis=axis, largest=largest)
        x = apart(c, (6, 7))
        c.finish(x.topk(k, axis, largest)[0], {"x": x})


def scans():
    for name, shape, axis in [("rows", (7, 3), 0), ("columns", (2, 9), 1), ("long", (2, 130), 1)]:
        unary("cumsum", name, shape, lambda x: x.cumsum(axis), axis=axis)
    unary("cumprod", "rows", (6, 3), lambda x: x.cumprod(0), axis=0)
    unary("cumprod", "middle", (2, 5, 3), lambda x: x.cumprod(1), axis=1)
    c = Case("cumprod", "zeros", axis=1)
    x = c.given("x", [[2, 0, 3, 0, 5], [0, 1, 2, 3, 4], [1, -2, 3, 0, 1]])
    c.finish(x.cumprod(1), {"x": x})


def arranging():
    for diagonal in [0, 2, -1]:
        unary("tril", f"diagonal_{diagonal}", (2, 4, 5), lambda x: x.tril(diagonal), diagonal=diagonal)
        unary("triu", f"diagonal_{diagonal}", (5, 4), lambda x: x.triu(diagonal), diagonal=diagonal)
    unary("tile", "2x1x3", (2, 3, 2), lambda x: x.repeat(2, 1, 3), times=(2, 1, 3))
    unary("repeat_interleave", "3", (2, 3), lambda x: x.repeat_interleave(3, 1), times=3, axis=1)
    unary("flip", "both", (3, 4, 2), lambda x: x.flip(0, 2), axes=(0, 2))
    unary("roll", "back", (7, 2), lambda x: x.roll(-3, 0), shift=-3, axis=0)
    for name, equation, shapes in [("batched", "bij,bkj->bik", [(2, 3, 4), (2, 5, 4)]),
                                   ("three", "ij,jk,kl->il", [(3, 4), (4, 2), (2, 5)]),
                                   ("trace", "ii", [(4, 4)]),
                                   ("heads", "bhqd,bkhd->bhqk", [(2, 2, 3, 4), (2, 5, 2, 4)]),
                                   ("ellipsis", "...ij,...jk->...ik", [(2, 1, 3, 4), (3, 4, 2)]),
                                   ("bilinear", "bi,oij,bj->bo", [(3, 4), (2, 4, 5), (3, 5)])]:
        c = Case("einsum", name, equation=equation)
        leaves = {name: c.normal(name, shape) for name, shape in zip("uvx", shapes)}
        c.finish(torch.einsum(equation, *leaves.values()), leaves)


def sums():
    for p in [1, 2, 3, 1.5]:
        unary("norm", f"p{p}", (4, 5), lambda x: torch.linalg.vector_norm(x, p, 1), p=p, axes=(1,), keepdim=False)
    unary("norm", "all", (3, 4), lambda x: torch.linalg.vector_norm(x, 2), p=2, axes=(), keepdim=False)
    c = Case("norm", "inf", p=-1, axes=(0,), keepdim=True)
    x = apart(c, (5, 4))
    c.finish(torch.linalg.vector_norm(x, float("inf"), 0, True), {"x": x})
    unary("prod", "columns", (3, 5), lambda x: x.prod(1), axes=(1,), keepdim=False)
    c = Case("prod", "zeros", axes=(1,), keepdim=True)
    x = c.given("x", [[2, 0, 3], [0, 0, 4], [1, 2, 3]])
    c.finish(x.prod(1, True), {"x": x})
    for op, f in [("amin", torch.amin), ("argmin", torch.argmin)]:
        c = Case(op, "columns", axes=(1,), axis=1, keepdim=False)
        x = apart(c, (4, 7))
        c.finish(f(x, 1), {"x": x}) if op == "amin" else c.put("y", f(x, 1))
    for correction in [0, 1]:
        for op, f in [("var", torch.var), ("std", torch.std)]:
            g = lambda x: f(x, (0, 2), unbiased=bool(correction), keepdim=True)
            unary(op, f"correction_{correction}", (3, 4, 5), g, axes=(0, 2), correction=correction, keepdim=True)
    c = Case("var", "far_from_zero", axes=(1,), correction=1, keepdim=False)
    x = c.normal("x", (3, 33), 1.0, 1e4)
    c.finish(x.var(1), {"x": x})
    unary("logsumexp", "columns", (3, 7), lambda x: x.logsumexp(1), axes=(1,), keepdim=False)
    unary("logsumexp", "steep", (2, 3, 4), lambda x: x.logsumexp((0, 2), True), 100.0, axes=(0, 2), keepdim=True)


for part in [indices, order, scans, arranging, sums]:
    part()
save("index")
