"""What a node shows while a graph runs on a real server."""

import asyncio
import contextlib

import aiohttp

TEXT = b"\0\0\0\3"  # first bytes of a message with a node's progress text


def texts_at_node(server, graph, node):
    """The texts in order, and the graph's outputs."""
    return asyncio.run(_texts_at_node(server, graph, node))


async def _texts_at_node(server, graph, node):
    said = []
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.address}/ws") as socket:
        run = asyncio.create_task(asyncio.to_thread(server.outputs_of, graph))
        while not run.done():
            with contextlib.suppress(asyncio.TimeoutError):
                message = await socket.receive(timeout=0.5)
                if message.type is aiohttp.WSMsgType.BINARY and message.data.startswith(TEXT):
                    length = 8 + int.from_bytes(message.data[4:8], "big")
                    said += [message.data[length:].decode()] if message.data[8:length].decode() == node else []
        return said, await run
