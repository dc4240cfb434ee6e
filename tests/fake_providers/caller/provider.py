"""Calls the first tool that it is offered with the arguments that it was told, then says what came
of it."""

from waifu_provider import Provider, ToolCall


class Caller(Provider):
    def models(self):
        return ["caller"]

    async def generate(self, request):
        last = request.messages[-1]
        if last["role"] == "tool" or not request.tools:
            yield f"I heard {last['content']}"
        else:
            yield "Let me see."
            yield ToolCall("c1", request.tools[0]["function"]["name"], last["content"])
