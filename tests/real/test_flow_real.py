"""Optical flow on pairs of FlyingChairs: a network of others, DIS, and no motion."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flowtrack.evaluation.deployed.flow import dis, measure, no_motion
from flowtrack.evaluation.flow_pairs import find_pairs
from flowtrack.flo import read_flo
from tests.cli.test_commands import invoke
from tests.real.test_real_material import make


def of_pairs(method):
    return [round(pair["epe"], 2) for pair in method["pairs"]]


def test_a_network_of_others_reaches_its_known_errors(real, tmp_path):
    """The figures of an evaluation outside of flowtrack: 0.68 to 2.95 px."""
    network = real / "nets/spynet_ltkong_chairs_384x512.onnx"
    bundle = make(tmp_path / "spynet.bundle", "--flow", network, "--flow-range", "1")
    done = invoke(
        "eval", "flow", "--data", real / "flow", "--bundle", bundle, "--out", tmp_path / "out",
        "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    methods = json.loads(done.stdout)["methods"]
    assert of_pairs(methods["bundle"]) == [2.95, 0.68, 0.92, 0.69]
    assert methods["bundle"]["mean_over_pairs"]["fl"] == pytest.approx(7.81, abs=0.02)
    again = invoke(
        "eval", "flow", "--truth", real / "flow", "--results", tmp_path / "out/bundle", "--json"
    )
    assert of_pairs(json.loads(again.stdout)["methods"]["results"]) == of_pairs(methods["bundle"])


def test_dis_and_no_motion(real):
    """DIS of OpenCV's medium preset: 1.3 to 8.2 px, as measured outside of flowtrack."""
    pairs = find_pairs(real / "flow")
    fast, medium, zero = measure([dis(), dis("medium"), no_motion()], pairs)
    errors = [pair.epe for pair in medium.pairs]
    assert (min(errors), max(errors)) == pytest.approx((1.32, 8.22), abs=0.05)
    assert fast.epe == pytest.approx(3.48, abs=0.05)
    truths = [read_flo(files.truth).astype(np.float64) for files in pairs]
    lengths = [float(np.sqrt((uv**2).sum(axis=0)).mean()) for uv in truths]
    assert [pair.epe for pair in zero.pairs] == pytest.approx(lengths, rel=1e-5)
    assert zero.epe == pytest.approx(5.23, abs=0.01)
