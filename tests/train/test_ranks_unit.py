"""What ranks say to each other, by real processes over gloo; and how a batch is divided among them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import run_config
from torch import Tensor

from gpt.errors import InputError
from gpt.train.engines.micro_batches import micro_batches
from gpt.train.engines.ranks import SINGLE, Ranks

ROOT = Path(__file__).parents[2]

# How a batch is divided


def divided(batch: int, ranks: int, micro: int | None = None, noise_scale: bool = False) -> list[list[range]]:
    """The micro-batches of each rank."""
    config = run_config(train={"batch_size": batch, "micro_batch_size": micro})
    probes = config.probes.model_copy(update={"noise_scale": noise_scale})
    config = config.model_copy(update={"probes": probes})
    return [micro_batches(config, Ranks(rank, ranks)) for rank in range(ranks)]


@pytest.mark.parametrize(("batch", "ranks", "micro"), [(8, 1, None), (8, 4, None), (8, 2, 2), (12, 3, 1), (12, 2, 3)])
def test_micro_batches_of_all_ranks_hold_every_sample_once_and_in_order(
    batch: int, ranks: int, micro: int | None
) -> None:
    parts = [part for of_rank in divided(batch, ranks, micro) for part in of_rank]
    assert [sample for part in parts for sample in part] == list(range(batch))
    assert {len(part) for part in parts} == {micro or batch // ranks}


def test_without_a_micro_batch_size_a_rank_computes_its_share_at_once() -> None:
    assert divided(8, 2) == [[range(4)], [range(4, 8)]]


def test_micro_batches_of_one_size_are_the_same_on_any_number_of_ranks() -> None:
    everywhere = [[part for of_rank in divided(8, ranks, 2) for part in of_rank] for ranks in (1, 2, 4)]
    assert everywhere[0] == everywhere[1] == everywhere[2]


@pytest.mark.parametrize(
    ("batch", "ranks", "micro", "why"),
    [
        (8, 3, None, "train.batch_size: got 8, must be a multiple of 3 ranks$"),
        (2, 4, None, "train.batch_size: got 2, must be a multiple of 4 ranks$"),
        (8, 4, 4, "got 8, must be a multiple of 4 ranks x train.micro_batch_size 4$"),
        (12, 4, 2, "got 12, must be a multiple of 4 ranks x train.micro_batch_size 2$"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(batch: int, ranks: int, micro: int | None, why: str) -> None:
    with pytest.raises(InputError, match=why):
        divided(batch, ranks, micro)


def test_the_noise_scale_needs_two_parts() -> None:
    for micro in (None, 8):
        with pytest.raises(InputError, match=r"noise_scale: needs at least two micro-batches.*batch_size 8"):
            divided(8, 1, micro, noise_scale=True)
    assert len(divided(8, 1, 4, noise_scale=True)[0]) == 2
    assert len(divided(8, 2, noise_scale=True)) == 2


# One process alone


def test_one_process_alone_needs_no_group_and_changes_nothing() -> None:
    tensors = {"a": torch.arange(3.0)}
    assert SINGLE.is_main
    assert [SINGLE.any(flag) for flag in (True, False)] == [True, False]
    assert SINGLE.broadcast_object([1, "two"]) == [1, "two"]
    assert SINGLE.broadcast_tensors(tensors) is tensors
    assert SINGLE.all_reduce_sum(tensors["a"]) is tensors["a"]


# Several processes

RANK = """\
import json, sys
import torch
import torch.distributed as dist
from gpt.train.engines.rank_invariant import rank_invariant_sum
from gpt.train.engines.ranks import Ranks

folder, rank, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
store = dist.FileStore(f"{folder}/store", size)
dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
ranks = Ranks(rank, size)
given = torch.load(f"{folder}/given.pt")

said = {"leads": ranks.is_main, "any": []}
for flags in range(2**size):
    said["any"].append(ranks.any(bool(flags >> rank & 1)))
values = [3, "", "zwölf", {"a": [1.5, None, True]}, [], "x" * 100_000]
said["values"] = [ranks.broadcast_object(value if rank == 0 else f"not {rank}") for value in values]
only_mine = torch.zeros(size, 3)
only_mine[rank] = given["values"][rank]

