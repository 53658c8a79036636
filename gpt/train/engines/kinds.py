"""What a launch knows of an engine before it trains: engines register beside their classes, by their launch files.

This module imports no engine until one is asked for, and so no torch.
"""

import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gpt.train.engines
from gpt.config import RunConfig

if TYPE_CHECKING:
    from gpt.train.engines.engine import Engine

DEFAULT = "ddp"
"""the engine of processes that no launcher started, and of a launch that asks for none in particular"""

OFF = frozenset({"", "0", "false", "no"})

Setting = tuple[str, Collection[str], str]
"""a variable of a launch, its values in small letters that are accepted, and what must hold"""


@dataclass(frozen=True)
class Parity:
    """A number of ranks at which `gpt check-gradients` covers an engine."""

    ranks: int
    thorough: bool = True
    """with seeds together, without clipping, in bf16 and with micro-batches too"""


@dataclass(frozen=True, kw_only=True)
class EngineKind:
    """One way to launch an engine."""

    name: str
    """that of its launch file"""
    title: str
    """for messages"""
    build: "Callable[..., Engine]"
    """(config, vocabulary, seeds, device, ranks) -> the engine"""
    classes: "tuple[type[Engine], ...]"
    """what `build` may return"""
    distributed_type: str
    """accelerate's word for the launch"""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """of accelerate's config file, besides those that all launch files have"""
    asked_for: Callable[[Mapping[str, str]], bool] = lambda environment: False
    """whether the environment that a launcher made asks for this engine in particular"""
    settings: tuple[Setting, ...] = ()
    """variables of accelerate that only this engine's launches have"""
    may_use_cpu: bool = True
    """whether accelerate's own option for the CPU leaves the engine as it is; else GPUs are hidden instead"""
    sharded: bool = False
    """whether the ranks share out what one process holds, so that all of them train one run"""
    check: Callable[[RunConfig], None] = lambda config: None
    """raises InputError for a run that this engine cannot train"""
    parity: tuple[Parity, ...] = ()


_KINDS: dict[str, EngineKind] = {}


def register(kind: EngineKind) -> None:
    """Add a way to launch an engine."""
    assert kind.name not in _KINDS, kind.name
    _KINDS[kind.name] = kind


def engine_kinds() -> Mapping[str, EngineKind]:
    """Every way to launch an engine, by name."""
    for module in pkgutil.iter_modules(gpt.train.engines.__path__):
        importlib.import_module(f"{gpt.train.engines.__name__}.{module.name}")
    return _KINDS


def engine_classes() -> "list[type[Engine]]":
    """Every engine."""
    return sorted({cls for kind in engine_kinds().values() for cls in kind.classes}, key=lambda cls: cls.__name__)


def is_on(environment: Mapping[str, str], variable: str) -> bool:
    """Whether a launcher has switched something on."""
    return environment.get(variable, "").lower() not in OFF
