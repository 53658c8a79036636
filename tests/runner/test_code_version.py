"""A run's version is that of the code that its numbers come from: all of it, and nothing else."""

import ast
import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from reference import run_config

import gpt
from gpt.registry import REGISTRIES
from gpt.runner.code_version import ENTRY_POINTS, Code, Name, name_of, this_code
from gpt.runner.stack import describe_source
from gpt.train.engines.kinds import engine_classes


def definitions() -> set[Name]:
    """Everything that any run's version covers."""
    code = this_code()
    for module in ("gpt.probes.activations", "gpt.probes.attention", "gpt.train.optim.adamw"):
        importlib.import_module(module)  # the classes register as their modules are imported
    registries = [registry for field, registry in REGISTRIES.items() if field != "data.source"]  # texts have a hash
    variants = [cls for registry in registries for cls in registry.values()]
    return set(
        code.dependencies(*map(code.locate, ENTRY_POINTS), *map(name_of, [*engine_classes(), *variants])).definitions
    )


def test_every_module_that_computes_is_covered_and_no_other() -> None:
    assert {module.removeprefix("gpt.") for module, _ in definitions()} == {
        "config",
        "data.batches",
        "data.dataset",
        "data.tokenizer",
        "model.attention",
        "model.block",
        "model.dropout",
        "model.embedding",
        "model.flops",
        "model.gpt",
        "model.init",
        "model.intermediates",
        "model.linear",
        "model.mlp",
        "model.norm",
        "model.placement",
        "model.position",
        "model.with_weights",
        "probes.activations",
        "probes.attention",
        "probes.long_range",
        "probes.protocol",
        "randomness",
        "records.schema",
        "train.context_use",
        "train.detectors",
        "train.engines.compiled",
        "train.engines.ddp",
        "train.engines.deterministic",
        "train.engines.eager",
        "train.engines.engine",
        "train.engines.fsdp",
        "train.engines.graph",
        "train.engines.micro_batches",
        "train.engines.rank_invariant",
        "train.engines.ranks",
        "train.engines.replicated",
        "train.engines.single_process",
        "train.engines.zero",
        "train.events",
        "train.held_out",
        "train.loop",
        "train.optim.adamw",
        "train.optim.clipping",
        "train.optim.optimizer",
        "train.optim.schedule",
        "train.prefetch",
        "train.sampling",
    }


def test_what_cannot_change_a_number_is_not_covered() -> None:
    names = {f"{module}.{name}" for module, name in definitions()}
    assert not [
        name for name in names if any(word in name for word in ("corpus", "checkpoint", "recorder", "writer", "errors"))
    ]
    assert not [name for name in names if name.startswith("gpt.runner.")]
    assert "gpt.data.dataset.check_length" not in names


