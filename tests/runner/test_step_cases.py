"""`gpt check-gradients` compares compiled steps with plain ones for every part of a model, and sees what is wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import gpt

from gpt.config import BUILT_IN
from gpt.runner.checks.gradient_parity import Line, compare
from gpt.runner.checks.gradient_parity_rank import answer
from gpt.runner.checks.parity_cases import Case
from gpt.runner.checks.step_cases import MANY_TOKENS, VARIANTS, step_cases
from gpt.train.engines import compiled
from gpt.train.engines.kinds import DEFAULT
from gpt.train.engines.ranks import SINGLE
from gpt.train.optim.optimizer import OPTIMIZERS

CPU = torch.device("cpu")


def lines(planned: list[Case]) -> list[Line]:
    asked = {case.name: case.asked for case in planned}
    results = json.loads(json.dumps(answer(asked, DEFAULT, CPU, SINGLE)))
    return [compare(case, results) for case in planned]


def test_every_part_of_a_model_is_among_the_cases() -> None:
    configs = [case.asked["config"] for case in step_cases(["compiled"], "cpu")]
    for field, names in BUILT_IN.items():
        section, key = field.split(".")
        if section == "model":
            assert {config[section][key] for config in configs} == set(names), field
    assert {name for name, cls in OPTIMIZERS.items() if cls.can_be_held} == {
        config["optim"]["optimizer"] for config in configs
    }
    assert {config["train"]["precision"] for config in configs} == {"fp32", "bf16"}
    assert {tuple(map(tuple, case.seed_batches)) for case in step_cases(["compiled"], "cpu")} == {
        ((0, 1),),
        ((0,), (1,)),
    }
    assert all(config["model"]["dropout"] > 0 for config in configs)
    assert 2 * MANY_TOKENS["train.batch_size"] * MANY_TOKENS["model.context"] > 65_536


def test_each_way_is_compared_with_plain_steps_of_the_same_run() -> None:
    listed = step_cases(["compiled", "graph"], "cuda")
    assert len(listed) == 3 * (len(VARIANTS) + 2)
    by_name = {case.name: case for case in listed}
    assert len(by_name) == len(listed)
    for case in listed:
        ours, plain = dict(case.values or {}), dict(by_name[case.against].values or {})
        assert plain.pop("train.step") == "eager"
        assert ours.pop("train.step") == case.name.split(" steps: ")[0].replace("plain", "eager")
        assert (ours, case.seed_batches, case.micro_batch) == (
            plain,
            by_name[case.against].seed_batches,
            by_name[case.against].micro_batch,
        )
        assert case.watched
    assert step_cases([], "cuda") == []


@pytest.fixture
def _traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")


def some(*words: str) -> list[Case]:
    return [case for case in step_cases(["compiled"], "cpu") if any(word in case.name for word in words)]


@pytest.mark.usefixtures("_traced")
@pytest.mark.filterwarnings("ignore")  # of torch as it imports its compiler
def test_compiled_steps_hold_with_evaluations_and_probes_between() -> None:
    found = lines(some("learned positions, Post-LN", "micro-batches"))
    assert all(line.holds for line in found), found
    assert [line.engine for line in found] == ["single process", "single process, compiled"] * 2
    assert found[-1].micro_batch_norm is not None


@pytest.mark.usefixtures("_traced")
@pytest.mark.filterwarnings("ignore")
def test_a_case_that_fell_back_to_plain_steps_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = compiled.token_losses
    monkeypatch.setattr(compiled, "token_losses", lambda logits, targets: losses(logits, targets) * float("inf"))
    plain, fast = lines(some("learned positions, Post-LN"))
    assert plain.holds
    assert (fast.fallbacks, fast.holds) == (1, False)
    assert replace(fast, fallbacks=0).holds, "its numbers are the plain ones"


@pytest.mark.usefixtures("_traced")
@pytest.mark.filterwarnings("ignore")
def test_another_dropout_mask_breaks_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    draw: Any = compiled.draw_key
    monkeypatch.setattr(compiled, "draw_key", lambda sites, samples, words: draw(sites, samples, words + 1))
    _, fast = lines(some("learned positions, Post-LN"))
    assert not fast.holds


def test_a_way_that_is_none_is_refused(tmp_path: Path) -> None:
    code, said = gpt("check-gradients", "--device", "cpu", "--modes", "graph", home=tmp_path)
    assert (code, len(said.splitlines())) == (2, 1)
    assert "--modes: got graph, must be compiled" in said
