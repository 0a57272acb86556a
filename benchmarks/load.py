"""A sender at an even pace, as a process of its own: `python -m benchmarks.load serial|can|socket WHERE RATE SECONDS`.

It numbers what it sends, so that the receiver sees what is missing: a serial line gets words of four bytes, a bus
frames of eight. RATE is words or frames a second, 0 is as fast as they are taken. WHERE is a path, an interface, or
the number of a socket's descriptor. The last line it prints is how many it sent.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Callable

WORD = struct.Struct(">I")
FRAME = struct.Struct("=IB3x8s")
NUMBER = struct.Struct(">Q")
CAN_ID = 0x100
TICK = 0.002
"""Seconds between two looks at the clock."""


def paced(send: Callable[[int, int], None], *, rate: int, seconds: float, most: int) -> int:
    """Send numbers from 0 on in pieces, for `seconds` and never ahead of `rate`; return how many."""
    started, number = time.monotonic(), 0
    while (passed := time.monotonic() - started) < seconds:
        due = int(passed * rate) if rate else number + most
        if due == number:
            time.sleep(TICK)
        while number < due:
            send(number, min(due, number + most))
            number = min(due, number + most)
    return number


def main(kind: str, where: str, rate: int, seconds: float) -> int:
    """Send to a serial line, a CAN interface or a socket; return how many."""
    if kind == "serial":
        line = os.open(where, os.O_WRONLY | os.O_NOCTTY) if where.startswith("/") else int(where)

        def send_words(first: int, last: int) -> None:
            data = memoryview(b"".join(map(WORD.pack, range(first, last))))
            while data:
                data = data[os.write(line, data) :]

        return paced(send_words, rate=rate, seconds=seconds, most=256)
    if kind == "can":
        node = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
        node.bind((where,))
    else:
        node = socket.socket(fileno=int(where))

    def send_frames(first: int, last: int) -> None:
        for number in range(first, last):
            frame = FRAME.pack(CAN_ID, 8, NUMBER.pack(number))
            while True:
                try:
                    node.send(frame)
                    break
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise

    return paced(send_frames, rate=rate, seconds=seconds, most=64)


if __name__ == "__main__":
    _, kind, where, rate, seconds = sys.argv
    print(main(kind, where, int(rate), float(seconds)), flush=True)
