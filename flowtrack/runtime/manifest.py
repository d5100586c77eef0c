"""The manifest of a bundle: what each network is, how to feed it and how to read it.

These dataclasses are the one owner of the format: the reader, the writer and the published JSON
Schema (docs/manifest.schema.json) follow from them.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal

from flowtrack.errors import BundleError, OptionError
from flowtrack.runtime.evidence import ThresholdEvidence
from flowtrack.schema import (
    check_limits,
    describe,
    json_schema,
    limits,
    read_dataclass,
)
from flowtrack.skeleton import SKELETONS
from flowtrack.tracker.options import TrackerOptions

SCHEMA_VERSION = 1

DetectorDecode = Literal["boxes", "yolox", "rcnn"]
PoseDecode = Literal["keypoints", "heatmap", "simcc"]
FlowDecode = Literal["flow", "dis"]

_INPUTS = MappingProxyType({
    ("detector", "pictures"): 1, ("pose", "pictures"): 1, ("flow", "pictures"): 2,
    ("detector", "frame"): 1, ("pose", "frame"): 2, ("flow", "frame"): 2,
})  # fmt: skip
"""How many inputs the network of a part has, by form."""

_AS_FRAMES_ARE = MappingProxyType({"dtype": "uint8", "layout": "nhwc", "color": "bgr"})
"""What an input of the form `frame` takes: every network reads the same frame."""

_SEGMENT = r"(?!\.{1,2}(/|$))[^/\\\u0000-\u001f]+"
_MEMBER = rf"^(?![A-Za-z]:){_SEGMENT}(/{_SEGMENT})*$"
"""A relative POSIX path that stays where it is: no `..`, no drive, no backslash."""


@dataclass(frozen=True)
class InputSpec:
    """How pictures are fed to a network.

    A pixel p (0..255) of a channel enters as (p * scale - mean) / std.

    Attributes:
        names: the graph's image inputs; two (previous, current) for optical flow. In the form
            `frame`, the pose network's are the frame and the crop matrices.
        dtype: element type that the graph takes.
        layout: NHWC or NCHW.
        color: channel order that the graph expects.
        scale, mean, std: normalisation outside the graph; the defaults leave pixels as they are.
        batch: the batch size that the graph is fixed to; None where it is free.
        height, width: the input size in pixels; None where it is free. In the form `frame`, of
            the pictures that the graph makes of a frame.
        form: `pictures`: crops, letterboxed or resized pictures; `frame`: whole frames as they
            are, uint8 (H, W, 3) BGR, which the graph crops and resizes itself.
    """

    names: tuple[str, ...]
    dtype: Literal["uint8", "float32", "float16"] = "uint8"
    layout: Literal["nhwc", "nchw"] = "nhwc"
    color: Literal["rgb", "bgr"] = "rgb"
    scale: float = field(default=1.0, metadata=limits(exclusiveMinimum=0))
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = field(
        default=(1.0, 1.0, 1.0), metadata=limits(exclusiveMinimum=0)
    )
    batch: int | None = field(default=None, metadata=limits(minimum=1))
    height: int | None = field(default=None, metadata=limits(minimum=1))
    width: int | None = field(default=None, metadata=limits(minimum=1))
    form: Literal["pictures", "frame"] = "pictures"


@dataclass(frozen=True)
class NetworkFile:
    """An ONNX file of the bundle.

    Attributes:
        path: POSIX path inside the bundle.
        sha256: of the file's bytes, 64 hexadecimal digits.
        input: how it is fed.
        precision: of the weights and activations.
        parity: how the graph was verified and what came out; None where nothing was compared
            (a network from elsewhere has no original to compare with).
        source: where the network came from, as free text entries.
    """

    path: str = field(
        metadata=limits(
            pattern=_MEMBER,
            description="a relative path with forward slashes that stays inside the bundle",
        )
    )
    sha256: str = field(
        metadata=limits(pattern="^[0-9a-f]{64}$", description="64 hexadecimal digits")
    )
    input: InputSpec
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    parity: dict[str, Any] | None = None
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Letterbox:
    """How a frame is fitted into the detector's input without distortion.

    Attributes:
        anchor: where the picture lies: `top-left`, or `center` with padding on both sides.
        fill: grey value of the padding.
    """

    anchor: Literal["top-left", "center"] = "top-left"
    fill: int = field(default=114, metadata=limits(minimum=0, maximum=255))


@dataclass(frozen=True)
class DetectorSpec:
    """The person detector.

    Attributes:
        file: the graph and how it is fed.
        decode: `boxes`: sorted boxes (N, M, 4) in input pixels (frame pixels in the form `frame`)
            and scores (N, M); `yolox`: raw YOLOX predictions (N, A, 5 + classes); `rcnn`: boxes,
            labels, scores of one picture.
        letterbox: how a frame is fitted in; None stretches it.
        person_class: class index (`yolox`) or label (`rcnn`) of people; None takes the
            usual one of COCO-trained networks, 0 or 1.
        strides: of the prediction grids (`yolox`).
        score_floor: boxes scored below leave the detector never; the tracker drops more.
        nms_iou: IoU above which two detections are one (`yolox`).
        max_boxes: the best so many boxes of a frame are kept.
    """

    file: NetworkFile
    decode: DetectorDecode
    letterbox: Letterbox | None = field(default_factory=Letterbox)
    person_class: int | None = field(default=None, metadata=limits(minimum=0))
    strides: tuple[int, ...] = field(default=(8, 16, 32), metadata=limits(minItems=1, minimum=1))
    score_floor: float = field(default=0.05, metadata=limits(minimum=0, maximum=1))
    nms_iou: float = field(default=0.65, metadata=limits(minimum=0, maximum=1))
    max_boxes: int = field(default=300, metadata=limits(minimum=1))


@dataclass(frozen=True)
class PoseSpec:
    """The single-person pose network.

    Attributes:
        file: the graph and how it is fed.
        decode: `keypoints`: (N, K, 3) x, y in crop pixels and score; `heatmap`: (N, K, h, w);
            `simcc`: two classifications (N, K, w * r), (N, K, h * r).
        offset: sub-cell rule of `heatmap`: `quarter` of the official code, `second` highest
            response of the paper's words, or `none`.
        flip_test: average with the mirrored crop (outside the graph: `heatmap` only).
        box_padding: the box is enlarged so much before it is cropped.
        simcc_ratio: bins per pixel of `simcc`.
    """

    file: NetworkFile
    decode: PoseDecode
    offset: Literal["quarter", "second", "none"] = "quarter"
    flip_test: bool = False
    box_padding: float = field(default=1.25, metadata=limits(exclusiveMinimum=0))
    simcc_ratio: float = field(default=2.0, metadata=limits(exclusiveMinimum=0))


@dataclass(frozen=True)
class FlowSpec:
    """The optical flow.

    Attributes:
        decode: `flow`: a network whose output is (dx, dy); `dis`: OpenCV's DIS, no network.
        file: the graph and how it is fed; None for `dis`.
        layout: of the output of `flow`: (N, 2, h, w) or (N, h, w, 2).
        unit: of the output of `flow`: pixels of the input (of the frame in the form `frame`), or
            of the output's own grid.
        max_side: a frame's longer side is reduced to this before the flow is computed, where the
            size is free; None keeps the frame's size.
        multiple: a free input size is rounded to a multiple of this.
        preset: of `dis`.
    """

    decode: FlowDecode
    file: NetworkFile | None = None
    layout: Literal["nchw", "nhwc"] = "nchw"
    unit: Literal["input", "grid"] = "input"
    max_side: int | None = field(default=512, metadata=limits(minimum=1))
    multiple: int = field(default=64, metadata=limits(minimum=1))
    preset: Literal["ultrafast", "fast", "medium"] = "fast"


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle that is not inside its network files.

    Attributes:
        skeleton: name of the skeleton that the pose network predicts.
        detector, pose, flow: the three parts; a bundle without flow tracks by boxes or poses.
        tracker: options of the tracker; those not named keep their defaults.
        schema_version: of this format.
        made_by: program and version that wrote the bundle.
        made_from: how it was made, as free entries (command, time, notes).
        thresholds: what the tracker's thresholds were chosen by; None where they are taken on
            trust.
    """

    skeleton: str = field(metadata=limits(enum=list(SKELETONS)))
    detector: DetectorSpec
    pose: PoseSpec
    flow: FlowSpec | None = None
    tracker: dict[str, Any] = field(default_factory=dict)
    schema_version: int = field(default=SCHEMA_VERSION, metadata=limits(enum=[SCHEMA_VERSION]))
    made_by: str = ""
    made_from: dict[str, Any] = field(default_factory=dict)
    thresholds: ThresholdEvidence | None = None

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise BundleError(
                f"manifest has schema_version {self.schema_version}, this flowtrack reads "
                f"{SCHEMA_VERSION}; update flowtrack or make the bundle again"
            )
        check_limits(self, "manifest")
        try:
            read_dataclass(TrackerOptions, self.tracker, "manifest.tracker")
        except OptionError as error:
            raise BundleError(f"manifest.tracker: {error}") from error
        for name, file in self.files().items():
            _check_file(f"manifest.{name}.file", file, _INPUTS[name, file.input.form])
            _check_form(f"manifest.{name}.file.input", name, file.input)
        self._check_heads()

    def _check_heads(self) -> None:
        if self.pose.file.input.height is None or self.pose.file.input.width is None:
            raise BundleError("manifest.pose.file.input has no height and width; a pose network "
                              "needs a fixed input size")  # fmt: skip
        if self.pose.flip_test and self.pose.decode != "heatmap":
            raise BundleError(
                f"manifest.pose.flip_test works on decode 'heatmap', not {self.pose.decode!r}; "
                "export the graph with the flip test inside"
            )
        if self.flow is not None and (self.flow.file is None) != (self.flow.decode == "dis"):
            have = "no file" if self.flow.file is None else "a file"
            raise BundleError(f"manifest.flow has decode {self.flow.decode!r} and {have}")

    def files(self) -> dict[str, NetworkFile]:
        """The network files by part."""
        files = {"detector": self.detector.file, "pose": self.pose.file}
        if self.flow is not None and self.flow.file is not None:
            files["flow"] = self.flow.file
        return files

    @property
    def tracker_options(self) -> TrackerOptions:
        """The tracker's options with defaults filled in."""
        return TrackerOptions.from_dict(self.tracker)

    def to_json(self) -> str:
        """The manifest as JSON text.

        Raises:
            BundleError: a free entry holds what JSON has no form for.
        """
        try:
            return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise BundleError(f"the manifest cannot be written as JSON: {error}") from error

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """A manifest from JSON text.

        Raises:
            BundleError: the text is no JSON, or breaks a rule of the format; the message names
                the entry.
        """
        try:
            value = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"manifest.json is not valid JSON: {error}") from error
        return read_dataclass(Manifest, value, "manifest")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def manifest_schema() -> dict[str, Any]:
    """JSON Schema of manifest.json: what the types say, and the rules between entries.

    Only the ranges of the tracker's options are left to the reader.
    """
    schema = json_schema(Manifest, "flowtrack bundle manifest")
    schema["properties"]["tracker"] = describe(TrackerOptions)
    schema["allOf"] = [
        *(_inside(part, "file", rule=_fed(part)) for part in ("detector", "pose", "flow")),
        _inside("pose", "file", "input", rule={
            "properties": {"height": {"type": "integer"}, "width": {"type": "integer"}},
            "required": ["height", "width"],
        }),
        _inside("pose", rule=_if("flip_test", True, _entry("decode", "heatmap"))),
        _inside("flow", rule=_if("decode", "dis", {"properties": {"file": {"type": "null"}}})),
        _inside("flow", rule=_if("decode", "flow", {
            "properties": {"file": {"type": "object"}}, "required": ["file"],
        })),
    ]  # fmt: skip
    return schema


