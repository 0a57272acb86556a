"""What emulated and simulated devices need of the host: an emulator that works, a private network, the image."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from harness.control.emulators import emulator_package
from harness.control.holder import Holder, PrivateNetwork
from harness.control.machine import load_machine
from harness.doctor.finding import Finding, State, ask
from harness.errors import ControlFault, UsageError

__all__ = ["QEMU", "emulator", "firmware_image", "private_network", "program_of"]

QEMU = "qemu-system-aarch64"
"""The emulator of the firmware fixtures here."""

TRIAL_S = 30.0
"""Seconds the trial may take; it took 0.4 on a busy computer."""

SAYS = b"proofrig trial\n"
_PROGRAM = (
    0x10000141,  #       adr   x1, text
    0xD2A12002,  #       movz  x2, #0x0900, lsl #16     the UART of the machine `virt`
    0x38401420,  # next: ldrb  w0, [x1], #1
    0x34000060,  #       cbz   w0, off
    0x39000040,  #       strb  w0, [x2]
    0x17FFFFFD,  #       b     next
    0x52B08000,  # off:  movz  w0, #0x8400, lsl #16     SYSTEM_OFF (Arm DEN 0022, PSCI, section 5.10)
    0x72800100,  #       movk  w0, #0x0008
    0xD4000002,  #       hvc   #0
    0x14000000,  #       b     .
)  # text: what it says, and a zero byte
_ADDRESS = 0x4020_0000
"""In the memory of the machine `virt`, above the device tree that QEMU puts at its beginning."""


def emulator(program: str = QEMU) -> Finding:
    """Let the emulator carry out a few instructions: they say something on a serial port and switch the machine off.

    By interpretation (TCG), as every run does; `/dev/kvm` is not touched.
    """
    what = "QEMU"
    if shutil.which(program) is None:
        return Finding(
            what, State.MISSING, f"{program} is not on PATH", f"apt-get install {emulator_package(program)} qemu-utils"
        )
    if shutil.which("qemu-img") is None:
        return Finding(what, State.MISSING, "qemu-img is not on PATH", "apt-get install qemu-utils")
    version = ask(program, "--version").splitlines()[0]
    if program != QEMU:
        remedy = "`proofrig rig check` boots the device itself"
        return Finding(what, State.DOUBTFUL, f"{version}; there is no trial for this machine", remedy)
    with tempfile.NamedTemporaryFile(prefix="proofrig-trial-") as code:
        code.write(b"".join(word.to_bytes(4, "little") for word in _PROGRAM) + SAYS + b"\0")
        code.flush()
        started = time.monotonic()
        said = ask(
            program, "-accel", "tcg", "-M", "virt", "-cpu", "cortex-a53", "-m", "64", "-nodefaults", "-no-user-config",
            "-display", "none", "-serial", "stdio",
            "-device", f"loader,file={code.name.replace(',', ',,')},addr={_ADDRESS:#x},cpu-num=0",
            timeout=TRIAL_S,
        )  # fmt: skip
    took = time.monotonic() - started
    if said != SAYS.decode():
        remedy = "install the qemu-system-arm of this distribution anew"
        return Finding(what, State.MISSING, f"{version}; a trial program did not say what it must: {said!r}", remedy)
    return Finding(what, State.GOOD, f"{version}; a trial program ran and ended in {took:.1f} s")


def private_network(*, tap: bool) -> Finding:
    """Make a private network as every emulated or simulated device gets one, and let go of it.

    `tap`: with a network interface for an emulator.
    """
    what = "namespaces"
    network = PrivateNetwork() if tap else PrivateNetwork.loopback()
    try:
        with Holder(network) as holder:
            holder.sockets(1)[0].close()
    except ControlFault as fault:
        remedy = fault.hint or "sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1"
        return Finding(what, State.MISSING, fault.message, remedy)
    return Finding(what, State.GOOD, f"made a private network with {network.interface}, and a socket in it")


def program_of(description: Path) -> str:
    """Return the emulator that a device's `device.json` names; that of the fixtures while it is not built."""
    try:
        return load_machine(description).binary
    except (ControlFault, UsageError):
        return QEMU


def firmware_image(description: Path) -> Finding:
    """Look for the images that the device's `device.json` names."""
    what = "firmware image"
    try:
        machine = load_machine(description)
        machine.check()
    except (ControlFault, UsageError) as error:
        return Finding(what, State.MISSING, str(error.message), error.hint or "make firmware")
    sizes = sum(image.stat().st_size for image in machine.images.values()) // 2**20
    return Finding(what, State.GOOD, f"{', '.join(sorted(machine.images))}: {sizes} MB in {description.parent}")
