"""Table 5 on puppets: its rows, what they share, and how its claims are judged."""

import json
import math

import pytest

from flowtrack.errors import OptionError
from flowtrack.evaluation.bootstrap import Interval
from flowtrack.evaluation.deployed.ablation import (
    ROWS,
    contenders,
    is_posetrack,
    row_options,
    run_ablation,
)
from flowtrack.evaluation.deployed.ablation_report import AblationResult, Claim, written
from flowtrack.evaluation.deployed.memory import Memory
from flowtrack.evaluation.deployed.posetrack import run_clips
from flowtrack.evaluation.deployed.posetrack_set import TruthClip, open_clips
from flowtrack.evaluation.deployed.weakening import Weakening
from flowtrack.evaluation.posetrack import evaluate
from flowtrack.evaluation.sequences import PoseSequence
from flowtrack.tracker.options import TABLE_5, TrackerOptions
from tests.evaluation.deployed.puppet_samples import counted, make_bundle, opened, write_clip

FRAMES = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "set").mkdir()
    for seed, name in enumerate(("one", "two")):
        write_clip(folder / "set", name, seed=seed, frames=FRAMES)
    make_bundle(folder / "puppets.bundle", box_threshold=0.3)
    return folder


@pytest.fixture(scope="module")
def clips(place):
    return open_clips(place / "set")


@pytest.fixture(scope="module")
def done(place, clips):
    """(rows, what the networks were asked, how often the progress was told)."""
    networks = opened(place / "puppets.bundle")
    calls, told = counted(networks), []
    with Memory() as memory:
        rows = run_ablation(
            clips, contenders([networks], Weakening(0.4)), memory, joints="shared13",
            progress=lambda: told.append(1),
        )  # fmt: skip
    return rows, calls, len(told)


def test_the_rows_are_those_of_the_paper(done):
    rows, _, told = done
    assert [row.method for row in rows] == [f"{block}{row}" for block in "ab" for row in ROWS]
    for row in rows:
        paper = TABLE_5[row.method]
        assert row.paper is paper
        assert row.options.similarity == paper.tracker.similarity
        assert row.options.propagate == paper.tracker.propagate
        assert row.options.pose_nms is None
        assert row.options.box_threshold == 0.3  # the bundle's
        assert [clip.name for clip in row.scores.clips] == ["one", "two"]
    assert [row.contender.lost for row in rows] == [0.4] * 6 + [0.0] * 6
    assert rows[0].contender.detector == "puppets, 40% lost"
    assert rows[6].contender.detector == "puppets"
    assert told == 2 * FRAMES * len(rows)


def test_networks_run_once_for_all_rows(done):
    rows, calls, _ = done
    assert calls["detector"] == 2 * FRAMES
    assert calls["flow"] == 2 * (FRAMES - 1)
    people = sum(row.scores.detections.score.shape[0] for row in rows)
    assert calls["pose"] < people / 2


@pytest.mark.parametrize("method", ["b1", "b4", "b6"])
def test_a_row_is_what_a_plain_run_gives(place, clips, done, method):
    row = next(row for row in done[0] if row.method == method)
    pipeline = opened(place / "puppets.bundle").pipeline(row.options)
    results = [found for _, found in run_clips(pipeline, clips)]
    plain = evaluate([clip.truth for clip in clips], results, "shared13")
    assert row.scores.as_dict() == plain.as_dict()


def test_propagation_finds_again_what_is_lost(done):
    scores = {row.method: row.scores for row in done[0]}
    assert scores["a3"].mean_ap > scores["a1"].mean_ap + 5
    assert scores["a3"].mota > scores["a1"].mota + 5
    assert scores["b1"].mean_ap > scores["a1"].mean_ap + 5


def test_thresholds_are_the_bundles_and_the_rest_is_the_papers():
    base = TrackerOptions(
        queue=4, flow_links="direct", box_threshold=0.3, joint_threshold=0.2, nms_iou=0.6,
        min_similarity=0.3, oks_area="joints", box_growth=0.3, detect_every=2, pose_nms=0.7,
    )  # fmt: skip
    rows = row_options(base)
    assert list(rows) == list(ROWS)
    for number, row in rows.items():
        assert (row.box_threshold, row.joint_threshold, row.nms_iou) == (0.3, 0.2, 0.6)
        assert (row.min_similarity, row.oks_area, row.box_growth) == (0.3, "joints", 0.3)
        assert (row.detect_every, row.pose_nms) == (1, None)
        assert (row.queue, row.flow_links) == (
            (4, "direct") if number == "6" else (None, "chained")
        )
    assert {row.pose_nms for row in row_options(base, pose_nms=True).values()} == {0.7}
    other = row_options(TrackerOptions(similarity="pose", queue=3))
    assert {row.queue for row in other.values()} == {None}


