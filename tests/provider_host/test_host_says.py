"""What the host says of a request, and what it leaves out of the text."""

from __future__ import annotations

import json

import pytest
from host_stage import SAYS_PIECES, spoken

# What it says


def test_every_line_is_ascii_whatever_is_said(start):
    text = "かな 😀 \x00 \u2028 \n"
    assert spoken(start(SAYS_PIECES).generate(extra={"pieces": [text]})) == text


def test_text_that_only_looks_like_half_a_character_stays_as_it_is(start):
    host = start(r"""
        class Tried(Provider):
            async def generate(self, request):
                yield r'"\ud83d\ude00" \udcff'
                yield "\U0001f600"
                yield ToolCall("1", "say", r'{"text":"\ud83d\ude00"}')
    """)
    lines = host.generate()
    assert spoken(lines) == r'"\ud83d\ude00" \udcff' + "\U0001f600"
    assert lines[-1]["done"]["tool_calls"][0]["arguments"] == r'{"text":"\ud83d\ude00"}'


@pytest.mark.parametrize(
    "said",
    ['yield "\\ud83d"', 'raise ProviderError("UNEXPECTED", "\\ud83d")', 'raise OSError("\\udcff")'],
)
def test_half_a_character_makes_no_line_that_cannot_be_read(start, said):
    host = start(f"""
        class Tried(Provider):
            async def generate(self, request):
                {said}
                yield "after it"
    """)
    assert {"done", "error"} & set(host.generate()[-1])


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_methods_may_block_or_be_async(start, kind):
    host = start(f"""
        class Tried(Provider):
            seen = []
            {kind} load(self, settings):
                self.seen.append(settings["key"])
            {kind} preload(self, model_id):
                self.seen.append(model_id)
            {kind} unload(self):
                self.seen.append("unloaded")
            {kind} models(self):
                return self.seen
            {kind} generate(self, request):
                yield from_it
        from_it = "said"
    """)
    loaded = host.ask("load", settings={"key": "k"}, model_id="m")
    assert loaded[-1]["done"]["models"] == ["k", "m"]
    assert host.ask("unload") == [{"id": 1, "done": {}}]
    assert host.ask("models")[-1]["done"]["models"] == ["k", "m", "unloaded"]
    assert spoken(host.generate()) == "said"


def test_a_load_says_how_far_it_is_from_a_thread_too(start):
    host = start("""
        class Tried(Provider):
            def load(self, settings):
                self.progress(0.5, "Half.")
            async def preload(self, model_id):
                self.progress(0.9, "Almost.")
    """)
    assert host.ask("load", model_id="m") == [
        {"id": 1, "progress": {"fraction": 0.5, "message": "Half."}},
        {"id": 1, "progress": {"fraction": 0.9, "message": "Almost."}},
        {"id": 1, "done": {"models": []}},
    ]


def test_a_pull_says_how_far_it_is_and_an_embedding_what_it_counted(start):
    host = start("""
        from waifu_provider import Embeddings
        class Tried(Provider):
            def pull(self, model_id, progress):
                progress(0.5, "Half of " + model_id)
            async def embed(self, model_id, texts):
                return Embeddings([[float(len(text))] for text in texts], input_tokens=3)
    """)
    assert host.ask("pull", model_id="m") == [
        {"id": 1, "progress": {"fraction": 0.5, "message": "Half of m"}},
        {"id": 1, "done": {}},
    ]
    done = {"embeddings": [[1.0], [2.0]], "usage": {"input_tokens": 3}}
    assert host.ask("embed", model_id="m", texts=["a", "bb"]) == [{"id": 1, "done": done}]


@pytest.mark.parametrize("op", ["pull", "embed"])
def test_what_a_provider_does_not_offer_is_unsupported(start, op):
    host = start("class Tried(Provider): pass")
    assert host.ask(op, model_id="m", texts=[])[-1]["error"]["code"] == "UNSUPPORTED"


def test_the_dialect_is_there_before_the_load(start):
    host = start("""
        class Tried(Provider):
            def load(self, settings):
                self.known = [self.dialect["word"]]
            def models(self):
                return self.known
    """)
    assert host.ask("load", dialect={"word": "hi"})[-1]["done"]["models"] == ["hi"]