mine_A = given["parts"][rank * len(given["parts"]) // size : (rank + 1) * len(given["parts"]) // size]
found = {
    "tensors": ranks.broadcast_tensors(given["tensors"] if rank == 0 else {"other": torch.ones(1)}),
    "none": ranks.broadcast_tensors({} if rank == 0 else {"other": torch.ones(1)}),
    "added": ranks.all_reduce_sum(torch.tensor([1.0, rank])),
    "put together": ranks.all_reduce_sum(only_mine),
    "sums": [rank_invariant_sum([part[:length] for part in mine_A], ranks) for length in given["lengths"]],
}
torch.save(found, f"{folder}/found-{rank}.pt")
with open(f"{folder}/said-{rank}.json", "w") as file:
    json.dump(said, file)
dist.barrier()
dist.destroy_process_group()
"""
LENGTHS = (1, 2, 5, 6, 7, 1000, 1001)
"""of gradients: shorter than the number of ranks, divisible by it, not divisible by it"""


def given() -> dict[str, Any]:
    """What every rank of every world starts from: numbers whose sum depends on the order they are added in."""
    generator = torch.Generator().manual_seed(7)
    scales = 10.0 ** torch.randint(-6, 7, (6, 1001), generator=generator)
    return {
        "parts": list(torch.randn(6, 1001, generator=generator) * scales),
        "tensors": {
            "matrix": torch.randn(3, 4, generator=generator),
            "number": torch.tensor(2.5),
            "no": torch.ones(0),
        },
        "values": torch.randn(3, 3, generator=generator),
        "lengths": LENGTHS,
    }


class World:
    """What real ranks found and said."""

    def __init__(self, folder: Path, size: int):
        self.size = size
        torch.save(given(), folder / "given.pt")
        words = [sys.executable, "-c", RANK, str(folder)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started = [
            subprocess.Popen([*words, str(rank), str(size)], env=environment, stderr=subprocess.PIPE, text=True)
            for rank in range(size)
        ]
        try:
            ends = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
        finally:
            for process in started:
                process.kill()
        assert [code for _, code in ends] == [0] * size, "\n".join(said for said, _ in ends)
        self.found = [torch.load(folder / f"found-{rank}.pt") for rank in range(size)]
        self.said = [json.loads((folder / f"said-{rank}.json").read_text()) for rank in range(size)]


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    return World(tmp_path_factory.mktemp("world"), request.param)


def same_bits(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first.view(torch.int32), second.view(torch.int32))


def test_one_rank_leads(world: World) -> None:
    assert [said["leads"] for said in world.said] == [True] + [False] * (world.size - 1)


def test_all_ranks_hear_whether_any_says_so(world: World) -> None:
    for said in world.said:
        assert said["any"] == [False] + [True] * (2**world.size - 1)


def test_all_ranks_get_the_leaders_values_of_any_length(world: World) -> None:
    for said in world.said:
        assert said["values"] == [3, "", "zwölf", {"a": [1.5, None, True]}, [], "x" * 100_000]


def test_all_ranks_get_the_leaders_tensors_whatever_they_held(world: World) -> None:
    tensors = given()["tensors"]
    for found in world.found:
        assert found["none"] == {}
        assert found["tensors"].keys() == tensors.keys()
        assert all(same_bits(found["tensors"][name], value) for name, value in tensors.items())


def test_sums_are_over_all_ranks_and_exact_where_one_rank_alone_has_a_number(world: World) -> None:
    for found in world.found:
        assert found["added"].tolist() == [world.size, sum(range(world.size))]
        assert same_bits(found["put together"], given()["values"][: world.size])


def test_a_sum_in_order_has_the_bits_of_adding_up_in_a_loop(world: World) -> None:
    parts = given()["parts"]
    for index, length in enumerate(LENGTHS):
        expected = parts[0][:length].clone()
        for part in parts[1:]:
            expected += part[:length]
        for found in world.found:
            assert same_bits(found["sums"][index], expected)


def test_another_order_would_have_given_other_bits() -> None:
    parts = given()["parts"]
    backwards = parts[-1].clone()
    for part in parts[-2::-1]:
        backwards += part
    pairs = (parts[0] + parts[1]) + (parts[2] + parts[3]) + (parts[4] + parts[5])
    forwards = ((((parts[0] + parts[1]) + parts[2]) + parts[3]) + parts[4]) + parts[5]
    assert not same_bits(forwards, backwards)
    assert not same_bits(forwards, pairs)
