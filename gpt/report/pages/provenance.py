"""What a study was made with, and the files that make it again."""

import io
from typing import Any

from ruamel.yaml import YAML

from gpt.analysis.findings import DataFindings, Findings, LayoutFindings, StudyFindings
from gpt.config import SOURCES
from gpt.records.formatting import count, listed
from gpt.report.pages.markup import fenced, table

BASE = "base.yaml"
STUDY = "study.yaml"


def made(findings: Findings) -> list[str]:
    """The page's section on data, stack, hardware and running it again."""
    study = findings.study
    lines = ["## How it was made", ""]
    shown = [line.replace("---:", "---") for line in table(("what", "which"), made_of(findings))]
    lines += [*shown, "", "To run it again, put these files side by side and run", ""]
    lines += fenced("gpt study run study.yaml --out out", "sh")
    for name, text in rerun_files(study).items():
        lines += [
            "",
            f"<details><summary>{name}</summary>",
            "",
            *fenced(text, "yaml" if name.endswith(".yaml") else "python"),
            "",
            "</details>",
        ]
    return lines


def made_of(findings: Findings) -> list[tuple[str, str]]:
    """Text, split, stack, layouts and hardware: what, and which."""
    data, study = findings.data, findings.study
    texts = [f"`{study.base[key]}`" for key in SOURCES if study.base.get(key) is not None]
    rows = [("text", f"{listed(texts)}, SHA-256 {'' if len(texts) == 1 else 'of their hashes '}`{data.sha256}`")]
    if data.vocabulary is not None:
        rows.append((
            "split",
            f"{data.train_characters:,} characters to learn from, {_held_out(data)}; "
            f"{data.vocabulary} distinct characters; unigram loss {data.unigram_loss:.4f} nats per character",
        ))  # fmt: skip
    rows += [(key, f"`{value}`") for key, value in findings.stack.items()]
    rows += [(f"{key} (differs)", ", ".join(f"`{v}`" for v in values))
             for key, values in findings.stack_differences.items()]  # fmt: skip
    for layout in findings.layouts:
        rows.append(("layout", _layout(layout)))
    for hardware in findings.hardware:
        rows.append(("hardware", ", ".join(f"{key} {value}" for key, value in hardware.items() if value is not None)))
    return rows


def _held_out(data: DataFindings) -> str:
    if data.test_characters is None:
        return f"{data.val_characters:,} held out"
    return f"{data.val_characters:,} for validation, {data.test_characters:,} for the test"


def _layout(layout: LayoutFindings) -> str:
    parts = [count(layout.runs, "run") + ": " + layout.engine]
    if layout.ranks > 1:
        parts.append(f"{layout.ranks} ranks")
    if layout.micro_batches > 1:
        parts.append(f"a batch in {layout.micro_batches} parts")
    if layout.seeds_together > 1:
        parts.append(f"{layout.seeds_together} seeds together")
    return ", ".join(parts)


def rerun_files(study: StudyFindings) -> dict[str, str]:
    """File name to text: the study, its base, and the files of variants that the base names."""
    base: dict[str, Any] = {}
    plugins = {}
    for key, value in study.base.items():
        if key.startswith("plugins."):
            file, _, of_file = key.removeprefix("plugins.").rpartition(".")
            if of_file == "text":
                plugins[file.rpartition("/")[2]] = value
            continue
        *sections, last = key.split(".")
        inner = base
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    plain: dict[str, Any] = {"name": study.name, "question": study.question}
    settings = {key: values for key, values in study.settings.items() if key not in study.factors}
    levels = {**study.settings, study.factor: study.variants}
    plain |= {"base": BASE}
    if study.factors:
        plain |= {"factors": {name: levels[name] for name in study.factors}}
    else:
        plain |= {"factor": study.factor, "variants": study.variants}
    if study.recipes:
        plain["recipes"] = study.recipes
    plain |= {"settings": settings}
    plain |= {"seeds": study.planned_seeds or study.seeds}
    plain |= {"metric": study.metric.name, "smallest_effect": study.smallest_effect}
    if study.chosen_contrasts:
        plain["contrasts"] = study.chosen_contrasts
    if study.looks:
        plain["looks"] = study.looks
    if study.tune:
        plain["tune"] = {**study.tune.grid, "seeds": study.tune.seeds, "extend": study.tune.extend}
    if plugins:
        base["plugins"] = list(plugins)
    return {STUDY: _yaml(plain, lists_on_a_line=True), BASE: _yaml(base, lists_on_a_line=False), **plugins}


def _yaml(value: Any, lists_on_a_line: bool) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None if lists_on_a_line else False
    # keys stay in the order of their meaning
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # annotated as None alone
    yaml.width = 100
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()
