#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# onnx.reference normalises by the batch itself in BatchNormalization of opsets 9 to 13, as in training
# onnx 1.23.2, onnxruntime 1.32.0 (Python 3.11, x86-64 Linux)
#
# Expected: BatchNormalization with one output is inference: y = (x - mean) / sqrt(var + epsilon) * scale + B with the mean and
# variance that the file stores. Opset 9 says so ("Output case #2: Y (test mode)"), and opset 14 names it training_mode = 0.
# Seen: for files of opset 9, 11 and 13 ReferenceEvaluator mixes the batch's own mean and variance into the stored ones, a tenth
# of them at the default momentum of 0.9, without a word: 4, 6, 8, 10 become -4.63, -2.65, -0.68, 1.30 where the operator says
# -5, -3, -1, 1. The result of a sample depends on the samples beside it. Opset 14, 15 and later are right; ONNX Runtime is at every
# opset.
# Why it matters: onnx.reference is the definition that kernels, importers and quantisers are tested against, and what one takes
# to compute ranges or golden outputs without another runtime. Many published networks have opsets 9 to 13; where a normalisation
# is not folded into a convolution, ranges and expected values are then wrong by much more than quantisation. onnx's own
# version_converter, to 15 or later, mends a file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat >run.py <<'EOF'
import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def expect(what, seen, wanted):
    print(f"{what}: {seen}")
    if seen != wanted:
        raise SystemExit(f"changed: {what} was {wanted}")


def model(opset):
    stored = {"scale": 2.0, "B": 1.0, "mean": 10.0, "var": 4.0}
    ports = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 2, 2])] for name in "xy"]
    node = helper.make_node("BatchNormalization", ["x", *stored], ["y"], epsilon=0.0)
    weights = [numpy_helper.from_array(np.array([value], np.float32), name) for name, value in stored.items()]
    made = helper.make_model(helper.make_graph([node], "g", *ports, weights),
                             opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def reference(file, x):
    return [round(float(value), 2) for value in ReferenceEvaluator(file).run(None, {"x": x})[0].ravel()]


def runtime(file, x):
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    return [round(float(value), 2) for value in session.run(None, {"x": x})[0].ravel()]


x = np.array([4, 6, 8, 10], np.float32).reshape(1, 1, 2, 2)
right = [-5.0, -3.0, -1.0, 1.0]
for opset in (9, 11, 13, 14, 15, 17, 21):
    wrong = opset < 14
    expect(f"opset {opset}, onnx.reference", reference(model(opset), x), [-4.63, -2.65, -0.68, 1.3] if wrong else right)
    expect(f"opset {opset}, ONNX Runtime", runtime(model(opset), x), right)
beside = np.concatenate([x, x + 100])
expect("opset 13, the same sample beside another one", reference(model(13), beside)[:4] == reference(model(13), x), False)
expect("opset 15, the same sample beside another one", reference(model(15), beside)[:4] == reference(model(15), x), True)
expect("opset 13 converted to 15", reference(onnx.version_converter.convert_version(model(13), 15), x), right)
EOF
venv/bin/python run.py
