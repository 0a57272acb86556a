"""Control of a device that is a plain process (a sham device, a simulator) in a private network."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.control.agent import BenchAgent
from harness.control.base import Capability, ControlEvent, EventKind, EventLog, RestoreReport, StepClock
from harness.control.holder import DeviceProcess, Holder, PrivateNetwork
from harness.errors import ControlFault, UsageError

__all__ = ["ProcessControl"]

_EXIT_S = 5.0
_AGENT = "agent.sock"


class ProcessControl:
    """Runs the device's command in the holder's network; power is the process being there.

    `argv` may hold `{run_dir}` (a private directory for its sockets and ptys, emptied at each start), `{data_dir}`
    (one for what outlives the power, emptied by a restore) and `{address}` (the device's first address). The command
    prints a line `ready` on its standard output when its interfaces are there; everything it prints is appended to
    `log`. `before_run` is called each time after `ready`, for links to be opened anew.

    Raises:
        ControlFault: the holder cannot be started.
        UsageError: the command names a program that is not there.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        network: PrivateNetwork | None = None,
        env: Mapping[str, str] | None = None,
        ready_s: float = 10.0,
        before_run: Callable[[], None] | None = None,
    ) -> None:
        if not argv or shutil.which(argv[0]) is None:
            raise UsageError(f"device command not found: {list(argv)}", hint="give the program's full path")
        self.before_run = before_run
        self._argv = tuple(argv)
        self._log = log
        self._env = dict(env or {})
        self._ready_s = ready_s
        self._events = EventLog()
        self._lock = threading.Lock()
        self._process: DeviceProcess | None = None
        self._output: _Output | None = None
        self.holder = Holder(network or PrivateNetwork.loopback())
        self.run_dir = self.holder.scratch / "run"
        self.data_dir = self.holder.scratch / "data"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything but a graceful power-off, which a process does not have: `power_off` kills too.

        A break needs a bench agent: a process that has one listens on `agent.sock` in its run directory.
        """
        with_agent = (self.run_dir / _AGENT).exists()
        return frozenset(Capability) - (frozenset() if with_agent else {Capability.BREAK})

    @property
    def events(self) -> tuple[ControlEvent, ...]:
        """Asked starts and stops, and the process ending by itself."""
        self._notice_death()
        return self._events.all()

    @property
    def address(self) -> str:
        """The device's first address."""
        return self.holder.network.device[0]

    @property
    def pid(self) -> int | None:
        """The process behind the device, None while it has no power."""
        return self._process.pid or None if self._process is not None else None

    def power_on(self) -> None:
        """Start the process and wait for `ready`; nothing when it runs already.

        Raises:
            ControlFault: no `ready` line in time, with the end of what it printed.
        """
        if self.alive():
            return
        self._stop()
        shutil.rmtree(self.run_dir, ignore_errors=True)
        self.run_dir.mkdir()
        self.data_dir.mkdir(exist_ok=True)
        replace = {"{run_dir}": str(self.run_dir), "{data_dir}": str(self.data_dir), "{address}": self.address}
        argv = [_filled(each, replace) for each in self._argv]
        reading, writing = os.pipe()
        try:
            self._process = self.holder.run(argv, log=self._log, stdout=writing, cwd=self.run_dir, env=self._env)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._output = _Output(reading, self._log)
        if not self._output.wait_ready(self._ready_s):
            # Its output ends a moment before the process itself: ask the output, not the process.
            ended = self._output.ended
            self._stop()
            fate = "ended before it was ready" if ended else f"did not print 'ready' within {self._ready_s:g} s"
            raise ControlFault(
                f"the device process {argv[0]} {fate}: {self._output.tail()}", hint=f"its output is in {self._log}"
            )
        if self.before_run is not None:
            self.before_run()

    def power_off(self) -> None:
        """Kill the process."""
        self.cut()

    def cut(self) -> None:
        """Kill the process and everything it started."""
        if self._stop():
            self._events.add(EventKind.SHUTDOWN, asked=True, detail="killed")

    def reset(self) -> None:
        """Kill it and start it anew."""
        self._stop()
        self._events.add(EventKind.RESET, asked=True, detail="killed and started anew")
        self.power_on()

    def send_break(self, name: str) -> None:
        """Have the process see a break on its line `name`.

        Raises:
            ControlFault: it has no bench agent, or that does not answer.
        """
        with BenchAgent(self.run_dir / _AGENT) as agent:
            agent.send_break(name)

    def restore(self) -> RestoreReport:
        """A process has no memory but its directories, so a start with empty ones is the baseline."""
        steps = StepClock()
        self._stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)
        steps.done("kill")
        self.power_on()
        steps.done("start")
        return RestoreReport(method="restart", seconds=steps.total(), steps=steps.taken)

    def storage(self) -> Path:
        """Every file in the data directory, one behind the other in the order of their names.

        Raises:
            ControlFault: the process runs.
        """
        if self.alive():
            raise ControlFault("the storage is read out of a device without power", hint="power_off first")
        image = self.holder.scratch / "storage.raw"
        files = sorted(file for file in self.data_dir.rglob("*") if file.is_file())
        image.write_bytes(b"".join(file.read_bytes() for file in files))
        return image

    def alive(self) -> bool:
        """True while the process runs."""
        process = self._process
        return process is not None and process.alive()

    def close(self) -> None:
        """End the process and the holder; the run directory goes with it."""
        if self.holder.alive():
            self._stop()
        self.holder.close()

    def _stop(self) -> bool:
        """Kill it if it is there; true when it was running until now."""
        self._notice_death()
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return False
        was_alive = process.alive()
        process.kill()
        process.release()
        if self._output is not None:
            self._output.join(_EXIT_S)
        return was_alive

    def _notice_death(self) -> None:
        """Report an unasked end, once; from any thread."""
        with self._lock:
            if self._process is None or self._process.alive():
                return
            code = self._process.wait(_EXIT_S)
            self._process.release()
            self._process = None
        self._events.add(EventKind.DIED, asked=False, detail=f"exit code {code}")


class _Output:
    """Moves the process's standard output to the log and notices the line `ready`."""

    def __init__(self, descriptor: int, log: Path) -> None:
        self._descriptor = descriptor
        self._log = log
        self._settled = threading.Event()
        self._ready = False
        self.ended = False
        self._tail = b""
        self._thread = threading.Thread(target=self._move, name="device-output", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout: float) -> bool:
        """True when `ready` came; false when the output ended or time ran out first."""
        self._settled.wait(timeout)
        return self._ready

    def tail(self) -> str:
        """The end of what it printed."""
        return self._tail[-300:].decode(errors="backslashreplace").strip() or "(it printed nothing)"

    def join(self, timeout: float) -> None:
        """Wait for the end of the output."""
        self._thread.join(timeout)

    def _move(self) -> None:
        line = b""
        with os.fdopen(self._descriptor, "rb", buffering=0) as source, self._log.open("ab", buffering=0) as log:
            while data := source.read(65536):
                log.write(data)
                self._tail = (self._tail + data)[-4096:]
                if not self._ready:
                    *lines, line = (line + data).split(b"\n")
                    if any(each.strip() == b"ready" for each in lines):
                        self._ready = True
                        self._settled.set()
        self.ended = True
        self._settled.set()


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text
