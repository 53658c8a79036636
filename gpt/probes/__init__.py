"""Measurements inside the model, on fixed text, which never change training; each file here adds some."""

from gpt.registry import import_modules

import_modules(__name__, __path__)