NUMERIC = [
    ("model/attention.py", "/ math.sqrt(q_SBHTK", "* math.sqrt(q_SBHTK"),
    ("model/init.py", "draws * std", "draws * std * 2"),
    ("data/batches.py", 'STREAM = "batches"', 'STREAM = "batch"'),
    ("data/dataset.py", "round(windows * ", "int(windows * "),
    ("train/held_out.py", "self.loss_SN[:, : self.validation]", "self.loss_SN"),
    ("randomness.py", "2.0**-53", "2.0**-52"),
    ("probes/activations.py", "< DEAD", "<= DEAD"),
    ("train/events.py", "SPIKE_NATS = 0.25", "SPIKE_NATS = 0.3"),
    ("train/detectors.py", "SHARE: ClassVar[float] = 0.5", "SHARE: ClassVar[float] = 0.6"),
    ("train/optim/schedule.py", "0.5 * (1 +", "0.4 * (1 +"),
    ("train/optim/clipping.py", "TINY = 1e-6", "TINY = 1e-5"),
    ("train/context_use.py", "TIMES = 2", "TIMES = 3"),
    ("config.py", "return self.width // self.heads", "return self.heads"),
]
HARMLESS = [
    ("model/attention.py", "by the textbook formula", "by the formula of textbooks"),
    ("data/dataset.py", "must each have at least", "must both have at least"),
    ("data/tokenizer.py", "text must have at least", "a text must have at least"),
    ("data/download.py", "DOWNLOAD_SECONDS = 60.0", "DOWNLOAD_SECONDS = 61.0"),
    ("train/checkpoint.py", "KEPT = 2", "KEPT = 3"),
    ("train/run_writer.py", "FLUSH_EVERY = 50", "FLUSH_EVERY = 51"),
    ("train/engines/micro_batches.py", "must be a multiple of", "has to be a multiple of"),
    ("config.py", "heads: Positive\n", "head_count: Positive = 1\n    heads: Positive\n"),
    ("probes/attention.py", "how far back a head looks, weighted", "how far a head looks back, weighted"),
    ("train/loop.py", "held_out = HeldOut", "# a remark\n    held_out = HeldOut"),
]


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package in another folder, to be changed."""
    folder = tmp_path_factory.mktemp("copy") / "elsewhere"
    for file in (repository / "gpt").rglob("*.py"):
        to = folder / file.relative_to(repository / "gpt")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(file.read_text())
    return folder


@pytest.fixture(scope="module")
def before(copy: Path) -> dict[str, str]:
    """The versions of the unchanged copy."""
    return versions(copy)


def versions(folder: Path) -> dict[str, str]:
    """All parts of a run's code, with every engine's."""
    code = Code(folder)
    parts = code.parts(run_config())
    for engine in engine_classes():
        parts |= code.engine_part(engine)
    return parts


def changed(folder: Path, file: str, edit: Callable[[str], str]) -> dict[str, str]:
    """All parts while a file is another."""
    path = folder / file
    source = path.read_text()
    assert edit(source) != source, "the source has changed; so must the edit"
    path.write_text(edit(source))
    try:
        return versions(folder)
    finally:
        path.write_text(source)


def replaced(folder: Path, file: str, old: str, new: str) -> dict[str, str]:
    def edit(source: str) -> str:
        assert source.count(old) == 1, "the source has changed; so must the edit"
        return source.replace(old, new)

    return changed(folder, file, edit)


def test_a_package_in_another_folder_has_the_same_version(before: dict[str, str]) -> None:
    assert before == versions(Path(gpt.__file__).parent)


@pytest.mark.parametrize(("file", "old", "new"), NUMERIC, ids=[file for file, _, _ in NUMERIC])
def test_what_changes_a_number_changes_the_version(
    copy: Path, before: dict[str, str], file: str, old: str, new: str
) -> None:
    assert replaced(copy, file, old, new) != before


@pytest.mark.parametrize(("file", "old", "new"), HARMLESS, ids=[file for file, _, _ in HARMLESS])
def test_a_word_does_not_change_the_version(copy: Path, before: dict[str, str], file: str, old: str, new: str) -> None:
    assert replaced(copy, file, old, new) == before


def test_moving_a_definition_does_not_change_the_version(copy: Path, before: dict[str, str]) -> None:
    users = [path for path in (copy / "train").rglob("*.py") if "gpt.train.optim.clipping" in path.read_text()]
    sources = {path: path.read_text() for path in [*users, copy / "train/optim/clipping.py"]}
    moved = copy / "records/elsewhere.py"
    moved.write_text((copy / "train/optim/clipping.py").read_text())
    (copy / "train/optim/clipping.py").unlink()
    for path in users:
        path.write_text(sources[path].replace("gpt.train.optim.clipping", "gpt.records.elsewhere"))
    after = versions(copy)
    moved.unlink()
    for path, source in sources.items():
        path.write_text(source)
    assert users
    assert after == before


def test_an_engine_changes_its_own_part_alone(copy: Path, before: dict[str, str]) -> None:
    after = replaced(copy, "train/engines/zero.py", "self.deepspeed.step()", "return self.deepspeed.step()")
    assert [part for part in before if before[part] != after[part]] == ["engine=ZeROEngine"]


def test_a_variant_changes_the_version_of_the_runs_that_use_it_alone(copy: Path, before: dict[str, str]) -> None:
    after = replaced(copy, "model/norm.py", "return F.rms_norm(", "return 2 * F.rms_norm(")
    assert after == before
    other = Code(copy).parts(run_config(norm="rmsnorm"))
    assert {part for part in other if other[part] != before.get(part)} == {"model.norm=rmsnorm"}

    def edited(source: str) -> str:
        return source + "\n@NORMS.register('scale')\nclass ScaleNorm(Norm):\n    pass\n"

    assert changed(copy, "model/norm.py", edited) == before, "a variant more"


def test_a_users_own_variant_is_read_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "my_variants.py"
    source = "from gpt.model.norm import RMSNorm\n\nGAIN = 2.0\n\n\nclass Doubled(RMSNorm):\n"
    source += "    def forward(self, x):\n        return GAIN * super().forward(x)\n\n\nUNUSED = 3\n"
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    for text in (source, source.replace("UNUSED = 3", "UNUSED = 4"), source.replace("GAIN = 2.0", "GAIN = 2.5")):
        own.write_text(text)
        monkeypatch.delitem(sys.modules, "my_variants", raising=False)
        importlib.invalidate_caches()
        doubled = importlib.import_module("my_variants").Doubled
        seen.append(Code(Path(gpt.__file__).parent).dependencies(name_of(doubled)))
    assert {("my_variants", "GAIN"), ("gpt.model.norm", "RMSNorm")} <= set(seen[0].definitions)
    assert seen[0].version == seen[1].version != seen[2].version


def test_versions_take_no_longer_than_twice_the_parsing_of_the_package() -> None:
    def parse() -> None:
        for path in Path(gpt.__file__).parent.rglob("*.py"):
            ast.parse(path.read_text(encoding="utf-8"))

    def seconds(task: Callable[[], object]) -> float:
        began = time.process_time()
        task()
        return time.process_time() - began

    turns = [(seconds(lambda: versions(Path(gpt.__file__).parent)), seconds(parse)) for _ in range(3)]
    assert min(own / parsing for own, parsing in turns) < 2, turns


def test_the_source_is_named_by_its_commit_and_by_no_path(repository: Path) -> None:
    commit = subprocess.run(
        ["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    source = describe_source()
    assert source["gpt"] == gpt.__version__
    assert source["commit"] == (commit or None)
    assert (source["dirty"] is None) == (not commit)
    assert "/" not in str(source)
