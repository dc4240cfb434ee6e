from google import genai


async def connect(base_url):
    client = genai.Client(api_key="sk-bench", vertexai=False, http_options={"base_url": base_url})
    await client.aio.models.list()

    async def answer(model):
        chunks = await client.aio.models.generate_content_stream(model=model, contents="Hi")
        async for chunk in chunks:
            yield chunk.text

    return answer
