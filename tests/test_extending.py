"""docs/extending.md, followed to the letter: its files are written, its commands run, and its classes compared with
what they say they are."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
from published import REPOSITORY
from reference import model_config, normal, random_tokens, run_config, text

import gpt.runner.checks.variants  # noqa: F401  # imports what registers
from gpt import load_findings
from gpt.commands.workspace import cache_folder
from gpt.config import BUILT_IN, OptimConfig, RunConfig
from gpt.data.batches import training_batch
from gpt.data.corpus import load_text
from gpt.model.gpt import build_model
from gpt.model.intermediates import Intermediates
from gpt.plugins import Plugin, forget_plugin, load_plugin
from gpt.records.run_folder import RunFolder
from gpt.registry import REGISTRIES
from gpt.run_file import read_run_file
from gpt.train.engines.single_process import SingleProcessEngine
from gpt.train.optim.schedule import learning_rate
from gpt.yaml_file import parse

PAGE = (REPOSITORY / "docs/extending.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files: each block that opens with a file's name."""
    folder = tmp_path_factory.mktemp("mine")
    for name, content in re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", PAGE, re.M | re.S):
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.fixture
def plugin(folder: Path) -> Iterator[Callable[[str], Plugin]]:
    """Loads files of the page for one test."""
    loaded: list[Plugin] = []

    def load(name: str) -> Plugin:
        loaded.append(load_plugin(folder / name))
        return loaded[-1]

    yield load
    for one in loaded:
        forget_plugin(one.sha256)


def test_the_page_has_a_row_for_every_registry() -> None:
    rows = {field: (base, name) for base, name, field in re.findall(r"\| `([\w.]+)` \| `(\w+)` \| `([\w.]+)` \|", PAGE)}
    assert set(rows) == set(BUILT_IN)
    for field, (base, name) in rows.items():
        module, _, cls = base.rpartition(".")
        assert getattr(sys.modules[module], name) is REGISTRIES[field]
        assert all(issubclass(one, getattr(sys.modules[module], cls)) for one in REGISTRIES[field].values())


def test_the_activation_is_the_square_of_torchs_relu(plugin: Callable[[str], Plugin]) -> None:
    assert plugin("squared_relu.py").provides == {"model.mlp": {"squared_relu": ()}}
    mlp = REGISTRIES["model.mlp"]["squared_relu"](model_config(bias=True), 2)
    with torch.no_grad():
        for i, parameter in enumerate(mlp.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=i))
    x = normal(2, 3, 4, 16, seed=9)
    y = mlp(x, Intermediates())
    for s in range(2):
        w = {name: value[s] for name, value in mlp.named_parameters()}
        hidden = torch.nn.functional.relu(x[s] @ w["up.weight"] + w["up.bias"]) ** 2
        torch.testing.assert_close(y[s], hidden @ w["down.weight"] + w["down.bias"])


def test_the_position_encoding_turns_a_share_of_each_head(plugin: Callable[[str], Plugin]) -> None:
    assert plugin("partial_rope.py").provides == {"model.position": {"partial_rope": ("rotary_share",)}}
    partial = REGISTRIES["model.position"]["partial_rope"]
    x = normal(2, 3, 2, 12, 8)
    for options, turning in (({}, 2), ({"rotary_share": 0.5}, 4), ({"rotary_share": 1.0}, 8)):
        turned = partial(model_config(options=options), 2).rotate(x)
        assert torch.equal(turned[..., turning:], x[..., turning:])
        for s, b, h in np.ndindex(2, 3, 2):
            expected = torch.from_numpy(reference.rope(x[s, b, h, :, :turning].double().numpy()))
            torch.testing.assert_close(turned[s, b, h, :, :turning].double(), expected, atol=1e-6, rtol=0)
    config = model_config(position="partial_rope", options={"rotary_share": 0.5})
    assert build_model(config, 11, (0, 1))(random_tokens(2, 1, 5))[0].shape == (2, 1, 5, 11)


