"""The training loop: the same weights from the same recipe and seed, stopped and resumed or not."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from flowtrack.errors import CheckpointError, OptionError
from flowtrack.training.checkpoint_file import read_checkpoint, write_checkpoint
from flowtrack.training.data.loader import Batch, batches
from flowtrack.training.log import TrainingLog
from flowtrack.training.processes import Processes
from flowtrack.training.recipe import Schedule
from flowtrack.training.tasks import Task

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_MOMENTUM = 0.9
_LOGGED_EVERY_S = 10.0


@dataclass(frozen=True)
class TrainerOptions:
    """How a training is run; nothing here changes what is learnt but for rounding.

    Attributes:
        out: folder for checkpoints and the log.
        device: cpu, cuda, or auto.
        precision: of the computation; auto takes bf16 on a GPU and fp32 elsewhere.
        workers: processes that make samples; 0 makes them in the training process.
        checkpoint_s: seconds between checkpoints.
        resume: go on from the last checkpoint in `out`.
        compiled: let torch compile the network.
    """

    out: Path
    device: str = "auto"
    precision: Precision = "auto"
    workers: int = 1
    checkpoint_s: float = 120.0
    resume: bool = False
    compiled: bool = False


@dataclass(frozen=True)
class Progress:
    """State of a running training.

    Attributes:
        step, steps: done, and in all.
        samples_per_s: trained on over the last few seconds; 0 in a validation.
        figures: means of the losses over the last few seconds, or the validation's figures.
        validation: these are a validation's.
    """

    step: int
    steps: int
    samples_per_s: float
    figures: dict[str, float]
    validation: bool = False


class Trainer:
    """Trains one task.

    Attributes:
        steps: of the whole training.
        step: steps done.
        network: being trained, without wrappers.
        first: whether this process is the one that writes files and validates.
    """

    def __init__(self, task: Task, schedule: Schedule, options: TrainerOptions) -> None:
        """A training, from the start or from its last checkpoint.

        Args:
            task: what to train.
            schedule: how long and how fast.
            options: how to run it.

        Raises:
            OptionError: the options contradict each other or the machine, or `out` holds a
                training that is not to be resumed, or one by another recipe.
            CheckpointError: the checkpoint to resume from is missing or does not fit.
            OutputError: `out` cannot be written to.
        """
        self._task, self._schedule, self._options = task, schedule, options
        self._processes = Processes.join(options.device)
        self._device = self._processes.device
        self.first = self._processes.first
        if schedule.batch % (self._processes.count * schedule.accumulate):
            raise OptionError(
                f"a batch of {schedule.batch} cannot be shared by {self._processes.count} "
                f"processes in {schedule.accumulate} parts"
            )
        samples = schedule.samples or round(schedule.epochs * task.mixture.epoch)
        self.steps = max(1, samples // schedule.batch)
        self.step = 0
        self.network: nn.Module = task.network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._averaged = copy.deepcopy(self.network).eval() if schedule.average else None
        self._optimizer = _optimizer(self.network, schedule)
        self._autocast, fp16 = _precision(options.precision, self._device)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=fp16)
        self._best: float | None = None
        self._last = options.out / "last.pt"
        if options.resume:
            self._restore()
        elif self._last.exists():
            raise OptionError(
                f"{options.out} holds a training already; resume it, or write to another folder"
            )
        self._processes.wait()  # none may find what another has begun to write
        self._log = TrainingLog(options.out, writes=self.first)
        self._log.keep_until(self.step)

    def run(self, report: Callable[[Progress], None] = lambda _: None) -> dict[str, float]:
        """Train to the end.

        Args:
            report: called every few seconds and after each validation.

        Returns:
            The last validation's figures; none in processes other than the first.

        Raises:
            OptionError: the loss is not finite any more.
            SourceError: a picture is damaged.
            OutputError, CheckpointError: the log or a checkpoint cannot be written.
        """
        try:
            return self._run(report)
        finally:
            self._processes.leave()

    def _run(self, report: Callable[[Progress], None]) -> dict[str, float]:
        # Compiled first: what is wrapped must stay visible as such, see `synchronised`.
        network = torch.compile(self.network) if self._options.compiled else self.network
        network = self._processes.wrapped(network)  # type: ignore[arg-type]
        count = self._schedule.validations
        validate_at = {round(self.steps * (i + 1) / count) for i in range(count)}
        figures = self._log.last_validation()
        means, saved = _Means(), time.monotonic()
        self.network.train()
        for batch in self._batches():
            means.add(self._train(network, batch))
            self.step += 1
            if means.seconds > _LOGGED_EVERY_S or self.step == self.steps:
                self._report_training(means, report)
                means = _Means()
            if self.step in validate_at:
                figures = self._validate()
                report(Progress(self.step, self.steps, 0.0, figures, validation=True))
            if time.monotonic() - saved > self._options.checkpoint_s or self.step in validate_at:
                self._store()
                saved = time.monotonic()
            means.restart()
        if self.first:
            self._task.save(self._options.out / "final.pt", self._result())
        return figures

    def _report_training(self, means: _Means, report: Callable[[Progress], None]) -> None:
        shown = {**means.figures, "learning_rate": self._rate(self.step - 1)}
        self._log.write(self.step, self.step * self._schedule.batch, shown)
        rate = means.steps * self._schedule.batch / max(means.seconds, 1e-9)
        report(Progress(self.step, self.steps, rate, shown))

    def _batches(self) -> Iterator[Batch]:
        yield from batches(
            self._task.mixture,
            self._schedule.batch,
            self.step,
            self.steps,
            workers=self._options.workers,
            rank=self._processes.rank,
            world=self._processes.count,
            pin=self._device.type == "cuda",
        )

    def _train(self, network: nn.Module, batch: Batch) -> dict[str, float]:
        """One step of the optimizer."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(self.step) * group["share"]
        self._optimizer.zero_grad(set_to_none=True)
        parts = self._schedule.accumulate
        sums: dict[str, torch.Tensor] = {}
        for i, part in enumerate(_parts(batch, parts)):
            moved = {k: v.to(self._device, non_blocking=True) for k, v in part.items()}
            with self._processes.synchronised(network, i == parts - 1), self._autocast():
                losses = self._task.losses(network, moved)
                self._scaler.scale(losses["loss"] / parts).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach().cpu() / parts
        figures = {name: float(value) for name, value in sums.items()}
        if not all(math.isfinite(value) for value in figures.values()):
            raise OptionError(
                f"the loss is {figures['loss']} at step {self.step}; expected a finite one: try a "
                "lower learning_rate, clip, or another precision"
            )
        if self._schedule.clip:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._schedule.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._average()
        return figures

    def _average(self) -> None:
        """Move the running average of the weights.

        At first it follows faster, to be rid of the weights that the training started from (the
        rule of TensorFlow's ExponentialMovingAverage).
        """
        if self._averaged is None:
            return
        keep = min(self._schedule.average, (1 + self.step) / (10 + self.step))
        averaged, current = self._averaged.state_dict(), self.network.state_dict()
        with torch.no_grad():
            for ours, theirs in zip(averaged.values(), current.values(), strict=True):
                if ours.is_floating_point():
                    ours.lerp_(theirs, 1 - keep)
                else:
                    ours.copy_(theirs)

    def _rate(self, step: int) -> float:
        """The learning rate of a step."""
        schedule = self._schedule
        progress = step / self.steps
        rate = schedule.learning_rate
        if schedule.warmup and progress < schedule.warmup:
            return rate * (step + 1) / (schedule.warmup * self.steps + 1)
        if schedule.decay == "cosine":
            share = (progress - schedule.warmup) / (1 - schedule.warmup)
            return rate * 0.5 * (1 + math.cos(share * math.pi))
        epoch = step * schedule.batch / self._task.mixture.epoch
        passed = sum(epoch >= milestone for milestone in schedule.milestones)
        return rate * schedule.factor**passed

    def _result(self) -> nn.Module:
        """The network that is validated and written."""
        return self.network if self._averaged is None else self._averaged

    def _validate(self) -> dict[str, float]:
        """Figures of the result so far; the best weights so far are written to `best.pt`."""
        figures: dict[str, float] = {}
        if self.first:
            self.network.eval()
            figures = self._task.validate(self._result(), self._device)
            self.network.train()
            value = figures.get(self._task.metric)
            if value is not None and not math.isnan(value) and self._is_best(value):
                self._best = value
                extra = {"step": self.step, "figures": figures}
                self._task.save(self._options.out / "best.pt", self._result(), **extra)
            self._log.write(self.step, self.step * self._schedule.batch, figures, validation=True)
        self._processes.wait()
        return figures

    def _is_best(self, value: float) -> bool:
        if self._best is None:
            return True
        return value > self._best if self._task.higher_is_better else value < self._best

    def _store(self) -> None:
        if not self.first:
            return
        averaged = {} if self._averaged is None else {"averaged": self._averaged.state_dict()}
        write_checkpoint(
            self._last,
            self.network.state_dict(),
            {"kind": "training"},
            optimizer=self._optimizer.state_dict(),
            scaler=self._scaler.state_dict(),
            random=torch.get_rng_state(),
            step=self.step,
            best=self._best,
            schedule=_plain(self._schedule),
            data=self._data(),
            **averaged,
        )

    def _restore(self) -> None:
        path = self._last
        if not path.is_file():
            raise CheckpointError(f"{path} is missing: there is no training to resume; start one")
        extra = (file := read_checkpoint(path)).extra
        if (file.facts or {}).get("kind") != "training":
            raise CheckpointError(f"{path} is no checkpoint of a training, expected its `last.pt`")
        for name, ours in (("schedule", _plain(self._schedule)), ("data", self._data())):
            if (theirs := extra.get(name, ours)) != ours:
                raise OptionError(
                    f"{path} was trained with the {name} {theirs}, expected {ours}; resume with "
                    "the recipe and data that it began with"
                )
        try:
            self.network.load_state_dict(file.state)
            if self._averaged is not None:
                self._averaged.load_state_dict(extra["averaged"])
            self._optimizer.load_state_dict(extra["optimizer"])
            self._scaler.load_state_dict(extra["scaler"])
            torch.set_rng_state(extra["random"])
            self.step, self._best = int(extra["step"]), extra["best"]
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"{path} does not fit ({type(error).__name__}: {error}); resume with the recipe "
                "and precision that it began with"
            ) from error

    def _data(self) -> dict[str, Any]:
        """What tells one order of samples from another."""
        mixture = self._task.mixture
        return {"seed": mixture.seed, "samples": [len(source) for source in mixture.sources]}


