from mistralai.client import Mistral


async def connect(base_url):
    client = Mistral(api_key="sk-bench", server_url=base_url)
    await client.models.list_async()

    async def answer(model):
        asked = [{"role": "user", "content": "Hi"}]
        events = await client.chat.stream_async(model=model, messages=asked)
        async for event in events:
            yield event.data.choices[0].delta.content

    return answer
