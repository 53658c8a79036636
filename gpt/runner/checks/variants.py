"""What the classes that a run chooses have against its configuration."""

import gpt.data.tokenizer
import gpt.model.gpt
import gpt.probes
import gpt.train.optim  # noqa: F401  # these register what they define
from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.probes.declared import declared_arrays
from gpt.registry import REGISTRIES


def check_variants(config: RunConfig) -> None:
    """Ask every class that a run chooses whether it can be built, and all of its arrays for names of their own.

    Raises:
        InputError: names the field, what was got and what must hold.
    """
    for field, name in config.chosen():
        variant, section = REGISTRIES[field][name], getattr(config, field.partition(".")[0])
        try:
            variant.options(section)
            variant.check(section)
        except InputError as error:
            raise InputError(f"{field}: {error}") from None
    declared_arrays(config)
