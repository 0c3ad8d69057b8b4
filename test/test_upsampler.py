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

"""The whole way from arrays to an array, with random networks: sizes, holes, bounds, views, mistakes."""

from __future__ import annotations

import argparse
import copy
import inspect
import math
import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dkn import checkpoint
from dkn.cli import upsample as upsample_command
from dkn.depth.resample import upsample_bicubic
from dkn.depth.stages.base import LEAST_SCALE
from dkn.engines import Runner
from dkn.engines.selection import autotuning
from dkn.engines.selection.autotuning import fastest
from dkn.errors import CheckpointError, ConfigError, ImageError
from dkn.networks.config import NetworkConfig
from dkn.ops.rows import thread_count
from dkn.upsampler import Upsampler
from dkn.utils.device import CPU, has_native_bf16
from dkn_ros.parameters import Options

NAN = math.nan
FORGIVING = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_model):
    folder = tmp_path_factory.mktemp("models")
    for seed, scale in enumerate((2, 4, 8)):
        make_model(folder / f"fdkn_x{scale}.safetensors", scale, seed=seed)
    make_model(folder / "dkn_x8.safetensors", 8, NetworkConfig("dkn", n1=8, n2=8))
    make_model(folder / "wild.safetensors", wild=30.0)
    told = NetworkConfig(depth_channels=4, window=63, n1=8, n2=8)
    make_model(folder / "told.safetensors", config=told)
    make_model(folder / "direct.safetensors", config=NetworkConfig(residual=False, n1=8, n2=8), wild=5.0)
    return folder


@pytest.fixture(autouse=True)
def _use_them(models, monkeypatch):
    monkeypatch.setenv("DKN_MODELS", str(models))


@pytest.fixture(scope="module")
def upsample(models):
    """One upsampler for many tests, in float32."""
    return Upsampler(models / "fdkn_x8.safetensors", device="cpu", precision="fp32")


def frame(big: tuple[int, int], small: tuple[int, int], seed: int = 0, holes: float = 0.0):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 8, small).astype(np.float32)
    depth[rng.random(small) < holes] = NAN
    return rng.integers(0, 256, (*big, 3)).astype(np.uint8), depth


