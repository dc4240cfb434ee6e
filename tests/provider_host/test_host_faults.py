"""Whatever a provider does wrong is one error, and harms no other request."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("op", ["load", "models", "generate"])
def test_a_provider_s_error_keeps_its_code(start, op):
    host = start("""
        class Tried(Provider):
            def fail(self, *_):
                raise ProviderError("RATE_LIMITED", "Wait.", retry_after_ms=1500)
            load = models = generate = fail
    """)
    error = {"code": "RATE_LIMITED", "message": "Wait.", "retry_after_ms": 1500}
    assert host.ask(op, messages=[], params={"model_id": "m"}, stream=True) == [
        {"id": 1, "error": error}
    ]


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_an_error_amid_an_answer_follows_what_was_said(start, kind):
    host = start(f"""
        class Tried(Provider):
            {kind} generate(self, request):
                yield "so far"
                raise ProviderError("CONTEXT_TOO_LONG", "Too long.")
    """)
    error = {"code": "CONTEXT_TOO_LONG", "message": "Too long."}
    assert host.generate() == [{"id": 1, "chunk": "so far"}, {"id": 1, "error": error}]


def test_an_exception_that_nobody_foresaw_is_told_and_harms_nobody_else(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                raise KeyError(request.model_id)
                yield
    """)
    error = host.generate(model_id="gone")[-1]["error"]
    assert error == {"code": "UNEXPECTED", "message": "KeyError: 'gone'"}
    assert "Traceback" in host.stderr
    assert host.ask("ping", number=2) == [{"id": 2, "done": {}}]


def test_no_memory_has_a_code_of_its_own(start):
    host = start("class Tried(Provider):\n def load(self, settings): raise MemoryError")
    assert host.ask("load")[-1]["error"]["code"] == "OUT_OF_MEMORY"


@pytest.mark.parametrize("piece", ["None", "7", "b'bytes'", "{}"])
def test_a_piece_that_is_no_text_is_an_error(start, piece):
    host = start(f"""
        class Tried(Provider):
            async def generate(self, request):
                yield {piece}
    """)
    error = host.generate()[-1]["error"]
    assert error["code"] == "UNEXPECTED"
    assert "yields text or events" in error["message"]


@pytest.mark.parametrize("answer", ["None", "'text'", "['a', 'list']", "iter(['a'])"])
def test_a_generate_that_is_no_generator_is_answered(start, answer):
    host = start(f"""
        class Tried(Provider):
            def generate(self, request):
                return {answer}
    """)
    assert {"done", "error"} & set(host.generate()[-1])


def test_a_generate_that_is_missing_is_unsupported(start):
    assert start("class Tried(Provider): pass").generate()[-1]["error"]["code"] == "UNSUPPORTED"


@pytest.mark.parametrize("line", [b"no json", b"[]", b"{}", b"", b"\xff", b'{"id": 9}'])
def test_a_line_that_is_none_is_passed_over(start, line):
    host = start("class Tried(Provider): pass")
    host.write(line)
    assert host.ask("ping") == [{"id": 1, "done": {}}]


@pytest.mark.parametrize("op", ["dance", "_send", "__init__"])
def test_an_unknown_operation_is_answered(start, op):
    host = start("class Tried(Provider): pass")
    assert host.ask(op)[-1]["error"]["code"] == "UNEXPECTED"
