"""Bundles with converted networks: what changes, what stays, what is refused."""

import numpy as np
import pytest

from flowtrack.calibration.converted import (
    convertible,
    judge_on_truth,
    kept_by_part,
    with_networks,
)
from flowtrack.calibration.verdict import Limits
from flowtrack.errors import OptionError
from flowtrack.evaluation.deployed.posetrack_set import open_clips
from flowtrack.runtime.bundle import open_bundle, write_bundle
from tests.evaluation.deployed.puppet_samples import HEIGHT, WIDTH, make_bundle, write_clip
from tests.support.graphs import constant, pooled_heatmaps, tiny_bundle


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "fp32", *tiny_bundle(flow=True))


def test_parts_are_chosen(bundle):
    assert convertible(bundle) == ["detector", "pose", "flow"]
    assert convertible(bundle, ["flow", "pose"]) == ["pose", "flow"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [(["legs"], "expected a network"), (["pose", "pose"], "named twice")],
)
def test_other_parts_are_refused(bundle, parts, message):
    with pytest.raises(OptionError, match=message):
        convertible(bundle, parts)


def test_converted_networks_and_their_records(bundle, tmp_path):
    graph = pooled_heatmaps(17, 64, 48, 4, seed=5)
    manifest, files = with_networks(bundle, {"pose": graph}, "int8", {"pose": {"mean_oks": 0.99}})
    written = write_bundle(tmp_path / "int8", manifest, files)
    assert open_bundle(written.path).read("pose") == graph
    assert written.read("detector") == bundle.read("detector")
    kinds = {part: file.precision for part, file in written.manifest.files().items()}
    assert kinds == {"detector": "fp32", "pose": "int8", "flow": "fp32"}
    assert written.manifest.pose.file.parity == {"int8": {"mean_oks": 0.99}}
    assert written.manifest.pose.file.path == bundle.manifest.pose.file.path
    with pytest.raises(OptionError, match="pose is int8, expected fp32"):
        convertible(written)
    assert convertible(written, ["detector"]) == ["detector"]


def test_kept_names_go_to_the_graphs_that_have_them(bundle):
    models = {part: bundle.read(part) for part in ("detector", "pose")}
    kept = kept_by_part(models, ["Conv", "boxes", "Identity"])
    assert kept == {"detector": ("boxes", "Identity"), "pose": ("Conv",)}
    with pytest.raises(OptionError, match="keep names 'Cnv'"):
        kept_by_part(models, ["Cnv"])


def test_tracking_is_compared_on_truth(tmp_path):
    (tmp_path / "set").mkdir()
    write_clip(tmp_path / "set", "one", frames=4)
    reference = open_bundle(make_bundle(tmp_path / "puppets"))
    clips = open_clips(tmp_path / "set")
    told = []

    def judged(graph):
        return judge_on_truth(
            reference, {"detector": graph}, "int8", clips, "shared13", Limits(),
            progress=lambda: told.append(1),
        )  # fmt: skip

    same = judged(reference.read("detector"))
    assert not same.failures
    assert same.figures["MOTA_fp32"] == same.figures["MOTA_converted"] > 50
    assert len(told) == 8
    blind = constant(
        {"image": ("uint8", ("N", HEIGHT, WIDTH, 3))},
        {"boxes": np.zeros((1, 2, 4), np.float32), "scores": np.zeros((1, 2), np.float32)},
    )
    found = judged(blind)
    assert found.figures["MOTA_converted"] <= 0
    assert "MOTA falls from" in found.failures[0]
