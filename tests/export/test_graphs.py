"""Pre- and post-processing against loops that anyone can check."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flowtrack.errors import OptionError
from flowtrack.export.graphs import (
    DetectorGraph,
    FlipAverage,
    FlowGraph,
    KeypointDecoder,
    PeakDecoder,
    PoseGraph,
)
from flowtrack.export.parity import reference_boxes
from flowtrack.skeleton import COCO_17, POSETRACK17_15
from tests.export import networks


def decoded_slowly(heatmaps, stride):
    """The official rule, one joint at a time."""
    count, joints, rows, columns = heatmaps.shape
    keypoints = np.zeros((count, joints, 3), np.float32)
    for n in range(count):
        for k in range(joints):
            cells = heatmaps[n, k]
            best, bx, by = -np.inf, 0, 0
            for y in range(rows):
                for x in range(columns):
                    if cells[y, x] > best:
                        best, bx, by = cells[y, x], x, y
            px, py = float(bx), float(by)
            if best <= 0:
                px, py, bx, by = 0.0, 0.0, 0, 0
            if 1 < bx < columns - 1 and 1 < by < rows - 1:
                px += 0.25 * np.sign(cells[by, bx + 1] - cells[by, bx - 1])
                py += 0.25 * np.sign(cells[by + 1, bx] - cells[by - 1, bx])
            keypoints[n, k] = px * stride, py * stride, best
    return keypoints


def test_keypoint_decoder_on_random_heatmaps():
    heatmaps = np.random.default_rng(0).normal(size=(40, 5, 6, 5)).astype(np.float32)
    heatmaps[0] -= 10  # nothing positive
    heatmaps[1] = 1.0  # all equal: the first cell wins
    heatmaps[2] = 0.0
    result = KeypointDecoder(6, 5, 4)(torch.from_numpy(heatmaps)).numpy()
    np.testing.assert_array_equal(result, decoded_slowly(heatmaps, 4))


def test_of_many_equal_maxima_the_first_counts():
    """As everywhere in INT8: the same value in several lines, and in several cells of a line."""
    heatmaps = np.random.default_rng(3).integers(-1, 3, (200, 3, 6, 7)).astype(np.float32)
    result = KeypointDecoder(6, 7, 4)(torch.from_numpy(heatmaps)).numpy()
    np.testing.assert_array_equal(result, decoded_slowly(heatmaps, 4))


def test_keypoint_decoder_with_the_peak_in_every_cell():
    rows, columns = 5, 7
    heatmaps = np.random.default_rng(1).uniform(0, 1, (rows * columns, 1, rows, columns))
    heatmaps = heatmaps.astype(np.float32)
    for index in range(rows * columns):
        heatmaps[index, 0, index // columns, index % columns] = 2.0
    result = KeypointDecoder(rows, columns, 8)(torch.from_numpy(heatmaps)).numpy()
    np.testing.assert_array_equal(result, decoded_slowly(heatmaps, 8))
    moved = (result[:, 0, :2] % 8 != 0).any(axis=1).reshape(rows, columns)
    assert moved[2:4, 2:6].all()
    assert moved.sum() == 2 * 4  # columns 2 to 5 and rows 2 to 3 only


def test_equal_neighbours_do_not_move_a_joint():
    heatmaps = torch.zeros(1, 1, 5, 5)
    heatmaps[0, 0, 2, 2] = 1.0
    assert KeypointDecoder(5, 5, 4)(heatmaps).tolist() == [[[8.0, 8.0, 1.0]]]


def test_flip_average_cell_by_cell():
    rows, columns = 3, 4
    plain, mirrored = np.random.default_rng(2).normal(size=(2, 2, 17, rows, columns))
    want = np.zeros_like(plain)
    for n, k, y, x in np.ndindex(want.shape):
        partner = COCO_17.flip_order[k]
        restored = mirrored[n, partner][:, ::-1]  # mirrored back
        want[n, k, y, x] = (plain[n, k, y, x] + restored[y, max(x - 1, 0)]) / 2
    both = torch.from_numpy(np.concatenate([plain, mirrored]))
    result = FlipAverage(COCO_17, rows, columns, 16)(both).numpy()
    np.testing.assert_allclose(result, want, rtol=0, atol=1e-12)


def test_flip_doubles_with_mirror_images():
    pixels = torch.arange(2 * 3 * 2 * 4.0).reshape(2, 3, 2, 4)
    doubled = FlipAverage(COCO_17, 1, 1, 4).doubled(pixels)
    assert torch.equal(doubled[:2], pixels)
    assert torch.equal(doubled[2:], pixels.flip(3))


def boxes_slowly(heatmap, size, offset, stride, count):
    """CenterNet's rule, one cell at a time."""
    rows, columns = heatmap.shape
    peaks = []
    for y in range(rows):
        for x in range(columns):
            around = heatmap[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if heatmap[y, x] == around.max():
                cx, cy = x + offset[0, y, x], y + offset[1, y, x]
                w, h = size[:, y, x] / 2
                box = [cx - w, cy - h, cx + w, cy + h]
                peaks.append((heatmap[y, x], [stride * value for value in box]))
    peaks.sort(key=lambda peak: -peak[0])
    return peaks[:count]


@pytest.mark.parametrize("count", [5, 1000])
def test_peak_decoder_against_loops(count):
    random = np.random.default_rng(3)
    heatmap = random.uniform(0.01, 1, (3, 1, 7, 9)).astype(np.float32)
    size, offset = random.uniform(0, 5, (2, 3, 2, 7, 9)).astype(np.float32)
    tensors = [torch.from_numpy(value) for value in (heatmap, size, offset)]
    boxes, scores = (value.numpy() for value in PeakDecoder(7, 9, 4, count)(*tensors))
    assert boxes.shape == (3, min(count, 63), 4)
    assert (np.diff(scores, axis=1) <= 0).all()
    for n in range(3):
        want = boxes_slowly(heatmap[n, 0], size[n], offset[n], 4, count)
        found = scores[n] > 0
        np.testing.assert_array_equal(scores[n][found], [score for score, _ in want])
        np.testing.assert_allclose(boxes[n][found], [box for _, box in want], atol=1e-5)
        again, score, _ = reference_boxes(heatmap[n, 0], size[n], offset[n], 4, count)
        np.testing.assert_array_equal(score, [score for score, _ in want])
        np.testing.assert_allclose(again, [box for _, box in want], atol=1e-5)


def test_reference_boxes_tell_what_hangs_on_rounding():
    heatmap = np.full((5, 9), 0.1, np.float32)
    heatmap[2, 1] = 0.9
    heatmap[2, 4], heatmap[2, 5] = 0.8, 0.8 - 1e-5  # which of the two is the peak is chance
    heatmap[2, 7] = 0.7
    maps = np.zeros((2, 2, 5, 9), np.float32)
    _, score, unsure = reference_boxes(heatmap, *maps, stride=4, count=3)
    np.testing.assert_allclose(score, [0.9, 0.8, 0.7])
    assert unsure.tolist() == [False, True, False]
    heatmap[2, 4], heatmap[2, 5] = 0.7, 0.1  # the third place is shared
    _, score, unsure = reference_boxes(heatmap, *maps, stride=4, count=2)
    assert unsure.tolist() == [False, True]


def test_detector_graph_reads_the_class_of_people():
    network = networks.detector(classes=3)
    pictures = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    graph = DetectorGraph(network, 64, 96, person_class=2).eval()
    with torch.no_grad():
        heatmap, _, _ = graph.maps(pictures)
        pixels = (pictures.permute(0, 3, 1, 2) / 255.0 - torch.tensor(
            [0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
            [0.229, 0.224, 0.225])[:, None, None]  # fmt: skip
        want = network(pixels).heatmap[:, 2:3].sigmoid()
    torch.testing.assert_close(heatmap, want, rtol=1e-4, atol=1e-6)


def test_the_channel_order_of_crops_is_kept():
    """The graph normalises in the order that it is fed in: official weights get BGR so."""
    graph = PoseGraph(networks.pose(), COCO_17, 64, 64)
    seen = []
    graph.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    crops = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    crops[..., 0] = 255
    with torch.no_grad():
        graph(crops)
    first = seen[0][0, :, 0, 0]
    want = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    torch.testing.assert_close(first, torch.tensor(want), rtol=1e-5, atol=1e-5)


def test_flow_graph_is_the_network_at_a_quarter():
    network = networks.flow()
    previous, current = torch.randint(0, 256, (2, 2, 64, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        flow = FlowGraph(network)(previous, current)
        planes = [picture.permute(0, 3, 1, 2).float() for picture in (previous, current)]
        want = network.quarter_flow(*planes)
    assert flow.shape == (2, 2, 16, 32)
    assert torch.equal(flow, want)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: PoseGraph(networks.pose(), COCO_17, 100, 64), "64x100"),
        (lambda: PoseGraph(networks.pose(), COCO_17, 0, 64), "64x0"),
        (lambda: PoseGraph(networks.pose(), POSETRACK17_15, 96, 64), "15 joints"),
        (lambda: DetectorGraph(networks.detector(), 96, 100), "100x96"),
        (lambda: DetectorGraph(networks.detector(), 96, 96, person_class=1), "person_class is 1"),
        (lambda: DetectorGraph(networks.detector(), 96, 96, max_boxes=0), "max_boxes 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(make, word):
    with pytest.raises(OptionError, match=word):
        make()
