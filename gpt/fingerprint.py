"""The name of a run: a hash over everything that can change its numbers."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from gpt.config import SOURCES, RunConfig
from gpt.fields import canonical, flatten

WITHOUT_EFFECT = frozenset({"train.checkpoint_every", *SOURCES})
"""fields that cannot change a number: how often a run is made durable, and names for data that count by their hash"""
LATER: tuple[tuple[str, Any], ...] = (
    ("data.test_share", 0.0),
    ("data.tokenizer", "characters"),
    ("optim.optimizer", "adamw"),
    ("optim.schedule", "cosine"),
    ("train.step", "eager"),
    ("train.deterministic", False),
    ("probes.extra", []),
)
"""fields that came after the first runs, with the values that those had: with these, a run is still the same one"""
_PLUGIN_KEY = re.compile(r"plugins\.|\w+\.options\.")


def fingerprint(config: RunConfig, data_sha256: str) -> str:
    """16 hex digits over everything that can change the numbers of a run; two equal runs are one run."""
    fields = {
        key: value
        for key, value in flatten(config).items()
        if key not in WITHOUT_EFFECT and (key, value) not in LATER and not _PLUGIN_KEY.match(key)
    }
    fields |= _fields_of_plugins(config)
    fields["data.order_seed"] = config.data.order_of(config.seed)  # said or left out, it is the same run
    return hashlib.sha256(canonical({"config": fields, "data": data_sha256}).encode()).hexdigest()[:16]


def as_recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that was written down whole; a field that it lacks came later and has the value of before."""
    data = {name: dict(part) if isinstance(part, Mapping) else part for name, part in config.items()}
    for key, value in LATER:
        section, name = key.split(".")
        if isinstance(part := data.get(section), dict):
            part.setdefault(name, value)
    return data


def _fields_of_plugins(config: RunConfig) -> dict[str, Any]:
    """The hashes of the files that a run uses, and the options that the classes read which it has chosen."""
    used = config.used_plugins()
    fields: dict[str, Any] = {"plugins": sorted({plugin.sha256 for plugin in used.values()})} if used else {}
    for field, name in config.chosen():
        section = field.partition(".")[0]
        given = getattr(getattr(config, section), "options", {})
        read = [key for plugin in used.values() for key in plugin.provides.get(field, {}).get(name, ())]
        fields |= {f"{section}.options.{key}": given[key] for key in read if key in given}
    return fields
