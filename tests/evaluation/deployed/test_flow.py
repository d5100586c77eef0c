"""Sets of pairs in files, methods measured on them, and the report."""

import os
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from flowtrack.errors import InputError, OptionError, OutputError, SourceError
from flowtrack.evaluation.deployed.flow import (
    by_runtime,
    dis,
    measure,
    no_motion,
    of_bundle,
    of_files,
)
from flowtrack.evaluation.deployed.flow_report import (
    flow_colors,
    flow_report,
    group_table,
    pictured,
    table,
)
from flowtrack.evaluation.flow_pairs import FlowPair, find_pairs, validation_pairs
from flowtrack.flo import read_flo, write_flo
from flowtrack.runtime.bundle import write_bundle
from flowtrack.runtime.flow import FlowImage
from flowtrack.structs import FlowField
from tests.evaluation.deployed.flow_samples import SIZE, chairs, moved, write_pair, write_set
from tests.support.graphs import tiny_bundle


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (chairs("00001"), "00001_flow"),
        (chairs("data/00012"), "data/00012_flow"),
        (("0000000-img0.ppm", "0000000-img1.ppm", "0000000-gt.flo"), "0000000-gt"),
        (("a/000009.png", "a/000010.png", "a.flow/000009.flo"), "a.flow/000009"),
        (("x/a/1.jpg", "x/a/2.jpg", "x/a.flow/1.flo"), "x/a.flow/1"),
        (("a/001.webp", "a/002.webp", "a.flow/001.flo"), "a.flow/001"),
    ],
)
def test_layouts(tmp_path, names, name):
    mask = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 3 > 0
    uv = write_pair(tmp_path, names, mask=mask)
    (files,) = find_pairs(tmp_path)
    pair = files.load()
    assert files.name == pair.name == name
    np.testing.assert_array_equal(pair.uv, uv)
    np.testing.assert_array_equal(pair.visible, mask)
    lossy = names[0].endswith((".jpg", ".webp"))
    for shown, picture in zip((pair.previous, pair.current), moved((2, 1)), strict=False):
        np.testing.assert_allclose(shown, picture, atol=90 if lossy else 0)


def test_a_set_without_pictures_is_one_of_flow_only(tmp_path):
    write_flo(tmp_path / "a.flo", np.zeros((2, 4, 5), np.float32))
    (files,) = find_pairs(tmp_path, pictures=False)
    pair = files.load()
    assert (pair.previous, pair.current, pair.visible) == (None, None, None)
    assert find_pairs(tmp_path / "a.flo", pictures=False) == [files]


