"""The CUDA provider gives what the CPU gives. Needs an NVIDIA GPU and onnxruntime-gpu."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from benchmarks.gpu.subjects import of_bundle
from flowtrack.runtime.engines.driver import driver_library
from flowtrack.runtime.engines.page_locked import page_locked
from flowtrack.runtime.pipeline import open_pipeline
from tests.gpu import checks

pytestmark = pytest.mark.gpu

FORMS = ("default", "frame-in", "fp16", "fp16 frame-in")


_MEMORY_TYPE, _HOST = 2, 1  # CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_MEMORYTYPE_HOST of cuda.h

PARTS = pytest.mark.parametrize("part", [0, 1, 2], ids=["detector", "pose", "flow"])
BATCHES = (1, 4)  # the benchmark compares all that are usual, and those of larger networks


@pytest.mark.parametrize("form", FORMS)
@PARTS
def test_networks_give_what_the_cpu_gives(cuda, bundles, form, part):
    checks.gives_what_the_cpu_gives(of_bundle(bundles[form], form)[part], cuda, True, BATCHES)


@pytest.mark.parametrize("form", ["default", "frame-in"])
@PARTS
def test_without_graphs_they_do_too(cuda, bundles, form, part):
    checks.gives_what_the_cpu_gives(of_bundle(bundles[form], form)[part], cuda, False, BATCHES)


@PARTS
def test_frames_are_read_where_they_were_placed(cuda, bundles, part):
    checks.reads_placed_frames(of_bundle(bundles["frame-in"], "frame-in")[part], cuda)


@pytest.mark.parametrize("form", FORMS)
def test_cuda_tracks_as_the_cpu_does(cuda, bundles, clip_frames, form):
    checks.tracks_as_the_cpu_does(bundles[form], cuda, clip_frames)


def test_both_forms_track_alike(cuda, bundles, clip_frames):
    checks.forms_track_alike(bundles["default"], bundles["frame-in"], cuda, clip_frames)


@pytest.mark.parametrize("form", ["default", "frame-in"])
def test_threads_and_pipelines_share_nothing(cuda, bundles, clip_frames, form):
    one, two = (open_pipeline(bundles[form], device=cuda) for _ in range(2))
    checks.shares_nothing_between_threads([one] * 4, clip_frames)
    checks.shares_nothing_between_threads([one, two], clip_frames)
    checks.overlaps_as_it_steps(one, clip_frames)


def test_page_locked_memory_is_known_to_the_driver(cuda):
    driver = driver_library()
    array = page_locked((64, 64), np.dtype(np.float32), gpu=0)
    array[:] = 1
    kind = ctypes.c_uint(0)
    address = ctypes.c_uint64(array.ctypes.data)
    assert driver.cuPointerGetAttribute(ctypes.byref(kind), _MEMORY_TYPE, address) == 0
    assert kind.value == _HOST
