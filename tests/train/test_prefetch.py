"""What is made ahead is what each step would have made for itself."""

import pytest
import torch
from reference import text

from gpt.data.batches import training_batch
from gpt.model.dropout import draw_words
from gpt.train.prefetch import AHEAD, Batches, Prefetch

CPU = torch.device("cpu")
TRAIN = text(4000)


@pytest.mark.parametrize("samples", [range(6), range(2, 6)])
def test_a_prefetched_batch_is_the_steps_own(samples: range) -> None:
    batches = Batches(TRAIN, [7, 2**62], samples, 16, CPU)
    for step in (1, 2, AHEAD // 2, AHEAD - 1, AHEAD, 3 * AHEAD + 5, 2 * AHEAD, 1):
        expected = training_batch(TRAIN, [7, 2**62], step, samples, 16)
        assert torch.equal(batches.at(step), torch.from_numpy(expected)), step


def test_blocks_are_made_once_before_they_are_needed_and_not_kept() -> None:
    asked: list[range] = []

    def make(steps: range) -> torch.Tensor:
        asked.append(steps)
        return torch.tensor(list(steps))

    prefetch = Prefetch(make, CPU)
    when = []
    for step in range(1, 4 * AHEAD):
        assert prefetch.at(step) == step
        when += [step] * (len(asked) - len(when))
    assert when == [1, AHEAD // 2, 3 * AHEAD // 2, 5 * AHEAD // 2, 7 * AHEAD // 2]
    assert [steps.start for steps in asked] == [n * AHEAD for n in range(5)]
    assert len(prefetch._blocks) <= 3
    assert prefetch.at(1) == 1, "a step that is computed again"


def test_a_model_without_dropout_has_no_words() -> None:
    assert Prefetch(lambda steps: draw_words([], [0, 1], steps), CPU).at(3).shape == (0, 2, 2)
