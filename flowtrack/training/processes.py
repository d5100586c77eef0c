"""One process or several that train together, started by `torchrun`."""

from __future__ import annotations

import importlib
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from flowtrack.errors import OptionError


@dataclass(frozen=True)
class Processes:
    """One's own process among those that train together.

    Attributes:
        rank: of one's own process, from 0.
        count: of processes.
        device: that one's own computes on.
    """

    rank: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Processes:
        """Find the others by the environment that `torchrun` sets; without it there are none.

        Args:
            device: cpu, cuda (each process takes the GPU of its local rank), or auto.

        Raises:
            OptionError: the device is unknown or absent, or there are more processes than GPUs.
        """
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        if chosen not in ("cpu", "cuda"):
            raise OptionError(f"device is {device!r}, expected auto, cpu or cuda")
        if chosen == "cuda" and not torch.cuda.is_available():
            raise OptionError("device is cuda, but torch finds no GPU; expected cpu or auto")
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if chosen == "cuda":
            local = int(os.environ.get("LOCAL_RANK", "0"))
            if local >= torch.cuda.device_count():
                raise OptionError(
                    f"process {local} of this machine finds {torch.cuda.device_count()} GPUs; "
                    "expected one each: start fewer with torchrun --nproc-per-node"
                )
            torch.cuda.set_device(local)
            chosen = f"cuda:{local}"
        if count == 1:
            return cls(0, 1, torch.device(chosen))
        # DDP imports this. Its functions have the group that exists by then as a default, and
        # would hold it for good, see `leave`.
        importlib.import_module("torch.distributed.nn.functional")
        distributed.init_process_group("nccl" if chosen.startswith("cuda") else "gloo")
        return cls(distributed.get_rank(), count, torch.device(chosen))

    @property
    def first(self) -> bool:
        """Whether it is this process that writes files and validates."""
        return self.rank == 0

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network whose gradients are averaged over all processes."""
        if self.count == 1:
            return network
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices)

    def synchronised(self, network: nn.Module, now: bool) -> AbstractContextManager[object]:
        """Average gradients in this backward pass, or leave that to a later one."""
        if now or not isinstance(network, DistributedDataParallel):
            return nullcontext()
        return network.no_sync()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def leave(self) -> None:
        """Part from the others, and wait for the threads that spoke with them.

        They end with the last reference to the group. One that outlived the interpreter would
        abort the process when it drops the Python objects of its last message.
        """
        if self.count > 1:
            distributed.destroy_process_group()