class _Means:
    """Means of the losses of some steps.

    Attributes:
        steps: added so far.
        seconds: that training took for them.
    """

    def __init__(self) -> None:
        self.steps, self.seconds = 0, 0.0
        self._sums: dict[str, float] = {}
        self._start = time.monotonic()

    def add(self, losses: Mapping[str, float]) -> None:
        """Count a step, which lasted until now."""
        self.steps += 1
        self.seconds += time.monotonic() - self._start
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def restart(self) -> None:
        """Begin the next step: what came after the last was no training."""
        self._start = time.monotonic()

    @property
    def figures(self) -> dict[str, float]:
        """Means by name."""
        return {name: total / self.steps for name, total in self._sums.items()}


def _plain(schedule: Schedule) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(schedule).items()}


def _parts(batch: Batch, parts: int) -> Iterator[Batch]:
    size = len(next(iter(batch.values()))) // parts
    for i in range(parts):
        yield {name: value[i * size : (i + 1) * size] for name, value in batch.items()}


def _optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The optimizer; a group's `share` is that of the learning rate which its weights take."""
    trunk: tuple[str, ...] = getattr(network, "trunk_keys", ())
    groups = [
        {"params": parameters, "weight_decay": schedule.weight_decay * decayed, "share": share}
        for share, inside in ((1.0, False), (schedule.trunk_rate, True))
        for decayed in (True, False)
        if (
            parameters := [
                parameter
                for name, parameter in network.named_parameters()
                if parameter.requires_grad
                and (parameter.ndim > 1) == decayed
                and name.startswith(trunk) == inside
            ]
        )
    ]
    rate = schedule.learning_rate
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, rate, momentum=_MOMENTUM)
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(groups, rate)
    return torch.optim.Adam(groups, rate)


def _precision(
    precision: Precision, device: torch.device
) -> tuple[Callable[[], AbstractContextManager[Any]], bool]:
    """Context for the computation, and whether gradients must be scaled."""
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp32":
        return nullcontext, False
    if precision == "fp16" and device.type != "cuda":
        raise OptionError("precision fp16 needs a GPU; expected fp32 or bf16 on a CPU")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return lambda: torch.autocast(device.type, dtype), precision == "fp16"
