"""Checkpoints of this and other projects, mapped onto our networks by key name.

The architecture follows from the tensors; what they cannot tell, above all the colour order, is
known of each project and returned with the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flowtrack.errors import CheckpointError
from flowtrack.training.checkpoint_file import CheckpointFile, read_checkpoint, write_checkpoint
from flowtrack.training.models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterDetector,
    CenterLite,
    CenterNetwork,
    EfficientNetLiteTrunk,
    FlowNet2S,
    PoseLite,
    PoseNetwork,
    PoseResNet,
    ResNetTrunk,
    folded_efficientnet_lite,
)
from flowtrack.training.state_dicts import (
    State,
    check_state,
    deconv_channels,
    fill,
    fitting,
    renamed,
    telling_tensor,
    trunk_depth,
    trunk_width,
    without_module,
)

Color = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]

OWN = "flowtrack"
"""`layout` of flowtrack's own checkpoints."""

_LITE_KEY = "blocks.0.depthwise.weight"  # tells the trunk for small devices from a ResNet

_LATERAL_KEY = "laterals.0.weight"  # there where the network has laterals

# Of pixels / 255 in BGR order (xingyizhou/CenterNet, src/lib/datasets/dataset/coco.py).
_CENTERNET_MEAN = (0.40789654, 0.44719302, 0.47026115)
_CENTERNET_STD = (0.28863828, 0.27408164, 0.27809835)

# Of pixels / 255, RGB (ClementPinard/FlowNetPytorch, run_inference.py).
_CLEMENT_MEAN = (0.411, 0.432, 0.45)


@dataclass(frozen=True)
class LoadedPose:
    """A pose network from a checkpoint.

    Attributes:
        network: in evaluation mode, on the CPU.
        color: channel order of the pictures that it was trained on. The mean and standard
            deviation are ImageNet's in their RGB order *whatever this is*: the official networks
            saw BGR pictures normalised with RGB numbers.
        layout: whose key names the file has: flowtrack, official, mmpose-0.x or mmpose-1.x.
        skeleton: name of the skeleton where the file says so.
    """

    network: PoseNetwork
    color: Color
    layout: str
    skeleton: str | None = None


@dataclass(frozen=True)
class LoadedFlow:
    """An optical flow network from a checkpoint.

    Attributes:
        network: in evaluation mode, on the CPU.
        color: channel order of the pictures that it was trained on.
        layout: flowtrack, nvidia or clement-pinard.
    """

    network: FlowNet2S
    color: Color
    layout: str


@dataclass(frozen=True)
class LoadedDetector:
    """A detector from a checkpoint.

    Attributes:
        network: in evaluation mode, on the CPU.
        color: channel order of the pictures that it was trained on.
        layout: flowtrack or centernet.
        mean, std: of pixels / 255, in the order of `color`.
    """

    network: CenterNetwork
    color: Color
    layout: str
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD


def load_pose(path: Path | str, color: Color | None = None) -> LoadedPose:
    """The pose network in a checkpoint of flowtrack, the official code or MMPose 0.x or 1.x.

    Depth, width, joints, and number, kernel and channels of the deconvolutions are read off the
    tensors, and so is whether there are laterals.

    Args:
        path: of the file.
        color: overrides the channel order known of the layout.

    Raises:
        CheckpointError: the file cannot be read safely, or its keys or shapes do not fit; the
            message names them.
    """
    file = read_checkpoint(path)
    state = without_module(file.state)
    tops = {key.partition(".")[0] for key in state}
    default: Color = "rgb"
    if file.facts is not None:
        layout = OWN
        default = _own_color(file, "pose")
    elif "backbone" in tops:
        head, layout = (
            ("keypoint_head", "mmpose-0.x") if "keypoint_head" in tops else ("head", "mmpose-1.x")
        )
        state = renamed(state, {"backbone.": "", f"{head}.": ""}, drop=("data_preprocessor.",))
    else:
        layout, default = "official", "bgr"  # cv2 pictures (lib/dataset/JointsDataset.py)
    network = _pose_network(file.path, state)
    fill(file.path, network, state)
    skeleton = (file.facts or {}).get("skeleton")
    return LoadedPose(network, color or default, layout, skeleton)


def load_flow(path: Path | str, color: Color | None = None) -> LoadedFlow:
    """The flow network in a checkpoint of flowtrack, NVIDIA or ClementPinard.

    ClementPinard's `flownets_from_caffe` takes BGR (its README): pass `color="bgr"` for it, since
    the file does not tell.

    Args:
        path: of the file.
        color: overrides the channel order known of the layout.

    Raises:
        CheckpointError: as in `load_pose`.
    """
    file = read_checkpoint(path)
    state = without_module(file.state)
    first = telling_tensor(file.path, state, "conv1.0.weight")
    bias = "predict_flow6.bias" in state
    facts = file.facts or {}
    default: Color = "rgb"
    fixed_mean: Triple | None = None
    if file.facts is not None:
        layout = OWN
        default = _own_color(file, "flow")
        fixed_mean = _triple(file.path, facts.get("fixed_mean"))
    elif bias:
        layout = "nvidia"
    else:
        layout, fixed_mean = "clement-pinard", _CLEMENT_MEAN
    div_flow = facts.get("div_flow", file.extra.get("div_flow", 20.0))
    if not isinstance(div_flow, int | float):
        raise CheckpointError(f"{file.path} gives {div_flow!r} as div_flow, expected a number")
    with fitting(file.path):
        network = FlowNet2S(
            first.shape[0] / 64,
            decoder_bias=bias,
            batch_norm="conv1.1.weight" in state,
            fixed_mean=fixed_mean,
            div_flow=float(div_flow),
        )
    fill(file.path, network, state)
    return LoadedFlow(network, color or default, layout)


