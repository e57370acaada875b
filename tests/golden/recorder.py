"""What the scripts here share: a case that draws its inputs and records tensors, and the two files it ends in.

Inputs, cotangents and directions are float32; everything PyTorch computes from them is computed and
stored in float64. The random numbers of a case depend only on its name. README.md has the conventions.
"""

import json
import math
import pathlib
import warnings
import zlib

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
warnings.filterwarnings("ignore")

tensors, cases = {}, []


class Case:
    """One case: draws its inputs and records tensors in the order they are put."""

    def __init__(self, op, case, **options):
        self.key = f"{op}/{case}"
        assert all(f"{c['op']}/{c['case']}" != self.key for c in cases), self.key
        self.rng = np.random.default_rng(zlib.crc32(self.key.encode()))
        self.entry = {"op": op, "case": case, "options": options, "tensors": []}
        cases.append(self.entry)

    def put(self, what, value):
        """Stores an output: float64, or int32."""
        a = value.detach().numpy() if torch.is_tensor(value) else np.asarray(value)
        a = a.astype(np.float64 if a.dtype.kind == "f" else np.int32)
        self._store(what, a)

    def _store(self, what, a):
        tensors[f"{self.key}/{what}"] = np.array(a, order="C")  # keeps rank 0
        self.entry["tensors"].append(what)

    def given(self, what, a):
        """Stores float32 values and returns them as a float64 leaf."""
        a = np.asarray(a, dtype=np.float32)
        self._store(what, a)
        return torch.tensor(a.astype(np.float64), requires_grad=True)

    def normal(self, what, shape, scale=1.0, shift=0.0):
        return self.given(what, shift + scale * self.rng.standard_normal(shape))

    def uniform(self, what, shape, low, high):
        return self.given(what, self.rng.uniform(low, high, shape))

    def loguniform(self, what, shape, low, high):
        return self.given(what, np.exp(self.rng.uniform(math.log(low), math.log(high), shape)))

    def ints(self, what, a):
        self._store(what, np.asarray(a, dtype=np.int32))
        return torch.tensor(np.asarray(a), dtype=torch.int64)

    def finish(self, y, leaves):
        """Stores y, a random cotangent dy, and d<name> for every leaf."""
        self.put("y", y)
        dy = self.normal("dy", tuple(y.shape))
        grads = torch.autograd.grad(y, list(leaves.values()), dy.detach(), create_graph=True)
        for name, g in zip(leaves, grads):
            self.put("d" + name, g)
        return dy, grads


def direction_check(grad_of, x, v, hv, key):
    """hv against the central difference of the gradient, Richardson-extrapolated."""
    h = 1e-4 / max(1.0, v.detach().abs().max().item())
    def diff(h):
        return (grad_of(x.detach() + h * v) - grad_of(x.detach() - h * v)) / (2 * h)
    fd = (4 * diff(h / 2) - diff(h)) / 3
    err = (fd - hv).abs().max().item()
    size = max(hv.abs().max().item(), grad_of(x.detach()).abs().max().item(), 1e-12)
    assert err <= 1e-6 * size, (key, err, size)


def save(name):
    """Writes <name>.json and <name>.safetensors beside this script and says what is in them."""
    save_file(tensors, HERE / f"{name}.safetensors")
    with open(HERE / f"{name}.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, allow_nan=False) for c in cases) + "\n]\n")
    ops = {}
    for c in cases:
        ops[c["op"]] = ops.get(c["op"], 0) + 1
    print(len(cases), "cases,", len(tensors), "tensors;", ", ".join(f"{k} {v}" for k, v in ops.items()))
    print(*(f"{p.name} {p.stat().st_size}" for p in sorted(HERE.glob(f"{name}.*"))))
    print("torch", torch.__version__, "numpy", np.__version__)
