"""The engine of one process on one device."""

from gpt.train.engines.replicated import ReplicatedEngine


class SingleProcessEngine(ReplicatedEngine):
    """Its micro-batches' gradients add up where they are."""

    name = "single process"
