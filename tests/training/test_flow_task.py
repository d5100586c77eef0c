"""Training of the flow network: its data by recipe, its figures, and that it can learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flowtrack.errors import OptionError, SourceError
from flowtrack.flo import write_flo
from flowtrack.training.checkpoints import save_flow
from flowtrack.training.data.loader import stack
from flowtrack.training.models import FlowNet2S
from flowtrack.training.recipe import FlowNetworkOptions, FlowRecipe, PairSource, read_recipe
from flowtrack.training.tasks.flow import FlowTask, predicted

SMALL = FlowNetworkOptions(width=0.125, input=(64, 64))
CHAIRS = PairSource("chairs", count=6, size=(72, 80), scale=0.15, held_out=0.34)


def task(folder, *sources, validation=(), network=SMALL, init=None):
    recipe = FlowRecipe(sources, validation, network, seed=4)
    return FlowTask(recipe, folder, init=init)


def test_drawn_pairs_are_split_and_cropped(tmp_path):
    trained = task(tmp_path, CHAIRS)
    assert trained.mixture.epoch == 4
    sample = trained.mixture[0]
    assert sample["previous"].shape == (64, 64, 3)
    assert sample["uv"].shape == (2, 64, 64)
    figures = trained.validate(trained.network.eval(), torch.device("cpu"))
    assert set(figures) == {"epe", "epe_chairs", "zero_chairs"}
    assert figures["zero_chairs"] > 0


def test_two_sources_of_a_kind_have_figures_of_their_own_and_less_motion_is_less(tmp_path):
    slow = PairSource("chairs", count=6, size=(72, 80), scale=0.15, motion=0.1, held_out=0.34)
    trained = task(tmp_path, CHAIRS, slow)
    figures = trained.validate(trained.network.eval(), torch.device("cpu"))
    assert set(figures) == {"epe", "epe_chairs", "zero_chairs", "epe_chairs_2", "zero_chairs_2"}
    assert 0 < figures["zero_chairs_2"] < 0.5 * figures["zero_chairs"]
    assert figures["epe"] == pytest.approx((figures["epe_chairs"] + figures["epe_chairs_2"]) / 2)


def test_clips_of_people_are_a_source(tmp_path):
    trained = task(tmp_path, PairSource("people", count=3, size=(64, 96)))
    assert trained.mixture.epoch == 3
    assert len(trained.mixture.sources) == 1


def test_a_folder_of_pairs_is_validated_at_its_own_size(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    for name in ("00000-img0.ppm", "00000-img1.ppm"):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 255, (70, 100, 3), np.uint8))
    write_flo(tmp_path / "00000-gt.flo", np.full((2, 70, 100), 3.0, np.float32))
    trained = task(
        tmp_path, CHAIRS, validation=[PairSource("pairs", folders=(".",))], network=SMALL
    )
    figures = trained.validate(trained.network.eval(), torch.device("cpu"))
    assert figures["zero_pairs"] == pytest.approx(np.sqrt(18), rel=1e-5)


def test_pictures_of_any_size_get_a_flow_in_their_own_pixels():
    class Still(FlowNet2S):
        def forward(self, previous, current):
            assert previous.shape[-2:] == (128, 64)
            return torch.ones(len(previous), 2, 128, 64)

    flow = predicted(Still(0.125).eval(), torch.zeros(1, 3, 100, 90), torch.zeros(1, 3, 100, 90))
    assert flow.shape == (1, 2, 100, 90)
    assert torch.allclose(flow[0, 0], torch.tensor(90 / 64))
    assert torch.allclose(flow[0, 1], torch.tensor(100 / 128))


def test_one_pair_is_learnt(tmp_path):
    trained = task(tmp_path, PairSource("chairs", count=1, size=(64, 64), scale=0.15))
    batch = stack([trained.mixture.sources[0].source.sample(0, np.random.default_rng(0))])
    optimizer = torch.optim.Adam(trained.network.parameters(), 1e-3)
    losses = []
    for _ in range(60):
        loss = trained.losses(trained.network.train(), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.4 * losses[0]


def test_a_checkpoint_of_another_width_is_refused(tmp_path):
    save_flow(tmp_path / "wide.pt", FlowNet2S(0.25))
    with pytest.raises(OptionError, match=r"width 0\.25, expected the recipe's 0\.125"):
        task(tmp_path, CHAIRS, init=tmp_path / "wide.pt")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (PairSource("pairs"), OptionError),
        (PairSource("pairs", folders=("none",)), SourceError),
        (PairSource("chairs", folders=("none",)), SourceError),
        (PairSource("chairs", count=2, size=(64, 64), held_out=0.9), OptionError),
    ],
)
def test_bad_sources_are_refused(tmp_path, source, error):
    with pytest.raises(error):
        task(tmp_path, source)


@pytest.mark.parametrize("entry", ["scale", "motion"])
def test_what_only_drawn_pairs_have_is_refused_elsewhere(entry):
    changed = f'data=[{{kind="people", {entry}=0.5}}]'
    with pytest.raises(OptionError, match=f"{entry} is 0.5 in a source of the kind people"):
        read_recipe(FlowRecipe, "default-flow", [changed])


@pytest.mark.parametrize(
    "name", ["default-flow", "default-flow:small", "default-flow:middle", "chairs-flow"]
)
def test_recipes_of_flow_networks_parse(name):
    assert FlowNet2S(read_recipe(FlowRecipe, name).network.width).width in (0.25, 1)
