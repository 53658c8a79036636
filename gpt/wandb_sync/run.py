"""The W&B run of one run or one report; the only file that knows W&B's library.

W&B's own `_step` is the run's step. A run that is resumed on the server takes no step that it already has, so rows may
be sent again after a kill and arrive once. Offline every `wandb.init` makes a directory of its own: a run that was
resumed has several with one id, and `wandb sync` sends those in the order of their start into one run.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt.analysis.run_reader import RunReader
from gpt.read_file import read_bytes
from gpt.records.run_folder import Status
from gpt.records.schema import VAL_LOSS
from gpt.wandb_sync.rows import Row, heatmap_due, heatmaps, probed, scalars
from gpt.wandb_sync.summary import config_of, summary_of, tables
from gpt.wandb_sync.targets import WandbTarget

INIT_SECONDS = 15
"""after which W&B's server counts as out of reach"""


class UnreachableError(Exception):
    """W&B did not open a run: its server is out of reach, or refuses."""


def check_account() -> None:
    """Find the credentials that W&B's library will use, without asking a person or the server.

    Raises:
        UnreachableError: there are none, or they cannot be credentials.
    """
    import wandb

    try:
        wandb.login(verify=False)
    except (wandb.errors.Error, ValueError) as error:
        raise UnreachableError(_line(error)) from None


class LiveRun:
    """The live W&B run of one run."""

    def __init__(self, target: WandbTarget, mode: str):
        """Open or resume it.

        Raises:
            UnreachableError: see there.
        """
        self._reader = RunReader(target.folder)
        run = self._reader.info
        self.target = target
        self._probes_every: int = run["config"]["probes"]["every"]
        self._run = _init(
            mode,
            project=target.project,
            id=target.folder.root.name,
            name=f"{target.arm}-s{run['seed']}",
            group=target.group,
            job_type="run",
            tags=list(dict.fromkeys(target.tags)),
            config=config_of(run),
        )
        self._run.define_metric("*", step_metric="step")
        self._run.define_metric(VAL_LOSS, step_metric="step", summary="min")
        self.through = int(self._run.starting_step) - 1
        """last step that the server already has"""

    def send(self, rows: Sequence[Row], finished: bool, beat: Callable[[], None]) -> None:
        """Log rows with what the probes measured at their steps, and with the last row of a finished run its media.

        Args:
            beat: called after each row, as a sign of progress.
        """
        for index, row in enumerate(rows):
            values: dict[str, Any] = scalars(row, self._reader)
            values |= probed(row["step"], self._reader)
            if heatmap_due(row["step"], self._probes_every):
                values |= self._heatmaps(row["step"])
            if finished and index == len(rows) - 1:
                values |= self._media()
            self._run.log(values, step=row["step"], commit=True)
            beat()

    def _heatmaps(self, step: int) -> dict[str, Any]:
        import wandb

        caption = f"step {step}: layers downwards, heads across; darker is more"
        pictures = heatmaps(step, self._reader)
        return {title: wandb.Image(picture, caption=caption) for title, picture in pictures.items()}

    def _media(self) -> dict[str, Any]:
        """What a finished run has to show: the last heatmap, what was measured once, and a sample."""
        import wandb

        run = self.target.folder
        media = self._heatmaps(run.probe_steps()[-1]) if run.probe_steps() else {}
        for name, (columns, rows) in tables(self._reader).items():
            media[name] = wandb.Table(columns=list(columns), data=rows)
        if run.samples.exists():
            text = html.escape(read_bytes(run.samples).decode("utf-8", "replace"))
            media["sample"] = wandb.Html(f"<pre>{text}</pre>")
        return media

    def close(self, status: Status) -> None:
        """Write the summary and wait until everything has arrived."""
        self._run.summary.update(summary_of(self.target.folder, status))
        self._run.finish(exit_code=0 if status.finished else 1)


def send_report(folder: Path, study: str, project: str, mode: str) -> None:
    """Send a study's report as an artifact of a small run.

    Args:
        folder: the report.

    Raises:
        UnreachableError: see there.
    """
    import wandb

    run = _init(mode, project=project, id=f"report-{study}", name=f"report {study}", job_type="report")
    artifact = wandb.Artifact(f"{study}-report", type="report")
    artifact.add_dir(str(folder))
    run.log_artifact(artifact)
    if mode == "online":
        artifact.wait()
    run.finish()


def start_again() -> None:
    """End W&B's service and all that it has open; it never opens a run again that it once failed to open."""
    import wandb

    wandb.teardown(exit_code=1)


def _init(mode: str, **identity: Any) -> Any:
    """Open or resume a run that says nothing, measures nothing by itself and reads no code."""
    import wandb

    settings: Mapping[str, Any] = {
        "silent": True,
        "console": "off",
        "disable_git": True,
        "save_code": False,
        "init_timeout": INIT_SECONDS,
        "x_disable_stats": True,
    }
    try:
        return wandb.init(
            mode=mode,  # type: ignore[arg-type]  # a literal to the library; MODES has its words
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**settings),
            **identity,
        )
    except (wandb.errors.Error, TimeoutError, OSError, ValueError) as error:
        raise UnreachableError(_line(error)) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
