"""Run files and study files for tests that train: as small as can be, and YAML of one line a section, to edit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Fields = Mapping[str, Any]

RUN: dict[str, dict[str, Any]] = {
    "data": {"source": "text.txt", "val_fraction": 0.1},
    "model": {"layers": 2, "heads": 2, "width": 16, "context": 16, "position": "rope", "norm_placement": "pre",
              "tie_embeddings": "false"},
    "optim": {"lr": "2e-2", "final_lr_ratio": 0.1, "warmup_steps": 5, "clip": 1.0},
    "train": {"steps": 40, "batch_size": 8, "eval_every": 20, "checkpoint_every": 10},
    "probes": {"every": 20, "windows": 2, "heatmap_characters": 8},
    "sample": {"characters": 20},
}  # fmt: skip
"""two layers, 16 wide; trained in half a second"""
SMALLEST: dict[str, dict[str, Any]] = {
    "model": {"layers": 1, "width": 8, "context": 8},
    "optim": {"lr": "1e-2", "warmup_steps": 2},
    "train": {"steps": 12, "batch_size": 4, "eval_every": 6, "checkpoint_every": 4},
    "probes": {"every": 6, "heatmap_characters": 4},
    "sample": {"characters": 5},
}
"""changes for a run that is trained in a tenth of a second and still writes every kind of file"""
UNPROBED: dict[str, dict[str, Any]] = {"probes": {"every": 0, "long_range_windows": 0}}
"""changes for a study whose report has only what every report has"""
ENDLESS: dict[str, dict[str, Any]] = {
    "optim": {"lr": "3e-3"},
    "train": {"steps": 100_000, "eval_every": 50_000, "checkpoint_every": 50_000},
    "probes": {"every": 0},
}
"""changes for a run that no test sees end, and that commits nothing until it is asked to stop"""
STUDY = {
    "name": "tiny",
    "question": "Which placement?",
    "base": "run.yaml",
    "factor": "model.norm_placement",
    "variants": "[pre, post]",
    "seeds": 2,
    "smallest_effect": 0.01,
}
"""four runs"""


def write_run(path: Path, source: Path | str, *changes: Mapping[str, Fields], **more: Fields) -> Path:
    """A run file.

    Args:
        changes: fields by section that are not those of `RUN`; the last word counts.
    """
    sections = {name: dict(fields) for name, fields in RUN.items()}
    for change in (*changes, more, {"data": {"source": source}}):
        for name, fields in change.items():
            sections[name] |= fields
    lines = [f"{name}: {{{', '.join(f'{k}: {v}' for k, v in fields.items())}}}\n" for name, fields in sections.items()]
    path.write_text("".join(lines))
    return path


def write_study(path: Path, base: Path, **changes: object) -> Path:
    """A study file of a run file beside it."""
    fields = {**STUDY, "base": base.name, **changes}
    path.write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    return path


def study_of(folder: Path, source: Path, *changes: Mapping[str, Fields], seeds: int = 2, **more: Fields) -> Path:
    """A study of `run.yaml` in a folder, both written there; see `write_run`."""
    return write_study(folder / "study.yaml", write_run(folder / "run.yaml", source, *changes, **more), seeds=seeds)
