"""Evidence small enough to keep beside the code: published studies, and the README's table made from them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt.errors import InputError
from gpt.records.files import make_folder, read_bytes, read_json, utf8, write_atomic, write_json
from gpt.records.manifest import files_below, write_manifest
from gpt.report.build import INTERACTIVE, Built, write_report
from gpt.report.combined import embedded, findings_table, main_figures
from gpt.report.crossed import answers
from gpt.report.markdown import CellLinks
from gpt.report.markup import plain
from gpt.report.provenance import rerun_files
from gpt.study.findings import judge_together
from gpt.study.folder import StudyFolder
from gpt.study.sentences import sentence

BEGIN, END = "<!-- findings:begin -->", "<!-- findings:end -->"
TO_SUMMARY = CellLinks(
    lambda text, _: text,
    "[cells.json](cells.json) has every run's fingerprint, state, numbers and the SHA-256 of its last weights.",
)


def publish(folder: StudyFolder, results: Path) -> None:
    """Write a study's report into results/<name>/, whole in itself: findings, pages, figures, files to run it again,
    and a summary of every cell in place of the cells.

    Raises:
        InputError: a record is damaged, or the folder cannot be written to.
    """
    built = write_report(folder)
    target = results / folder.name
    figures = target / "figures"
    make_folder(figures)
    for shown in built.shown:
        write_atomic(figures / shown.file, read_bytes(folder.report / "figures" / shown.file))
    for old in {path.name for path in figures.glob("*.png")} - {shown.file for shown in built.shown}:
        (figures / old).unlink()
    for name, text in rerun_files(built.findings["study"]).items():
        write_atomic(target / name, utf8(text))
    write_json(target / "cells.json", cells_summary(built))
    write_json(target / "findings.json", built.findings)
    write_atomic(target / "report.md", utf8(built.page(TO_SUMMARY)))
    write_atomic(target / INTERACTIVE, read_bytes(folder.report / INTERACTIVE))
    write_manifest(target, files_below(target))


def cells_summary(built: Built) -> list[dict[str, Any]]:
    """One entry for each planned cell."""
    metric = built.results.metric
    return [
        {
            "variant": group.variant,
            "block": dict(block.block),
            "seed": seed,
            "cell": cell.fingerprint,
            "state": cell.status.state,
            "why": cell.status.why if cell.diverged else "",
            "values": {str(metric): cell.value(metric), **cell.secondary} if cell.finished else {},
            "final_weights_sha256": cell.run.get("final_weights_sha256"),
        }
        for block, group, seed, cell in built.results.places()
    ]


def render(results: Path, link: str | None = None) -> str:
    """The findings of all published studies in Markdown, from their findings.json alone.

    Args:
        link: how the page that holds the text names the folder; its own name if None.

    Raises:
        InputError: nothing was published there.
    """
    files = sorted(results.glob("*/findings.json"))
    if not files:
        raise InputError(f"{results}: holds no published study; `gpt study publish OUT --results {results}` makes one")
    many = [read_json(file) for file in files]
    studies = list(zip(many, judge_together(many), strict=True))
    root = results.name if link is None else link
    lines = findings_table(studies, lambda name: f"{root}/{name}/report.md")
    for findings, judged in studies:
        lines += ["", f"### {plain(findings['study']['question'])}", "", *(f"- {sentence(each)}" for each in judged)]
        lines += answers(findings)
        for figure in main_figures(findings, ("paired",)):
            lines += embedded(findings, figure, lambda name: f"{root}/{name}")
        if observed := _observations(findings):
            lines += ["", *observed]
    return "\n".join(lines) + "\n"


def _observations(findings: dict[str, Any]) -> Sequence[str]:
    """What was described beside the metric, block by block."""
    blocks = [(f"At {block['label']}: " if block["label"] else "", block) for block in findings["blocks"]]
    return [f"- {where}{text}" for where, block in blocks for text in block["observations"]]


def update(readme: Path, results: Path, check: bool = False) -> None:
    """Replace what is between the two markers of a README by `render(results)`.

    Args:
        check: write nothing, and complain if the text between the markers is another.

    Raises:
        InputError: a marker is missing or stands twice, nothing is published, or with `check` the text is stale.
    """
    text = read_bytes(readme).decode("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{readme}: must hold {BEGIN} and, below it, {END}, each once")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    link = Path(os.path.relpath(results, readme.parent)).as_posix()
    new = f"{before}{BEGIN}\n{render(results, link)}{END}{after}"
    if new == text:
        return
    if check:
        raise InputError(f"{readme}: its findings are not those of {results}; run `gpt study publish` and commit both")
    write_atomic(readme, utf8(new))
