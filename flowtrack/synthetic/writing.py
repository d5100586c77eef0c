"""A rendered clip as files: pictures, video, truth and flow."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

import cv2
import numpy as np

from flowtrack.errors import OptionError, OutputError
from flowtrack.flo import write_flo
from flowtrack.synthetic.clip import Clip
from flowtrack.synthetic.clip_options import ClipOptions
from flowtrack.synthetic.files import write_json
from flowtrack.synthetic.posetrack import Head, posetrack17, posetrack18
from flowtrack.synthetic.truth import SyntheticFrame

Pictures = Literal["png", "jpg", "webp"]
_QUALITY: dict[str, list[int]] = {
    "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
    "jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    "webp": [cv2.IMWRITE_WEBP_QUALITY, 90],
}
_CODEC = "mp4v"
"""The codec for mp4 that OpenCV's wheels have everywhere."""


@dataclass(frozen=True)
class ClipFiles:
    """What `write_clip` left.

    Attributes:
        pictures: of all frames, in order.
        posetrack17, posetrack18: the truth.
        flows: of all frames but the last, or nothing.
        video: or None.
    """

    pictures: Sequence[Path]
    posetrack17: Path
    posetrack18: Path
    flows: Sequence[Path] = field(default_factory=tuple)
    video: Path | None = None


def write_clip(
    folder: Path,
    options: ClipOptions | None = None,
    *,
    name: str = "clip",
    pictures: Pictures = "png",
    flow: bool = False,
    video: bool = False,
    hidden: bool = False,
    head: Head = "derived",
    progress: Callable[[int], None] | None = None,
) -> ClipFiles:
    """Render a clip into `folder`; everything appears at the end, or nothing does.

    Written are `name/000001.png` ..., `name.posetrack.json` (2017), `name.posetrack18.json`; on
    demand `name.flow/000001.flo` ... (from a frame to the next one) with `000001.png` beside each,
    white where the next frame shows what the pixel shows, and `name.mp4`.

    Args:
        folder: made if it is not there.
        options: of the clip.
        name: of the clip; for poseval's reader of 2018 it must look like "000342_mpii_test".
        pictures: their format; only "png" keeps every byte.
        flow: write the flow.
        video: write a video, too.
        hidden: label joints that cannot be seen, too.
        head: where the truth's head points come from, see `flowtrack.synthetic.posetrack.Head`.
        progress: told the number of frames that are done.

    Raises:
        OptionError: `name` or `pictures` cannot be used.
        OutputError: a file cannot be written, or is there already.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise OptionError(f"name is {name!r}, expected a plain file name")
    if pictures not in _QUALITY:
        raise OptionError(f"pictures is {pictures!r}, expected one of {', '.join(_QUALITY)}")
    clip = Clip(options or ClipOptions())
    outputs = [name, f"{name}.posetrack.json", f"{name}.posetrack18.json"]
    outputs += [f"{name}.flow"] * flow + [f"{name}.mp4"] * video
    for output in outputs:
        if (folder / output).exists():
            raise OutputError(
                f"{folder / output} is there already; choose another name or remove it"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(mkdtemp(prefix=f".{name}-", dir=folder))
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error}") from error
    try:
        frames = _render(scratch, clip, name, pictures, flow, video, progress)
        names = [f"{name}/{_number(index)}.{pictures}" for index in range(len(frames))]
        truth17 = posetrack17(frames, names, hidden=hidden, head=head)
        truth18 = posetrack18(frames, names, hidden=hidden, head=head)
        write_json(scratch / f"{name}.posetrack.json", truth17)
        write_json(scratch / f"{name}.posetrack18.json", truth18)
        for output in outputs:
            (scratch / output).rename(folder / output)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    flows = range(len(frames) - 1) if flow else range(0)
    return ClipFiles(
        [folder / path for path in names],
        folder / outputs[1],
        folder / outputs[2],
        [folder / f"{name}.flow" / f"{_number(index)}.flo" for index in flows],
        folder / f"{name}.mp4" if video else None,
    )


def _number(index: int) -> str:
    return f"{index + 1:06d}"


def _render(
    scratch: Path, clip: Clip, name: str, pictures: Pictures, flow: bool, video: bool,
    progress: Callable[[int], None] | None,
) -> list[SyntheticFrame]:  # fmt: skip
    """Write pictures, flow and video; returns the frames without their pixels' flow."""
    (scratch / name).mkdir()
    if flow:
        (scratch / f"{name}.flow").mkdir()
    writer = _opened_video(scratch / f"{name}.mp4", clip.options) if video else None
    kept = []
    try:
        for frame in clip:
            path = scratch / name / f"{_number(frame.index)}.{pictures}"
            if not cv2.imwrite(str(path), frame.image, _QUALITY[pictures]):
                raise OutputError(f"cannot write {path}; is the disk full?")
            if writer is not None:
                writer.write(frame.image)
            if flow and frame.flow is not None:
                stem = scratch / f"{name}.flow" / _number(frame.index)
                write_flo(stem.with_suffix(".flo"), frame.flow.uv)
                mask = np.asarray(frame.flow_valid, np.uint8) * 255
                if not cv2.imwrite(str(stem.with_suffix(".png")), mask):
                    raise OutputError(f"cannot write {stem}.png; is the disk full?")
            # What the truth needs of the picture is its size.
            small = np.broadcast_to(np.uint8(0), frame.image.shape)
            kept.append(replace(frame, image=small, flow=None, flow_valid=None))
            if progress is not None:
                progress(frame.index + 1)
    finally:
        if writer is not None:
            writer.release()
    return kept


def _opened_video(path: Path, options: ClipOptions) -> cv2.VideoWriter:
    size = (options.width, options.height)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*_CODEC), options.fps, size)
    if writer.isOpened():
        return writer
    raise OutputError(f"cannot write {path}: OpenCV has no codec for it; write pictures instead")