class NaiveLion:
    """One parameter tensor of one seed: Chen et al. 2023, algorithm 2."""

    def __init__(self, weight: reference.Array, beta1: float, beta2: float, weight_decay: float):
        self.weight, self.beta1, self.beta2, self.weight_decay = weight, beta1, beta2, weight_decay
        self.mean = np.zeros_like(weight)

    def update(self, gradient: reference.Array, lr: float) -> None:
        direction = np.sign(self.beta1 * self.mean + (1 - self.beta1) * gradient)
        self.weight = self.weight - lr * (direction + self.weight_decay * self.weight)
        self.mean = self.beta2 * self.mean + (1 - self.beta2) * gradient


def test_the_optimizer_equals_the_naive_algorithm_for_each_of_several_seeds(plugin: Callable[[str], Plugin]) -> None:
    plugin("lion.py")
    settings = OptimConfig(optimizer="lion", lr=1e-2, warmup_steps=0, beta1=0.8, beta2=0.95)
    groups = [
        {"params": [torch.nn.Parameter(normal(2, 3, 4))], "weight_decay": 0.3},
        {"params": [torch.nn.Parameter(normal(2, 4, seed=1))], "weight_decay": 0.0},
    ]
    optimizer = REGISTRIES["optim.optimizer"]["lion"].build(groups, settings)
    naive = {
        (g, s): NaiveLion(group["params"][0][s].detach().double().numpy().copy(), 0.8, 0.95, group["weight_decay"])
        for g, group in enumerate(groups)
        for s in range(2)
    }
    for step, lr in enumerate((1e-2, 3e-2, 1e-3, 2e-2)):
        for g, group in enumerate(optimizer.param_groups):
            group["lr"], (p,) = lr, group["params"]
            p.grad = normal(*p.shape, seed=10 * step + g)
            for s in range(2):
                naive[g, s].update(p.grad[s].double().numpy(), lr)
        optimizer.step()
    for (g, s), one in naive.items():
        p = optimizer.param_groups[g]["params"][0]
        np.testing.assert_allclose(p[s].detach().numpy(), one.weight, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(optimizer.state[p]["mean"][s].numpy(), one.mean, rtol=1e-5, atol=1e-6)


def trained(engine: SingleProcessEngine, config: RunConfig, steps: range) -> None:
    for step in steps:
        batch = training_batch(text(4000), engine.seeds, step, range(4), config.model.context)
        engine.train_step(step, torch.from_numpy(batch), 1e-3, measure_updates=False)


def test_seeds_together_and_a_resumed_run_have_the_bits_of_one_alone(plugin: Callable[[str], Plugin]) -> None:
    lion = plugin("lion.py")
    plain = run_config()
    config = RunConfig(
        model=plain.model,
        optim=plain.optim.model_copy(update={"optimizer": "lion"}),
        train=plain.train,
        plugins={"lion.py": lion},
    )
    together, alone = (SingleProcessEngine(config, 11, seeds, torch.device("cpu")) for seeds in ([3, 7], [7]))
    trained(together, config, range(1, 6))
    trained(alone, config, range(1, 4))
    state = {name: value.clone() for name, value in alone.state().items()}
    assert {name.partition("/")[0] for name in state} == {"parameter", "mean"}
    resumed = SingleProcessEngine(config, 11, [7], torch.device("cpu"))
    resumed.load(3, state)
    for engine in (alone, resumed):
        trained(engine, config, range(4, 6))
    for name, value in alone.weights().items():
        assert torch.equal(resumed.weights()[name], value), name
        torch.testing.assert_close(together.weights()[name][1:], value, atol=1e-4, rtol=1e-4)


def test_the_schedule_is_a_straight_line(plugin: Callable[[str], Plugin]) -> None:
    plugin("linear.py")
    optim = OptimConfig(schedule="linear", lr=1e-2, warmup_steps=10, final_lr_ratio=0.1)
    rates = [learning_rate(step, 110, optim) for step in range(11, 111)]
    np.testing.assert_allclose(rates, np.linspace(1e-2, 1e-3, 100))


def test_the_text_is_made_once_and_kept(plugin: Callable[[str], Plugin], tmp_path: Path) -> None:
    assert plugin("sums.py").provides == {"data.source": {"sums": ()}}
    text, sha256 = load_text("sums", tmp_path)
    assert sha256 == REGISTRIES["data.source"]["sums"].sha256
    for line in text.splitlines():
        a, plus, b, equals, c = line.split()
        assert (plus, equals, int(a) + int(b)) == ("+", "=", int(c))
    assert len(set(text.splitlines())) == 10_000
    assert (tmp_path / "sums.txt").read_bytes() == text.encode()


def test_the_tokenizer_gives_back_what_it_was_given(plugin: Callable[[str], Plugin]) -> None:
    plugin("utf8_bytes.py")
    kind = REGISTRIES["data.tokenizer"]["utf8_bytes"]
    for tokenizer in (kind.from_text("abc"), kind.from_state(kind.from_text("abc").state())):
        assert tokenizer.encode("aé😀").tolist() == list("aé😀".encode())
        assert tokenizer.decode(tokenizer.encode("aé😀\r\n")) == "aé😀\r\n"


@pytest.fixture(scope="module")
def out(folder: Path) -> Path:
    """What the page's commands leave, run one after the other."""
    cache = folder / "cache"
    cache.mkdir()
    shutil.copy(cache_folder() / "tiny_shakespeare.txt", cache)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "GPT_CACHE": str(cache)}
    for command in COMMANDS:
        runs = [run for run in (folder / "out/runs").glob("*") if configuration(run).model.mlp == "squared_relu"]
        words = shlex.split(command.replace("FINGERPRINT", runs[0].name if runs else ""))
        ran = subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        assert ran.returncode == 0, (command, ran.stdout[-2000:], ran.stderr[-2000:])
    return folder / "out"


