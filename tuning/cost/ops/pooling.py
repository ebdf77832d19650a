# SPDX-License-Identifier: Apache-2.0
"""Max and average pooling: their parts, how often each runs, and what one run costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from ..instructions import Cycles
from ..loops import Counts, loop_turns, taps_inside, without_knobs
from ..op_cost import OpCost, Timing, Variants

PARTS = {
    "elements": "multiply_accumulate",  # loads in columns that neighbouring windows share, or in windows written out
    "columns": "multiply_accumulate",  # such columns
    "joins": "multiply_accumulate",  # columns put together
    "taps": "multiply_accumulate",  # in-image elements of windows that are walked one by one
    "outputs": "requantise",  # windows x lane groups that slide
    "edges": "requantise",  # of them, clipped at the left or right
    "windows": "requantise",  # windows x lane groups that are walked
    "averages": "requantise",  # sums divided
    "lines": "loop",  # rows of walked windows
    "turns": "loop",  # turns of the loop over windows that slide; averages of single channels GCC does not unroll
    "strips": "loop",  # output rows x lane groups
    "singles": "loop",  # windows walked, whatever their channels
    "clipped": "loop",  # output rows whose windows are clipped at the top or bottom
    "rows": "loop",
    "calls": "loop",
}
"""Each in lane groups of channels."""


WRITTEN_OUT, WRITTEN_OUT_ROW, WRITTEN_OUT_ROWS = 36, 3, 17
"""Elements of a walked window, of a row of it, and rows, up to which the compiler writes both loops out: of longer rows
the loop by two stays.
"""
WRITTEN_OUT_WORDS, WRITTEN_OUT_AVERAGES = 16, 24
"""Elements likewise of the largest and of averages in words without the DSP extension, whose code is longer."""
SHORT = 16
"""Elements of windows that the image clips which are short; beside vectors those that are written out."""
BY_FOUR = 4
"""Elements of a turn over windows as wide as the image."""
MOST_PEELED, MOST_OF_MASKS, MOST_AVERAGES = 16, 12, 6
"""Lane groups of a single window up to which GCC writes the loop over them out: it stops at sixteen turns, or where the
code gets too long, as that of words without SEL, and of their averages.
"""


def _lanes(layer: Layer) -> int:
    """Channels of a vector on cores with Helium; sums of 8 bits go 16 at a time where there are as many."""
    lanes = 16 // layer.numpy_dtype.itemsize
    return 8 if layer.python_op == "avg_pool" and (layer.image[2] < 16 or _is_wide(layer)) else lanes


def _vectors(layer: Layer) -> int:
    """Vectors of a pixel's channels."""
    return -(-layer.image[2] // _lanes(layer))


def _is_wide(layer: Layer) -> bool:
    """Whether sums of an average need 32 bits."""
    area = min(layer.kernel[0], layer.image[0]) * min(layer.kernel[1], layer.image[1])
    return layer.dtype == "q15" or area > 256


def _is_word(layer: Layer) -> bool:
    """Whether a pixel is a word whose lanes are compared."""
    return layer.python_op == "max_pool" and layer.image[2] * layer.numpy_dtype.itemsize == 4


def _in_vectors(layer: Layer, features: Features) -> bool:
    """Whether a kernel of vectors runs; the largest of pixels of one word are found otherwise (`_word_windows`)."""
    return features.isa >= Isa.HELIUM and not _is_word(layer)


WORD_REACH, WORD_STEP = 4095, 63
"""Bytes that a load of a word reaches, and pixels that its address steps behind it."""


def _word_strips(layer: Layer) -> str | None:
    """How windows go that no end of a row clips: four at a time, one by one, or None where all are walked."""
    (height, _), (_, stride) = layer.kernel, layer.stride
    columns = _whole_columns(layer)
    if max(layer.kernel) > 4 or not columns:
        return None
    if stride == 1 and columns >= 4:
        return "four"
    return "one" if (height - 1) * layer.image[1] * 4 + 12 <= WORD_REACH and stride <= WORD_STEP else None


def _word_windows(layer: Layer) -> Counts:
    """The largest of pixels of one word with Helium: elements, outputs and strips of windows that no end of a row
    clips, taps, lines and windows of all others. Four at a time a row is read again for each beyond the image, else
    windows that lack one are walked.
    """
    layer = _turned(layer)
    (out_h, out_w, _), (kernel_h, kernel_w) = layer.output_image, layer.kernel
    rows, columns = _inside(layer)
    how, whole = _word_strips(layer), _whole_columns(layer)
    in_strips = rows >= (1 if how == "four" else kernel_h) if how else rows < 0
    turns, strips = (-(-whole // 4) if how == "four" else whole), int(in_strips.sum())
    taken = int(rows[in_strips].sum())
    return {
        "elements": strips * turns * kernel_h * kernel_w,
        "outputs": strips * turns,
        "strips": strips * (1 + (how == "four" and whole % 4 > 0)),
        "taps": int(rows.sum() * columns.sum()) - taken * whole * kernel_w,
        "lines": int(rows.sum()) * out_w - taken * whole,
        "windows": out_h * out_w - strips * whole,
        "clipped": out_h - strips,
        "rows": out_h,
        "calls": 1,
    }


STRAIGHT, LONGEST = 25, 8
"""Pixels of a whole window up to which it is written out there, and of its sides."""


def _is_straight(layer: Layer) -> bool:
    return max(layer.kernel) <= LONGEST and layer.kernel[0] * layer.kernel[1] <= STRAIGHT


NEAR, FAR = 127, 508
"""Bytes that an address steps at most behind a load of bytes, and of words."""


def _turned(layer: Layer) -> Layer:
    """An image of one column is gone through as one of one row."""
    if layer.image[1] != 1 or layer.output_image[1] != 1:
        return layer
    (height, _, channels), (out_height, _, _) = layer.image, layer.output_image
    return replace(
        layer,
        input_shape=(1, height, channels),
        output_shape=(1, out_height, channels),
        kernel=layer.kernel[::-1],
        stride=layer.stride[::-1],
        padding=layer.padding[::-1],
    )


def _along(layer: Layer, columns: int) -> str | None:
    """How whole windows are taken, of the largest up to 4x4, `columns` in a row of them: along the row a vector of
    channels after the other, or along the channels of each; None where windows are walked.
    """
    if layer.python_op == "avg_pool":
        if not _is_straight(layer) or not columns:
            return None
        in_row = layer.image[2] < _lanes(layer) or columns >= layer.image[2] // _lanes(layer)
        return "rows" if in_row else "channels"
    if max(layer.kernel) > 4 or not columns:
        return None
    pixel, partial = layer.image[2] * layer.numpy_dtype.itemsize, layer.image[2] < _lanes(layer)
    reach, across = FAR if pixel % 4 == 0 and not partial else NEAR, (layer.kernel[1] - 1) * pixel
    near = pixel <= reach and abs(layer.stride[1] * pixel - across) <= reach
    if near and (partial or columns >= layer.image[2] // _lanes(layer)):
        return "rows"
    return None if partial else "channels"


def _is_far(layer: Layer, along: str | None) -> bool:
    """Whether pixels, or the next window, lie farther than a load steps: additions do."""
    pixel = layer.image[2] * layer.numpy_dtype.itemsize
    if layer.python_op == "avg_pool" or along != "channels":
        return pixel > NEAR and (along is None or layer.python_op == "avg_pool")
    reach, across = FAR if pixel % 4 == 0 else NEAR, (layer.kernel[1] - 1) * pixel
    return not ((layer.kernel[1] == 1 or pixel <= reach) and abs(16 - across) <= reach)


def _whole_columns(layer: Layer) -> int:
    return int((_inside(layer)[1] == layer.kernel[1]).sum())


def _inside(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and columns, that the windows of each row, and of each column, have inside the image."""
    (in_h, in_w, _), (out_h, out_w, _) = layer.image, layer.output_image
    rows, columns = (
        taps_inside(size, out, layer.kernel[axis], layer.stride[axis], layer.padding[axis][0])
        for axis, (size, out) in enumerate(((in_h, out_h), (in_w, out_w)))
    )
    return rows, columns


def _vector_windows(layer: Layer) -> Counts:
    """Of Helium, which loads every pixel of every window. Elements, columns (their rows, where these are loops),
    outputs and averages are of windows that no edge clips; taps, lines, windows and edges of the others. Strips are
    runs of the former, joins averages of less than three pixels, which a shift makes.
    """
    layer = _turned(layer)
    (_, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    rows, columns = _inside(layer)
    (kernel_h, kernel_w), groups, is_average = layer.kernel, _vectors(layer), layer.python_op == "avg_pool"
    whole_columns = _whole_columns(layer)
    whole_rows = int((rows == kernel_h).sum())
    whole = whole_rows * whole_columns
    clipped = out_h * out_w - whole
    along = _along(layer, whole_columns)
    strips = {"rows": whole_rows * groups, "channels": whole * (1 + (channels % _lanes(layer) > 0)), None: 0}[along]
    # Rows as wide as the image are one with those below.
    lines = int((columns == in_w).sum()) * out_h + int((columns != in_w).sum() * rows.sum())
    whole_lines = whole * (1 if kernel_w == in_w else kernel_h)
    return {
        "elements": whole * kernel_h * kernel_w * groups,
        "columns": whole_lines * groups * (along is None and not _is_straight(layer)),
        "outputs": whole * groups,
        "averages": whole * groups * (is_average and kernel_h * kernel_w >= 3),
        "joins": whole * groups * (is_average and kernel_h * kernel_w < 3),
        "strips": strips,
        "taps": (int(rows.sum() * columns.sum()) - whole * kernel_h * kernel_w) * groups,
        "lines": (lines - whole_lines) * groups,
        "windows": clipped * groups,
        "edges": clipped * groups * is_average,
        "singles": whole * (along != "rows"),
        "turns": whole * (along is None and groups > 1),  # a loop over channels
        "clipped": clipped,
        "rows": out_h,
        "calls": 1,
    }


def _windows(layer: Layer, features: Features) -> Counts:
    if features.isa >= Isa.HELIUM:
        return _word_windows(layer) if _is_word(layer) else _vector_windows(layer)
    (in_h, in_w, channels), (out_h, out_w, _) = layer.image, layer.output_image
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    before = layer.padding[1][0]
    groups = lane_groups(layer, features)
    in_rows = taps_inside(in_h, out_h, kernel_h, stride_y, layer.padding[0][0])
    in_cols = taps_inside(in_w, out_w, kernel_w, stride_x, before)
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
        # On the right the columns that are read there stand for those put together, with no overlap one too many: the
        # fitted coefficients go with these counts.
        joins = (high - low) * (kernel_w - 1) + max(left_columns - 1, 0) + right * max(right_columns, 0)
        counts |= {
            "elements": int(in_rows.sum()) * columns * groups,
            "columns": out_h * columns * groups,
            "joins": out_h * joins * groups,
            "outputs": out_h * (high - low + left + right) * groups,
            "edges": out_h * (left + right) * groups,
            "turns": out_h * groups * loop_turns(high - low, 2) * (layer.python_op == "max_pool" or groups < channels),
            "strips": out_h * groups,
            "clipped": int((in_rows != kernel_h).sum()),
        }
    if layer.python_op == "avg_pool":
        lanes = 1 if groups == layer.image[2] else 4 // layer.numpy_dtype.itemsize
        counts["averages"] = out_h * out_w * groups * lanes
    if _is_whole(layer, features):
        left = (kernel_h * kernel_w - 1) % BY_FOUR
        in_turns = kernel_h * kernel_w - 1 - left
        windows = out_h * groups
        return counts | {
            "elements": windows * in_turns, "taps": windows * left, "windows": windows, "singles": out_h,
        }  # fmt: skip
    taps, windows = int(in_rows.sum() * walked.sum()) * groups, out_h * len(walked) * groups
    one_loop = not slides and layer.kernel[0] == 1 and not _clips(layer)  # of known length
    # Masks of the largest of four find no registers there that windows beside each other do not share.
    of_element = "taps" if layer.python_op == "max_pool" and features.isa < Isa.DSP else "elements"
    if not slides and not one_loop and _written_out(layer, features):
        return counts | {of_element: taps, "columns": windows, "outputs": windows, "singles": out_h * len(walked)}
    counts |= {
        "taps": taps,
        "windows": windows,
        "lines": int(in_rows.sum()) * len(walked) * groups,
        "singles": out_h * len(walked),
    }
    if one_loop:
        counts |= {"taps": 0, of_element: taps, "lines": 0, "turns": taps // 2}
    return counts


def _written_out(layer: Layer, features: Features) -> bool:
    """Whether both loops over a walked window have a known length, and are written out."""
    (kernel_h, kernel_w), words = layer.kernel, lane_groups(layer, features) < layer.image[2]
    most = WRITTEN_OUT if features.isa < Isa.HELIUM else SHORT
    if features.isa < Isa.DSP and words:
        most = WRITTEN_OUT_AVERAGES if layer.python_op == "avg_pool" and not _spans_rows(layer) else WRITTEN_OUT_WORDS
    is_short = kernel_h * kernel_w <= most and kernel_w <= WRITTEN_OUT_ROW and kernel_h <= WRITTEN_OUT_ROWS
    return is_short and not _clips(layer)


def _spans_rows(layer: Layer) -> bool:
    """Whether windows of several rows are as wide as the image, which clips none."""
    return layer.kernel[1] == layer.image[1] > 1 < layer.kernel[0] and not _clips(layer)


def _is_whole(layer: Layer, features: Features) -> bool:
    """Whether windows as wide as the image are one loop over elements that lie side by side."""
    if features.isa >= Isa.HELIUM:
        return False
    return _spans_rows(layer) and not _slides(layer) and not _written_out(layer, features)


def lane_groups(layer: Layer, features: Features) -> int:
    """Groups of channels that a pooling kernel takes at once: words where it can read them, else single channels."""
    channels, lanes = layer.image[2], 4 // layer.numpy_dtype.itemsize
    if layer.python_op == "avg_pool" and (
        layer.dtype == "q15" or min(layer.kernel[0], layer.image[0]) * min(layer.kernel[1], layer.image[1]) > 256
    ):
        return channels
    if channels < lanes or (not features.unaligned and channels % lanes):
        return channels
    return -(-channels // lanes)


def count(layer: Layer, variants: Variants, features: Features) -> np.ndarray:
    return without_knobs(_windows(layer, features), variants, PARTS)


def price(layer: Layer, variant: Variant | None, features: Features, timing: Timing) -> dict[str, float]:
    """A prior for a fit, no more: instructions that the C source asks for, counted by hand; rough where it says so."""
    one = Cycles.of(timing, features)
    alu, store, load, branch = one.alu, one.store, one.load, one.branch
    if _in_vectors(layer, features):
        layer = _turned(layer)
        wide, is_average = _is_wide(layer), layer.python_op == "avg_pool"
        partial = layer.image[2] < _lanes(layer)
        element = (2.0 if not is_average else 6.0 if wide else _lanes(layer) / 4) + partial
        element += _is_far(layer, _along(layer, _whole_columns(layer)))
        # Eight divisions, by a number that is known or not; or two products.
        average, clipped = (16.0 if wide else 10.0 * _lanes(layer) / 8, 160.0 if wide else 50.0)
        return dict.fromkeys(PARTS, 0.0) | {
            "elements": element, "columns": 2.0, "outputs": 4.0, "averages": average, "strips": 20.0, "turns": 12.0,
            "joins": 20.0, "taps": element, "lines": 6.0, "windows": 12.0, "edges": clipped, "singles": 12 * alu,
            "clipped": 24 * alu, "rows": 12 * alu, "calls": 30 * alu,
        }  # fmt: skip
    if features.isa >= Isa.HELIUM:
        element = 2.0 if _word_strips(_turned(layer)) == "four" else 3.0
        return dict.fromkeys(PARTS, 0.0) | {
            "elements": element, "outputs": 3.0, "strips": 16.0, "taps": 4.0, "lines": 8.0, "windows": 16 * alu,
            "clipped": 16 * alu, "rows": 16 * alu, "calls": 30 * alu,
        }  # fmt: skip
    dsp, words = features.isa >= Isa.DSP, lane_groups(layer, features) < layer.image[2]
    if layer.python_op == "avg_pool":
        # An addition; of a word's lanes SXTAB16 twice, or masks and additions.
        extend = (1 if not words else 2 if dsp else 5) * alu
    else:
        # Compare and move, or SSUB8 and SEL; else masks, rough.
        extend = (9 if words and not dsp else 2) * alu
    # In a loop the masks of the latter find no registers on cores with few; rough.
    walked = extend * (2.5 if extend > 5 * alu else 1)
    return {
        "elements": load + extend,
        "columns": one.first_load + alu,  # and an address
        "joins": extend / 2,  # half of what an element takes, as its lanes lie apart already; rough
        "taps": load + one.first_load + walked + alu + branch / 2,  # in a loop of two
        "outputs": store + 2 * alu + branch,  # two addresses, and the loop
        "edges": 2 * alu,  # a factor of its own; rough
        "windows": store + 6 * alu + branch,  # a loop over rows set up; rough
        "averages": (5 if layer.dtype == "q7" else 8) * alu,  # by a factor and a shift; or a division, rough
        "lines": 4 * alu + branch,  # the loop over rows
        "turns": one.turn,
        "strips": 12 * alu + branch,  # addresses of a lane group; rough
        "singles": 16 * alu + branch,  # where the window lies, and what of it the image clips; rough
        "clipped": 10 * alu,  # how many rows there are; rough
        "rows": 12 * alu + branch,  # a turn of the outer loop; rough
        "calls": 30 * alu,  # registers saved and restored, constants; rough
    }


def _slides(layer: Layer) -> bool:
    """Whether windows slide along a row; else they are walked one by one."""
    before, width = layer.padding[1][0], layer.image[1]
    (kernel_h, kernel_w), stride = layer.kernel, layer.stride[1]
    low = (before + stride - 1) // stride
    high = min((width + before - kernel_w) // stride + 1, layer.output_image[1]) if width + before >= kernel_w else 0
    return kernel_h <= 4 and kernel_w <= 4 and high > low


def _sizes(layer: Layer, variant: Variant | None, features: Features) -> str:
    """How windows are gone through, which are unrolled, and whether lanes are filled. Windows that are walked have
    loops of known length where the image clips none; a single window in a row has no loop over windows, and of windows
    of one element the compiler may make a copy.
    """
    if _in_vectors(layer, features):
        layer = _turned(layer)
        along = _along(layer, _whole_columns(layer))
        how = along or ("vectors" if _is_straight(layer) else "walk")
        filled = " lanes=1" if layer.image[2] < _lanes(layer) else " lanes=8" if _lanes(layer) == 8 else ""
        is_average, wide = layer.python_op == "avg_pool", _is_wide(layer)
        marks = {
            "far": _is_far(layer, along),
            "clipped": not is_average and _clips(layer),
            "wide": is_average and wide and layer.dtype != "q15",
            "shifted": is_average and wide and layer.kernel[0] * layer.kernel[1] < 3,
        }
        return f" windows={how}{filled}" + "".join(f" {name}=1" for name, has in marks.items() if has)
    if features.isa >= Isa.HELIUM:
        return f" windows=words how={_word_strips(_turned(layer)) or 'walk'}"
    lanes = " lanes=1" if lane_groups(layer, features) == layer.image[2] else ""
    (kernel_h, kernel_w), (stride_y, stride_x) = layer.kernel, layer.stride
    if _is_whole(layer, features):
        return f" windows=whole{lanes}"
    if _clips(layer):
        walk = "short" if kernel_h * kernel_w <= SHORT else "walk"
    elif kernel_h == 1:
        walk = "line"
    else:
        walk = "short" if _written_out(layer, features) else "column" if kernel_w == 1 else "walk"
    how = "copy" if layer.kernel == (1, 1) else "slide" if _slides(layer) else walk
    windows = f"{how} kernel={kernel_h}x{kernel_w} stride={stride_y}x{stride_x}"
    clipped = " clipped=1" if (not _slides(layer) or layer.output_image[1] == 1) and _clips(layer) else ""
    alone = f" width=1{' written=1' if _is_peeled(layer, features) else ''}" if layer.output_image[1] == 1 else ""
    return f" windows={windows}{lanes}{clipped}{alone}"


def _is_peeled(layer: Layer, features: Features) -> bool:
    """Whether the loop over lane groups of a single window in a row is written out, as it turns so few times."""
    groups = lane_groups(layer, features)
    most = MOST_PEELED
    if groups < layer.image[2]:
        most = MOST_AVERAGES if layer.python_op == "avg_pool" else most if features.schedule != "v6m" else MOST_OF_MASKS
    return groups <= most and not _clips(layer)


def _clips(layer: Layer) -> bool:
    """Whether the image clips some window."""
    sides = zip(layer.image, layer.output_image, layer.kernel, layer.stride, layer.padding, strict=False)
    return any(before > 0 or (out - 1) * stride + kernel > size for size, out, kernel, stride, (before, _) in sides)


POOL = OpCost(PARTS, count, price, sizes=_sizes)
"""Of max_pool and avg_pool."""
