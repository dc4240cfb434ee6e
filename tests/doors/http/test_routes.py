"""The table of routes."""

import pytest

from waifu_llm.doors.http.routes import Route, Table


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/a/b%2Fc", {"name": "b/c"}),
        ("/a/b%252Fc", {"name": "b%2Fc"}),
        ("/a/b/c", None),
        ("/x%79", {}),
        ("/z/b%2Fc/d", {"rest": "b/c/d"}),
    ],
)
def test_a_step_of_a_path_is_read_once(path, params):
    paths = ("/a/{name}", "/xy", "/z/{rest*}")
    table = Table(Route(method="GET", path=each, handler=None, summary="") for each in paths)
    found = table.find(path)
    assert (found["GET"].params if found else None) == params
