"""`gpt verify`: whatever is changed, missing or unfinished in a real study's folder is named, and nothing else is."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from commands import gpt, runs_of
from small import Small, plan
from tiny import SMALLEST, study_of

from gpt.errors import InputError
from gpt.records.manifest import MANIFEST, files_below, write_manifest
from gpt.records.run_folder import RunFolder
from gpt.report.publish import publish
from gpt.runner.checks.verify import verify
from gpt.study.folder import StudyFolder, studies_in


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """The output folder of a study that was run to its end."""
    folder = tmp_path_factory.mktemp("finished")
    study = study_of(folder, excerpt, SMALLEST, train={"steps": 8, "eval_every": 4}, probes={"every": 4})
    code, said = gpt("study", "run", study, home=folder)
    assert code == 0, said
    return folder / "out"


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def only(folder: Path) -> str:
    """The one thing that is wrong."""
    wrong = verify(folder).wrong
    assert len(wrong) == 1, wrong
    return wrong[0]


def test_an_untouched_folder_is_whole(finished: Path) -> None:
    verdict = verify(finished)
    assert (verdict.seen, verdict.wrong) == ("1 study, 4 runs", [])


def test_looking_changes_nothing(out: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.rglob("*")}
    verify(out)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.rglob("*")} == before


def test_a_flipped_bit_of_any_record_is_named(out: Path) -> None:
    dice = random.Random(0)
    run = runs_of(out)[1]
    records = [*run.results(), run.root / MANIFEST]
    records += [path for path in StudyFolder(out, "tiny").root.iterdir() if path.is_file()]
    assert len(records) == 12 + 3
    for file in records:
        whole = file.read_bytes()
        for _ in range(3 if whole else 0):
            bit = dice.randrange(len(whole) * 8)
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            wrong = verify(out).wrong
            assert any(line.startswith(f"{file}: ") for line in wrong), (file, bit, wrong)
        file.write_bytes(whole)
    assert verify(out).wrong == []


def test_a_table_of_runs_under_another_name_is_no_table(out: Path) -> None:
    table = StudyFolder(out, "tiny").runs_json
    whole = table.read_bytes()
    for corrupt in (whole.replace(b'"runs"', b'"cellr"'), b"[]\n"):
        assert corrupt != whole
        table.write_bytes(corrupt)
        assert any(line.startswith(f"{table}: ") for line in verify(out).wrong)
    table.write_bytes(whole)
    assert verify(out).wrong == []


def remove_a_run(out: Path) -> str:
    shutil.rmtree(runs_of(out)[0].root)
    return "run .*, is not finished: planned"


def fail_a_run(out: Path) -> str:
    run = runs_of(out)[0]
    run.write_status(replace(run.read_status(), state="failed", why="it rained"))
    return "is not finished: failed .it rained."


def add_a_probe(out: Path) -> str:
    probes = runs_of(out)[0].probes
    shutil.copy(probes / "step-00000004.safetensors", probes / "step-00000005.safetensors")
    return "step-00000005.safetensors: is not in manifest.json"


def cut_rows_and_seal_again(out: Path) -> str:
    run = runs_of(out)[0]
    run.metrics.write_text("".join(run.metrics.read_text().splitlines(keepends=True)[:-1]))
    write_manifest(run.root, run.results())
    return "metrics.jsonl: corrupt, got 8 rows, must hold each step from 0 to 8 once"


def lose_the_use_of_context_and_seal_again(out: Path) -> str:
    run = runs_of(out)[0]
    run.long_range.unlink()
    write_manifest(run.root, run.results())
    return "long_range.safetensors: missing, must hold what 128 windows showed of the use of context"


def swap_two_runs(out: Path) -> str:
    first, second = runs_of(out)[:2]
    first.root.rename(out / "runs" / "aside")
    second.root.rename(first.root)
    (out / "runs" / "aside").rename(second.root)
    return "describes run .*, must be that of the folder"


def change_the_report(out: Path) -> str:
    path = StudyFolder(out, "tiny").findings
    found = json.loads(path.read_text())
    found["settings"][0]["variants"][1]["values"][0] += 0.001
    path.write_text(json.dumps(found))
    return "findings.json: says other values than the runs .number 3."


def plan_another_run(out: Path) -> str:
    folder = StudyFolder(out, "tiny")
    table = json.loads(folder.runs_json.read_text())
    table["runs"][0]["run"] = table["runs"][1]["run"]
    folder.runs_json.write_text(json.dumps(table))
    write_manifest(folder.root, [folder.study_yaml, folder.runs_json])
    return "runs.json: pre seed 0 is run .*, must be "


def lose_the_table(out: Path) -> str:
    StudyFolder(out, "tiny").runs_json.unlink()
    return "tiny: no runs.json"


@pytest.mark.parametrize(
    "spoil",
    [
        remove_a_run, fail_a_run, add_a_probe, cut_rows_and_seal_again,
        lose_the_use_of_context_and_seal_again, swap_two_runs, change_the_report,
        plan_another_run, lose_the_table,
    ],
)  # fmt: skip
def test_what_is_spoilt_is_named(out: Path, spoil: Callable[[Path], str]) -> None:
    expected = spoil(out)
    wrong = verify(out).wrong
    assert wrong
    with pytest.raises(AssertionError, match=expected):
        raise AssertionError("\n".join(wrong))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, excerpt: Path) -> Path:
    """The output folder of a run that was stopped in the middle."""
    out = tmp_path_factory.mktemp("interrupted") / "out"
    Small(plan(excerpt, (0,)), {}).train_until(out, 9)
    return out


def test_an_unfinished_run_that_can_go_on_is_whole(interrupted: Path) -> None:
    assert verify(interrupted).wrong == []
    assert verify(runs_of(interrupted)[0].root).seen == "1 run"


def test_what_an_unfinished_run_would_trip_over_is_named(interrupted: Path, tmp_path: Path) -> None:
    def spoilt(name: str) -> RunFolder:
        return runs_of(Path(shutil.copytree(interrupted, tmp_path / name)))[0]

    run = spoilt("checkpoint")
    newest = sorted(run.checkpoints.iterdir())[-1]
    (newest / "state.safetensors").write_bytes(b"")
    assert only(run.root).startswith(f"{newest / 'state.safetensors'}: 0 bytes, must be ")

    run = spoilt("rows")
    lines = run.metrics.read_text().splitlines(keepends=True)
    run.metrics.write_text("".join(lines[:2] + lines[3:]))
    assert only(run.root).startswith(f"{run.metrics}: corrupt, its first ")

    run = spoilt("model")
    (run.model / "model.safetensors").write_bytes(b"")
    assert only(run.root).startswith(f"{run.model / 'model.safetensors'}: differs from the sha256 in config.json")

    run = spoilt("run")
    run.run_json.write_text(run.run_json.read_text().replace('"lr": 0.01', '"lr": 0.02'))
    assert "run.json: describes run" in only(run.root)


def test_a_run_that_is_being_trained_is_left_to_its_trainer(interrupted: Path, tmp_path: Path) -> None:
    run = runs_of(Path(shutil.copytree(interrupted, tmp_path / "out")))[0]
    for step in run.checkpoints.iterdir():
        (step / MANIFEST).unlink()
    assert verify(run.root).wrong
    with run.try_lease() or pytest.fail("nobody else has it"):
        assert verify(run.root).wrong == []


def test_a_published_study_is_whole_until_a_byte_of_it_changes(out: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    publish(studies_in(out)[0], results)
    assert verify(results).wrong == verify(results / "tiny").wrong == []
    for file in files_below(results / "tiny"):
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert only(results).startswith(f"{file}: its bytes must have the SHA-256")
        file.write_bytes(whole)


def test_a_published_study_without_one_of_its_runs_is_named(out: Path, tmp_path: Path) -> None:
    publish(studies_in(out)[0], tmp_path / "results")
    folder = tmp_path / "results/tiny"
    runs = json.loads((folder / "runs.json").read_text())
    (folder / "runs.json").write_text(json.dumps(runs[1:]))
    write_manifest(folder, files_below(folder))
    assert any("holds 3 runs, must hold each of the 4 planned ones once" in line for line in verify(folder).wrong)


def test_the_command_says_it_and_exits_1(out: Path, tmp_path: Path) -> None:
    assert gpt("verify", out, home=tmp_path) == (0, f"{out}: 1 study, 4 runs, nothing wrong\n")
    runs_of(out)[0].samples.write_text("")
    code, said = gpt("verify", out, home=tmp_path)
    assert code == 1
    assert said.splitlines()[0].startswith(f"wrong: {runs_of(out)[0].samples}: 0 bytes, must be ")
    assert said.endswith("4 runs, 1 wrong\n")


def test_every_folder_is_looked_at_though_one_cannot_be_read(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out.parent)  # the folders above are another user's
    out = Path(out.name)
    closed, other = runs_of(out)[:2]
    other.samples.write_text("")
    assert len(verify(out).wrong) == 1  # and everything is imported
    Path.cwd().chmod(0o755)
    closed.root.chmod(0)
    answer = out / "answer"
    answer.touch()
    answer.chmod(0o666)
    child = os.fork()
    if child == 0:  # root may read anything, so a child becomes another user
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            answer.write_text("\n".join([*verify(out).wrong, "", *verify(out / "runs").wrong]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    closed.root.chmod(0o755)
    of_output, _, of_runs = answer.read_text().partition("\n\n")
    for wrong in (of_output, of_runs):
        assert f"{closed.root}" in wrong
        assert "cannot be read: Permission denied" in wrong
        assert f"{other.samples}: 0 bytes, must be " in wrong


def test_a_run_that_failed_is_wrong_by_itself_too(out: Path) -> None:
    fail_a_run(out)
    run = runs_of(out)[0]
    expected = f"{run.root}: is not finished: failed (it rained)"
    assert only(out / "runs") == only(run.root) == expected
    assert verify(out).wrong[0] == expected


def test_the_answer_is_typed_json(out: Path, tmp_path: Path) -> None:
    runs_of(out)[0].samples.write_text("")
    code, said = gpt("verify", out, "--json", home=tmp_path)
    answer = json.loads(said)
    assert code == 1
    assert {key: answer[key] for key in ("folder", "studies", "runs", "published")} == {
        "folder": str(out), "studies": 1, "runs": 4, "published": 0,
    }  # fmt: skip
    assert [line.partition(": ")[0] for line in answer["wrong"]] == [str(runs_of(out)[0].samples)]
    code, said = gpt("study", "status", out, "--json", home=tmp_path)
    (status,) = json.loads(said)
    assert (code, status["name"], status["finished"], status["runs"], status["failed"]) == (0, "tiny", 4, 4, [])
    assert {each["variant"]: sum(each["states"].values()) for each in status["variants"]} == {"pre": 2, "post": 2}


def test_runs_alone_are_looked_at_without_their_studies(out: Path) -> None:
    verdict = verify(out / "runs")
    assert (verdict.seen, verdict.wrong) == ("4 runs", [])
    runs_of(out)[0].samples.write_text("")
    assert only(out / "runs").startswith(f"{runs_of(out)[0].samples}: 0 bytes, must be ")


def test_the_folder_above_an_output_folder_points_to_it(out: Path, tmp_path: Path) -> None:
    code, said = gpt("study", "status", tmp_path, home=tmp_path)
    assert code == 2
    assert f"{tmp_path}: holds no study; look in {out}\n" in said


def test_a_folder_that_holds_nothing_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no runs, no studies and no published results"):
        verify(tmp_path)


def test_a_finished_run_whose_bytes_changed_gets_into_no_report(out: Path, tmp_path: Path) -> None:
    run = runs_of(out)[0]
    run.metrics.write_text(run.metrics.read_text().replace('"val/loss":', '"val/loss":1', 1))
    readme = tmp_path / "README.md"
    readme.write_text("<!-- findings:begin -->\n<!-- findings:end -->\n")
    results = tmp_path / "results"
    for words in (["report", out], ["publish", out, "--results", results, "--readme", readme]):
        code, said = gpt("study", *words, home=tmp_path)
        assert code == 2
        assert re.search(rf"{run.metrics}: .*; move {run.root} away and run the study again", said), said
    assert not results.exists()


def test_a_readme_without_markers_is_refused_before_anything_is_published(out: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing\n")
    words = ["--results", tmp_path / "results", "--readme", tmp_path / "README.md"]
    code, said = gpt("study", "publish", out, *words, home=tmp_path)
    assert (code, (tmp_path / "results").exists()) == (2, False)
    assert "must hold <!-- findings:begin -->" in said


def test_a_status_that_the_events_do_not_bear_out_is_named(out: Path) -> None:
    run = runs_of(out)[0]
    before = run.read_status()
    other = "done" if before.state == "diverged" else "diverged"
    run.write_status(replace(before, state=other))
    assert f"{run.status_json}: says {other}, its events say {before.state}" in verify(out).wrong


def test_a_changed_or_missing_page_of_a_report_is_named(out: Path) -> None:
    report = StudyFolder(out, "tiny").report
    (report / "report.html").unlink()
    page = report / "report.md"
    page.write_text(page.read_text().replace("pre", "post"))
    wrong = "\n".join(verify(out).wrong)
    assert str(page) in wrong
    assert str(report / "report.html") in wrong


def test_a_folder_without_a_manifest_among_published_ones_is_named(out: Path, tmp_path: Path) -> None:
    publish(StudyFolder(out, "tiny"), tmp_path / "results")
    (tmp_path / "results" / "other").mkdir()
    assert only(tmp_path / "results").startswith(f"{tmp_path / 'results' / 'other' / MANIFEST}: ")


def test_a_corrupt_table_of_runs_ends_no_command_with_a_traceback(out: Path, tmp_path: Path) -> None:
    StudyFolder(out, "tiny").runs_json.write_text("[]\n")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- findings:begin -->\n<!-- findings:end -->\n")
    for words in (["report", out], ["publish", out, "--results", tmp_path / "results", "--readme", readme]):
        code, said = gpt("study", *words, home=tmp_path)
        assert (code, len(said.splitlines())) == (2, 1), said
        assert "runs.json: corrupt" in said
