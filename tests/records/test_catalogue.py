"""Claims about the catalogue of everything recorded."""

import json

import numpy as np
import pytest

from gpt.config import RunConfig
from gpt.errors import InputError
from gpt.probes import declared
from gpt.probes.declared import declared_arrays
from gpt.records.catalogue import Array, Summary, arrays_of, axis_names, coordinates
from gpt.records.files import jsonable

MODULES = ["embedding", "layer 0", "layer 1", "head"]


def test_a_run_keeps_what_was_declared_and_reads_it_back(tiny: RunConfig):
    tiny = tiny.model_copy(update={"model": tiny.model.model_copy(update={"context": 32})})
    declared = declared_arrays(tiny)
    again = arrays_of(json.loads(json.dumps(jsonable({"arrays": declared}))))
    assert list(again.values()) == declared
    assert again["attention_entropy"].neutral == pytest.approx(2.5487, abs=5e-5)


def test_every_array_says_what_it_is(tiny: RunConfig):
    for array in declared_arrays(tiny):
        assert array.title
        assert array.axes
        assert array.unit or array.name.startswith(("residual_", "update_ratio"))


def test_names_are_declared_once(monkeypatch, tiny: RunConfig):
    monkeypatch.setattr(declared, "LONG_RANGE_ARRAYS", (Array(name="dead_share", axes=("layer",)),))
    with pytest.raises(InputError, match="array dead_share: declared twice"):
        declared_arrays(tiny)


def test_a_summary_has_its_arrays_name_and_unit_unless_it_has_its_own():
    plain, own = Summary(meaning="the mean"), Summary(name="most", unit="factor", over="max")
    assert Array(name="size", unit="nats", axes=("layer",), summaries=(plain, own)).summaries == (
        Summary(name="size", unit="nats", meaning="the mean"),
        own,
    )


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
