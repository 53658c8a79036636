"""docs/probes.md says what is recorded in the words of the catalogue, and a run records just that."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from commands import gpt, runs_of
from published import REPOSITORY
from tiny import write_run

from gpt.config import ProbeConfig, RunConfig
from gpt.probes.declared import declared_arrays
from gpt.records.catalogue import SCALARS, Entry
from gpt.records.jsonl import read_jsonl
from gpt.records.run_folder import load_arrays
from gpt.records.schema import EVENTS, FAST_STEP_LEFT
from gpt.run_file import read_run_file
from gpt.train import events
from gpt.train.detectors import Drift, Jump, Oscillation

PAGE = (REPOSITORY / "docs/probes.md").read_text(encoding="utf-8")


def table(rows: Iterable[Iterable[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """A run that records everything."""
    changes = {"probes": {"noise_scale": "true", "long_range_windows": 4}, "train": {"micro_batch_size": 4}}
    return write_run(tmp_path_factory.mktemp("page") / "run.yaml", excerpt, changes)


@pytest.fixture(scope="module")
def config(run_file: Path) -> RunConfig:
    return read_run_file(run_file)


@pytest.fixture(scope="module")
def recorded(run_file: Path) -> dict[str, str]:
    """When the run recorded each name."""
    out = run_file.parent / "out"
    code, said = gpt("train", run_file, "--out", out, home=run_file.parent)
    assert code == 0, said
    (folder,) = runs_of(out)
    first, *_, last = read_jsonl(folder.metrics)
    probed = load_arrays(folder.probe_file(last["step"]))
    return {
        **dict.fromkeys({**first, **last}.keys(), "every step"),
        **dict.fromkeys(first, "evaluation"),
        **dict.fromkeys(probed, "probed"),
        **dict.fromkeys([*load_arrays(folder.long_range), *load_arrays(folder.window_losses)], "end"),
    }


def test_the_page_lists_what_a_run_records(config: RunConfig, recorded: dict[str, str]) -> None:
    def row(entry: Entry, axes: tuple[str, ...]) -> list[str]:
        meaning = f"{entry.title}: {entry.meaning}" if entry.meaning else entry.title
        return [f"`{entry.name}`", ", ".join(axes), recorded[entry.name], entry.unit, meaning]

    arrays = declared_arrays(config)
    assert recorded.keys() - {"step", "context_lengths"} == {*SCALARS, *(array.name for array in arrays)}
    rows = [*(row(scalar, ()) for scalar in SCALARS.values()), *(row(array, array.axes) for array in arrays)]
    assert table([["name", "axes", "when", "unit", "meaning"], ["---"] * 5, *rows]) in PAGE


def test_the_page_lists_the_fields_that_say_how_much_is_measured() -> None:
    fields = [[f"`probes.{name}`", str(info.description)] for name, info in ProbeConfig.model_fields.items()]
    assert table([["field", "meaning"], ["---"] * 2, *fields]) in PAGE


def test_the_page_lists_the_events_with_the_numbers_of_their_rules() -> None:
    above = f"{Jump.DEVIATIONS:g} robust standard deviations"
    trend = f"the median of the last {Jump.TREND}"
    rules = {
        events.NONFINITE: "the run ends there, and has failed",
        events.SPIKE: f"{above}, and at least {events.SPIKE_NATS:g} nats, above {trend} losses; "
        f"{events.EARLY_SPIKE_NATS:g} nat up to step {Jump.EARLY}; from step 2 on",
        events.GRAD_NORM_SPIKE: f"the same of the logarithm: {above} above {trend}, and at least "
        f"{events.GRAD_NORM_FACTOR:g} times as large; from step 2 on",
        events.DRIFT: f"the median of {Drift.WINDOW} losses is {Drift.DEVIATIONS:g} of their robust standard "
        f"deviations, and at least {events.DRIFT_NATS:g} nats, above its lowest so far; from step {Drift.WINDOW} on",
        events.OSCILLATION: f"one period of 2 to {Oscillation.WINDOW // Oscillation.SLOWEST} steps holds "
        f"{100 * Oscillation.SHARE:g} % of the variance of {Oscillation.WINDOW} detrended losses, and swings by at "
        f"least {events.OSCILLATION_NATS:g} nats; from step {Oscillation.WINDOW} on",
        events.ENTROPY_COLLAPSE: f"below {100 * events.COLLAPSED_SHARE:g} % of that of attention spread evenly",
        FAST_STEP_LEFT: "loss or gradient norm; the run is no worse for it",
    }
    assert rules.keys() == EVENTS.keys()
    rows = [[f"`{kind}`", meaning, rules[kind]] for kind, meaning in EVENTS.items()]
    assert table([["event", "meaning", "rule"], ["---"] * 3, *rows]) in PAGE
