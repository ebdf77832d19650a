# SPDX-License-Identifier: Apache-2.0
"""Kernels hold no state, release the GIL and leak nothing."""

import gc
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cmsisnn_x
from cmsisnn_x import Variant
from helpers.arrays import assert_bit_exact, random_array

RNG = np.random.default_rng(8)
IMAGE = random_array(RNG, (24, 24, 16), np.int8)
WIDE = random_array(RNG, (12, 12, 8), np.int16)
KERNELS = random_array(RNG, (16, 3, 3, 16), np.int8)
TAPS = random_array(RNG, (3, 3, 16), np.int8)
MATRIX = random_array(RNG, (10, 9216), np.int8)

CALLS = {
    "convolve": lambda: cmsisnn_x.convolve(IMAGE, KERNELS, padding=1, out_shift=9),
    "convolve variant": lambda: cmsisnn_x.convolve(IMAGE, KERNELS, padding=1, out_shift=9, variant=Variant(2, 2, 4, 8)),
    "depthwise": lambda: cmsisnn_x.depthwise_convolve(IMAGE, TAPS, padding=1, out_shift=7),
    "depthwise variant": lambda: cmsisnn_x.depthwise_convolve(IMAGE, TAPS, out_shift=7, variant=Variant(4, 4, 2, 2)),
    "fully connected": lambda: cmsisnn_x.fully_connected(IMAGE, MATRIX, out_shift=12),
    "fully connected variant": lambda: cmsisnn_x.fully_connected(IMAGE, MATRIX, out_shift=12, variant=Variant()),
    "max pool": lambda: cmsisnn_x.max_pool(IMAGE, 3, stride=2),
    "average pool": lambda: cmsisnn_x.avg_pool(WIDE, 3, stride=1, padding=1),
    "sigmoid": lambda: cmsisnn_x.sigmoid(WIDE, 3),
    "softmax": lambda: cmsisnn_x.softmax(IMAGE),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
def test_eight_threads_give_the_same_bytes(call):
    expected = call()
    barrier = threading.Barrier(8)

    def work(_):
        barrier.wait()
        return [call() for _ in range(12)]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for result in results:
                assert_bit_exact(result, expected)


# Made beforehand: NumPy's own copies release the GIL.
BIG = random_array(RNG, (40, 64, 64, 64), np.int8)
BIG_KERNELS = random_array(RNG, (64, 3, 3, 64), np.int8)
BIG_TAPS = random_array(RNG, (3, 3, 64), np.int8)
BIG_BATCH = random_array(RNG, (64, 4096), np.int8)
BIG_MATRIX = random_array(RNG, (1024, 4096), np.int8)
LONG = np.zeros(40_000_000, np.int8)

LASTING = {
    "convolve": lambda: cmsisnn_x.convolve(BIG[:20], BIG_KERNELS, out_shift=9),
    "convolve variant": lambda: cmsisnn_x.convolve(BIG[:3], BIG_KERNELS, out_shift=9, variant=Variant()),
    "depthwise variant": lambda: cmsisnn_x.depthwise_convolve(BIG, BIG_TAPS, out_shift=9, variant=Variant()),
    "fully connected variant": lambda: cmsisnn_x.fully_connected(BIG_BATCH, BIG_MATRIX, out_shift=9, variant=Variant()),
    "average pool": lambda: cmsisnn_x.avg_pool(BIG[:8], 5, stride=1),
    "max pool": lambda: cmsisnn_x.max_pool(BIG, 5, stride=1),
    "relu": lambda: cmsisnn_x.relu(LONG),
    "tanh": lambda: cmsisnn_x.tanh(LONG, 2),
    "multiply": lambda: cmsisnn_x.multiply(LONG, LONG, out_shift=3),
    "widening": lambda: cmsisnn_x.q7_to_q15(LONG, reorder=True),
    "softmax": lambda: cmsisnn_x.softmax(LONG.reshape(-1, 1000)),
}


@pytest.mark.parametrize("call", LASTING.values(), ids=LASTING)
def test_the_gil_is_released(call):
    # With so long a switch interval a thread gets the GIL only if the running one releases it of its own accord.
    interval = sys.getswitchinterval()
    ticks, started, done = 0, threading.Event(), threading.Event()

    def tick():
        nonlocal ticks
        started.set()
        while not done.wait(0.0005):
            ticks += 1

    thread = threading.Thread(target=tick)
    sys.setswitchinterval(60)
    try:
        thread.start()
        started.wait()
        # Only a release inside `call` lets the other thread run, but on a busy machine not within every one.
        before, deadline = ticks, time.monotonic() + 20
        while ticks - before < 3 and time.monotonic() < deadline:
            call()
        during = ticks - before
    finally:
        done.set()
        sys.setswitchinterval(interval)
        thread.join()
    assert during >= 3


@pytest.mark.full
@every_call
def test_calls_leak_nothing(call):
    def refused():
        with pytest.raises(ValueError, match="out_shift"):
            cmsisnn_x.convolve(IMAGE, KERNELS, out_shift=99)

    for _ in range(20):
        call()
        refused()
    gc.collect()
    tracemalloc.start()
    growth = []  # in each of three rounds; what others allocate once, such as caches, is in one of them
    try:
        for _ in range(3):
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(100):
                call()
                refused()
            gc.collect()
            growth.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    # One leaked output or view object per call would be 100 of them in every round.
    assert min(growth) < 100 * 40
