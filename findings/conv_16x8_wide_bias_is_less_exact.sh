#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 16x8 CONV_2D: an int64 bias gives less exact results than an int32 bias with the same numbers
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: the type of the bias says how large a bias may be. Biases that fit into int32 give the same layer in both types.
# Seen: the type selects the arithmetic. With int64 the multiplier is cut to 16 bits, with int32 it keeps 31 bits: the same
# weights, biases and inputs give different bytes, and the wide bias the worse ones (0.577 steps from the exact value
# against 0.5). TFLM goes by the type of the bias tensor, LiteRT by the option quantized_bias_type, and where both say the same
# their bytes are equal. How many outputs differ depends on the output scale alone: 278, 3 and 78 of 8192 here, each by 1.
# Why it matters: quantisers write int64 biases. Whoever compares two exporters, or stores the biases as int32 to save flash
# on a Cortex-M, gets other bytes in some per cent of the outputs and may look for the bug elsewhere.
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


x = (np.arange(1024 * 8) * 7919 % 65536 - 32768).astype(np.int16).reshape(1, 1, 1024, 8)
weights = (np.arange(8 * 8) * 37 % 255 - 127).astype(np.int8).reshape(8, 1, 1, 8)
bias = np.arange(8) * 100000 - 350000
accumulator = x.reshape(-1, 8).astype(int) @ weights.reshape(8, 8).T.astype(int) + bias

for scale, changed, far in ((0.0043, 278, [0.577, 0.5]), (0.005, 3, [0.5, 0.5]), (0.0083, 78, [0.53, 0.5])):
    exact = (accumulator * 2.0**-19 / float(np.float32(scale))).reshape(1, 1, 1024, 8)
    results = {}
    for dtype in ("int64", "int32"):
        file = file_of("CONV_2D", 4, [tensor(x.shape, "int16", 2**-12), constant(weights, 2**-7),
                                      constant(bias.astype(dtype), 2**-19)], tensor((1, 1, 1024, 8), "int16", scale),
                       "Conv2DOptions", padding=1, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1,
                       quantizedBiasType=TYPES[dtype])
        results[dtype] = tflm(file, x)
        expect(f"scale {scale}, {dtype} bias, TFLM against LiteRT", int((results[dtype] != litert(file, x)).sum()), 0)
    expect("greatest error: int64, int32", [round(float(abs(r - exact).max()), 3) for r in results.values()], far)
    expect("outputs that differ, of 8192", int((results["int64"] != results["int32"]).sum()), changed)
EOF
venv/bin/python run.py
