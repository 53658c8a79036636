"""Text from a trained model."""

import numpy as np
import torch

from gpt import randomness
from gpt.data.tokenizer import Tokenizer
from gpt.model.with_weights import Forward


@torch.no_grad()
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
    ids = tokenizer.encode(prompt).tolist()
    uniform = randomness.uniform(seed, "sampling", characters)
    for u in uniform:
        window_SBT = torch.tensor(ids[-context:]).view(1, 1, -1)
        logits_V = forward(window_SBT)[0][0, 0, -1].double().cpu()
        cumulative_V = torch.softmax(logits_V / temperature, dim=-1).cumsum(-1).numpy()
        ids.append(min(int(np.searchsorted(cumulative_V, u * cumulative_V[-1], side="right")), len(cumulative_V) - 1))
    return tokenizer.decode(np.array(ids))
