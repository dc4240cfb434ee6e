"""A vendor's SDK called directly, its typed stream read to the end, where our provider runs.

python bench/sdks VENDOR BASE_URL < scenario      writes what came out, both as JSON

A vendor is a file beside this one with `connect`, which gives a function that streams the texts
of one answer.
"""

import asyncio
import importlib
import json
import resource
import sys
import time


async def run(vendor, base_url, scenario):
    answer = await importlib.import_module(f"{vendor}_sdk").connect(base_url)
    out = {"chunks": 0, "first_chunk_ms": [], "latency_ms": []}

    async def stream(number):
        await asyncio.sleep(scenario["spread_seconds"] * number / scenario["streams"])
        for _ in range(scenario["requests"]):
            await ask()

    async def ask():
        asked, silent = time.monotonic(), True
        async for text in answer(scenario["model"]):
            if not text:
                continue
            now = time.monotonic()
            if silent:
                out["first_chunk_ms"].append((now - asked) * 1000)
                silent = False
            out["chunks"] += 1
            out["latency_ms"].append((now - float(text)) * 1000)

    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    await asyncio.gather(*(stream(number) for number in range(scenario["streams"])))
    out["seconds"] = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    out["cpu_seconds"] = {"sdk": spent}
    return out


print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], json.load(sys.stdin)))))
