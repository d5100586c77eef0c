"""Which frames calibrate and which judge."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.calibration.held_out import moments, split_source
from flowtrack.errors import InputError, OptionError


@given(st.integers(4, 500), st.integers(4, 300))
def test_moments_are_spread_over_all_frames(total, count):
    starts = moments(total, count)
    assert len(starts) % 2 == 0
    assert len(starts) >= 2
    assert 2 * len(starts) <= min(total, count)
    assert (starts[0], starts[-1]) == (0, total - 2)
    gaps = np.diff(starts)
    assert gaps.min() >= 2  # no frame twice
    assert gaps.max() - gaps.min() <= 1


@pytest.fixture
def folder(tmp_path):
    for shade in range(10):
        cv2.imwrite(str(tmp_path / f"{shade}.png"), np.full((4, 6, 3), 20 * shade, np.uint8))
    return tmp_path


def test_every_second_moment_is_held_out(folder):
    material = split_source(folder, 8)
    assert material.calibration == (0, 1, 5, 6)
    assert material.held_out == (2, 3, 8, 9)
    assert [frame.index for frame in material.held_out_frames()] == [2, 3, 8, 9]
    shades = [int(frame.image[0, 0, 0]) for frame in material.calibration_frames()]
    assert shades == [0, 20, 100, 120]


def test_too_few_frames_are_refused(folder, tmp_path):
    with pytest.raises(OptionError, match="count is 3"):
        split_source(folder, 3)
    for name in range(3, 10):
        (folder / f"{name}.png").unlink()
    with pytest.raises(InputError, match="has 3 frames, expected 4"):
        split_source(folder, 8)
