"""Naive versions of the model's parts in NumPy, double precision and loops, and the small configurations to compare on.

Shapes as in `gpt.model`, without the seed axis: T position, U key position, K head width, D model width, V vocabulary.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erf

from gpt.config import ModelConfig, OptimConfig, RunConfig, TrainConfig
from gpt.model.gpt import GPT

Array = NDArray[np.float64]

POSITIONS = ("none", "learned", "sinusoidal", "rope", "alibi")
PLACEMENTS = ("pre", "post", "peri")
VOCABULARY = 11


def model_config(**changes: Any) -> ModelConfig:
    """Two layers, two heads, 16 wide, 12 characters of context."""
    small = {"layers": 2, "heads": 2, "width": 16, "context": 12, "position": "rope", "norm_placement": "pre"}
    return ModelConfig.model_validate({**small, **changes})


def run_config(
    optim: Mapping[str, Any] | None = None, train: Mapping[str, Any] | None = None, **model: Any
) -> RunConfig:
    """A run of the small model: 50 steps of 4 sequences."""
    return RunConfig(
        model=model_config(**model),
        optim=OptimConfig.model_validate({"lr": 3e-3, "final_lr_ratio": 0.1, "warmup_steps": 5, **(optim or {})}),
        train=TrainConfig.model_validate({"steps": 50, "batch_size": 4, "eval_every": 25, **(train or {})}),
    )


def variants(**fixed: Any) -> Iterator[ModelConfig]:
    """Every combination of the choices that change what the model computes."""
    choices = {
        "position": POSITIONS,
        "norm_placement": PLACEMENTS,
        "norm": ("layernorm", "rmsnorm"),
        "mlp": ("gelu", "relu", "swiglu"),
        "qk_norm": (False, True),
        "bias": (False, True),
        "tie_embeddings": (False, True),
    }
    open_choices = {key: values for key, values in choices.items() if key not in fixed}
    for values in itertools.product(*open_choices.values()):
        yield model_config(**dict(zip(open_choices, values, strict=True)), **fixed)


def random_model(config: ModelConfig, seeds: int = 1, vocabulary: int = VOCABULARY) -> GPT:
    """A model in which no part is near the identity: large weights, gains that are not 1, shifts that are not 0."""
    model = GPT(config, vocabulary, seeds)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = parameter.ndim == 2 and name.endswith("weight")
            parameter.copy_(gain + 0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def random_tokens(*shape: int, vocabulary: int = VOCABULARY, seed: int = 0) -> torch.Tensor:
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text(length: int, vocabulary: int = VOCABULARY) -> NDArray[np.int64]:
    """Tokens with something to learn in them: each follows from the two before it, one time in ten at random."""
    draws = np.random.RandomState(0)
    tokens = [1, 2]
    for _ in range(length - 2):
        follows = (3 * tokens[-1] + tokens[-2] + 1) % vocabulary
        tokens.append(int(draws.randint(vocabulary)) if draws.rand() < 0.1 else follows)
    return np.array(tokens)


def layer_norm(x: Array, gain: Array, shift: Array | float = 0.0) -> Array:
    rows = [
        (row - row.mean()) / math.sqrt(((row - row.mean()) ** 2).mean() + 1e-5) for row in x.reshape(-1, x.shape[-1])
    ]
    return np.stack(rows).reshape(x.shape) * gain + shift


def rms_norm(x: Array, gain: Array) -> Array:
    rows = [row / math.sqrt((row**2).mean() + 1e-5) for row in x.reshape(-1, x.shape[-1])]
    return np.stack(rows).reshape(x.shape) * gain


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def softmax(row: Array) -> Array:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def attention_weights(q_TK: Array, k_UK: Array, bias_TU: Array | None = None) -> Array:
    """One head: each row a softmax over the keys that are not later."""
    length, width = q_TK.shape
    weights_TU = np.zeros((length, length))
    for t in range(length):
        logits = np.array([q_TK[t] @ k_UK[u] / math.sqrt(width) for u in range(t + 1)])
        weights_TU[t, : t + 1] = softmax(logits if bias_TU is None else logits + bias_TU[t, : t + 1])
    return weights_TU


def attend(q_TK: Array, k_UK: Array, v_UK: Array, bias_TU: Array | None = None) -> Array:
    """One head."""
    weights_TU = attention_weights(q_TK, k_UK, bias_TU)
    return np.stack([sum(weights_TU[t, u] * v_UK[u] for u in range(t + 1)) for t in range(len(q_TK))])


def rope(x_TK: Array) -> Array:
    """Pairs (i, i + K/2) as complex numbers, each times a power of its own root."""
    half = x_TK.shape[1] // 2
    out = np.zeros_like(x_TK)
    for t in range(len(x_TK)):
        for i in range(half):
            turned = complex(x_TK[t, i], x_TK[t, i + half]) * complex(math.e) ** (1j * t / 10_000 ** (i / half))
            out[t, i], out[t, i + half] = turned.real, turned.imag
    return out


def sinusoids(length: int, width: int) -> Array:
    table = np.zeros((length, width))
    for t in range(length):
        for i in range(width // 2):
            table[t, 2 * i] = math.sin(t / 10_000 ** (2 * i / width))
            table[t, 2 * i + 1] = math.cos(t / 10_000 ** (2 * i / width))
    return table


def alibi_bias(head: int, heads: int, length: int) -> Array:
    """For a number of heads that is a power of two."""
    return np.array([[-(2 ** (-8 * (head + 1) / heads)) * (t - u) for u in range(length)] for t in range(length)])


def token_losses(logits_TV: Array, targets_T: NDArray[np.int64]) -> Array:
    return np.array([-math.log(softmax(row)[target]) for row, target in zip(logits_TV, targets_T, strict=True)])


class NaiveGPT:
    """One seed's model, from its weights by name and, for training, what each dropout multiplies one sample by."""

    def __init__(
        self, config: ModelConfig, weights: Mapping[str, torch.Tensor], dropout: Mapping[str, Array] | None = None
    ):
        self.config = config
        self.dropout = dropout or {}
        self.weights = {name: value.detach().double().numpy() for name, value in weights.items()}

    def logits(self, tokens_T: NDArray[np.int64]) -> Array:
        w, length, config = self.weights, len(tokens_T), self.config
        x = np.stack([w["embedding.weight"][token] for token in tokens_T])
        if config.position == "learned":
            x = x + w["position.weight"][:length]
        if config.position == "sinusoidal":
            scale = 0.02 if config.init == "gpt2" else 1 / math.sqrt(config.width)
            x = x + scale * sinusoids(length, config.width)
        x = x * self.dropout.get("embedding", 1.0)
        for layer in range(config.layers):
            for part, sublayer in (("attention", self._attention), ("mlp", self._mlp)):
                name = f"blocks.{layer}.{part}"
                if config.norm_placement == "pre":
                    x = x + sublayer(name, self._norm(f"{name}_residual.norm", x))
                elif config.norm_placement == "post":
                    x = self._norm(f"{name}_residual.norm", x + sublayer(name, x))
                else:
                    inner = sublayer(name, self._norm(f"{name}_residual.norm", x))
                    x = x + self._norm(f"{name}_residual.norm_out", inner)
        if config.norm_placement != "post":
            x = self._norm("final_norm", x)
        return x @ (w["embedding.weight"].T if config.tie_embeddings else w["head.weight"])

    def _linear(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"{name}.weight"] + self.weights.get(f"{name}.bias", 0.0)

    def _norm(self, name: str, x: Array) -> Array:
        gain = self.weights[f"{name}.weight"]
        if self.config.norm == "rmsnorm":
            return rms_norm(x, gain)
        return layer_norm(x, gain, self.weights.get(f"{name}.bias", 0.0))

    def _attention(self, name: str, x: Array) -> Array:
        heads, length, width = self.config.heads, len(x), self.config.width // self.config.heads
        q_TD, k_TD, v_TD = np.split(self._linear(f"{name}.qkv", x), 3, axis=1)
        mixed = []
        for h in range(heads):
            q, k, v = (part[:, h * width : (h + 1) * width] for part in (q_TD, k_TD, v_TD))
            if self.config.qk_norm:
                q, k = self._norm(f"{name}.q_norm", q), self._norm(f"{name}.k_norm", k)
            if self.config.position == "rope":
                q, k = rope(q), rope(k)
            bias = alibi_bias(h, heads, length) if self.config.position == "alibi" else None
            mixed.append(attend(q, k, v, bias))
        return self._linear(f"{name}.out", np.concatenate(mixed, axis=1)) * self.dropout.get(name, 1.0)

    def _mlp(self, name: str, x: Array) -> Array:
        up = self._linear(f"{name}.up", x)
        if self.config.mlp == "swiglu":
            hidden = silu(self._linear(f"{name}.gate", x)) * up
        else:
            hidden = np.maximum(up, 0) if self.config.mlp == "relu" else gelu(up)
        return self._linear(f"{name}.down", hidden) * self.dropout.get(name, 1.0)


class NaiveAdamW:
    """One parameter tensor: Loshchilov and Hutter 2019, algorithm 2, with the schedule multiplied into the decay."""

    def __init__(self, weight: Array, beta1: float, beta2: float, eps: float, weight_decay: float):
        self.weight, self.beta1, self.beta2, self.eps, self.weight_decay = weight, beta1, beta2, eps, weight_decay
        self.mean, self.square, self.step = np.zeros_like(weight), np.zeros_like(weight), 0

    def update(self, gradient: Array, lr: float) -> None:
        self.step += 1
        self.mean = self.beta1 * self.mean + (1 - self.beta1) * gradient
        self.square = self.beta2 * self.square + (1 - self.beta2) * gradient**2
        mean = self.mean / (1 - self.beta1**self.step)
        square = self.square / (1 - self.beta2**self.step)
        self.weight = self.weight - lr * (mean / (np.sqrt(square) + self.eps) + self.weight_decay * self.weight)
