"""Several processes that train together agree with one."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from flowtrack.errors import OptionError
from flowtrack.training.checkpoint_file import read_checkpoint
from flowtrack.training.processes import Processes
from flowtrack.training.trainer import Trainer, TrainerOptions
from tests.training.toys import SCHEDULE, Stopped, Toy, trained

ROOT = Path(__file__).parents[2]


def test_alone_there_is_nothing_to_agree_on(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    alone = Processes.join("cpu")
    assert (alone.rank, alone.count, alone.first, alone.device.type) == (0, 1, True, "cpu")
    network = torch.nn.Linear(1, 1)
    assert alone.wrapped(network) is network
    with alone.synchronised(network, now=False):
        alone.wait()
    alone.leave()


def test_two_processes_train_as_one(tmp_path):
    """Started by torchrun; without batch normalisation, whose statistics are each process's own."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "tests.training.toys", str(tmp_path / "two"),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    # One that outlived the interpreter would abort a process that has done its work, now and then.
    assert done.stdout.count("threads:") == 2
    assert "gloo" not in done.stdout
    trained(tmp_path / "one", norm=False)
    one, two = (read_checkpoint(tmp_path / name / "final.pt").state for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6)
    log = (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    assert len([line for line in log if '"validation"' in line]) == 3  # of the first alone


def test_a_batch_must_be_shared_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Processes, "join", classmethod(lambda cls, device: cls(0, 3, torch.device("cpu")))
    )
    with pytest.raises(
        OptionError, match="a batch of 8 cannot be shared by 3 processes in 1 parts"
    ):
        Trainer(Toy(), SCHEDULE, TrainerOptions(tmp_path, device="cpu"))


@pytest.mark.parametrize("failing", [False, True])
def test_the_others_are_left_in_any_case(tmp_path, monkeypatch, failing):
    left = []
    monkeypatch.setattr(Processes, "leave", lambda self: left.append(self.rank))
    task = Toy(stop_at=3 if failing else None)
    trainer = Trainer(task, SCHEDULE, TrainerOptions(tmp_path, device="cpu", workers=0))
    with pytest.raises(Stopped) if failing else nullcontext():
        trainer.run()
    assert left == [0]
