"""`from gpt import ...`: what README, docs/api.md and examples/ show works, and says what the files hold."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from published import REPOSITORY
from tiny import write_run

import gpt
from gpt import InputError, Run, compare_runs, load_findings, load_run, read_run_file, run_study, train_run, verdicts
from gpt.train.saved_model import load_model

STUDIES = ("configs/studies/quick/normalization.yaml", "configs/studies/qk_norm.yaml")
"""the studies that README and docs/api.md run; in README the second is written down above"""


QUICK = {"optim": {"warmup_steps": 2}, "train": {"steps": 12, "eval_every": 6}, "probes": {"every": 6}}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """The repository as a reader has it, with a tiny run, and a study of it with two seeds that has been run."""
    root = tmp_path_factory.mktemp("checkout")
    for path in ("results", "examples"):
        (root / path).symlink_to(REPOSITORY / path)
    for folder in ("configs/runs", "configs/studies/quick"):
        (root / folder).mkdir(parents=True)
    write_run(root / "configs/runs/char_quick.yaml", excerpt, QUICK)
    study = (REPOSITORY / STUDIES[0]).read_text()
    study = re.sub("metric: .*\n", "", re.sub("seeds: .*", "seeds: 2", study))
    study = study.replace("../../runs", str(root / "configs/runs"))
    for path in STUDIES:
        (root / path).write_text(study)
    run_study(root / STUDIES[0], out=root / "out")
    return root


@pytest.fixture
def here(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(checkout)
    return checkout


@pytest.fixture
def run(checkout: Path) -> Run:
    """Post-LN's run of seed 0."""
    variant = load_findings(checkout / "out/studies/quick-normalization").settings[0].variants[1]
    return load_run(checkout / "out/runs" / variant.runs[0])


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.M | re.S)


