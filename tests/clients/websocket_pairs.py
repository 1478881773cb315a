"""WebSockets through a proxy, plain and in TLS, to servers of its own: what is agreed and what is said arrive."""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

proxy, burdock_ca, certificate, key = sys.argv[1:]


async def chat(socket):
    async for message in socket:
        if message == "bye":
            await socket.close(4001, "as you wish")
        else:
            await socket.send(message)


def decide(connection, request):
    if request.path == "/closed":
        return connection.respond(403, "not today")
    return None


def greet(connection, request, response):
    response.headers["Set-Cookie"] = "seat=4"
    return response


async def converse(url, context):
    found = {}
    async with connect(url, proxy=proxy, ssl=context, subprotocols=["chat.v1", "chat.v2"]) as socket:
        found["subprotocol"] = socket.subprotocol
        found["extensions"] = "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        found["cookies"] = socket.response.headers.get_all("Set-Cookie")
        big = bytes(range(256)) * 2048
        await socket.send(big)
        assert await socket.recv() == big
        await socket.send("gr\u00fc\u00dfe")
        found["echo"] = await socket.recv()
        await (await socket.ping())
        await socket.send("bye")
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            found["close"] = [closed.rcvd.code, closed.rcvd.reason]
    try:
        async with connect(url + "closed", proxy=proxy, ssl=context):
            pass
    except InvalidStatus as refusal:
        found["refusal"] = [refusal.response.status_code, refusal.response.body.decode()]
    return found


async def main():
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(certificate, key)
    client_tls = ssl.create_default_context(cafile=burdock_ca)
    found = {}
    for scheme, server_context, client_context in [("ws", None, None), ("wss", server_tls, client_tls)]:
        async with serve(
            chat,
            "127.0.0.1",
            0,
            ssl=server_context,
            subprotocols=["chat.v2"],
            process_request=decide,
            process_response=greet,
        ) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"{scheme}://chat.localhost:{port}/"
            found[scheme] = await asyncio.wait_for(converse(url, client_context), 20)
    print(json.dumps(found))


asyncio.run(main())
