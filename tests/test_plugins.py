"""Claims about files of a user's own variants; what a test loads is forgotten after it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import gpt
from files import edited

from gpt.config import BUILT_IN, RunConfig
from gpt.errors import InputError
from gpt.fingerprint import fingerprint
from gpt.plugins import forget_plugin, loaded_plugins
from gpt.run_file import read_run_file
from gpt.yaml_file import parse

VARIANTS = """
import torch
from gpt.data.tokenizer import TOKENIZERS, CharTokenizer
from gpt.model.mlp import MLPS, FeedForward
from gpt.model.position import POSITIONS, PositionEncoding
from gpt.probes.protocol import PROBES, Probe
from gpt.train.optim.adamw import AdamW
from gpt.train.optim.optimizer import OPTIMIZERS
from gpt.train.optim.schedule import SCHEDULES, Schedule
from gpt.yaml_file import Strict


@MLPS.register("squared")
class Squared(FeedForward):
    def hidden(self, x_SBTD):
        return torch.relu(self.up(x_SBTD)).square()


@POSITIONS.register("scaled")
class Scaled(PositionEncoding):
    class Options(Strict):
        scale: float = 1.0


@OPTIMIZERS.register("mine")
class Mine(AdamW):
    pass


@SCHEDULES.register("constant")
class Constant(Schedule):
    @classmethod
    def share(cls, progress, optim):
        return 1.0


@TOKENIZERS.register("lower")
class Lower(CharTokenizer):
    pass


@PROBES.register("nothing")
class Nothing(Probe):
    capture = frozenset({"residual"})

    def arrays(self, context):
        return ()

    def measure(self, intermediates):
        return {}
"""


@pytest.fixture
def run_file(tmp_path: Path, tiny_file: Path) -> Path:
    """The tiny run with a file of variants, of which it uses none."""
    (tmp_path / "mine.py").write_text(VARIANTS)
    path = tmp_path / "run.yaml"
    path.write_text("plugins: [mine.py]\n" + tiny_file.read_text())
    return path


def read(run_file: Path, *overrides: tuple[str, ...]) -> list[dict[str, Any]]:
    """A run file's configuration and fingerprint with each of several overrides, as a process of its own has them."""
    with forgotten():
        configs = [read_run_file(run_file, words) for words in overrides]
        return [{"fingerprint": fingerprint(c, "data"), "config": c.model_dump(mode="json")} for c in configs]


@contextmanager
def forgotten() -> Iterator[None]:
    """What is loaded inside is loaded no longer afterwards."""
    before = {path for path, _ in loaded_plugins()}
    try:
        yield
    finally:
        for path, text in loaded_plugins():
            if path not in before:
                forget_plugin(hashlib.sha256(text.encode()).hexdigest())


def refused(run_file: Path, *overrides: str) -> str:
    """The one line that `gpt train` answers with."""
    with forgotten():
        code, said = gpt("train", run_file.name, *overrides, home=run_file.parent)
    assert code == 2, said
    (line,) = said.splitlines()
    return line


USES = [
    ("--model.mlp", "squared"),
    ("--model.position", "scaled"),
    ("--optim.optimizer", "mine"),
    ("--optim.schedule", "constant"),
    ("--data.tokenizer", "lower"),
    ("--probes.extra", "[nothing]"),
]


def test_a_run_that_uses_a_plugin_is_another_than_without_and_one_that_does_not_is_the_same(
    run_file: Path, tiny: RunConfig
) -> None:
    prints = [answer["fingerprint"] for answer in read(run_file, (), *USES)]
    assert prints[0] == fingerprint(tiny, "data")
    assert len(set(prints)) == len(USES) + 1
    (run_file.parent / "mine.py").write_text(VARIANTS + "# changed\n")
    changed = [answer["fingerprint"] for answer in read(run_file, (), *USES)]
    assert [old == new for old, new in zip(prints, changed, strict=True)] == [True, *[False] * len(USES)]


def test_options_of_a_plugin_count_for_the_runs_that_use_it_alone(run_file: Path) -> None:
    scale, scaled = ("--model.options.scale", "0.5"), ("--model.position", "scaled")
    plain, unused, used, default = (a["fingerprint"] for a in read(run_file, (), scale, scale + scaled, scaled))
    assert plain == unused
    assert len({plain, used, default}) == 3


def test_a_resolved_configuration_needs_no_file_and_loads_no_code(run_file: Path) -> None:
    (answer,) = read(run_file, ("--model.mlp", "squared"))
    (run_file.parent / "mine.py").unlink()
    config = parse(RunConfig, answer["config"], "run.json")
    assert fingerprint(config, "data") == answer["fingerprint"]
    assert config.plugins["mine.py"].names("model.mlp") == ["squared"]
    with pytest.raises(InputError, match=r'run\.json: model\.mlp: got "squared", must be one of gelu, relu, swiglu$'):
        parse(RunConfig, {**answer["config"], "plugins": {}}, "run.json")


