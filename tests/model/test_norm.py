import pytest
import reference
import torch
from reference import model_config, normal

from gpt.model.norm import NORMS, LayerNorm, Norm, RMSNorm


def filled(norm: Norm) -> Norm:
    with torch.no_grad():
        for i, parameter in enumerate(norm.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=i + 1))
    return norm


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 4, 5)])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_norm_equals_the_naive_one_with_each_seeds_gain_and_shift(
    seeds: int, shape: tuple[int, ...], bias: bool
) -> None:
    norm = filled(LayerNorm(model_config(bias=bias), seeds, 8))
    x = 3 * normal(seeds, *shape, 8) + 2
    for s in range(seeds):
        gain = norm.weight[s].detach().double().numpy()
        shift = norm.bias[s].detach().double().numpy() if bias else 0.0
        expected = torch.from_numpy(reference.layer_norm(x[s].double().numpy(), gain, shift))
        torch.testing.assert_close(norm(x)[s].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 4, 5)])
def test_rms_norm_equals_the_naive_one_with_each_seeds_gain(seeds: int, shape: tuple[int, ...]) -> None:
    norm = filled(RMSNorm(model_config(), seeds, 8))
    x = 3 * normal(seeds, *shape, 8) + 2
    for s in range(seeds):
        gain = norm.weight[s].detach().double().numpy()
        expected = torch.from_numpy(reference.rms_norm(x[s].double().numpy(), gain))
        torch.testing.assert_close(norm(x)[s].double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_small_inputs_meet_the_same_guard_as_in_pytorch(kind: str, scale: float) -> None:
    """The guard against division by zero shows where the variance is near it."""
    theirs = {
        "layernorm": torch.nn.LayerNorm(8, eps=1e-5, bias=False),
        "rmsnorm": torch.nn.RMSNorm(8, eps=1e-5),
    }[kind]
    ours = filled(NORMS[kind](model_config(), 1, 8))
    with torch.no_grad():
        theirs.weight.copy_(ours.weight[0])
    x = (scale * normal(1, 4, 8)).requires_grad_()
    gradient = normal(1, 4, 8, seed=5)
    torch.testing.assert_close(ours(x), theirs(x))
    got = torch.autograd.grad(ours(x), (x, ours.weight), gradient)
    expected = torch.autograd.grad(theirs(x), (x, theirs.weight), gradient)
    torch.testing.assert_close(got[0], expected[0])
    torch.testing.assert_close(got[1][0], expected[1])


def test_rms_norm_has_no_shift() -> None:
    assert [name for name, _ in RMSNorm(model_config(bias=True), 2, 8).named_parameters()] == ["weight"]
