"""The checks themselves, on the CPU: they hold there, and they notice what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gpu.subjects import of_bundle
from flowtrack.export.frame_bundle import frame_bundle
from flowtrack.runtime.bundle import write_bundle
from flowtrack.runtime.pipeline import open_pipeline
from tests.gpu import checks
from tests.support.graphs import tiny_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, clip_frames):
    folder = tmp_path_factory.mktemp("tiny")
    plain = write_bundle(folder / "plain", *tiny_bundle(flow=True))
    framed = frame_bundle(plain, folder / "framed", [frame.image for frame in clip_frames[:2]])
    return plain, framed


def test_all_of_them_hold_on_the_cpu(tiny, clip_frames):
    frames = clip_frames[:4]
    for bundle in tiny:
        for subject in of_bundle(bundle, "tiny"):
            checks.gives_what_the_cpu_gives(subject, "cpu", False, (1, 2))
        checks.tracks_as_the_cpu_does(bundle, "cpu", frames)
        pipelines = [open_pipeline(bundle, device="cpu", threads=1) for _ in range(2)]
        checks.shares_nothing_between_threads(pipelines, frames)
        checks.overlaps_as_it_steps(pipelines[0], frames)
    checks.forms_track_alike(*tiny, "cpu", frames)
    checks.reads_placed_frames(of_bundle(tiny[1], "tiny")[1], "cpu")


def test_a_network_that_computes_something_else_is_noticed(tiny, monkeypatch):
    subject = of_bundle(tiny[0], "tiny")[1]
    other = replace(subject, content=tiny_pose(seed=5))
    monkeypatch.setattr(checks, "opened", lambda content, *_: opened_cpu(other.content))
    with pytest.raises(AssertionError):
        checks.gives_what_the_cpu_gives(subject, "cpu", False, (1,))


def test_other_ids_and_other_joints_are_noticed(tiny, clip_frames):
    tracked = checks.stepped(open_pipeline(tiny[0], device="cpu", threads=1), clip_frames[:3])
    moved = [
        replace(each, poses=replace(each.poses, xy=each.poses.xy + np.float32(1)))
        for each in tracked
    ]
    renamed = [replace(each, tracks=replace(each.tracks, id=each.tracks.id + 1))
               for each in tracked]  # fmt: skip
    checks.assert_alike(tracked, tracked)
    for wrong in (moved, renamed):
        with pytest.raises(AssertionError):
            checks.assert_alike(tracked, wrong)


def tiny_pose(seed):
    from tests.support.graphs import pooled_heatmaps

    return pooled_heatmaps(17, 64, 48, 4, seed=seed)


def opened_cpu(content):
    from flowtrack.runtime.engines import open_engine

    return open_engine(content, "cpu", 1)