def test_wrong_bundles_are_refused_before_anything_runs(place, tmp_path):
    networks = opened(place / "puppets.bundle")
    flowless = opened(make_bundle(tmp_path / "flowless.bundle", flow=False))
    for wrong, message in (
        (([], None), "0 bundles are given, expected 1 to 3"),
        (([networks] * 4, None), "4 bundles are given"),
        (([flowless], None), "flowless has no optical flow"),
        (([networks, flowless], None), "flowless has no optical flow"),
        (([networks, networks], Weakening(0.2)), "several are compared as they are"),
    ):
        with pytest.raises(OptionError, match=message):
            contenders(*wrong)
    assert [one.lost for one in contenders([networks], None)] == [0.3, 0.0]
    assert [one.lost for one in contenders([networks] * 3, None)] == [0.0] * 3


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["000342_mpii_test"], True),
        (["24317_mpii", "00522_mpii_relpath_5sec_testsub", "x_24317_mpii"], True),
        (["24317_mpii", "bonn"], False),
        (["mpii"], False),
        (["000001_fast_test"], False),
    ],
)
def test_posetrack_is_known_by_its_names(names, known):
    clips = [TruthClip(name, PoseSequence(name, ()), (), ()) for name in names]
    assert is_posetrack(clips) is known


def test_intervals_claims_and_tables(done):
    result = AblationResult.of(done[0])
    by_method = {row.method: row.scores for row in result.rows}
    assert len(result.claims) == 8
    for claim in result.claims:
        better, other = (by_method[method] for method in claim.methods)
        measure = "AP" if claim.measure == "mAP" else "MOTA"
        assert claim.difference.value == pytest.approx(better.total(measure) - other.total(measure))
        assert claim.difference.low <= claim.difference.value <= claim.difference.high
    papers = {(c.methods[0], c.measure): round(c.paper, 1) for c in result.claims}
    assert papers == {
        ("a3", "mAP"): 4.3,
        ("a3", "MOTA"): 3.8,
        ("a5", "MOTA"): 0.4,
        ("a6", "MOTA"): 0.4,
        ("b3", "mAP"): 3.1,
        ("b3", "MOTA"): 2.3,
        ("b5", "MOTA"): 0.3,
        ("b6", "MOTA"): 0.5,
    }  # fmt: skip  (section 4.2 of the paper)
    plain, with_paper = result.table(paper=False), result.table(paper=True)
    assert [row[0] for row in plain] == ["row", *by_method]
    assert all(len(row) == len(plain[0]) for row in plain)
    assert with_paper[-1][-2:] == ["72.4", "62.9"]
    assert with_paper[1][2:4] == ["no", "S_Bbox"]
    assert with_paper[12][2:4] == ["yes", "S_Multi-Flow"]
    facts = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert facts["rows"][0]["per_clip"].keys() == {"one", "two"}
    assert facts["rows"][5]["paper"] == {"mAP": 70.3, "MOTA": 62.2}
    page = result.report("puppets", paper=True).html()
    assert "S_Multi-Flow" in page
    assert page.count("<svg") >= 2
    assert "add --pose-nms" in page


def test_a_single_clip_has_no_intervals(done):
    single = [
        type(row)(row.method, row.contender, row.options, row.scores.by_clip[0], row.paper)
        for row in done[0]
    ]
    result = AblationResult.of(single)
    assert all(math.isnan(claim.difference.low) for claim in result.claims)
    assert {claim.verdict for claim in result.claims} == {"open"}
    cells = [cell for row in result.table(paper=False)[1:] for cell in row[4:]]
    assert not any("[" in cell for cell in cells)
    json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 2, "shown"), (-2, -0.1, "contrary"), (-1, 1, "open"), (0, 1, "open"), (-1, 0, "open"),
     (math.nan, math.nan, "open")],
)  # fmt: skip
def test_verdicts(low, high, verdict):
    assert Claim("c", ("a1", "a2"), "mAP", Interval(0.0, low, high), 1.0).verdict == verdict


@pytest.mark.parametrize(
    ("interval", "sign", "text"),
    [
        (Interval(1.26, 0.0, 2.04), False, "1.3 [0.0, 2.0]"),
        (Interval(1.26, -1.0, 2.04), True, "+1.3 [-1.0, +2.0]"),
        (Interval(-1.26, math.nan, math.nan), True, "-1.3"),
        (Interval(math.nan, math.nan, math.nan), False, "-"),
    ],
)
def test_figures_as_written(interval, sign, text):
    assert written(interval, sign=sign) == text
