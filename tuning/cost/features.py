# SPDX-License-Identifier: Apache-2.0
"""How often each part of a kernel runs: exact counts from the geometry of a layer and the knobs of a variant, no
cycles here.

The kernels are loop nests whose bounds are known, so cycles are linear in these counts as far as the compiler writes
the same code for every shape; what one run of a part costs is a coefficient of the (operation, variant, core).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from cmsisnn_x._variants import Variant
from cmsisnn_x.layers import Layer

TERMS = ("im2col", "multiply_accumulate", "requantise", "loop", "memory")

CONVOLUTION = {
    "words": "im2col",  # word groups of input elements copied, widened or transformed, whole runs of them
    "ragged": "im2col",  # elements of such runs that go one by one
    "cut_words": "im2col",  # the same in runs that the image's left or right edge cuts
    "cut_ragged": "im2col",
    "zero_lines": "im2col",  # 16 bytes of padding
    "zero_bytes": "im2col",  # bytes of padding beyond those
    "segments": "im2col",  # runs copied: kernel rows of a window, input rows, rows of a strip
    "cuts": "im2col",  # runs that an edge cuts
    "outside": "im2col",  # runs that lie outside the image
    "copy_turns": "im2col",  # turns of the loops that copy runs
    "pixels": "im2col",  # windows begun
    "transformed": "im2col",  # word groups of weights brought into another form at run time
    "packs": "im2col",  # rows of weights that are
    "steps": "multiply_accumulate",  # passes of the inner loop's body in blocks of block_rows x block_cols
    "singles": "multiply_accumulate",  # elements that do not fill a pass
    "left_steps": "multiply_accumulate",  # the same in blocks of the rows that do not fill block_rows
    "left_singles": "multiply_accumulate",
    "blocks": "requantise",  # blocks begun and finished
    "left_blocks": "requantise",
    "stores": "requantise",  # outputs requantised and stored
    "turns": "loop",  # turns of the inner loop, `unroll` passes each
    "left_turns": "loop",
    "loops": "loop",  # times the inner loop is entered and left
    "runs": "loop",  # runs begun, with a loop or without
    "groups": "loop",  # times the loop over the pixels of a group of columns is entered, once per block of rows
    "partial": "loop",  # blocks that reach over the end of their group
    "flushes": "loop",  # pixels at which the rarer of "the columns are full" and "they are not" happens
    "fills": "loop",  # groups of columns, output rows, or tiles
    "rows": "loop",  # output rows
    "calls": "loop",
}
"""Parts of a convolution -> the term that they belong to."""

DEPTHWISE = {
    "words": "im2col",  # word groups of input elements copied or woven
    "ragged": "im2col",
    "zero_lines": "im2col",
    "zero_bytes": "im2col",
    "segments": "im2col",  # taps copied, or pairs of rows woven
    "outside": "im2col",  # taps, or rows of pairs, outside the image
    "pixels": "im2col",
    "taps": "multiply_accumulate",  # words of weights read ahead
    "reloads": "multiply_accumulate",  # words of weights read again in every block, where its loop is not written out
    "loads": "multiply_accumulate",  # words of input read
    "steps": "multiply_accumulate",  # taps of a block, or multiplications of pairs
    "left_steps": "multiply_accumulate",
    "left_loads": "multiply_accumulate",
    "blocks": "requantise",
    "left_blocks": "requantise",
    "stores": "requantise",
    "turns": "loop",
    "left_turns": "loop",
    "channels": "loop",  # channels begun
    "groups": "loop",  # times that a loop over blocks is entered
    "partial": "loop",
    "flushes": "loop",
    "fills": "loop",
    "rows": "loop",
    "calls": "loop",
}
"""Parts of a depthwise convolution."""

DENSE = {
    "words": "im2col",  # steps of the input widened
    "ragged": "im2col",
    "excess": "im2col",  # steps of the input summed for the weights' offset
    "steps": "multiply_accumulate",
    "pair_steps": "multiply_accumulate",  # the same in the two rows left over by blocks of four
    "last_steps": "multiply_accumulate",  # in the row left over
    "singles": "multiply_accumulate",
    "blocks": "requantise",
    "pair_blocks": "requantise",
    "last_blocks": "requantise",
    "turns": "loop",
    "pair_turns": "loop",
    "last_turns": "loop",
    "rest": "loop",  # steps behind the unrolled loop
    "cuts": "loop",  # times that sums are folded before they overflow
    "calls": "loop",
}
"""Parts of a fully connected layer."""

WINDOWED = {
    "elements": "multiply_accumulate",  # loads in columns that neighbouring windows share
    "columns": "multiply_accumulate",  # such columns
    "joins": "multiply_accumulate",  # columns put together
    "taps": "multiply_accumulate",  # in-image elements of windows that are walked one by one
    "outputs": "requantise",  # windows x lane groups that slide
    "edges": "requantise",  # of them, clipped at the left or right
    "windows": "requantise",  # windows x lane groups that are walked
    "lines": "loop",  # rows of walked windows
    "strips": "loop",  # output rows x lane groups
    "singles": "loop",  # windows walked, whatever their channels
    "clipped": "loop",  # output rows whose windows are clipped at the top or bottom
    "rows": "loop",
    "calls": "loop",
}
"""Parts of the pooling operations, each in lane groups of channels."""

WRITTEN_OUT = 240
"""Loads and products up to which GCC writes a row of depthwise blocks out, of up to 16 blocks; found by trying widths:
behind it the taps no longer stay in registers.
"""

ELEMENTWISE = {
    "elements": "multiply_accumulate",  # words of relu, else elements
    "rest": "multiply_accumulate",  # elements that fill no word
    "turns": "loop",
    "calls": "loop",
}
"""Parts of relu, sigmoid, tanh and softmax."""

_PARTS = {
    "conv2d": CONVOLUTION,
    "depthwise_conv2d": DEPTHWISE,
    "fully_connected": DENSE,
    "max_pool2d": WINDOWED,
    "avg_pool2d": WINDOWED,
}
Counts = dict[str, np.ndarray | int | float]
Knobs = Callable[[str], np.ndarray]


def parts_of(op: str) -> dict[str, str]:
    """Part -> term, in the order of the columns of `count`."""
    return _PARTS.get(op, ELEMENTWISE)


def count(layer: Layer, variants: Sequence[Variant | None], dsp: bool, unaligned: bool = True) -> np.ndarray:
    """Counts of every part, a row per variant, on a core with or without DSP extension and unaligned access."""
    names = list(parts_of(layer.op))
    table = np.zeros((len(variants), len(names)))
    if layer.op not in ("conv2d", "depthwise_conv2d", "fully_connected"):
        counts = _windowed(layer, unaligned) if layer.op.endswith("_pool2d") else _elementwise(layer)
        for name, value in counts.items():
            table[:, names.index(name)] = value
        return table
    lowering = np.array([v.lowering for v in variants if v is not None])
    kinds = _COUNTERS[layer.op]
    for kind in dict.fromkeys(lowering.tolist()):
        rows = np.flatnonzero(lowering == kind)
        chosen = [variants[i] for i in rows.tolist()]

        def knob(name: str, chosen: Sequence[Variant | None] = chosen) -> np.ndarray:
            return np.array([getattr(v, name) for v in chosen])

        for name, value in kinds[kind](layer, knob, dsp).items():
            table[rows, names.index(name)] = value
    return table


# ---------------------------------------------------------------- convolution


def _turns(passes: np.ndarray | int, unroll: np.ndarray | int) -> np.ndarray:
    """Turns of a loop with a constant number of passes that the compiler was asked to unroll.

    GCC writes up to ``unroll + 1`` passes out, leaves up to ``2 * unroll`` in a loop of single passes, and peels what
    does not fill a turn of the others.
    """
    passes, unroll = np.asarray(passes), np.asarray(unroll)
    return np.where(passes <= unroll + 1, 0, np.where(passes <= 2 * unroll, passes, passes // unroll))


def _written_turns(passes: np.ndarray, unroll: np.ndarray) -> np.ndarray:
    """The same in assembly: a single turn is no loop."""
    turns = passes // unroll
    return np.where(turns > 1, turns, 0)


def _products(layer: Layer, knob: Knobs, dsp: bool, run: np.ndarray | int, runs: np.ndarray | int) -> Counts:
    """The inner products of one block, times 1: `run` elements, `runs` times."""
    unroll, packed, c = knob("unroll"), knob("weight_layout") != "plain", knob("inner") == "c"
    tiled = knob("lowering") == "winograd"
    narrow = (layer.weights_dtype or layer.dtype) == "q7"
    wide = (knob("lowering") != "direct") | (layer.dtype == "q15")
    run = np.broadcast_to(run, unroll.shape)
    step = np.where(dsp & narrow & wide & ~packed & ~tiled, 4, 2)
    passes = run // step
    # Assembly takes two pairs a step, but for that of the M0+, which is two columns wide.
    ahead = (knob("inner") == "asm_dual").astype(int)
    written = _written_turns(passes - ahead, np.where(knob("block_cols") == 4, 2 * unroll, unroll))
    turns = np.where(c, _turns(passes, unroll), written)
    return {
        "steps": runs * passes,
        "singles": runs * (run % step),
        "turns": runs * turns,
        "loops": runs * (turns > 0),
        "runs": runs + 0 * unroll,
    }


def _row_blocks(layer: Layer, knob: Knobs, paired: np.ndarray | bool) -> tuple[np.ndarray, np.ndarray]:
    rows, out = knob("block_rows"), layer.output_image[2]
    left = out % rows
    return out // rows, np.where((knob("weight_layout") != "plain") | paired, -(-left // 2), left)


def _blocks(knob: Knobs, products: Counts, whole: np.ndarray, left: np.ndarray, columns: np.ndarray) -> Counts:
    """`products` of a block, in `columns` blocks of columns x `whole` and `left` blocks of rows.

    Packed rows are left over in pairs: blocks of two rows do them with the same code.
    """
    one, other, every = whole * columns, left * columns, (whole + left) * columns
    same = (knob("block_rows") == 2) & ((knob("weight_layout") != "plain") | (knob("lowering") == "winograd"))
    main, rest = np.where(same, every, one), np.where(same, 0, other)
    return {
        "steps": products["steps"] * main,
        "singles": products["singles"] * main,
        "turns": products["turns"] * main,
        "left_steps": products["steps"] * rest,
        "left_singles": products["singles"] * rest,
        "left_turns": products["turns"] * rest,
        "loops": products["loops"] * every,
        "runs": products["runs"] * every,
        "blocks": one,
        "left_blocks": other,
    }


def _lanes(layer: Layer, dsp: bool) -> int:
    return 2 if dsp and layer.dtype == "q15" else 4


def _copy_turns(layer: Layer, size: int, dsp: bool) -> np.ndarray:
    """Turns of the loop that copies a run of `size` elements."""
    if not dsp:
        return _turns(size, 4)
    return _turns(size // 4, 2) if layer.dtype == "q7" else np.asarray(size // 2 * (size // 2 > 8))


def _zeros(size: np.ndarray | int, times: np.ndarray | int = 1) -> Counts:
    """Of `times` runs of `size` zero bytes each."""
    return {"zero_lines": np.sum(size // 16 * times), "zero_bytes": np.sum(size % 16 * times)}


def _conv_im2col(layer: Layer, knob: Knobs, dsp: bool) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    pixels, cols, held = out_h * out_w, knob("block_cols"), knob("im2col_cols")
    run, taps, lanes = kernel_w * channels, kernel_h * kernel_w * channels, _lanes(layer, dsp)

    in_rows = _inside(in_h, out_h, kernel_h, stride_y, top)
    in_cols = _inside(in_w, out_w, kernel_w, stride_x, left)
    inside, outside = int(in_rows.sum()), int((kernel_h - in_rows).sum())
    whole = in_cols == kernel_w
    cut = in_cols[~whole] * channels
    padding = [_zeros(run * 2, outside * out_w), _zeros((kernel_w - in_cols[~whole]) * channels * 2, inside)]
    # Interleaved columns take words where channels fill them, else pairs, element by element.
    woven = knob("column_layout") == "interleaved"
    whole_words = dsp and layer.dtype == "q7" and channels % 4 == 0

    def copied(size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        plain = int((size // lanes).sum()), int((size % lanes).sum())
        paired = (int((size // 4).sum()), 0) if whole_words else (0, int((size // 2).sum()))
        return np.where(woven, paired[0], plain[0]), np.where(woven, paired[1], plain[1])

    words, ragged = copied(np.array(run))
    cut_words, cut_ragged = copied(cut)
    groups = -(-pixels // held)
    last = pixels % held
    columns = pixels // held * (held // cols) + -(-last // cols)
    row_blocks, left_blocks = _row_blocks(layer, knob, False)
    packed = knob("weight_layout") != "plain"
    products = _products(layer, knob, dsp, np.where(packed, taps + taps % 2, taps), 1)
    return {
        **_blocks(knob, products, row_blocks, left_blocks, columns),
        "words": words * inside * int(whole.sum()),
        "ragged": ragged * inside * int(whole.sum()),
        "cut_words": cut_words * inside,
        "cut_ragged": cut_ragged * inside,
        "zero_lines": sum(item["zero_lines"] for item in padding),
        "zero_bytes": sum(item["zero_bytes"] for item in padding),
        "segments": inside * int(whole.sum()),
        "copy_turns": inside * int(whole.sum()) * np.where(woven, 0, _copy_turns(layer, run, dsp)),
        "cuts": inside * int((~whole).sum()),
        "outside": outside * out_w,
        "pixels": pixels,
        "stores": pixels * out_ch,
        "groups": groups * (row_blocks + left_blocks),
        "partial": (last % cols > 0) * (row_blocks + left_blocks),
        "flushes": np.minimum(groups, pixels - groups),
        "fills": groups,
        "rows": out_h,
        "calls": 1,
    }


def _conv_rows(layer: Layer, knob: Knobs, dsp: bool) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), (_stride_y, stride_x) = layer.kernel, layer.stride
    (_top, _), (left, _) = layer.padding
    cols = knob("block_cols")
    columns = out_h * -(-out_w // cols)
    row_blocks, left_blocks = _row_blocks(layer, knob, False)
    counts = {
        **_blocks(knob, _products(layer, knob, dsp, kernel_w * channels, kernel_h), row_blocks, left_blocks, columns),
        "stores": columns * cols * out_ch,
        "groups": out_h * (row_blocks + left_blocks),
        "partial": out_h * (out_w % cols > 0) * (row_blocks + left_blocks),
        "fills": out_h,
        "rows": out_h,
        "calls": 1,
    }
    if knob("lowering")[0] == "direct":
        return counts
    # Lines that a ring of kernel_h rows takes in: rows that some window needs.
    lines = list(_needed(layer))
    real = sum(0 <= y < in_h for y in lines)
    span, lanes = (out_w - 1) * stride_x + kernel_w, _lanes(layer, dsp)
    inside = max(min(in_w, span - left), 0)
    right = span - left - inside
    padding = [
        _zeros((span * channels + span * channels % 2) * 2, len(lines) - real),
        _zeros(left * channels * 2, real),
        _zeros(right * channels * 2, real),
    ]
    return counts | {
        "words": inside * channels // lanes * real,
        "ragged": inside * channels % lanes * real,
        "segments": real,
        "copy_turns": real * _copy_turns(layer, inside * channels, dsp),
        "cuts": real * ((left > 0) + (right > 0)),
        "outside": len(lines) - real,
        "zero_lines": sum(item["zero_lines"] for item in padding),
        "zero_bytes": sum(item["zero_bytes"] for item in padding),
    }


def _needed(layer: Layer) -> list[int]:
    """Rows of the padded input that some window needs, each once."""
    out_h, kernel_h, stride = layer.output_image[0], layer.kernel[0], layer.stride[0]
    first = range(-layer.padding[0][0], out_h * stride - layer.padding[0][0], stride)
    return sorted({y + m for y in first for m in range(kernel_h)})


def _conv_winograd(layer: Layer, knob: Knobs, dsp: bool) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    (kernel_h, kernel_w), stride_y = layer.kernel, layer.stride[0]
    (top, _), (left, _) = layer.padding
    tile, cols = knob("tile"), knob("block_cols")
    points, tiles = tile + kernel_w - 1, -(-out_w // tile)
    row_blocks, left_blocks = _row_blocks(layer, knob, True)
    columns = tiles * -(-out_h // cols)
    run = kernel_h * channels
    height = (out_h - 1) * stride_y + kernel_h
    real = sum(0 <= y - top < in_h for y in range(height))
    strips = tiles * real
    # Tiles that begin left of the image or end right of it.
    starts = np.arange(int(tiles.max()))[:, None] * tile - left
    cut = (((starts < 0) | (starts > in_w - points)) & (np.arange(int(tiles.max()))[:, None] < tiles)).sum(axis=0)
    whole_words = channels % 4 == 0
    groups = channels // 4 if whole_words else channels
    padding = _zeros(channels * 2, (height - real))
    plain = knob("weight_layout") == "plain"
    rows = knob("block_rows")
    packed_rows = plain * tiles * (row_blocks * rows + 2 * left_blocks)
    return {
        **_blocks(knob, _products(layer, knob, dsp, run + run % 2, points), row_blocks, left_blocks, columns),
        ("words" if whole_words else "ragged"): (strips - cut * real) * groups,
        ("cut_words" if whole_words else "cut_ragged"): cut * real * groups,
        "segments": strips,
        "cuts": cut * real,
        "outside": tiles * (height - real),
        "zero_lines": padding["zero_lines"] * points,
        "zero_bytes": padding["zero_bytes"] * points,
        "transformed": packed_rows * kernel_h * groups,
        "packs": packed_rows * kernel_h,
        "stores": tiles * -(-out_h // cols) * cols * out_ch,
        "groups": tiles * (row_blocks + left_blocks),
        "partial": tiles * (out_h % cols > 0) * (row_blocks + left_blocks),
        "fills": tiles,
        "rows": tiles * height,
        "calls": 1,
    }


# ---------------------------------------------------------------- depthwise convolution


def _depthwise_im2col(layer: Layer, knob: Knobs, dsp: bool) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    in_rows = _inside(in_h, out_h, kernel_h, stride_y, layer.padding[0][0])
    in_cols = _inside(in_w, out_w, kernel_w, stride_x, layer.padding[1][0])
    pixels, taps = out_h * out_w, kernel_h * kernel_w
    inside = int(in_rows.sum() * in_cols.sum())
    outside, lanes = pixels * taps - inside, _lanes(layer, dsp)
    cols, held, rows, unroll = knob("block_cols"), knob("im2col_cols"), knob("block_rows"), knob("unroll")
    groups = -(-pixels // held)
    last = pixels % held
    columns = pixels // held * (held // cols) + -(-last // cols)
    blocks, left = channels // rows * columns, channels % rows * columns
    turns = _turns(np.full_like(unroll, taps), unroll)
    return {
        "words": inside * (channels // lanes),
        "ragged": inside * (channels % lanes),
        **_zeros(channels * 2, outside),
        "segments": inside,
        "outside": outside,
        "pixels": pixels,
        "steps": blocks * taps,
        "left_steps": left * taps,
        "blocks": blocks,
        "left_blocks": left,
        "stores": pixels * channels,
        "turns": blocks * turns,
        "left_turns": left * turns,
        "groups": columns,
        "partial": (last % cols > 0) * (channels // rows + channels % rows),
        "flushes": np.minimum(groups, pixels - groups),
        "fills": groups,
        "rows": out_h,
        "calls": 1,
    }


def _depthwise_rows(layer: Layer, knob: Knobs, dsp: bool) -> Counts:
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    (top, _), (left, _) = layer.padding
    cols, unroll = knob("block_cols"), knob("unroll")
    group = 4 if layer.dtype == "q7" else 2
    span = (out_w - 1) * stride_x + kernel_w
    inside = max(min(in_w, span - left), 0)
    pairs = (kernel_h + cols) // 2
    words = np.where(cols == 2, kernel_h - 1, pairs)
    strips = -(-out_h // cols)
    whole, rest = channels // group, channels % group
    blocks, left_blocks = out_w // unroll, out_w % unroll
    columns = strips * channels
    per_row = np.array([2 if each == 2 else 1 for each in cols])
    loads, products = ((unroll - 1) * stride_x + kernel_w) * pairs, unroll * kernel_w * pairs * per_row
    rolled = (blocks > 1) & (((loads + products) * blocks > WRITTEN_OUT) | (blocks > 16))
    # Pairs whose rows both lie outside, or one of them.
    outside = np.zeros_like(cols)
    for at, each in enumerate(cols):
        starts = [min(y, out_h - int(each)) * stride_y - top for y in range(0, out_h, int(each))]
        rows = [y + 2 * i for y in starts for i in range(int(pairs[at]))]
        outside[at] = sum(not (y >= 0 and y + 1 < in_h) for y in rows)
    return {
        "words": strips * pairs * inside * whole,
        "ragged": strips * pairs * inside * rest,
        "zero_lines": group * span * pairs * 4 // 16,
        "segments": strips * pairs * (whole + (rest > 0)),
        "outside": outside * (whole + (rest > 0)),
        "taps": columns * kernel_w * words,
        "loads": columns * blocks * loads,
        "steps": columns * blocks * products,
        "left_loads": columns * left_blocks * kernel_w * pairs,
        "left_steps": columns * left_blocks * kernel_w * pairs * per_row,
        "blocks": columns * blocks,
        "left_blocks": columns * left_blocks,
        "stores": columns * out_w * cols,
        "turns": columns * np.where(rolled, blocks, 0),
        "reloads": columns * np.where(rolled, blocks, 0) * kernel_w * words,
        "channels": columns,
        "groups": columns * rolled,
        "fills": strips * (whole + (rest > 0)),
        "rows": strips,
        "calls": 1,
    }


# ---------------------------------------------------------------- fully connected


def _dense(layer: Layer, knob: Knobs, dsp: bool) -> Counts:
    size, out = prod(layer.input_shape), prod(layer.output_shape)
    rows, unroll = knob("block_rows"), knob("unroll")
    plain, narrow = knob("weight_layout") == "plain", (layer.weights_dtype or layer.dtype) == "q7"
    widened = (knob("lowering") == "im2col") & (layer.dtype == "q7")
    fours, twos = np.where(rows == 4, out // 4, 0), np.where(rows > 1, out % np.where(rows == 4, 4, out + 1) // 2, 0)
    ones = out - 4 * fours - 2 * twos
    blocks, pairs, last = np.where(rows == 4, fours, twos), np.where(rows == 4, twos, 0), ones
    blocks, last = np.where(rows == 1, ones, blocks), np.where(rows == 1, 0, last)
    paired = (knob("weight_layout") == "interleaved") & (layer.dtype == "q7") & narrow & (rows > 1) & (out > 1)
    scalar = plain & (not dsp)
    if scalar.any():  # elements, not steps of four
        passes, rest, tail = np.full_like(rows, size), np.zeros_like(rows), np.zeros_like(rows)
        turns = _turns(passes, unroll)
    else:
        steps = size // 4
        turns = steps // unroll
        rest = steps % unroll
        passes = steps + ((size % 4 > 0) & ~plain)
        tail = np.where(plain, size % 4, size % 4 > 0)
    cuts = np.where(paired, np.maximum(-(-(size // 4 // unroll * unroll) // 120), 1), 0)
    every = blocks + pairs + last
    return {
        "words": np.where(widened, size // 4, 0),
        "ragged": np.where(widened & scalar, size % 4, 0),
        "excess": np.where(paired, size // 4 + size % 4, 0),
        "steps": blocks * passes,
        "pair_steps": pairs * passes,
        "last_steps": last * passes,
        "singles": (blocks * np.where(plain, rows, 1) + pairs * np.where(plain, 2, 1) + last) * tail,
        "blocks": blocks,
        "pair_blocks": pairs,
        "last_blocks": last,
        "turns": blocks * turns,
        "pair_turns": pairs * turns,
        "last_turns": last * turns,
        "rest": every * rest,
        "cuts": (blocks + pairs) * cuts,
        "calls": 1,
    }


_COUNTERS: dict[str, dict[str, Callable[[Layer, Knobs, bool], Counts]]] = {
    "conv2d": {
        "im2col": _conv_im2col,
        "line_buffer": _conv_rows,
        "direct": _conv_rows,
        "winograd": _conv_winograd,
    },
    "depthwise_conv2d": {"im2col": _depthwise_im2col, "line_buffer": _depthwise_rows},
    "fully_connected": {"im2col": _dense, "direct": _dense},
}


# ---------------------------------------------------------------- pooling, element by element


def _inside(size: int, out: int, kernel: int, stride: int, before: int) -> np.ndarray:
    """For every output position along one axis, how many taps lie inside the input."""
    first = np.arange(out) * stride - before
    return np.maximum(np.minimum(first + kernel, size) - np.maximum(first, 0), 0)


def _windowed(layer: Layer, unaligned: bool) -> Counts:
    (in_h, in_w, _channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    before = layer.padding[1][0]
    groups = lane_groups(layer, unaligned)
    in_rows = _inside(in_h, out_h, kernel_h, stride_y, layer.padding[0][0])
    in_cols = _inside(in_w, out_w, kernel_w, stride_x, before)
    counts: Counts = {"rows": out_h, "calls": 1}
    low = (before + stride_x - 1) // stride_x
    high = min((in_w + before - kernel_w) // stride_x + 1, out_w) if in_w + before >= kernel_w else 0
    slides = kernel_h <= 4 and kernel_w <= 4 and high > low
    walked = in_cols
    if slides:
        # One clipped window on each side slides along; those further out are walked.
        left, right = int(low > 0), int(out_w > high)
        overlap = max(kernel_w - stride_x, 0)
        left_columns = kernel_w - before + (low - 1) * stride_x if left else 0
        right_columns = max(in_w + before - high * stride_x - overlap, 0) if right else 0
        columns = left_columns + overlap + (high - low) * (kernel_w - overlap) + right_columns
        walked = np.concatenate([in_cols[: low - left], in_cols[high + right :]])
        joins = (high - low) * (kernel_w - 1) + max(left_columns - 1, 0) + right * max(right_columns, 0)
        counts |= {
            "elements": int(in_rows.sum()) * columns * groups,
            "columns": out_h * columns * groups,
            "joins": out_h * joins * groups,
            "outputs": out_h * (high - low + left + right) * groups,
            "edges": out_h * (left + right) * groups,
            "strips": out_h * groups,
            "clipped": int((in_rows != kernel_h).sum()),
        }
    counts |= {
        "taps": int(in_rows.sum() * walked.sum()) * groups,
        "windows": out_h * len(walked) * groups,
        "lines": int(in_rows.sum()) * len(walked) * groups,
        "singles": out_h * len(walked),
    }
    return counts


def lane_groups(layer: Layer, unaligned: bool) -> int:
    """Groups of channels that a pooling kernel takes at once: words where it can read them, else single channels."""
    channels, lanes = layer.image[2], 4 // layer.numpy_dtype.itemsize
    if layer.op == "avg_pool2d" and (
        layer.dtype == "q15" or min(layer.kernel[0], layer.image[0]) * min(layer.kernel[1], layer.image[1]) > 256
    ):
        return channels
    if channels < lanes or (not unaligned and channels % lanes):
        return channels
    return -(-channels // lanes)


def _elementwise(layer: Layer) -> Counts:
    size, lanes = prod(layer.input_shape), 4 // layer.numpy_dtype.itemsize
    if layer.op == "relu":
        return {"elements": size // lanes, "rest": size % lanes, "turns": _turns(size // lanes, 8), "calls": 1}
    return {"elements": size, "turns": _turns(size, 2 if layer.op == "softmax" else 4), "calls": 1}
