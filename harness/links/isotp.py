"""ISO-TP (ISO 15765-2): long messages over CAN, by can-isotp fed from the one reader of a `CanLink`.

Hostile framing needs nothing of this: send the frames themselves with `CanLink.send`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque

import isotp

from harness.capture import Direction, Tap
from harness.errors import BenchFault, LinkLost
from harness.links.base import Deadline
from harness.links.can import CanFrame, CanLink

__all__ = ["IsoTpLink"]

_SLICE = 0.1
"""Longest sleep in seconds before a loss of the bus or a close is looked for."""

_LOG = "proofrig.isotp"
logging.getLogger(_LOG).setLevel(logging.CRITICAL + 1)  # what the device does wrong is in `framing_errors`


class IsoTpLink:
    """One pair of identifiers on a CAN bus. A thread of its own answers flow control, also when nobody waits."""

    def __init__(
        self,
        can: CanLink,
        *,
        tx_id: int,
        rx_id: int,
        name: str,
        tap: Tap,
        extended: bool = False,
        padding: int | None = None,
    ) -> None:
        """Listen on `rx_id` and send on `tx_id`; `padding` fills frames up to eight bytes.

        Whole messages are recorded on `tap`, with the identifier as channel; the frames are on the CAN link's.
        """
        self.name = name
        self.framing_errors: deque[str] = deque(maxlen=1000)
        """What the device did against ISO-TP, newest last."""
        self._can = can
        self._tx_id, self._rx_id, self._extended = tx_id, rx_id, extended
        self._tap = tap
        self._frames: queue.SimpleQueue[isotp.CanMessage | None] = queue.SimpleQueue()
        self._messages: deque[bytes] = deque(maxlen=1000)
        self._changed = threading.Condition()
        self._fault: BenchFault | None = None
        self._closing = threading.Event()
        self._give_up_sending = threading.Event()
        self._sending: isotp.TransportLayer.SendRequest | None = None
        self._turn = threading.Lock()
        self._may_wait = True
        mode = isotp.AddressingMode.Normal_29bits if extended else isotp.AddressingMode.Normal_11bits
        self._logic = isotp.TransportLayerLogic(
            rxfn=self._next_frame,
            txfn=self._send_frame,
            address=isotp.Address(mode, txid=tx_id, rxid=rx_id),
            error_handler=lambda error: self.framing_errors.append(str(error)),
            params={"wftmax": 255, "max_frame_size": 65535, "tx_padding": padding, "logger_name": _LOG},
            post_send_callback=self._take_request,
        )
        self._unsubscribe = can.subscribe(self._on_frame)
        self._thread = threading.Thread(target=self._run, name=f"link {name}", daemon=True)
        self._thread.start()

    def request(self, payload: bytes, *, timeout: float) -> bytes | None:
        """Drop what is waiting, send `payload` and return the next message; None is silence.

        Raises:
            LinkLost: the bus is gone.
        """
        deadline = Deadline(timeout)
        with self._changed:
            self._messages.clear()
        return self.receive(timeout=deadline.remaining) if self.send(payload, timeout=timeout) else None

    def send(self, payload: bytes, *, timeout: float) -> bool:
        """Send a message; False if the device did not let it through (no flow control, or overflow).

        Raises:
            LinkStalled: the CAN adapter did not take a frame.
            LinkLost: the bus is gone.
        """
        deadline = Deadline(timeout)
        with self._turn:
            self._check_up()
            self._tap.record(Direction.TO_DEVICE, payload, channel=self._tx_id)
            self._give_up_sending.clear()
            self._logic.send(payload)
            request = self._sending
            assert request is not None
            while not request.complete_event.wait(min(_SLICE, deadline.remaining)):
                self._check_up()
                if deadline.passed:
                    self._give_up_sending.set()
                    self._frames.put(None)
                    request.complete_event.wait(2 * _SLICE)
                    return False
            self._check_up()
            return bool(request.success)

    def receive(self, *, timeout: float) -> bytes | None:
        """Return the next message, None after `timeout` seconds of silence.

        Raises:
            LinkLost: the bus is gone.
        """
        deadline = Deadline(timeout)
        with self._changed:
            while not self._messages:
                self._check_up()
                if deadline.passed:
                    return None
                self._changed.wait(min(_SLICE, deadline.remaining))
            return self._messages.popleft()

    def close(self) -> None:
        """Stop listening and join the thread; idempotent. The CAN link stays open."""
        self._closing.set()
        self._unsubscribe()
        self._frames.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _check_up(self) -> None:
        if self._closing.is_set():
            raise LinkLost(f"{self.name} was closed by the bench")
        if self._can.lost is not None:
            raise LinkLost(self._can.lost.message, hint=self._can.lost.hint)
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    # Called from the CAN link's reader thread

    def _on_frame(self, frame: CanFrame) -> None:
        if frame.can_id == self._rx_id and frame.extended == self._extended and not (frame.remote or frame.error):
            self._frames.put(
                isotp.CanMessage(frame.can_id, len(frame.data), frame.data, frame.extended, is_fd=frame.fd)
            )

    # Called from this link's thread

    def _run(self) -> None:
        while not self._closing.is_set():
            delay = self._logic.next_cf_delay() if self._logic.is_tx_transmitting_cf() else None
            self._may_wait = True
            try:
                self._logic.process(rx_timeout=_SLICE if delay is None else min(_SLICE, delay))
            except BenchFault as fault:
                self._fault = fault
                self._logic.stop_sending()
            if self._give_up_sending.is_set():
                self._logic.stop_sending()
                self._give_up_sending.clear()
            while (message := self._logic.recv()) is not None:
                self._arrived(bytes(message))

    def _arrived(self, message: bytes) -> None:
        self._tap.record(Direction.FROM_DEVICE, message, channel=self._rx_id)
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def _next_frame(self, timeout: float) -> isotp.CanMessage | None:
        # can-isotp reads until nothing is left before it hands a message over: only the first read of a turn waits.
        try:
            message = self._frames.get(timeout=timeout if self._may_wait and timeout > 0 else 0.0)
        except queue.Empty:
            return None
        self._may_wait = message is None
        return message

    def _send_frame(self, message: isotp.CanMessage) -> None:
        self._can.send(
            CanFrame(
                message.arbitration_id,
                bytes(message.data),
                extended=message.is_extended_id,
                at_ns=time.monotonic_ns(),
                fd=message.is_fd,
            )
        )

    def _take_request(self, request: isotp.TransportLayer.SendRequest) -> None:
        self._sending = request
        self._frames.put(None)
