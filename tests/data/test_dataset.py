import hashlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gpt.config import DataConfig
from gpt.data.batches import validation_windows
from gpt.data.corpus import default_cache, load_text
from gpt.data.dataset import Dataset, check_length, make_dataset, unigram_loss
from gpt.errors import InputError


def written(folder: Path, text: str, val_fraction: float = 0.1) -> DataConfig:
    path = folder / "text.txt"
    path.write_bytes(text.encode())
    return DataConfig(source=str(path), val_fraction=val_fraction)


def load_dataset(config: DataConfig, context: int, cache: Path) -> Dataset:
    data = make_dataset(*load_text(config.source, cache), config)
    check_length(data, config, context)
    return data


def test_tiny_shakespeare_splits_as_nanogpt_does(tiny_shakespeare: str) -> None:
    dataset = load_dataset(DataConfig(), 64, default_cache())
    assert (len(dataset.train), len(dataset.val)) == (1_003_854, 111_540)
    assert dataset.tokenizer.vocabulary_size == 65
    tokens = np.concatenate([dataset.train, dataset.val])
    assert dataset.tokenizer.decode(tokens) == tiny_shakespeare
    assert len(validation_windows(dataset.val, 64)) == 1742
    assert dataset.sha256 == hashlib.sha256(tiny_shakespeare.encode()).hexdigest()


def test_the_unigram_loss_of_tiny_shakespeare_is_known(tiny_shakespeare: str) -> None:
    loss = load_dataset(DataConfig(), 64, default_cache()).unigram_loss
    train, val = tiny_shakespeare[:1_003_854], tiny_shakespeare[1_003_854:]
    counts, targets = Counter(train), Counter(val[1:])
    total = len(train) + 65
    naive = -sum(n * math.log((counts[c] + 1) / total) for c, n in targets.items()) / targets.total()
    assert loss == pytest.approx(naive, rel=1e-12)
    assert loss == pytest.approx(3.3473053, abs=1e-7)


def test_a_character_only_validation_holds_has_a_finite_loss() -> None:
    train, val = np.array([0, 0, 0, 1]), np.array([0, 2, 1])
    assert unigram_loss(train, val, 3) == pytest.approx(-(math.log(1 / 7) + math.log(2 / 7)) / 2)


@pytest.mark.parametrize(("val_fraction", "train", "val"), [(0.2, "abcdefgh", "ij"), (0.5, "abcde", "fghij")])
def test_validation_is_the_end_of_the_text(val_fraction: float, train: str, val: str, tmp_path: Path) -> None:
    dataset = load_dataset(written(tmp_path, "abcdefghij", val_fraction), 1, tmp_path)
    assert (dataset.tokenizer.decode(dataset.train), dataset.tokenizer.decode(dataset.val)) == (train, val)


@pytest.mark.parametrize(("val_fraction", "longest"), [(0.1, 9), (0.5, 49), (0.75, 24)])
def test_the_longest_context_is_one_less_than_the_shorter_split(
    val_fraction: float, longest: int, tmp_path: Path
) -> None:
    config = written(tmp_path, "ab" * 50, val_fraction)
    dataset = load_dataset(config, longest, tmp_path)
    assert min(len(dataset.train), len(dataset.val)) == longest + 1
    with pytest.raises(InputError) as error:
        load_dataset(config, longest + 1, tmp_path)
    for words in (
        f"model.context: got {longest + 1}, ",
        f"at least {longest + 2} characters",
        f"got {len(dataset.train)} and {len(dataset.val)} from {config.source}",
        f"data.val_fraction {val_fraction}",
    ):
        assert words in str(error.value)


def test_a_text_of_one_repeated_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.source: .*: text must have at least 2 distinct characters, got 'a'"):
        load_dataset(written(tmp_path, "a" * 100), 4, tmp_path)
