"""How runs are spread: every refusal, and every rule of what `auto` means."""

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from reference import run_config

from gpt.config import RunConfig, with_values
from gpt.errors import InputError
from gpt.runner.launch.accelerate import Launch
from gpt.runner.layout import LARGEST_SEED_BATCH, Layout, LayoutOptions, resolve_layout, seed_batches_of
from gpt.study.plan import PlannedRun
from gpt.train.engines.kinds import engine_kinds
from gpt.train.optim.adamw import AdamW

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CORES = len(os.sched_getaffinity(0))
WISHES = LayoutOptions(processes="auto", ranks_per_run=None, seeds_per_process="auto", threads=1, timeout=60.0)
LAUNCH = Launch(
    world=4, rank=0, local_rank=0, address="127.0.0.1", port=1, agent_store=True, attempt=0, cpu=True, engine="ddp"
)
ZERO = replace(LAUNCH, engine="zero3")


def runs(*kinds: tuple[str, int], **train: Any) -> list[PlannedRun]:
    """One run for each norm placement and seed; a batch is 8 sequences."""
    base = run_config(train={"batch_size": 8, **train})
    return [run_of(with_values(base, {"model.norm_placement": kind, "seed": seed}, "test")) for kind, seed in kinds]


def run_of(config: RunConfig) -> PlannedRun:
    kind = config.model.norm_placement
    return PlannedRun(kind, (), config.seed, config, f"{kind}-{config.seed}")


def seeds(count: int, **train: Any) -> list[PlannedRun]:
    return runs(*(("pre", seed) for seed in range(count)), **train)


def layout(
    launch: Launch | None = None, on: torch.device = CPU, of: list[PlannedRun] | None = None, **wishes: Any
) -> Layout:
    return resolve_layout(replace(WISHES, **wishes), seeds(40) if of is None else of, on, launch)


# What `auto` means


def test_auto_is_one_process_for_each_core_each_with_a_run_of_its_own() -> None:
    chosen = layout()
    assert (chosen.processes, chosen.ranks_per_run, chosen.seeds_per_process) == (CORES, 1, 1)
    assert (chosen.groups, chosen.threads, chosen.timeout) == (CORES, 1, 60.0)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_auto_fills_the_cores_with_whole_rows_and_starts_one_row_at_least(ranks: int) -> None:
    chosen = layout(ranks_per_run=ranks)
    assert chosen.processes == ranks * chosen.groups == ranks * max(1, CORES // ranks)


def test_no_more_rows_are_started_than_there_are_packs() -> None:
    assert layout(of=seeds(3), processes="8").processes == 3
    assert layout(of=seeds(3), processes="8", ranks_per_run=2).processes == 6
    assert layout(of=seeds(6), processes="8", seeds_per_process="3").processes == 2
    assert layout(of=[], processes="8", ranks_per_run=4).processes == 4


def test_a_launch_decides_the_number_of_processes_even_where_runs_are_few() -> None:
    assert layout(LAUNCH, of=seeds(1)) == Layout(4, 1, 1, 1, 60.0)
    assert layout(LAUNCH, of=seeds(1), ranks_per_run=2).groups == 2


@pytest.mark.parametrize("engine", [name for name, kind in engine_kinds().items() if kind.sharded])
def test_with_a_sharded_engine_all_ranks_share_a_run_unless_told_otherwise(engine: str) -> None:
    launch = replace(LAUNCH, engine=engine)
    assert layout(launch).ranks_per_run == 4
    assert layout(launch, ranks_per_run=2).groups == 2
    assert layout(replace(launch, world=1)).ranks_per_run == 1


def test_auto_seed_batches_nothing_on_a_cpu() -> None:
    assert layout(processes="1").seeds_per_process == 1


@pytest.mark.parametrize(("groups", "count", "expected"), [(1, 12, 12), (2, 12, 6), (4, 10, 3), (8, 3, 1), (1, 99, 32)])
def test_auto_seed_batches_on_a_gpu_as_many_seeds_as_leave_every_row_its_share(
    groups: int, count: int, expected: int
) -> None:
    assert layout(on=CUDA, of=seeds(count), processes=str(groups)).seeds_per_process == expected <= LARGEST_SEED_BATCH


@pytest.mark.parametrize(
    ("groups", "count", "variants", "share"), [(1, 12, 1, 12), (2, 12, 1, 6), (1, 12, 3, 12), (8, 3, 1, None)]
)
def test_auto_asks_on_a_gpu_for_what_was_measured_to_be_worth_it(
    groups: int, count: int, variants: int, share: int | None
) -> None:
    asked: list[tuple[int, int]] = []

    def pick(most: int, at_once: int) -> int:
        asked.append((most, at_once))
        return 2

    runs = [replace(run, config=with_values(run.config, {"model.layers": layers + 1}, "test"))
            for run in seeds(count) for layers in range(variants)]  # fmt: skip
    options = replace(WISHES, processes=str(groups))
    found = resolve_layout(options, runs, CUDA, None, pick)
    assert (found.seeds_per_process, asked) == ((2, [(share, groups)]) if share else (1, []))
    assert resolve_layout(options, runs, torch.device("cpu"), None, pick).seeds_per_process == 1
    assert len(asked) <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="claims what holds without a GPU")
