#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# TFLM's int8 CUMSUM is off by the input's zero point, once, in every element
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: with equal scales, output element n is the sum of (x - zero point) up to n, plus the output's zero point.
# Seen: every element is too small by the input's zero point (in output steps), in all four combinations of exclusive and
# reverse, with equal and unequal scales. The empty sum that an exclusive CUMSUM starts with is not 0 either. With zero point 0 all
# is right. LiteRT cannot serve as a check: it takes no int8 CUMSUM in any version of the operator that it knows.
# Why it matters: an asymmetric int8 tensor with only positive values has zero point -128, so every sum is too large by 128 input
# steps, which may be the whole range of one input.
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


x = np.array([[12, -5, 7, 0, -9, 20, 3, -2]], np.int8)
axis = constant(np.array([1], np.int32))


def cumsum(values, zero_in, zero_out, output_scale=0.1, **options):
    file = file_of("CUMSUM", 1, [tensor(values.shape, "int8", 0.1, zero_in), axis],
                   tensor(values.shape, "int8", output_scale, zero_out), "CumsumOptions", **options)
    return tflm(file, values)[0].astype(int), file


def right(zero_in, zero_out, exclusive, reverse):
    terms = (x[0].astype(int) - zero_in)[::-1 if reverse else 1]
    sums = terms.cumsum() - (terms if exclusive else 0)
    return sums[::-1 if reverse else 1] + zero_out


expect("zero points 3 and -5", cumsum(x, 3, -5)[0], [1, -7, -3, -6, -18, -1, -1, -6])
expect("should be", right(3, -5, False, False), [4, -4, 0, -3, -15, 2, 2, -3])
for zero_in in (0, 3, -4):
    for exclusive in (False, True):
        for reverse in (False, True):
            seen = cumsum(x, zero_in, -5, exclusive=exclusive, reverse=reverse)[0]
            expect(f"zero point {zero_in}, exclusive {exclusive}, reverse {reverse}: TFLM minus exact",
                   seen - right(zero_in, -5, exclusive, reverse), [-zero_in] * 8)

positive = np.array([[-128, -28, -128, -128, 72, -128, -128, -28]], np.int8)
seen, file = cumsum(positive, -128, -128, 0.4)
expect("real input", ((positive[0] + 128.0) * 0.1).round(6), [0.0, 10.0, 0.0, 0.0, 20.0, 0.0, 0.0, 10.0])
expect("TFLM, real sums", ((seen + 128) * 0.4).round(6), [12.8, 22.8, 22.8, 22.8, 42.8, 42.8, 42.8, 52.8])
try:
    litert(file, positive)
    refused = False
except RuntimeError:
    refused = True
expect("LiteRT refuses", refused, True)
EOF
venv/bin/python run.py
