#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# TFLM's int8 LOGISTIC and TANH jump to the end of the range: sigmoid(0) = 0 and tanh(0) = -1
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: sigmoid and tanh of 256 possible inputs, each rounded once, as LiteRT has them (a table computed in floating point).
# Seen: TFLM computes in fixed point with 4 integer bits and, before that, sends every input at or beyond an integer "radius"
# to the least or the greatest output. The radius is 15 divided by the power of two above the input scale, rounded down.
# - Input scale 4: the radius is 1, so one step from the zero point, where sigmoid(4) = 0.982, is already 0.996, and
#   sigmoid(-4) = 0.018 is 0.
# - Input scale 8 or more: the radius is 0 and the comparison with the lower end comes first, so the zero point itself,
#   a real input of exactly 0, gives the least output: sigmoid(0) = 0 in place of 0.5, tanh(0) = -1 in place of 0.
# - Small power-of-two scales: two entries differ by 1, sigmoid(+-1/128) and tanh(+-1/256).
# Why it matters: scales of 4 and 8 are ranges of +-512 and +-1024, which one outlier in the calibration data of a logit makes.
# The desktop then shows 0.5 for "don't know", and this code 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q tflite-micro==0.dev20261023182759 ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cat >run.py <<'EOF'
import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as lite
from ai_edge_litert import schema_py_generated as schema
from tflite_micro.python.tflite_micro import runtime as micro

TYPES = {"float32": 0, "int32": 2, "int64": 4, "int16": 7, "int8": 9}


def tensor(shape, dtype, scale=None, zero=0, values=None):
    t = schema.TensorT()
    t.shape, t.type, t.name, t.values = list(shape), TYPES[dtype], b"t", values
    if scale is not None:
        t.quantization = schema.QuantizationParametersT()
        t.quantization.scale = np.atleast_1d(np.float32(scale))
        t.quantization.zeroPoint = np.full(t.quantization.scale.size, zero, np.int64)
    return t


def constant(values, scale=None):
    return tensor(values.shape, values.dtype.name, scale, 0, values)


def file_of(operator, version, inputs, output, options=None, **fields):
    """A .tflite file with one operator; tensors without values are its inputs."""
    code, node, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode, code.version = getattr(schema.BuiltinOperator, operator), version
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    node.inputs, node.outputs = list(range(len(inputs))), [len(inputs)]
    if options:
        node.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        node.builtinOptions = getattr(schema, options + "T")()
        vars(node.builtinOptions).update(fields)
    graph.tensors, graph.operators, graph.outputs = [*inputs, output], [node], [len(inputs)]
    graph.inputs = [n for n, t in enumerate(inputs) if t.values is None]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    for t in inputs:
        if t.values is not None:
            t.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(t.values.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tflm(file, *inputs):
    run = micro.Interpreter.from_bytes(file, arena_size=1 << 21)
    for n, x in enumerate(inputs):
        run.set_input(x, n)
    run.invoke()
    return run.get_output(0)


def litert(file, *inputs, kernels="BUILTIN_REF"):
    run = lite.Interpreter(model_content=file, num_threads=1,
                           experimental_op_resolver_type=lite.OpResolverType[kernels])
    run.allocate_tensors()
    for detail, x in zip(run.get_input_details(), inputs):
        run.set_tensor(detail["index"], x)
    run.invoke()
    return run.get_tensor(run.get_output_details()[0]["index"])


def expect(what, seen, wanted):
    seen = seen.tolist() if hasattr(seen, "tolist") else seen
    print(f"{what}: {seen}")
    if seen != wanted:
        raise SystemExit(f"changed: {what} was {wanted}")


x = np.arange(-128, 128, dtype=np.int8)[None]


def differences(operator, scale, zero):
    """(input, TFLM, LiteRT) of every entry that differs; LiteRT's two kernel sets have the same table."""
    output = {"LOGISTIC": (2**-8, -128), "TANH": (2**-7, 0)}[operator]
    file = file_of(operator, 2, [tensor(x.shape, "int8", scale, zero)], tensor(x.shape, "int8", *output))
    device, table = tflm(file, x)[0], litert(file, x)[0]
    assert (litert(file, x, kernels="AUTO")[0] == table).all()
    return [(int(x[0, n]), int(device[n]), int(table[n])) for n in np.flatnonzero(device != table)]


for scale, zero, logistic, tanh in (
        (0.1, 0, [], []),
        (3.0, 0, [], []),
        (4.0, 0, [(-1, -128, -123), (1, 127, 123)], []),
        (5.0, 40, [(39, -128, -126), (41, 127, 126)], []),
        (8.0, 0, [(0, -128, 0)], [(0, -128, 0)]),
        (16.0, 40, [(40, -128, 0)], [(40, -128, 0)]),
        (2**-7, 0, [(-1, -1, 0), (1, 1, 0)], []),
        (2**-8, 0, [(-2, -1, 0), (2, 1, 0)], [(-1, -1, 0), (1, 1, 0)])):
    expect(f"LOGISTIC, scale {scale}, zero point {zero}", differences("LOGISTIC", scale, zero), logistic)
    expect(f"TANH, scale {scale}, zero point {zero}", differences("TANH", scale, zero), tanh)
EOF
venv/bin/python run.py
