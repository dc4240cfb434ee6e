from typing import Any

import pytest

from waifu_llm.helpers.toolless import Toolless


class Load:
    """What is loaded; it is only told apart."""


@pytest.fixture
def load() -> Any:
    return Load()


def test_it_knows_each_model_of_each_load_by_itself(load: Any) -> None:
    toolless = Toolless()
    toolless.add(load, "tiny")
    assert toolless.has(load, "tiny")
    assert not toolless.has(load, "large")
    assert not toolless.has(Load(), "tiny")  # type: ignore[arg-type]


def test_it_forgets_after_a_while(load: Any) -> None:
    now = 1000.0
    toolless = Toolless(lambda: now)
    toolless.add(load, "tiny")
    now += 599
    assert toolless.has(load, "tiny")
    now += 2
    assert not toolless.has(load, "tiny")
