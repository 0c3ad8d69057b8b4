# Copyright 2026 dkn_ros maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""CUDA graphs: buffers, what is kept and what happens on failure, with a recorder on the CPU in CUDA's place; and the
real ones where there is a GPU."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cuda_tape import Tape, recorded
from launches import as_on_a_gpu, on_arrays

from dkn.depth.stages.base import Stages
from dkn.depth.stages.pytorch import PYTORCH
from dkn.engines import cuda_graph
from dkn.engines.cuda_graph import Captured, Graphs
from dkn.engines.reference import ReferenceEngine
from dkn.networks.config import NetworkConfig
from dkn.upsampler import Upsampler

NAN = np.float32(np.nan)
CPU = torch.device("cpu")


@contextlib.contextmanager
def capture(tape, pool, stream, capture_error_mode):
    with use(stream), recorded(tape):
        yield


class Stream:
    """Keeps a list of who waits for whom."""

    waits: list[tuple[Stream, object]]
    current: Stream

    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        self.waits.append((self, other))

    def wait_event(self, event):
        self.waits.append((self, event.stream))

    def synchronize(self):
        pass


class Event:
    def __init__(self, blocking=False):
        self.blocking = blocking

    def record(self):
        self.stream = Stream.current

    def synchronize(self):
        pass


@contextlib.contextmanager
def use(stream):
    before, Stream.current = Stream.current, stream
    yield
    Stream.current = before


def either(name: str) -> Callable[..., Any]:
    """A stage of tensors, as in a graph, and of arrays, as without one, by PyTorch."""
    of_tensors, of_arrays = getattr(PYTORCH, name), getattr(on_arrays(PYTORCH), name)
    return lambda *of: (of_tensors if any(isinstance(one, torch.Tensor) for one in of) else of_arrays)(*of)


EITHER = Stages(*(either(field.name) for field in fields(Stages)))


@pytest.fixture
def graphs(monkeypatch) -> Graphs:
    """Of a GPU that is a CPU."""
    Stream.waits, Stream.current = [], Stream()
    cuda = SimpleNamespace(
        Stream=Stream,
        Event=Event,
        CUDAGraph=Tape,
        stream=use,
        graph=capture,
        device=lambda device: contextlib.nullcontext(),
        current_stream=lambda device: Stream.current,
        set_stream=lambda stream: setattr(Stream, "current", stream),
        graph_pool_handle=object,
    )
    names = "Tensor", "empty", "from_numpy", "inference_mode"
    torch_with_cuda = SimpleNamespace(cuda=cuda, **{name: getattr(torch, name) for name in names})
    monkeypatch.setattr(cuda_graph, "torch", torch_with_cuda)
    monkeypatch.setattr(cuda_graph, "_pinned", lambda tensor: tensor)
    as_on_a_gpu(monkeypatch)
    monkeypatch.setattr("dkn.upsampler.stages", lambda device: EITHER)
    monkeypatch.setattr(Graphs, "possible", True)
    return Graphs(CPU)


def combine(a, b):
    """Something that depends on all values, with views and intermediate results."""
    return (a().float().flip(0)[:, 1:] * 2 + b()[:, None].sum()).cumsum(0)


def arrays(rows: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows, 4)).astype(np.uint8), rng.normal(size=(5, 1)).astype(np.float32)


def plainly(function, *values: np.ndarray) -> np.ndarray:
    return function(*(lambda v=v: torch.from_numpy(np.ascontiguousarray(v)) for v in values)).numpy()


def test_new_arrays_in_the_same_graph(graphs):
    calls = []

    def function(*uploads):
        calls.append(1)
        return combine(*uploads)

    results = [graphs("it", 0, function, *arrays(seed=seed)) for seed in range(4)]
    assert len(calls) == cuda_graph.WARM_UP + 1  # what follows is a replay
    for seed, result in enumerate(results):
        np.testing.assert_array_equal(result, plainly(combine, *arrays(seed=seed)))


def test_any_memory_layout(graphs):
    a, b = arrays()
    expected = plainly(combine, a, b)
    read_only = a.copy()
    read_only.setflags(write=False)
    for view in (a, np.asfortranarray(a), a[::-1, ::-1].copy()[::-1, ::-1], read_only):
        np.testing.assert_array_equal(graphs("it", 0, combine, view, b), expected)