def test_a_signature_stands_beside_its_call(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield ToolCall("1", "wave", "{}", signature="opaque")
    """)
    call = {"id": "1", "name": "wave", "arguments": "{}", "signature": "opaque"}
    assert host.generate()[-1]["done"]["tool_calls"] == [call]


def test_a_request_has_what_the_client_sent_and_none_for_the_rest(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield json.dumps(vars(request), default=lambda value: "")
    """)
    params = {"temperature": 0.5, "extra": {"a": 1}, "timeout_ms": 7, "names": "drop", "new": 1}
    seen = json.loads(spoken(host.generate(content="hi", **params)))
    assert (seen["messages"], seen["stream"]) == ([{"role": "user", "content": "hi"}], True)
    assert (seen["temperature"], seen["extra"], seen["seed"]) == (0.5, {"a": 1}, None)


def test_usage_and_the_reason_are_told(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield "said"
                yield Finish("length", 3, 5)
    """)
    usage = {"input_tokens": 3, "output_tokens": 5}
    assert host.generate()[-1] == {"id": 1, "done": {"finish_reason": "length", "usage": usage}}


def test_tool_calls_are_told_at_the_end(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield ToolCall("1", "wave", '{"hand": "left"}')
                yield ToolCall("2", "nod", "{}")
                yield Finish("tool_calls")
    """)
    first = {"id": "1", "name": "wave", "arguments": '{"hand": "left"}'}
    second = {"id": "2", "name": "nod", "arguments": "{}"}
    done = {"finish_reason": "tool_calls", "tool_calls": [first, second]}
    assert host.generate() == [{"id": 1, "done": done}]


def test_reasoning_is_no_chunk(start):
    host = start("""
        class Tried(Provider):
            async def generate(self, request):
                yield Reasoning("hmm")
                yield "said"
    """)
    assert host.generate()[:2] == [{"id": 1, "reasoning": "hmm"}, {"id": 1, "chunk": "said"}]


# What leaves the text


@pytest.mark.parametrize(
    ("pieces", "stop", "said"),
    [
        (["one END two"], ["END"], "one "),
        (["one E", "N", "D two"], ["END"], "one "),
        (list("one END two"), ["END"], "one "),
        (["END"], ["END"], ""),
        (["one EN"], ["END"], "one EN"),
        (["one E", "N", " two"], ["END"], "one EN two"),
        (["one EE", "ND two"], ["END"], "one E"),
        (["a\n", "User: b"], ["\nUser:", "END"], "a"),
        (["one STOP two END"], ["END", "STOP"], "one "),
        (["おわ", "り 😀", "終わり"], ["終わり"], "おわり 😀"),
        (["one"], [], "one"),
    ],
)
def test_a_stop_token_ends_the_text_however_it_is_cut(start, pieces, stop, said):
    lines = start(SAYS_PIECES).generate(extra={"pieces": pieces}, stop_tokens=stop)
    assert (spoken(lines), lines[-1]["done"]["finish_reason"]) == (said, "stop")


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_stop_token_closes_the_provider_s_generator(start, kind):
    host = start(f"""
        class Tried(Provider):
            {kind} generate(self, request):
                try:
                    while True:
                        yield "one END two "
                finally:
                    print("it was closed", file=sys.stderr, flush=True)
    """)
    assert spoken(host.generate(stop_tokens=["END"])) == "one "
    assert "it was closed" in host.stderr


@pytest.mark.parametrize(
    ("pieces", "said", "thought"),
    [
        (["<think>hmm</think>yes"], "yes", "hmm"),
        (["<th", "ink>h", "mm</thi", "nk>yes"], "yes", "hmm"),
        (list("<think>hmm</think>\n\nyes"), "yes", "hmm"),
        (["<think>hmm</think>\n", "\n", "yes\n\nno"], "yes\n\nno", "hmm"),
        (["a <think>b</think>c <think>d</think>e"], "a c e", "bd"),
        (["<think>never closed"], "", "never closed"),
        (["1 < 2 <th"], "1 < 2 <th", ""),
        (["<thin", "g>"], "<thing>", ""),
    ],
)
def test_thoughts_in_the_text_are_parted_from_it(start, pieces, said, thought):
    lines = start(SAYS_PIECES).generate(extra={"pieces": pieces})
    assert (spoken(lines), spoken(lines, "reasoning")) == (said, thought)


def test_a_stop_token_in_a_thought_stops_nothing(start):
    extra = {"pieces": ["<think>not END yet</think>", "now END", "late"]}
    lines = start(SAYS_PIECES).generate(extra=extra, stop_tokens=["END"])
    assert (spoken(lines), spoken(lines, "reasoning")) == ("now ", "not END yet")
