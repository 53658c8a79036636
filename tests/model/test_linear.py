"""Every product kernel against double precision, on every layout the model hands it."""

import pytest
import torch
from reference import normal
from torch import Tensor

from gpt.model.linear import MATMULS, Linear, matmul, matmul_backend

KERNELS = [(name, seeds) for name in MATMULS for seeds in (1, 3) if (name, seeds) != ("single", 3)]


def layouts(seeds: int, rows: int, inputs: int, outputs: int) -> dict[str, tuple[Tensor, Tensor]]:
    """The same two matrices, laid out in memory in different ways."""
    x, w = normal(seeds, rows, inputs), normal(seeds, inputs, outputs, seed=1)
    return {
        "plain": (x, w),
        "transposed weights": (x, w.transpose(1, 2).contiguous().transpose(1, 2)),
        "transposed rows": (x.transpose(1, 2).contiguous().transpose(1, 2), w),
        "a slice of wider rows": (torch.cat([x, x], dim=2)[..., :inputs], torch.cat([w, w], dim=2)[..., :outputs]),
    }


def run(name: str, x: Tensor, w: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    y = MATMULS[name](x, w)
    return y.detach(), *torch.autograd.grad(y, (x, w), gradient)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(7, 5, 3), (48, 32, 96), (1, 8, 8), (9, 4, 1)])
@pytest.mark.parametrize(("name", "seeds"), KERNELS)
def test_products_and_their_gradients_equal_double_precision(
    name: str, seeds: int, rows: int, inputs: int, outputs: int
) -> None:
    gradient = normal(seeds, rows, outputs, seed=2)
    for layout, (x, w) in layouts(seeds, rows, inputs, outputs).items():
        exact_x, exact_w, exact_gradient = x.double(), w.double(), gradient.double()
        expected = (
            exact_x @ exact_w,
            exact_gradient @ exact_w.transpose(1, 2),
            exact_x.transpose(1, 2) @ exact_gradient,
        )
        for got, exact in zip(run(name, x, w, gradient), expected, strict=True):
            assert got.dtype == torch.float32
            torch.testing.assert_close(got.double(), exact, atol=2e-5, rtol=0, msg=f"{name}, {layout}")


@pytest.mark.parametrize(("name", "seeds"), KERNELS)
def test_gradients_may_come_in_any_layout(name: str, seeds: int) -> None:
    x, w = normal(seeds, 6, 4), normal(seeds, 4, 5, seed=1)
    gradients = {
        "expanded": torch.ones(1, 1, 1).expand(seeds, 6, 5),
        "transposed": normal(seeds, 5, 6, seed=2).transpose(1, 2),
    }
    for layout, gradient in gradients.items():
        for got, expected in zip(run(name, x, w, gradient), run("batched", x, w, gradient.contiguous()), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5, msg=f"{name}, {layout}")


@pytest.mark.parametrize("name", ["batched", "onednn"])
def test_a_seed_alone_has_the_products_it_has_among_others(name: str) -> None:
    x, w, gradient = normal(3, 24, 16), normal(3, 16, 32, seed=1), normal(3, 24, 32, seed=2)
    packed = run(name, x, w, gradient)
    for s in range(3):
        alone = run("single", x[s : s + 1], w[s : s + 1], gradient[s : s + 1])
        for together, single in zip(packed, alone, strict=True):
            torch.testing.assert_close(together[s : s + 1], single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("slow_mkl", [False, True])
@pytest.mark.parametrize("seeds", [1, 3])
def test_every_input_has_a_product_that_takes_it(monkeypatch: pytest.MonkeyPatch, seeds: int, slow_mkl: bool) -> None:
    monkeypatch.setattr("gpt.model.linear.MKL_IS_SLOW", slow_mkl)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for device in ("cpu", "meta"):
            x = torch.zeros(seeds, 3, 4, dtype=dtype, device=device)
            name = matmul_backend(x)
            assert name in MATMULS
            assert name != "onednn" or (slow_mkl and device == "cpu" and dtype == torch.float32)
            y = matmul(x, torch.zeros(seeds, 4, 5, dtype=dtype, device=device))
            assert (y.shape, y.dtype, y.device.type) == ((seeds, 3, 5), dtype, device)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_is_a_product_and_a_shift_for_each_seed(seeds: int, bias: bool) -> None:
    layer = Linear(seeds, 4, 5, bias=bias)
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=i))
    x = normal(seeds, 2, 3, 4, seed=9)
    for s in range(seeds):
        for b in range(2):
            for t in range(3):
                expected = layer.weight[s].T.double() @ x[s, b, t].double()
                if layer.bias is not None:
                    expected = expected + layer.bias[s]
                torch.testing.assert_close(layer(x)[s, b, t].double(), expected, atol=1e-5, rtol=1e-5)
