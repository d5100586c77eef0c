"""Checkpoint files, read and written without ever running code from them."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import flowtrack
from flowtrack.errors import CheckpointError

MARKER = "flowtrack"
"""The entry that only flowtrack's own checkpoints have: a dict of facts about the network."""


class _Inert:
    """Stands in for an object that training programs store beside the weights.

    Nothing of the original is imported or run; the arguments are dropped.
    """

    def __new__(cls, *_: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


# What the meta data of published checkpoints is made of: numpy values (scores, MMPose's
# dataset_meta), MMEngine's log buffers, times and command lines. None of it is needed.
_IGNORED_GLOBALS = (
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.numeric._frombuffer",
    "numpy.core.numeric._frombuffer",
    "numpy.ndarray",
    "numpy.dtype",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "argparse.Namespace",
    "datetime.datetime",
    "datetime.timedelta",
    "builtins.getattr",
)


@dataclass(frozen=True)
class CheckpointFile:
    """The content of a checkpoint file.

    Attributes:
        path: of the file, for messages.
        state: the tensors by key, as stored.
        extra: the other entries of the file (epoch, meta ...); values that were not plain data are
            placeholders.
    """

    path: Path
    state: dict[str, torch.Tensor]
    extra: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any] | None:
        """What flowtrack's own checkpoints say of the network; None for those of others."""
        facts = self.extra.get(MARKER)
        return facts if isinstance(facts, dict) else None


def read_checkpoint(path: Path | str) -> CheckpointFile:
    """Read a checkpoint's tensors.

    Understood are a bare state dict and a dict with the entry `state_dict`.

    Raises:
        CheckpointError: the file is missing, damaged or no checkpoint, asks to run code, or holds
            something other than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; expected a PyTorch checkpoint (.pth, .tar)")
    content = _load(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, expected a dict of tensors, or a dict with "
            "the entry 'state_dict'"
        )
    wrapped = isinstance(content.get("state_dict"), Mapping)
    state = content["state_dict"] if wrapped else content
    extra = {str(key): value for key, value in content.items()} if wrapped else {}
    extra.pop("state_dict", None)
    foreign = [str(key) for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if foreign:
        listed = ", ".join(foreign[:8])
        raise CheckpointError(
            f"{path} has entries that are not tensors: {listed}; expected a state dict, or a dict "
            "with the entry 'state_dict'"
        )
    if not state:
        raise CheckpointError(f"{path} holds no tensors")
    tensors = {str(key): value.detach() for key, value in state.items()}
    return CheckpointFile(path, tensors, extra)


def write_checkpoint(
    path: Path | str, state: Mapping[str, torch.Tensor], facts: Mapping[str, Any], **extra: Any
) -> None:
    """Write a checkpoint of flowtrack's own, whole or not at all.

    Args:
        path: where to; replaced if it exists.
        state: tensors by key.
        facts: plain data about the network, e.g. its kind, colour order and skeleton.
        extra: further entries, plain data and tensors only (optimizer, epoch ...).

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    marker = {"version": flowtrack.__version__, **facts}
    content = {MARKER: marker, "state_dict": dict(state), **extra}
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        torch.save(content, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path) -> Any:
    ignored: list[Any] = [(_Inert, name) for name in _IGNORED_GLOBALS]
    try:
        with torch.serialization.safe_globals(ignored), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about legacy formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(_explained(path, error)) from error


def _explained(path: Path, error: Exception) -> str:
    named = re.search(r"GLOBAL (\S+)", str(error)) or re.search(
        r"unrecognized function (\S+)", str(error)
    )
    if named:
        return (
            f"{path} is refused: unpickling it would call {named.group(1)}, and only tensors and "
            "plain data are read; nothing was run. If you trust where the file comes from, store "
            "only its tensors where that program is installed: "
            "torch.save({'state_dict': checkpoint['state_dict']}, path)"
        )
    reason = str(error).strip().splitlines()
    shown = reason[0][:200] if reason else ""
    return (
        f"{path} is no readable PyTorch checkpoint, or is damaged ({type(error).__name__}: "
        f"{shown}); compare its size and sha256 with where it came from"
    )