def test_names_are_checked_where_they_are_read(run_file: Path) -> None:
    assert 'model.mlp: got "sqared", must be one of gelu, relu, swiglu, squared; did you mean squared?' in refused(
        edited(run_file, "layers: 2", "mlp: sqared, layers: 2")
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("import torch\n", "import torch\nx = (\n", 3, "not valid Python: '(' was never closed"),
        ("import torch\n", "import torch\n1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("import torch\n", "import torch, sys\nsys.exit('no')\n", 3, "SystemExit: no"),
        ('"squared"', '"gelu"', 13, "model.mlp: gelu is registered already; each variant needs a name of its own"),
        ("def hidden", "def hide", 13, "model.mlp: squared must define hidden"),
        ('OPTIMIZERS.register("mine")', 'MLPS.register("mine")', 25, "mine must be a class derived from FeedForward"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_answered_with_its_line(
    run_file: Path, old: str, new: str, line: int, expected: str
) -> None:
    plugin = run_file.parent / "mine.py"
    plugin.write_text(VARIANTS.replace(old, new))
    assert f"run.yaml:1: plugins: {plugin}:{line}: " in (answer := refused(run_file))
    assert expected in answer


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ("[none.py]", "none.py: no such file"),
        ("[.]", "cannot be read: Is a directory"),
        ("mine.py", "got 'mine.py', must be a list of different files"),
        ("[mine.py, mine.py]", "must be a list of different files"),
        ("[3]", "must be a list of different files"),
        ("[empty.py]", "registers nothing, must register a class of its own"),
        ("[mine.py, other.py]", "model.mlp: squared is registered already"),
        ("[adamw.py]", "optim.optimizer: adamw is registered already; each variant needs a name of its own"),
    ],
)
def test_a_wrong_list_of_plugins_is_refused(run_file: Path, plugins: str, expected: str) -> None:
    for name, text in {
        "empty.py": "x = 1\n",
        "other.py": VARIANTS + "x = 1\n",
        # the package's own is in another file than its registry
        "adamw.py": "from gpt.train.optim.optimizer import OPTIMIZERS, SeedOptimizer\n"
        "@OPTIMIZERS.register('adamw')\nclass Mine(SeedOptimizer): pass\n",
    }.items():
        (run_file.parent / name).write_text(text)
    assert expected in refused(edited(run_file, "[mine.py]", plugins))


def test_an_option_that_no_plugin_reads_is_refused(run_file: Path) -> None:
    assert 'model.options: got "scales", must be one of scale; did you mean scale?' in refused(
        run_file, "--model.options.scales", "1.0"
    )
    assert 'model.position: options: scale: got "far"' in refused(
        run_file, "--model.position", "scaled", "--model.options.scale", "far"
    )


def test_plugins_are_given_in_the_run_file_alone(run_file: Path) -> None:
    assert "--plugins: unknown key" in refused(run_file, "--plugins", "[mine.py]")


def test_every_field_whose_values_register_offers_what_is_registered() -> None:
    import gpt.runner.checks.variants  # noqa: F401  # imports what registers
    from gpt.registry import REGISTRIES

    assert set(REGISTRIES) == set(BUILT_IN)
    for field, names in BUILT_IN.items():
        assert set(names) == {name for name, cls in REGISTRIES[field].items() if not cls.always}, field


BREAKING = """
import torch
from gpt.probes.protocol import PROBES, Probe
from gpt.records.catalogue import Array


@PROBES.register("breaking")
class Breaking(Probe):
    capture = frozenset({{"residual"}})

    def arrays(self, context):
        return [Array(name="{declared}", axes=("depth",))]

    def measure(self, intermediates):
        sizes = torch.stack([x.abs().mean((1, 2, 3)) for x in intermediates["residual"]], dim=1)
        return {{{measured}}}
"""


@pytest.mark.parametrize(
    ("declared", "measured", "line"),
    [
        ("size", "'sizes': sizes", "probe Breaking: declares but does not measure size; "),
        ("size", "'size': sizes, 'sizes': sizes", "probe Breaking: measures but does not declare sizes; "),
        ("size", "'size': sizes.mean(1)", "probe Breaking: size has the shape [1], must have the axes (seed, depth)"),
    ],
)
def test_a_probe_that_measures_something_else_than_it_declares_fails_with_its_name_and_the_arrays(
    run_file: Path, declared: str, measured: str, line: str
) -> None:
    (run_file.parent / "mine.py").write_text(BREAKING.format(declared=declared, measured=measured))
    with forgotten():
        code, said = gpt("train", run_file.name, "--probes.extra", "[breaking]", home=run_file.parent)
    assert code == 3
    assert "Traceback" not in said
    assert [line in text for text in said.splitlines()].count(True) == 1


def test_a_probe_whose_array_has_the_name_of_another_is_refused(run_file: Path) -> None:
    (run_file.parent / "mine.py").write_text(BREAKING.format(declared="dead_share", measured="'dead_share': sizes"))
    assert "array dead_share: declared twice" in refused(run_file, "--probes.extra", "[breaking]")
