#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# litert-quantizer's static int8 recipe leaves common activations in float and makes int8 ones that TFLM lacks
# litert-quantizer 0.11.0, tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: the recipe static_wi8_ai8 ("int8 weights and int8 activations") makes an integer network, or warns.
# Seen, one operator at a time: RELU, MAXIMUM and HARD_SWISH become int8. RELU6, LEAKY_RELU, PRELU, ABS and MINIMUM, all of
# which TFLM has in int8, become DEQUANTIZE, the operator in float32, QUANTIZE, without a word. GELU and SQRT become int8
# operators, which LiteRT runs and TFLM refuses.
# Why it matters: on a Cortex-M0+ or M3 (no FPU) a LEAKY_RELU after every layer is software floating point and four bytes of
# arena per element, in a file that one takes for int8; the types of its input and output do not show it. RELU6 is int8 where it
# is the fused activation of another operator.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q litert-quantizer==0.11.0 tflite-micro==0.dev20261023182759 ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
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


from litert_quantizer import quantizer, recipe

NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
x = (np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4) + 1) / 16


def named(file):
    """The file with the signature that calibration asks for."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))
    graph, signature = model.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex, signature.inputs, signature.outputs = b"serving_default", 0, [], []
    for index, t in enumerate(graph.tensors):
        t.name = b"tensor_%d" % index
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = t.name, index
        if index in graph.inputs:
            signature.inputs.append(entry)
        if index in graph.outputs:
            signature.outputs.append(entry)
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def quantised(rule, operator, two=False, extra=(), options=None, **fields):
    """Operators and output types of the quantised file, and whether TFLM and LiteRT run it."""
    inputs = [tensor(x.shape, "float32") for _ in range(1 + two)] + list(extra)
    file = named(file_of(operator, 1, inputs, tensor(x.shape, "float32"), options, **fields))
    with open("float.tflite", "wb") as out:
        out.write(file)
    work = quantizer.Quantizer("float.tflite")
    work.load_quantization_recipe(getattr(recipe, rule)())
    data = {f"tensor_{n}": x[:, ::1 - 2 * n] for n in range(1 + two)}
    file = bytes(work.quantize(work.calibrate({"serving_default": [data]})).quantized_model)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))
    graph, types = model.subgraphs[0], {number: name for name, number in TYPES.items()}
    steps = [f"{NAMES[model.operatorCodes[n.opcodeIndex].builtinCode]} {types[graph.tensors[n.outputs[0]].type]}"
             for n in graph.operators]
    feed = [np.ones(graph.tensors[n].shape, types[graph.tensors[n].type]) for n in graph.inputs]
    runs = []
    for run in (tflm, litert):
        try:
            run(file, *feed)
            runs.append(True)
        except RuntimeError:
            runs.append(False)
    return steps, runs


def island(operator, count=1):
    return ["DEQUANTIZE float32"] * count + [f"{operator} float32", "QUANTIZE int8"], [True, True]


def whole(operator, runs=True):
    return [f"{operator} int8"], [runs, True]


slopes = constant(np.full((1, 1, 4), 0.2, np.float32))
minmax = {"two": True, "options": "MaximumMinimumOptions"}
leaky = {"options": "LeakyReluOptions", "alpha": 0.1}
fused = {"two": True, "options": "AddOptions", "fusedActivationFunction": schema.ActivationFunctionType.RELU6}
for operator, how, wanted in (
        ("RELU", {}, whole("RELU")), ("HARD_SWISH", {}, whole("HARD_SWISH")), ("RELU6", {}, island("RELU6")),
        ("LEAKY_RELU", leaky, island("LEAKY_RELU")), ("PRELU", {"extra": [slopes]}, island("PRELU")),
        ("ABS", {}, island("ABS")), ("MINIMUM", minmax, island("MINIMUM", 2)), ("ADD", fused, whole("ADD")),
        ("GELU", {"options": "GeluOptions"}, whole("GELU", False)), ("SQRT", {}, whole("SQRT", False))):
    expect(f"static_wi8_ai8, {operator}", quantised("static_wi8_ai8", operator, **how), wanted)
steps, runs = quantised("static_wi8_ai8", "MAXIMUM", **minmax)
expect("static_wi8_ai8, MAXIMUM", (steps[-1], runs), ("MAXIMUM int8", [True, True]))
EOF
venv/bin/python run.py
