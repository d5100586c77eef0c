"""Middlebury .flo: dense optical flow as a file, the format of FlyingChairs and Sintel.

The four letters PIEH, width and height as int32, then u and v of each pixel, row by row, as
float32; everything little-endian. A component beyond 1e9 in size marks a pixel whose flow is
unknown (Baker et al. 2011, "A Database and Evaluation Methodology for Optical Flow", flowIO).
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flowtrack.errors import InputError, OutputError, SourceError
from flowtrack.structs import BoolArray, FloatArray, checked

_MAGIC = b"PIEH"  # the float32 202021.25, so that a file of the other byte order is noticed
_HEADER = struct.Struct("<4sii")
_MAX_SIDE = 99_999  # pixels; flowIO refuses larger ones as well
_UNKNOWN_ABOVE = 1e9  # pixels
_UNKNOWN = np.float32(1e10)  # what is written for an unknown pixel


def known(uv: FloatArray) -> BoolArray:
    """Where the flow is known: both components finite and at most 1e9 in size.

    Args:
        uv: (2, H, W) flow in pixels, as `read_flo` returns it.

    Returns:
        (H, W) bool.
    """
    # NaN compares false, so it counts as unknown.
    return np.asarray((np.abs(uv) <= _UNKNOWN_ABOVE).all(axis=0))


def read_flo(path: str | Path) -> FloatArray:
    """Read a .flo file.

    Args:
        path: of the file.

    Returns:
        (2, H, W) float32 dx and dy in pixels. Unknown pixels keep the values of the file; see
        `known`.

    Raises:
        SourceError: the file cannot be opened or read.
        InputError: the file is no .flo file, is cut off, or holds more or less than it says.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            width, height = _checked_header(path, header)
            size = os.fstat(file.fileno()).st_size
            expected = _HEADER.size + 8 * width * height
            # Before anything is allocated: a damaged header may ask for gigabytes.
            if size != expected:
                raise InputError(
                    f"{path} has {size} bytes, expected {expected} for {width} x {height} pixels;"
                    " it is cut off or damaged: fetch or write it again"
                )
            values = np.frombuffer(file.read(expected - _HEADER.size), "<f4")
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror or error}; expected a readable .flo file"
        ) from error
    if values.size != 2 * width * height:
        raise InputError(f"{path} became shorter while it was read; read it again")
    return np.array(values.reshape(height, width, 2).transpose(2, 0, 1), np.float32, order="C")


def write_flo(path: str | Path, uv: FloatArray, valid: npt.ArrayLike | None = None) -> None:
    """Write a .flo file, whole or not at all.

    The file grows under a temporary name beside its own (`.NAME.partial`) and replaces one that is
    there only when it is complete.

    Args:
        path: of the file; its folder exists.
        uv: (2, H, W) dx and dy in pixels.
        valid: (H, W) bool, false where the flow is unknown; None: known everywhere.

    Raises:
        InputError: a shape does not fit, the size is out of range, or the flow is not finite, or
            beyond 1e9, at a pixel that is said to be known.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    flow = checked("uv", uv, (2, "H", "W"), np.float32)
    height, width = flow.shape[1:]
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise InputError(
            f"uv has shape {flow.shape}, expected a height and width of 1 to {_MAX_SIDE} pixels"
        )
    mask = np.ones((height, width), np.bool_)
    if valid is not None:
        mask = checked("valid", valid, (height, width), np.bool_)
    wrong = mask & ~known(flow)
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        raise InputError(
            f"uv is {flow[:, y, x].tolist()} at x {x}, y {y}, expected finite values of at most "
            f"{_UNKNOWN_ABOVE:g} pixels; mark unknown pixels in valid"
        )
    rows = np.where(mask, flow, _UNKNOWN).transpose(1, 2, 0)
    data = _HEADER.pack(_MAGIC, width, height) + rows.astype("<f4").tobytes()
    _replace_file(path, data)


def _checked_header(path: Path, header: bytes) -> tuple[int, int]:
    """Width and height of a file, from its first bytes."""
    if len(header) < _HEADER.size:
        raise InputError(
            f"{path} has {len(header)} bytes, expected a .flo header of {_HEADER.size};"
            " it is cut off: fetch or write it again"
        )
    magic, width, height = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise InputError(f"{path} begins with {magic!r}, expected {_MAGIC!r}: it is no .flo file")
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise InputError(
            f"{path} says {width} x {height} pixels, expected 1 to {_MAX_SIDE} each way;"
            " it is damaged: fetch or write it again"
        )
    return width, height


def _replace_file(path: Path, data: bytes) -> None:
    """Give `path` the content `data` in one step."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        _forget(partial)
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; expected a writable folder with free"
            " space: choose another one"
        ) from error
    except BaseException:  # an interrupt leaves nothing behind either
        _forget(partial)
        raise


def _forget(partial: Path) -> None:
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)
