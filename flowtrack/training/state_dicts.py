"""State dicts by key name: prefixes, the architecture that the shapes tell, strict filling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from flowtrack.errors import CheckpointError, OptionError
from flowtrack.training.models.resnet import resnet_depth

State = dict[str, torch.Tensor]

_SHOWN = 8  # keys listed in a message


def without_module(state: State) -> State:
    """The same tensors without the prefix `module.` that nn.DataParallel adds to every key."""
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


def renamed(state: State, prefixes: Mapping[str, str], drop: tuple[str, ...]) -> State:
    """The same tensors with prefixes replaced.

    Args:
        state: tensors by key.
        prefixes: new prefix by old; a key takes the first that fits, or stays.
        drop: keys with one of these prefixes are left out.
    """
    result = {}
    for key, value in state.items():
        if key.startswith(drop):
            continue
        old = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
        result[prefixes.get(old, "") + key.removeprefix(old)] = value
    return result


def telling_tensor(path: Path, state: State, key: str, axes: int = 4) -> torch.Tensor:
    """A tensor whose shape tells the architecture.

    Raises:
        CheckpointError: it is missing or has another number of axes.
    """
    if key not in state:
        raise CheckpointError(
            f"{path} has no {key}, so it is not a checkpoint of this kind of network; it begins "
            f"with {_listed(list(state)[:4])}"
        )
    if state[key].ndim != axes:
        raise CheckpointError(
            f"{path}: {key} has shape {tuple(state[key].shape)}, expected {axes} axes"
        )
    return state[key]


def trunk_depth(path: Path, state: State) -> int:
    """The depth of the ResNet whose keys these are.

    Raises:
        CheckpointError: a stage is missing, or no ResNet has these stages.
    """
    blocks = []
    for stage in range(1, 5):
        indices = [
            int(match.group(1))
            for key in state
            if (match := re.match(rf"layer{stage}\.(\d+)\.conv1\.weight$", key))
        ]
        if not indices:
            telling_tensor(path, state, f"layer{stage}.0.conv1.weight")
        blocks.append(max(indices) + 1)
    with fitting(path):
        return resnet_depth(tuple(blocks), "layer1.0.conv3.weight" in state)


def trunk_width(path: Path, state: State) -> float:
    """The width multiplier of the ResNet whose keys these are.

    Raises:
        CheckpointError: the first convolution is missing.
    """
    return telling_tensor(path, state, "conv1.weight").shape[0] / 64


def deconv_channels(path: Path, state: State) -> tuple[int, ...]:
    """Channels of each of the head's deconvolutions.

    Raises:
        CheckpointError: there is none, one is missing between two others, or a weight has another
            number of axes than four.
    """
    keys = [f"deconv_layers.{index}.weight" for index in (0, 3, 6)]
    count = max((number for number, key in enumerate(keys, 1) if key in state), default=1)
    return tuple(telling_tensor(path, state, key).shape[1] for key in keys[:count])


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Turn the refusal of an architecture into a word about the checkpoint.

    Raises:
        CheckpointError: in place of an OptionError raised inside.
    """
    try:
        yield
    except OptionError as error:
        raise CheckpointError(f"{path} fits none of our networks: {error}") from error


def check_state(path: Path, expected: Mapping[str, torch.Tensor], state: State) -> None:
    """Hold a state dict against what a network expects.

    `num_batches_tracked` may be missing: it counts training steps and has no effect on results.

    Raises:
        CheckpointError: keys are missing or unknown, or shapes differ; all are named.
    """
    missing = [
        key for key in expected if key not in state and not key.endswith(".num_batches_tracked")
    ]
    unknown = [key for key in state if key not in expected]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    faults = [
        f"{what} {_listed(names)}"
        for what, names in (("missing", missing), ("unknown", unknown), ("wrong shape:", shapes))
        if names
    ]
    if faults:
        raise CheckpointError(f"{path} does not fit the network: {'; '.join(faults)}")


def fill(path: Path, network: nn.Module, state: State) -> None:
    """Copy a state dict into a network, which goes to evaluation mode.

    Raises:
        CheckpointError: as in `check_state`.
    """
    own = network.state_dict()
    check_state(path, own, state)
    network.load_state_dict({**own, **state})
    network.eval()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
