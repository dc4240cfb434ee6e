from itertools import pairwise

import pytest
from host_text import StopFilter, ThinkFilter, held_back
from hypothesis import given, settings
from hypothesis import strategies as st

CUTS = st.lists(st.integers(0, 1000), max_size=8)
TEXT = st.lists(st.sampled_from(["a", "b", "ab", "\n", " "])).map("".join)
MARKS = st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3)
THOUGHTS = st.lists(st.sampled_from(["<think>", "</think>", "<", "<th", "/", ">", "a", " ", "\n"]))


def cut(text, places):
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def stopped(marks, pieces):
    """What is said, fed as a request is: nothing more once it has stopped."""
    stop = StopFilter(marks)
    said = ""
    for piece in pieces:
        said += stop.feed(piece)
        if stop.stopped:
            break
    return said + stop.rest(), stop.stopped


def parted(pieces):
    think = ThinkFilter()
    parts = [*(think.feed(piece) for piece in pieces), think.rest()]
    return "".join(said for said, _ in parts), "".join(thought for _, thought in parts)


# Stop tokens


@pytest.mark.parametrize(
    ("marks", "pieces", "said"),
    [
        (["\n"], ["one\ntwo"], "one"),
        (["\n"], ["one", "\n", "two"], "one"),
        (["END"], ["one E", "N", "D two"], "one "),
        (["END"], ["one E", "N", "C two"], "one ENC two"),
        (["END"], ["one EN"], "one EN"),
        (["END"], ["END"], ""),
        (["END", "\n"], ["a\nb END"], "a"),
        (["b c", "c"], ["a b c"], "a "),
        (["aab"], ["aa", "ab"], "a"),
        ([], ["one\ntwo"], "one\ntwo"),
    ],
)
def test_a_text_ends_before_its_first_stop_token(marks, pieces, said):
    assert stopped(marks, pieces) == (said, said != "".join(pieces))


@settings(deadline=None)
@given(MARKS, TEXT, CUTS)
def test_however_a_text_is_cut_it_ends_before_its_first_stop_token(marks, text, places):
    ends = [place for mark in marks if (place := text.find(mark)) >= 0]
    expected = (text[: min(ends)], True) if ends else (text, False)
    assert stopped(marks, cut(text, places)) == expected


@settings(deadline=None)
@given(MARKS, TEXT, CUTS)
def test_no_part_of_a_stop_token_leaves_before_it_is_known_to_be_none(marks, text, places):
    stop = StopFilter(marks)
    said = ""
    for piece in cut(text, places):
        said += stop.feed(piece)
        assert not any(mark in said for mark in marks)
        if stop.stopped:
            assert stop.rest() == ""
            break


def test_what_cannot_begin_a_stop_token_leaves_at_once():
    stop = StopFilter(["\nUser:"])
    assert [stop.feed(piece) for piece in ["Hi", " there", "\n", "\n", "x"]] == [
        "Hi",
        " there",
        "",
        "\n",
        "\nx",
    ]


@pytest.mark.parametrize(
    ("text", "marks", "held"),
    [
        ("abc", ["cd"], 1),
        ("abc", ["bcd", "cd"], 2),
        ("abc", ["x"], 0),
        ("", ["x"], 0),
        ("a", [], 0),
    ],
)
def test_as_much_is_held_back_as_could_begin_a_mark(text, marks, held):
    assert held_back(text, marks) == held


# Thoughts


@pytest.mark.parametrize(
    ("text", "said", "thought"),
    [
        ("hello", "hello", ""),
        ("<think>hm</think>hello", "hello", "hm"),
        ("<think>hm</think>\n\n hello \n", "hello \n", "hm"),
        ("one <think>hm</think> two", "one two", "hm"),
        ("<think></think>hello", "hello", ""),
        ("<think>a</think><think>b</think>c", "c", "ab"),
        ("<think>a</think>\n<think>b</think>\nc", "c", "ab"),
        ("<think>never ends", "", "never ends"),
        ("<think>never ends</thi", "", "never ends</thi"),
        ("a < b <th", "a < b <th", ""),
        ("no </think> here", "no </think> here", ""),
        ("<think>a <think> b</think>c", "c", "a <think> b"),
        ("<think>\n hm \n</think>x", "x", "\n hm \n"),
    ],
)
def test_what_is_thought_is_parted_from_what_is_said(text, said, thought):
    assert parted([text]) == (said, thought)
    assert parted(list(text)) == (said, thought)


@settings(deadline=None)
@given(THOUGHTS, CUTS)
def test_however_a_text_is_cut_its_thoughts_are_the_same(parts, places):
    text = "".join(parts)
    assert parted(cut(text, places)) == parted([text])


@settings(deadline=None)
@given(st.text(), CUTS)
def test_a_text_without_thoughts_is_not_changed(text, places):
    text = text.replace("<think>", "")
    assert parted(cut(text, places)) == (text, "")


def test_what_is_no_thought_leaves_at_once():
    think = ThinkFilter()
    assert [think.feed(piece)[0] for piece in ["a", "b <", "c", " <think>x", "y"]] == [
        "a",
        "b ",
        "<c",
        " ",
        "",
    ]
