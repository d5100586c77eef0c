"""The manifest: a round trip, one rule for reader and schema, and no way out of the bundle."""

import copy
import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import BundleError
from flowtrack.runtime.evidence import ThresholdEvidence, TrackingFigures, TriedSetting
from flowtrack.runtime.manifest import (
    DetectorSpec,
    FlowSpec,
    InputSpec,
    Letterbox,
    Manifest,
    NetworkFile,
    PoseSpec,
    manifest_schema,
    safe_member,
)
from tests.support.graphs import tiny_bundle

SHA = "0123456789abcdef" * 4
PUBLISHED = Path(__file__).parents[2] / "docs" / "manifest.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(manifest_schema())


def rich():
    """A manifest in which every entry differs from its default."""
    feeding = InputSpec(
        ("image",), "float32", "nchw", "bgr", 1 / 255, (0.1, 0.2, 0.3), (0.9, 0.8, 0.7), 4, 64, 48
    )
    pair = InputSpec(("a", "b"), "float16")
    return Manifest(
        skeleton="posetrack18-17",
        detector=DetectorSpec(
            NetworkFile("d.onnx", SHA, feeding, "int8", {"iou": 0.99}, {"from": "here"}),
            "yolox",
            Letterbox("center", 0),
            3,
            (4, 8),
            0.1,
            0.5,
            7,
        ),
        pose=PoseSpec(
            NetworkFile("nets/p.onnx", SHA, feeding), "heatmap", "second", True, 1.5, 3.0
        ),
        flow=FlowSpec("flow", NetworkFile("f.onnx", SHA, pair), "nhwc", "grid", None, 32, "medium"),
        tracker={"similarity": "pose", "queue": 3, "pose_nms": None},
        made_by="a test",
        made_from={"when": ["now"]},
        thresholds=ThresholdEvidence(
            objective="mean",
            joints="body12",
            data_set="a set",
            clips=2,
            frames=80,
            before=TrackingFigures(60.5, 50.25),
            replayed=TrackingFigures(61.0, 55.5),
            plain=TrackingFigures(61.0, 55.25),
            held_out=TrackingFigures(None, 54.0),
            unchanged=TrackingFigures(60.0, 50.0),
            folds="split-half",
            tried=(
                TriedSetting({"box_threshold": 0.5, "pose_nms": None}, 60.5, 50.25),
                TriedSetting({"box_threshold": 0.4, "pose_nms": 0.6}, 61.0, None),
            ),
            made_by="a test",
            date="2026-01-02T03:04:05+00:00",
        ),
    )


def strict(text):
    """JSON as the standard has it, without NaN."""

    def refuse(word):
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("manifest", [rich(), tiny_bundle()[0], tiny_bundle(flow=True)[0]])
def test_what_is_written_is_read_back_and_fits_the_schema(manifest):
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text.encode()) == manifest
    VALIDATOR.validate(strict(text))


def test_the_rich_manifest_leaves_no_default():
    """So that no entry can be lost on the way unnoticed."""

    def defaults_left(value, where):
        for entry in dataclasses.fields(value):
            now = getattr(value, entry.name)
            if dataclasses.is_dataclass(now):
                yield from defaults_left(now, f"{where}.{entry.name}")
            elif now == entry.default and where in ("", ".detector", ".flow"):
                yield f"{where}.{entry.name}"

    assert list(defaults_left(rich(), "")) == [".schema_version"]


def test_the_published_schema_is_the_schema():
    jsonschema.Draft202012Validator.check_schema(manifest_schema())
    assert json.loads(PUBLISHED.read_text()) == manifest_schema()


def edited(path, value):
    """The rich manifest as JSON with one entry changed, added, or removed (`...`)."""
    content = json.loads(rich().to_json())
    *way, last = path.split(".")
    place = content
    for name in way:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = copy.deepcopy(value)
    return json.dumps(content)


FRAMED = {"names": ["frame"], "color": "bgr", "height": 64, "width": 48, "form": "frame"}
CROPPING = {**FRAMED, "names": ["frame", "affine"]}
PAIR = {"names": ["previous", "current"], "color": "bgr", "form": "frame"}

