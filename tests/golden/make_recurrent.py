#!/usr/bin/env python3
"""Makes recurrent.safetensors and recurrent.json: what PyTorch's RNN, LSTM and GRU compute, and Cholesky factors and
triangular solves. Inputs are float32; everything computed from them is float64. README.md has the conventions.

Every option of the recurrent layers that gradus has is covered: tanh and relu, biases, several layers, both directions,
batch first, initial states, sequences of their own lengths (packed). Each case stores the outputs, the final states,
and the gradients of input, initial states and all parameters for random cotangents of all outputs.
"""

import json
import pathlib
import zlib

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = pathlib.Path(__file__).resolve().parent
torch.set_num_threads(1)
tensors, cases = {}, []


class Case:
    def __init__(self, op, case, **options):
        self.key = f"{op}/{case}"
        assert all(f"{c['op']}/{c['case']}" != self.key for c in cases), self.key
        self.rng = np.random.default_rng(zlib.crc32(self.key.encode()))
        self.entry = {"op": op, "case": case, "options": options, "tensors": []}
        cases.append(self.entry)

    def store(self, what, a):
        tensors[f"{self.key}/{what}"] = np.array(a, order="C")
        self.entry["tensors"].append(what)

    def given(self, what, shape, reach=1.0):
        a = self.rng.uniform(-reach, reach, shape).astype(np.float32)
        self.store(what, a)
        return torch.tensor(a.astype(np.float64), requires_grad=True)

    def put(self, what, value):
        self.store(what, value.detach().numpy().astype(np.float64))


def backward(c, outputs, leaves):
    """Stores the outputs, a cotangent of each, and the gradients of the leaves."""
    total = 0
    for name, value in outputs.items():
        c.put(name, value)
        total = total + (value * c.given("w" + name, tuple(value.shape)).detach()).sum()
    for name, g in zip(leaves, torch.autograd.grad(total, list(leaves.values()))):
        c.put("d" + name, g)


def layer(kind, name, T=4, B=3, I=2, H=3, layers=1, bias=True, batch_first=False, bidirectional=False,
          state=True, lengths=None, nonlinearity="tanh"):
    c = Case(kind, name, layers=layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional, hidden=H,
             nonlinearity=nonlinearity)
    options = dict(num_layers=layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
    if kind == "rnn":
        options["nonlinearity"] = nonlinearity
    module = dict(rnn=torch.nn.RNN, lstm=torch.nn.LSTM, gru=torch.nn.GRU)[kind](I, H, **options).double()
    leaves = {"x": c.given("x", (B, T, I) if batch_first else (T, B, I), 2.0)}
    ways = 2 if bidirectional else 1
    states = ["h", "c"] if kind == "lstm" else ["h"]
    if state:
        for s in states:
            leaves[s + "0"] = c.given(s + "0", (layers * ways, B, H))
    if lengths is not None:
        c.store("lengths", np.asarray(lengths, np.int32))
    for path, p in list(module.named_parameters()):
        leaves[path] = c.given(path, tuple(p.shape), 0.8)
    x = leaves["x"]
    packed = x if lengths is None else pack_padded_sequence(x, torch.tensor(lengths), batch_first, enforce_sorted=False)
    given = [packed]
    if state:
        h0 = tuple(leaves[s + "0"] for s in states)
        given.append(h0 if kind == "lstm" else h0[0])
    parameters = {path: leaves[path] for path, _ in module.named_parameters()}
    # The leaves take the place of the module's own parameters.
    for path, value in parameters.items():
        delattr(module, path)
        setattr(module, path, value)
    module._flat_weights = [parameters[path] for path in module._flat_weights_names]
    y, last = module(*given)
    if lengths is not None:
        y, _ = pad_packed_sequence(y, batch_first, total_length=T)
    last = last if kind == "lstm" else (last,)
    backward(c, {"y": y, **{s + "n": v for s, v in zip(states, last)}}, leaves)


def cell(kind, nonlinearity="tanh"):
    B, I, H = 3, 2, 4
    c = Case(kind + "_cell", nonlinearity, hidden=H, nonlinearity=nonlinearity)
    options = {"nonlinearity": nonlinearity} if kind == "rnn" else {}
    module = dict(rnn=torch.nn.RNNCell, lstm=torch.nn.LSTMCell, gru=torch.nn.GRUCell)[kind](I, H, **options).double()
    states = ["h", "c"] if kind == "lstm" else ["h"]
    leaves = {"x": c.given("x", (B, I), 2.0)}
    for s in states:
        leaves[s + "0"] = c.given(s + "0", (B, H))
    for path, p in list(module.named_parameters()):
        leaves[path] = c.given(path, tuple(p.shape), 0.8)
        delattr(module, path)
        setattr(module, path, leaves[path])
    h0 = tuple(leaves[s + "0"] for s in states)
    last = module(leaves["x"], h0 if kind == "lstm" else h0[0])
    last = last if kind == "lstm" else (last,)
    backward(c, {s + "n": v for s, v in zip(states, last)}, leaves)


KINDS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
for kind, f in KINDS:
    n = (f + " ") if kind == "rnn" else ""
    layer(kind, n + "plain", nonlinearity=f)
    layer(kind, n + "no bias", bias=False, nonlinearity=f)
    layer(kind, n + "no state", state=False, nonlinearity=f)
    layer(kind, n + "batch first", batch_first=True, nonlinearity=f)
    layer(kind, n + "two layers", T=3, layers=2, nonlinearity=f)
    layer(kind, n + "bidirectional", bidirectional=True, nonlinearity=f)
    layer(kind, n + "lengths", lengths=[2, 4, 1], nonlinearity=f)
    layer(kind, n + "all options", T=3, layers=2, batch_first=True, bidirectional=True, lengths=[3, 1, 2], nonlinearity=f)
    layer(kind, n + "one of each", T=1, B=1, I=1, H=1, nonlinearity=f)
    layer(kind, n + "wide", T=2, B=9, I=1, H=17, nonlinearity=f)
    cell(kind, f)


def solve(name, n, m, upper, transpose):
    c = Case("triangular_solve", name, upper=upper, transpose=transpose)
    t, b = c.given("t", (2, n, n), 0.3), c.given("b", (2, n, m))
    full = t + 1.5 * torch.eye(n)
    op = full.transpose(-1, -2) if transpose else full
    x = torch.linalg.solve_triangular(op.triu() if upper != transpose else op.tril(), b, upper=upper != transpose)
    backward(c, {"y": x}, {"t": t, "b": b})


for upper in (False, True):
    for transpose in (False, True):
        solve(f"{'upper' if upper else 'lower'}{' transposed' if transpose else ''}", 5, 3, upper, transpose)
for n in (1, 4, 9):
    c = Case("cholesky", str(n))
    x = c.given("x", (2, n, n), 0.25)
    a = x + x.transpose(-1, -2) + (1 + 0.5 * n) * torch.eye(n)
    backward(c, {"y": torch.linalg.cholesky(a)}, {"x": x})
    c = Case("cholesky_solve", str(n))
    x, b = c.given("x", (2, n, n), 0.25), c.given("b", (2, n, 2))
    a = x + x.transpose(-1, -2) + (1 + 0.5 * n) * torch.eye(n)
    backward(c, {"y": torch.cholesky_solve(b, torch.linalg.cholesky(a))}, {"x": x, "b": b})

save_file(tensors, HERE / "recurrent.safetensors")
lines = ",\n".join(json.dumps(c) for c in cases)
(HERE / "recurrent.json").write_text("[\n" + lines + "\n]\n")
print(len(cases), "cases,", len(tensors), "tensors")
