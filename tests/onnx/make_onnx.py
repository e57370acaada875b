#!/usr/bin/env python3
"""Collects ONNX's node tests for the operators that gradus has, as cases.json.gz and tensors.safetensors.gz.

    pip install onnx==1.22.0 safetensors==0.8.0
    python3 make_onnx.py

A case is one node with its attributes, given inputs and expected outputs, as the `onnx` package ships them.
Tensors are stored once each under the first 16 hexadecimal digits of the SHA-256 of their bytes, type and shape,
since many cases share their inputs. Two runs write the same bytes.
"""

import gzip
import hashlib
import json
import os

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save

FOLDER = os.path.dirname(os.path.abspath(__file__))
CASES = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data/node")

OPERATORS = """
Abs Add ArgMax ArgMin Attention AveragePool BatchNormalization Celu Clip Col2Im Concat Conv ConvTranspose Cos
CumProd CumSum DepthToSpace Div Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND Gelu
Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
InstanceNormalization LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul
Max MaxPool MaxUnpool Mean Min Mish Mul Neg NegativeLogLikelihoodLoss OneHot PRelu Pad Pow RMSNormalization RNN
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize RotaryEmbedding ScatterElements ScatterND Selu Sigmoid Sign Sin Slice Softmax
SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile TopK
Transpose Trilu Unsqueeze Where Adagrad Adam Momentum
""".split()


def plain(value):
    """An attribute as JSON has it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(np.float32(value))
    return value


class Tensors:
    def __init__(self):
        self.stored = {}

    def add(self, array):
        array = np.array(array, order="C")
        text = f"{array.dtype} {array.shape}".encode()
        name = hashlib.sha256(text + array.tobytes()).hexdigest()[:16]
        self.stored[name] = array
        return name


def read(path):
    with open(path, "rb") as file:
        return numpy_helper.to_array(onnx.load_tensor(file))


def main():
    tensors, cases, left = Tensors(), [], {}
    for name in sorted(os.listdir(CASES)):
        model = onnx.load(os.path.join(CASES, name, "model.onnx"))
        nodes = model.graph.node
        if len(nodes) != 1 or "_expanded" in name or nodes[0].op_type not in OPERATORS:
            continue
        node = nodes[0]
        try:
            given = {i.name: None for i in model.graph.input}
            for index, i in enumerate(model.graph.input):
                given[i.name] = read(os.path.join(CASES, name, "test_data_set_0", f"input_{index}.pb"))
            expected = {}
            for index, o in enumerate(model.graph.output):
                expected[o.name] = read(os.path.join(CASES, name, "test_data_set_0", f"output_{index}.pb"))
            arrays = list(given.values()) + list(expected.values())
            types = {str(a.dtype) for a in arrays}
            known = {"float16", "float32", "float64", "int32", "int64", "bool", "uint8", "int8", "uint64"}
            if types - known:
                left[name] = f"holds {', '.join(sorted(types - known))}"
                continue
            attributes = {a.name: plain(onnx.helper.get_attribute_value(a)) for a in node.attribute}
        except Exception as error:  # a sequence or an optional instead of a tensor
            left[name] = str(error).splitlines()[0]
            continue
        cases.append(
            {
                "name": name.removeprefix("test_"),
                "op": node.op_type,
                "version": model.opset_import[0].version,
                "attributes": attributes,
                "inputs": [tensors.add(given[i]) if i else None for i in node.input],
                "outputs": [tensors.add(expected[o]) if o else None for o in node.output],
            }
        )
    put("cases.json.gz", json.dumps(cases, separators=(",", ":"), sort_keys=True).encode())
    put("tensors.safetensors.gz", save(tensors.stored))
    print(f"{len(cases)} cases, {len(tensors.stored)} tensors")
    for name, why in left.items():
        print(f"left out: {name}: {why}")


def put(name, data):
    path = os.path.join(FOLDER, name)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(data)
    print(f"{name}: {os.path.getsize(path)} bytes")


main()
