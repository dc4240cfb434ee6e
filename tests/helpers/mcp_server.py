"""An MCP server over its pipes, standard library only. It behaves as its first argument says.

Tools: `add`, `environment`, `hang`, `die`, `fail`, `picture`, `structured`, `change`, `back`, and
on the second page `read.file`. Each message that it hears is a line in the file named by `HEARD`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

SECRET = os.environ.get("SECRET", "none")
MODE = sys.argv[1] if len(sys.argv) > 1 else "well"
ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
PAGES = {
    None: ["add", "environment", "hang", "die", "fail", "picture", "structured", "change", "back"],
    "two": ["read.file"],
}


def say(message: dict) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def text(said: str, **more: object) -> dict:
    return {"content": [{"type": "text", "text": said}], **more}


def tool(name: str) -> dict:
    described = {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}}
    return {**described, "inputSchema": ADD} if name == "add" else described


def listed(cursor: str | None) -> dict:
    page = {"tools": [tool(name) for name in PAGES[cursor]]}
    return {**page, "nextCursor": "two"} if cursor is None else page


def called(name: str, arguments: dict) -> dict | None:
    if name == "hang":
        return None
    if name == "die":
        sys.stderr.write("I cannot go on.\n")
        sys.stderr.flush()
        os._exit(3)
    if name == "change":
        PAGES[None].append("grown")
        say({"method": "notifications/tools/list_changed"})
    answers = {
        "add": lambda: text(str(arguments["a"] + arguments["b"])),
        "environment": lambda: text(json.dumps(dict(os.environ))),
        "fail": lambda: text(f"There is no such file: {SECRET}", isError=True),
        "picture": lambda: {"content": [{"type": "image", "data": "", "mimeType": "image/png"}]},
        "back": lambda: {"resultType": "input_required", "inputRequests": {}},
        "structured": lambda: text("7", structuredContent={"sum": 7}),
    }
    return answers.get(name, lambda: text(f"{name} is done"))()


def stateless(asked: dict) -> dict | None:
    """As from 2026-07-28 on: nobody is introduced, and each request says who asks."""
    about = asked.get("params", {}).get("_meta", {})
    if about.get("io.modelcontextprotocol/protocolVersion") != "2026-07-28":
        return None
    if asked["method"] == "server/discover":
        return {"supportedVersions": ["2026-07-28"], "resultType": "complete"}
    return answer(asked) if asked["method"] in ("tools/list", "tools/call") else None


def answer(asked: dict) -> dict | None:
    method, params = asked["method"], asked.get("params", {})
    if method == "initialize":
        version = "1999-01-01" if MODE == "old" else params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {}}
    if method == "tools/list":
        return listed(params.get("cursor"))
    if method == "tools/call":
        return called(params["name"], params["arguments"])
    return {}


def main() -> None:
    if MODE == "dead":
        sys.exit("There is no key.")
    if MODE == "telling":
        PAGES[None].append(os.environ["SECRET"])
    if MODE == "slow":
        while not Path(os.environ["GO"]).exists():
            time.sleep(0.01)
    if MODE == "noisy":
        print("Welcome to my server!", flush=True)
    if MODE == "endless":
        sys.stdout.write("x" * 5_000_000)
        sys.stdout.flush()
    heard = Path(os.environ["HEARD"]) if "HEARD" in os.environ else None
    for line in sys.stdin:
        if heard:
            with heard.open("a") as file:
                file.write(line)
        asked = json.loads(line)
        if "method" not in asked or "id" not in asked:
            continue
        if asked["method"] == "tools/list" and MODE == "asks":
            say({"id": 1, "method": "ping"})
            say({"id": "x", "method": "sampling/createMessage", "params": {}})
        result = stateless(asked) if MODE == "stateless" else answer(asked)
        if result is None and MODE == "stateless":
            say({"id": asked["id"], "error": {"code": -32601, "message": "Not here"}})
        if result is not None:
            say({"id": asked["id"], "result": result})
    if MODE == "deaf":  # to the end of what it is told
        time.sleep(600)


main()
