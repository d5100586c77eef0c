"""Losses against plain loops."""

import math

import pytest
import torch

from flowtrack.training.losses import center_loss, joint_loss
from flowtrack.training.models import CenterMaps
from flowtrack.training.targets import CenterTargets, center_targets


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_joint_loss_is_that_of_the_paper():
    predicted, target = torch.rand(2, 3, 5, 4, 4, generator=generator(1))
    weight = torch.tensor([[1, 0, 1, 0.5, 1], [0, 1, 1, 1, 0]] + [[1.0] * 5])
    total = 0.0
    for joint in range(5):  # JointsMSELoss: one mean a joint, over all pictures and cells
        squared = [
            (float(weight[n, joint]) * float(predicted[n, joint, y, x] - target[n, joint, y, x]))
            ** 2
            for n in range(3)
            for y in range(4)
            for x in range(4)
        ]
        total += 0.5 * sum(squared) / len(squared)
    assert float(joint_loss(predicted, target, weight)) == pytest.approx(total / 5, rel=1e-5)


def random_case(seed):
    rng = generator(seed)
    maps = CenterMaps(
        torch.randn(2, 1, 6, 8, generator=rng),
        torch.randn(2, 2, 6, 8, generator=rng) + 3,
        torch.rand(2, 2, 6, 8, generator=rng),
    )
    corner = torch.rand(2, 3, 2, generator=rng) * 14
    boxes = torch.cat((corner, corner + 4 + 6 * torch.rand(2, 3, 2, generator=rng)), 2)
    person = torch.tensor([[True, True, False], [False, True, False]])
    ignored = torch.tensor([[False, False, True], [True, False, False]])
    return maps, center_targets(boxes, person, ignored, (6, 8), 4)


def looped(maps, target):
    """Equations 1 to 4 of Zhou et al. 2019, with alpha 2 and beta 4."""
    people = sum(float(p) for p in target.person.flatten())
    centre = size = offset = 0.0
    for n in range(2):
        for y in range(6):
            for x in range(8):
                p = 1 / (1 + math.exp(-float(maps.heatmap[n, 0, y, x])))
                wanted = float(target.heatmap[n, 0, y, x])
                if wanted == 1:
                    centre -= (1 - p) ** 2 * math.log(p)
                elif target.counted[n, 0, y, x]:
                    centre -= (1 - wanted) ** 4 * p**2 * math.log(1 - p)
        for m in range(3):
            if target.person[n, m]:
                y, x = divmod(int(target.cell[n, m]), 8)
                for axis in range(2):
                    size += abs(float(maps.size[n, axis, y, x] - target.size[n, m, axis]))
                    offset += abs(float(maps.offset[n, axis, y, x] - target.offset[n, m, axis]))
    return {
        "centre": centre / people,
        "size": size / people,
        "offset": offset / people,
        "loss": (centre + 0.1 * size + offset) / people,
    }


@pytest.mark.parametrize("seed", range(4))
def test_center_loss_is_that_of_the_paper(seed):
    maps, target = random_case(seed)
    found = {name: float(value) for name, value in center_loss(maps, target).items()}
    assert found == pytest.approx(looped(maps, target), rel=1e-4)


def test_padding_and_ignored_regions_bear_no_gradient():
    maps, target = random_case(0)
    maps = CenterMaps(*(m.clone().requires_grad_() for m in maps))
    center_loss(maps, target)["loss"].backward()
    assert (maps.heatmap.grad[target.counted == 0] == 0).all()
    assert (target.counted == 0).any()
    at_people = torch.zeros(2, 48, dtype=torch.bool)
    for n, m in target.person.nonzero().tolist():
        at_people[n, target.cell[n, m]] = True
    assert (maps.size.grad.flatten(2)[:, 0] != 0).equal(at_people)


def test_without_people_only_false_finds_cost():
    maps, target = random_case(0)
    nobody = torch.zeros_like(target.person)
    empty = CenterTargets(
        torch.zeros_like(target.heatmap), torch.ones_like(target.counted),
        target.cell, target.size, target.offset, nobody,
    )  # fmt: skip
    found = center_loss(maps, empty)
    p = maps.heatmap.sigmoid()
    assert float(found["centre"]) == pytest.approx(float(-(p**2 * (1 - p).log()).sum()), rel=1e-4)
    assert float(found["size"]) == float(found["offset"]) == 0


def test_certain_predictions_stay_finite():
    maps, target = random_case(0)
    for logit in (-200.0, 200.0):
        heatmap = torch.full_like(maps.heatmap, logit).requires_grad_()
        loss = center_loss(maps._replace(heatmap=heatmap), target)["loss"]
        loss.backward()
        assert loss.isfinite()
        assert heatmap.grad.isfinite().all()


def test_what_is_wanted_costs_next_to_nothing():
    maps, target = random_case(1)
    heatmap = torch.where(target.heatmap == 1, 30.0, -30.0)
    size, offset = torch.zeros(2, 2, 48), torch.zeros(2, 2, 48)
    for n, m in target.person.nonzero().tolist():
        size[n, :, target.cell[n, m]] = target.size[n, m]
        offset[n, :, target.cell[n, m]] = target.offset[n, m]
    perfect = CenterMaps(heatmap, size.view(2, 2, 6, 8), offset.view(2, 2, 6, 8))
    assert float(center_loss(perfect, target)["loss"]) < 1e-6
    assert float(center_loss(maps, target)["loss"]) > 1
