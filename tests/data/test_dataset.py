import hashlib
import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gpt.config import DataConfig
from gpt.data.batches import consecutive_windows
from gpt.data.corpus import default_cache
from gpt.data.dataset import bigram_loss, load_dataset, unigram_loss
from gpt.errors import InputError


def written(folder: Path, text: str, val_fraction: float = 0.1, test_share: float = 0.0) -> DataConfig:
    path = folder / "text.txt"
    path.write_bytes(text.encode())
    return DataConfig(source=str(path), val_fraction=val_fraction, test_share=test_share)


def test_tiny_shakespeare_splits_as_nanogpt_does(tiny_shakespeare: str) -> None:
    dataset = load_dataset(DataConfig(test_share=0), 64, default_cache())
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (1_003_854, 111_540, 0)
    assert dataset.tokenizer.vocabulary_size == 65
    tokens = np.concatenate([dataset.train, dataset.val])
    assert dataset.tokenizer.decode(tokens) == tiny_shakespeare
    assert len(consecutive_windows(dataset.val, 64)) == 1742
    assert dataset.sha256 == hashlib.sha256(tiny_shakespeare.encode()).hexdigest()


@pytest.mark.parametrize(("share", "tested"), [(0.5, 871), (0.25, 436), (0.001, 2)])
def test_what_is_held_out_is_divided_between_two_windows(share: float, tested: int) -> None:
    """The windows and the training text are those of the undivided text, in the same order."""
    whole = load_dataset(DataConfig(test_share=0), 64, default_cache())
    parts = load_dataset(DataConfig(test_share=share), 64, default_cache())
    windows = [consecutive_windows(text, 64) for text in (parts.val, parts.test)]
    assert list(map(len, windows)) == [1742 - tested, tested]
    assert (np.concatenate(windows) == consecutive_windows(whole.val, 64)).all()
    assert (parts.train == whole.train).all()
    assert (np.concatenate([parts.val, parts.test[1:]]) == whole.val).all()
    assert parts.sha256 == whole.sha256


def test_a_user_brings_texts_of_his_own_for_validation_and_test(tmp_path: Path) -> None:
    texts = {"source": "abab" * 10, "val_source": "bcbc" * 5, "test_source": "dada" * 6}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    config = DataConfig(**{name: str(tmp_path / name) for name in texts})
    dataset = load_dataset(config, 8, tmp_path)
    assert dataset.tokenizer.state() == {"characters": "abcd"}
    split = [dataset.tokenizer.decode(part) for part in (dataset.train, dataset.val, dataset.test)]
    assert split == [*texts.values()]
    hashes = {dataset.sha256}
    for name in texts:
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(before + "ab")
        hashes.add(load_dataset(config, 8, tmp_path).sha256)
        (tmp_path / name).write_text(before)
    assert len(hashes) == 1 + len(texts)
    with pytest.raises(
        InputError, match=r"training and validation and test text must each have at least 25 char.*got 40 and 20 and 24"
    ):
        load_dataset(config, 24, tmp_path)


def test_a_share_too_small_for_a_window_is_refused(tmp_path: Path) -> None:
    config = written(tmp_path, "ab" * 50, 0.1, 0.1)
    with pytest.raises(
        InputError, match=r"got 90 and 10 and 0 from .* with data.val_fraction 0.1 and data.test_share 0.1"
    ):
        load_dataset(config, 4, tmp_path)


def test_the_unigram_loss_of_tiny_shakespeare_is_known(tiny_shakespeare: str) -> None:
    loss = load_dataset(DataConfig(test_share=0), 64, default_cache()).unigram_loss
    train, val = tiny_shakespeare[:1_003_854], tiny_shakespeare[1_003_854:]
    counts, targets = Counter(train), Counter(val[1:])
    total = len(train) + 65
    naive = -sum(n * math.log((counts[c] + 1) / total) for c, n in targets.items()) / targets.total()
    assert loss == pytest.approx(naive, rel=1e-12)
    assert loss == pytest.approx(3.3473053, abs=1e-7)


def test_a_character_only_validation_holds_has_a_finite_loss() -> None:
    train, val = np.array([0, 0, 0, 1]), np.array([0, 2, 1])
    assert unigram_loss(train, [val], 3) == pytest.approx(-(math.log(1 / 7) + math.log(2 / 7)) / 2)


def test_the_bigram_loss_of_tiny_shakespeare_is_known(tiny_shakespeare: str) -> None:
    """Against counting pairs one by one."""
    data = load_dataset(DataConfig(test_share=0), 64, default_cache())
    train, val = tiny_shakespeare[:1_003_854], tiny_shakespeare[1_003_854:]
    counts, begun, pairs = Counter(train), Counter(train[:-1]), Counter(itertools.pairwise(train))
    share = {c: (counts[c] + 1) / (len(train) + 65) for c in data.tokenizer.decode(range(65))}
    targets = Counter(itertools.pairwise(val))
    naive = -sum(n * math.log((pairs[a, b] + 65 * share[b]) / (begun[a] + 65)) for (a, b), n in targets.items())
    assert data.baselines["bigram_loss"] == pytest.approx(naive / targets.total(), rel=1e-12)
    assert data.baselines["bigram_loss"] == pytest.approx(2.4852841, abs=1e-7)


def test_a_pair_that_only_validation_holds_has_a_finite_bigram_loss() -> None:
    train, val = np.array([0, 0, 0, 1]), np.array([0, 2, 1])
    of_2, of_1 = (0 + 3 / 7) / (3 + 3), (0 + 3 * 2 / 7) / (0 + 3)
    assert bigram_loss(train, val, 3) == pytest.approx(-(math.log(of_2) + math.log(of_1)) / 2)


def test_the_unigram_loss_of_every_text_that_a_metric_reads_is_recorded(tmp_path: Path) -> None:
    data = load_dataset(written(tmp_path, "abca" * 50 + "cab" * 20, 0.3, 0.5), 4, tmp_path)
    losses = data.baselines["unigram_losses"]
    assert [*losses] == ["train/loss", "val/loss", "test/loss", "heldout/loss"]
    assert losses["val/loss"] == data.baselines["unigram_loss"] == data.unigram_loss
    parts = [(len(data.val) - 1, losses["val/loss"]), (len(data.test) - 1, losses["test/loss"])]
    whole = sum(n * loss for n, loss in parts) / sum(n for n, _ in parts)
    assert losses["heldout/loss"] == pytest.approx(whole, rel=1e-12)
    assert losses["train/loss"] == unigram_loss(data.train, [data.train], 3)


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
