"""Thresholds chosen on puppets: what is said of the choice is so, and the bundle says it too."""

import json
from dataclasses import replace

import numpy as np
import pytest

from flowtrack.calibration.evidence import evidence_of, write_choice
from flowtrack.calibration.thresholds import Tried, choose_thresholds
from flowtrack.calibration.thresholds_report import (
    as_dict,
    figures_table,
    frontier,
    options_table,
    thresholds_report,
    verdict,
)
from flowtrack.errors import InputError, OptionError
from flowtrack.evaluation.deployed.memory import Memory
from flowtrack.evaluation.deployed.posetrack import run_clips
from flowtrack.evaluation.deployed.posetrack_set import open_clips
from flowtrack.evaluation.posetrack import evaluate
from flowtrack.runtime.bundle import open_bundle
from flowtrack.tracker.options import TrackerOptions
from tests.evaluation.deployed.puppet_samples import counted, make_bundle, opened, write_clip

FRAMES = 8
GRID = {"box_threshold": (0.5, 0.9), "joint_threshold": (0.4, 0.9)}
STEPS = {
    "nms_iou": (0.3, 0.5), "pose_nms": (0.6, None), "queue": (1, 3), "box_threshold": (0.5, 0.9),
    "joint_threshold": (0.4, 0.9),
}  # fmt: skip
BAD = {"box_threshold": 0.9, "joint_threshold": 0.9}
"""Loses many joints: something else is surely better."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thresholds")
    (folder / "set").mkdir()
    for seed, name in enumerate(("one", "two", "three")):
        write_clip(folder / "set", name, seed=seed, frames=FRAMES)
    make_bundle(folder / "puppets.bundle", **BAD)
    return folder


def chosen(place, clips, **more):
    networks = opened(place / "puppets.bundle")
    calls = counted(networks)
    told, settings = [], []
    with Memory() as memory:
        choice = choose_thresholds(
            clips, networks, memory, joints="shared13", grid=GRID, steps=STEPS,
            on_frame=lambda: told.append(1), on_setting=settings.append, **more,
        )  # fmt: skip
    return choice, calls, len(told), settings


@pytest.fixture(scope="module")
def clips(place):
    return open_clips(place / "set")


@pytest.fixture(scope="module")
def done(place, clips):
    return chosen(place, clips)


def plain_scores(place, clips, options):
    pipeline = opened(place / "puppets.bundle").pipeline(options)
    results = [found for _, found in run_clips(pipeline, clips)]
    return evaluate([clip.truth for clip in clips], results, "shared13")


def test_the_best_setting_is_chosen(done):
    choice, *_ = done
    assert choice.start == TrackerOptions(**BAD)
    best = max(choice.tried, key=lambda one: one.mota)
    assert choice.of(choice.options).mota == best.mota > choice.of(choice.start).mota + 10
    assert (choice.options.box_threshold, choice.options.joint_threshold) == (0.5, 0.4)
    assert choice.tried[0].options == choice.start
    assert len({one.options for one in choice.tried}) == len(choice.tried)
    assert all(one.value == one.mota for one in choice.tried)


def test_the_networks_run_once_and_then_plainly(done):
    choice, calls, told, settings = done
    assert calls["detector"] == 2 * 3 * FRAMES
    assert calls["flow"] == 2 * 3 * (FRAMES - 1)
    assert told == 2 * 3 * FRAMES
    assert settings == list(choice.tried)


def test_figures_are_those_of_plain_runs(place, clips, done):
    choice, *_ = done
    for options in (choice.options, choice.start):
        plain, replayed = plain_scores(place, clips, options), choice.of(options)
        assert replayed.mota == pytest.approx(plain.mota, abs=0.5)  # the networks' rounding
        assert replayed.mean_ap == pytest.approx(plain.mean_ap, abs=0.5)
    assert choice.plain.as_dict() == plain_scores(place, clips, choice.options).as_dict()


def test_what_is_held_out_had_no_say(place, clips, done):
    """Against choosing anew by hand, clip by clip, from the figures of every setting."""
    choice, *_ = done
    scores = {one.options: plain_scores(place, clips, one.options) for one in choice.tried}

    def mota(options, part):
        return type(scores[options])(
            scores[options].rows, tuple(scores[options].clips[i] for i in part)
        ).mota

    for one in choice.tried:
        expected = [mota(one.options, rest) for rest in ((1, 2), (0, 2), (0, 1))]
        assert one.without == pytest.approx(expected, abs=0.5)
    assert choice.folds == "leave-one-clip-out"
    picked = []
    for part, rest in enumerate(((1, 2), (0, 2), (0, 1))):
        best = max(choice.tried, key=lambda one, part=part: one.without[part])
        tied = [o.options for o in choice.tried if o.without[part] == best.without[part]]
        options = choice.options if choice.options in tied else tied[0]
        assert mota(options, rest) >= mota(choice.options, rest) - 0.5
        picked.append(scores[options].clips[part])
    by_hand = type(choice.held_out)(choice.held_out.rows, tuple(picked))
    assert choice.held_out.mota == pytest.approx(by_hand.mota, abs=0.5)
    assert [clip.name for clip in choice.held_out.clips] == [clip.truth.name for clip in clips]


def test_a_single_clip_is_halved(place, clips):
    choice, *_ = chosen(place, clips[:1])
    assert choice.folds == "split-half"
    assert [clip.frames for clip in choice.held_out.clips] == [FRAMES // 2, FRAMES // 2]
    assert choice.plain.frames == FRAMES
    assert [clip.frames for clip in choice.unchanged.clips] == [FRAMES // 2, FRAMES // 2]
    second = evaluate_half(place, clips[0], choice.start, slice(FRAMES // 2, None))
    assert choice.unchanged.by_clip[1].mota == pytest.approx(second.mota, abs=0.5)
    assert len(choice.tried[0].without) == 2
    halves = choice.of(choice.options).without
    first = evaluate_half(place, clips[0], choice.options, slice(FRAMES // 2, None))
    assert halves[0] == pytest.approx(first.mota, abs=0.5)  # without the first: the second alone


def evaluate_half(place, clip, options, part):
    pipeline = opened(place / "puppets.bundle").pipeline(options)
    ((_, found),) = run_clips(pipeline, [clip])
    truth, results = (
        replace(one, frames=one.frames[part]) for one in (clip.truth, found)
    )  # fmt: skip
    return evaluate(truth, results, "shared13")


@pytest.mark.parametrize("objective", ["map", "mean"])
def test_other_objectives(place, clips, objective):
    choice, *_ = chosen(place, clips[:1], objective=objective)
    best = max(one.value for one in choice.tried)
    assert choice.of(choice.options).value == best
    for one in choice.tried:
        expected = one.mean_ap if objective == "map" else (one.mean_ap + one.mota) / 2
        assert one.value == expected


@pytest.mark.parametrize("name", ["copy.bundle", "copy.zip", "puppets.bundle"])
def test_the_bundle_holds_the_choice_and_its_evidence(place, done, tmp_path, name):
    choice, *_ = done
    own = make_bundle(tmp_path / "puppets.bundle", similarity="multi_flow", **BAD)
    (own / "engines").mkdir()
    (own / "engines" / "kept.txt").write_text("what was compiled stays, for the networks stay")
    kept = open_bundle(own).contents()
    write_choice(open_bundle(own), choice, "three puppets", tmp_path / name)
    written = open_bundle(tmp_path / name)
    written.verify()
    assert written.contents() == kept
    assert written.manifest.tracker_options == choice.options
    before = open_bundle(place / "puppets.bundle").manifest
    assert replace(written.manifest, tracker={}, thresholds=None) == replace(before, tracker={})
    evidence = written.manifest.thresholds
    assert (evidence.data_set, evidence.clips, evidence.frames) == ("three puppets", 3, 3 * FRAMES)
    assert (evidence.objective, evidence.joints) == ("mota", "shared13")
    assert evidence.folds == "leave-one-clip-out"
    assert evidence.plain.mota == pytest.approx(choice.plain.mota, abs=1e-3)
    assert evidence.before.mota == pytest.approx(choice.of(choice.start).mota, abs=1e-3)
    assert evidence.replayed.mean_ap == pytest.approx(choice.of(choice.options).mean_ap, abs=1e-3)
    assert len(evidence.tried) == len(choice.tried)
    assert TrackerOptions(**BAD).to_dict() | evidence.tried[-1].options == (
        choice.tried[-1].options.to_dict()
    )
    assert opened(tmp_path / name).pipeline(choice.options).options == choice.options


def test_a_figure_without_value_is_null(done):
    choice, *_ = done
    nothing = replace(choice.held_out, clips=())
    assert np.isnan(nothing.mota)
    assert evidence_of(replace(choice, held_out=nothing), "x").held_out.mota is None


def test_tables_and_page(done):
    choice, *_ = done
    options, figures = options_table(choice), figures_table(choice)
    assert [row[0] for row in options[1:]] == list(STEPS)
    by_name = {row[0]: row for row in options}
    assert by_name["box_threshold"][1:3] == ["0.9", "0.5"]
    assert by_name["queue"][1:3] == ["10", "10"]
    assert by_name["box_threshold"][4] == "sharp, at the edge"
    assert [row[0] for row in figures[1:]] == [
        "before", "the choice", "the choice, plain run",
        "chosen without the clip it is measured on", "before, clip by clip",
    ]  # fmt: skip
    assert figures[5][1:] == figures[1][1:]  # the same clips
    page = thresholds_report(choice, "three puppets").html()
    assert "The trade-off" in page
    assert "Around the choice: box_threshold" in page
    facts = json.loads(json.dumps(as_dict(choice), allow_nan=False))
    assert facts["options"]["box_threshold"] == 0.5
    assert facts["before"]["options"]["box_threshold"] == 0.9
    assert facts["plain"]["MOTA"] == pytest.approx(choice.plain.mota, abs=1e-4)
    assert len(facts["tried"]) == len(choice.tried)


def test_whether_choosing_helps(done):
    choice, *_ = done
    assert choice.helps
    assert "better there" in verdict(choice)
    worse = replace(choice, held_out=choice.unchanged)
    assert not worse.helps
    assert "keep that one" in verdict(worse)


def test_the_cost_of_a_step(done):
    choice, *_ = done
    row = {one.options.box_threshold: one for one in choice.around("box_threshold")}
    assert choice.cost("box_threshold") == row[0.5].value - row[0.9].value > 0
    assert choice.cost("queue") == 0


def test_the_frontier():
    def point(mean_ap, mota):
        return Tried(TrackerOptions(), mean_ap, mota, 0.0, ())

    tried = [point(*p) for p in ((50, 40), (60, 30), (55, 30), (40, 45), (60, 20), (45, 40))]
    assert frontier(tried) == [(40, 45), (50, 40), (60, 30)]


def test_wrong_use_is_refused_before_a_network_runs(place, clips, tmp_path):
    networks = opened(place / "puppets.bundle")
    flowless = opened(make_bundle(tmp_path / "flowless.bundle", flow=False))
    calls = counted(networks), counted(flowless)
    with Memory() as memory:
        with pytest.raises(OptionError, match="objective is 'idf1', expected one of mota"):
            choose_thresholds(clips, networks, memory, objective="idf1")
        with pytest.raises(OptionError, match="unknown joint set"):
            choose_thresholds(clips, networks, memory, joints="toes")
        with pytest.raises(OptionError, match="flowless has no optical flow"):
            choose_thresholds(clips, flowless, memory)
        with pytest.raises(InputError, match="no clips"):
            choose_thresholds([], networks, memory)
    assert all(not any(one.values()) for one in calls)


def test_a_truth_with_nothing_to_find_is_refused(place, tmp_path):
    path = write_clip(tmp_path, "empty", frames=2)
    content = json.loads(path.read_text())
    for record in content["annolist"]:
        record["annorect"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="no joints to find"):
        chosen(place, open_clips(path))
