"""The validation clips: hard in turn, always the same, and apart from what training draws."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from flowtrack.errors import OptionError, OutputError
from flowtrack.synthetic import CAMERAS, render_clip
from flowtrack.synthetic.validation import VALIDATION_SEED, validation_clips, write_validation
from tests.reference import poseval


def test_the_set():
    clips = validation_clips()
    assert len(clips) == 24
    assert [options.seed for options in clips.values()] == list(
        range(VALIDATION_SEED, VALIDATION_SEED + 24)
    )
    assert {(o.width, o.height, o.frames) for o in clips.values()} == {(640, 480, 40)}
    kinds = [name.split("_")[1] for name in clips]
    assert kinds[:5] == ["fast", "blurred", "crowded", "hidden", "fast"]
    for kind in set(kinds):
        cameras = {options.camera for name, options in clips.items() if kind in name}
        assert cameras == set(CAMERAS)
    by_kind = dict(zip(kinds, clips.values(), strict=True))
    assert by_kind["fast"].fps == min(options.fps for options in clips.values())
    assert by_kind["blurred"].shutter == 1
    assert by_kind["crowded"].people == max(options.people for options in clips.values())
    assert by_kind["hidden"].things == max(options.things for options in clips.values())


def test_fewer_are_the_first_of_more():
    assert list(validation_clips(30).items())[:24] == list(validation_clips().items())
    assert list(validation_clips(3).items()) == list(validation_clips().items())[:3]
    with pytest.raises(OptionError, match="number of clips is 0"):
        validation_clips(0)


@pytest.fixture(scope="module")
def small():
    return {
        name: replace(options, width=96, height=72, frames=3)
        for name, options in validation_clips(4).items()
    }


def test_it_is_written_as_a_set(small, tmp_path):
    steps = []
    files = write_validation(tmp_path, small, lambda: steps.append(1))
    assert len(steps) == 12
    assert len(files) == 4
    for written, (name, options) in zip(files, small.items(), strict=True):
        truth = poseval.read_posetrack(written.posetrack17)
        assert [frame.name for frame in truth] == [f"{name}/{n:06d}.jpg" for n in (1, 2, 3)]
        assert poseval.mota(truth, poseval.read_posetrack(written.posetrack18)).total == 100
        for path, frame, labelled in zip(
            written.pictures, render_clip(options), truth, strict=True
        ):
            picture = cv2.imread(str(path)).astype(int)
            assert np.abs(picture - frame.image).mean() < 8
            inside = {
                int(i) for i, row in zip(frame.ids, frame.posetrack, strict=True)
                if ((row[:, 2] > 0) & (row[:, :2] >= 0).all(axis=1)
                    & (row[:, :2] <= (95, 71)).all(axis=1)).any()
            }  # fmt: skip
            assert {person.track_id for person in labelled.people} == inside
    with pytest.raises(OutputError, match="is there already"):
        write_validation(tmp_path, small)


def test_people_move_on_and_pass(small):
    """Of each kind somebody moves by a good part of a head from frame to frame."""
    for name, options in small.items():
        first, second, _ = render_clip(options)
        heads = dict(zip(first.ids.tolist(), first.head_boxes, strict=True))
        moved = [
            np.abs(box - heads[i]).max() / (heads[i][3] - heads[i][1])
            for i, box in zip(second.ids.tolist(), second.head_boxes, strict=True)
            if i in heads
        ]
        assert max(moved, default=0) > 0.2, name
