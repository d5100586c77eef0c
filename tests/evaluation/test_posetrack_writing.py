"""Clips written in the forms of both years come back as they were."""

import json
from dataclasses import replace

import numpy as np
import pytest

from flowtrack.errors import InputError, OptionError, OutputError
from flowtrack.evaluation.posetrack import evaluate
from flowtrack.evaluation.posetrack_files import read_posetrack
from flowtrack.evaluation.posetrack_writing import write_posetrack
from flowtrack.evaluation.sequences import NO_SCORE, PoseSequence
from tests.evaluation.samples import COUNT, frame, person, random_clips, sequence
from tests.reference import poseval


def clip(seed, side, *, labelled_only=True):
    """A random clip, truth (0) or results (1), as both years can hold it."""
    clip = sequence(random_clips(np.random.default_rng(seed), 25)[side], "000123_mpii_test")
    frames = [
        replace(one, name=f"{i:06}.jpg", labelled=len(one) > 0 if labelled_only else one.labelled)
        for i, one in enumerate(clip.frames)
    ]
    # A joint that is not there has no score in a file.
    frames = [replace(one, score=np.where(one.present, one.score, NO_SCORE)) for one in frames]
    return PoseSequence(clip.name, tuple(frames))


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one.frames, other.frames, strict=True):
        assert (a.name, a.labelled) == (b.name, b.labelled)
        assert a.track_id.tolist() == b.track_id.tolist()
        np.testing.assert_array_equal(a.score, b.score)
        np.testing.assert_array_equal(a.xy, b.xy)
        np.testing.assert_allclose(a.head, b.head, rtol=1e-14)  # 2018 writes width and height
        assert [p.tolist() for p in a.ignore] == [p.tolist() for p in b.ignore]


@pytest.mark.parametrize("year", [2017, 2018])
@pytest.mark.parametrize("side", [0, 1], ids=["truth", "results"])
@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_what_is_written_is_read_back(tmp_path, year, side, ending):
    given = clip(3, side)
    path = tmp_path / f"000123_mpii_test{ending}"
    write_posetrack(path, given, year)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    got = read_posetrack(path)
    assert (got.name, got.source) == (given.name, str(path))
    same(got, given)


def test_2017_keeps_frames_that_are_labelled_and_have_nobody(tmp_path):
    given = clip(4, 0, labelled_only=False)
    assert any(one.labelled and not len(one) for one in given.frames)
    write_posetrack(tmp_path / "a.json", given, 2017)
    same(read_posetrack(tmp_path / "a.json"), given)
    with pytest.raises(InputError, match=r"000123_mpii_test: frame \d+ is labelled and has nobody"):
        write_posetrack(tmp_path / "b.json", given, 2018)
    assert not (tmp_path / "b.json").exists()


def test_a_joint_at_the_corner_and_a_person_without_joints(tmp_path):
    given = sequence([frame(person(1, 0, 0, joints=[3]), person(2, joints=[]))])
    for year in (2017, 2018):
        write_posetrack(tmp_path / "a.json", given, year)
        (got,) = read_posetrack(tmp_path / "a.json").frames
        assert got.present.sum(axis=1).tolist() == [1, 0]
        assert got.xy[0, 3].tolist() == [0, 0]


def test_the_oracle_reads_it_too(tmp_path):
    truth, results = clip(5, 0), clip(5, 1)
    want = evaluate(truth, results)
    for year in (2017, 2018):
        for name, one in (("t", truth), ("r", results)):
            write_posetrack(tmp_path / f"{name}.json", one, year)
        sides = [poseval.read_posetrack(tmp_path / f"{name}.json") for name in "tr"]
        counts = poseval.mota(*sides)
        assert counts.total == pytest.approx(want.mota)
        assert poseval.mean_ap(*sides)[0] == pytest.approx(want.mean_ap)


def test_a_file_of_2018_has_what_poseval_asks_for(tmp_path):
    write_posetrack(tmp_path / "a.json", clip(3, 1), 2018)
    content = json.loads((tmp_path / "a.json").read_text())
    image, note = content["images"][0], content["annotations"][0]
    assert (image["vid_id"], image["nframes"], image["file_name"]) == ("000123", 25, "000000.jpg")
    assert {"track_id", "bbox", "keypoints", "scores", "image_id"} <= set(note)
    assert (len(note["keypoints"]), len(note["scores"])) == (51, 17)
    there = np.array(note["keypoints"]).reshape(17, 3)
    xy = there[there[:, 2] > 0, :2]
    size = np.ptp(xy, axis=0)
    assert note["bbox"][2:] == pytest.approx((1.3 * size).tolist())
    assert note["bbox"][:2] == pytest.approx((xy.min(axis=0) - 0.15 * size).tolist())


def test_truth_without_scores_has_none_in_the_file(tmp_path):
    bare = sequence([frame(person(1))])
    bare = PoseSequence("a", (replace(bare.frames[0], score=np.full((1, COUNT), NO_SCORE)),))
    for year in (2017, 2018):
        write_posetrack(tmp_path / "a.json", bare, year)
        assert "score" not in (tmp_path / "a.json").read_text()


def test_wrong_requests_are_refused(tmp_path):
    given = sequence([frame(person(1))])
    with pytest.raises(OptionError, match="year is 2019, expected 2017 or 2018"):
        write_posetrack(tmp_path / "a.json", given, 2019)
    with pytest.raises(OutputError, match="cannot write"):
        write_posetrack(tmp_path / "nowhere" / "a.json", given, 2017)
