"""Bytes that change on the disk: what is corrupt is found, named and not used, and costs at most the way back to the
last good checkpoint."""

import os
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import torch
from small import Small, committed, rows_wrong
from tally import Tally

from gpt.errors import InputError
from gpt.records.manifest import MANIFEST, CorruptionError, entry, read_checksummed, write_checksummed
from gpt.records.run_folder import RunFolder, load_arrays
from gpt.runner.checks.verify import verify
from gpt.train import checkpoint
from gpt.train.checkpoint import STATE
from gpt.train.saved_model import load_model


def flipped(whole: bytes, bit: int) -> bytes:
    corrupt = bytearray(whole)
    corrupt[bit // 8] ^= 1 << bit % 8
    return bytes(corrupt)


def damages(whole: bytes, seed: int = 0) -> Iterator[bytes]:
    """Without end: flipped bits and truncations of some bytes, five of the one for two of the other."""
    dice = random.Random(seed)
    while True:
        for _ in range(5):
            yield flipped(whole, dice.randrange(len(whole) * 8))
        for _ in range(2):
            yield whole[: dice.randrange(len(whole))]


@pytest.mark.fault("flipped bits and truncations of a checkpoint", sampled=True)
@pytest.mark.parametrize("file", [STATE, MANIFEST])
def test_a_corrupt_checkpoint_is_named_and_the_one_before_is_used(faults: Tally, tmp_path: Path, file: str) -> None:
    checkpoints.commit(tmp_path, 100)
    place = checkpoints.commit(tmp_path, 200) / file
    whole = place.read_bytes()
    ends = (whole + b"\n", whole + b" ", b" " + whole, b"", whole + whole)
    for corrupt in (*(x for _, x in zip(faults.some(range(700), 20), damages(whole), strict=False)), *ends):
        place.write_bytes(corrupt)
        with faults.one():
            found = checkpoints.steps(tmp_path)
            faults.saw("corrupt checkpoints used", found.count(200))
            assert found == [100]
            assert str(place) in checkpoint.find(tmp_path)[1]["step-00000200"]
            with pytest.raises(CorruptionError):
                checkpoint.load(tmp_path, 200)
    place.write_bytes(whole)
    assert checkpoints.steps(tmp_path) == [100, 200]


@pytest.fixture(scope="module")
def stopped(one: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the small run, stopped after step 9, with checkpoints of steps 8 and 9."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    one.train_until(out, 9)
    assert committed(one.run(out)) == {8, 9}
    return out


def in_use(run: RunFolder) -> list[Path]:
    """The files that a run reads which goes on with a stopped run."""
    names = (STATE, MANIFEST)
    files = [folder / name for folder in sorted(run.checkpoints.glob("step-*")) for name in names]
    probed, saved = sorted(run.probes.iterdir()), sorted(run.model.iterdir())
    return [run.run_json, run.metrics, run.window_losses, *probed, *saved, *files]


@pytest.mark.fault("flipped bits and truncations of any file of a run that goes on", sampled=True)
def test_a_run_that_goes_on_ends_with_the_same_bytes_or_names_what_is_corrupt(
    faults: Tally, one: Small, stopped: Path, tmp_path: Path
) -> None:
    number = len(in_use(one.run(stopped)))
    assert number >= 11
    each = 40 if faults.full else 1
    for index in range(number):
        for seed in range(each):
            out = Path(shutil.copytree(stopped, tmp_path / "out"))
            run = one.run(out)
            file = in_use(run)[index]
            file.write_bytes(next(damages(file.read_bytes(), seed)))
            with faults.one():
                one.train(out)
                if run.read_status().state == "failed":
                    assert file == run.run_json, "from all others there is a way back"
                    assert str(file) in run.read_status().why
                    run.root.rename(tmp_path / "aside")
                    one.train(out)
                    shutil.rmtree(tmp_path / "aside")
                faults.saw("rows lost, doubled or changed", rows_wrong(one, out))
                one.check(out)
                assert verify(out).wrong == []
            shutil.rmtree(out)


@pytest.mark.fault("a torn or scribbled end of the records", sampled=True)
@pytest.mark.parametrize("name", ["metrics", "events"])
def test_whatever_follows_the_last_checkpoint_is_cut_off(
    faults: Tally, one: Small, stopped: Path, tmp_path: Path, name: str
) -> None:
    dice = random.Random(0)
    meta = checkpoint.load(one.run(stopped).checkpoints, 8).meta
    for _ in faults.some(range(100), 3):
        out = Path(shutil.copytree(stopped, tmp_path / "out"))
        run = one.run(out)
        shutil.rmtree(run.checkpoints / "step-00000009")
        file, kept = getattr(run, name), meta["records"][name]["bytes"]
        torn = file.read_bytes()[: dice.randrange(kept, file.stat().st_size + 1)]
        scribble = dice.choice([b"", b"\0" * dice.randrange(5000), dice.randbytes(50), b'{"step":10}\n', b"\n\n"])
        file.write_bytes(torn + scribble)
        with faults.one():
            one.train(out)
            faults.saw("rows lost, doubled or changed", rows_wrong(one, out))
            one.check(out)
        shutil.rmtree(out)


class Bomb:
    """A pickle that leaves a trace where it goes off."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def write_torch(path: Path, bomb: Bomb) -> None:
    torch.save({"weight": bomb}, path)


def write_pickle(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps(bomb))


def write_numpy(path: Path, bomb: Bomb) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([bomb], dtype=object), allow_pickle=True)


@pytest.mark.fault("a pickle that poses as a checkpoint, a model or a probe")
@pytest.mark.parametrize("write", [write_torch, write_pickle, write_numpy])
def test_no_pickle_goes_off(faults: Tally, one: Small, stopped: Path, tmp_path: Path, write) -> None:
    out, trace = Path(shutil.copytree(stopped, tmp_path / "out")), tmp_path / "went-off"
    run, bomb = one.run(out), Bomb(trace)
    pickle.loads(pickle.dumps(bomb))
    assert trace.exists(), "the bomb works"
    trace.unlink()
    with faults.one():  # with a manifest whose hashes are right, as somebody who knows the format could write it
        folder = run.checkpoints / "step-00000009"
        write(folder / STATE, bomb)
        content = {
            key: value for key, value in read_checksummed(folder / MANIFEST).items() if key not in ("format", "sha256")
        }
        content["files"] = {STATE: entry((folder / STATE).read_bytes())}
        (folder / MANIFEST).write_bytes(write_checksummed(content))
        with pytest.raises(CorruptionError, match="Error while deserializing"):
            checkpoint.load(run.checkpoints, 9)
        one.train(out)
        one.check(out)
    with faults.one():
        write(run.model / "model.safetensors", bomb)
        with pytest.raises(InputError, match="corrupt"):
            load_model(run.model)
    with faults.one():
        write(run.probe_file(6), bomb)
        with pytest.raises(InputError, match="corrupt"):
            load_arrays(run.probe_file(6))
    assert verify(out).wrong
    assert not os.path.lexists(trace)
