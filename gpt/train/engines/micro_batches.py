"""How a batch is divided: into one share for each rank, and each share into micro-batches."""

from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.train.engines.ranks import Ranks


def micro_batches(config: RunConfig, ranks: Ranks) -> list[range]:
    """The samples that this rank computes, one range for each forward and backward pass.

    Ranks take consecutive shares, so that the micro-batches of all ranks, one rank after the other, are in the order of
    their samples.

    Raises:
        InputError: the batch cannot be divided so; or the noise scale is asked of a batch that is not divided at all.
    """
    batch = config.train.batch_size
    size = config.train.micro_batch_size or batch // ranks.size or 1
    if batch % (ranks.size * size):
        raise InputError(
            f"train.batch_size: got {batch}, must be a multiple of {ranks.size} ranks"
            + (f" x train.micro_batch_size {size}" if config.train.micro_batch_size else "")
        )
    if config.probes.noise_scale and size == batch:
        raise InputError(
            "probes.noise_scale: needs at least two micro-batches: several ranks, or a train.micro_batch_size below "
            f"the train.batch_size {batch}"
        )
    share = batch // ranks.size
    first = ranks.rank * share
    return [range(start, start + size) for start in range(first, first + share, size)]
