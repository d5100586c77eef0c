"""Holding a loaded network against what the manifest says about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flowtrack.errors import BundleError, InputError
from flowtrack.runtime.engines import Engine, TensorSpec
from flowtrack.runtime.engines.base import DeviceArray
from flowtrack.runtime.manifest import InputSpec
from flowtrack.structs import FloatArray, Frame, checked

Array = npt.NDArray[Any]


def check_engine(part: str, engine: Engine, spec: InputSpec) -> None:
    """Refuse a network whose inputs are not those of the manifest.

    Args:
        part: `detector`, `pose` or `flow`, for messages.
        engine: the loaded network.
        spec: what the manifest says.

    Raises:
        BundleError: names, types or sizes differ; the message gives both.
    """
    found = {tensor.name: tensor for tensor in engine.inputs}
    if set(found) != set(spec.names):
        raise BundleError(
            f"{part} takes inputs {sorted(found)}, the manifest names {sorted(spec.names)}"
        )
    if spec.form == "frame":
        _check_frame_form(part, found, spec)
        return
    for name in spec.names:
        tensor = found[name]
        if tensor.dtype != np.dtype(spec.dtype):
            raise BundleError(
                f"{part} takes {name!r} as {tensor.dtype}, the manifest says {spec.dtype}"
            )
        # Only a detector is run on one picture at a time, so only it may lack the batch axis.
        axes = (3, 4) if part == "detector" else (4,)
        want = declared_shape(spec)[max(0, 4 - len(tensor.shape)) :]
        fits = len(tensor.shape) in axes and all(
            not isinstance(have, int) or have == size
            for have, size in zip(tensor.shape, want, strict=True)
        )
        if not fits:
            raise BundleError(
                f"{part} takes {name!r} of shape {tensor.shape}, the manifest says {want} "
                f"({spec.layout}); correct height, width, batch or layout"
            )


def _check_frame_form(part: str, found: Mapping[str, TensorSpec], spec: InputSpec) -> None:
    want: dict[str, tuple[str, tuple[int | None, ...]]]
    want = dict.fromkeys(spec.names, ("uint8", (None, None, 3)))
    if part == "pose":
        want[spec.names[1]] = ("float32", (spec.batch, 2, 3))
    for name, (dtype, shape) in want.items():
        tensor = found[name]
        fits = len(tensor.shape) == len(shape) and all(
            not isinstance(have, int) or have == size
            for have, size in zip(tensor.shape, shape, strict=True)
        )
        if tensor.dtype != np.dtype(dtype) or not fits:
            raise BundleError(
                f"{part} takes {name!r} as {tensor.dtype} of shape {tensor.shape}, the form "
                f"'frame' of the manifest says {dtype} {shape}; correct form, names or batch"
            )


@dataclass(frozen=True, slots=True)
class PlacedFrame(Frame):
    """A frame together with its copy where networks of frame-in form run.

    Attributes:
        copy: what such a network reads instead of the image, see `Engine.place`.
    """

    copy: Array | DeviceArray


def placed(frame: Frame, engine: Engine) -> Array | DeviceArray:
    """What a network of frame-in form reads of a frame; brought there now if it was not before."""
    return frame.copy if isinstance(frame, PlacedFrame) else engine.place(frame.image)


def declared_shape(spec: InputSpec) -> tuple[int | None, ...]:
    """The input's shape as the manifest declares it, None where an axis is free."""
    if spec.layout == "nchw":
        return (spec.batch, 3, spec.height, spec.width)
    return (spec.batch, spec.height, spec.width, 3)


def read_output(
    part: str, decode: str, output: npt.NDArray[Any], shape: tuple[int | str, ...]
) -> FloatArray:
    """An output as float32, its shape held against what a decode kind reads.

    Raises:
        BundleError: the shape differs.
    """
    try:
        return checked("output", output, shape, np.float32)
    except InputError as error:
        raise BundleError(
            f"{part} does not give what decode {decode!r} reads: {error}; correct `decode` in the "
            "manifest"
        ) from error


def plain_batch(batch: npt.NDArray[Any], tensor: TensorSpec) -> npt.NDArray[Any]:
    """A batch of one without its batch axis, for graphs that take a single picture."""
    return batch[0] if len(tensor.shape) == 3 else batch