def test_pairs_come_in_the_order_of_their_files(tmp_path):
    for stem in ("b/00002", "a/00003", "00001", "b/00001"):
        write_pair(tmp_path, chairs(stem))
    names = [files.name.removesuffix("_flow") for files in find_pairs(tmp_path)]
    assert names == ["00001", "a/00003", "b/00001", "b/00002"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"nowhere is not there; name a folder"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"holds no \.flo file; expected \*_flow\.flo"):
        find_pairs(tmp_path)
    write_pair(tmp_path, chairs("00001"))
    (tmp_path / "00001_img2.ppm").unlink()
    with pytest.raises(SourceError, match=r"00001_flow\.flo needs .*00001_img2\.ppm, which is not"):
        find_pairs(tmp_path)
    (tmp_path / "00001_flow.flo").rename(tmp_path / "odd.flo")
    with pytest.raises(SourceError, match=r"odd\.flo: no pictures go with a file of this name"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(
    ("file", "spoil", "error", "message"),
    [
        ("00001_flow.flo", lambda p: os.truncate(p, 500), InputError, "500 bytes.*cut off"),
        ("00001_img1.ppm", lambda p: p.write_bytes(b"P6"), SourceError, "cannot be decoded"),
        ("00001_img2.ppm", lambda p: cv2.imwrite(str(p), np.zeros((8, 9, 3), np.uint8)),
         InputError, r"is 9 x 8 px, but 00001_flow\.flo is 64 x 48"),
        ("00001_flow.png", lambda p: cv2.imwrite(str(p), np.zeros((7, 5), np.uint8)),
         InputError, r"is 5 x 7 px, but 00001_flow\.flo is 64 x 48"),
    ],
    ids=["cut off", "no picture", "picture size", "mask size"],
)  # fmt: skip
def test_damaged_files_are_named(tmp_path, file, spoil, error, message):
    write_pair(tmp_path, chairs("00001"))
    spoil(tmp_path / file)
    with pytest.raises(error, match=rf"{file}.*{message}"):
        measure([no_motion()], find_pairs(tmp_path))


def test_a_truth_that_nobody_knows_is_named(tmp_path):
    write_pair(tmp_path, chairs("00001"), valid=np.zeros(SIZE, bool))
    with pytest.raises(InputError, match=r"00001_flow\.flo: the true flow is known at no pixel"):
        measure([no_motion()], find_pairs(tmp_path))


def test_the_validation_pairs_of_flyingchairs(tmp_path):
    pairs = find_pairs(write_set(tmp_path / "set"))
    split = tmp_path / "FlyingChairs_train_val.txt"
    split.write_text("1\n2\n2\n")
    assert validation_pairs(pairs, split) == pairs[1:]
    for text, message in (("1\n2\n", "2 entries .* 3 pairs"), ("1\n1\n1\n", "has no 2"),
                          ("1\n2\n3\n", r"\(1, 2, 3\)")):  # fmt: skip
        split.write_text(text)
        with pytest.raises(InputError, match=message):
            validation_pairs(pairs, split)
    with pytest.raises(SourceError, match=r"none\.txt cannot be read"):
        validation_pairs(pairs, tmp_path / "none.txt")


class FixedFlow:
    """A flow method with a coarse grid that says (3, -1) px everywhere."""

    def prepare(self, frame, clock=None):
        return FlowImage(frame.index, (frame.height, frame.width), frame.image)

    def between(self, first, second, clock=None):
        uv = np.empty((2, first.size[0] // 4, first.size[1] // 4), np.float32)
        uv[0], uv[1] = 3, -1
        assert (first.index, second.index) == (0, 1)
        return FlowField(uv, (0.25, 0.25), 0, 1)


def test_methods_are_measured_at_full_size(tmp_path):
    pairs = find_pairs(write_set(tmp_path / "set"))
    methods = [by_runtime("fixed", "the same everywhere", FixedFlow()), no_motion()]
    done = []
    fixed, zero = measure(methods, pairs, out=tmp_path / "out", progress=lambda: done.append(1))
    assert len(done) == 3
    assert [pair.epe for pair in fixed.pairs] == pytest.approx([5**0.5, 10**0.5, 13**0.5], rel=1e-6)
    assert [pair.epe for pair in zero.pairs] == pytest.approx([5**0.5, 0, 45**0.5], rel=1e-6)
    written = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert [str(path) for path in written] == [f"fixed/0000{i}_flow.flo" for i in (1, 2, 3)]
    assert read_flo(tmp_path / "out" / written[0])[:, 0, 0].tolist() == [3, -1]
    (again,) = measure([of_files(tmp_path / "out" / "fixed", pairs)], pairs)
    assert again.as_dict() == fixed.as_dict()


def test_dis_finds_a_moved_texture(tmp_path):
    pairs = find_pairs(write_set(tmp_path))
    methods = [dis(), dis("medium"), no_motion()]
    assert [method.name for method in methods] == ["dis", "dis-medium", "zero"]
    fast, medium, zero = measure(methods, pairs)
    assert fast.epe < 0.1 * zero.epe
    assert fast.epe < medium.epe < 0.6 * zero.epe  # its coarsest level is too small here


def test_flow_of_a_bundle(tmp_path):
    write_set(tmp_path / "set")
    pairs = find_pairs(tmp_path / "set")
    for flow, what in ((True, r"flow\.onnx of .*network\.bundle, fp32"), (False, "DIS, fast")):
        path = tmp_path / ("network.bundle" if flow else "dis.bundle")
        write_bundle(path, *tiny_bundle(flow))
        # OpenVINO would drop the inputs of a network that looks at no picture.
        method = of_bundle(path, "cpu") if flow else of_bundle(path)
        assert method.name == "bundle"
        assert re.search(what, method.what)
        (scores,) = measure([method], pairs)
        assert (scores.epe < 1) is not flow  # the network of the test sees no motion
    with pytest.raises(OptionError, match="leave out device and threads"):
        of_bundle(tmp_path / "dis.bundle", threads=2)


def test_a_bundle_without_flow_is_refused(tmp_path):
    manifest, files = tiny_bundle()
    still = {"similarity": "bbox", "propagate": False}
    write_bundle(tmp_path / "still.bundle", replace(manifest, flow=None, tracker=still), files)
    with pytest.raises(OptionError, match=r"still\.bundle has no optical flow.*--method dis"):
        of_bundle(tmp_path / "still.bundle")


def test_one_result_for_one_pair(tmp_path):
    write_pair(tmp_path, chairs("00001"), (2, 1))
    write_flo(tmp_path / "mine.flo", np.full((2, *SIZE), 1, np.float32))
    pairs = find_pairs(tmp_path / "00001_flow.flo")
    (scores,) = measure([of_files(tmp_path / "mine.flo", pairs)], pairs)
    assert scores.epe == 1
    with pytest.raises(SourceError, match="one result for 2 pairs"):
        of_files(tmp_path / "mine.flo", pairs * 2)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["00001_flow.flo"], r"00002_flow\.flo is not there; 2 of 3 results are missing"),
        ([f"0000{i}_flow.flo" for i in (1, 2, 3, 4)], r"00004_flow\.flo has no truth"),
    ],
)
def test_results_and_truth_belong_together(tmp_path, names, message):
    pairs = find_pairs(write_set(tmp_path / "set"))
    (tmp_path / "results").mkdir()
    for name in names:
        write_flo(tmp_path / "results" / name, np.zeros((2, *SIZE), np.float32))
    with pytest.raises(SourceError, match=message):
        of_files(tmp_path / "results", pairs)
    with pytest.raises(SourceError, match="nowhere is not there"):
        of_files(tmp_path / "nowhere", pairs)


