"""The trainer: what must be the same, what must be learnt, and what is refused."""

import json
import math
from dataclasses import replace

import pytest
import torch

from flowtrack.errors import CheckpointError, OptionError, OutputError, SourceError
from flowtrack.training import trainer as module
from flowtrack.training.checkpoint_file import read_checkpoint
from flowtrack.training.recipe import Schedule
from flowtrack.training.trainer import Progress, Trainer, TrainerOptions
from tests.training.toys import SCHEDULE, Stopped, Toy, trained


def options(out, **changes):
    return replace(TrainerOptions(out, device="cpu", workers=0), **changes)


def weights(path):
    return read_checkpoint(path).state


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.fixture
def every_step(monkeypatch):
    """A log of every step."""
    monkeypatch.setattr(module, "_LOGGED_EVERY_S", -1.0)


def logged(out, kind="training"):
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [record for record in records if record["kind"] == kind]


def test_the_same_seed_gives_the_same_losses(tmp_path):
    first, second = (trained(tmp_path / name) for name in "ab")
    other = trained(tmp_path / "c", seed=1)
    assert len(first.seen) == 30
    assert first.seen == second.seen
    assert first.seen != other.seen
    assert_equal(weights(tmp_path / "a" / "final.pt"), weights(tmp_path / "b" / "final.pt"))


def test_it_learns(tmp_path):
    task = trained(tmp_path, replace(SCHEDULE, samples=2400))
    assert sum(task.seen[-20:]) < 0.1 * sum(task.seen[:20])


@pytest.mark.parametrize(
    ("schedule", "workers"),
    [
        (SCHEDULE, 0),
        (replace(SCHEDULE, accumulate=2, clip=0.1, optimizer="adamw", weight_decay=0.1), 1),
        (replace(SCHEDULE, average=0.9, decay="cosine", warmup=0.2, optimizer="sgd"), 0),
        (replace(SCHEDULE, milestones=(1.0, 2.0, 3.0), average=0.99, optimizer="adamw"), 2),
    ],
    ids=["adam", "accumulated", "averaged cosine", "averaged steps"],
)
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path, schedule, workers):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    Trainer(Toy(), schedule, options(whole, workers=workers)).run()
    often = options(parts, workers=workers, checkpoint_s=0)
    with pytest.raises(Stopped):
        Trainer(Toy(stop_at=17), schedule, often).run()
    # Once more, with fewer checkpoints: what came after the last of them is done again.
    seldom = replace(often, resume=True, checkpoint_s=1e9)
    with pytest.raises(Stopped):
        Trainer(Toy(stop_at=5), schedule, seldom).run()
    last = Trainer(Toy(), schedule, seldom)
    assert 0 < last.step < last.steps
    last.run()
    for name in ("final.pt", "best.pt", "last.pt"):
        assert_equal(weights(whole / name), weights(parts / name))
    assert logged(whole, "validation") == logged(parts, "validation")
    steps = [record["step"] for record in logged(parts)]
    assert steps == sorted(set(steps))


def test_the_optimizer_resumes_too(tmp_path):
    """Its state, too, is the same bit by bit after a resumed training."""
    trained(tmp_path / "a")
    with pytest.raises(Stopped):
        trained(tmp_path / "b", stop_at=25)
    trained(tmp_path / "b", resume=True)
    ours, theirs = (
        read_checkpoint(tmp_path / name / "last.pt").extra["optimizer"]["state"] for name in "ab"
    )
    for parameter, state in ours.items():
        assert_equal(state, theirs[parameter])


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulated_parts_make_the_whole_batch(tmp_path, parts):
    trained(tmp_path / "whole", norm=False)
    trained(tmp_path / "parts", replace(SCHEDULE, accumulate=parts), norm=False)
    ours, theirs = (weights(tmp_path / name / "final.pt") for name in ("whole", "parts"))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-6)


