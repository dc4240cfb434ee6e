"""A server made with MCP's own package, over its pipes or at a port."""

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("official")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


if len(sys.argv) == 1:
    server.run("stdio")
else:
    as_json = "json" in sys.argv
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]), json_response=as_json)
