"""Updates and backups as files, from the device file alone: by XMODEM and YMODEM on the console, and by SFTP.

The honest pump passes the testcases that are there for updates and restores, a flaw fails, and no liar passes or hangs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).parents[1] / "links"))
from ssh_daemon import make_key  # noqa: E402 - found by the line above

from harness.qualify.trial import Trial, run_trial  # noqa: E402
from harness.verdict import Verdict  # noqa: E402

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from device import MAKER, update  # noqa: E402

TESTCASES = HERE.parents[1] / "testcases"
FOREIGN = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"somebody else").digest())

pytestmark = pytest.mark.skipif(shutil.which("rx") is None, reason="needs lrzsz")

Run = Callable[..., Trial]


def make_bundles(folder: Path) -> None:
    """Make a good update, and one of somebody else's."""
    folder.mkdir()
    made = {
        "good": (update("1.1.0"), "1.1.0", {"expect": "accepted"}),
        "foreign": (update("1.1.0", key=FOREIGN), "1.1.0", {"expect": "refused", "detail": "signature"}),
        "same": (update("1.0.0", key=MAKER), "1.0.0", {"expect": "refused", "detail": "version"}),
    }
    index = {}
    for name, (data, version, expected) in made.items():
        (folder / f"{name}.bin").write_bytes(data)
        index[name] = {
            "file": f"{name}.bin",
            "version": version,
            "sha256": hashlib.sha256(data).hexdigest(),
            **expected,
        }
    (folder / "index.json").write_text(json.dumps(index))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run testcases on the pump, its device file as it is or changed by a function."""
    make_bundles(tmp_path / "bundles")
    shutil.copy(HERE / "rig.yaml", tmp_path / "rig.yaml")
    (tmp_path / "sshd_config").write_text(
        f"Port 22\nListenAddress 192.0.2.10\nHostKey {tmp_path}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {tmp_path}/user.pub\nPermitRootLogin yes\nPasswordAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
    )
    host = make_key(tmp_path / "host")
    (tmp_path / "user.pub").write_text(make_key(tmp_path / "user") + "\n")

    def start(*options: str, testcases: str, lie: str = "", ssh: str = "") -> Trial:
        yaml = YAML()
        device = yaml.load((HERE / "device.yaml").read_text())
        if ssh:
            if os.geteuid() != 0 or shutil.which("sshd", path="/usr/sbin:/usr/bin") is None:
                pytest.skip("needs openssh-server and root")
            beside_the_line(device["surfaces"]["console"]["actions"], ssh, tmp_path / "data")
            Path("/run/sshd").mkdir(exist_ok=True)
        with (tmp_path / "device.yaml").open("w") as file:
            yaml.dump(device, file)
        environment = {
            "LOADER": str(tmp_path), "LOADER_CODE": str(HERE / "device.py"), "LOADER_LIE": lie,
            "LOADER_SSHD": str(tmp_path / "sshd_config") if ssh else "", "LOADER_HOST_KEY": host,
        }  # fmt: skip
        return run_trial(
            tmp_path / "rig.yaml", testcases=TESTCASES / testcases, run_dir=tmp_path / "run", options=options,
            environment=environment, timeout=300,
        )  # fmt: skip

    return start


def beside_the_line(actions: dict, protocol: str, folder: Path) -> None:
    """Change the device file: files travel over SSH."""
    over = {"by": protocol, "link": "files", "within": 20}
    upload, backup = {**over, "path": f"{folder}/update.bin"}, {**over, "path": f"{folder}/backup.bin"}
    actions["update-upload"].update(send="install", upload={**upload, "octets": "no update"})
    actions["backup"].update(send="save-file {passphrase}", download=backup)
    actions["restore"].update(send="restore-file {passphrase}", upload={**backup, "octets": "no backup"})


def applicable(seen: Trial) -> dict[str, Verdict]:
    """Return the verdicts of what applies to the pump."""
    return {name: verdict for name, verdict in seen.verdicts.items() if not name.endswith("[not-applicable]")}


@pytest.mark.parametrize("ssh", ["", "sftp"], ids=["xmodem", "sftp"])
def test_a_good_update_is_taken_and_a_bad_one_refused(run: Run, ssh: str) -> None:
    seen = run("-k", "console-upload or test_refused or test_role", testcases="update_rollback", ssh=ssh)
    assert applicable(seen) == {
        "UPDATE-GOOD[console-upload]": Verdict.PASS,
        "UPDATE-REFUSED[foreign]": Verdict.PASS,
        "UPDATE-REFUSED[same]": Verdict.PASS,
        "UPDATE-ROLE[nurse]": Verdict.PASS,
    }, seen.reasons


@pytest.mark.parametrize("ssh", ["", "sftp", "scp"], ids=["ymodem", "sftp", "scp"])
def test_backups_are_made_and_restored(run: Run, ssh: str) -> None:
    seen = run("-k", "test_passphrase or test_roles", testcases="backup_restore/test_round_trip.py", ssh=ssh)
    assert applicable(seen) == {
        "RESTORE-PASSPHRASE[console]": Verdict.PASS, "RESTORE-ROLES[console]": Verdict.PASS,
    }, seen.reasons  # fmt: skip


def test_an_update_of_anybody_is_found(run: Run) -> None:
    seen = run("-k", "test_refused and foreign", "--weakness", "no-signature", testcases="update_rollback")
    assert applicable(seen) == {"UPDATE-REFUSED[foreign]": Verdict.FAIL}, seen.reasons


@pytest.mark.parametrize("lie", ["nak", "silent", "endless"])
def test_a_transfer_without_end_or_sense_is_undecided(run: Run, lie: str) -> None:
    seen = run("-k", "test_refused and foreign", testcases="update_rollback", lie=lie)
    assert seen.verdicts == {"UPDATE-REFUSED[foreign]": Verdict.INCONCLUSIVE}, seen.reasons


def test_a_device_that_refuses_everything_never_passes(run: Run) -> None:
    seen = run("-k", "test_refused and foreign", testcases="update_rollback", lie="cancel")
    # It cancels each transfer for want of room: not the claimed reason, and the good update is not taken either.
    assert seen.verdicts == {"UPDATE-REFUSED[foreign]": Verdict.FAIL}, seen.reasons
