"""The vendor's SDK called directly, its typed stream read to the end: runs in OpenAI's environment.

python sdk_client.py BASE_URL < scenario      writes what came out, both as JSON
"""

import asyncio
import json
import resource
import sys
import time

from openai import AsyncOpenAI


async def run(base_url, scenario):
    client = AsyncOpenAI(api_key="sk-bench", base_url=base_url, max_retries=0)
    await client.models.list()
    out = {"chunks": 0, "first_chunk_ms": [], "latency_ms": []}

    async def stream(number):
        await asyncio.sleep(scenario["spread_seconds"] * number / scenario["streams"])
        for _ in range(scenario["requests"]):
            await ask()

    async def ask():
        asked, silent = time.monotonic(), True
        answer = await client.chat.completions.create(
            model=scenario["model"],
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
        )
        async for chunk in answer:
            text = chunk.choices[0].delta.content if chunk.choices else None
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


print(json.dumps(asyncio.run(run(sys.argv[1], json.load(sys.stdin)))))
