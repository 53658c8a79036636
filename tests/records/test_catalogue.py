"""Claims about the catalogue of everything recorded."""

import json

import numpy as np
import pytest

from gpt.errors import InputError
from gpt.probes import activations, attention, long_range  # noqa: F401  # they declare their arrays
from gpt.records import catalogue
from gpt.records.catalogue import Array, arrays_of, axis_names, coordinates, declare, described

MODULES = ["embedding", "layer 0", "layer 1", "head"]


def test_a_run_keeps_what_was_declared_and_reads_it_back():
    again = arrays_of(json.loads(json.dumps({"arrays": described(32)})))
    assert list(again) == list(catalogue._DECLARED)
    for name, (array, neutral) in catalogue._DECLARED.items():
        level = neutral(32) if neutral else array.neutral
        assert again[name] == Array(**{**vars(array), "neutral": level})
    assert again["attention_entropy"].neutral == pytest.approx(2.5487, abs=5e-5)


def test_every_array_says_what_it_is():
    for array in arrays_of({"arrays": described(8)}).values():
        assert array.title
        assert array.axes
        assert array.unit or array.name.startswith(("residual_", "update_ratio"))


def test_names_are_declared_once(monkeypatch):
    monkeypatch.setattr(catalogue, "_DECLARED", {})
    declare(Array(name="twice", axes=("layer",)))
    with pytest.raises(InputError, match="array twice: declared already"):
        declare(Array(name="twice", axes=("depth",)))


@pytest.mark.parametrize(
    ("axis", "size", "names"),
    [
        ("layer", 2, ["layer 0", "layer 1"]),
        ("depth", 3, ["embedding", "layer 0", "layer 1"]),
        ("module", 4, MODULES),
        ("head", 2, ["head 0", "head 1"]),
        ("layer", 3, ["0", "1", "2"]),
        ("anything", 2, ["0", "1"]),
    ],
)
def test_entries_are_named_by_their_axis_and_numbered_where_they_do_not_fit(axis, size, names):
    assert axis_names(axis, size, MODULES) == names


def test_an_axis_of_numbers_has_the_values_of_the_array_of_its_name():
    assert coordinates("position", {}, 2).at == [1, 2]
    assert coordinates("distance", {}, 2).at == [0, 1]
    assert coordinates("context_lengths", {"context_lengths": np.array([1, 4])}, 2).at == [1, 4]