def parents(big: tuple[int, int], small: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the small grid in which the pixel centres of the big one lie."""
    y, x = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(big, small, strict=True))
    return y[:, None], x[None]


# --- Sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("big", "small"),
    [
        ((48, 64), (6, 8)),
        ((64, 80), (30, 40)),  # the ratio of 1280×1024 to 640×480: 2.13 and 2
        ((50, 37), (7, 9)),
        ((24, 32), (24, 32)),
        ((12, 16), (24, 32)),  # colour smaller than depth
        ((12, 64), (24, 16)),  # smaller in y, larger in x
        ((1, 1), (1, 1)),
        ((1, 30), (1, 4)),
        ((30, 1), (4, 1)),
        ((9, 9), (1, 1)),
        ((1, 1), (5, 6)),
        ((2, 3), (1, 2)),
    ],
)
@pytest.mark.parametrize("model", ["fdkn", "wild"])
def test_any_ratio(big, small, model):
    color, depth = frame(big, small)
    result = Upsampler(model, precision="fp32")(color, depth)
    assert result.shape == big
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@FORGIVING
@given(
    big=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    small=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 10**6),
    holes=st.sampled_from([0.0, 0.3, 0.9]),
    model=st.sampled_from(["fdkn_x8", "wild", "direct", "told"]),
)
def test_bounds_and_holes(models, loaded, big, small, seed, holes, model):
    """Values near what the input says around a pixel; depth where the input had some, but for the outline of holes."""
    color, depth = frame(big, small, seed, holes)
    result = loaded[model](color, depth)
    filled = loaded[model, "filled"](color, depth)
    valid = np.isfinite(depth)
    if not valid.any():
        assert np.isnan(result).all()
        assert np.isnan(filled).all()
        return
    assert np.isfinite(filled).all()
    rows, columns = parents(big, small)
    sure = np.ones(big, bool)  # a centre between two input pixels may fall to either
    for axis, (n, m) in enumerate(zip(big, small, strict=True)):
        tie = (2 * np.arange(n) + 1) * m % (2 * n) == 0
        sure &= ~(tie[:, None] if axis == 0 else tie[None])
    if min(np.divide(big, small)) >= LEAST_SCALE:
        around = np.lib.stride_tricks.sliding_window_view(np.pad(valid, 1, "edge"), (3, 3))
        sure &= (around.min((2, 3)) == around.max((2, 3)))[rows, columns]
    assert np.array_equal(np.isfinite(result)[sure], valid[rows, columns][sure])
    known = np.isfinite(result)
    assert np.array_equal(result[known], filled[known])
    # Inside the range of the whole input plus a tenth; the local bounds are tested with their function.
    margin = 0.1 * (depth[valid].max() - depth[valid].min()) + 1e-4
    assert filled.min() >= max(depth[valid].min() - margin, 0)
    assert filled.max() <= depth[valid].max() + margin


@pytest.fixture(scope="module")
def loaded(models):
    made = {}
    for name in ("fdkn_x8", "wild", "direct", "told"):
        made[name] = Upsampler(models / f"{name}.safetensors", precision="fp32")
        made[name, "filled"] = Upsampler(models / f"{name}.safetensors", precision="fp32", fill_holes=True)
    return made


@pytest.mark.parametrize("model", ["fdkn_x8", "wild", "direct", "dkn_x8"])
def test_values_stay_local(model):
    """Two rooms far from each other: whatever the network wants, neither gets depth from the other."""
    color, depth = frame((64, 128), (16, 32))
    depth[:, :16] = 2 + 0.05 * depth[:, :16]
    depth[:, 16:] = 7 + 0.05 * depth[:, 16:]
    result = Upsampler(model, precision="fp32")(color, depth)
    # Taps reach 7 pixels, bicubic interpolation two pixels of the input (8 here).
    for side in (slice(None, 64 - 20), slice(64 + 20, None)):
        low = depth[:, :16] if side.start is None else depth[:, 16:]
        margin = 0.1 * (low.max() - low.min()) + 1e-5
        assert result[:, side].min() >= low.min() - margin
        assert result[:, side].max() <= low.max() + margin


@pytest.mark.parametrize("model", ["fdkn_x8", "wild", "direct", "told"])
def test_no_depth_is_negative(model):
    color, depth = frame((32, 32), (8, 8))
    depth[:], depth[4:] = 9.0, 0.05
    result = Upsampler(model, precision="fp32")(color, depth)
    assert result.min() > 0


def test_a_constant_depth_stays_constant(upsample):
    color, _ = frame((64, 64), (8, 8))
    np.testing.assert_allclose(upsample(color, np.full((8, 8), 3.0, np.float32)), 3, rtol=1e-6)


# --- Holes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [NAN, 0.0, -1.0, math.inf, -math.inf])
@pytest.mark.parametrize("fill", [False, True])
def test_a_frame_without_depth_stays_without(nothing, fill):
    result = Upsampler("fdkn", fill_holes=fill)(frame((24, 32), (3, 4))[0], np.full((3, 4), nothing, np.float32))
    assert result.shape == (24, 32)
    assert np.isnan(result).all()


def test_a_frame_without_depth_costs_no_inference(upsample, monkeypatch):
    idle = SimpleNamespace(device=CPU, capturable=False)  # cannot be called
    monkeypatch.setattr(upsample.load(8).run, "engine", idle)
    assert np.isnan(upsample(frame((24, 32), (3, 4))[0], np.zeros((3, 4), np.float32))).all()


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("model", ["fdkn", "told"])
def test_what_a_hole_contains_has_no_influence(fill, large, model):
    color, depth = frame((48, 64), (12, 16), holes=0.3)
    if large:  # no depth anywhere near most pixels
        depth[:, 4:] = NAN
    upsampler = Upsampler(model, precision="fp32", fill_holes=fill)
    expected = upsampler(color, depth)
    for content in (0.0, -1e9, math.inf, -math.inf):
        assert np.array_equal(upsampler(color, np.nan_to_num(depth, nan=content)), expected, equal_nan=True)
    assert np.isnan(expected).any() != fill


@pytest.mark.parametrize(("model", "differs"), [("fdkn_x8", False), ("told", True)])
def test_a_network_may_know_that_a_depth_was_filled_in(loaded, model, differs):
    color, depth = frame((48, 64), (6, 8))
    depth[:], depth[:, 4:] = 2, 3
    hole = depth.copy()
    hole[3, 6] = NAN  # filling gives back what was there
    change = np.abs(loaded[model, "filled"](color, hole) - loaded[model, "filled"](color, depth))
    assert (change.max() > 1e-3) == differs


def test_holes_are_cut_out_where_the_input_had_them(upsample):
    color, depth = frame((48, 64), (6, 8))
    depth[2, 3] = NAN
    unknown = np.isnan(upsample(color, depth))
    assert unknown[18:22, 26:30].all()
    unknown[12:28, 20:36] = False  # where it ends, to half an input pixel, colour says
    assert not unknown.any()
    unknown = np.isnan(upsample(np.full_like(color, 99), depth))
    assert unknown[18:22, 26:30].all() and unknown[16:24, 24:32].sum() == unknown.sum()


def test_depth_outside_the_range_is_invalid():
    color, _ = frame((1, 10), (1, 10))
    depth = np.array([[0.1, 0.49, 0.5, 0.51, 1.0, 3.99, 4.0, 4.01, 60.0, NAN]], np.float32)
    result = Upsampler("fdkn", min_depth=0.5, max_depth=4.0)(color, depth)
    assert np.isfinite(result)[0].tolist() == [False, False, True, True, True, True, True, False, False, False]
    far = np.where(depth > 4, np.float32(np.nan), depth)
    assert np.array_equal(Upsampler("fdkn", min_depth=0.5, max_depth=4.0)(color, far), result, equal_nan=True)


# --- Arrays -------------------------------------------------------------------------------------------------------


def test_colour_in_any_memory_layout(upsample):
    color, depth = frame((24, 40), (6, 10))
    expected = upsample(color, depth)
    mirrored = np.ascontiguousarray(color[..., ::-1])[..., ::-1]
    wide = np.zeros((24, 50, 4), np.uint8)
    wide[:, :40, :3] = color
    read_only = np.frombuffer(color.tobytes(), np.uint8).reshape(color.shape)
    upside_down = np.ascontiguousarray(color[::-1, ::-1])[::-1, ::-1]
    for view in (mirrored, wide[:, :40, :3], read_only, upside_down, np.asfortranarray(color)):
        assert np.array_equal(upsample(view, depth), expected)


@pytest.mark.parametrize("kind", [">f4", "<f8", "<f2"])
def test_depth_in_any_float_type(upsample, kind):
    color, depth = frame((24, 40), (6, 10), holes=0.2)
    depth = depth.astype("<f2")
    assert np.array_equal(upsample(color, depth.astype(kind)), upsample(color, depth), equal_nan=True)
    view = depth[::-1, ::-1]
    view.setflags(write=False)
    flipped = upsample(color, np.ascontiguousarray(view))
    assert np.array_equal(upsample(color, view), flipped, equal_nan=True)


def test_inputs_are_left_alone(upsample):
    color, depth = frame((24, 40), (6, 10), holes=0.2)
    before = color.copy(), depth.copy()
    upsample(color, depth)[:] = 0
    assert np.array_equal(color, before[0])
    assert np.array_equal(depth, before[1], equal_nan=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_frame_gives_the_same_result(precision):
    color, depth = frame((40, 56), (5, 7), holes=0.1)
    upsampler = Upsampler("fdkn", precision=precision)
    first = upsampler(color, depth)
    upsampler(*frame((40, 56), (5, 7), seed=9))
    assert np.array_equal(upsampler(color, depth), first, equal_nan=True)
    assert np.array_equal(Upsampler("fdkn", precision=precision)(color, depth), first, equal_nan=True)


def test_bf16_is_close_to_fp32_and_another_where_the_cpu_has_it(make_scene):
    color, depth = make_scene(48, 64)
    low = depth[::4, ::4]
    exact, fast = (Upsampler("fdkn", precision=p)(color, low) for p in ("fp32", "bf16"))
    if has_native_bf16():
        assert np.abs(exact - fast).max() > 0
    assert np.abs(exact - fast).max() < 0.2
    assert np.abs(exact - fast).mean() < 0.02


COLOR, DEPTH = frame((8, 8), (2, 2))


@pytest.mark.parametrize(
    ("color", "depth"),
    [
        (COLOR[..., 0], DEPTH),
        (COLOR[..., :2], DEPTH),
        (np.zeros((8, 8, 4), np.uint8), DEPTH),
        (COLOR.astype(np.uint16), DEPTH),
        (COLOR.astype(np.float32), DEPTH),
        (COLOR[:0], DEPTH),
        (COLOR[:, :0], DEPTH),
        (COLOR, DEPTH[None]),
        (COLOR, DEPTH[0]),
        (COLOR, DEPTH[:0]),
        (COLOR, DEPTH.astype(np.uint16)),
        (COLOR, DEPTH.astype(int)),
        (COLOR, DEPTH.astype(complex)),
    ],
)
def test_other_arrays_are_errors(upsample, color, depth):
    with pytest.raises(ImageError) as error:
        upsample(color, depth)
    assert "\n" not in str(error.value)


# --- Models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("big", "small", "scale"),
    [((32, 32), (4, 4), 8), ((32, 32), (8, 8), 4), ((32, 32), (16, 16), 2), ((64, 16), (8, 8), 4)],
)
def test_a_family_serves_the_scale_at_hand(models, big, small, scale):
    color, depth = frame(big, small)
    named = Upsampler(models / f"fdkn_x{scale}.safetensors", precision="fp32")(color, depth)
    assert np.array_equal(Upsampler("fdkn", precision="fp32")(color, depth), named)
    others = {2, 4, 8} - {scale}
    for other in others:
        assert not np.array_equal(Upsampler(f"fdkn_x{other}", precision="fp32")(color, depth), named)


def test_models_are_read_once(models, tmp_path, monkeypatch):
    upsampler = Upsampler("fdkn")
    first = upsampler(*frame((16, 16), (2, 2)))
    monkeypatch.setenv("DKN_MODELS", str(tmp_path))  # nothing there any more
    assert np.array_equal(upsampler(*frame((16, 16), (2, 2))), first)


def test_released_models_see_the_span_of_the_frame(official):
    """Their networks work on min-max normalised depth, so that metres and millimetres give the same picture."""
    upsampler = Upsampler(official / "FDKN_8x.pth", precision="fp32", fill_holes=True)
    color = np.asarray(Image.open(official / "0_rgb.png"))[:96, :128]
    depth = np.asarray(Image.open(official / "0_lr.png"), np.float32)[4:96:8, 4:128:8] / 255
    depth = 1 + 3 * (depth - depth.min()) / (depth.max() - depth.min())
    metres = upsampler(color, depth)
    np.testing.assert_allclose(upsampler(color, 2 * depth + 1), 2 * metres + 1, atol=2e-3)
    assert np.abs(metres - upsample_bicubic(depth, (96, 128))).max() > 0.1


def test_mistakes_in_options(tmp_path):
    with pytest.raises(ConfigError, match="tpu"):
        Upsampler("fdkn", device="tpu")
    with pytest.raises(ConfigError, match="fp8"):
        Upsampler("fdkn", precision="fp8")
    with pytest.raises(ConfigError, match="fp16"):
        Upsampler("fdkn", device="cpu", precision="fp16")
    with pytest.raises(CheckpointError):
        Upsampler("unknown")(COLOR, DEPTH)
    with pytest.raises(CheckpointError):
        Upsampler(tmp_path / "none.safetensors").load(8)


# --- Without a network --------------------------------------------------------------------------------------------


def test_bicubic_equals_pil(make_scene):
    _, depth = make_scene(30, 40)
    expected = Image.fromarray(depth).resize((100, 64), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(upsample_bicubic(depth, (64, 100)), np.asarray(expected), rtol=0, atol=5e-5)


def test_bicubic_with_holes():
    _, depth = frame((1, 1), (6, 8))
    depth[2, 3] = math.inf
    cut, filled = upsample_bicubic(depth, (48, 64)), upsample_bicubic(depth, (48, 64), fill=True)
    assert np.isnan(cut[16:24, 24:32]).all()
    assert np.isnan(cut).sum() == 64
    assert np.isfinite(filled).all()
    assert np.isnan(upsample_bicubic(np.full((3, 4), NAN), (6, 8), fill=True)).all()


@pytest.fixture(scope="module")
def small_model(models):
    return models / "fdkn_x8.safetensors"


def test_threads_may_share_one(small_model, make_scene):
    """Frames of different sizes, so that threads cannot be right by luck."""
    upsampler = Upsampler(small_model)
    frames = [make_scene(16 * (2 + i), 64, seed=i) for i in range(4)]
    expected = [upsampler(color, depth[::8, ::8]) for color, depth in frames]

    def work(k: int) -> bool:
        color, depth = frames[k % 4]
        return np.array_equal(upsampler(color, depth[::8, ::8]), expected[k % 4], equal_nan=True)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(40)))
    assert not upsampler.engine_failure


def test_threads_load_a_model_once(small_model, monkeypatch):
    begun = []
    read = checkpoint.read
    monkeypatch.setattr(checkpoint, "read", lambda path: begun.append(path) or time.sleep(0.1) or read(path))
    upsampler = Upsampler(small_model, device="cpu", engine="torch")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(upsampler.load, [8, 8])
    assert first is second
    assert begun == [small_model]


def test_a_frame_is_made_with_the_options_that_it_began_with(small_model, make_scene, monkeypatch):
    color, depth = make_scene(64, 64)
    low = depth[::8, ::8].copy()
    low[2:6, :] = NAN
    upsampler = Upsampler(small_model, engine="torch", precision="fp32")
    expected = upsampler(color, low)
    assert np.isnan(expected).any()
    run = Runner.__call__

    def change(runner: Runner, *images: torch.Tensor) -> torch.Tensor:
        upsampler.fill_holes = "all"
        return run(runner, *images)

    monkeypatch.setattr(Runner, "__call__", change)
    np.testing.assert_array_equal(upsampler(color, low), expected)


@pytest.mark.parametrize(("name", "value"), [("min_depth", -1), ("max_depth", NAN), ("min_confidence", 2)])
def test_a_value_that_makes_no_sense_is_refused_later_too(small_model, name, value):
    upsampler = Upsampler(small_model)
    before = upsampler.options
    with pytest.raises(ConfigError, match=name):
        setattr(upsampler, name, value)
    assert upsampler.options is before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda u: pickle.loads(pickle.dumps(u))])
def test_a_copy_has_the_same_options(small_model, make_scene, copied):
    upsampler = Upsampler(small_model, engine="torch", precision="fp32", min_depth=1.5, max_depth=4)
    color, depth = make_scene(32, 48)
    expected = upsampler(color, depth[::8, ::8])
    other = copied(upsampler)
    assert other.engine_name == upsampler.engine_name
    np.testing.assert_array_equal(other(color, depth[::8, ::8]), expected)


def test_arrays_of_other_libraries_are_refused_by_name(small_model, make_scene):
    upsampler = Upsampler(small_model, device=torch.device("cpu"))
    color, depth = make_scene(16, 16)
    with pytest.raises(ImageError, match=r"colour is a torch.Tensor; a NumPy array"):
        upsampler(torch.from_numpy(color), depth)
    with pytest.raises(ImageError, match=r"depth is a torch.Tensor; a NumPy array"):
        upsampler(color, torch.from_numpy(depth))
    with pytest.raises(ImageError, match=r"colour is a builtins\.list"):
        upsampler(color.tolist(), depth)


def test_millimetres_as_floats_are_doubted_once(small_model, make_scene, caplog):
    color, depth = make_scene(32, 40)
    upsample = Upsampler(small_model, device="cpu", engine="torch")
    with caplog.at_level("WARNING", logger="dkn"):
        upsample(color, depth[::4, ::4])
    assert not caplog.records
    another = Upsampler(small_model, device="cpu", engine="torch")
    with caplog.at_level("WARNING", logger="dkn"):
        for _ in range(2):
            another(color, 1000 * depth[::4, ::4])
    assert [r.message for r in caplog.records if "millimetres" in r.message] == [
        f"depth has to be in metres: half of its depth is beyond {1000 * np.median(depth[::4, ::4]):.0f} m; "
        "are these millimetres?"
    ]


@pytest.mark.parametrize("options", [{"scale": math.inf}, {"scale": math.nan}, {"min_depth": 2, "max_depth": 1}])
def test_numbers_that_make_no_sense(small_model, options):
    with pytest.raises(ConfigError):
        Upsampler(small_model, **options)


def test_one_default_everywhere():
    """What a camera delivers is served by one model, whichever door it comes in by."""
    default = inspect.signature(Upsampler).parameters["model"].default
    parser = argparse.ArgumentParser()
    upsample_command.add_options(parser)
    from_command = parser.parse_args(["--color=c", "--depth=d", "--out=o.png"]).model
    assert default == from_command == Options().mode == "fdkn_sensor"


def test_engines_timed_beforehand_are_remembered(make_model, tmp_path, monkeypatch):
    """Where a home can be written, as the node does it later; the next one begins with the fastest."""
    monkeypatch.setenv("DKN_CACHE", str(tmp_path))
    monkeypatch.setattr(autotuning, "FRAMES", 3)
    model = make_model(tmp_path / "m_x8.safetensors", 8)
    color, depth = np.zeros((48, 64, 3), np.uint8), np.full((6, 8), 2, np.float32)
    upsampler = Upsampler(model, device="cpu")
    times = upsampler.time_engines(color, depth)
    assert len(times) > 1
    assert all(ms > 0 for ms in times.values())
    assert upsampler.engine_name == fastest(times)
    later = Upsampler(model, device="cpu")
    later.load(8)
    assert later.engine_times == times
    assert later.engine_name == fastest(times)


def test_frames_go_on_while_pytorch_is_imported(small_model, monkeypatch):
    """Another thread may do so: it is there then, without its functions."""
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    assert thread_count() >= 1


def test_taps_without_pytorch(small_model, monkeypatch):
    upsampler = Upsampler(small_model, device="cpu")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="pip install torch"):
        upsampler.taps(COLOR, DEPTH, [(1, 1)])
