"""The three networks in PyTorch."""

from __future__ import annotations

from flowtrack.training.models.center_detector import (
    CenterDetector,
    CenterLite,
    CenterMaps,
    CenterNetwork,
)
from flowtrack.training.models.efficientnet_lite import (
    EfficientNetLiteTrunk,
    folded_efficientnet_lite,
)
from flowtrack.training.models.flownet2s import FlowNet2S
from flowtrack.training.models.normalization import IMAGENET_MEAN, IMAGENET_STD, Normalization
from flowtrack.training.models.pose_resnet import PoseLite, PoseNetwork, PoseResNet
from flowtrack.training.models.resnet import RESNET_DEPTHS, ResNetTrunk

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "RESNET_DEPTHS",
    "CenterDetector",
    "CenterLite",
    "CenterMaps",
    "CenterNetwork",
    "EfficientNetLiteTrunk",
    "FlowNet2S",
    "Normalization",
    "PoseLite",
    "PoseNetwork",
    "PoseResNet",
    "ResNetTrunk",
    "folded_efficientnet_lite",
]
