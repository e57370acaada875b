#!/usr/bin/env python3
"""Makes training.safetensors and training.json: norms, losses, optimisers and schedules as PyTorch computes
them, and by their formulas where this PyTorch has none.

Conventions are those of make_torch.py; see README.md.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from recorder import Case, direction_check, save

LAW = "L = sum(dy * y*y) / 2; g = dL/dx; hv = d(sum(g*v))/dx; hw, hb = d(sum(g*v))/dw, /db"


# ---------------------------------------------------------------- norms

def rms(x, axes, w, eps):
    y = x * (x.square().mean(tuple(range(-axes, 0)), keepdim=True) + eps).rsqrt()
    return y if w is None else y * w


def norms():
    def affine(c, shape, scale, shift):
        leaves = {}
        if scale:
            leaves["w"] = c.normal("w", shape, 0.3, 1.0)
        if shift:
            leaves["b"] = c.normal("b", shape)
        return leaves

    def layer(name, shape, axes=1, eps=1e-5, scale=True, shift=True, size=1.0, mean=0.0):
        c = Case("layer_norm", name, axes=axes, eps=eps)
        row = shape[-axes:]
        leaves = {"x": c.normal("x", shape, size, mean), **affine(c, row, scale, shift)}
        c.finish(F.layer_norm(leaves["x"], row, leaves.get("w"), leaves.get("b"), eps), leaves)
    layer("rows", (5, 7))
    layer("rank4", (2, 3, 4, 9))
    layer("two_axes", (3, 4, 5), axes=2)
    layer("all_axes", (3, 4), axes=2)
    layer("plain", (4, 33), scale=False, shift=False)
    layer("scale_alone", (4, 6), shift=False)
    layer("large_mean", (4, 12), mean=1e4)
    layer("small_deviation", (4, 12), size=1e-3, eps=1e-6)

    def root(name, shape, axes=1, eps=1e-6, scale=True, size=1.0, mean=0.0):
        c = Case("rms_norm", name, axes=axes, eps=eps)
        leaves = {"x": c.normal("x", shape, size, mean), **affine(c, shape[-axes:], scale, False)}
        c.finish(rms(leaves["x"], axes, leaves.get("w"), eps), leaves)
    root("rows", (5, 7))
    root("rank3", (2, 3, 17))
    root("two_axes", (3, 4, 5), axes=2)
    root("plain", (4, 33), scale=False)
    root("large_mean", (4, 12), mean=1e3)

    def group(name, shape, groups, eps=1e-5, scale=True, shift=True, mean=0.0):
        c = Case("group_norm", name, groups=groups, eps=eps)
        leaves = {"x": c.normal("x", shape, 1.0, mean), **affine(c, shape[1:2], scale, shift)}
        c.finish(F.group_norm(leaves["x"], groups, leaves.get("w"), leaves.get("b"), eps), leaves)
    group("images", (2, 6, 3, 4), 3)
    group("one_group", (3, 4, 5), 1)
    group("as_many", (2, 4, 6), 4)
    group("rank2", (5, 6), 2)
    group("volumes", (2, 4, 2, 3, 2), 2)
    group("plain", (2, 6, 3, 4), 2, scale=False, shift=False)
    group("large_mean", (2, 4, 3, 5), 2, mean=1e4)

    def instance(name, shape, eps=1e-5, scale=True):
        c = Case("instance_norm", name, eps=eps)
        leaves = {"x": c.normal("x", shape), **affine(c, shape[1:2], scale, scale)}
        y = F.instance_norm(leaves["x"], None, None, leaves.get("w"), leaves.get("b"), True, 0.1, eps)
        c.finish(y, leaves)
    instance("sequences", (2, 3, 7))
    instance("images", (2, 3, 4, 5))
    instance("volumes", (2, 2, 2, 3, 4))
    instance("plain", (3, 2, 9), scale=False)

    def batch(name, shape):
        c = Case("batch_norm_train", name, eps=1e-5, momentum=0.1, affine=True)
        n = shape[1]
        leaves = {"x": c.normal("x", shape), "w": c.normal("w", n, 0.3, 1.0), "b": c.normal("b", n)}
        rm, rv = c.normal("rm0", n).detach(), c.uniform("rv0", n, 0.5, 2.0).detach()
        y = F.batch_norm(leaves["x"], rm, rv, leaves["w"], leaves["b"], True, 0.1, 1e-5)
        axes = [a for a in range(len(shape)) if a != 1]
        c.put("mean", leaves["x"].mean(axes)), c.put("var", leaves["x"].var(axes, unbiased=False))
        c.put("rm", rm), c.put("rv", rv)
        c.finish(y, leaves)
    batch("rank3", (4, 3, 5))
    batch("rank5", (2, 3, 2, 3, 2))


def hvps():
    def case(op, name, shape, vector, f, **options):
        c = Case("hvp_" + op, name, law=LAW, **options)
        leaves = {"x": c.normal("x", shape), "w": c.normal("w", vector, 0.3, 1.0)}
        if op != "rms_norm":
            leaves["b"] = c.normal("b", vector)
        y = f(**leaves)
        c.put("y", y)
        dy = c.normal("dy", tuple(y.shape)).detach()
        x = leaves["x"]
        (g,) = torch.autograd.grad((dy * y * y).sum() / 2, x, create_graph=True)
        c.put("g", g)
        v = c.normal("v", shape).detach()
        found = torch.autograd.grad((g * v).sum(), list(leaves.values()))
        for leaf, h in zip(leaves, found):
            c.put("hv" if leaf == "x" else "h" + leaf, h)
        def grad_of(at):
            at = at.clone().requires_grad_()
            return torch.autograd.grad((dy * f(**{**leaves, "x": at}) ** 2).sum() / 2, at)[0]
        direction_check(grad_of, x, v, found[0], c.key)
    case("layer_norm", "rows", (3, 6), (6,), lambda x, w, b: F.layer_norm(x, (6,), w, b, 1e-5), axes=1, eps=1e-5)
    case("rms_norm", "rows", (3, 6), (6,), lambda x, w: rms(x, 1, w, 1e-5), axes=1, eps=1e-5)
    case("group_norm", "images", (2, 4, 2, 3), (4,), lambda x, w, b: F.group_norm(x, 2, w, b, 1e-5), groups=2, eps=1e-5)
    case("instance_norm", "sequences", (2, 3, 5), (3,),
         lambda x, w, b: F.instance_norm(x, None, None, w, b, True, 0.1, 1e-5), eps=1e-5)


# ---------------------------------------------------------------- losses

def classes():
    def case(name, shape, reduction="mean", smoothing=0.0, weights=False, ignore=None, op="cross_entropy_by"):
        c = Case(op, name, reduction=reduction, label_smoothing=smoothing, ignore_index=ignore)
        x = c.normal("x", shape, 2.0)
        labels = c.rng.integers(0, shape[-1], shape[:-1])
        if ignore is not None and not 0 <= ignore < shape[-1]:
            labels.ravel()[::3] = ignore
        t = c.ints("t", labels)
        w = c.uniform("w", shape[-1], 0.5, 2.0).detach() if weights else None
        flat = x.reshape(-1, shape[-1])
        options = dict(weight=w, reduction=reduction, ignore_index=-100 if ignore is None else ignore)
        if op == "nll_loss":
            y = F.nll_loss(flat, t.flatten(), **options)
        else:
            y = F.cross_entropy(flat, t.flatten(), label_smoothing=smoothing, **options)
        c.finish(y.reshape(shape[:-1]) if reduction == "none" else y, {"x": x})
    for reduction in ["mean", "sum", "none"]:
        case(f"smooth_{reduction}", (7, 5), reduction, smoothing=0.1)
        case(f"weights_{reduction}", (7, 5), reduction, weights=True)
        case(f"ignore_{reduction}", (9, 4), reduction, ignore=-100)
    case("ignore_class", (12, 3), ignore=1)
    case("rank3", (2, 3, 4))
    case("smooth_weights", (8, 6), smoothing=0.2, weights=True)
    case("weights_ignore", (9, 4), weights=True, ignore=-1)
    case("smooth_ignore", (9, 4), smoothing=0.1, ignore=-100)
    case("everything", (9, 4), smoothing=0.1, weights=True, ignore=-100)
    for reduction in ["mean", "sum"]:
        case(f"weights_{reduction}", (7, 5), reduction, weights=True, op="nll_loss")
    case("ignore", (9, 4), ignore=-100, op="nll_loss")

    def probable(name, shape, reduction, smoothing=0.0, weights=False):
        c = Case("cross_entropy_probabilities", name, reduction=reduction, label_smoothing=smoothing)
        x, t = c.normal("x", shape, 2.0), c.given("p", c.rng.dirichlet(np.ones(shape[-1]), shape[:-1]))
        w = c.uniform("w", shape[-1], 0.5, 2.0).detach() if weights else None
        y = F.cross_entropy(x, t, weight=w, reduction=reduction, label_smoothing=smoothing)
        c.finish(y, {"x": x, "p": t})
    for reduction in ["mean", "sum", "none"]:
        probable(reduction, (6, 5), reduction)
    probable("all", (6, 5), "mean", 0.1, True)

    for reduction in ["mean", "sum", "none"]:
        c = Case("multi_margin_loss", reduction, reduction=reduction, margin=0.7)
        x, t = c.normal("x", (8, 5)), c.ints("t", c.rng.integers(0, 5, 8))
        c.finish(F.multi_margin_loss(x, t, margin=0.7, reduction=reduction), {"x": x})


def pairs():
    def case(op, name, fn, shape=(4, 6), low=None, high=None, given=None, reductions=("mean", "sum", "none"), **options):
        for reduction in reductions:
            c = Case(op, f"{name}_{reduction}", reduction=reduction, **options)
            x = c.normal("x", shape, 2.0)
            leaves = {"x": x}
            if given is None:
                t = c.normal("t", shape, 2.0) if low is None else c.uniform("t", shape, low, high)
                leaves["t"] = t
            else:
                t = c.given("t", given(c, shape)).detach()
            c.finish(fn(x, t, reduction=reduction, **options), leaves)
    signs = lambda c, shape: c.rng.integers(0, 2, shape) * 2.0 - 1.0
    case("bce_with_logits", "plain", F.binary_cross_entropy_with_logits, low=0.0, high=1.0)
    case("mse_loss", "plain", F.mse_loss)
    case("l1_loss", "plain", F.l1_loss)
    case("huber_loss", "delta", F.huber_loss, delta=1.5)
    case("smooth_l1_loss", "beta", F.smooth_l1_loss, beta=0.5)
    case("kl_div", "plain", lambda x, t, **o: F.kl_div(x, t, **o), low=0.05, high=1.0)
    case("kl_div_log", "plain", lambda x, t, **o: F.kl_div(x, t, log_target=True, **o))
    case("hinge_embedding_loss", "margin", F.hinge_embedding_loss, given=signs, margin=1.3)
    case("hinge_loss", "formula", lambda x, t, margin, reduction: {
        "mean": torch.mean, "sum": torch.sum, "none": lambda v: v}[reduction]((margin - t * x).clamp(min=0)),
        given=signs, margin=1.0)

    c = Case("bce_with_logits", "positives", reduction="mean")
    x, t, w = c.normal("x", (4, 6), 3.0), c.uniform("t", (4, 6), 0.0, 1.0), c.uniform("w", 6, 0.5, 4.0).detach()
    c.finish(F.binary_cross_entropy_with_logits(x, t, pos_weight=w), {"x": x, "t": t})

    for reduction in ["mean", "sum", "none"]:
        c = Case("cosine_embedding_loss", reduction, reduction=reduction, margin=0.1)
        x, w = c.normal("x", (6, 5)), c.normal("w", (6, 5))
        t = c.given("t", signs(c, 6)).detach()
        c.finish(F.cosine_embedding_loss(x, w, t, margin=0.1, reduction=reduction), {"x": x, "w": w})
        c = Case("margin_ranking_loss", reduction, reduction=reduction, margin=0.2)
        x, w = c.normal("x", 7), c.normal("w", 7)
        t = c.given("t", signs(c, 7)).detach()
        c.finish(F.margin_ranking_loss(x, w, t, margin=0.2, reduction=reduction), {"x": x, "w": w})
        for swap in [False, True]:
            c = Case("triplet_margin_loss", f"{reduction}{'_swap' if swap else ''}",
                     reduction=reduction, margin=1.0, swap=swap)
            x, w, b = c.normal("x", (6, 5)), c.normal("w", (6, 5)), c.normal("b", (6, 5))
            c.finish(F.triplet_margin_loss(x, w, b, margin=1.0, swap=swap, reduction=reduction),
                     {"x": x, "w": w, "b": b})


def ctc():
    """Gradients are those of logits: PyTorch's with respect to log_probs contain a part of log_softmax's."""
    def case(name, shape, lengths, inputs=None, reduction="mean", blank=0, zero_infinity=False, repeats=False):
        T, N, C = shape
        inputs = inputs or [T] * N
        c = Case("ctc_loss", name, reduction=reduction, blank=blank, zero_infinity=zero_infinity,
                 input_lengths=inputs, target_lengths=lengths)
        x = c.normal("x", shape, 1.5)
        labels = np.array([k for k in range(C) if k != blank])
        targets = c.rng.choice(labels[:1] if repeats else labels, (N, max(max(lengths), 1)))
        t = c.ints("t", targets)
        y = F.ctc_loss(F.log_softmax(x, -1), t, torch.tensor(inputs), torch.tensor(lengths), blank=blank,
                       reduction=reduction, zero_infinity=zero_infinity)
        c.finish(y, {"x": x})
    for reduction in ["mean", "sum", "none"]:
        case(reduction, (8, 3, 5), [3, 1, 2], reduction=reduction)
    case("ragged", (9, 3, 4), [2, 4, 1], inputs=[9, 7, 4], reduction="none")
    case("repeats", (7, 2, 3), [3, 2], reduction="none", repeats=True)
    case("blank_last", (6, 2, 4), [2, 3], blank=3)
    case("no_labels", (5, 3, 4), [0, 2, 1], reduction="none")
    case("zero_infinity", (6, 3, 4), [2, 3, 1], inputs=[6, 2, 6], zero_infinity=True)
    case("sixty", (60, 4, 12), [20, 13, 5, 24], inputs=[60, 47, 60, 55], reduction="none")


# ---------------------------------------------------------------- optimisers and schedules

class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2."""
    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            for p in o["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                (b1, b2), g = o["betas"], p.grad
                p.mul_(1 - o["lr"] * o["weight_decay"]).sub_(o["lr"] * torch.sign(b1 * m + (1 - b1) * g))
                m.mul_(b2).add_((1 - b2) * g)


class Lamb(torch.optim.Optimizer):
    """You et al. 2020, algorithm 2, with φ(z) = z."""
    def __init__(self, params, lr, betas, eps, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            for p in o["params"]:
                s, (b1, b2), g = self.state[p], o["betas"], p.grad
                if not s:
                    s.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                s["t"] += 1
                s["m"].mul_(b1).add_((1 - b1) * g)
                s["v"].mul_(b2).add_((1 - b2) * g * g)
                m, v = s["m"] / (1 - b1 ** s["t"]), s["v"] / (1 - b2 ** s["t"])
                r = m / (v.sqrt() + o["eps"]) + o["weight_decay"] * p
                p.sub_(o["lr"] * p.norm() / r.norm() * r)


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024, for matrices, with Nesterov's momentum and decoupled weight decay."""
    def __init__(self, params, lr, momentum, weight_decay):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            for p in o["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.mul_(o["momentum"]).add_(p.grad)
                x = (p.grad + o["momentum"] * m).flatten(1)
                tall = x.shape[0] > x.shape[1]
                scale = math.sqrt(max(1.0, x.shape[0] / x.shape[1]))
                x = x.T if tall else x
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                x = (x.T if tall else x).reshape(p.shape)
                p.mul_(1 - o["lr"] * o["weight_decay"]).sub_(o["lr"] * scale * x)


def optimisers():
    steps = 50
    def draw(c, shape):
        p = c.normal("p0", shape).detach().clone().requires_grad_()
        # Gradients of a quadratic seen through noise; of a vector one always zero, one tiny, one large.
        size = np.array([1.0, 0.3, 0.0, 1e-6, 100.0, 1.0, 3.0]) if shape == (7,) else 1.0
        fall = np.linspace(1.0, -0.4, steps).reshape((steps,) + (1,) * len(shape))
        return p, c.given("G", size * (fall + 0.5 * c.rng.standard_normal((steps,) + shape))).detach()
    def case(op, name, make, shape=(7,), **options):
        c = Case(op, name, **options)
        p, grads = draw(c, shape)
        opt = make([p], **options)
        trail = []
        for row in grads:
            p.grad = row.clone()
            opt.step()
            trail.append(p.detach().clone())
        c.put("P", torch.stack(trail))
    O = torch.optim
    rms = dict(lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False)
    case("rmsprop", "plain", O.RMSprop, **rms)
    case("rmsprop", "centred", O.RMSprop, **{**rms, "centered": True, "eps": 1e-4})
    case("rmsprop", "momentum", O.RMSprop, **{**rms, "momentum": 0.9, "alpha": 0.9})
    case("rmsprop", "all", O.RMSprop, **{**rms, "momentum": 0.5, "centered": True, "weight_decay": 0.1, "eps": 1e-4})
    ada = dict(lr=0.1, lr_decay=0.0, weight_decay=0.0, eps=1e-10)
    case("adagrad", "plain", O.Adagrad, **ada)
    case("adagrad", "decays", O.Adagrad, **{**ada, "lr_decay": 0.05, "weight_decay": 0.1})
    delta = dict(lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0)
    case("adadelta", "plain", O.Adadelta, **delta)
    case("adadelta", "decay", O.Adadelta, **{**delta, "lr": 0.5, "rho": 0.8, "weight_decay": 0.1})
    case("lion", "plain", Lion, lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    case("lion", "decay", Lion, lr=0.003, betas=(0.8, 0.95), weight_decay=0.3)
    lamb = dict(lr=0.01, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0)
    case("lamb", "plain", Lamb, **lamb)
    case("lamb", "decay", Lamb, shape=(3, 4), **{**lamb, "weight_decay": 0.1})
    muon = dict(lr=0.02, momentum=0.95, weight_decay=0.0)
    case("muon", "wide", Muon, shape=(3, 5), **muon)
    case("muon", "tall", Muon, shape=(6, 2), **{**muon, "weight_decay": 0.1})
    case("muon", "kernel", Muon, shape=(4, 2, 1, 3), **muon)
    adam = dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    case("sgd", "fifty", O.SGD, lr=0.05, momentum=0.9, dampening=0.0, nesterov=True, weight_decay=0.01)
    case("adam", "fifty", O.Adam, **{**adam, "weight_decay": 0.1})
    case("adamw", "fifty", O.AdamW, **{**adam, "weight_decay": 0.1})

    # Two groups: the second with a learning rate and a weight decay of its own.
    for op, make, options in [("sgd", O.SGD, dict(lr=0.05, momentum=0.9)), ("adamw", O.AdamW, adam),
                              ("rmsprop", O.RMSprop, dict(lr=0.01, alpha=0.99, eps=1e-8))]:
        c = Case(f"{op}_groups", "two", factor=0.1, weight_decay=0.2, **{k: v for k, v in options.items() if k != "weight_decay"})
        p, grads = draw(c, (7,))
        q = p.detach().clone().requires_grad_()
        options = {k: v for k, v in options.items() if k != "weight_decay"}
        opt = make([{"params": [p], "weight_decay": 0.0},
                    {"params": [q], "lr": options["lr"] * 0.1, "weight_decay": 0.2}], **options)
        trails = [], []
        for row in grads:
            for one, trail in zip((p, q), trails):
                one.grad = row.clone()
            opt.step()
            for one, trail in zip((p, q), trails):
                trail.append(one.detach().clone())
        c.put("P", torch.stack(trails[0])), c.put("Q", torch.stack(trails[1]))


def plateaus():
    def case(name, values, mode="min", **options):
        c = Case("plateau", name, lr=0.1, mode=mode, **options)
        opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        watch = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, mode=mode, **options)
        rates = []
        for value in values:
            watch.step(value)
            rates.append(opt.param_groups[0]["lr"])
        c.entry["options"]["metrics"], c.entry["options"]["values"] = [float(v) for v in values], rates
    plain = dict(factor=0.5, patience=2, threshold=1e-4, cooldown=0, min_lr=0.0)
    falling = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.5, 0.50001, 0.5, 0.5, 0.49, 0.49, 0.49, 0.49, 0.49, 0.49]
    case("falls", falling, **plain)
    case("cooldown", falling, **{**plain, "patience": 1, "cooldown": 3, "threshold": 0.1})
    case("rises", [1.0 - v for v in falling], mode="max", **{**plain, "min_lr": 0.03})


for part in [norms, hvps, classes, pairs, ctc, optimisers, plateaus]:
    part()
save("training")
