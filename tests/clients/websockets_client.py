"""A WebSocket through the proxy of the environment, to a server of its own on a free port."""

import asyncio
import json

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def echo(socket):
    # The session's header must have stopped at the proxy.
    assert "X-Session-ID" not in socket.request.headers
    async for message in socket:
        await socket.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://chat.localhost:{port}/", open_timeout=20) as socket:
            await socket.send("hello through burdock")
            said = await asyncio.wait_for(socket.recv(), 20)
            session = socket.response.headers.get_all("X-Session-ID")
    print(json.dumps({"echo": said, "session": len(session)}))


asyncio.run(main())
