"""A decoder-only Transformer from first principles, and the instrument around it for controlled multi-seed studies.

The public names are those below; docs/api.md shows them at work. A name is imported when it is first used, so that
`import gpt` takes no time and reading findings needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from gpt.analysis.findings import Findings as Findings
    from gpt.api.run import Difference as Difference
    from gpt.api.run import Run as Run
    from gpt.api.run import compare_runs as compare_runs
    from gpt.api.run import load_run as load_run
    from gpt.api.training import load_findings as load_findings
    from gpt.api.training import run_study as run_study
    from gpt.api.training import train_run as train_run
    from gpt.api.training import verdicts as verdicts
    from gpt.config import ModelConfig as ModelConfig
    from gpt.config import RunConfig as RunConfig
    from gpt.errors import InputError as InputError
    from gpt.model.gpt import GPT as GPT
    from gpt.model.gpt import build_model as build_model
    from gpt.run_file import read_run_file as read_run_file
else:
    _HOMES = {
        "gpt.analysis.findings": ("Findings",),
        "gpt.api.run": ("Difference", "Run", "compare_runs", "load_run"),
        "gpt.api.training": ("load_findings", "run_study", "train_run", "verdicts"),
        "gpt.config": ("ModelConfig", "RunConfig"),
        "gpt.errors": ("InputError",),
        "gpt.model.gpt": ("GPT", "build_model"),
        "gpt.run_file": ("read_run_file",),
    }
    __all__ = [name for names in _HOMES.values() for name in names]

    def __getattr__(name):
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module 'gpt' has no attribute {name!r}")
        return getattr(import_module(home), name)

    def __dir__():
        return sorted({*globals(), *__all__})
