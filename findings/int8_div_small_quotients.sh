#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# int8 DIV of LiteRT and TFLM: quotients near 0 come out as the greatest or the least output, 0 / x as 1
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: a quotient below half an output step is the output's zero point.
# Seen, zero points 0: with inputs of scale 0.1 and an output of scale 0.2, 0.3 / 12.7 = 0.02 gives 127 (25.4), -0.3 / 12.7 gives
# -128, and 0 / 12.7 gives 1. It begins where the quotient is some sixth of a step and the numerator of few bits; with
# output scale 1 it takes 32 of 61 numerators. TFLM and LiteRT in all of its modes have the same bytes.
# The results look like those of a right shift by 32 or more bits that the processor takes modulo 32. C leaves such a shift
# undefined, so a board may give other bytes than the tflite-micro wheel of a desktop.
# Why it matters: normalisation by a sum or a maximum divides small numbers by large ones all the time, and comparing
# runtimes shows nothing. MUL by a reciprocal avoids it.
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


a = np.arange(-30, 31, dtype=np.int8)[None]


def divide(output_scale, divisor):
    """Numerators whose quotient is off by more than a step, with TFLM's result."""
    b = np.full_like(a, divisor)
    file = file_of("DIV", 2, [tensor(a.shape, "int8", 0.1), tensor(a.shape, "int8", 0.1)],
                   tensor(a.shape, "int8", output_scale), "DivOptions")
    device = tflm(file, a, b)
    for kernels in ("BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "AUTO"):
        assert (litert(file, a, b, kernels=kernels) == device).all()
    far = abs(device - np.clip(a / divisor / output_scale, -128, 127)) > 0.6
    return dict(zip(a[far].tolist(), device[far].tolist()))


expect("output scale 0.05, divisor 12.7", divide(0.05, 127), {-1: -128, 0: 1})
expect("output scale 0.2, divisor 2.0", divide(0.2, 20), {-1: -128, 0: 1})
expect("output scale 0.2, divisor 12.7", divide(0.2, 127),
       {-4: -128, -3: -128, -2: -128, -1: -128, 0: 1, 1: 127, 2: 127, 3: 127})
expect("output scale 1, divisor 12.7",
       divide(1.0, 127), {n: -128 if n < 0 else 127 if n else 1 for n in range(-16, 16)})
expect("output scale 0.2, divisor 0.3", divide(0.2, 3), {})
EOF
venv/bin/python run.py
