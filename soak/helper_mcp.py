"""An MCP server over its pipes that behaves as each tool's name says. Standard library only.

What it did is a line in the file that `DONE` names, before it says anything of it.
"""

from __future__ import annotations

import json
import os
import sys

TOOLS = ("well", "fail", "hang", "die", "huge")
HUGE = 10_000_000


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked and "method" in asked:
            result = answer(asked["method"], asked.get("params", {}))
            if result is not None:
                say({"id": asked["id"], "result": result})


def answer(method: str, params: dict) -> dict | None:
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {}, "serverInfo": {}}
    if method == "tools/list":
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
    if method == "tools/call":
        return call(params["name"], params["arguments"]["mark"])
    return {}


def call(name: str, mark: str) -> dict | None:
    note(mark)
    if name == "hang":
        return None
    if name == "die":
        sys.stdout.write('{"jsonrpc": "2.0", "resu')
        sys.stdout.flush()
        os._exit(1)
    text = "x" * HUGE if name == "huge" else mark
    return {"content": [{"type": "text", "text": text}], "isError": name == "fail"}


def note(mark: str) -> None:
    file = os.open(os.environ["DONE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{mark}\n".encode())
    os.close(file)


def say(message: dict) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
