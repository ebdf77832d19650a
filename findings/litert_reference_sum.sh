#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# LiteRT's reference SUM of int8 and int16 is wrong, the default interpreter's and TFLM's are right
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: BUILTIN_REF, the resolver that one takes for trusted results, sums a quantised tensor.
# Seen: int8 sums are right while the numbers are positive and the sum fits; of sums that do not fit or numbers below zero it
# makes anything: -10 becomes -1, 400 becomes -1 and not 127. int16 is wrong throughout. MEAN is right. The default interpreter
# and TFLM are right.
# Reported as google-ai-edge/LiteRT#4079 in October 2025 (closed) and tensorflow/tensorflow#102490: the kernel takes the data for
# uint8 whatever its type. Still so in 2.3.0.
# Why it matters: tests of firmware compare with BUILTIN_REF because for most operators it has the device's bytes. For SUM
# it is the one that is wrong, and non-negative data, as after a RELU with zero point 0, do not show it in int8.
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


rows = np.array([[1, 2, 3, 4], [-1, -2, -3, -4], [100] * 4, [-100] * 4], np.int8)
axis = constant(np.array([1], np.int32))


def file(operator, dtype, output_scale):
    return file_of(operator, 2, [tensor(rows.shape, dtype, 0.1), axis], tensor((4,), dtype, output_scale),
                   "ReducerOptions", keepDims=False)


for dtype, factor, output_scale, right, wrong, known in (
        ("int8", 1, 0.1, [10, -10, 127, -128], [10, -1, -1, -1], 1),
        ("int8", 1, 0.5, [2, -2, 80, -80], [2, -53, 80, 125], 2),
        ("int16", 100, 0.1, [1000, -1000, 32767, -32768], None, 0),
        ("int16", 100, 0.5, [200, -200, 8000, -8000], None, 0)):
    x = rows.astype(dtype) * np.array(factor, dtype)
    sums, what = file("SUM", dtype, output_scale), f"{dtype}, output scale {output_scale}"
    expect(f"SUM {what}, TFLM", tflm(sums, x), right)
    expect(f"SUM {what}, LiteRT default", litert(sums, x, kernels="AUTO"), right)
    if wrong:
        expect(f"SUM {what}, LiteRT reference", litert(sums, x), wrong)
    expect(f"SUM {what}, rows that LiteRT reference has right", int((litert(sums, x) == right).sum()), known)
    mean = file("MEAN", dtype, output_scale)
    expect(f"MEAN {what}, TFLM against LiteRT reference", int((tflm(mean, x) != litert(mean, x)).sum()), 0)
EOF
venv/bin/python run.py