def load_detector(path: Path | str, color: Color | None = None) -> LoadedDetector:
    """The detector in a checkpoint of flowtrack or of CenterNet's `res_*` networks.

    Args:
        path: of the file.
        color: overrides the channel order known of the layout.

    Raises:
        CheckpointError: as in `load_pose`.
    """
    file = read_checkpoint(path)
    state = without_module(file.state)
    hidden = telling_tensor(file.path, state, "hm.0.weight")
    classes = telling_tensor(file.path, state, "hm.2.weight")
    head: dict[str, Any] = {
        "deconv_channels": deconv_channels(file.path, state),
        "head_channels": hidden.shape[0],
        "laterals": _LATERAL_KEY in state,
    }
    network: CenterNetwork
    with fitting(file.path):
        if _LITE_KEY in state:
            network = CenterLite(classes.shape[0], **head)
        else:
            depth, width = trunk_depth(file.path, state), trunk_width(file.path, state)
            network = CenterDetector(depth, classes.shape[0], width=width, **head)
    fill(file.path, network, state)
    own_color = None if file.facts is None else _own_color(file, "detector")
    if file.facts is None or own_color is None:
        return LoadedDetector(network, color or "bgr", "centernet", _CENTERNET_MEAN, _CENTERNET_STD)
    mean = _triple(file.path, file.facts.get("mean")) or IMAGENET_MEAN
    std = _triple(file.path, file.facts.get("std")) or IMAGENET_STD
    return LoadedDetector(network, color or own_color, OWN, mean, std)


def load_backbone(network: ResNetTrunk | EfficientNetLiteTrunk, path: Path | str) -> None:
    """Fill a network's trunk from a classifier's checkpoint; its head keeps its weights.

    For a ResNet: torchvision's layout, whose `fc.*` is dropped, and MMPretrain's `backbone.` and
    `head.fc.*`. For EfficientNet-Lite0: the layout of EfficientNet-Lite-PyTorch (`_conv_stem.*`).

    Raises:
        CheckpointError: as in `load_pose`.
    """
    file = read_checkpoint(path)
    state = without_module(file.state)
    if isinstance(network, EfficientNetLiteTrunk):
        telling_tensor(file.path, state, "_conv_stem.weight")
        try:
            state = folded_efficientnet_lite(state)
        except KeyError as error:
            raise CheckpointError(
                f"{file.path} has no {error}, expected the weights of an EfficientNet-Lite0"
            ) from error
    else:
        dropped = ("fc.", "head.fc.", "data_preprocessor.")
        state = renamed(state, {"backbone.": ""}, drop=dropped)
    own = network.state_dict()
    trunk = {key: value for key, value in own.items() if key.startswith(network.trunk_keys)}
    check_state(file.path, trunk, state)
    network.load_state_dict({**own, **state})


def save_pose(
    path: Path | str, network: PoseNetwork, *, skeleton: str, color: Color = "rgb", **extra: Any
) -> None:
    """Write a pose network so that `load_pose` reads it; `extra` as in `write_checkpoint`."""
    facts = {"kind": "pose", "color": color, "skeleton": skeleton}
    write_checkpoint(path, network.state_dict(), facts, **extra)


def save_flow(path: Path | str, network: FlowNet2S, *, color: Color = "rgb", **extra: Any) -> None:
    """Write a flow network so that `load_flow` reads it; `extra` as in `write_checkpoint`."""
    mean = None if network.fixed_mean is None else list(network.fixed_mean)
    facts = {"kind": "flow", "color": color, "fixed_mean": mean, "div_flow": network.div_flow}
    write_checkpoint(path, network.state_dict(), facts, **extra)


def save_detector(
    path: Path | str,
    network: CenterNetwork,
    *,
    color: Color = "rgb",
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    **extra: Any,
) -> None:
    """Write a detector so that `load_detector` reads it; `extra` as in `write_checkpoint`."""
    facts = {"kind": "detector", "color": color, "mean": list(mean), "std": list(std)}
    write_checkpoint(path, network.state_dict(), facts, **extra)


def _pose_network(path: Path, state: State) -> PoseNetwork:
    first = telling_tensor(path, state, "deconv_layers.0.weight")
    joints = telling_tensor(path, state, "final_layer.weight").shape[0]
    head: dict[str, Any] = {
        "deconv_channels": deconv_channels(path, state),
        "deconv_kernel": first.shape[2],
        "laterals": _LATERAL_KEY in state,
    }
    with fitting(path):
        if _LITE_KEY in state:
            return PoseLite(joints, **head)
        return PoseResNet(trunk_depth(path, state), joints, width=trunk_width(path, state), **head)


def _own_color(file: CheckpointFile, kind: str) -> Color:
    facts = file.facts or {}
    if facts.get("kind") != kind:
        raise CheckpointError(
            f"{file.path} holds a {facts.get('kind')!r} network, expected a {kind!r} network"
        )
    color = facts.get("color")
    if color == "rgb" or color == "bgr":
        return "rgb" if color == "rgb" else "bgr"
    raise CheckpointError(f"{file.path} says colour order {color!r}, expected 'rgb' or 'bgr'")


def _triple(path: Path, value: object) -> Triple | None:
    if value is None:
        return None
    if isinstance(value, list | tuple) and len(value) == 3:
        return (float(value[0]), float(value[1]), float(value[2]))
    raise CheckpointError(f"{path} gives {value!r} for three channels, expected three numbers")
