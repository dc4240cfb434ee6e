"""The Python client of the module.

    import asyncio
    from waifu_llm.client import connect

    async def main():
        async with connect() as llm:
            await llm.load("echo")
            async for chunk in llm.stream("Hello there", model="echo"):
                print(chunk, end="", flush=True)

    asyncio.run(main())

It connects again by itself when the connection is lost, and loads again what was loaded. What
was running is lost with the connection: it raises Unavailable, and the caller decides.
"""

from waifu_llm.client.addresses import DEFAULT_URL, is_near, is_token
from waifu_llm.client.answers import Answer, Stream
from waifu_llm.client.client import Client, Prompt, Text, connect
from waifu_llm.client.connection import OnProgress
from waifu_llm.client.jobs import Job, JobFailed, Jobs

__all__ = [
    "DEFAULT_URL",
    "Answer",
    "Client",
    "Job",
    "JobFailed",
    "Jobs",
    "OnProgress",
    "Prompt",
    "Stream",
    "Text",
    "connect",
    "is_near",
    "is_token",
]
