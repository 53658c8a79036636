"""The data of runs, with everything that could refuse them later refused now."""

from pathlib import Path

from gpt.config import RunConfig
from gpt.data.corpus import load_text
from gpt.data.dataset import Dataset, check_length, make_dataset
from gpt.errors import InputError


class Corpora:
    """The texts that the runs of one command learn from, each read and encoded once."""

    def __init__(self, cache: Path):
        """
        Args:
            cache: folder that fetched texts are kept in.
        """
        self.cache = cache
        self._loaded: dict[tuple[str, float, str], Dataset] = {}

    def __reduce__(self) -> tuple[type["Corpora"], tuple[Path]]:
        return Corpora, (self.cache,)  # another process reads its own

    def load(self, config: RunConfig) -> Dataset:
        """A run's corpus, long enough for its context, and with every character of its prompt.

        Raises:
            InputError: see `load_text`, `make_dataset` and `check_length`; or names the prompt's unknown character.
        """
        key = config.data.source, config.data.val_fraction, config.data.tokenizer
        if key not in self._loaded:
            text, sha256 = load_text(config.data.source, self.cache)
            self._loaded[key] = make_dataset(text, sha256, config.data)
        data = self._loaded[key]
        check_length(data, config.data, config.model.context)
        if config.sample.characters:
            try:
                data.tokenizer.encode(config.sample.prompt)
            except InputError as error:
                raise InputError(f"sample.prompt: {error}") from None
        return data
