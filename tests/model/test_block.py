"""Whole blocks against PyTorch's own Transformer layer."""

import pytest
import torch
from reference import model_config, normal
from torch import Tensor, nn

from gpt.model.block import Block
from gpt.model.intermediates import Intermediates
from gpt.model.position import NoPosition

SEEDS, WIDTH, HEADS = 2, 16, 4


def block_of(**changes: object) -> Block:
    config = model_config(heads=HEADS, bias=True, **changes)
    block = Block(config, SEEDS, layer=0)
    with torch.no_grad():
        for i, (name, parameter) in enumerate(block.named_parameters()):
            gain = parameter.ndim == 2 and name.endswith("weight")
            parameter.copy_(gain + 0.3 * normal(*parameter.shape, seed=i))
    return block


def run(block: Block, x: Tensor) -> Tensor:
    return block(x, NoPosition(model_config(), SEEDS), None, Intermediates())


def pairs(block: Block, theirs: nn.TransformerEncoderLayer) -> list[tuple[Tensor, Tensor, bool]]:
    """Parameters of both that are the same thing; whether PyTorch holds the transpose."""
    attention, mlp = block.attention, block.mlp
    linear = [
        (attention.qkv, theirs.self_attn.in_proj_weight, theirs.self_attn.in_proj_bias),
        (attention.out, theirs.self_attn.out_proj.weight, theirs.self_attn.out_proj.bias),
        (mlp.up, theirs.linear1.weight, theirs.linear1.bias),
        (mlp.down, theirs.linear2.weight, theirs.linear2.bias),
    ]
    norms = [(block.attention_residual.norm, theirs.norm1), (block.mlp_residual.norm, theirs.norm2)]
    return [
        *((ours.weight, weight, True) for ours, weight, _ in linear),
        *((ours.bias, bias, False) for ours, _, bias in linear),
        *((ours.weight, norm.weight, False) for ours, norm in norms),
        *((ours.bias, norm.bias, False) for ours, norm in norms),
    ]


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_a_block_equals_pytorchs_encoder_layer_in_outputs_and_gradients(placement: str, activation: str) -> None:
    block = block_of(norm_placement=placement, mlp=activation)
    x = normal(SEEDS, 3, 9, WIDTH, seed=90).requires_grad_()
    gradient = normal(SEEDS, 3, 9, WIDTH, seed=91)
    y = run(block, x)
    y.backward(gradient)
    for s in range(SEEDS):
        theirs = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, activation, batch_first=True, norm_first=placement == "pre", bias=True
        )
        with torch.no_grad():
            for ours, parameter, transposed in pairs(block, theirs):
                parameter.copy_(ours[s].T if transposed else ours[s])
        their_x = x[s].detach().requires_grad_()
        mask = nn.Transformer.generate_square_subsequent_mask(9)
        their_y = theirs(their_x, src_mask=mask, is_causal=True)
        their_y.backward(gradient[s])
        torch.testing.assert_close(y[s], their_y, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(x.grad[s], their_x.grad, atol=2e-5, rtol=1e-4)
        compared = pairs(block, theirs)
        assert len(compared) == len(list(block.parameters())) == len(list(theirs.parameters()))
        for ours, parameter, transposed in compared:
            expected = parameter.grad.T if transposed else parameter.grad
            torch.testing.assert_close(ours.grad[s], expected, atol=5e-5, rtol=1e-4)


def test_a_peri_norm_block_normalises_what_goes_in_and_what_comes_out() -> None:
    """Kim et al. 2025, Peri-LN: x + norm(f(norm(x))), here with PyTorch's norms around the block's own sublayers."""
    block = block_of(norm_placement="peri")
    x = expected = normal(SEEDS, 3, 9, WIDTH, seed=90)

    def norm(module: nn.Module, x: Tensor) -> Tensor:
        parts = (nn.functional.layer_norm(x[s], [WIDTH], module.weight[s], module.bias[s]) for s in range(SEEDS))
        return torch.stack(list(parts))

    sublayers = [
        (block.attention_residual, lambda x: block.attention(x, NoPosition(model_config(), SEEDS), Intermediates())),
        (block.mlp_residual, lambda x: block.mlp(x, Intermediates())),
    ]
    for residual, sublayer in sublayers:
        expected = expected + norm(residual.norm_out, sublayer(norm(residual.norm, expected)))
    torch.testing.assert_close(run(block, x), expected, atol=1e-5, rtol=1e-5)


def test_post_norm_leaves_the_stream_normalised_and_pre_norm_does_not() -> None:
    x = 5 * normal(SEEDS, 3, 9, WIDTH)
    for placement, normalised in (("pre", False), ("peri", False), ("post", True)):
        block = block_of(norm_placement=placement)
        with torch.no_grad():
            for residual in (block.attention_residual, block.mlp_residual):
                residual.norm.weight.fill_(1.0)
                residual.norm.bias.zero_()
        y = run(block, x)
        at_unit_variance = torch.allclose(y.var(-1, correction=0), torch.ones(SEEDS, 3, 9), atol=1e-3)
        assert at_unit_variance == normalised, placement
