"""Texts by name, tokenizers, the order of batches."""

from gpt.registry import import_modules

import_modules(__name__, __path__)