def _fed(part: str) -> dict[str, Any]:
    """Rules of how the network of a part is fed."""
    plain = {name: {"const": value} for name, value in _as_it_is().items()}
    whole: dict[str, Any] = {
        "properties": {name: {"const": value} for name, value in _AS_FRAMES_ARE.items()},
        "required": ["color"],  # the default is rgb
    }
    if part != "pose":
        whole["properties"]["batch"] = {"type": "null"}
    if part != "flow":
        whole["properties"] |= {side: {"type": "integer"} for side in ("height", "width")}
        whole["required"] += ["height", "width"]
    framed = _if("form", "frame", {"allOf": [whole, _named(_INPUTS[part, "frame"])]})
    rule = {
        **framed,
        "else": _named(_INPUTS[part, "pictures"]),
        "anyOf": [
            {"properties": {"dtype": {"enum": ["float32", "float16"]}}, "required": ["dtype"]},
            {"properties": plain},
        ],
    }
    return _inside("input", rule=rule)


def _named(count: int) -> dict[str, Any]:
    return {"properties": {"names": {"minItems": count, "maxItems": count}}}


def _inside(*path: str, rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of an entry as a rule of what the entry lies in."""
    for name in reversed(path):
        rule = {"properties": {name: rule}}
    return rule


def _entry(name: str, value: Any) -> dict[str, Any]:
    return {"properties": {name: {"const": value}}, "required": [name]}


def _if(name: str, value: Any, then: dict[str, Any]) -> dict[str, Any]:
    return {"if": _entry(name, value), "then": then}


def _as_it_is() -> dict[str, Any]:
    """The entries of an input that leave pixels as they are."""
    return {
        entry.name: list(entry.default) if isinstance(entry.default, tuple) else entry.default
        for entry in fields(InputSpec)
        if entry.name in ("scale", "mean", "std")
    }


def safe_member(path: str, where: str) -> PurePosixPath:
    """`path` as a path that cannot leave the bundle.

    Raises:
        BundleError: it is absolute, climbs out, or is not a plain POSIX path.
    """
    if re.fullmatch(_MEMBER, path) is None:
        raise BundleError(
            f"{where} is {path!r}; expected a relative path with forward slashes that stays "
            "inside the bundle"
        )
    return PurePosixPath(path)


def _check_file(where: str, file: NetworkFile, inputs: int) -> None:
    if len(file.input.names) != inputs:
        raise BundleError(
            f"{where}.input.names has {len(file.input.names)} names, expected {inputs}"
        )
    for name, plain in _as_it_is().items():
        value = getattr(file.input, name)
        if file.input.dtype == "uint8" and (value if name == "scale" else list(value)) != plain:
            raise BundleError(
                f"{where}.input.{name} is {value}, and dtype uint8 feeds pixels as they are; "
                f"leave {name} out"
            )


def _check_form(where: str, part: str, spec: InputSpec) -> None:
    """Refuse an input of the form `frame` that takes something else than frames as they are."""
    if spec.form == "pictures":
        return
    for name, wanted in _AS_FRAMES_ARE.items():
        if getattr(spec, name) != wanted:
            raise BundleError(
                f"{where}.{name} is {getattr(spec, name)!r}, and the form 'frame' takes frames as "
                f"they are: {wanted!r}"
            )
    if part != "pose" and spec.batch is not None:
        raise BundleError(f"{where}.batch is {spec.batch}, and the form 'frame' takes one frame; "
                          "leave batch out")  # fmt: skip
    if part != "flow" and None in (spec.height, spec.width):
        raise BundleError(
            f"{where} has no height and width; the form 'frame' needs the size of the pictures "
            "that the graph makes"
        )
