from anthropic import AsyncAnthropic


async def connect(base_url):
    client = AsyncAnthropic(api_key="sk-bench", base_url=base_url, max_retries=0)
    await client.models.list()

    async def answer(model):
        asked = [{"role": "user", "content": "Hi"}]
        events = await client.messages.create(
            model=model, messages=asked, max_tokens=100_000, stream=True, timeout=600
        )
        async for event in events:
            yield event.delta.text if event.type == "content_block_delta" else None

    return answer
