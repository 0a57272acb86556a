"""What the SSH server offers, whom it lets in, and what it serves."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.case import Case
from harness.device.dialogue import DialogueSurface
from harness.device.outcomes import Accepted, Refused, name_of
from harness.device.ssh import SshServer
from harness.links.ssh import Severity, audit_algorithms
from harness.rig.claims import PortsClaim, SshPolicyClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies

DIRECTIONS = {"cipher": ("cipher_to_device", "cipher_from_device"), "mac": ("mac_to_device", "mac_from_device")}
MARKERS = re.compile(r"kex-strict-[cs]-.*|ext-info-[cs]|kexguess2@matt\.ucc\.asn\.au")
"""Names in the list of key exchanges that announce a feature and are no algorithms."""

PASSWORD_METHODS = ("password", "keyboard-interactive")


def servers(device: DeviceFile) -> Iterable[Instance]:
    """Each SSH policy, with the dialogue served over it."""
    for claim_id, claim in device.claims_of(SshPolicyClaim).items():
        for surface, spec in device.surfaces.items():
            if spec.link == claim.link:
                yield Instance(surface, (claim_id, surface))


@testcase(
    "SSH-ALGORITHMS",
    title="The SSH server offers the declared algorithms, no others, and none that is known to be weak",
    tags=[
        verifies("NMPA-2022/TXCF", "NMPA-2022/TXIG", "NMPA-2022/SAHD", "FDA-A1/C", "FDA-VC/VULN-SCAN"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/CRIT-I", "NMPA-2020/T2-cap"),
    ],
    about=About(property="confidentiality", phase="design", method="scan", threat="breaking weak cryptography"),
)
@each("claim_id, surface", servers)
def test_algorithms(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(SshPolicyClaim)[claim_id]
    case.attack(surface, "reading every algorithm offered")
    offered = case.value(SshServer(case.bench.wiring, claim.link).offered(), "the key exchange message")

    for kind, declared in claim.algorithms.items():
        for name in DIRECTIONS.get(kind, (kind,)):
            seen = [algorithm for algorithm in offered[name] if not MARKERS.fullmatch(algorithm)]
            case.check(
                f"{name.replace('_', ' ')}: offered are the declared algorithms",
                held=set(seen) == set(declared),
                expected=", ".join(sorted(declared)),
                observed=", ".join(sorted(seen)),
                claim=claim_id,
                repeat=f"ssh-audit {case.bench.wiring.ssh(claim.link).host}",
            )
    notes = audit_algorithms(offered)
    weak = [f"{note.algorithm} ({note.reason})" for note in notes if note.severity is Severity.FAIL]
    unknown = [note.algorithm for note in notes if note.severity is Severity.UNKNOWN]
    case.check(
        "no offered algorithm is known to be weak (table of ssh-audit)",
        held=False if weak else None if unknown else True,
        expected="none",
        observed="; ".join(weak) or f"none weak; not in the table: {', '.join(unknown) or 'none'}",
        claim="BASE-CRYPTO",
    )


@testcase(
    "SSH-LOG-IN",
    title="SSH lets in by the declared methods only: not root, not without a password, not without authentication",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2022/NAUT", "NMPA-2022/RMAINT", "NMPA-2020/IFU-access", "FDA-A1/A"),
        contributes("ANSM-2019/CRIT-C"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="log-in without credentials"),
    effects=[Effect.ACCOUNTS],
)
@each("claim_id, surface", servers)
def test_log_in(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(SshPolicyClaim)[claim_id]
    server = SshServer(case.bench.wiring, claim.link)
    user, key = server.spec.user, server.key_file
    case.attack(surface, "log-ins by every method")

    with case.step("Twin: the bench's own log-in is accepted"):
        own = server.log_in(user, "publickey", key) if key else server.log_in(user, "password", server.spec.password)
        case.twin(f"{user} by {'publickey' if key else 'password'}", own)

    with case.step("Methods"):
        named = server.methods(user)
        extra = sorted(set(named.value) - set(claim.methods)) if isinstance(named, Accepted) else []
        case.check(
            "the server names no method that is not declared",
            held=not extra if isinstance(named, Accepted) else None,
            expected=", ".join(claim.methods),
            observed=", ".join(named.value) if isinstance(named, Accepted) else name_of(named),
            claim=claim_id,
        )
        case.expect_refused("log-in by `none`", server.log_in(user, "none"), claim=claim_id)
        for method in PASSWORD_METHODS:
            case.expect_refused(f"empty password by {method}", server.log_in(user, method, ""), claim=claim_id)

    with case.step("Passwords open nothing where they are not declared"):
        for method in PASSWORD_METHODS:
            if method not in claim.methods:
                for name, account in case.bench.dialogue(surface).accounts.items():
                    outcome = server.log_in(name, method, account.password)
                    case.expect_refused(f"{name} with the right password by {method}", outcome, claim=claim_id)

    if not claim.root:
        with case.step("root"):
            case.expect_refused("root by `none`", server.log_in("root", "none"), claim=claim_id)
            for method in PASSWORD_METHODS:
                case.expect_refused(
                    f"root, empty password by {method}", server.log_in("root", method, ""), claim=claim_id
                )
            if key:
                case.expect_refused(
                    "root with the bench's key", server.log_in("root", "publickey", key), claim=claim_id
                )


@testcase(
    "SSH-HOST-KEY",
    title="The SSH server proves its identity with the host key made for this unit",
    tags=[
        verifies("NMPA-2022/NAUT", "NMPA-2022/TXIG", "FDA-A1/A"),
        contributes("ANSM-2019/CRIT-I", "NMPA-2020/T2-cap"),
    ],
    about=About(property="integrity", phase="first use", method="function", threat="another device in its place"),
    unqualified=True,
)
@each("claim_id, surface", servers)
def test_host_key(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(SshPolicyClaim)[claim_id]
    server = SshServer(case.bench.wiring, claim.link)
    pinned = server.spec.host_key
    kind, _, encoded = pinned.partition(" ")
    # The same kind of key, the last byte another: it must be told from the pinned one.
    other = f"{kind} {encoded.split(' ')[0][:-2]}{'AA' if not encoded.split(' ')[0].endswith('AA') else 'BB'}"

    seen = server.host_key(pinned)
    held = True if isinstance(seen, Accepted) else False if isinstance(seen, Refused) else None
    case.check(
        "the host key is the pinned one", held=held, expected=pinned[:80], observed=name_of(seen), claim=claim_id
    )
    case.attack(surface, "comparing the host key with another one")
    told = server.host_key(other)
    case.check(
        "another key would have been noticed",
        held=isinstance(told, Refused) or None,
        expected="refused",
        observed=name_of(told),
    )


@testcase(
    "SSH-EXTRAS",
    title="SSH serves what is declared and nothing more: no commands, no file transfer, no forwarding",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2022/SAHD", "NMPA-2022/RMAINT", "NMPA-2020/IFU-access", "FDA-A1/B"),
        contributes("ANSM-2019/CRIT-C", "ANSM-2019/CRIT-I"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="way around the service menu"),
)
@each("claim_id, surface", servers)
def test_extras(case: Case, claim_id: str, surface: str) -> None:
    device = case.bench.rig.device
    claim = device.claims_of(SshPolicyClaim)[claim_id]
    server = SshServer(case.bench.wiring, claim.link)
    door = case.bench.dialogue(surface)
    ports = [port for ports in device.claims_of(PortsClaim).values() for port in ports.tcp] or [server.spec.port]
    case.attack(surface, "asking for commands, file transfer and forwarding")

    with case.step("Twin: the bench's key gets the menu, and a user of it gets in"):
        menu_answers(case, door)

    menu = re.compile(door.spec.login.user_prompt.encode())
    if "exec" not in claim.extras:
        case.expect_refused("running a command", server.run(menu), claim=claim_id)
    if "sftp" not in claim.extras:
        case.expect_refused("file transfer (sftp)", server.sftp(menu), claim=claim_id)
    if "forwarding" not in claim.extras:
        through = server.forward("127.0.0.1", ports[0], remote=False)
        case.expect_refused(f"forwarding to port {ports[0]} of the device itself", through, claim=claim_id)
        back = server.forward("0.0.0.0", 40022, remote=True)
        case.expect_refused("forwarding back from a port of the device", back, claim=claim_id)

    with case.step("Twin: the menu is still there"):
        menu_answers(case, door)


def menu_answers(case: Case, door: DialogueSurface) -> None:
    """Twin: a declared user logs in over the menu and out again."""
    with door.session() as session:
        case.twin("log-in over the menu", session)
