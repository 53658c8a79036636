"""The runs whose compiled steps, and CUDA graphs of them, are compared with plain ones: every part of a model among
them, with dropout, evaluations and probes between steps, seeds together and alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gpt.runner.checks.parity_cases import BF16_SPLIT_BOUND, SEPARATE, TOGETHER, Case

FAST_BOUND = 1e-4
"""largest relative error of fp32 steps, whose fused kernels add up in another order"""

VARIANTS: dict[str, dict[str, Any]] = {
    "learned positions, Post-LN": {"model.position": "learned", "model.norm_placement": "post", "model.dropout": 0.2},
    "RoPE, Pre-LN, SwiGLU, RMSNorm": {
        "model.position": "rope", "model.norm_placement": "pre", "model.mlp": "swiglu", "model.norm": "rmsnorm",
        "model.width": 36,
    },
    "ALiBi, Peri-LN, ReLU": {
        "model.position": "alibi", "model.norm_placement": "peri", "model.mlp": "relu", "model.qk_norm": True,
        "model.tie_embeddings": False,
    },
    "sinusoidal positions, Post-LN": {
        "model.position": "sinusoidal", "model.norm_placement": "post", "model.init": "gpt2", "model.width": 36,
        "optim.clip": None,
    },
    "no positions": {"model.position": "none"},
    "Post-LN, bf16": {"model.norm_placement": "post", "model.dropout": 0.2, "train.precision": "bf16"},
    "ALiBi, Pre-LN, bf16": {"model.position": "alibi", "train.precision": "bf16"},
}  # fmt: skip
MANY_TOKENS: dict[str, Any] = {
    "model.context": 256, "model.norm_placement": "post", "train.batch_size": 160, "train.precision": "bf16",
}  # fmt: skip
"""with two seeds 81,920 tokens, more than 65,536, in one call of fused attention; too slow for a CPU"""


def step_cases(modes: Sequence[str], device: str) -> list[Case]:
    """The cases of ways of computing steps, values of `train.step`, each run's after its plain one."""
    listed: list[Case] = []
    variants = VARIANTS | ({"many tokens, bf16": MANY_TOKENS} if device == "cuda" else {})
    for index, (name, values) in enumerate(variants.items()):
        seeds = SEPARATE if index % 2 else TOGETHER
        bound = BF16_SPLIT_BOUND if values.get("train.precision") == "bf16" else FAST_BOUND
        listed += _in_modes(modes, name, values, seed_batches=seeds, bound=bound)
    micro = _in_modes(modes, "micro-batches", {}, seed_batches=TOGETHER, bound=FAST_BOUND, micro_batch=4)
    return [*listed, *micro] if modes else []


def _in_modes(modes: Sequence[str], name: str, values: Mapping[str, Any], **layout: Any) -> list[Case]:
    plain = f"plain steps: {name}"
    fast = {f"{mode} steps: {name}": mode for mode in modes}
    return [
        Case(case, 1, plain, values={**values, "train.step": step}, watched=True, **layout)
        for case, step in {plain: "eager", **fast}.items()
    ]
