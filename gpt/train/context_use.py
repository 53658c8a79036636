"""A trained model on longer windows than it was trained on, where its positions have a meaning there."""

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.batches import spread_windows
from gpt.data.dataset import Dataset
from gpt.model.gpt import GPT
from gpt.model.position import POSITIONS
from gpt.probes.long_range import long_range

TIMES = 2
"""windows are so many times as long as the trained context"""


def measure_long_range(config: RunConfig, data: Dataset, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The arrays of `gpt.probes.long_range` for one seed's weights, computed in single precision.

    Where positions end with the trained context, so do the windows, as they do on a text too short for longer ones.
    """
    trained, fixed = config.model.context, POSITIONS[config.model.position].ends_with_context
    longer = TIMES * trained if not fixed and len(data.val) > TIMES * trained else trained
    shape = config.model.model_copy(update={"context": longer})
    model = GPT(shape, data.tokenizer.vocabulary_size, seeds=1).to(next(iter(weights.values())).device)
    model.load_state_dict({name: value[None] for name, value in weights.items()})
    windows_NX = torch.from_numpy(spread_windows(data.val, config.probes.long_range_windows, longer))
    return long_range(model, windows_NX.to(model.embedding.weight.device), trained, config.train.eval_batch_size)
