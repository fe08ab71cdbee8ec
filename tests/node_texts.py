"""What a node shows while a graph runs on a real server."""

import asyncio
import contextlib
import io
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from PIL import Image

from comfyui_client import CLIENT

PICTURE, TEXT = b"\0\0\0\1", b"\0\0\0\3"  # first bytes of a message with a preview, with a node's progress text


def texts_at_node(server, graph, node):
    """The texts in order, and the graph's outputs."""
    said, _, outputs = shown_at_node(server, graph, node)
    return said, outputs


def shown_at_node(server, graph, node):
    """The node's texts in order, the preview pictures, and the graph's outputs.

    In a thread of its own: a browser that another test keeps open has an event loop running in this one.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _shown_at_node(server, graph, node)).result()


async def _shown_at_node(server, graph, node):
    said, pictures = [], []
    address = f"{server.address}/ws?clientId={CLIENT}"  # previews are sent to whoever queued the graph
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        run = asyncio.create_task(asyncio.to_thread(server.outputs_of, graph))
        while not run.done():
            with contextlib.suppress(asyncio.TimeoutError):
                message = await socket.receive(timeout=0.5)
                if message.type is not aiohttp.WSMsgType.BINARY:
                    continue
                if message.data.startswith(TEXT):
                    length = 8 + int.from_bytes(message.data[4:8], "big")
                    said += [message.data[length:].decode()] if message.data[8:length].decode() == node else []
                if message.data.startswith(PICTURE):
                    pictures.append(Image.open(io.BytesIO(message.data[8:])))
        return said, pictures, await run
