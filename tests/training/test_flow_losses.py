"""End-point errors equal plain loops, masks hide what is unknown, gradients stay finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flowtrack.errors import InputError, OptionError
from flowtrack.training.flow_losses import (
    LEVEL_WEIGHTS,
    MultiScaleLoss,
    area_average,
    end_point_error,
)
from flowtrack.training.models import FlowNet2S


def plain_error(predicted, truth, valid):
    """Sum of distances and number of counted pixels, pixel by pixel."""
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    total, count = 0.0, 0
    for n, y, x in np.ndindex(valid.shape):
        if valid[n, y, x]:
            total += math.hypot(*(predicted[n, :, y, x] - truth[n, :, y, x]))
            count += 1
    return total, count


def plain_average(flow, valid, height, width):
    """Means of the valid pixels of each cell, and which cells have any."""
    flow = np.asarray(flow, np.float64)
    samples, _, full_height, full_width = flow.shape
    down, across = full_height // height, full_width // width
    mean, known = np.zeros((samples, 2, height, width)), np.zeros((samples, height, width), bool)
    for n, c, y, x in np.ndindex(mean.shape):
        values = [
            flow[n, c, i, j]
            for i in range(y * down, (y + 1) * down)
            for j in range(x * across, (x + 1) * across)
            if valid[n, i, j]
        ]
        if values:
            mean[n, c, y, x], known[n, y, x] = sum(values) / len(values), True
    return mean, known


def random_case(seed, share=0.6, height=16, width=24, samples=2):
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randn((samples, 2, height, width), generator=generator) * 10
    truth = torch.randn((samples, 2, height, width), generator=generator) * 10
    valid = torch.rand((samples, height, width), generator=generator) < share
    return predicted, truth, valid


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.9, 1.0]))
def test_end_point_error_equals_the_plain_loop(seed, share):
    predicted, truth, valid = random_case(seed, share, 5, 7)
    total, count = plain_error(predicted, truth, valid.numpy())
    assert float(end_point_error(predicted, truth, valid)) == pytest.approx(
        total / max(count, 1), rel=1e-5
    )


def test_without_a_mask_everything_counts():
    predicted, truth, valid = random_case(1, 1.0)
    assert float(end_point_error(predicted, truth)) == pytest.approx(
        float(end_point_error(predicted, truth, valid)), rel=1e-6
    )


@pytest.mark.parametrize("unknown", [math.nan, math.inf, 1e10])
def test_unknown_truth_has_no_influence_not_even_on_gradients(unknown):
    predicted, truth, valid = random_case(2)
    hidden = torch.where(valid[:, None], truth, unknown)
    for loss in (
        end_point_error,
        lambda flow, *rest: MultiScaleLoss((1.0,))((flow,), *rest),
    ):
        gradients, values = [], []
        for target in (truth, hidden):
            flow = predicted.clone().requires_grad_()
            value = loss(flow, target, valid)
            value.backward()
            gradients.append(flow.grad)
            values.append(value.item())
        assert values[0] == values[1]
        assert torch.equal(*gradients)
        assert (gradients[0].movedim(1, -1)[~valid] == 0).all()
        assert (gradients[0].movedim(1, -1)[valid] != 0).all()


def test_a_perfect_prediction_has_a_finite_gradient():
    flow = torch.ones((1, 2, 4, 4), requires_grad=True)
    end_point_error(flow, torch.ones((1, 2, 4, 4))).backward()
    assert torch.equal(flow.grad, torch.zeros_like(flow))


def test_without_any_valid_pixel_the_loss_is_zero():
    predicted, truth, valid = random_case(3)
    predicted.requires_grad_()
    nothing = torch.zeros_like(valid)
    loss = MultiScaleLoss((1.0,))((predicted,), truth, nothing)
    loss.backward()
    assert loss.item() == end_point_error(predicted, truth, nothing).item() == 0.0
    assert torch.equal(predicted.grad, torch.zeros_like(predicted))


@given(st.integers(0, 2**31), st.sampled_from([(4, 6), (8, 24), (1, 1), (16, 3)]))
def test_area_average_equals_the_plain_loop(seed, size):
    _, truth, valid = random_case(seed, 0.3)
    mean, known = area_average(truth, valid, size)
    expected, expected_known = plain_average(truth, valid.numpy(), *size)
    np.testing.assert_allclose(mean.numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(known.numpy(), expected_known)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_multi_scale_loss_equals_the_plain_loop(masked, reduction):
    samples, height, width = 2, 64, 128
    generator = torch.Generator().manual_seed(4)
    truth = torch.randn((samples, 2, height, width), generator=generator) * 30
    valid = torch.rand((samples, height, width), generator=generator) < 0.05
    flows = tuple(
        torch.randn((samples, 2, height // s, width // s), generator=generator)
        for s in (4, 8, 16, 32, 64)
    )
    mask = valid.numpy() if masked else np.ones(valid.shape, bool)
    expected = 0.0
    for flow, weight in zip(flows, (0.005, 0.01, 0.02, 0.08, 0.32), strict=True):
        target, known = plain_average(truth / 20, mask, *flow.shape[-2:])
        total, count = plain_error(flow, target, known)
        expected += weight * total / (count if reduction == "mean" else samples)
    loss = MultiScaleLoss(reduction=reduction)(flows, truth, valid if masked else None)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_the_loss_fits_the_network():
    torch.manual_seed(0)
    network = FlowNet2S(1 / 16).train()
    pictures = torch.rand((2, 3, 64, 128)) * 255
    truth = torch.full((2, 2, 64, 128), 5.0)
    loss = MultiScaleLoss(div_flow=network.div_flow)
    flows = network(pictures, pictures)
    assert len(flows) == len(LEVEL_WEIGHTS)
    exact = [torch.full_like(flow, 5.0 / network.div_flow) for flow in flows]
    assert float(loss(exact, truth)) < 1e-6
    loss(flows, truth).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    assert network.predict_flow6.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("predicted", "truth", "valid", "message"),
    [
        ((1, 2, 4, 4), (1, 2, 4, 5), None, "same"),
        ((1, 3, 4, 4), (1, 3, 4, 4), None, "same"),
        ((2, 4, 4), (2, 4, 4), None, "same"),
        ((1, 2, 4, 4), (1, 2, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool), "valid"),
        ((1, 2, 4, 4), (1, 2, 4, 4), torch.ones(1, 4, 4), "float32"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(predicted, truth, valid, message):
    with pytest.raises(InputError, match=message):
        end_point_error(torch.zeros(predicted), torch.zeros(truth), valid)


def test_levels_that_do_not_fit_are_refused():
    truth = torch.zeros((1, 2, 64, 64))
    with pytest.raises(InputError, match="1 flows for 5 weights"):
        MultiScaleLoss()([truth], truth)
    with pytest.raises(InputError, match="cannot be averaged"):
        MultiScaleLoss((1.0,))([torch.zeros((1, 2, 5, 16))], truth)
    with pytest.raises(InputError, match="same"):
        MultiScaleLoss((1.0,))([torch.zeros((2, 2, 16, 16))], truth)


@pytest.mark.parametrize(
    "wrong",
    [{"weights": ()}, {"weights": (0.0,)}, {"weights": (1.0, -1.0)}, {"div_flow": 0.0},
     {"reduction": "median"}],
    ids=str,
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        MultiScaleLoss(**wrong)
