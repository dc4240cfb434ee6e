"""The last few of many names."""

from waifu_llm.recent import Recent


def test_each_is_there_once_and_only_so_many_are() -> None:
    names = Recent(3)
    assert names.last is None
    for name in ("a", "b", "c", "a", "d"):
        names.add(name)
    assert list(names) == ["c", "a", "d"]
    assert names.last == "d"
    names.forget("d")
    names.forget("x")
    assert names.last == "a"
    names.clear()
    assert list(names) == []
