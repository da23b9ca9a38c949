"""The device's memory: how much is asked for, and rows that are moved, taken out and put back.

The device is the CPU; everything but its name is what CUDA gets.
"""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from infrastructure.inference.prepared.config import Provider
from infrastructure.inference.prepared.errors import is_out_of_memory
from infrastructure.inference.sessions.device import Device, Region, cuda_options
from infrastructure.inference.sessions.device_graphs import serialised
from infrastructure.inference.sessions.device_kv_cache import DeviceKvCache
from infrastructure.inference.sessions.gpu import gpu_memory
from infrastructure.inference.sessions.kv_layout import kv_cache_shape
from tests.infrastructure.inference.tiny import TINY

DEVICE = Device(provider=Provider.CPU)
ROWS, TOKENS = 3, 1000
HAS_GPU = Path("/dev/nvidia0").exists()


def _values(region: Region) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A copy of the region, made by a graph that reads it in place."""
    axes: list[int | str] = ["A", "B"]
    node = helper.make_node("Identity", ["given"], ["same"])
    graph = serialised(
        [node],
        inputs={"given": (TensorProto.FLOAT, axes)},
        outputs={"same": (TensorProto.FLOAT, axes)},
    )
    session = DEVICE.session(graph, arena_bytes=0)
    flat = replace(region, shape=(1, region.nbytes // 4), element=TensorProto.FLOAT)
    io = session.io_binding()
    DEVICE.bind_input(io, "given", flat)
    io.bind_output("same", "cpu")
    session.run_with_iobinding(io)
    found = np.asarray(io.copy_outputs_to_cpu()[0], np.float32)
    return found.reshape(region.shape)


def test_memory_takes_what_was_asked_for_and_reads_as_zeros() -> None:
    shape = (4, 3, 2, 8, 16)
    halves, floats = DEVICE.zeros([(shape, TensorProto.BFLOAT16), ((3, 10), TensorProto.FLOAT)])
    assert (halves.nbytes, floats.nbytes) == (4 * 3 * 2 * 8 * 16 * 2, 120)
    part = halves.part(2).rows(1, 2)
    assert part.shape == (2, 2, 8, 16)
    assert part.address == halves.address + 2 * (2 * 3 + 1) * 2 * 8 * 16
    words = halves.words(4)
    assert (words.shape, words.nbytes) == ((halves.nbytes // 32, 4), halves.nbytes)
    assert not _values(floats).any()


@pytest.mark.parametrize("moved_bytes_max", [1, 2**26])
def test_rows_hold_what_was_put_into_them_after_any_moves_and_copies(moved_bytes_max: int) -> None:
    """Rows are moved in pieces of the least size, and whole."""
    (region,) = DEVICE.zeros([(kv_cache_shape(TINY, rows=ROWS, tokens=TOKENS), TensorProto.FLOAT)])
    assert region.shape == (8, ROWS, 2, 1024, 16)
    kv_cache = DeviceKvCache(
        region, DEVICE, kept_bytes_max=2**20, chunk_tokens=16, moved_bytes_max=moved_bytes_max
    )
    full = np.random.default_rng(3).normal(size=(8, 2, 1024, 16)).astype(np.float32)
    source = DeviceKvCache(_region_of(full), DEVICE, kept_bytes_max=2**20, chunk_tokens=16)
    wanted, held = np.zeros(region.shape, np.float32), [0] * ROWS
    draw = random.Random(5)  # The seed makes the moves the same in every run.
    for _ in range(60):
        row, other = draw.sample(range(ROWS), 2)
        first = draw.choice([0, 7, 16, 64, 256, 300])
        last = first + draw.choice([1, 16, 64, 100, 512])
        if held[row] >= first and draw.random() < 0.6:
            block = source.read(0, first, last)
            assert block.nbytes == full[:, :, first:last].nbytes
            kv_cache.write(row, first, block)
            wanted[:, row, :, first:last] = full[:, :, first:last]
            held[row] = last
        else:
            kv_cache.move(row, other, held[row])
            wanted[:, other, :, : held[row]] = wanted[:, row, :, : held[row]]
            held[other] = held[row]
        assert kv_cache.lengths == held
        found = _values(region)
        for place, length in enumerate(held):
            assert np.array_equal(found[:, place, :, :length], wanted[:, place, :, :length])
    kv_cache.release(0)
    assert kv_cache.lengths[0] == 0


def _region_of(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Region:
    whole = np.ascontiguousarray(values[:, None])
    return Region(
        address=whole.ctypes.data, shape=whole.shape, element=TensorProto.FLOAT, alive=whole
    )


def test_cuda_is_given_no_more_than_was_budgeted_and_captures_only_when_told() -> None:
    options = cuda_options(10**9, cuda_graph=True)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert 10**9 < int(options["gpu_mem_limit"]) < 1.01 * 10**9
    assert options["enable_cuda_graph"] == "1"
    assert cuda_options(1, cuda_graph=False)["enable_cuda_graph"] == "0"


def test_how_much_memory_a_gpu_has_is_known_where_there_is_one() -> None:
    found = gpu_memory()
    if not HAS_GPU:
        assert found is None
        return
    assert found is not None
    total, free = found
    assert 0 < free <= total


@pytest.mark.parametrize(
    "words",
    [
        "Failed to allocate memory for requested buffer of size 4398046511104",
        "AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Available memory of 144640 is"
        " smaller than requested bytes of 253440",
        "CUDA failure 2: out of memory ; GPU=0",
    ],
)
def test_what_onnx_runtime_says_when_memory_is_gone_is_understood(words: str) -> None:
    assert is_out_of_memory(RuntimeError(words))
    assert not is_out_of_memory(RuntimeError("CUDA failure 700: an illegal memory access"))