def test_progress_and_result(tmp_path):
    reports: list[Progress] = []
    trainer = Trainer(Toy(), SCHEDULE, options(tmp_path))
    figures = trainer.run(reports.append)
    assert (trainer.step, trainer.steps, trainer.first) == (30, 30, True)
    assert [r.step for r in reports if r.validation] == [10, 20, 30]
    assert (
        figures
        == reports[-1].figures
        == Toy().validate(trainer.network.eval(), torch.device("cpu"))
    )
    last = next(r for r in reports if not r.validation)
    assert last.step == 30
    assert last.samples_per_s > 0
    assert last.figures.keys() == {"loss", "largest", "learning_rate"}


def test_logged_losses_are_means_since_the_last_record(tmp_path):
    task = trained(tmp_path)
    (record,) = logged(tmp_path)
    assert record["loss"] == pytest.approx(sum(task.seen) / 30)
    assert (record["step"], record["samples"]) == (30, 240)


def test_every_record_counts_its_own_steps(tmp_path, every_step):
    task = trained(tmp_path)
    assert [record["loss"] for record in logged(tmp_path)] == pytest.approx(task.seen)


class Scored(Toy):
    """Validated as told."""

    def __init__(self, figures, **toy):
        super().__init__(**toy)
        self.figures = list(figures)

    def validate(self, network, device):
        value = self.figures.pop(0)
        return {} if value is None else {"error": value}


@pytest.mark.parametrize(
    ("figures", "higher", "best"),
    [
        ([3.0, 1.0, 2.0], False, 20),
        ([3.0, 1.0, 2.0], True, 10),
        ([1.0, 1.0, 1.0], False, 10),
        ([math.nan, 2.0, 1.0], True, 20),
        ([math.nan, 2.0, 1.0], False, 30),
    ],
)
def test_the_best_weights_are_kept(tmp_path, figures, higher, best):
    task = Scored(figures, higher_is_better=higher)
    Trainer(task, SCHEDULE, options(tmp_path)).run()
    file = read_checkpoint(tmp_path / "best.pt")
    assert file.extra["step"] == best
    assert file.extra["figures"] == {"error": figures[best // 10 - 1]}


def test_the_best_are_still_known_after_a_resume(tmp_path):
    with pytest.raises(Stopped):
        Trainer(Scored([1.0], stop_at=15), SCHEDULE, options(tmp_path)).run()
    Trainer(Scored([3.0, 2.0]), SCHEDULE, options(tmp_path, resume=True)).run()
    assert read_checkpoint(tmp_path / "best.pt").extra["step"] == 10


def test_without_held_out_data_there_is_no_best(tmp_path):
    figures = Trainer(Scored([None] * 3), SCHEDULE, options(tmp_path)).run()
    assert figures == {}
    assert {path.name for path in tmp_path.iterdir()} == {
        "final.pt", "last.pt", "log.html", "log.jsonl",
    }  # fmt: skip


def test_resuming_what_is_done_changes_nothing(tmp_path):
    trained(tmp_path)
    before = weights(tmp_path / "final.pt")
    log = (tmp_path / "log.jsonl").read_text()
    figures = Trainer(Toy(), SCHEDULE, options(tmp_path, resume=True)).run()
    assert figures == {"error": logged(tmp_path, "validation")[-1]["error"]}
    assert_equal(weights(tmp_path / "final.pt"), before)
    assert (tmp_path / "log.jsonl").read_text() == log


def rates(tmp_path, **changes):
    schedule = replace(SCHEDULE, learning_rate=1.0, validations=1, optimizer="sgd", **changes)

    class Idle(Toy):
        def losses(self, network, batch):
            return {"loss": 0 * network(batch["picture"]).sum()}

    Trainer(Idle(norm=False), schedule, options(tmp_path)).run()
    return [record["learning_rate"] for record in logged(tmp_path)]


# The toy's epoch has 70 samples; a batch has 8.
@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, lambda step: 1.0),
        ({"milestones": (1.0, 2.0)}, lambda s: 1.0 if s * 8 < 70 else 0.1 if s * 8 < 140 else 0.01),
        ({"milestones": (1.2,), "factor": 0.5}, lambda s: 1.0 if s * 8 < 84 else 0.5),
        ({"warmup": 0.2}, lambda s: (s + 1) / 7 if s < 6 else 1.0),
        ({"decay": "cosine"}, lambda s: 0.5 + 0.5 * math.cos(math.pi * s / 30)),
        (
            {"decay": "cosine", "warmup": 0.2},
            lambda s: (s + 1) / 7 if s < 6 else 0.5 + 0.5 * math.cos(math.pi * (s - 6) / 24),
        ),
        ({"warmup": 1.0, "decay": "cosine"}, lambda s: (s + 1) / 31),
    ],
)
def test_learning_rates(tmp_path, every_step, changes, wanted):
    assert rates(tmp_path, **changes) == pytest.approx([wanted(step) for step in range(30)])


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"samples": 240}, 30),
        ({"samples": 247}, 30),
        ({"samples": 3}, 1),
        ({"samples": 0, "epochs": 2}, 17),
        ({"samples": 0, "epochs": 0.5}, 4),
    ],
)
def test_number_of_steps(tmp_path, changes, steps):
    assert Trainer(Toy(), replace(SCHEDULE, **changes), options(tmp_path)).steps == steps


