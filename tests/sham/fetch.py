"""How the pump fetches a bundle by itself (VP1-ICD §11.3)."""

from __future__ import annotations

import asyncio
import re

SERVER = "192.0.2.1"
STALL_S = 10.0


async def fetch(port: int, path: str, *, limit: int) -> bytes | None:
    """The file at a path of the bench's HTTP server; None where it does not come, wholly and in time."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(SERVER, port), STALL_S)
    except (OSError, TimeoutError):
        return None
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {SERVER}\r\nConnection: close\r\n\r\n".encode("ascii"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), STALL_S)
        length = re.search(rb"\r\ncontent-length:[ \t]*([0-9]{1,10})\r\n", head.lower())
        if not re.match(rb"HTTP/1\.[01] 200 ", head) or length is None or not 0 < int(length[1]) <= limit:
            return None
        file = bytearray()
        while len(file) < int(length[1]):
            piece = await asyncio.wait_for(reader.read(min(65536, int(length[1]) - len(file))), STALL_S)
            if not piece:
                return None
            file += piece
        return bytes(file)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    finally:
        writer.close()