REFUSED = [
    ("detector.file.input.form", "frames"),
    ("detector.file.input", {**FRAMED, "names": ["frame", "affine"]}),
    ("detector.file.input", {**FRAMED, "color": "rgb"}),
    ("detector.file.input", {k: v for k, v in FRAMED.items() if k != "color"}),
    ("detector.file.input", {**FRAMED, "layout": "nchw"}),
    ("detector.file.input", {**FRAMED, "dtype": "float32"}),
    ("detector.file.input", {**FRAMED, "scale": 0.5}),
    ("detector.file.input", {**FRAMED, "batch": 1}),
    ("detector.file.input", {**FRAMED, "height": None}),
    ("detector.file.input", {k: v for k, v in FRAMED.items() if k != "width"}),
    ("pose.file.input", FRAMED),
    ("pose.file.input", {**CROPPING, "height": None}),
    ("flow.file.input", FRAMED),
    ("flow.file.input", {**PAIR, "batch": 1}),
    ("speed", 1),
    ("detector.speed", 1),
    ("detector.file.input.speed", 1),
    ("skeleton", ...),
    ("detector", ...),
    ("pose.decode", ...),
    ("detector.file.sha256", ...),
    ("detector.file.input.names", ...),
    ("detector.max_boxes", "300"),
    ("detector.score_floor", "low"),
    ("detector.max_boxes", True),
    ("detector.score_floor", False),
    ("pose.flip_test", 1),
    ("detector.strides", 8),
    ("made_from", "a test"),
    ("flow", "dis"),
    ("pose", None),
    ("detector.nms_iou", float("nan")),
    ("detector.nms_iou", float("inf")),
    ("made_from", {"seconds": float("nan")}),
    ("detector.file.parity", {"iou": float("nan")}),
    ("detector.nms_iou", 1.5),
    ("detector.score_floor", -0.1),
    ("detector.max_boxes", 0),
    ("detector.max_boxes", 1.5),
    ("detector.person_class", -1),
    ("detector.strides", []),
    ("detector.strides", [8, 0]),
    ("detector.letterbox.fill", 256),
    ("detector.letterbox.fill", -1),
    ("detector.letterbox.anchor", "bottom"),
    ("detector.decode", "ssd"),
    ("detector.file.precision", "fp8"),
    ("detector.file.input.mean", [0.0, 0.0]),
    ("detector.file.input.mean", [0.0, 0.0, 0.0, 0.0]),
    ("detector.file.input.std", [1.0, 0.0, 1.0]),
    ("detector.file.input.std", [1.0, -1.0, 1.0]),
    ("detector.file.input.scale", 0),
    ("detector.file.input.batch", 0),
    ("detector.file.input.height", -64),
    ("detector.file.input.dtype", "float64"),
    ("detector.file.input.dtype", "uint8"),  # with a mean that would be ignored
    ("detector.file.input.layout", "chw"),
    ("detector.file.input.names", ["a", "b"]),
    ("detector.file.input.names", []),
    ("pose.file.input.names", ["a", "b"]),
    ("flow.file.input.names", ["a"]),
    ("flow.file.input.names", ["a", "b", "c"]),
    ("pose.file.input.height", None),
    ("pose.file.input.width", ...),
    ("pose.box_padding", 0),
    ("pose.simcc_ratio", -2),
    ("pose.decode", "keypoints"),  # with the flip test outside the graph
    ("pose.decode", "simcc"),
    ("flow.decode", "dis"),  # with a file
    ("flow.file", None),
    ("flow.file", ...),
    ("flow.max_side", 0),
    ("flow.multiple", 0),
    ("flow.preset", "slow"),
    ("skeleton", "openpose"),
    ("tracker", {"speed": 3}),
    ("tracker", {"similarity": "iou"}),
    ("tracker", {"queue": "5"}),
    ("tracker", {"queue": 2.5}),
    ("tracker", {"propagate": "no"}),
    ("tracker", {"propagate": 0}),
    ("tracker", {"nms_iou": True}),
    ("detector.file.sha256", SHA[:-1]),
    ("detector.file.sha256", SHA.upper()),
    ("detector.file.sha256", "g" * 64),
    ("thresholds", "by hand"),
    ("thresholds.objective", "idf1"),
    ("thresholds.folds", "none"),
    ("thresholds.clips", 0),
    ("thresholds.frames", 0.5),
    ("thresholds.plain", None),
    ("thresholds.plain.mota", "high"),
    ("thresholds.held_out", ...),
    ("thresholds.tried", [{"options": {}, "mean_ap": 1.0}]),
    ("thresholds.tried", [{"options": [], "mean_ap": 1.0, "mota": 2.0}]),
    ("thresholds.tried", [{"options": {}, "mean_ap": 1.0, "mota": 2.0, "seconds": 3}]),
    ("schema_version", 2),
    ("schema_version", 0),
    ("schema_version", True),
    ("schema_version", "1"),
    *(
        ("detector.file.path", path)
        for path in (
            "../d.onnx", "nets/../../d.onnx", "..", "/d.onnx", "//host/d.onnx", "nets\\d.onnx",
            "C:/d.onnx", "c:d.onnx", "", ".", "./d.onnx", "nets/", "nets//d.onnx", "d\0.onnx",
            "d\n.onnx",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=lambda x: repr(x)[:50])
def test_reader_and_schema_refuse_the_same(path, value):
    text = edited(path, value)
    with pytest.raises(BundleError, match="manifest"):
        Manifest.from_json(text)
    try:
        content = strict(text)
    except ValueError:
        return  # NaN: no validator ever sees it
    assert not VALIDATOR.is_valid(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("detector.max_boxes", 300.0),
        ("detector.score_floor", 0),
        ("detector.letterbox", None),
        ("detector.person_class", None),
        ("pose.flip_test", False),
        ("flow", None),
        ("flow", {"decode": "dis"}),
        ("flow", {"decode": "dis", "file": None}),
        ("tracker", {}),
        ("tracker", {"queue": None, "propagate": False}),
        ("made_by", ...),
        ("thresholds", None),
        ("thresholds", ...),
        ("thresholds.tried", []),
        ("thresholds.before.mean_ap", None),
        ("detector.file.input", {"names": ["image"]}),
        ("detector.file.input", FRAMED),
        ("detector.file.input", {**FRAMED, "form": "pictures"}),
        ("pose.file.input", CROPPING),
        ("pose.file.input", {**CROPPING, "batch": 4}),
        ("flow.file.input", PAIR),
        ("flow.file.input", {**PAIR, "height": 64, "width": None}),
        ("detector.file.input", {"names": ["image"], "dtype": "uint8", "mean": [0, 0, 0]}),
        ("detector.file.path", "a/..b/c..onnx"),
        ("detector.file.path", "späte Netze/d 1.onnx"),
    ],
    ids=lambda x: repr(x)[:50],
)
def test_reader_and_schema_take_the_same(path, value):
    text = edited(path, value)
    read = Manifest.from_json(text)
    VALIDATOR.validate(strict(text))
    assert Manifest.from_json(read.to_json()) == read


# Rules between the tracker's options, and their ranges, are the reader's alone.
@pytest.mark.parametrize(
    "tracker",
    [{"nms_iou": 2.0}, {"queue": 0}, {"similarity": "bbox", "flow_links": "direct"}],
)
def test_the_reader_refuses_options_out_of_range(tracker):
    with pytest.raises(BundleError, match=r"manifest\.tracker"):
        Manifest.from_json(edited("tracker", tracker))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema_version", 2, "this flowtrack reads 1; update flowtrack or make the bundle again"),
        ("skeleton", "openpose", r"manifest.skeleton is 'openpose', expected one of \['coco-17'"),
        ("tracker", {"speed": 3}, r"manifest.tracker has unknown entries \['speed'\]"),
        ("pose.decode", "simcc", "export the graph with the flip test inside"),
        ("detector.file.input.dtype", "uint8", "leave scale out"),
        ("detector.file.input.names", ["a", "b"], "has 2 names, expected 1"),
        ("detector.file.input", {**FRAMED, "color": "rgb"}, "takes frames as they are: 'bgr'"),
        ("detector.file.input", {**FRAMED, "batch": 1}, "takes one frame; leave batch out"),
        ("flow.file", None, "decode 'flow' and no file"),
        ("flow.decode", "dis", "decode 'dis' and a file"),
        ("pose.file.input.height", None, "needs a fixed input size"),
    ],
)
def test_messages_say_what_is_wrong_and_what_helps(path, value, message):
    with pytest.raises(BundleError, match=message):
        Manifest.from_json(edited(path, value))


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"manifest"', "{}", b"\xff\xfe\x00", "[" * 100_000, "1" * 10_000],
    ids=lambda t: repr(t[:8]),
)
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(BundleError, match="manifest"):
        Manifest.from_json(text)


@pytest.mark.parametrize("entry", [{"x": float("nan")}, {"x": object()}])
def test_what_json_cannot_hold_is_not_written(entry):
    with pytest.raises(BundleError, match="cannot be written as JSON"):
        dataclasses.replace(rich(), made_from=entry).to_json()


def test_a_manifest_made_in_code_is_checked_too():
    with pytest.raises(BundleError, match=r"manifest.pose.box_padding is 0, expected more than 0"):
        dataclasses.replace(rich(), pose=dataclasses.replace(rich().pose, box_padding=0))


@given(st.text(alphabet="ab./\\:C\n", max_size=8))
def test_a_safe_path_stays_inside(path):
    try:
        member = safe_member(path, "path")
    except BundleError:
        return
    root = Path("/bundle")
    assert (root / member).resolve().is_relative_to(root)
    assert (root / member) != root
    assert member.as_posix() == path


def test_defaults_are_filled_in():
    options = dataclasses.replace(rich(), tracker={"similarity": "pose"}).tracker_options
    assert (options.similarity, options.nms_iou, options.queue) == ("pose", 0.5, None)
    assert set(rich().files()) == {"detector", "pose", "flow"}
    assert set(tiny_bundle()[0].files()) == {"detector", "pose"}
