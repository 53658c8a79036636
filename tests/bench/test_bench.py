"""The document of `gpt bench`: its shape, where its numbers come from, and what it refuses. Nothing here is timed."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import gpt as command
from needs import go_without
from tiny import SMALLEST, write_run

from gpt.bench.document import part_cells
from gpt.bench.nanogpt import SAME, NanoGPT, check_comparable
from gpt.bench.parts import Part
from gpt.bench.spread import Spread
from gpt.bench.start_up import measure_start_up
from gpt.commands.workspace import open_corpora
from gpt.errors import InputError
from gpt.run_file import read_run_file
from gpt.train.optim.schedule import learning_rate

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path: Path, excerpt: Path) -> Path:
    return write_run(tmp_path / "small.yaml", excerpt, SMALLEST)


def gpt(*words: str | Path) -> tuple[int, str]:
    return command(*words, "--quick", *([] if "--ranks" in words else ["--ranks", "1"]), home=Path.cwd())


def bench(*words: str | Path) -> dict[str, Any]:
    code, said = gpt("bench", *words, "--device", "cpu", "--json")
    assert code == 0, said
    return json.loads(said[said.index("{") :])


def spreads(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        here = [value] if "samples" in value else []
        return here + [found for item in value.values() for found in spreads(item)]
    return [found for item in value for found in spreads(item)] if isinstance(value, list) else []


def test_the_document_has_every_part_and_its_ratios_are_those_of_its_samples(run: Path) -> None:
    found = bench(run, "--seeds", "3", "--model.dropout", "0.1")
    assert found["config"]["model"]["dropout"] == 0.1
    assert found["machine"]["threads"] == 1
    assert {"torch", "device", "cpu", "commit"} <= found["machine"].keys()
    assert [(cost["seeds"], cost["deterministic"]) for cost in found["steps"]] == [(1, False), (2, False), (1, True)], (
        "powers of two up to what was asked for, then strict mode"
    )
    assert {cost["mode"] for cost in found["steps"]} == {"eager"}
    for cost in found["steps"]:
        tokens = cost["seeds"] * 4 * 8
        assert cost["tokens_per_second"] == pytest.approx(tokens / cost["seconds"]["median"])
        achieved = cost["tokens_per_second"] * found["training_flops_per_token"]
        assert cost["utilisation"] == pytest.approx(achieved / found["ceiling"]["flops_per_second"])
    ceiling = found["ceiling"]
    assert ceiling["flops_per_second"] == pytest.approx(2 * ceiling["size"] ** 3 / ceiling["seconds"]["median"])
    for spread in spreads(found):
        quartiles = [spread["low"], spread["median"], spread["high"]]
        assert quartiles == pytest.approx(np.quantile(spread["samples"], [0.25, 0.5, 0.75]).tolist())
    assert found["start_up"]["stages"].keys() == {"imports", "text", "model", "first step"}
    assert found["start_up"]["peak_memory"] > 2**20
    assert found["start_up"]["files"] > 500, "torch alone has more"
    assert found["against"] is None


def test_every_part_of_a_run_is_counted_as_often_as_the_run_has_it(run: Path) -> None:
    found = bench(run, "--seeds", "1")
    times = {part["name"]: part["times"] for part in found["parts"]}
    probes = {name for name in times if name.startswith("probe ")}
    assert {"probe attention", "probe residual", "probe dead_units", "probe induction"} <= probes
    expected = {
        "evaluation": 3,
        "all probes": 3,
        "update ratios": 3,
        "checkpoint": 3,
        "records of an evaluation": 3,
        "sample": 1,
        "use of context": 1,
    }
    assert expected == {name: times[name] for name in expected}, "12 steps; each 6, each 4 for checkpoints"
    assert set(times) == {*expected, *probes, "recording 50 steps"}
    of_steps = 12 * found["steps"][0]["seconds"]["median"]
    for part in found["parts"]:
        assert part["share"] == pytest.approx(part["times"] * part["seconds"]["median"] / of_steps)


def test_what_a_run_does_not_do_is_not_measured(run: Path) -> None:
    found = bench(
        run, "--seeds", "1", "--probes.every=0", "--sample.characters=0", "--probes.long_range_windows=0"
    )  # fmt: skip
    assert [part["name"] for part in found["parts"]] == [
        "evaluation", "recording 50 steps", "checkpoint", "records of an evaluation",
    ]  # fmt: skip


def test_a_person_is_told_in_a_table(run: Path) -> None:
    code, said = gpt("bench", run, "--device", "cpu", "--seeds", "2")
    assert code == 0
    assert re.search(r"^steps +seeds  ms a step", said, re.MULTILINE)
    assert re.search(r"^eager, strict +1 ", said, re.MULTILINE)
    assert "a whole run of 12 steps" in said


def test_a_cost_below_the_noise_of_its_timings_is_no_number() -> None:
    times = 3
    noise, cost = (
        Part("update ratios", Spread.of(samples), times, times * Spread.of(samples).median)
        for samples in ([-0.02, -0.004, 0.001], [0.002, 0.004, 0.005])
    )
    assert part_cells(noise) == ["update ratios", "below noise", "-12.00 to -1.50", "3", "-"]
    assert part_cells(cost) == ["update ratios", "4.00", "3.00 to 4.50", "3", "1.20%"]


def test_ranks_that_share_a_run_are_timed_in_turns_with_ranks_side_by_side(run: Path) -> None:
    found = bench(run, "--seeds", "1", "--ranks", "3")
    (cost,) = found["ranks"]
    assert cost["ranks"] == 2, "powers of two, and one alone is the first line"
    assert len(cost["speed_up"]["samples"]) == len(cost["seconds"]["samples"]) == 2
    tokens = 4 * 8
    assert cost["tokens_per_second"] == pytest.approx(tokens / cost["seconds"]["median"])
    alone = [a * b for a, b in zip(cost["speed_up"]["samples"], cost["seconds"]["samples"], strict=True)]
    assert cost["side_by_side"] == pytest.approx(2 * tokens / np.median(alone))
    code, said = gpt("bench", run, "--device", "cpu", "--seeds", "1", "--ranks", "2", "--train.batch_size=3")
    assert code == 0
    assert "left out: 2 ranks: train.batch_size: got 3, must be a multiple of 2 ranks" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--ranks", "0"], "--ranks: got 0, must be at least 1"),
        (["--seeds", "0"], "--seeds: got 0, must be at least 1"),
        (["--modes", "fast"], "--modes: got fast, must be some of eager,compiled,graph"),
        (["--modes", "eager,eager"], "each once"),
        (["--modes", "graph", "--device", "cpu"], "train.step: got graph, must be auto, eager or compiled on cpu"),
        (["--threads", "0"], "--threads: got 0"),
        (["--device", "tpu"], "--device: got 'tpu'"),
        (["--model.heads", "3"], "must be a multiple of heads 3"),
        (["--model.hads", "3"], "hads"),
        (["--faster"], "unknown argument --faster"),
        (["--against", "nowhere"], "--against: model.position: got 'rope', must be 'learned'"),
        (["--against", "nowhere", "--model.position=learned", "--model.tie_embeddings=true"], "no checkout of nanoGPT"),
    ],
)
def test_bad_input_is_one_line(run: Path, words: list[str], complaint: str) -> None:
    code, said = gpt("bench", run, *words)
    assert code == 2
    assert complaint in said
    assert len(said.splitlines()) == 1


def test_a_process_that_fails_to_start_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    with pytest.raises(InputError) as refused:
        measure_start_up(missing, [], "cpu", 1, 1)
    said = str(refused.value)
    assert said.startswith("gpt bench: a process that starts training failed: ")
    assert str(missing) in said
    assert len(said.splitlines()) == 1


def test_a_launcher_may_not_start_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    code, said = gpt("bench", run)
    assert code == 2
    assert "must not be started by a launcher" in said


# Against nanoGPT

COMPARABLE = ("--model.position=learned", "--model.tie_embeddings=true")


def checkout() -> Path:
    found = os.environ.get("GPT_TEST_NANOGPT", "")
    return Path(found) if found else go_without("nanogpt", "GPT_TEST_NANOGPT names no checkout of nanoGPT")


def test_nanogpts_own_loop_is_timed_in_turns_with_ours(run: Path) -> None:
    found = bench(run, *COMPARABLE, "--seeds", "2", "--against", checkout())
    rival = found["against"]
    assert rival["compiled"] is False, "as its README has it on a CPU"
    assert rival["losses"]["steps"] == 20
    assert abs(rival["losses"]["ours"] - rival["losses"]["theirs"]) <= rival["losses"]["allowed"]
    first, two, _ = found["steps"]
    ratios = [a / b for a, b in zip(rival["seconds"]["samples"], first["seconds"]["samples"], strict=True)]
    assert first["over_nanogpt"]["samples"] == pytest.approx(ratios)
    assert rival["tokens_per_second"] == pytest.approx(4 * 8 / rival["seconds"]["median"])
    assert len(two["over_nanogpt"]["samples"]) == len(two["seconds"]["samples"])


def test_nanogpt_learns_our_text_at_our_rates_and_leaves_no_trace(run: Path) -> None:
    config = read_run_file(run, [*COMPARABLE, "--train.steps=120"])
    data = open_corpora().load(config)
    before = torch.backends.cuda.matmul.allow_tf32, list(sys.path), Path.cwd()
    with NanoGPT(checkout(), config, data, CPU) as rival:
        rates = [rival._names["lr"]]
        for _ in range(119):
            rival.take(1)
            rates.append(rival._names["lr"])
        ours = [learning_rate(step, 120, config.optim) for step in range(1, 121)]
        assert rates == pytest.approx(ours, abs=0.01 * config.optim.lr), "its cosine begins one step earlier"
        assert len(rival.losses) == 120
        assert rival._names["model"].config.vocab_size == data.tokenizer.vocabulary_size
        text = Path(rival._names["data_dir"])
        assert np.array_equal(np.fromfile(text / "train.bin", np.uint16), data.train)
    assert not text.exists()
    assert (torch.backends.cuda.matmul.allow_tf32, list(sys.path), Path.cwd()) == before
    assert "model" not in sys.modules


def test_every_field_that_nanogpt_has_no_choice_for_is_checked(repository: Path) -> None:
    config = read_run_file(repository / "configs" / "runs" / "nanogpt_cpu.yaml")
    check_comparable(config, CPU)
    check_comparable(
        read_run_file(repository / "configs" / "runs" / "baby_gpt.yaml"), torch.device("cuda")
    )  # fmt: skip
    with pytest.raises(InputError, match=r"train.precision: got 'bf16', must be 'fp32', as nanoGPT has it on a CPU"):
        check_comparable(read_run_file(repository / "configs" / "runs" / "baby_gpt.yaml"), CPU)
    for word in ("--model.norm=rmsnorm", "--model.mlp=relu", "--model.qk_norm=true", "--optim.eps=1e-6"):
        changed = read_run_file(repository / "configs" / "runs" / "nanogpt_cpu.yaml", [word])
        with pytest.raises(InputError, match=word[2:].split("=")[0]):
            check_comparable(changed, CPU)
    assert len(SAME) == 11


@pytest.mark.parametrize("script", ["", "x = 1\n", "while True: pass\nwhile True: pass\n", "def broken(:\n"])
def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, run: Path, script: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.py").write_text(script)
    (tmp_path / "other" / "model.py").write_text("")
    code, said = gpt("bench", run, *COMPARABLE, "--against", tmp_path / "other")
    assert code == 2
    assert "no checkout of nanoGPT" in said


def test_what_fails_in_a_checkout_is_one_line(tmp_path: Path, run: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.py").write_text("from model import GPT\nwhile True:\n    pass\n")
    (tmp_path / "other" / "model.py").write_text("")
    code, said = gpt("bench", run, *COMPARABLE, "--against", tmp_path / "other")
    assert code == 2
    assert "nanoGPT's own code failed: ImportError" in said.splitlines()[-1]
