import numpy as np
import pytest
import reference
import torch
from reference import POSITIONS, model_config, normal, random_model, random_tokens
from torch import Tensor

from gpt.model.attention import attention_logits, attention_weights, fused_attention
from gpt.model.gpt import GPT
from gpt.model.position import POSITIONS as KINDS

S, B, H, T, K = 2, 3, 4, 7, 8


def queries_keys_values() -> list[Tensor]:
    return [normal(S, B, H, T, K, seed=i) for i in range(3)]


def bias_of(position: str) -> Tensor | None:
    return KINDS[position](model_config(position=position, heads=H), S).bias_HTU(T)


@pytest.mark.parametrize("position", ["none", "alibi"])
def test_weights_are_the_naive_softmax_over_the_past(position: str) -> None:
    q, k, _ = queries_keys_values()
    weights = attention_weights(attention_logits(q, k, bias_of(position)))
    assert weights.shape == (S, B, H, T, T)
    torch.testing.assert_close(weights.sum(-1), torch.ones(S, B, H, T))
    assert not weights.triu(1).any()
    for s, b, h in np.ndindex(S, B, H):
        bias = reference.alibi_bias(h, H, T) if position == "alibi" else None
        expected = reference.attention_weights(q[s, b, h].double().numpy(), k[s, b, h].double().numpy(), bias)
        torch.testing.assert_close(weights[s, b, h].double(), torch.from_numpy(expected), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("position", ["none", "alibi"])
def test_the_fused_kernel_equals_naive_attention(position: str) -> None:
    q, k, v = queries_keys_values()
    mixed = fused_attention(q, k, v, bias_of(position))
    assert mixed.shape == (S, B, H, T, K)
    for s, b, h in np.ndindex(S, B, H):
        bias = reference.alibi_bias(h, H, T) if position == "alibi" else None
        expected = reference.attend(*(x[s, b, h].double().numpy() for x in (q, k, v)), bias)
        torch.testing.assert_close(mixed[s, b, h].double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("position", ["none", "alibi"])
@pytest.mark.parametrize("length", [1, 2, T])
def test_the_fused_kernel_has_the_outputs_and_gradients_of_the_formula(position: str, length: int) -> None:
    q, k, v = (x[..., :length, :].requires_grad_() for x in queries_keys_values())
    bias = bias_of(position)
    bias = None if bias is None else bias[:, :length, :length]
    gradient = normal(S, B, H, length, K, seed=9)
    fused, explicit = fused_attention(q, k, v, bias), attention_weights(attention_logits(q, k, bias)) @ v
    torch.testing.assert_close(fused, explicit, atol=1e-5, rtol=0)
    got = torch.autograd.grad(fused, (q, k, v), gradient)
    for ours, theirs in zip(got, torch.autograd.grad(explicit, (q, k, v), gradient), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_alibis_bias_takes_the_dtype_of_the_queries(dtype: torch.dtype) -> None:
    q, k, v = queries_keys_values()
    fused = fused_attention(q.to(dtype), k.to(dtype), v.to(dtype), bias_of("alibi"))
    assert fused.dtype == dtype
    expected = fused_attention(q, k, v, bias_of("alibi"))
    torch.testing.assert_close(fused.float(), expected, atol=3e-2 if dtype == torch.bfloat16 else 1e-5, rtol=0)


def test_large_logits_do_not_overflow() -> None:
    q, k, v = queries_keys_values()
    fused, explicit = fused_attention(1e4 * q, k, v, None), attention_weights(attention_logits(1e4 * q, k, None)) @ v
    assert explicit.isfinite().all()
    torch.testing.assert_close(fused, explicit, atol=1e-5, rtol=1e-5)


def logits_and_gradients(model: GPT, tokens: Tensor, **options: object) -> tuple[Tensor, list[Tensor]]:
    logits, _ = model(tokens, **options)
    logits.logsumexp(-1).mul(normal(*tokens.shape, seed=3)).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad(set_to_none=True)
    return logits.detach(), gradients


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("position", POSITIONS)
def test_explicit_and_fused_models_agree_in_logits_and_gradients(position: str, qk_norm: bool) -> None:
    tokens = random_tokens(2, 3, 10)
    fused = random_model(model_config(position=position, qk_norm=qk_norm, attention="fused"), seeds=2)
    explicit = random_model(model_config(position=position, qk_norm=qk_norm, attention="explicit"), seeds=2)
    logits, gradients = logits_and_gradients(fused, tokens)
    for model, options in ((explicit, {}), (fused, {"capture": ["attention"]})):
        others, other_gradients = logits_and_gradients(model, tokens, **options)
        torch.testing.assert_close(logits, others, atol=1e-5, rtol=1e-5)
        for ours, theirs in zip(gradients, other_gradients, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_the_kernels_are_really_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, `explicit` could silently take the fused kernel and every comparison would hold."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("fused")

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", refuse)
    tokens = random_tokens(1, 1, 4)
    random_model(model_config(attention="explicit"))(tokens)
    random_model(model_config())(tokens, capture=["attention"])
    with pytest.raises(RuntimeError, match="fused"):
        random_model(model_config())(tokens)
