"""The whole way on a clip with exact truth, by the command, counted by poseval's rules."""

from __future__ import annotations

import pytest

from examples.puppets.clip import ClipOptions, write
from examples.puppets.demo import make_bundle
from tests.cli.test_commands import invoke
from tests.reference.poseval import JOINT_SETS, mota, read_posetrack17


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """MOTA of the defaults and of the plainest tracker on the same clip."""
    folder = tmp_path_factory.mktemp("clip")
    options = ClipOptions()
    truth = read_posetrack17(write(folder, options, name="clip"))
    bundle = make_bundle(folder, options)
    found = {}
    for name, arguments in {
        "defaults": [],
        "plain": ["--similarity", "bbox", "--no-propagate"],
        "boxes": ["--similarity", "bbox"],
        "flow": ["--similarity", "flow"],
        "every third": ["--detect-every", "3"],
    }.items():
        out = folder / name
        done = invoke("track", folder / "clip", "--bundle", bundle, "--out", out,
                      "--formats", "posetrack", *arguments)  # fmt: skip
        assert done.exit_code == 0, done.output
        results = read_posetrack17(out / "clip.posetrack.json")
        found[name] = mota(truth, results, JOINT_SETS["body12"])
    return found


def test_the_defaults_track_the_puppets(scores):
    """Three who hide each other at once bound what can be had; see the puppets' own tests."""
    assert scores["defaults"].total > 85


def test_propagation_beats_the_detector_alone(scores):
    assert scores["boxes"].total > scores["plain"].total + 1
    assert scores["boxes"].misses.sum() < scores["plain"].misses.sum()


def test_flow_similarity_beats_box_overlap_and_more_frames_beat_one(scores):
    """The order of the paper's Table 5."""
    assert scores["defaults"].total > scores["flow"].total > scores["boxes"].total
    switches = [scores[name].total_switches for name in ("defaults", "flow", "boxes")]
    assert switches == sorted(switches)


def test_carried_boxes_replace_most_detections(scores):
    assert scores["every third"].total > scores["plain"].total - 1.5
