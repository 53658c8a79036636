"""One seed of a seed batch that leaves the finite numbers: it is marked, and the others do not lose a bit."""

from pathlib import Path

import pytest
import torch
from small import Small, make
from tally import Tally

from gpt.records.jsonl import read_jsonl
from gpt.train.engines.replicated import ReplicatedEngine


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Small:
    """Three seeds, trained together."""
    return make(tmp_path_factory.mktemp("packed"), excerpt, seeds=(0, 1, 2), together=True)


@pytest.mark.fault("NaN or infinity in the weights of one seed of three", sampled=True)
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_poisoned_seed_changes_no_other(
    faults: Tally, packed: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: float
) -> None:
    original = ReplicatedEngine.train_step
    for step, seed in faults.some([(step, seed) for step in range(1, 13) for seed in range(3)], 4):
        out = tmp_path / f"{step}-{seed}"

        def poisoned(engine, at, *rest, step=step, seed=seed, **more):
            if at == step:
                with torch.no_grad():
                    for value in engine.model.parameters():
                        value[seed].fill_(poison)
            return original(engine, at, *rest, **more)

        monkeypatch.setattr(ReplicatedEngine, "train_step", poisoned)
        with faults.one():
            packed.train(out, together=True)
            why = [packed.run(out, index).read_status().why for index in range(3)]
            assert [index for index in range(3) if "not finite" in why[index]] == [seed]
            events = read_jsonl(packed.run(out, seed).events)
            assert [(event["step"], event["kind"]) for event in events if event["kind"] == "nonfinite"] == [
                (step, "nonfinite")
            ]
            for name, content in packed.whole.items():
                if packed.runs[seed].fingerprint not in name and name.startswith("runs/"):
                    assert (out / name).read_bytes() == content, name
