"""README and docs: every command that they show is run or checked, every link leads somewhere, every name exists."""

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from published import REPOSITORY

import gpt
from gpt.commands.parser import COMMANDS, JSON, read_arguments
from gpt.commands.workspace import open_corpora
from gpt.config import OPEN_SECTIONS, RunConfig
from gpt.fields import keys_of
from gpt.runner.checks.preflight import preflight
from gpt.study.plan import plan
from gpt.study.study_file import load_study

PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/README.md"), *REPOSITORY.glob("docs/*.md")]
)
README_BYTES = 15_000
IMAGE_BYTES = 300_000
SHOWN = ("bash", "console")
"""fences of commands: as they are typed, or each after `$ ` and before what it prints"""

SMALLER = {
    "layers": 1, "heads": 2, "width": 16, "context": 16, "steps": 20, "eval_every": 10,
    "warmup_steps": 2, "long_range_windows": 2, "windows": 2, "characters": 20, "seeds": 3, "precision": "fp32",
}  # fmt: skip
"""What every shipped run and study file says where the commands of a page are run: all else is as a reader has it."""
NAMED = {"STUDY.yaml": "configs/studies/qk_norm.yaml", "RUN.yaml": "configs/runs/char_quick.yaml", "OUT": "out"}
"""what a page leaves to its reader"""

NOT_RUN = {
    r"git clone ": "the repository is here already",
    r"^make |&& make ": "another environment, and minutes to hours; the target must exist",
    r"^\. \.venv/bin/activate": "changes the reader's shell",
    r"launch/(ddp|zero3)\.yaml -n 8": "eight ranks; tests/runner/test_launchers.py starts these files on two",
    r"launch/two_machines\.yaml": "two machines; tests/runner/test_launchers.py starts both on loopback",
    r"--wandb online|wandb sync": "needs an account; tests/wandb_sync has a server of its own",
    r"^(GPT_\w+=\S+ )*(slurm/submit\.sh (?!--dry-run)|sbatch )": "needs a cluster; tests/slurm has one",
    r"check-gradients": "minutes; tests/runner/test_gradient_parity.py runs it",
    r"--against NANOGPT": "needs a checkout of nanoGPT; tests/bench/test_bench.py runs it where there is one",
    r"study power": "needs runs that learn, which those of 20 steps do not; tests/runner/test_looks.py has some",
    r"gpt\.bench\.scale": "needs what gpt bench printed, minutes; tests/bench/test_scale.py runs it",
    r"--modes |--train\.step ": "compiles for minutes; tests/bench and tests/train/test_compiled.py do so",
    r"--processes 4": "more processes than two cores carry; tests/runner/test_ranks.py runs such layouts",
    r"gpt study publish out/full": "needs the studies at full size; tests/runner/test_publish.py publishes",
    r"^python -m pytest": "this very suite",
    r"tests/simulation\.py": "ten minutes; tests/analysis/test_simulation.py runs a little of it",
    r"my_\w+\.yaml|--plugin ": "files of docs/extending.md; tests/test_extending.py writes them and runs the page",
}
"""Commands that are not run here, by what is in them, and why; those of gpt must still have options that it takes."""


@dataclass(frozen=True)
class Shown:
    """A command that a page shows."""

    page: str
    words: str
    prints: str
    """what the page shows below it"""


def commands_of(page: str) -> list[Shown]:
    """In the order in which a reader types them."""
    found = []
    for fence, block in re.findall(
        r"^```(\w+)\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.M | re.S
    ):
        if fence not in SHOWN:
            continue
        block = block.replace("\\\n", " ")
        if fence == "console":
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                typed, _, prints = part.partition("\n")
                found.append(Shown(page, without_comment(typed), prints))
        else:
            found += [Shown(page, words, "") for line in block.splitlines() if (words := without_comment(line))]
    return found


def without_comment(line: str) -> str:
    return re.sub(r"(^|\s+)# .*", "", line).strip()


def why_not_run(command: Shown) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command.words)), None)


EVERY = [command for page in PAGES for command in commands_of(page)]


def test_the_readme_is_read_in_one_sitting() -> None:
    assert (REPOSITORY / "README.md").stat().st_size <= README_BYTES
    assert all(image.stat().st_size < IMAGE_BYTES for image in (REPOSITORY / "docs" / "images").iterdir())


def test_each_page_of_the_documentation_opens_with_the_command_that_answers_it() -> None:
    for page in (REPOSITORY / "docs").glob("*.md"):
        if page.name != "README.md":
            assert re.match(r"# .*\?\n\n```(bash|console|python)\n", page.read_text(encoding="utf-8")), page.name
            assert f"({page.name})" in (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")


def test_the_page_for_programs_has_every_command_and_says_which_answer_in_json() -> None:
    rows = re.findall(r"^\| `gpt .*", (REPOSITORY / "AGENTS.md").read_text(encoding="utf-8"), re.M)
    for row, command in zip(rows, COMMANDS, strict=True):
        assert row.startswith(f"| `gpt {command.name}")
        assert row.endswith("| yes |") == (JSON in command.arguments), command.name


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    path = REPOSITORY / page
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        if heading:
            assert heading in headings(target), link


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_field_that_a_page_names_is_there(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    files = set(re.findall(r"\b(?:tests|configs|launch|slurm|gpt)/[\w./-]+\.\w+", text)) - {
        "configs/studies/qk_norm.yaml"
    }
    assert {name for name in files if not (REPOSITORY / name).exists()} == set()
    groups = "|".join({key.partition(".")[0] for key in keys_of(RunConfig) if "." in key})
    fields = set(re.findall(rf"(?:`|--)((?:{groups})\.\w+)\b(?!/)", text))
    mappings = {f"{section}.options" for section in OPEN_SECTIONS}
    assert fields - mappings <= set(keys_of(RunConfig))


@pytest.mark.parametrize("command", EVERY, ids=lambda command: f"{command.page}: {command.words}")
def test_every_command_has_options_that_are_taken(command: Shown) -> None:
    for part in command.words.split(" && "):
        program, *words = [word for word in shlex.split(part) if not re.match(r"[A-Z_]+=", word)]
        if program == "gpt":
            read_arguments([word for word in words if word != "..."])
        elif program == "make":
            targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.M)
            assert {word for word in words if "=" not in word} <= set(targets)
        elif why_not_run(command) is None:
            assert program in ("head", "printf", "python", "slurm/submit.sh")


def test_the_readme_shows_what_check_says_of_its_study(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(study_of_the_readme().replace("../runs", str(REPOSITORY / "configs/runs")))
    loaded = load_study(study)
    said = str(preflight(loaded, plan(loaded, ""), open_corpora())).splitlines()
    (shown,) = [command.prints.splitlines() for command in commands_of("README.md") if "study check" in command.words]
    assert [line for line in said if "  cost " not in line] == [line for line in shown if "  cost " not in line]


def study_of_the_readme() -> str:
    (study,) = re.findall(
        r"```yaml\n# configs/studies/qk_norm.yaml\n(.*?)```",
        (REPOSITORY / "README.md").read_text(encoding="utf-8"),
        re.S,
    )
    return str(study)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has after a first study and a first run, both small; `gpt` is this version's."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("configs", "launch", "slurm", "results"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    (root / "configs/studies/qk_norm.yaml").write_text(study_of_the_readme())
    for path in (root / "configs").rglob("*.yaml"):
        text = path.read_text()
        for field, value in SMALLER.items():
            text = re.sub(rf"^(\s*){field}: (?!\[)[^#\n]*", rf"\g<1>{field}: {value}  ", text, flags=re.M)
        path.write_text(text)
    (root / "my.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 100)
    script = root / "bin" / "gpt"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m gpt "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    assert run("gpt study run configs/studies/qk_norm.yaml && gpt train configs/runs/char_quick.yaml", root) == 0
    return root


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(why_not_run(c) is None for c in commands_of(page))])
def test_the_commands_of_a_page_work_one_after_the_other(page: str, checkout: Path) -> None:
    for command in commands_of(page):
        if why_not_run(command) is None:
            words = command.words
            for name, file in NAMED.items():
                words = re.sub(rf"\b{name}\b", file, words)
            assert run(words, checkout) == 0, words


def run(words: str, folder: Path) -> int:
    """The exit code of a command typed in a folder; FINGERPRINT is the run trained last."""
    runs = sorted((folder / "out" / "runs").glob("*/samples.txt"), key=lambda path: path.stat().st_mtime)
    words = words.replace("FINGERPRINT", runs[-1].parent.name if runs else "")
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        ["bash", "-c", words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    print(words, ended.stdout[-2000:], ended.stderr[-2000:], sep="\n")
    return ended.returncode


def test_the_version_is_the_same_everywhere() -> None:
    for file, said in (
        ("CITATION.cff", f"\nversion: {gpt.__version__}\n"),
        ("CHANGELOG.md", f"\n## {gpt.__version__}\n"),
    ):
        assert said in (REPOSITORY / file).read_text(encoding="utf-8"), file
