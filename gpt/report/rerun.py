"""The files that make a study again: a study file and its base run, as their author could have written them."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

BASE = "base.yaml"
STUDY = "study.yaml"


def rerun_files(study: Mapping[str, Any]) -> dict[str, str]:
    """File name to YAML text.

    Args:
        study: what the findings say of the study; its base by dotted names.
    """
    base: dict[str, Any] = {}
    for key, value in study["base"].items():
        *sections, last = key.split(".")
        inner = base
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    plain = {key: study[key] for key in ("name", "question")}
    plain |= {"base": BASE, **{key: study[key] for key in ("factor", "variants", "blocks", "seeds")}}
    return {STUDY: _yaml({**plain, "metric": study["metric"]["name"], "smallest_effect": study["smallest_effect"]}),
            BASE: _yaml(base)}  # fmt: skip


def _yaml(value: Any) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()