def cells(notebook: str) -> list[str]:
    content = json.loads((REPOSITORY / notebook).read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize(
    "page", ["README.md", pytest.param("docs/api.md", marks=pytest.mark.slow), "examples/read_a_run.ipynb"]
)
def test_the_python_of_a_page_works_from_top_to_bottom(page: str, here: Path, run: Run) -> None:
    plt.switch_backend("agg")
    shown = cells(page) if page.endswith(".ipynb") else blocks(page)
    assert shown
    names: dict[str, Any] = {}
    for block in shown:
        exec(block.replace("FINGERPRINT", run.folder.name), names)
    plt.close("all")


def test_the_notebook_is_stored_without_output() -> None:
    content = json.loads((REPOSITORY / "examples/read_a_run.ipynb").read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") for cell in content["cells"])


def test_the_script_prints_what_a_study_found(here: Path) -> None:
    command = [sys.executable, "examples/run_a_study.py", STUDIES[0]]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    findings = load_findings("out/studies/quick-normalization")
    assert findings.study.question in ended.stdout
    assert findings.contrasts[0].verdict in ended.stdout
    assert verdicts(findings)[0] in ended.stdout


def test_a_run_has_what_its_files_hold(run: Run) -> None:
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert run.curve("train/loss")[1].tolist() == [row["train/loss"] for row in rows if "train/loss" in row]
    steps, norms = run.curve("grad/layer_norm")
    assert norms.shape == (len(steps), len(run.layers))
    assert run.axes("grad/layer_norm") == [run.layers]
    assert run.config.model.norm_placement == "post"
    assert run.status.state == "done"
    assert run.summary["val/loss.min"] == min(row["val/loss"] for row in rows if "val/loss" in row)
    for name, (steps, values) in run.probes.items():
        assert values.shape == (len(steps), *map(len, run.axes(name))), name
    assert run.axes("attention_entropy") == [["layer 0", "layer 1"], ["head 0", "head 1"]]
    assert run.axes("residual_rms") == [["embedding", "layer 0", "layer 1"]]
    assert run.context_use["loss_by_position"].shape == (2 * run.config.model.context,)
    is_test = run.window_losses["window_is_test"]
    last = run.window_losses["window_loss_last"][is_test].mean(dtype=np.float64)
    assert last == pytest.approx(run.curve("test/loss")[1][-1], abs=1e-12)


def test_a_run_has_its_model_and_writes_its_own_sample_again(run: Run) -> None:
    logits, inside = run.forward("To be", ["residual", "attention"])
    model, tokenizer, _ = load_model(run.folder / "model")
    expected, _ = model(torch.from_numpy(tokenizer.encode("To be")).view(1, 1, -1))
    torch.testing.assert_close(logits, expected[0, 0].detach())
    assert [tuple(weights.shape) for weights in inside["attention"]] == [(2, 5, 5)] * 2
    assert len(inside["residual"]) == 3
    asked = run.config.sample
    again = run.generate(asked.prompt, asked.characters, asked.temperature, run.config.seed)
    assert again == (run.folder / "samples.txt").read_text()


def test_two_runs_differ_in_what_was_changed(run: Run, here: Path) -> None:
    config = read_run_file(Path("configs/runs/char_quick.yaml"))
    other = train_run(config)
    assert other.config == config
    difference = compare_runs(other, run)
    assert difference.config == {"model.norm_placement": ("pre", "post")}
    assert difference.summary["val/loss.min"] == (other.summary["val/loss.min"], run.summary["val/loss.min"])
    assert not np.isnan(difference.summary["val/loss.min"]).any()


MISTAKES: dict[str, tuple[Callable[[Run], object], str]] = {
    "no run": (lambda run: load_run("nowhere"), "nowhere: holds no run"),
    "no findings": (lambda run: load_findings("nowhere"), "findings.json"),
    "no study": (lambda run: run_study("nowhere.yaml"), "nowhere.yaml: no such file"),
    "unknown field": (lambda run: train_run(run.config, {"optim.rate": 1}), "unknown key optim.rate"),
    "unknown option": (lambda run: train_run(run.config, options=["--device", "x"]), "--device: got 'x', must be cpu"),
    "unknown curve": (lambda run: run.curve("val/los"), "recorded no 'val/los', must be among grad/clip_scale"),
    "unknown probe": (lambda run: run.axes("entropy"), "recorded no 'entropy'"),
    "unknown intermediate": (lambda run: run.forward("a", ["heads"]), "capture: got 'heads', must be among residual"),
    "no text": (lambda run: run.forward(""), "text: got 0 characters, must be from 1 to"),
    "too long a text": (lambda run: run.forward("a" * 17), "text: got 17 characters"),
    "unknown character": (lambda run: run.generate("\u1234"), "U\\+1234"),
    "no temperature": (lambda run: run.generate(temperature=0.0), "temperature: got 0.0, "),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, run: Run, here: Path) -> None:
    make, words = MISTAKES[mistake]
    with pytest.raises(InputError, match=words) as error:
        make(run)
    assert "\n" not in str(error.value)


def test_a_run_that_fails_is_an_error(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "runs" / run.folder.name
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{}")
    with pytest.raises(RuntimeError, match=r"ended with exit code 3: not done: .*corrupt"):
        train_run(run.config, out=tmp_path)


def test_importing_is_light() -> None:
    code = (
        "import sys, gpt\n"
        "print('loaded:', *sys.modules)\n"
        f"print(gpt.load_findings({str(REPOSITORY / 'results/normalization')!r}).study.name)\n"
        "print('later:', 'torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    loaded = ended.stdout.split("loaded:")[1].splitlines()[0].split()
    assert [name for name in loaded if name.split(".")[0] in ("gpt", "numpy", "torch", "pydantic")] == ["gpt"]
    assert "normalization\nlater: False" in ended.stdout


def test_every_public_name_is_there_and_has_its_type() -> None:
    tree = ast.parse((REPOSITORY / "gpt/__init__.py").read_text())
    typed = [a.asname for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names if a.asname]
    assert sorted(typed) == sorted(gpt.__all__)
    for name in gpt.__all__:
        assert getattr(gpt, name).__doc__, name
        assert f"`{name}" in (REPOSITORY / "docs/api.md").read_text() or name in ("Run", "Findings", "Difference")
    with pytest.raises(AttributeError, match="no attribute 'load_runs'"):
        gpt.load_runs  # noqa: B018


@pytest.mark.slow
def test_a_type_checker_sees_the_types_of_a_users_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from gpt import GPT, Findings, load_run, run_study\n"
        "run = load_run('x')\n"
        "model: GPT = run.model\n"
        "findings: Findings = run_study('x')\n"
        "print(findings.contrasts[0].p_adjusted + 1, run.curve('val/loss')[1].mean(), run.config.optim.lr + 1)\n"
        "wrong: int = run.generate()\n"
        "load_run(3)\n"
        "findings.contrast\n"
        "from gpt import load_runs\n"
    )
    command = [sys.executable, "-m", "mypy", str(script)]
    environment = os.environ | {"MYPYPATH": str(REPOSITORY)}
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    wrong = [int(line.split(":")[1]) for line in ended.stdout.splitlines() if ": error:" in line]
    assert wrong == [6, 7, 8, 9], ended.stdout
