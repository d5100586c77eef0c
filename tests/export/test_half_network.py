"""fp32 islands: overflows are named, the sensitive layers go back, and there is an end to it."""

import pytest

from flowtrack.calibration.feeds import record_feeds
from flowtrack.calibration.gate import Gate
from flowtrack.errors import OptionError
from flowtrack.export.half_network import half_network, judging_device, overflowing, rank_halved
from flowtrack.export.precision import half_layers
from tests.export.half_samples import blobs, bundle_with, pose_network


@pytest.fixture
def opened(tmp_path):
    """A gate and feeds for a pose network."""

    def of(graph):
        bundle, shown = bundle_with(graph, tmp_path / "fp32"), blobs(4)
        return Gate(bundle, shown[2:]), record_feeds(bundle, shown[:2], 2)["pose"]

    return of


def test_a_network_that_passes_has_no_islands(opened):
    model = pose_network()
    gate, feeds = opened(model)
    made = half_network(model, gate, "pose", feeds)
    assert not made.verdict.failures
    assert made.record() == {"layers": 7, "fp32_islands": {}}
    assert made.ranked == ()


def test_layers_that_cancel_go_back_to_fp32(opened):
    model = pose_network(c=4000.0, d=-4000.0)
    gate, feeds = opened(model)
    told = []
    made = half_network(model, gate, "pose", feeds, tell=told.append)
    assert not made.verdict.failures
    assert set(made.islands) == {"c", "d"}
    assert {damage.layers[0] for damage in made.ranked[:2]} == {"c", "d"}
    assert half_layers(model, list(made.islands)) == ["a", "b", "e", "f", "g"]
    assert "comparing with 2 of 7 layers in fp32" in told


def test_more_than_a_third_is_too_much(opened):
    model = pose_network(b=4000.0, c=-4000.0, d=4000.0, e=-4000.0)
    gate, feeds = opened(model)
    told = []
    made = half_network(model, gate, "pose", feeds, tell=told.append)
    assert "mean OKS" in made.verdict.failures[0]
    assert told[-1] == "comparing with 2 of 7 layers in fp32"
    assert made.islands == {}
    assert len(made.ranked) == 7


def test_an_overflow_is_named_and_its_layer_put_back(opened):
    model = pose_network(c=1e5, d=-1e5)
    gate, feeds = opened(model)
    assert overflowing(model, feeds) == {
        "c": "its results reach 1e+05, beyond the largest float16, 65504"
    }
    made = half_network(model, gate, "pose", feeds, keep=["d"])
    assert list(made.islands) == ["c"]
    assert not made.verdict.failures


def test_ranking_measures_each_layer_alone(opened):
    model = pose_network(c=4000.0, d=-4000.0)
    _, feeds = opened(model)
    told = []
    ranked = rank_halved(model, feeds, ["d"], lambda: told.append(1))
    assert len(ranked) == len(told) == 6
    assert ranked[0].layers == ("c",)
    assert ranked[0].loss > 10 * ranked[1].loss


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", "cpu"), ("openvino", "cpu"), ("openvino-bf16", "cpu"), ("cuda:1", "cuda:1"),
     ("ort-tensorrt", "ort-tensorrt")],
)  # fmt: skip
def test_cpus_rehearse(device, expected):
    assert judging_device(device) == expected


def test_a_device_that_leaves_the_rounding_out_is_no_judge(opened):
    """OpenVINO takes half tensors for fp32: there the worst network passed."""
    gate, feeds = opened(pose_network())
    gate.device = "openvino"
    with pytest.raises(OptionError, match="device openvino computes fp16 in fp32; judge it on cpu"):
        half_network(pose_network(), gate, "pose", feeds)