def configuration(run: Path) -> RunConfig:
    return parse(RunConfig, json.loads((run / "run.json").read_text())["config"], str(run))


@pytest.mark.slow
def test_the_pages_commands_train_what_they_say(out: Path) -> None:
    chosen = [configuration(run) for run in (out / "runs").glob("*") if RunFolder(run).finished]
    assert sorted(config.model.mlp for config in chosen if config.model.mlp != "gelu") == ["squared_relu"] * 3
    shares = [config.model.options.get("rotary_share") for config in chosen if config.model.position == "partial_rope"]
    assert sorted(shares) == [0.25] * 3 + [0.5] * 3 + [1.0] * 3
    others = [(config.optim.optimizer, config.optim.schedule, config.data.tokenizer) for config in chosen]
    for one in (("lion", "cosine", "characters"), ("adamw", "linear", "characters"), ("adamw", "cosine", "utf8_bytes")):
        assert others.count(one) == 1
    assert [config.data.source for config in chosen].count("sums") == 1
    assert [config.probes.extra for config in chosen if config.probes.extra] == [("turning",)]
    for study in ("squared-relu", "rotary-share"):
        findings = load_findings(out / "studies" / study)
        assert all(setting.contrasts for setting in findings.settings)


@pytest.mark.slow
def test_the_studys_report_can_be_run_again(out: Path, folder: Path, tmp_path: Path) -> None:
    page = (out / "studies/squared-relu/report/report.md").read_text()
    for name, content in re.findall(r"<summary>(\S+)</summary>\n\n```\w+\n(.*?)\n```\n", page, re.S):
        (tmp_path / name).write_text(content + "\n")
    assert (tmp_path / "squared_relu.py").read_text() == (folder / "squared_relu.py").read_text()
    again = read_run_file(tmp_path / "base.yaml").plugins
    assert {name: plugin.sha256 for name, plugin in again.items()} == {
        name: plugin.sha256 for name, plugin in read_run_file(folder / "my_run.yaml").plugins.items()
    }