def test_work_waits_for_its_upload_and_only_for_that(graphs):
    seen = []

    def function(late, early):
        seen.append(len(Stream.waits))
        start = early()
        seen.append(len(Stream.waits))
        return late().float() + start.sum()

    captured = Captured(function, arrays(), CPU)
    assert captured._done.blocking  # else the thread that waits keeps a core busy
    main, beside = captured._stream, captured._upload_stream
    # One round: the uploads begin after what came before; the function waits for each when it wants it.
    assert Stream.waits[:4] == [(beside, main), (main, beside), (main, beside), (main, beside)]
    assert seen[:2] == [1, 2]


def test_a_change_builds_once_and_says_so(graphs, caplog):
    with caplog.at_level(logging.INFO, logger="dkn"):
        for rows in (3, 6, 3, 6, 3):
            values = arrays(rows)
            np.testing.assert_array_equal(graphs("it", 0, combine, *values), plainly(combine, *values))
        assert caplog.messages == ["it: built anew for 4x6 and 1x5"]
        double = graphs("it", 1, lambda a, b: 2 * combine(a, b), *arrays(6))
    np.testing.assert_array_equal(double, 2 * plainly(combine, *arrays(6)))
    assert len(caplog.messages) == 2


def test_few_are_kept(graphs):
    for rows in range(1, 10):
        graphs("it", 0, combine, *arrays(rows))
    assert len(graphs._kept) == Graphs.KEPT


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory\nmore"), ValueError()])
def test_what_cannot_be_captured_is_told_once(graphs, error, caplog):
    def function(a, b):
        raise error

    assert graphs("it", 0, combine, *arrays()) is not None
    for _ in range(3):
        assert graphs("it", 1, function, *arrays()) is None
    reason = str(error).partition("\n")[0] or "ValueError"
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        f"it: goes on without a CUDA graph: {reason}"
    ]
    assert list(graphs._kept.values()) == [None]  # the memory of the others is free
    assert graphs("it", 0, combine, *arrays()) is not None


def test_a_question_to_the_gpu_cannot_be_captured(graphs, caplog):
    def function(a, b):
        return a() if bool(b().sum() > 0) else 2 * a()

    assert graphs("it", 0, function, *arrays()) is None
    assert "not permitted" in caplog.text


def test_a_failure_in_mid_run(graphs, caplog):
    assert graphs("it", 0, combine, *arrays()) is not None
    (captured,) = graphs._kept.values()
    captured._graph.replay = lambda: (_ for _ in ()).throw(RuntimeError("the device fell off"))
    assert graphs("it", 0, combine, *arrays()) is None
    assert graphs("it", 0, combine, *arrays()) is None
    assert caplog.messages == ["it: goes on without a CUDA graph: the device fell off"]


# --- The whole way ------------------------------------------------------------------------------------------------


def frames(count: int, big: tuple[int, int] = (24, 32), small: tuple[int, int] = (6, 8)):
    """Each with other holes, the third without a valid depth, the fourth without a hole."""
    rng = np.random.default_rng(0)
    for i in range(count):
        color, depth = rng.integers(0, 256, (*big, 3)).astype(np.uint8), rng.uniform(0.5, 8, small).astype(np.float32)
        share = (0.1, 0.6, 1.0, 0.0)[i % 4]
        depth[rng.random(small) < share] = (NAN, 0, -1, np.inf)[i % 4]
        yield color, depth


@pytest.fixture
def model(tmp_path, make_model):
    return make_model(tmp_path / "model.safetensors", config=NetworkConfig(n1=8, n2=8))


@pytest.mark.parametrize("fill_holes", [False, True])
def test_an_upsampler_with_a_graph_gives_the_same(graphs, model, fill_holes, monkeypatch):
    monkeypatch.setattr(ReferenceEngine, "capturable", True)
    plain, captured = (Upsampler(model, device="cpu", engine="reference", fill_holes=fill_holes) for _ in range(2))
    captured._graphs = graphs
    for color, depth in frames(6):
        np.testing.assert_array_equal(captured(color, depth), plain(color, depth))
    (made,) = graphs._kept.values()
    assert made is not None
    for size in ((6, 8), (3, 4)):
        for color, depth in frames(2, small=size):
            np.testing.assert_array_equal(captured(color, depth), plain(color, depth))
    captured.max_depth = plain.max_depth = 4.0  # as the node changes it
    for color, depth in frames(2):
        np.testing.assert_array_equal(captured(color, depth), plain(color, depth))
    assert len(graphs._kept) == 3 and None not in graphs._kept.values()


def test_an_upsampler_whose_graph_fails_goes_on_without(graphs, model, monkeypatch, caplog):
    monkeypatch.setattr(ReferenceEngine, "capturable", True)
    plain, captured = (Upsampler(model, device="cpu", engine="reference") for _ in range(2))
    captured._graphs = graphs
    monkeypatch.setattr(cuda_graph.torch.cuda, "graph", lambda *arguments, **options: 1 / 0)
    for color, depth in frames(3):
        np.testing.assert_array_equal(captured(color, depth), plain(color, depth))
    assert caplog.messages == ["reference (cpu, fp32): goes on without a CUDA graph: division by zero"]


