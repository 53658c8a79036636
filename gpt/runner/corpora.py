"""The data of runs, with everything that could refuse them later refused now."""

from pathlib import Path

from gpt.config import RunConfig
from gpt.data.dataset import Dataset, load_dataset
from gpt.errors import InputError


class Corpora:
    """The texts that the runs of one command learn from, each read and encoded once."""

    def __init__(self, cache: Path):
        """
        Args:
            cache: folder that fetched texts are kept in.
        """
        self.cache = cache
        self._loaded: dict[tuple[str, int], Dataset] = {}

    def __reduce__(self) -> tuple[type["Corpora"], tuple[Path]]:
        return Corpora, (self.cache,)  # another process reads its own

    def load(self, config: RunConfig) -> Dataset:
        """A run's corpus, long enough for its context, and with every character of its prompt.

        Raises:
            InputError: see `load_dataset`; or names the prompt's unknown character.
        """
        key = config.data.model_dump_json(exclude={"order_seed"}), config.model.context
        if key not in self._loaded:
            self._loaded[key] = load_dataset(config.data, config.model.context, self.cache)
        data = self._loaded[key]
        if config.sample.characters:
            try:
                data.tokenizer.encode(config.sample.prompt)
            except InputError as error:
                raise InputError(f"sample.prompt: {error}") from None
        return data
