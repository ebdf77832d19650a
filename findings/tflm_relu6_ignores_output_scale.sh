#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# TFLM's int8 RELU6 does not rescale: with unequal scales the output is wrong throughout
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: RELU6 on its own, input scale 0.1 and zero point -10, output scale 6/255 and zero point -128, maps 6.0 to 127 and
# 0.0 to -128. LiteRT does so, and so does TFLM's own RELU, which rescales.
# Seen: TFLM's RELU6 clamps the raw integers to the input's [zero point, zero point + 60] and copies them. It neither looks at
# the output's scale and zero point nor refuses the file: real 2.0 comes out as 3.25, real 0.0 as 2.78.
# Why it matters: a RELU6 that is not fused into the layer before it gets the range 0..6 from a quantiser, its input a wider
# one. Such a file is right in every LiteRT mode, runs on the board without a message, and is wrong there.
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


x = np.array([[-60, -10, 0, 10, 20, 30, 40, 50, 100]], np.int8)
real = (x + 10.0) * 0.1
expect("real input", real.round(6), [[-5.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 11.0]])
output = tensor(x.shape, "int8", 6 / 255, -128)
relu6 = file_of("RELU6", 2, [tensor(x.shape, "int8", 0.1, -10)], output)
relu = file_of("RELU", 2, [tensor(x.shape, "int8", 0.1, -10)], output)
right = [[-128, -128, -85, -43, 0, 42, 85, 127, 127]]
expect("RELU6, LiteRT reference", litert(relu6, x), right)
expect("RELU6, LiteRT default", litert(relu6, x, kernels="AUTO"), right)
expect("RELU6, TFLM", tflm(relu6, x), [[-10, -10, 0, 10, 20, 30, 40, 50, 50]])
expect("RELU6, TFLM, in real numbers", ((tflm(relu6, x) + 128.0) * 6 / 255).round(2),
       [[2.78, 2.78, 3.01, 3.25, 3.48, 3.72, 3.95, 4.19, 4.19]])
expect("RELU, TFLM", tflm(relu, x), [[-128, -128, -86, -43, -1, 42, 84, 127, 127]])
EOF
venv/bin/python run.py
