"""Everything that a run may record in arrays, for its run.json."""

from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.probes.long_range import LONG_RANGE_ARRAYS
from gpt.probes.protocol import probes_of
from gpt.records.catalogue import TRAINING_ARRAYS, WINDOW_ARRAYS, Array


def declared_arrays(config: RunConfig) -> list[Array]:
    """The arrays of training itself, of the run's probes, of the use of context, and of the held-out windows.

    Raises:
        InputError: two have one name.
    """
    probed = [array for probe in probes_of(config.probes) for array in probe.arrays(config.model.context)]
    arrays = {}
    windows = WINDOW_ARRAYS if config.data.has_test else ()
    for array in (*TRAINING_ARRAYS, *probed, *LONG_RANGE_ARRAYS, *windows):
        if array.name in arrays:
            raise InputError(f"array {array.name}: declared twice; each recorded array needs a name of its own")
        arrays[array.name] = array
    return list(arrays.values())
