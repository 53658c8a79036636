"""Strict mode: the same bytes twice, also after a kill; on the CPU, and on a GPU where there is one."""

from pathlib import Path

import pytest
import torch
from commands import GPT, records, run_command, runs_of, started, wait_for
from reference import VOCABULARY, run_config
from tiny import study_of

from gpt.train.engines.deterministic import set_deterministic
from gpt.train.engines.single_process import SingleProcessEngine

DEVICES = [
    ("cpu", "eager"),
    *(
        pytest.param(
            "cuda", step, marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
        )
        for step in ("eager", "compiled", "graph")
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("device", "step"), DEVICES)
def test_strict_runs_leave_the_same_bytes_twice_and_after_a_kill(
    device: str, step: str, excerpt: Path, tmp_path: Path
) -> None:
    train = {"deterministic": "true", "step": step, "steps": 120, "eval_every": 60, "checkpoint_every": 20}
    model = {"norm_placement": "post", "position": "learned", "dropout": 0.2}
    study = study_of(tmp_path, excerpt, train=train, model=model)
    study.write_text(study.read_text().replace("[pre, post]", "[post, peri]"))
    words = [*GPT, "study", "run", study, "--device", device, "--seeds-per-process", "2", "--processes", "1", "--out"]
    for out in ("once", "twice"):
        code, said = run_command([*words, out], tmp_path, 600)
        assert code == 0, said
    expected = records(tmp_path / "once")
    assert len(runs_of(tmp_path / "once")) == 4
    assert records(tmp_path / "twice") == expected
    killed = tmp_path / "killed"
    with started([*words, "killed"], tmp_path) as command:
        wait_for(lambda: list(killed.glob("runs/*/checkpoints/step-00000040")), command, 300)
        command.end()
    code, said = run_command([*words, "killed"], tmp_path, 600)
    assert code == 0, said
    assert records(killed) == expected


def test_an_engine_sets_its_process_to_what_its_run_asks_for() -> None:
    try:
        SingleProcessEngine(run_config(train={"deterministic": True}), VOCABULARY, (0,), torch.device("cpu"))
        assert torch.are_deterministic_algorithms_enabled()
        SingleProcessEngine(run_config(), VOCABULARY, (0,), torch.device("cpu"))
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        set_deterministic(False)
