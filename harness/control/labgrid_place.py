"""A place of a labgrid coordinator, by labgrid's own client: a program in an environment of its own.

labgrid brings a fork of pyserial, so it is never imported here. The place belongs to the run from `acquire` to
`release`; a keeper, a shell that waits for the end of its input, gives it back when the run is killed, too.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import select
import shutil
import signal
import socket
import subprocess
from importlib import metadata

from harness.clean import show_text
from harness.control.base import Deadline
from harness.control.program import SHOWN, Done, run_program
from harness.errors import ControlFault, UsageError
from harness.rig.control_specs import LabgridControlSpec

__all__ = ["LabgridPlace"]

_FORK = "pyserial-labgrid"
_OURS = ("PYTHONPATH", "PYTHONHOME", "PLACE", "STATE")
"""Of the environment: what would lead labgrid to our packages, and old names of its own settings."""
_KEPT = ("LG_HOSTNAME", "LG_USERNAME", "LG_PROXY", "LG_SSH_CONNECT_TIMEOUT")
"""Settings of labgrid that say who and where one is; others, as a place or a state to bring it to, do not count."""

_KEEPER = """
trap '' HUP INT TERM PIPE
owner=$1 seconds=$2; shift 2
if said=$(timeout "$seconds" "$@" acquire 2>&1)
then echo acquired; read -r end; timeout "$seconds" "$@" release-from "$owner" 2>&1
else code=$?; printf '%s\\n' "$said"; exit $code
fi
"""
"""Acquires, says so, and releases at the end of its input. Nothing but that end makes it go."""


class LabgridPlace:
    """A place as the rig file names it. `client` is the path of `labgrid-client`, or its name on PATH.

    Raises:
        UsageError: the client is not there, or labgrid is in Proofrig's own environment.
    """

    def __init__(self, spec: LabgridControlSpec, *, client: str) -> None:
        program = shutil.which(client)
        if program is None:
            raise UsageError(
                f"control `labgrid` needs labgrid's client, and {client} is not there",
                hint="install labgrid into an environment of its own (docs/device-file.md), and give `client` its path",
            )
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.distribution(_FORK)
            raise UsageError(
                f"labgrid's fork of pyserial ({_FORK}) is in Proofrig's own environment, and serial links would use it",
                hint="make the environment anew, and install labgrid into one of its own (docs/device-file.md)",
            )
        self.name = spec.place
        self.coordinator = spec.coordinator
        self._timeout = spec.timeout
        self._argv = (program, "-x", spec.coordinator, "-p", spec.place)
        host = os.environ.get("LG_HOSTNAME") or socket.gethostname()
        user = os.environ.get("LG_USERNAME") or getpass.getuser()
        self.user = f"{host}/{user}"
        self._env = {
            name: value
            for name, value in os.environ.items()
            if name not in _OURS and (name in _KEPT or not name.startswith("LG_"))
        }
        self._env |= {"LG_HOSTNAME": host, "LG_USERNAME": user}
        self._keeper: subprocess.Popen[bytes] | None = None

    def call(self, *command: str, longer: float = 0.0) -> Done:
        """Run a command of the client on the place; `longer` are seconds that the command itself waits.

        Raises:
            ControlFault: it fails, or does not end in time.
        """
        done = run_program([*self._argv, *command], timeout=self._timeout + longer, env=self._env)
        if done.returncode != 0:
            raise self.fault(f"`labgrid-client {' '.join(command)}` ended with {done.returncode}: {done.said}")
        return done

    def version(self) -> str:
        """Return the version of the client.

        Raises:
            ControlFault: the coordinator does not answer.
        """
        return self.call("version").said.splitlines()[-1]

    def owner(self) -> str:
        """Return who has the place, as host/user; empty when nobody has.

        Raises:
            UsageError: the coordinator has no place of this very name.
            ControlFault: the coordinator does not answer.
        """
        done = run_program([*self._argv, "show"], timeout=self._timeout, env=self._env)
        text = done.output.decode(errors="replace")
        # The client takes a part of a name, and an alias, for the place: that may be somebody else's device.
        named = re.search(r"(?m)^Place '(.*)':$", text)
        if (named is not None and named[1] != self.name) or re.search("pattern .* matches", text):
            instead = f", only {show_text(named[1], limit=SHOWN)!r}" if named is not None else ""
            raise UsageError(
                f"labgrid's coordinator {self.coordinator} has no place {self.name!r}{instead}",
                hint=f"`labgrid-client -x {self.coordinator} places` lists them",
            )
        acquired = re.search(r"(?m)^  acquired: (.+)$", text)
        if done.returncode != 0 or acquired is None:
            raise self.fault(f"the coordinator does not say how it stands: {done.said}")
        return "" if acquired[1] == "None" else show_text(acquired[1], limit=SHOWN)

    def check_free(self) -> None:
        """Make sure that a run can have the place.

        Raises:
            UsageError: somebody has it, or the coordinator has none of this name.
            ControlFault: the coordinator does not answer.
        """
        if owner := self.owner():
            raise UsageError(self._taken(owner), hint=self._wait_or_release())

    def acquire(self) -> None:
        """Take the place, until `release` or the end of this process, however it ends.

        Raises:
            UsageError: the coordinator has no place of this very name.
            ControlFault: somebody has it, or the coordinator does not give it.
        """
        if owner := self.owner():
            raise ControlFault(self._taken(owner), hint=self._wait_or_release())
        deadline = Deadline(2 * self._timeout)
        keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, "sh", self.user, f"{self._timeout:g}", *self._argv],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # what ends the run by a signal must not end it
        )
        self._keeper = keeper
        said = b""
        assert keeper.stdout is not None
        while not said.endswith(b"\n") and select.select([keeper.stdout], [], [], deadline.left())[0]:
            piece = os.read(keeper.stdout.fileno(), 4096)
            if not piece:
                break
            said += piece
        if said != b"acquired\n":
            left = self.release()
            shown = show_text((said.decode(errors="replace") + left).strip()[-SHOWN:])
            raise self.fault(f"it was not acquired: {shown or 'no answer'}")

    def release(self) -> str:
        """Give the place back, if we have it; return why that is not sure, empty if it is."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return ""
        try:
            said, _ = keeper.communicate(timeout=2 * self._timeout)
        except subprocess.TimeoutExpired:
            os.killpg(keeper.pid, signal.SIGKILL)
            keeper.communicate()
            return "the client did not end"
        return "" if keeper.returncode == 0 else show_text(said[-SHOWN:].decode(errors="replace").strip())

    def fault(self, what: str) -> ControlFault:
        """Return the fault of the bench that something is wrong with the place."""
        return ControlFault(
            f"labgrid place {self.name!r} at {self.coordinator}: {what}",
            hint=f"try by hand: labgrid-client -x {self.coordinator} -p {self.name} show",
        )

    def _taken(self, owner: str) -> str:
        ours = " (you)" if owner == self.user else ""
        return f"labgrid place {self.name!r} at {self.coordinator} is acquired by {owner}{ours}"

    def _wait_or_release(self) -> str:
        release = f"labgrid-client -x {self.coordinator} -p {self.name} release"
        return f"the run acquires it by itself: wait until it is free, or let its owner give it back: `{release}`"