def test_the_average_is_what_is_validated_and_written(tmp_path, every_step):
    schedule = replace(SCHEDULE, average=0.9, optimizer="sgd")

    class Watched(Toy):
        def losses(self, network, batch):
            self.weights.append(network[4].weight.detach().clone())
            return super().losses(network, batch)

    task = Watched()
    task.weights = []
    trainer = Trainer(task, schedule, options(tmp_path))
    trainer.run()
    after = [*task.weights[1:], trainer.network[4].weight.detach()]
    average = task.weights[0]
    for step, new in enumerate(after):
        keep = min(0.9, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * new
    torch.testing.assert_close(weights(tmp_path / "final.pt")["4.weight"], average)
    assert_equal(weights(tmp_path / "last.pt"), trainer.network.state_dict())


def test_weight_decay_leaves_biases_and_normalisation_alone(tmp_path):
    class Idle(Toy):
        def losses(self, network, batch):
            return {"loss": 0 * network(batch["picture"]).sum()}

    task = Idle()
    torch.nn.init.ones_(task.network[0].bias)
    before = {name: value.clone() for name, value in task.network.named_parameters()}
    schedule = replace(SCHEDULE, optimizer="adamw", weight_decay=0.5)
    Trainer(task, schedule, options(tmp_path)).run()
    shrunk = (1 - 0.02 * 0.5) ** 30
    for name, value in task.network.named_parameters():
        wanted = before[name] * (shrunk if value.ndim > 1 else 1)
        torch.testing.assert_close(value.detach(), wanted)


def test_the_trunk_is_trained_at_a_share_of_the_rate(tmp_path):
    class Idle(Toy):
        def losses(self, network, batch):
            return {"loss": 0 * network(batch["picture"]).sum()}

    task = Idle(norm=False)
    last = [name for name, value in task.network.named_parameters() if value.ndim > 1][-1]
    task.network.trunk_keys = (last,)
    before = {name: value.clone() for name, value in task.network.named_parameters()}
    schedule = replace(SCHEDULE, optimizer="adamw", weight_decay=0.5, trunk_rate=0.1)
    Trainer(task, schedule, options(tmp_path)).run()
    for name, value in task.network.named_parameters():  # decay goes with the rate
        rate = 0.0 if value.ndim == 1 else 0.002 if name == last else 0.02
        torch.testing.assert_close(value.detach(), before[name] * (1 - rate * 0.5) ** 30)


def test_clipped_gradients_move_the_weights_no_further(tmp_path):
    schedule = replace(SCHEDULE, samples=8, optimizer="sgd", learning_rate=1.0, clip=0.01)
    task = Toy()
    before = [value.detach().clone() for value in task.network.parameters()]
    Trainer(task, schedule, options(tmp_path)).run()
    moves = [
        (value.detach() - old).square().sum()
        for value, old in zip(task.network.parameters(), before, strict=True)
    ]
    assert float(sum(moves)) ** 0.5 == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss", "largest"])
def test_a_loss_that_is_not_finite_stops_the_training(tmp_path, value, name):
    class Bad(Toy):
        def losses(self, network, batch):
            losses = super().losses(network, batch)
            return {**losses, name: losses[name] * value} if len(self.seen) > 12 else losses

    trainer = Trainer(Bad(), SCHEDULE, options(tmp_path))
    with pytest.raises(OptionError, match=r"at step 12; .* lower learning_rate"):
        trainer.run()
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values())
    assert read_checkpoint(tmp_path / "last.pt").extra["step"] == 10