def test_results_of_another_size_are_named(tmp_path):
    write_pair(tmp_path / "set", chairs("00001"))
    (tmp_path / "results").mkdir()
    write_flo(tmp_path / "results" / "00001_flow.flo", np.zeros((2, 8, 8), np.float32))
    pairs = find_pairs(tmp_path / "set")
    with pytest.raises(InputError, match=r"results: 00001_flow\.flo: .*\(2, 8, 8\), expected"):
        measure([of_files(tmp_path / "results", pairs)], pairs)


def test_flow_that_cannot_be_kept_is_told(tmp_path):
    write_pair(tmp_path / "set", chairs("00001"))
    (tmp_path / "out").write_text("no folder")
    method = by_runtime("fixed", "the same everywhere", FixedFlow())
    with pytest.raises(OutputError, match="cannot be made"):
        measure([method], find_pairs(tmp_path / "set"), out=tmp_path / "out")


def test_tables(tmp_path):
    for part, shift in (("near", (1, 0)), ("far", (12, 0))):
        write_pair(tmp_path / part, chairs("00001"), shift)
    methods = [no_motion(), by_runtime("fixed", "the same everywhere", FixedFlow())]
    scores = measure(methods, find_pairs(tmp_path))
    rows = {row[0]: row[1:] for row in table(methods, scores)}
    assert rows["mean over pairs"] == ["zero", "fixed"]
    assert rows["end-point error, px"][0] == "6.50"
    assert rows["Fl, outliers, %"][0] == "50.0"
    assert "where occluded, px" not in rows  # there are no masks
    assert rows["over all pixels: end-point error, px"][0] == "6.50"
    parts = group_table(methods, scores)
    assert parts == [["part", "pairs", "zero", "fixed"], ["far", "1", "12.00", "9.06"],
                     ["near", "1", "1.00", "2.24"]]  # fmt: skip
    assert group_table(methods, measure(methods, find_pairs(tmp_path / "near"))) == []


