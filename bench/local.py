"""A model on this machine: streamed through the module, and by llama-cpp-python called directly.

The same model and the same threads; in turn, and in turn again, backwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf_writer

from bench.module import Row, running_module
from waifu_llm.client import Client, connect
from waifu_llm.environments import Environments
from waifu_llm.paths import bundled_providers
from waifu_llm.specs import ProviderSpec

TOKENS, ROUNDS = 200, 4
CONTEXT = 1024
THREADS = max(1, (os.cpu_count() or 2) // 2)
_CACHE = Path(__file__).resolve().parent.parent / ".cache"

_DIRECT = """
import json, sys, time
from llama_cpp import Llama
file, threads, tokens, context = sys.argv[1], *map(int, sys.argv[2:])
llama = Llama(file, n_ctx=context, n_threads=threads, verbose=False)
messages = [{"role": "user", "content": "Hi"}]
for line in sys.stdin:
    begun, count = time.perf_counter(), 0
    for piece in llama.create_chat_completion(messages, max_tokens=tokens, stream=True):
        count += bool(piece["choices"][0]["delta"].get("content"))
    print(json.dumps(count / (time.perf_counter() - begun)), flush=True)
"""


def measure(home: Path, *, short: bool) -> list[Row]:
    spec = ProviderSpec.from_folder(bundled_providers() / "llamacpp")
    environments = Environments(home / "provider_envs", _CACHE)
    python = asyncio.run(environments.ensure(spec, lambda *_: None))
    file = gguf_writer.make(home / "models", "large") / "large.gguf"
    with running_module(home) as (url, _, _), _direct(python, file) as direct:
        ours, theirs = asyncio.run(_in_turn(url, direct, file.stem, 1 if short else ROUNDS))
    share = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    rates = f"{statistics.median(ours):.0f} to {statistics.median(theirs):.0f} tokens/s"
    return [Row("llama.cpp, 300 MB, to llama-cpp-python", f"{100 * share:.0f} % ({rates})", "95 %")]


@contextmanager
def _direct(python: Path, file: Path) -> Iterator[subprocess.Popen[str]]:
    """It answers once for each line that it gets, and ends with them."""
    numbers = [str(number) for number in (THREADS, TOKENS, CONTEXT)]
    command = [str(python), "-c", _DIRECT, str(file), *numbers]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe) as direct:
        assert direct.stdin is not None
        yield direct
        direct.stdin.close()


async def _in_turn(
    url: str, direct: subprocess.Popen[str], model: str, rounds: int
) -> tuple[list[float], list[float]]:
    """Us, them, them, us; a first answer of each only warms up."""
    ours: list[float] = []
    theirs: list[float] = []
    async with connect(url) as client:
        settings = {"threads": THREADS, "context_length": CONTEXT}
        await client.load("llamacpp", settings=settings, model=model)
        await _us(client, model)
        _them(direct)
        for _ in range(rounds):
            ours.append(await _us(client, model))
            theirs += [_them(direct), _them(direct)]
            ours.append(await _us(client, model))
    return ours, theirs


async def _us(client: Client, model: str) -> float:
    begun = time.perf_counter()
    stream = client.stream("Hi", model=model, max_output_length=TOKENS)
    async for _ in stream:
        pass
    assert stream.answer is not None
    assert stream.answer.usage is not None
    return stream.answer.usage.output_tokens / (time.perf_counter() - begun)


def _them(direct: subprocess.Popen[str]) -> float:
    assert direct.stdin is not None
    assert direct.stdout is not None
    direct.stdin.write("\n")
    direct.stdin.flush()
    return float(json.loads(direct.stdout.readline()))