def test_bfloat16(tmp_path):
    exact, coarse = Toy(), Toy()
    Trainer(exact, SCHEDULE, options(tmp_path / "a")).run()
    Trainer(coarse, SCHEDULE, options(tmp_path / "b", precision="bf16")).run()
    assert coarse.seen != exact.seen
    assert coarse.seen[-1] == pytest.approx(exact.seen[-1], rel=0.2)
    assert all(v.dtype != torch.bfloat16 for v in weights(tmp_path / "b" / "final.pt").values())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
    ],
)
def test_options_that_cannot_be_met_are_refused(tmp_path, changes, told):
    with pytest.raises(OptionError, match=told):
        Trainer(Toy(), SCHEDULE, options(tmp_path, **changes))
    assert not list(tmp_path.iterdir())


def test_a_missing_gpu_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="finds no GPU"):
        Trainer(Toy(), SCHEDULE, options(tmp_path, device="cuda"))


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match=r"last\.pt is missing: there is no training"):
        Trainer(Toy(), SCHEDULE, options(tmp_path / "none", resume=True))
    assert not (tmp_path / "none").exists()


def test_a_training_is_not_overwritten(tmp_path):
    trained(tmp_path)
    before = (tmp_path / "log.jsonl").read_text()
    with pytest.raises(OptionError, match="holds a training already; resume it"):
        Trainer(Toy(), SCHEDULE, options(tmp_path))
    assert (tmp_path / "log.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("schedule", "toy", "error", "told"),
    [
        (replace(SCHEDULE, learning_rate=0.03), {}, OptionError, "schedule"),
        (SCHEDULE, {"seed": 1}, OptionError, "'seed': 0"),
        (SCHEDULE, {"norm": False}, CheckpointError, "does not fit"),
    ],
)
def test_another_training_is_not_resumed(tmp_path, schedule, toy, error, told):
    trained(tmp_path)
    with pytest.raises(error, match=told):
        Trainer(Toy(**toy), schedule, options(tmp_path, resume=True))


def test_only_checkpoints_of_trainings_are_resumed(tmp_path):
    trained(tmp_path)
    (tmp_path / "final.pt").replace(tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of a training"):
        Trainer(Toy(), SCHEDULE, options(tmp_path, resume=True))
    (tmp_path / "last.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="no readable PyTorch checkpoint"):
        Trainer(Toy(), SCHEDULE, options(tmp_path, resume=True))


def test_errors_of_the_data_come_as_they_are(tmp_path):
    class Damaged(Toy):
        def __init__(self):
            super().__init__()
            self.mixture.sources[0].sample = self.fail

        def fail(self, index, rng):
            raise SourceError("a picture is damaged")

    with pytest.raises(SourceError, match=r"^a picture is damaged$"):
        Trainer(Damaged(), SCHEDULE, options(tmp_path, workers=1)).run()


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"log\.jsonl"):
        Trainer(Toy(), SCHEDULE, options(tmp_path / "file"))


def test_schedules_are_plain_in_checkpoints(tmp_path):
    """They are read without running code, with lists for tuples."""
    trained(tmp_path, replace(SCHEDULE, milestones=(1.0, 2.5)))
    stored = read_checkpoint(tmp_path / "last.pt").extra["schedule"]
    assert stored["milestones"] == [1.0, 2.5]
    assert Schedule(**{**stored, "milestones": (1.0, 2.5)}) == replace(
        SCHEDULE, milestones=(1.0, 2.5)
    )
