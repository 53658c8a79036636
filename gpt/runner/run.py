"""From planned runs to trained ones, here or as one rank of a launch."""

import sys
from collections.abc import Sequence

import torch

from gpt.runner.launch.accelerate import Launch
from gpt.runner.layout import Layout, seed_batches_of
from gpt.runner.progress import Progress
from gpt.runner.ranks.group import backend_for
from gpt.runner.ranks.launched import check_ranks_agree, open_store, run_as_rank
from gpt.runner.ranks.local import Outcome, run_locally
from gpt.runner.run_json import check_stacks
from gpt.runner.stack import describe_stack
from gpt.runner.workspace import Workspace
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun
from gpt.train.engines.kinds import engine_kinds


def train_runs(runs: Sequence[PlannedRun], workspace: Workspace, launch: Launch | None, layout: Layout) -> Outcome:
    """Train every run that is missing, having said once what computes.

    Raises:
        InputError: a run was begun by another stack; or the ranks of the launch are not alike.
    """
    torch.set_num_threads(layout.threads)
    stack = describe_stack(workspace.device)
    folders = [run_at(workspace.out, run.fingerprint) for run in runs]
    check_stacks(runs, workspace.out, stack)
    missing = sum(not folder.finished for folder in folders)
    seed_batches = seed_batches_of(runs, layout.seeds_per_process)
    progress = Progress(runs, workspace.out)
    speaks = launch is None or launch.rank == 0
    if launch:
        store = open_store(launch, layout.timeout)
        check_ranks_agree(launch, store, layout, seed_batches, workspace)
    if not missing:
        if speaks:
            done = "the run is done" if len(runs) == 1 else f"all {len(runs)} runs are done"
            print(f"nothing to do: {done}", file=sys.stderr)
        return Outcome(stopped=False, unfinished=[], elsewhere=0)
    if speaks:
        done = f"{len(runs) - missing} of {len(runs)} runs are done"
        how = f"{layout}{_engine(workspace) if layout.ranks_per_run > 1 else ''}"
        print(f"{done}, {missing} to train on {stack['device']} with {how}", file=sys.stderr, flush=True)
    if launch:
        return run_as_rank(launch, store, seed_batches, workspace, layout, progress)
    return run_locally(seed_batches, workspace, layout, progress)


def _engine(workspace: Workspace) -> str:
    return f", {engine_kinds()[workspace.engine].title} over {backend_for(workspace.device)}"
