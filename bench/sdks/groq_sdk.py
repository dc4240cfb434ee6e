from groq import AsyncGroq


async def connect(base_url):
    client = AsyncGroq(api_key="sk-bench", base_url=base_url, max_retries=0)
    await client.models.list()

    async def answer(model):
        asked = [{"role": "user", "content": "Hi"}]
        chunks = await client.chat.completions.create(model=model, messages=asked, stream=True)
        async for chunk in chunks:
            yield chunk.choices[0].delta.content if chunk.choices else None

    return answer