def test_auto_on_a_gpu_machine_without_gpus_is_one_row() -> None:
    assert layout(on=CUDA).processes == 1


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (Layout(1, 1, 1, 1, 1.0), "1 process"),
        (Layout(4, 1, 1, 1, 1.0), "4 processes"),
        (Layout(4, 2, 1, 1, 1.0), "4 processes, 2 for each run"),
        (Layout(4, 2, 3, 1, 1.0), "4 processes, 2 for each run, up to 3 seeds together"),
    ],
)
def test_a_layout_says_what_it_is(chosen: Layout, words: str) -> None:
    assert str(chosen) == words


# Refusals


@pytest.mark.parametrize(
    ("launch", "wishes", "why"),
    [
        (None, {"threads": 0}, "--threads: got 0, must be at least 1 and at most 1024"),
        (None, {"threads": 100_000}, "--threads: got 100000, must be at least 1 and at most 1024"),
        (None, {"timeout": 0.0}, "--timeout: got 0 seconds, must be above 0 and at most 86400"),
        (None, {"timeout": -1.5}, "--timeout: got -1.5 seconds, must be above 0 and at most 86400"),
        (None, {"timeout": 1e5}, "--timeout: got 100000 seconds, must be above 0 and at most 86400"),
        (None, {"timeout": float("nan")}, "--timeout: got nan seconds, must be above 0 and at most 86400"),
        (None, {"processes": "0"}, "--processes: got '0', must be auto or a whole number from 1"),
        (None, {"processes": "-2"}, "--processes: got '-2', must be auto or a whole number from 1"),
        (None, {"processes": "two"}, "--processes: got 'two', must be auto or a whole number from 1"),
        (None, {"processes": "1.5"}, "--processes: got '1.5', must be auto or a whole number from 1"),
        (None, {"seeds_per_process": "0"}, "--seeds-per-process: got '0', must be auto or a whole number from 1"),
        (None, {"seeds_per_process": "all"}, "--seeds-per-process: got 'all', must be auto or a whole number from 1"),
        (None, {"ranks_per_run": 0}, "--ranks-per-run: got 0, must be at least 1"),
        (
            None,
            {"processes": "3", "ranks_per_run": 2},
            "--ranks-per-run: got 2, must divide the number of processes, 3",
        ),
        (
            None,
            {"processes": "2", "ranks_per_run": 4},
            "--ranks-per-run: got 4, must divide the number of processes, 2",
        ),
        (LAUNCH, {"ranks_per_run": 3}, "--ranks-per-run: got 3, must divide the number of processes, 4"),
        (LAUNCH, {"processes": "4"}, "--processes: got 4, must be left out: a launcher started 4"),
        (
            ZERO,
            {"ranks_per_run": 1},
            "--ranks-per-run: got 1 with DeepSpeed ZeRO-3, which has something to share out from 2 on",
        ),
        (None, {"ranks_per_run": 3, "processes": "3"}, "train.batch_size: got 8, must be a multiple of 3 ranks"),
        (None, {"ranks_per_run": 16, "processes": "16"}, "train.batch_size: got 8, must be a multiple of 16 ranks"),
    ],
)
def test_a_wish_that_does_not_fit_is_refused_by_name(launch: Launch | None, wishes: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError) as refused:
        layout(launch, **wishes)
    assert str(refused.value) == why


