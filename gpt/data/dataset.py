"""A corpus as tokens, split into what is learned from and what is held out."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gpt.config import DataConfig
from gpt.data.tokenizer import TOKENIZERS, Tokenizer
from gpt.errors import InputError


@dataclass(frozen=True, eq=False)
class Dataset:
    """One corpus, ready for training."""

    tokenizer: Tokenizer
    """built on the whole text, so that validation holds no unknown character"""
    train: NDArray[np.int64]
    """tokens of the first part of the text"""
    val: NDArray[np.int64]
    """tokens of the rest"""
    sha256: str
    """of the text's bytes, hex"""

    @cached_property
    def unigram_loss(self) -> float:
        """Validation loss in nats per character of a model that ignores context, see `unigram_loss`."""
        return unigram_loss(self.train, self.val, self.tokenizer.vocabulary_size)


def check_length(data: Dataset, config: DataConfig, context: int) -> None:
    """Refuse a split that is too short for a window and the target of its last character.

    Raises:
        InputError: says how long the splits are, and must be.
    """
    if min(len(data.train), len(data.val)) <= context:
        raise InputError(
            f"model.context: got {context}, so training and validation text must each have at least {context + 1} "
            f"characters, got {len(data.train)} and {len(data.val)} from {config.source} "
            f"with data.val_fraction {config.val_fraction:g}"
        )


def make_dataset(text: str, sha256: str, config: DataConfig) -> Dataset:
    """Encode a text and split it by position.

    Raises:
        InputError: a text of one repeated character.
    """
    try:
        tokenizer = TOKENIZERS[config.tokenizer].from_text(text)
    except InputError as error:
        raise InputError(f"data.source: {config.source}: {error}") from None
    tokens = tokenizer.encode(text)
    train, val = np.split(tokens, [int(len(tokens) * (1 - config.val_fraction))])
    return Dataset(tokenizer, train, val, sha256)


def unigram_loss(train: NDArray[np.int64], val: NDArray[np.int64], vocabulary_size: int) -> float:
    """Cross-entropy in nats per character of the validation targets under the training text's character frequencies.

    Every character of `val` but its first is a target. Counts are smoothed by adding one (Laplace), so that a
    character missing from the training text has a finite loss.
    """
    counts = np.bincount(train, minlength=vocabulary_size) + 1
    return float(-np.log(counts / counts.sum())[val[1:]].mean())
