# SPDX-License-Identifier: Apache-2.0
"""Counts of kernels in vectors (Helium) are what these do: their loops walked here, slowly, parts counted on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod

import pytest

from cmsisnn_x import Variant
from cmsisnn_x.affine import AffineClamp, AffineMean, AffineSoftmax
from cmsisnn_x.layers import Layer, View
from cmsisnn_x.op import device_variant_problem
from cmsisnn_x.packing import words_of
from helpers.cores import FEATURES, helium_variants
from tuning.calibrate.grid import grid
from tuning.calibrate.vectors import of_vectors
from tuning.cost import ops

LAYERS = grid()


def counted(layer: Layer, variant: Variant | None = None) -> Counter[str]:
    found = zip(ops.parts_of(layer), ops.count(layer, [variant], FEATURES)[0].tolist(), strict=True)
    return Counter({name: value for name, value in found if value})


def some(op: str, step: int) -> list[Layer]:
    return [layer for layer in LAYERS if layer.op == op][::step]


def turns(first: int, step: int) -> int:
    """``for (; left > 0; left -= step)``"""
    found = 0
    while first > 0:
        first -= step
        found += 1
    return found


# ---------------------------------------------------------------- convolutions: convolve_helium.h


def pixels(seen: Counter[str], out_ch: int, pairs: int, vectors: int, *, loops: bool) -> None:
    o = 0
    while o <= out_ch - 8:
        o += 8
        seen["groups"] += 1
        seen["flushes"] += vectors == 1
        for _ in range(pairs):
            seen["blocks"] += 1
            seen["runs"] += vectors == 1
            for _ in range(4):
                seen["steps" if loops else "straight_steps"] += vectors
                seen["turns"] += loops
    for _ in range(pairs if out_ch % 8 else 0):
        seen["left_blocks" if out_ch % 8 > 4 else "partial"] += 1
        for _ in range(4 if out_ch % 8 > 4 else 2):
            seen["steps" if loops else "left_steps"] += vectors
            seen["turns"] += loops


def walk_convolution(layer: Layer, variant: Variant) -> Counter[str]:
    seen: Counter[str] = Counter(calls=1)
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    top, left = layer.padding[0][0], layer.padding[1][0]
    run = channels * layer.numpy_dtype.itemsize
    column, vectors = kernel_h * run, turns(kernel_h * kernel_w * run, 16)
    step = stride_x * column
    compiled = ops.as_compiled(layer, variant)
    assert compiled is not None
    how = {"vectors": vectors, "loops": compiled.unroll == 1 and vectors > 2}
    if variant.lowering == "direct":
        joined = stride_y == 1 and out_w * step == in_w * run
        for _ in range(1 if joined else out_h):
            seen["rows"] += 1
            pixels(seen, out_ch, ((out_h if joined else 1) * out_w + 1) // 2, **how)
        return seen
    rows, span = 2 if out_w % 2 and out_w < 16 and out_h > 1 else 1, (out_w - 1) * stride_x + kernel_w
    if left or span - left > in_w:
        seen["zero_lines"] = rows * ((out_w - 1) * step + 16 * vectors) // 16
    inside = max(min(in_w, span - left), 0)
    scatters = run <= 8 and 15 // run * column + 15 % run <= 255
    for y in range(0, out_h, rows):
        seen["rows"] += 1
        for own in range(y, min(y + rows, out_h)):
            for m in range(kernel_h):
                is_outside = not 0 <= own * stride_y - top + m < in_h
                seen["outside" if is_outside else "segments"] += 1
                if scatters:
                    seen["cut_ragged" if is_outside else "copy_turns"] += turns(inside * run, 16 // run * run)
                elif is_outside:
                    seen["cut_words"] += inside * turns(run, 16)
                else:
                    seen["words"] += inside * (run // 16)
                    seen["ragged"] += inside * bool(run % 16)
        pixels(seen, out_ch, out_w if rows == 2 else (out_w + 1) // 2, **how)
    return Counter({name: times for name, times in seen.items() if times})


def test_counts_of_convolutions_are_what_the_kernel_does() -> None:
    met: Counter[str] = Counter()
    for layer in some("conv2d", 3):
        for variant in helium_variants("convolve", layer.dtype):
            if device_variant_problem(layer, variant, FEATURES) is None:
                seen = walk_convolution(layer, variant)
                assert counted(layer, variant) == seen, (layer, variant)
                met += Counter(seen.keys())
    priced = ops.price(layer, variant, FEATURES, {"issue_width": 2, **TIMING})
    assert met.keys() == {name for name, each in zip(ops.parts_of(layer), priced, strict=True) if each > 0.25}


TIMING = dict.fromkeys(
    ("alu", "store", "load", "load_next", "branch", "branch_taken", "multiply", "multiply_accumulate"), 1.0
)


# ---------------------------------------------------------------- depthwise: depthwise_helium.h and its like


def walk_depthwise(layer: Layer, most: int) -> Counter[str]:
    seen: Counter[str] = Counter(calls=1)
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    size, (top, left) = layer.numpy_dtype.itemsize, (layer.padding[0][0], layer.padding[1][0])
    deep, lanes = 4 // size, 16 // size
    paired = size == 1 and kernel_h <= 3 and kernel_w <= 3 and (stride_y, stride_x) == (1, 1)
    planes = 1 if paired else turns(kernel_h, deep)
    words = 4 if paired else turns(kernel_w * planes, 4) * 4
    group_rows, group_cols = (2, 2) if paired else (1, 4)
    flat = size == 1 and planes == 1 and channels < 16
    pixel = planes * 4 * (channels if flat else lanes)
    inside = max(min(in_w, (out_w - 1) * stride_x + kernel_w - left), 0)
    right = max((out_w - 1) * stride_x + kernel_w - left - inside, 0)
    groups, far = turns(out_w, group_cols), not paired and 3 * stride_x * pixel > 508

    def margins() -> None:
        for side in (left, right):
            seen["zero_bytes"] += side > 0
            seen["zero_lines"] += side * pixel // 16

    def products(first: bool) -> None:
        """Of a group, or before the first."""
        seen["steps"] += 4 if paired else words
        seen["reloads"] += words // 4 if words > 4 else 0
        seen["partial"] += far and not first

    def rows_of(pairs: int) -> None:
        seen["channels"] += 1
        products(True)
        for _ in range(pairs):
            seen["turns"] += groups > (4 if paired else 3)
            for _ in range(groups):
                seen["blocks"] += 1
                products(False)

    for _ in range(0 if flat else min(most, turns(out_h, group_rows))):
        margins()
    for first in range(0, channels, lanes):
        y = 0
        while y < out_h:
            if paired and y > 0 and (out_h - y) % 2 and out_h - y < 2 * most:
                y -= 1
            single = paired and out_h - y == 1
            times = 1 if single else min((out_h - y) // group_rows, most)
            seen["fills"] += 1
            for g in range(times):
                row = (y + g * group_rows) * stride_y - top
                seen["rows"] += 1
                if flat:
                    margins()
                for _ in range(planes if inside else 0):
                    is_inside = row >= 0 and row + kernel_h + paired - single <= in_h
                    seen["segments" if is_inside else "outside"] += 1
                    seen["words"] += turns(inside * channels, 16) if flat else inside
            for _ in range(min(channels - first, lanes)):
                left_over = times
                if paired and out_w in (3, 5) and channels <= 511 and times > 1:
                    seen["channels"] += 1
                    products(True)
                    for _ in range(times // 2):
                        seen["flushes"] += 1
                        seen["turns"] += 2 * (groups > 4)
                        for _ in range(2 * groups - 1):
                            seen["blocks"] += 1
                            products(False)
                    left_over = times % 2
                if left_over:
                    rows_of(left_over)
            y += 1 if single else times * group_rows
    return +seen


def walk_line(layer: Layer, axis: int, most: int) -> Counter[str]:
    """`depthwise_helium_line.h`: images of one column (axis 0) or row."""
    seen: Counter[str] = Counter(calls=1)
    size, channels = layer.numpy_dtype.itemsize, layer.image[2]
    pixels, outputs = layer.image[axis], layer.output_image[axis]
    deep, lanes = 4 // size, 16 // size
    visit = min(4 * most, outputs) if axis == 0 else outputs
    for first in range(0, channels, lanes):
        seen["rows"] += 1
        some = min(channels - first, lanes)
        for y in range(0, outputs, visit):
            seen["fills"] += 1
            done = min(outputs - y, visit)
            pixel = y * layer.stride[axis] - layer.padding[axis][0]
            end = pixel + (done - 1) * layer.stride[axis] + (turns(layer.kernel[axis], deep) - 1) * deep + 1
            while pixel < end:
                inside = min(end, pixels - deep + 1) - pixel
                if pixel >= 0 and inside > 0:
                    seen["segments"] += 1
                    seen["words"] += turns(inside * channels, 16) if size == 1 and channels < 16 else inside
                    pixel += inside
                else:
                    seen["outside"] += 1
                    pixel += 1
            for _ in range(some):
                seen["channels"] += 1
                for _ in range(0, done, 4):
                    seen["blocks"] += 1
                    seen["steps"] += 4
    return +seen


def test_counts_of_depthwise_layers_are_what_the_kernels_do() -> None:
    met: Counter[str] = Counter()
    for layer in [*some("depthwise_conv2d", 2), *(each for each in of_vectors() if each.row.is_weighted)]:
        for variant in helium_variants("depthwise_convolve", layer.dtype):
            if device_variant_problem(layer, variant, FEATURES) is None:
                line = words_of(layer).line
                walk = walk_depthwise if line is None else partial(walk_line, axis=line)
                seen = walk(layer, most=variant.unroll)
                assert counted(layer, variant) == seen, (layer, variant)
                met += Counter(seen.keys())
    priced = ops.price(layer, variant, FEATURES, {"issue_width": 2, **TIMING})
    assert met.keys() == {name for name, each in zip(ops.parts_of(layer), priced, strict=True) if each > 0.25}


# ---------------------------------------------------------------- pools: helium_pool.h and its strips


def walk_pool(layer: Layer) -> Counter[str]:
    seen: Counter[str] = Counter(calls=1)
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    padding = layer.padding
    if in_w == out_w == 1:  # axes exchanged
        in_h, in_w, out_h, out_w = in_w, in_h, out_w, out_h
        kernel_h, kernel_w, stride_y, stride_x, padding = kernel_w, kernel_h, stride_x, stride_y, padding[::-1]
    size, is_average = layer.numpy_dtype.itemsize, layer.op == "avg_pool2d"
    wide = size == 2 or min(kernel_h, in_h) * min(kernel_w, in_w) > 256
    lanes = 16 // size if not is_average else 16 if channels >= 16 and not wide else 8
    vectors = turns(channels, lanes)

    def inside(at: int, stride: int, kernel: int, before: int, most: int) -> int:
        return sum(0 <= at * stride - before + tap < most for tap in range(kernel))

    whole = sum(inside(x, stride_x, kernel_w, padding[1][0], in_w) == kernel_w for x in range(out_w))
    straight = kernel_h <= 8 and kernel_w <= 8 and kernel_h * kernel_w <= 25
    pixel, reach = channels * size, 508 if channels * size % 4 == 0 and channels >= lanes else 127
    along = None
    if not is_average and kernel_h <= 4 and kernel_w <= 4 and whole:
        near = pixel <= reach and abs(stride_x * pixel - (kernel_w - 1) * pixel) <= reach
        if near and (channels < lanes or whole >= channels // lanes):
            along = "rows"
        elif channels >= lanes:
            along = "channels"
    if is_average and straight and whole:
        along = "rows" if channels < lanes or whole >= channels // lanes else "channels"
    for y in range(out_h):
        rows, strip = inside(y, stride_y, kernel_h, padding[0][0], in_h), False
        seen["rows"] += 1
        for x in range(out_w):
            columns = inside(x, stride_x, kernel_w, padding[1][0], in_w)
            lines = 1 if columns == in_w else rows
            if rows == kernel_h and columns == kernel_w:
                seen["elements"] += vectors * rows * columns
                seen["outputs"] += vectors
                seen["joins" if rows * columns < 3 else "averages"] += vectors * is_average
                if along == "rows":
                    seen["strips"] += 0 if strip else vectors
                    strip = True
                    continue
                seen["singles"] += 1
                if along:
                    seen["strips"] += 1 + bool(channels % lanes)
                    continue
                seen["columns"] += 0 if straight else vectors * lines
                seen["turns"] += vectors > 1
            else:
                seen["taps"] += vectors * rows * columns
                seen["lines"] += vectors * lines
                seen["windows"] += vectors
                seen["edges"] += vectors * is_average
                seen["clipped"] += 1
    return Counter({name: times for name, times in seen.items() if times})


def walk_words(layer: Layer) -> Counter[str]:
    """The largest of pixels of one word: asm/pool_words_helium.h in the walk of pool.h."""
    seen: Counter[str] = Counter(calls=1)
    (in_h, in_w, _), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    if in_w == out_w == 1:  # axes exchanged
        in_h, in_w, out_h, out_w, top, left = in_w, in_h, out_w, out_h, left, top
        kernel_h, kernel_w, stride_y, stride_x = kernel_w, kernel_h, stride_x, stride_y
    whole = [x for x in range(out_w) if 0 <= x * stride_x - left <= in_w - kernel_w]
    four = stride_x == 1 and len(whole) >= 4
    strips = max(kernel_h, kernel_w) <= 4 and whole and (four or ((kernel_h - 1) * in_w * 4 < 4084 and stride_x < 64))
    for y in range(out_h):
        rows = sum(0 <= y * stride_y - top + m < in_h for m in range(kernel_h))
        is_strip = bool(strips) and (four or rows == kernel_h)
        seen["rows"] += 1
        seen["clipped"] += not is_strip
        if is_strip:
            done = [*range(0, len(whole) // 4 * 4, 4), *([len(whole) - 4] if len(whole) % 4 else [])] if four else whole
            seen["outputs"] += len(done)
            seen["elements"] += len(done) * kernel_h * kernel_w
            seen["strips"] += 2 if four and len(whole) % 4 else 1
        for x in range(out_w):
            if not is_strip or x not in whole:
                seen["windows"] += 1
                seen["lines"] += rows
                seen["taps"] += rows * sum(0 <= x * stride_x - left + n < in_w for n in range(kernel_w))
    return Counter({name: times for name, times in seen.items() if times})


@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
def test_counts_of_pools_are_what_the_kernels_do(op: str) -> None:
    for layer in (*some(op, 1), *(each for each in of_vectors() if each.op == op)):
        is_word = op == "max_pool2d" and layer.image[2] * layer.numpy_dtype.itemsize == 4
        assert counted(layer) == (walk_words if is_word else walk_pool)(layer), layer


# ---------------------------------------------------------------- others


def test_counts_of_fully_connected_layers() -> None:
    """All rows by a part of up to seven vectors of the input after the other, then outputs by eight and by four."""
    (variant,) = helium_variants("fully_connected", "q7")
    for layer in some("fully_connected", 3):
        vectors, out = turns(prod(layer.input_shape) * layer.numpy_dtype.itemsize, 16), layer.output_shape[0]
        seen = Counter(calls=1, words=vectors, steps=out * vectors, rest=out)
        seen["cuts"] = turns(vectors, 7)
        seen["turns"] = out * (seen["cuts"] - 1)
        seen["blocks"], left = divmod(out, 8)
        seen["pair_blocks"], seen["last_blocks"] = left // 4, int(left % 4 > 0)
        assert counted(layer, variant) == +seen, layer


def affine(op: str, shape: Sequence[int], output: Sequence[int], **more: object) -> Layer:
    return Layer("layer", op, "int8", tuple(shape), tuple(output), **more)  # type: ignore[arg-type]


def test_counts_of_means_and_softmax() -> None:
    for rows, channels, expected in (
        (300, 40, {"elements": 900, "outputs": 6, "runs": 1}),  # 16 channels at a time, sums of 256 rows
        (300, 9, {"elements": 600, "outputs": 4, "runs": 1}),
        (300, 5, {"elements": 300, "outputs": 1, "runs": 1}),
    ):
        mean = AffineMean.of(rows, (0.05, 0.04), (-3, 4), (-128, 127))
        layer = affine("mean", (1, rows, channels), (1, 1, channels), scheme=mean)
        assert counted(layer) == {**expected, "calls": 1}
    softmax = affine("softmax", (3, 21), (3, 21), scheme=AffineSoftmax.of(0.08))
    assert counted(softmax) == {"elements": 6, "outputs": 6, "runs": 3, "calls": 1}
    wide = replace(softmax, scheme=AffineSoftmax.of(0.08, bits=16), output_dtype="int16")
    assert counted(wide) == {"elements": 6, "outputs": 3, "runs": 3, "calls": 1}
    for dtype, largest in (("q7", 2), ("q15", 3)):
        layer = next(each for each in LAYERS if (each.op, each.dtype) == ("softmax", dtype))
        layer = replace(layer, input_shape=(20,), output_shape=(20,))
        assert counted(layer) == {"elements": 3, "rest": largest, "calls": 1}


def test_counts_of_moves() -> None:
    """Runs of 40 bits and more in vectors, others by elements; what is padded is filled before."""
    full = AffineClamp(-128, 127, fill=-3)
    for channels, elements in ((20, 4 * 7 * 2), (13, 4 * 7), (2, 4 * 7 * 2)):
        turned = View((7, 4, channels), (channels, 7 * channels, 1))
        layer = affine("copy", (4, 7, channels), (7, 4, channels), scheme=full, view=turned)
        longer = {"outputs": 28} if channels > 16 else {}
        assert counted(layer) == {"elements": elements, "runs": 28, "calls": 1, **longer}
    by = View((4, 7, 3), (9 * 3, 3, 1), 10 * 3)
    layer = affine("pad", (4, 7, 3), (6, 9, 3), scheme=full, view=by)
    assert counted(layer) == {"elements": 4 * 2, "outputs": 6 * 9 * 3 // 16, "runs": 4, "calls": 1}
    for channels, counts in (
        (1, {"elements": 8 * 4}),
        (4, {"elements": 8 * 14}),
        (11, {"elements": 8 * 14, "outputs": 8 * 14}),
        (33, {"elements": 8 * 14 * 3, "outputs": 8 * 14}),
    ):
        layer = affine("resize_nearest", (4, 7, channels), (8, 14, channels), scheme=full)
        assert counted(layer) == {**counts, "runs": 8, "calls": 1}
    parts = affine("concat", (5, 20), (5, 33), scheme=full, more_inputs=((5, 13),))
    assert counted(parts) == {"elements": 5 * (2 + 1), "outputs": 5, "runs": 10, "calls": 1}