def test_masks_divide_the_error(tmp_path):
    mask = np.zeros(SIZE, bool)
    mask[:, :16] = True
    write_pair(tmp_path, chairs("00001"), (4, 0), mask=mask)
    rows = dict(table([no_motion()], measure([no_motion()], find_pairs(tmp_path))))
    assert rows["end-point error where matched, px"] == rows["where occluded, px"] == "4.00"


def test_the_report(tmp_path):
    pairs = find_pairs(write_set(tmp_path))
    methods = [by_runtime("fixed", "the same everywhere", FixedFlow()), no_motion()]
    text = flow_report("Flow", methods, measure(methods, pairs), pairs).html()
    assert "<h1>Flow</h1>" in text
    assert "fixed: end-point error 3.00 px" in text
    assert text.count("<polyline") == 2
    assert text.count("<img") == 3
    places = [text.index(f"<figcaption>{name}_flow: fixed") for name in ("00003", "00002", "00001")]
    assert places == sorted(places)  # the worst one first


def test_a_pair_is_pictured():
    first, second, uv = moved((6, 0))
    uv[:, 0] = 1e10
    estimate = np.where(np.abs(uv) < 1e9, uv, 0)
    estimate[0, 8:, 40:] = 26
    picture, flow_px, error_px = pictured(FlowPair("p", uv, None, first, second), estimate)
    height, width = SIZE
    assert picture.shape == (2 * height + 4, 2 * width + 4, 3)
    assert (flow_px, error_px) == (6, 20)
    np.testing.assert_array_equal(picture[:height, :width], first)
    true, error = picture[:height, width + 4 :], picture[height + 4 :, width + 4 :]
    assert (true[0] == 128).all()
    assert (error[0] == 128).all()
    assert (error[9, 41].astype(int) - error[9, 39]).min() > 60  # bright where it is wrong
    assert (true[1:] == true[1, 0]).all()
    without, _, _ = pictured(FlowPair("p", uv), estimate)
    assert (without[:height, :width] == 128).all()


# By hand from the wheel's 55 colours: right is the last of them, half a turn 27 of 54 steps.
COLOURS = [
    ((0, 0), (255, 255, 255)), ((1, 0), (255, 0, 0)), ((0, 1), (255, 230, 0)),
    ((-1, 0), (0, 209, 255)), ((0, -1), (88, 0, 255)), ((0, 0.5), (255, 242, 128)),
    ((0, 2), (191, 172, 0)), ((1e10, 0), (128, 128, 128)), ((0, np.nan), (128, 128, 128)),
]  # fmt: skip


@pytest.mark.parametrize(("uv", "rgb"), COLOURS)
def test_colours_of_flow(uv, rgb):
    """Red to the right, yellow down, cyan to the left, violet up; white at rest, darker beyond."""
    color = flow_colors(3 * np.reshape(uv, (2, 1, 1)).astype(np.float32), 3.0)[0, 0, ::-1]
    tolerance = 45 if uv == (1, 0) else 1  # the last of the colours is not yet red again
    np.testing.assert_allclose(color, rgb, atol=tolerance)


def test_colours_go_round_without_a_step():
    angle = np.linspace(0, 2 * np.pi, 361)
    uv = np.stack([np.cos(angle), np.sin(angle)])[:, None].astype(np.float32)
    steps = np.abs(np.diff(flow_colors(uv, 1.0)[0].astype(int), axis=0))
    assert steps.max() <= 45
    with pytest.raises(InputError, match="full_px is 0"):
        flow_colors(uv, 0)