@pytest.mark.parametrize("ranks", [4, 8])
def test_ranks_that_have_less_than_a_micro_batch_each_are_refused(ranks: int) -> None:
    uneven = seeds(2, micro_batch_size=4)
    assert layout(of=uneven, processes="2", ranks_per_run=2).ranks_per_run == 2
    with pytest.raises(InputError, match=rf"batch_size: got 8, .* {ranks} ranks x train.micro_batch_size 4"):
        layout(of=uneven, processes=str(ranks), ranks_per_run=ranks)


def test_one_run_that_cannot_be_divided_is_enough_to_refuse_before_any_is_trained() -> None:
    odd = [*seeds(3), *runs(("post", 0), batch_size=9)]
    with pytest.raises(InputError, match=r"train\.batch_size: got 9, must be a multiple of 2 ranks"):
        layout(of=odd, processes="2", ranks_per_run=2)


def test_sums_in_order_are_refused_with_deepspeed_and_with_nothing_else() -> None:
    ordered = seeds(2, reduction="rank_invariant", micro_batch_size=2)
    assert layout(LAUNCH, of=ordered, ranks_per_run=4).ranks_per_run == 4
    with pytest.raises(InputError, match=r"train\.reduction: got rank_invariant, must be fast with DeepSpeed"):
        layout(ZERO, of=ordered)


def test_ranks_that_share_a_run_need_a_gpu_each() -> None:
    wanted = 2 * (torch.cuda.device_count() + 1)
    with pytest.raises(InputError, match=rf"--processes: got {wanted} for {torch.cuda.device_count()} GPUs"):
        layout(on=CUDA, processes=str(wanted), ranks_per_run=2)
    assert layout(on=CUDA, processes=str(wanted), seeds_per_process="1").processes == wanted, (
        "runs of one rank share GPUs"
    )


# Seed batches


def test_a_seed_batch_holds_runs_that_differ_in_the_seed_alone() -> None:
    mixed = runs(("pre", 0), ("post", 0), ("pre", 1), ("post", 1), ("pre", 2), ("post", 2))
    seed_batches = seed_batches_of(mixed, 3)
    assert [[run.fingerprint for run in seed_batch] for seed_batch in seed_batches] == [
        ["pre-0", "pre-1", "pre-2"],
        ["post-0", "post-1", "post-2"],
    ]


def test_seed_batches_stand_in_the_order_of_their_first_runs_and_the_last_may_be_smaller() -> None:
    mixed = runs(("pre", 0), ("post", 0), ("pre", 1), ("post", 1), ("pre", 2), ("post", 2))
    seed_batches = seed_batches_of(mixed, 2)
    assert [[run.fingerprint for run in seed_batch] for seed_batch in seed_batches] == [
        ["pre-0", "pre-1"],
        ["post-0", "post-1"],
        ["pre-2"],
        ["post-2"],
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_every_run_is_in_exactly_one_seed_batch_of_at_most_the_asked_size(size: int) -> None:
    mixed = runs(*((kind, seed) for seed in range(5) for kind in ("pre", "post", "peri")))
    seed_batches = seed_batches_of(mixed, size)
    assert sorted(run.fingerprint for seed_batch in seed_batches for run in seed_batch) == sorted(
        run.fingerprint for run in mixed
    )
    assert max(map(len, seed_batches)) == min(size, 5)


def test_runs_that_differ_in_anything_else_are_never_together() -> None:
    base = run_config()
    changes = [{}, {"optim.lr": 1e-4}, {"train.micro_batch_size": 2}, {"model.dropout": 0.1}, {"optim.clip": None}]
    others = [run_of(with_values(base, change, "test")) for change in changes]
    assert [len(seed_batch) for seed_batch in seed_batches_of(others, 10)] == [1] * len(changes)


def test_no_runs_make_no_seed_batches() -> None:
    assert seed_batches_of([], 3) == []


@pytest.mark.parametrize("engine", ["zero2", "fsdp"])
def test_engines_whose_ranks_hold_shards_refuse_what_needs_whole_matrices(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = replace(LAUNCH, engine=engine)
    ordered = runs(("pre", 0), micro_batch_size=2, reduction="rank_invariant")
    with pytest.raises(InputError, match=r"train.reduction: got rank_invariant, must be fast with"):
        layout(launch, of=ordered)
    monkeypatch.setattr(AdamW, "elementwise", False)
    with pytest.raises(InputError, match=r"optim.optimizer: got adamw, must be one of"):
        layout(launch)
