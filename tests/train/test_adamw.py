from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest
import torch
from reference import NaiveAdamW, model_config, normal, random_model, variants
from torch import nn

from gpt.config import OptimConfig
from gpt.model.init import GAIN, Kind, Matrix
from gpt.train.optim.optimizer import build_optimizer


class Parts(nn.ParameterDict):
    """A matrix and a gain, each of several seeds."""

    kinds: ClassVar[Mapping[str, Kind]] = {"matrix": Matrix(3, 4), "gain": GAIN}


def optim(**changes: object) -> OptimConfig:
    return OptimConfig.model_validate({"lr": 1e-2, "warmup_steps": 0, **changes})


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_gain_and_no_bias_decays_in_any_variant_however_many_seeds_are_stacked(seeds: int) -> None:
    for config in variants(mlp="swiglu"):
        model = random_model(config, seeds)
        groups = build_optimizer(model, optim(weight_decay=0.3)).param_groups
        decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        assert len(decay) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
        for name, parameter in model.named_parameters():
            spared = name.endswith(".bias") or "norm" in name.split(".")[-2]
            assert decay[id(parameter)] == (0.0 if spared else 0.3), (name, config)


def test_settings_reach_every_group() -> None:
    settings = optim(beta1=0.8, beta2=0.7, eps=1e-5, weight_decay=0.3)
    for group in build_optimizer(random_model(model_config()), settings).param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (1e-2, (0.8, 0.7), 1e-5)


@pytest.mark.parametrize(
    "changes", [{}, {"beta1": 0.5, "beta2": 0.9, "eps": 1e-2, "weight_decay": 0.5}, {"weight_decay": 0.0, "beta1": 0.0}]
)
def test_steps_equal_the_naive_algorithm_of_the_paper(changes: dict[str, float]) -> None:
    settings, rates = optim(**changes), [1e-2, 3e-2, 1e-3, 2e-2]
    model = Parts({"matrix": nn.Parameter(normal(2, 3, 4)), "gain": nn.Parameter(normal(2, 4, seed=1))})
    naive = {
        name: NaiveAdamW(
            parameter.detach().double().numpy().copy(),
            settings.beta1,
            settings.beta2,
            settings.eps,
            settings.weight_decay if name == "matrix" else 0.0,
        )
        for name, parameter in model.items()
    }
    optimizer = build_optimizer(model, settings)
    for step, lr in enumerate(rates):
        for i, (name, parameter) in enumerate(model.items()):
            parameter.grad = normal(*parameter.shape, seed=10 * step + i)
            naive[name].update(parameter.grad.double().numpy(), lr)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        for name, parameter in model.items():
            np.testing.assert_allclose(parameter.detach().numpy(), naive[name].weight, rtol=1e-5, atol=1e-6)


def test_the_first_step_has_the_size_of_the_rate_whatever_the_gradient() -> None:
    """Kingma and Ba 2015, section 2.1: bias correction makes the first update lr * sign(gradient)."""
    model = Parts({"matrix": nn.Parameter(torch.zeros(1, 2, 3))})
    model["matrix"].grad = torch.tensor([[[1e-3, -1.0, 50.0], [-1e-3, 2.0, -7.0]]])
    build_optimizer(model, optim()).step()
    torch.testing.assert_close(model["matrix"].detach(), -1e-2 * model["matrix"].grad.sign(), rtol=1e-4, atol=0)


def test_a_model_without_matrices_or_without_gains_has_one_group() -> None:
    only_matrix = Parts({"matrix": nn.Parameter(torch.zeros(1, 2, 3))})
    only_gain = Parts({"gain": nn.Parameter(torch.zeros(1, 2))})
    assert [g["weight_decay"] for g in build_optimizer(only_matrix, optim()).param_groups] == [0.1]
    assert [g["weight_decay"] for g in build_optimizer(only_gain, optim()).param_groups] == [0.0]
