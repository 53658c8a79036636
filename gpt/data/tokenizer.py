"""Text to integers and back."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gpt.errors import InputError
from gpt.registry import Registry, Variant

CODE = np.dtype("<u4")
"""a code point, as UTF-32 stores it"""


class Tokenizer(Variant):
    """Tokens are integers in [0, vocabulary_size); decoding what was encoded gives the text back."""

    @classmethod
    @abstractmethod
    def from_text(cls, text: str) -> Self:
        """The tokenizer for a text, the same whenever it is made.

        Raises:
            InputError: there is none for it.
        """

    @property
    @abstractmethod
    def vocabulary_size(self) -> int: ...

    @abstractmethod
    def encode(self, text: str) -> NDArray[np.int64]:
        """Tokens of a text.

        Raises:
            InputError: the text holds something that has no token.
        """

    @abstractmethod
    def decode(self, tokens: Sequence[int] | NDArray[np.integer]) -> str:
        """Text of a one-dimensional array of tokens."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What `from_state` makes the same tokenizer of, as JSON has it."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Self: ...


TOKENIZERS = Registry("data.tokenizer", Tokenizer)


@TOKENIZERS.register("characters")
@dataclass(frozen=True)
class CharTokenizer(Tokenizer):
    """Gives each character of a text its rank in the text's sorted alphabet; a character is one code point.

    Raises:
        InputError: fewer than two characters, or characters not distinct and in order.
    """

    characters: str
    """the alphabet: distinct characters, by code point; the index is the token"""

    def __post_init__(self) -> None:
        if len(self.characters) < 2:
            raise InputError(f"text must have at least 2 distinct characters, got {self.characters!r} alone")
        if list(self.characters) != sorted(set(self.characters)):
            raise InputError(f"alphabet must have distinct characters sorted by code point, got {self.characters!r}")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The tokenizer whose alphabet is every character of the text."""
        return cls("".join(sorted(set(text))))

    def state(self) -> dict[str, Any]:
        return {"characters": self.characters}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(state["characters"])

    @property
    def vocabulary_size(self) -> int:
        return len(self.characters)

    @cached_property
    def _codes(self) -> NDArray[np.uint32]:
        return _code_points(self.characters)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Tokens of a text, one for each character.

        Raises:
            InputError: a character that is not in the alphabet.
        """
        codes = _code_points(text)
        tokens = np.searchsorted(self._codes, codes)
        known = self._codes[np.minimum(tokens, self.vocabulary_size - 1)] == codes
        if not known.all():
            position = int(known.argmin())
            character = text[position]
            raise InputError(
                f"character {character!r} (U+{ord(character):04X}) at position {position} "
                f"must be among the {self.vocabulary_size} characters of the training text"
            )
        return tokens.astype(np.int64, copy=False)

    def decode(self, tokens: Sequence[int] | NDArray[np.integer]) -> str:
        """Text of a one-dimensional array of tokens, each in [0, vocabulary_size)."""
        ids = np.asarray(tokens, dtype=np.int64)
        assert ids.ndim == 1
        assert ((ids >= 0) & (ids < self.vocabulary_size)).all()
        return self._codes[ids].tobytes().decode("utf-32-le", "surrogatepass")


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=CODE)
