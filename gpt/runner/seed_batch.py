"""Training the runs of one seed batch: from planned to done, resumed from whatever an earlier attempt left."""

from collections.abc import Callable, Sequence
from contextlib import closing

from gpt.probes.protocol import probes_of
from gpt.runner.picks import with_pick
from gpt.runner.resume import resume
from gpt.runner.run_json import check_text, describe_run, note_layout
from gpt.runner.workspace import Workspace
from gpt.study.folder import run_at
from gpt.study.plan import PlannedRun
from gpt.train.engines.kinds import engine_kinds
from gpt.train.engines.ranks import SINGLE, Ranks
from gpt.train.loop import train
from gpt.train.run_writer import RunWriter


def train_seed_batch(
    planned: Sequence[PlannedRun], workspace: Workspace, stop: Callable[[], bool], ranks: Ranks = SINGLE
) -> bool:
    """Train runs together, which differ in their seeds alone, from their common newest checkpoint on.

    The caller holds their leases. Every rank of the group calls this; the main one alone reads and writes folders.

    Returns:
        False if `stop` ended it early; the next call then resumes it.

    Raises:
        InputError: a run was begun by other code, packages or on another device, or its text is another by now.
    """
    config, seeds = planned[0].config, [run.seed for run in planned]
    mine = planned if ranks.is_main else []
    folders = [run_at(workspace.out, run.fingerprint) for run in mine]
    data = workspace.corpora.load(config)
    check_text(planned[0], data)
    build, vocabulary = engine_kinds()[workspace.engine].build, data.tokenizer.vocabulary_size
    with closing(build(with_pick(planned[0], workspace.out), vocabulary, seeds, workspace.device, ranks)) as engine:
        for run, folder in zip(mine, folders, strict=True):
            describe_run(run, folder, data, engine)
        start, offsets = resume(engine, folders)
        with closing(RunWriter(folders, config, data, engine, start, offsets)) as writer:
            for folder in folders:
                note_layout(folder, engine, start)
            return train(config, data, engine, probes_of(config.probes), writer, start, stop)
