"""What the entries along each axis of a recorded array are called."""

from collections.abc import Sequence


def axis_names(name: str, shape: Sequence[int], layers: Sequence[str]) -> list[list[str]]:
    """For each axis a name for each entry, `layer 0` or `head 3`; numbers where entries have no names.

    Args:
        shape: of the array, without seeds or steps.
        layers: of the run, as run.json lists them.
    """
    blocks = [layer for layer in layers if layer.startswith("layer ")]
    numbers = [[str(i) for i in range(size)] for size in shape]
    if name.startswith("attention_"):
        named = [blocks, *([f"head {i}" for i in range(heads)] for heads in shape[1:2]), *numbers[2:]]
    elif name.startswith("residual_"):
        named = [["embedding", *blocks]]
    else:
        named = [blocks if name == "dead_share" else list(layers)]
    return named if [len(axis) for axis in named] == list(shape) else numbers
