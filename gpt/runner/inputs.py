"""The data of a run, with everything that could refuse them later refused now."""

from pathlib import Path

from gpt.config import RunConfig
from gpt.data.dataset import Dataset, load_dataset
from gpt.errors import InputError


def load_data(config: RunConfig, cache: Path) -> Dataset:
    """The run's corpus, long enough for its context, and with every character of its prompt.

    Raises:
        InputError: see `load_dataset`; or names the prompt's unknown character.
    """
    data = load_dataset(config.data, config.model.context, cache)
    if config.sample.characters:
        try:
            data.tokenizer.encode(config.sample.prompt)
        except InputError as error:
            raise InputError(f"sample.prompt: {error}") from None
    return data
