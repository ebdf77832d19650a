#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# LiteRT's reset_all_variables() leaves a streaming model's state as it is; TFLM's reset() clears it
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux), pymicro-wakeword 2.5.0
#
# Expected: after Interpreter.reset_all_variables() a streaming model starts afresh, as it does after TFLM's reset().
# Seen, with the wake-word model hey_mycroft that pymicro-wakeword ships (its state lives in VAR_HANDLE, READ_VARIABLE and
# ASSIGN_VARIABLE, and CALL_ONCE prepares it): reset_all_variables() changes nothing, in either kernel set; neither does
# another allocate_tensors(). Only a new Interpreter starts afresh, which is what pymicro-wakeword's own reset() makes.
# After noise, eight chunks of silence give 0 1 1 2 5 9 9 31 (of 255) in place of 9 7 7 4 2 1 0 0, which TFLM gives again.
# Why it matters: an evaluation that resets between clips measures each clip with the end of the one before it; its
# probabilities depend on the order of the clips and are not those of a firmware that resets.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q tflite-micro==0.dev20261023182759 ai-edge-litert==2.3.0 numpy==2.4.6 pymicro-wakeword==2.5.0
cat >run.py <<'EOF'
import pathlib

import numpy as np
import pymicro_wakeword
from ai_edge_litert import interpreter as lite
from tflite_micro.python.tflite_micro import runtime as micro

file = (pathlib.Path(pymicro_wakeword.__file__).parent / "models" / "hey_mycroft.tflite").read_bytes()
silence, low, loud = (np.full((1, 3, 40), level, np.int8) for level in (-128, 0, 127))


def expect(what, seen, wanted):
    print(f"{what}: {seen}")
    if seen != wanted:
        raise SystemExit(f"changed: {what} was {wanted}")


class LiteRT:
    def __init__(self, kernels):
        self.run = lite.Interpreter(model_content=file, num_threads=1,
                                    experimental_op_resolver_type=lite.OpResolverType[kernels])
        self.run.allocate_tensors()

    def feed(self, chunk, times=8):
        outputs = []
        for _ in range(times):
            self.run.set_tensor(self.run.get_input_details()[0]["index"], chunk)
            self.run.invoke()
            outputs.append(int(self.run.get_tensor(self.run.get_output_details()[0]["index"])[0, 0]))
        return outputs


class TFLM:
    def __init__(self):
        self.run = micro.Interpreter.from_bytes(file, arena_size=1 << 20)

    def feed(self, chunk, times=8):
        outputs = []
        for _ in range(times):
            self.run.set_input(chunk, 0)
            self.run.invoke()
            outputs.append(int(self.run.get_output(0)[0, 0]))
        return outputs


fresh = [9, 7, 7, 4, 2, 1, 0, 0]
device = TFLM()
expect("TFLM, silence", device.feed(silence), fresh)
device.feed(low)
device.feed(loud)
device.run.reset()
expect("TFLM, noise, reset(), silence", device.feed(silence), fresh)

for kernels in ("BUILTIN_REF", "AUTO"):
    desktop = LiteRT(kernels)
    expect(f"LiteRT {kernels}, silence", desktop.feed(silence), fresh)
    desktop.feed(low)
    desktop.feed(loud)
    stale = desktop.feed(silence)

    desktop = LiteRT(kernels)
    desktop.feed(silence)
    desktop.feed(low)
    desktop.feed(loud)
    desktop.run.reset_all_variables()
    expect("noise, reset_all_variables(), silence, as without a reset", desktop.feed(silence) == stale != fresh, True)

    desktop = LiteRT(kernels)
    desktop.feed(silence)
    desktop.feed(low)
    desktop.feed(loud)
    desktop.run.allocate_tensors()
    expect("noise, allocate_tensors(), silence, as without a reset", desktop.feed(silence) == stale != fresh, True)
    if kernels == "BUILTIN_REF":
        expect("which is", stale, [0, 1, 1, 2, 5, 9, 9, 31])
EOF
venv/bin/python run.py
