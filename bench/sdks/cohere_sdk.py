from cohere.base_client import AsyncBaseCohere


async def connect(base_url):
    client = AsyncBaseCohere(token="sk-bench", base_url=base_url, max_retries=0)
    await client.models.list()

    async def answer(model):
        asked = [{"role": "user", "content": "Hi"}]
        async for event in client.v2.chat_stream(model=model, messages=asked):
            yield event.delta.message.content.text if event.type == "content-delta" else None

    return answer