def test_engines_that_cannot_be_captured_are_not(graphs, model):
    upsampler = Upsampler(model, device="cpu", engine="reference")
    upsampler._graphs = graphs
    upsampler(*next(frames(1)))
    assert not graphs._kept


# --- On a GPU -----------------------------------------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@needs_gpu
@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
@pytest.mark.parametrize("fill_holes", [False, True])
def test_a_real_graph_gives_what_the_engine_gives(tmp_path, make_model, architecture, fill_holes, caplog):
    path = make_model(tmp_path / "m.safetensors", config=NetworkConfig(architecture))
    plain, captured = (Upsampler(path, device="cuda", engine="cuda", fill_holes=fill_holes) for _ in range(2))
    plain._graphs = None
    for size in ((24, 32), (37, 50), (480, 640), (24, 32)):
        for color, depth in frames(6, size):
            np.testing.assert_array_equal(captured(color, depth), plain(color, depth))
    assert all(graph is not None for graph in captured._graphs._kept.values())
    assert "goes on without" not in caplog.text


@needs_gpu
def test_a_real_graph_agrees_with_the_cpu(tmp_path, make_model):
    path = make_model(tmp_path / "m.safetensors", config=NetworkConfig())
    for color, depth in frames(4, (96, 128), (12, 16)):
        gpu, cpu = (Upsampler(path, device=device)(color, depth) for device in ("cuda", "cpu"))
        assert np.array_equal(np.isfinite(gpu), np.isfinite(cpu))
        difference = np.abs(gpu - cpu)[np.isfinite(cpu)]
        assert difference.size == 0 or difference.mean() < 0.01


@needs_gpu
def test_out_of_memory_while_capturing(caplog):
    def function(upload):
        return upload().float().expand(2**20, -1, -1, -1).contiguous().sum(0)  # 16 TB

    graphs = Graphs(torch.device("cuda"))
    image = np.ones((1024, 1024, 4), np.uint8)
    assert graphs("it", 0, function, image) is None
    assert "out of memory" in caplog.text
    small = graphs("it", 1, lambda upload: upload().float() + 1, image)
    np.testing.assert_array_equal(small, 2)


def test_replays_are_in_inference_mode(graphs):
    """PyTorch 2.1 to 2.6 fill tensors of the random generators in place at each replay, which were made in inference
    mode: outside of it that is an error."""
    made = []

    class Generators(Tape):
        def replay(self) -> None:
            made[0].fill_(1)
            super().replay()

    def function(a, b):
        made.append(torch.zeros(1))
        return combine(a, b)

    cuda_graph.torch.cuda.CUDAGraph = Generators
    for seed in range(3):
        result = graphs("it", 0, function, *arrays(seed=seed))
        np.testing.assert_array_equal(result, plainly(combine, *arrays(seed=seed)))


def test_after_a_capture_that_failed_there_is_none_again(graphs, monkeypatch, caplog):
    """PyTorch up to 2.12 then leaves the thread on the graph's stream, and cannot record another."""
    begun = []

    @contextlib.contextmanager
    def never_ends(tape, pool, stream, capture_error_mode):
        begun.append(1)
        Stream.current = stream
        yield
        raise RuntimeError("capture_end: operation failed due to a previous error during capture")

    monkeypatch.setattr(cuda_graph.torch.cuda, "graph", never_ends)
    before = Stream.current
    with caplog.at_level(logging.WARNING, logger="dkn"):
        assert graphs("it", 0, combine, *arrays()) is None
    assert Stream.current is before and "capture_end" in caplog.text
    for rows in (3, 6):
        assert graphs("it", 0, combine, *arrays(rows)) is None
    assert Graphs(CPU)("another", 0, combine, *arrays()) is None
    assert len(begun) == 1


def test_one_capture_at_a_time(graphs, monkeypatch):
    together, most = [], []

    @contextlib.contextmanager
    def slow(tape, pool, stream, capture_error_mode):
        together.append(1)
        most.append(len(together))
        time.sleep(0.05)
        with recorded(tape):
            yield
        together.pop()

    monkeypatch.setattr(cuda_graph.torch.cuda, "graph", slow)
    every = [Graphs(CPU) for _ in range(3)]
    threads = [threading.Thread(target=each, args=("it", 0, lambda a, b: a().float(), *arrays())) for each in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
