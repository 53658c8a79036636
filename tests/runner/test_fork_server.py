"""Where ranks come from: one server that has imported everything, so that starting them costs next to nothing."""

import re
from pathlib import Path

from commands import GPT, run_command


def test_torch_is_imported_by_the_command_and_its_server_alone_and_its_compiler_by_none(
    tiny_file: Path, tmp_path: Path
) -> None:
    words = [GPT[0], "-X", "importtime", *GPT[1:], "train", tiny_file, "--ranks-per-run", "2"]
    code, said = run_command(words, tmp_path)
    assert code == 0, said
    imported = re.findall(r"^import time:[ \d|]+ +(\S+)$", said, re.MULTILINE)
    assert imported.count("torch") == 2
    assert "torch._dynamo" not in imported, "what a training process has no use for takes as long as torch itself"


def test_a_file_of_the_users_that_is_named_like_a_module_is_not_run(tiny_file: Path, tmp_path: Path) -> None:
    for name in ("gpt", "torch", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not the module')\n")
    code, said = run_command([Path(GPT[0]).parent / "gpt", "train", tiny_file], tmp_path)
    assert code == 0, said
    assert "not the module" not in said
