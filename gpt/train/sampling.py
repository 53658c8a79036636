"""Text from trained models.

Shapes: S seed, N character, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch

from gpt import randomness
from gpt.data.tokenizer import Tokenizer
from gpt.model.with_weights import Forward


def sample_text(
    forward: Forward,
    tokenizer: Tokenizer,
    context: int,
    prompt: str,
    characters: int,
    temperature: float,
    seed: int,
) -> str:
    """The prompt and `characters` more, drawn one by one; the same seed gives the same text.

    Args:
        forward: one seed's model (S = 1).

    Raises:
        InputError: the prompt has a character that the model was not trained on.
    """
    return sample_texts(forward, tokenizer, context, prompt, characters, temperature, [seed])[0]


@torch.no_grad()
def sample_texts(
    forward: Forward,
    tokenizer: Tokenizer,
    context: int,
    prompt: str,
    characters: int,
    temperature: float,
    seeds: Sequence[int],
) -> list[str]:
    """The same of the models of several seeds at once, one text of each."""
    ids_SN = np.tile(tokenizer.encode(prompt), (len(seeds), 1))
    uniform_SN = np.stack([randomness.uniform(seed, "sampling", characters) for seed in seeds])
    for uniform_S in uniform_SN.T:
        window_SBT = torch.from_numpy(ids_SN[:, -context:]).unsqueeze(1)
        logits_SV = forward(window_SBT)[0][:, 0, -1].double().cpu()
        cumulative_SV = torch.softmax(logits_SV / temperature, dim=-1).cumsum(-1).numpy()
        drawn = [
            min(int(np.searchsorted(cumulative_V, u * cumulative_V[-1], side="right")), len(cumulative_V) - 1)
            for u, cumulative_V in zip(uniform_S, cumulative_SV, strict=True)
        ]
        ids_SN = np.column_stack([ids_SN, np.array(drawn, dtype=ids_SN.dtype)])
    return [tokenizer.decode(ids_N) for ids_N in ids_SN]
