"""A trained model on longer windows than it was trained on, where its positions have a meaning there."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gpt.config import RunConfig
from gpt.data.batches import spread_windows
from gpt.data.dataset import Dataset
from gpt.model.gpt import GPT
from gpt.model.position import POSITIONS
from gpt.model.with_weights import with_weights
from gpt.probes.long_range import long_range

TIMES = 2
"""windows are so many times as long as the trained context"""


def measure_long_range(
    config: RunConfig, data: Dataset, model: GPT, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The arrays of `gpt.probes.long_range` for one seed's weights, computed in single precision.

    Where positions end with the trained context, so do the windows, as they do on a text too short for longer ones.

    Args:
        model: any of the run's shape, on the device to compute on; its own weights do not matter.
        weights: with a seed axis of length 1.
    """
    trained, position = config.model.context, POSITIONS[config.model.position]
    fits = not position.ends_with_context and len(data.val) > TIMES * trained
    longer = TIMES * trained if fits else trained
    tables = position(config.model.model_copy(update={"context": longer}), 1).to(model.embedding.weight.device)
    forward = with_weights(model, weights, {f"position.{name}": table for name, table in tables.named_buffers()})
    windows_NX = torch.from_numpy(spread_windows(data.val, config.probes.long_range_windows, longer))
    windows_NX = windows_NX.to(model.embedding.weight.device)
    return long_range(forward, windows_NX, trained, config.train.eval_batch_size)
