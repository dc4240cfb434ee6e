"""An owner of connections that does as it is told, and what is sent to it."""

import asyncio

from waifu_llm.doors.http.messages import Answer, Clock
from waifu_llm.doors.http.plan import Plan

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HELD = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n"


class Owner:
    """Answers everything with what was sent."""

    def __init__(self):
        self.clock = Clock()
        self.stalled_seconds = 0.2
        self.heads = []
        self.why_not = None
        self.refusal = None
        self.has_token = False
        self.may_answer = asyncio.Event()
        self.ended = asyncio.Event()
        self.gone = asyncio.Event()
        self.answered = []
        self.connections = []

    def arrive(self, connection):
        self.connections.append(connection)
        return self.why_not

    def leave(self, connection):
        self.gone.set()

    def plan(self, head):
        self.heads.append(head)
        return Plan(head, 1000, self.refusal, has_token=self.has_token)

    def too_large(self, plan):
        return Answer(413, b"too large")

    async def answer(self, plan, body, reply):
        self.answered.append(plan)
        reply.headers = plan.headers
        if plan.head.path == "/held":
            await self.may_answer.wait()
        if plan.head.path == "/endless":
            await self.go_on_and_on(reply)
        if plan.refusal:
            reply.give(plan.refusal)
        elif plan.head.path == "/large":
            reply.give(Answer(body=b"x" * 5_000_000))
        elif plan.head.path == "/broken":
            reply.begin("text/plain")
        else:
            reply.give(Answer(body=body, headers={"x": "a\r\nset-cookie: b"}))

    async def go_on_and_on(self, reply):
        reply.begin("text/plain")
        reply.write(b"x" * 5_000_000)
        try:
            await self.may_answer.wait()
        finally:
            self.ended.set()


def post(body, **headers):
    lines = ["POST /a%20b?c=d HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
