"""The exact stand-ins for detector and flow network give what was rendered."""

from __future__ import annotations

import numpy as np
import pytest

from examples.default_networks.limits import ExactBoxes, ExactFlow
from flowtrack.errors import InputError
from flowtrack.runtime import open_pipeline
from flowtrack.runtime.default import default_bundle_path
from flowtrack.structs import Frame
from flowtrack.synthetic import ClipOptions, render_clip


@pytest.fixture(scope="module")
def clip():
    rendered = list(render_clip(ClipOptions(width=160, height=120, frames=4, people=3, seed=2)))
    return rendered, [Frame(frame.index, frame.time_s, frame.image) for frame in rendered]


def test_exact_boxes_are_those_of_the_frame(clip):
    rendered, frames = clip
    pipeline = open_pipeline(default_bundle_path(), device="cpu")
    detector = ExactBoxes(pipeline.detector, rendered)
    for truth, frame in zip(rendered, frames, strict=True):
        boxes = detector(frame)
        np.testing.assert_allclose(boxes.xyxy, truth.boxes, atol=1e-4)
        assert (boxes.score == 1).all()


def test_exact_flow_is_that_between_the_frames_and_of_no_others(clip):
    rendered, frames = clip
    flow = ExactFlow(rendered)
    images = [flow.prepare(frame) for frame in frames]
    for i in range(3):
        field = flow.between(images[i], images[i + 1])
        assert (field.from_index, field.to_index) == (i, i + 1)
        np.testing.assert_array_equal(field.uv, rendered[i].flow.uv)
    with pytest.raises(InputError, match="from frame 2 to 1"):
        flow.between(images[2], images[1])


def test_a_pipeline_tracks_with_both(clip):
    rendered, frames = clip
    pipeline = open_pipeline(default_bundle_path(), device="cpu")
    pipeline.detector = ExactBoxes(pipeline.detector, rendered)
    pipeline.flow = ExactFlow(rendered)
    tracked = [found for _, found in pipeline.run(frames)]
    assert len(tracked) == 4
    for truth, found in zip(rendered[1:], tracked[1:], strict=True):
        assert found.flow is not None
        np.testing.assert_array_equal(found.flow.uv, rendered[truth.index - 1].flow.uv)
        assert len(found.tracks) <= len(truth.ids)
