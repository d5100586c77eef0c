"""Targets against plain loops and brute force."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.training.targets import center_targets, joint_heatmaps, peak_radius


def official_heatmap(joint, size, stride, sigma):
    """generate_target of the paper's code, cell by cell; None where it drops the joint."""
    height, width = size
    reach = int(3 * sigma)
    centre = [math.floor(value / stride + 0.5) for value in joint]
    low, high = ([value + step for value in centre] for step in (-reach, reach))
    if low[0] >= width or low[1] >= height or high[0] < 0 or high[1] < 0:
        return None
    heatmap = np.zeros(size)
    for y in range(height):
        for x in range(width):
            if abs(x - centre[0]) <= reach and abs(y - centre[1]) <= reach:
                squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
                heatmap[y, x] = math.exp(-squared / (2 * sigma**2))
    return heatmap


@given(
    joint=st.tuples(st.floats(-60, 130), st.floats(-60, 150)),
    sigma=st.sampled_from([1, 1.5, 2, 3]),
    stride=st.sampled_from([4, 8]),
)
def test_joint_heatmaps_are_the_official_ones(joint, sigma, stride):
    size = (24, 18)
    joints = torch.tensor([[joint, (20.0, 20.0)]], dtype=torch.float64)
    weight = torch.tensor([[0.5, 1.0]])
    maps, kept = joint_heatmaps(joints, weight, size, stride, sigma)
    assert maps.shape == (1, 2, *size)
    wanted = official_heatmap(joint, size, stride, sigma)
    assert float(kept[0, 0]) == (0 if wanted is None else 0.5)
    if wanted is not None:
        np.testing.assert_allclose(maps[0, 0].numpy(), wanted, atol=1e-6)
    np.testing.assert_allclose(
        maps[0, 1].numpy(), official_heatmap((20, 20), size, stride, sigma), atol=1e-6
    )


def test_a_gaussian_has_the_official_extent():
    for sigma, cells in ((2, 13), (3, 19)):
        maps, _ = joint_heatmaps(torch.full((1, 1, 2), 128.0), torch.ones(1, 1), (64, 64), 4, sigma)
        assert int((maps > 0).any(-1).sum()) == int((maps > 0).any(-2).sum()) == cells
        assert float(maps[0, 0, 32, 32]) == maps.max() == 1


def iou(a, b):
    common = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in range(2)]
    if min(common) <= 0:
        return 0.0
    both = common[0] * common[1]
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (sum(area) - both)


MOVES = [(1, 1, 1, 1), (-1, -1, 1, 1), (1, 1, -1, -1)]
"""Both corners the same way, both outwards, both inwards."""


@given(width=st.floats(1, 200), height=st.floats(1, 200), overlap=st.sampled_from([0.3, 0.7, 0.9]))
def test_peak_radius_is_the_first_that_breaks_the_overlap(width, height, overlap):
    box = (0.0, 0.0, width, height)

    def worst(radius):
        moved = [[c + radius * m for c, m in zip(box, move, strict=True)] for move in MOVES]
        return min(iou(box, other) for other in moved)

    low, high = 0.0, max(width, height)
    for _ in range(60):  # bisection; the overlap falls with the distance
        middle = (low + high) / 2
        low, high = (middle, high) if worst(middle) >= overlap else (low, middle)
    found = peak_radius(
        torch.tensor(width, dtype=torch.float64), torch.tensor(height, dtype=torch.float64), overlap
    )
    assert float(found) == pytest.approx(low, rel=1e-6, abs=1e-6)


def center_oracle(boxes, person, ignored, size, stride):
    """Heatmap and what counts, cell by cell."""
    height, width = size
    heatmap, counted = np.zeros(size), np.ones(size)
    for box, is_person in zip(boxes, person, strict=True):
        if not is_person:
            continue
        x1, y1, x2, y2 = (value / stride for value in box)
        cx, cy = math.floor((x1 + x2) / 2), math.floor((y1 + y2) / 2)
        radius = math.floor(float(peak_radius(torch.tensor(x2 - x1), torch.tensor(y2 - y1))))
        sigma = (2 * radius + 1) / 6
        for y in range(height):
            for x in range(width):
                if abs(x - cx) <= radius and abs(y - cy) <= radius:
                    value = math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
                    heatmap[y, x] = max(heatmap[y, x], value)
    for box, is_ignored in zip(boxes, ignored, strict=True):
        x1, y1, x2, y2 = (value / stride for value in box)
        for y in range(height):
            for x in range(width):
                if is_ignored and x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2 and heatmap[y, x] < 1:
                    counted[y, x] = 0
    return heatmap, counted


@pytest.mark.parametrize("seed", range(6))
def test_center_targets(seed):
    rng = np.random.default_rng(seed)
    size, stride = (20, 24), 4
    corner = rng.uniform(0, 60, (2, 5, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(6, 36, (2, 5, 2))), 2)
    boxes = np.minimum(boxes, [96, 80, 96, 80]).astype(np.float32)
    kind = rng.integers(0, 3, (2, 5))
    target = center_targets(
        torch.from_numpy(boxes), torch.from_numpy(kind == 1), torch.from_numpy(kind == 2),
        size, stride,
    )  # fmt: skip
    for n in range(2):
        heatmap, counted = center_oracle(boxes[n], kind[n] == 1, kind[n] == 2, size, stride)
        np.testing.assert_allclose(target.heatmap[n, 0], heatmap, atol=1e-6)
        np.testing.assert_array_equal(target.counted[n, 0], counted)
    np.testing.assert_array_equal(target.person, kind == 1)
    column, row = target.cell % 24, target.cell // 24
    centre = (torch.stack((column, row), -1) + target.offset) * stride
    np.testing.assert_allclose(centre, (boxes[..., :2] + boxes[..., 2:]) / 2, atol=1e-4)
    np.testing.assert_allclose(target.size * stride, boxes[..., 2:] - boxes[..., :2], atol=1e-4)
    assert ((target.offset >= 0) & (target.offset < 1)).all()
    peaks = target.heatmap[:, 0].flatten(1).gather(1, target.cell)
    assert (peaks[target.person > 0] == 1).all()


def test_nobody_gives_an_empty_heatmap():
    nobody = torch.zeros(2, 3, dtype=torch.bool)
    target = center_targets(torch.zeros(2, 3, 4), nobody, nobody, (8, 8), 4)
    assert not target.heatmap.any()
    assert target.counted.all()
    assert not target.person.any()
