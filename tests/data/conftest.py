import pytest

from gpt.data.corpus import default_cache, load_text


@pytest.fixture(scope="session")
def tiny_shakespeare() -> str:
    return load_text("tiny_shakespeare", default_cache())[0]
