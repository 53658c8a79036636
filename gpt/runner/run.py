"""From planned cells to trained ones, here or as one rank of a launch."""

import sys
from collections.abc import Sequence

import torch

from gpt.runner.launch.accelerate import Launch
from gpt.runner.layout import Layout, packs_of
from gpt.runner.progress import Progress
from gpt.runner.ranks.group import backend_for
from gpt.runner.ranks.launched import meet, open_store, run_as_rank
from gpt.runner.ranks.local import Outcome, run_cells
from gpt.runner.run_json import check_stacks
from gpt.runner.stack import describe_stack
from gpt.runner.workspace import Place
from gpt.study.folder import cell_at
from gpt.study.plan import PlannedCell


def train_cells(cells: Sequence[PlannedCell], place: Place, launch: Launch | None, layout: Layout) -> Outcome:
    """Train every cell that is missing, having said once what computes.

    Raises:
        InputError: a cell was begun by another stack; or the ranks of the launch are not alike.
    """
    torch.set_num_threads(layout.threads)
    stack = describe_stack(place.device)
    folders = [cell_at(place.out, cell.fingerprint) for cell in cells]
    check_stacks(folders, stack)
    missing = sum(not folder.finished for folder in folders)
    packs = packs_of(cells, layout.seeds_per_pack)
    progress = Progress(cells, place.out)
    speaks = launch is None or launch.rank == 0
    if launch:
        store = open_store(launch, layout.timeout)
        meet(launch, store, layout, packs, place)
    if not missing:
        if speaks:
            print(f"nothing to do: all {len(cells)} cells are done", file=sys.stderr)
        return Outcome(stopped=False, unfinished=[], elsewhere=0)
    if speaks:
        done = f"{len(cells) - missing} of {len(cells)} cells are done"
        how = f"{layout}{_engine(place) if layout.ranks_per_run > 1 else ''}"
        print(f"{done}, {missing} to train on {stack['device']} with {how}", file=sys.stderr, flush=True)
    if launch:
        return run_as_rank(launch, store, packs, place, layout, progress)
    return run_cells(packs, place, layout, progress)


def _engine(place: Place) -> str:
    engine = "DDP" if place.zero_stage is None else f"DeepSpeed ZeRO-{place.zero_stage}"
    return f", {engine} over {backend_for(place.device)}"
