"""A trained model as a folder: its shape and tokenizer beside its weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from gpt.config import ModelConfig
from gpt.data.tokenizer import TOKENIZERS, Tokenizer
from gpt.errors import InputError
from gpt.model.gpt import GPT
from gpt.plugins import check_loaded
from gpt.read_file import read_bytes
from gpt.records.files import make_folder, read_json, sync_folder, write_atomic, write_json
from gpt.yaml_file import parse

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_model(
    folder: Path, config: ModelConfig, tokenizer: dict[str, Any], weights: dict[str, Tensor], about: dict[str, Any]
) -> None:
    """Write one seed's weights; `tokenizer` holds its kind and state, `about` which step of which run.

    A kill on the way leaves the old model or none: the description goes first and comes last.
    """
    make_folder(folder)
    (folder / CONFIG).unlink(missing_ok=True)
    sync_folder(folder)
    blob = save({name: value.contiguous().cpu() for name, value in weights.items()})
    write_atomic(folder / WEIGHTS, blob)
    description = {"model": config.model_dump(mode="json"), "tokenizer": tokenizer, **about}
    write_json(folder / CONFIG, {**description, "weights_sha256": hashlib.sha256(blob).hexdigest()})


def check_model(folder: Path) -> dict[str, Any]:
    """The description of a saved model, whose weights are those that were saved.

    Raises:
        InputError: they are not, or the folder holds no model.
    """
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder}: holds no model (no {CONFIG}); a run has one after its first evaluation")
    description = read_json(folder / CONFIG)
    if not isinstance(description, dict) or not {"model", "tokenizer", "weights_sha256"} <= description.keys():
        raise InputError(f"{folder / CONFIG}: corrupt, must hold model, tokenizer and weights_sha256")
    if hashlib.sha256(read_bytes(folder / WEIGHTS)).hexdigest() != description["weights_sha256"]:
        raise InputError(f"{folder / WEIGHTS}: differs from the sha256 in {CONFIG}; the file is corrupt")
    return description


def load_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a saved model.

    Raises:
        InputError: see `check_model`.
    """
    check_model(folder)
    return load(read_bytes(folder / WEIGHTS))


def load_model(folder: Path) -> tuple[GPT, Tokenizer, int]:
    """A saved model, with a seed axis of length 1, its tokenizer and its context length.

    Raises:
        InputError: the folder holds no model, its files do not belong together, or a plug-in it was made with is not
            loaded.
    """
    weights, description = load_weights(folder), check_model(folder)
    for file, sha256 in description.get("plugins", {}).items():
        check_loaded(file, sha256, str(folder))
    config = parse(ModelConfig, description["model"], str(folder / CONFIG))
    kind, state = description["tokenizer"]["kind"], description["tokenizer"]["state"]
    tokenizer = TOKENIZERS[kind].from_state(state)
    model = GPT(config, tokenizer.vocabulary_size, seeds=1)
    model.load_state_dict(weights)
    return model.eval(), tokenizer, config.context


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """One hash over every bit of the weights, by parameter name."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
