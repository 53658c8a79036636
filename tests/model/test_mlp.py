import numpy as np
import pytest
import reference
import torch
from reference import model_config, normal

from gpt.model.intermediates import Intermediates
from gpt.model.mlp import MLPS


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", MLPS)
def test_feed_forward_equals_the_naive_formula(kind: str, bias: bool) -> None:
    mlp = MLPS[kind](model_config(mlp=kind, bias=bias), 2)
    with torch.no_grad():
        for i, parameter in enumerate(mlp.parameters()):
            parameter.copy_(0.5 * normal(*parameter.shape, seed=i))
    x = normal(2, 3, 4, 16, seed=9)
    intermediates = Intermediates(["mlp"])
    y = mlp(x, intermediates)
    for s in range(2):
        w = {name: value[s].detach().double().numpy() for name, value in mlp.named_parameters()}
        inputs = x[s].double().numpy()
        up = inputs @ w["up.weight"] + w.get("up.bias", 0)
        if kind == "swiglu":
            hidden = reference.silu(inputs @ w["gate.weight"] + w.get("gate.bias", 0)) * up
        else:
            hidden = reference.gelu(up) if kind == "gelu" else np.maximum(up, 0)
        torch.testing.assert_close(
            intermediates.values["mlp"][0][s].double(), torch.from_numpy(hidden), atol=1e-5, rtol=1e-5
        )
        expected = torch.from_numpy(hidden @ w["down.weight"] + w.get("down.bias", 0))
        torch.testing.assert_close(y[s].double(), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("kind", "inner"), [("gelu", 1536), ("relu", 1536), ("swiglu", 1024)])
def test_inner_widths_are_the_published_multiples(kind: str, inner: int) -> None:
    """4 D (Vaswani et al. 2017); 2/3 of that for a gated unit (Shazeer 2020, section 3.1)."""
    with torch.device("meta"):
        mlp = MLPS[kind](model_config(mlp=kind, width=384), 1)
    assert mlp.up.weight.shape == (1, 384, inner)
    assert mlp.down.weight.shape == (1, inner, 384)
    assert sum(p.numel() for p in mlp.parameters()) == 8 * 384 * 384
