"""The parity holds where layouts are right, and breaks at the mistakes that it is there for."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt.cli import main
from gpt.runner.checks import parity_cases
from gpt.runner.checks.gradient_parity import GradientParity, Line, check_parity, compare
from gpt.runner.checks.gradient_parity_rank import answer
from gpt.runner.checks.parity_cases import BOUND, REFERENCE, SPLIT, UNCLIPPED, Case, cases
from gpt.runner.checks.parity_page import page
from gpt.train.engines import ddp, eager, engine
from gpt.train.engines.kinds import DEFAULT, engine_kinds
from gpt.train.engines.ranks import SINGLE
from gpt.train.engines.single_process import SingleProcessEngine

BY_NAME = {case.name: case for case in cases()}


def computed_here(*names: str) -> dict[str, Any]:
    """The answers of cases of a single process, as a rank gives them."""
    return json.loads(
        json.dumps(answer({name: BY_NAME[name].asked for name in names}, DEFAULT, torch.device("cpu"), SINGLE))
    )


@pytest.fixture(scope="module")
def references() -> dict[str, Any]:
    return computed_here(REFERENCE, UNCLIPPED, SPLIT[2], SPLIT[4])


def test_every_case_is_compared_with_a_single_process_of_the_same_precision_and_clipping() -> None:
    for case in BY_NAME.values():
        against = BY_NAME[case.against]
        assert against.ranks == 1
        assert against.engine == "ddp"
        for key in ("train.precision", "optim.clip"):
            assert (case.values or {}).get(key) == (against.values or {}).get(key), case.name


def test_every_engine_is_compared_at_every_promise() -> None:
    launches = {case.launch for case in BY_NAME.values()}
    assert launches == {(1, "ddp"), (4, "ddp"), (4, "zero3"), (4, "fsdp"), *((2, kind) for kind in engine_kinds())}
    for launch in launches - {(1, "ddp"), (4, "zero3"), (4, "fsdp")}:
        of_launch = [case for case in BY_NAME.values() if case.launch == launch]
        assert any(len(case.seed_batches) == 1 for case in of_launch), "seeds together"
        assert any((case.values or {}).get("train.precision") == "bf16" for case in of_launch)
        assert any("optim.clip" in (case.values or {}) for case in of_launch), "clip off"


def test_the_small_run_is_clipped_at_every_step(references: dict[str, Any]) -> None:
    assert all(scale < 1 for seed in references[REFERENCE]["clip_scale"] for scale in seed)


def test_batching_seeds_and_micro_batches_give_the_norms_of_one_seed_and_one_batch(references: dict[str, Any]) -> None:
    results = references | computed_here("2 seeds together")
    for name in ("2 seeds together", SPLIT[2], SPLIT[4]):
        line = compare(BY_NAME[name], results)
        assert line.holds, line
        assert 0 < line.layer_norm < BOUND, "another layout gives other roundings, so an exact zero would be suspicious"


def doubled(results: dict[str, Any]) -> dict[str, Any]:
    """The sum over two ranks where their mean belongs."""
    return {**results, "layer_norm": (2 * torch.tensor(results["layer_norm"])).tolist()}


def one_layer_off(results: dict[str, Any]) -> dict[str, Any]:
    norms = torch.tensor(results["layer_norm"], dtype=torch.float64)
    norms[1, 3, 2] *= 1 + 2e-5
    return {**results, "layer_norm": norms.tolist()}


def without_a_number(results: dict[str, Any]) -> dict[str, Any]:
    norms = torch.tensor(results["layer_norm"])
    norms[0, 0, 0] = math.nan
    return {**results, "layer_norm": norms.tolist()}


@pytest.mark.parametrize("mistake", [doubled, one_layer_off, without_a_number])
def test_a_wrong_norm_breaks_the_parity(
    references: dict[str, Any], mistake: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    case = replace(BY_NAME[SPLIT[2]], name="wrong")
    line = compare(case, references | {"wrong": mistake(references[SPLIT[2]])})
    assert not line.holds
    assert not GradientParity([line], []).holds


def test_a_clip_limit_that_an_engine_fills_in_breaks_the_parity(references: dict[str, Any]) -> None:
    filled_in = Case("filled in", 1, UNCLIPPED, values={"optim.clip": 1.0})
    results = references | answer({filled_in.name: filled_in.asked}, DEFAULT, torch.device("cpu"), SINGLE)
    line = compare(filled_in, results)
    assert not line.holds
    assert line.layer_norm > 100 * BOUND, "later norms too, not the factor alone"


def test_one_clip_limit_for_two_seeds_together_breaks_the_parity(
    references: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    per_seed = eager.clip_scale
    monkeypatch.setattr(eager, "clip_scale", lambda norm_S, limit: per_seed(norm_S.norm().expand_as(norm_S), limit))
    assert not compare(BY_NAME["2 seeds together"], references | computed_here("2 seeds together")).holds


def test_dropout_keyed_by_the_place_within_a_micro_batch_breaks_the_parity(
    references: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_sample = engine.draw_key
    monkeypatch.setattr(engine, "draw_key", lambda at, samples, words: by_sample(at, range(len(samples)), words))
    assert not compare(BY_NAME[SPLIT[2]], references | computed_here(SPLIT[2])).holds


def test_another_learning_rate_breaks_the_parity(references: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(SingleProcessEngine):
        def train_step(self, step: int, batch_SBT: torch.Tensor, lr: float, measure_updates: bool) -> Any:
            return super().train_step(step, batch_SBT, 1e-2, measure_updates)

    monkeypatch.setitem(ddp.STEP_MODES, "eager", Deaf)
    assert not compare(BY_NAME["2 seeds together"], references | computed_here("2 seeds together")).holds


def test_windows_left_out_of_the_evaluation_break_the_parity(references: dict[str, Any]) -> None:
    results = references | computed_here("2 seeds together")
    results["2 seeds together"]["evaluation"][0][5] = 0.0
    assert not compare(BY_NAME["2 seeds together"], results).holds


def test_the_command_answers_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one = [case for case in cases() if case.name in (REFERENCE, "2 seeds together")]
    monkeypatch.setattr(parity_cases, "cases", lambda: one)
    with pytest.raises(SystemExit) as ended:
        main(["check-gradients", "--device", "cpu", "--json", "--out", str(tmp_path)])
    answer = json.loads(capsys.readouterr().out)
    assert (ended.value.code, answer["holds"]) == (0, True)
    assert answer["lines"] == json.loads((tmp_path / "gradient_parity.json").read_text())["lines"]
    assert [line["case"] for line in answer["lines"]] == [case.name for case in one]


@pytest.mark.launch
def test_real_launches_of_ddp_rank_invariant_reduction_zero_3_and_fsdp_hold() -> None:
    names = [REFERENCE, SPLIT[2], SPLIT[4], "rank-invariant, 1 rank", "rank-invariant, 2 ranks", "DDP, 2 ranks",
             "DeepSpeed ZeRO-3, 2 ranks, 2 seeds together", "DeepSpeed ZeRO-3, 2 ranks, 2 micro-batches each",
             "FSDP2, 2 ranks", "FSDP2, 2 ranks, 2 seeds together", "FSDP2, 2 ranks, 2 micro-batches each"]  # fmt: skip
    parity = check_parity("cpu", [BY_NAME[name] for name in names])
    assert parity.holds, parity.lines
    found = {line.case: (line.engine, line.ranks, line.micro_batches) for line in parity.lines}
    assert found["rank-invariant, 2 ranks"] == ("rank-invariant", 2, 4)
    assert found["DDP, 2 ranks"] == ("DDP", 2, 2)
    assert found["DeepSpeed ZeRO-3, 2 ranks, 2 seeds together"] == ("DeepSpeed ZeRO-3", 2, 2)
    assert found["DeepSpeed ZeRO-3, 2 ranks, 2 micro-batches each"] == ("DeepSpeed ZeRO-3", 2, 4)
    assert found["FSDP2, 2 ranks, 2 micro-batches each"] == ("FSDP2", 2, 4)
    assert all(line.micro_batch_norm is not None for line in parity.lines if line.ranks > 1)
    low, middle, high = parity.rank_invariant_cost
    assert 0 < low <= middle <= high


@pytest.mark.launch
def test_every_case_holds() -> None:
    parity = check_parity("cpu", cases())
    assert parity.holds, [line for line in parity.lines if not line.holds]


def test_the_published_gradient_parity_has_every_case_and_says_what_its_numbers_say(repository: Path) -> None:
    folder = repository / "results" / "gradient_parity"
    data = json.loads((folder / "gradient_parity.json").read_text())
    parity = GradientParity([Line(**line) for line in data["lines"]], data["rank_invariant_cost"])
    assert [line.case for line in parity.lines] == list(BY_NAME)
    assert [line.bound for line in parity.lines] == [case.bound for case in BY_NAME.values()]
    assert data["holds"] is True
    assert parity.holds
    assert (folder / "gradient_parity.md").read_text() == page(parity, data["stack"])


def test_the_pages_state_the_worst_error_and_the_cost_of_rank_invariance(repository: Path) -> None:
    data = json.loads((repository / "results" / "gradient_parity" / "gradient_parity.json").read_text())
    worst = max(line["layer_norm"] for line in data["lines"] if line["bound"] == BOUND)
    page = (repository / "docs" / "launching.md").read_text()
    assert f"**{worst:.1e}**\n(bound {BOUND:g})" in page
    assert f"**{data['rank_invariant_cost'][1]:.2f}** times as long" in page
    performance = (repository / "docs" / "performance.md").read_text()
    assert f"micro-batches | {data['rank_invariant_cost'][1]:.2f} times |" in performance
