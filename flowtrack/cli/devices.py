"""The option --device, the same in every command that runs networks."""

from __future__ import annotations

DEVICE_HELP = (
    "auto, cpu, openvino, openvino-bf16, cuda, ort-tensorrt or tensorrt; cuda:1 is the second GPU. "
    "`flowtrack doctor` says what is there."
)
