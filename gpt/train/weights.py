"""A trained model as a folder: its shape and alphabet beside its weights."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from gpt.config import ModelConfig, parse
from gpt.data.tokenizer import CharTokenizer
from gpt.errors import InputError
from gpt.model.gpt import GPT
from gpt.records.files import read_bytes, read_json, write_atomic, write_json

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_model(
    folder: Path, config: ModelConfig, characters: str, weights: dict[str, Tensor], about: dict[str, Any]
) -> None:
    """Write one seed's weights; `about` says which step of which run they are."""
    blob = save({name: value.contiguous().cpu() for name, value in weights.items()})
    write_atomic(folder / WEIGHTS, blob)
    description = {"model": config.model_dump(mode="json"), "characters": characters, **about}
    write_json(folder / CONFIG, {**description, "weights_sha256": hashlib.sha256(blob).hexdigest()})


def load_model(folder: Path) -> tuple[GPT, CharTokenizer, int]:
    """A saved model, with a seed axis of length 1, its alphabet and its context length.

    Raises:
        InputError: the folder holds no model, or its files do not belong together.
    """
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder}: holds no model (no {CONFIG}); a cell has one after its first evaluation")
    description = read_json(folder / CONFIG)
    blob = read_bytes(folder / WEIGHTS)
    if hashlib.sha256(blob).hexdigest() != description["weights_sha256"]:
        raise InputError(f"{folder / WEIGHTS}: differs from the sha256 in {CONFIG}; the file is damaged")
    config = parse(ModelConfig, description["model"], str(folder / CONFIG))
    tokenizer = CharTokenizer.from_text(description["characters"])
    model = GPT(config, tokenizer.vocabulary_size, seeds=1)
    model.load_state_dict(load(blob))
    return model.eval(), tokenizer, config.context


def weights_sha256(weights: dict[str, Tensor]) -> str:
    """One hash over every bit of the weights, by parameter name."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
