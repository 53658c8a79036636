"""A corpus as tokens: what is learned from, what choices are made by, and what verdicts read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt.config import DataConfig
from gpt.data.corpus import load_text
from gpt.data.tokenizer import TOKENIZERS, Tokenizer
from gpt.errors import InputError
from gpt.records.schema import HELDOUT_LOSS, TEST_LOSS, TRAIN_LOSS, VAL_LOSS

Tokens = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """One corpus, ready for training with one length of windows."""

    tokenizer: Tokenizer
    """built on all texts, so that what is held out has no unknown character"""
    train: NDArray[np.int64]
    """tokens of the first part of the text"""
    val: NDArray[np.int64]
    """tokens of the held-out text that choices read: the best step, the best model"""
    test: NDArray[np.int64]
    """tokens of the held-out text that verdicts alone read, none where there is no test text; of one text, its first
    is also the last of `val`, where that is a target and here a beginning
    """
    sha256: str
    """of the text's bytes, hex; of several texts, of their hashes"""

    @cached_property
    def unigram_loss(self) -> float:
        """Validation loss in nats per character of a model that ignores context, see `unigram_loss`."""
        return unigram_loss(self.train, [self.val], self.tokenizer.vocabulary_size)

    @cached_property
    def baselines(self) -> dict[str, Any]:
        """What models that count characters and pairs of them score, nats per character: what a run is judged by that
        learned nothing, and the score of one that failed.
        """
        texts = {TRAIN_LOSS: [self.train], VAL_LOSS: [self.val]}
        if len(self.test):
            texts |= {TEST_LOSS: [self.test], HELDOUT_LOSS: [self.val, self.test]}
        size = self.tokenizer.vocabulary_size
        return {
            "unigram_loss": self.unigram_loss,
            "unigram_losses": {key: unigram_loss(self.train, each, size) for key, each in texts.items()},
            "bigram_loss": bigram_loss(self.train, self.val, size),
        }


def load_dataset(config: DataConfig, context: int, cache: Path) -> Dataset:
    """Load, encode and split a corpus by position, training text as nanoGPT does.

    Args:
        context: length T of a window; each split must hold at least one window and the target of its last character.
        cache: folder that fetched texts are kept in.

    Raises:
        InputError: a split too short for the context, a text of one repeated character; see also `load_text`.
    """
    loaded = [load_text(source, cache) for source in config.texts]
    texts, hashes = [text for text, _ in loaded], [sha256 for _, sha256 in loaded]
    sha256 = hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    data = make_dataset(texts, sha256, config, context)
    _check_length(data, config, context)
    return data


def _check_length(data: Dataset, config: DataConfig, context: int) -> None:
    parts = {"training": data.train, "validation": data.val, **({"test": data.test} if config.has_test else {})}
    if min(map(len, parts.values())) <= context:
        share = f" and data.test_share {config.test_share:g}" if config.has_test else ""
        split = f" with data.val_fraction {config.val_fraction:g}{share}" if config.val_source is None else ""
        raise InputError(
            f"model.context: got {context}, so {' and '.join(parts)} text must each have at least {context + 1} "
            f"characters, got {' and '.join(str(len(part)) for part in parts.values())} from "
            f"{' and '.join(config.texts)}{split}"
        )


def make_dataset(texts: Sequence[str], sha256: str, config: DataConfig, context: int) -> Dataset:
    """Encode texts; a single one is split by position, what is held out of it between two of its windows.

    Args:
        texts: those of `DataConfig.texts`.

    Raises:
        InputError: a text of one repeated character.
    """
    try:
        tokenizer = TOKENIZERS[config.tokenizer].from_text("".join(texts))
    except InputError as error:
        raise InputError(f"data.source: {' and '.join(config.texts)}: {error}") from None
    tokens, *own = [tokenizer.encode(text) for text in texts]
    if own:
        val, test = own
        return Dataset(tokenizer, tokens, val, test, sha256)
    train, held_out = np.split(tokens, [int(len(tokens) * (1 - config.val_fraction))])
    windows = (len(held_out) - 1) // context
    if (of_test := round(windows * config.test_share)) == 0:
        return Dataset(tokenizer, train, held_out, held_out[:0], sha256)
    first = (windows - of_test) * context
    return Dataset(tokenizer, train, held_out[: first + 1], held_out[first:], sha256)


def unigram_loss(train: Tokens, texts: Sequence[Tokens], vocabulary_size: int) -> float:
    """Cross-entropy in nats per character of the texts' targets under the training text's character frequencies.

    Every character of a text but its first is a target. Counts are smoothed by adding one (Laplace), so that a
    character missing from the training text has a finite loss.
    """
    targets = np.concatenate([text[1:] for text in texts])
    return float(-np.log(_frequencies(train, vocabulary_size))[targets].mean())


def bigram_loss(train: Tokens, val: Tokens, vocabulary_size: int) -> float:
    """The same where each character is predicted from the one before it, by the training text's frequencies of pairs.

    To the pairs that begin with a character as many are added as there are characters, spread as these are over the
    whole text, so that a pair that is missing from the training text has a finite loss (MacKay and Peto 1995).
    """
    size = vocabulary_size
    pairs, counts = np.unique(train[:-1] * size + train[1:], return_counts=True)
    wanted = val[:-1] * size + val[1:]
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    found = np.where(pairs[place] == wanted, counts[place], 0)
    begun = np.bincount(train[:-1], minlength=size)[val[:-1]]
    return float(-np.log((found + size * _frequencies(train, size)[val[1:]]) / (begun + size)).mean())


def _frequencies(train: Tokens, vocabulary_size: int) -> NDArray[np.float64]:
    """(V,) of each character, one added to its count."""
    counts = np.bincount(train, minlength=vocabulary_size) + 1
    return counts / counts.sum()
