"""What the console shows at power-on, and the boot loader for the one weakness that lets a user into it."""

from __future__ import annotations

from collections.abc import Callable

from console import Later, Timer

COUNTDOWN_S = 2

LOADER = (
    "\r\n\r\nU-Boot 2023.01 (Jan 09 2023 - 16:07:33 +0000)\r\n\r\n"
    "DRAM:  128 MiB\r\nCore:  42 devices, 11 uclasses, devicetree: board\r\nFlash: 64 MiB\r\n"
    "In:    pl011@9000000\r\nOut:   pl011@9000000\r\nErr:   pl011@9000000\r\n"
)
KERNEL = (
    "Starting kernel ...\r\n\r\n"
    "[    0.000000] Booting Linux on physical CPU 0x0\r\n"
    "[    0.000000] Linux version 6.1.0-vp1 (gcc 12.2.0) #1 SMP\r\n"
    "[    0.000000] Kernel command line: console=ttyAMA0,115200 root=/dev/vda2 ro quiet\r\n"
    "[    0.871203] EXT4-fs (vda2): mounted filesystem with ordered data mode. Quota mode: none.\r\n"
    "[    0.902114] Run /sbin/init as init process\r\n"
    "vp1d: starting\r\n"
)
NO_KERNEL = "Bad Linux ARM64 Image magic!\r\nresetting ...\r\n"
LOADER_PROMPT = "=> "


class BootLoader:
    """A boot loader that counts down and gives a prompt on any key (weakness `bootloader-prompt`)."""

    def __init__(
        self,
        *,
        write: Callable[[bytes], None],
        later: Later,
        boot: Callable[[], None],
        reset: Callable[[], None],
    ) -> None:
        self._write = write
        self._later = later
        self._boot = boot
        self._reset = reset
        self._left = COUNTDOWN_S
        self._stopped = False
        self._line = bytearray()
        write(f"Hit any key to stop autoboot:  {self._left} ".encode())
        self._timer: Timer = later(1.0, self._count)

    def close(self) -> None:
        """Power is gone."""
        self._timer.cancel()

    def _count(self) -> None:
        self._left -= 1
        self._write(b"\b\b\b%2d " % self._left)
        if self._left:
            self._timer = self._later(1.0, self._count)
        else:
            self._write(b"\r\n")
            self._boot()

    def feed(self, data: bytes) -> None:
        """Keys: the first stops the countdown, then they are commands."""
        if not self._stopped:
            self._stopped = True
            self._timer.cancel()
            self._write(f"\b\b\b 0 \r\n{LOADER_PROMPT}".encode())
            return
        for byte in data:
            if byte in (0x0D, 0x0A):
                self._write(b"\r\n")
                self._command(self._line.decode("latin-1").strip())
                self._line.clear()
            elif byte >= 0x20 and len(self._line) < 256:
                self._line.append(byte)
                self._write(bytes([byte]))

    def _command(self, line: str) -> None:
        if line == "boot":
            self._boot()
        elif line == "reset":
            self._reset()
        else:
            answers = {"": "", "version": "U-Boot 2023.01\r\n", "printenv": "bootdelay=2\r\nbootcmd=run vp1\r\n"}
            unknown = f"Unknown command '{line}' - try 'help'\r\n"
            self._write((answers.get(line, unknown) + LOADER_PROMPT).encode("latin-1"))
