"""Log-in over HTTP by basic, digest, certificate and a form behind a page, on a TLS server that asks for each."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from harness.device import make_surface
from harness.device.http import HttpSession, HttpSurface
from harness.device.outcomes import Accepted, Outcome, Refused, SessionRefused, Unintelligible
from harness.errors import UsageError
from harness.links.dialer import HostDialer
from harness.rig.loading import load_device, load_rig
from harness.wiring import RigWiring

PASSWORD = "harbour: 57"
DEVICE = """\
device: toy
manufacturer: T
model: T
kind: toy
version: '1'
identity: api
accounts:
  ann: {role: boss, password: 'harbour: 57', certificate: ann.pem, certificate_key: ann-key.pem}
links: [api]
surfaces:
  api:
    type: http
    link: api
    accounts: [ann]
    login: LOGIN
    accepted_when: {status: [200]}
    refused_when: {status: [401, 403, 404]}
    denied_when: {status: [403]}
    over_when: {status: [401]}
    unknown_request: {method: GET, path: /xyzzy}
    actions:
      status: {method: GET, path: '/status?of=a%20b'}
      rate: {method: PUT, path: /rate, body: {rate: '{rate}'}, args: {rate: 60}}
    fields:
      uptime: {action: status, name: uptime_ms, scale: 0.001}
      version: {action: status, name: 'header:x-version'}
      language: {action: status, name: 'cookie:lang'}
claims: {}
"""
RIG = """\
rig: toy
device: device.yaml
item: {serial: S1, grade: emulated}
targets: [127.0.0.1]
answer_within: 2.0
links:
  api: {type: https, host: 127.0.0.1, port: PORT, ca_file: server.pem}
"""
BY = "{by: WAY, method: GET, path: /status, accepted_when: {status: [200]}, refused_when: {status: [401]}}"
FORM = """
      before:
        {method: GET, path: /login.html, take: {csrf: {body: 'value="(\\w+)"'}, jar: {cookie: SID}}}
      method: POST
      path: /login
      headers: {Cookie: 'SID={jar}'}
      form: {user: '{account}', password: '{password}', csrf: '{csrf}'}
      accepted_when: {status: [302], headers: {Location: /home}}
      refused_when: {status: [302], headers: {Location: '/login\\?error'}}
      HELD
      take: {xsrf: {header: X-XSRF}}
      carried: {Cookie: 'SID={token}', X-XSRF: '{xsrf}'}
      log_out: {method: GET, path: /logout}"""


class Handler(BaseHTTPRequestHandler):
    """A device that knows one person, by the way its server is told."""

    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        if self.server.closes:
            self.close_connection = True
        ways: dict[str, Callable[[bytes], bool]] = {
            "basic": self.basic, "digest": self.digest, "certificate": lambda _: True, "form": self.form,
        }  # fmt: skip
        if ways[self.server.way](body):
            known = self.path.split("?")[0] in ("/status", "/rate", "/logout")
            self.reply(200 if known else 404, b'{"uptime_ms": 12500}')

    do_GET = do_POST = do_PUT = answer  # noqa: N815

    def reply(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        self.send_response(status)
        shown = [("Content-Type", "application/json"), ("X-Version", "1.2"), ("Set-Cookie", "lang=de; Path=/")]
        for name, value in (*shown, ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def basic(self, _: bytes) -> bool:
        said = self.headers.get("Authorization", "")
        if said.startswith("Basic ") and b64decode(said[6:]) == f"ann:{PASSWORD}".encode():
            return True
        self.reply(401, b"{}", ("WWW-Authenticate", 'Basic realm="toy"'))
        return False

    def digest(self, body: bytes) -> bool:
        """RFC 7616 from the server's side, written for itself."""
        said = dict(re.findall(r'(\w+)="?([^",]*)"?', self.headers.get("Authorization", "")))
        server = self.server
        nonce = said.get("nonce", "")
        fresh = said.get("nc", "") > server.nonces.get(nonce, "~")

        def h(text: str) -> str:
            return hashlib.sha256(text.encode()).hexdigest()

        inside = f":{h(body.decode())}" if server.qop == "auth-int" else ""
        right = h(
            f"{h(f'ann:toy:{PASSWORD}')}:{said.get('nonce')}:{said.get('nc')}:{said.get('cnonce')}:{server.qop}:"
            + h(f"{self.command}:{self.path}{inside}")
        )
        known = said.get("username") == "ann" and said.get("response") == right and said.get("uri") == self.path
        if known and fresh:
            server.nonces[nonce] = said["nc"]
            return True
        server.stale_answers += known
        drawn = secrets.token_hex(8)
        server.nonces[drawn] = "~" if server.never_content else ""
        challenge = f'Digest realm="toy", nonce="{drawn}", algorithm=SHA-256, qop="{server.qop}"'
        self.reply(401, b"{}", ("WWW-Authenticate", challenge + (", stale=true" if known else "")))
        return False

    def form(self, body: bytes) -> bool:
        server, sent = self.server, self.headers
        if self.path == "/login.html":
            self.reply(200, b'<input name="csrf" value="c5rf">', ("Set-Cookie", "SID=beforehand; HttpOnly"))
        elif self.path == "/login":
            right = body == b"user=ann&password=harbour%3A+57&csrf=c5rf" and sent["Cookie"] == "SID=beforehand"
            server.token = "afterwards" if right else ""
            extra = [("X-XSRF", "x5rf"), ("Set-Cookie", "SID=afterwards"), ("X-Token", "afterwards")] if right else []
            self.reply(302, b"", ("Location", "/home" if right else "/login?error"), *extra)
        elif (sent.get("Cookie"), sent.get("X-XSRF")) == (f"SID={server.token}", "x5rf"):
            server.token = "" if self.path == "/logout" else server.token
            return True
        else:
            self.reply(401, b"{}")
        return False

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, way: str, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.way, self.qop, self.closes = way, "auth", False
        self.nonces: dict[str, str] = {}
        self.stale_answers, self.never_content = 0, False
        self.token = ""
        self.asked: list[tuple[str, str]] = []
        self._context = context

    def finish_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        """Shake hands in the connection's own thread."""
        try:
            tls = self._context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        super().finish_request(tls, client_address)  # type: ignore[arg-type]

    def handle_error(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        """A client may leave as it likes."""


def certify(folder: Path, name: str, *, issuer: str = "") -> None:
    """Write NAME.pem and NAME-key.pem, signed by `issuer`, by itself where none is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer, by = key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer or name)])
    if issuer:
        loaded = load_pem_private_key((folder / f"{issuer}-key.pem").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=not issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}-key.pem").write_bytes(secret)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Certificates of the server and of those that it knows, and a device file without log-in."""
    certify(tmp_path, "server")
    certify(tmp_path, "clients")
    certify(tmp_path, "ann", issuer="clients")
    return tmp_path


Opens = Callable[..., tuple[HttpSurface, Server]]


@pytest.fixture
def opened(folder: Path) -> Iterator[Opens]:
    """Start a server of some way, and return the surface on it."""
    running: list[tuple[Server, RigWiring, threading.Thread]] = []

    def start(way: str, login: str, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[HttpSurface, Server]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
        context.maximum_version = version
        if way == "certificate":
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(folder / "clients.pem")
        server = Server(way, context)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        (folder / "device.yaml").write_text(DEVICE.replace("LOGIN", login))
        (folder / "rig.yaml").write_text(RIG.replace("PORT", str(server.server_address[1])))
        rig = load_rig(folder / "rig.yaml")
        wiring = RigWiring(rig, dialer=HostDialer(), port_of=str, break_of=lambda _: None, captures=folder, prefix="t")
        running.append((server, wiring, thread))
        surface = make_surface("api", wiring, device=rig.device)
        assert isinstance(surface, HttpSurface)
        return surface, server

    yield start
    for server, wiring, thread in running:
        wiring.close()
        server.shutdown()
        thread.join()
        server.server_close()


def entered(outcome: Outcome[HttpSession]) -> HttpSession:
    assert isinstance(outcome, Accepted), outcome
    return outcome.value


WAYS = ["basic", "digest", "certificate"]


@pytest.mark.parametrize("way", WAYS)
def test_who_is_known_is_let_in_and_others_are_not(opened: Opens, way: str) -> None:
    api, _ = opened(way, BY.replace("WAY", way))
    session = entered(api.log_in("ann"))
    assert api.read_in(session, "uptime").value == 12.5  # type: ignore[union-attr]
    assert api.read_in(session, "version").value == "1.2"  # type: ignore[union-attr]
    assert api.read_in(session, "language").value == "de"  # type: ignore[union-attr]
    assert isinstance(session.do("rate"), Accepted)
    assert isinstance(session.unknown(), Refused)
    assert isinstance(session.log_out(), Accepted)
    for user, password in (("ann", "wrong"), ("nobody", PASSWORD), ("ann", ""), ('o"\\\r\nX: 1', "ä\udcff")):
        refused = api.try_log_in(user, password)
        assert isinstance(refused, SessionRefused), (user, refused)
        assert refused.reason == "refused"
    assert isinstance(api.probe(), Accepted)


@pytest.mark.parametrize("way", WAYS)
def test_before_log_in_nothing_is_done(opened: Opens, way: str) -> None:
    api, server = opened(way, BY.replace("WAY", way))
    with api.entrance() as prompt:
        assert isinstance(prompt.attempt("ann", "wrong"), Refused)
        before = prompt.do("rate")
        assert not isinstance(before, Accepted)
        assert isinstance(prompt.visit("ann"), Accepted)
        assert not isinstance(prompt.do("rate"), Accepted), "who was let in has left"
    if way != "certificate":
        assert api.ended(before)
        assert ("/rate", "") in server.asked


def test_a_password_is_masked_as_it_travels(opened: Opens) -> None:
    api, server = opened("basic", BY.replace("WAY", "basic"))
    entered(api.log_in("ann")).drop()
    sent = server.asked[-1][1]
    assert isinstance(api.wiring, RigWiring)
    assert api.wiring.masker.mask(sent) == "Basic " + "*" * (len(sent) - 6)


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("closes", [False, True])
def test_a_digest_outlives_its_nonce(opened: Opens, qop: str, closes: bool) -> None:
    api, server = opened("digest", BY.replace("WAY", "digest"))
    server.qop, server.closes = qop, closes
    session = entered(api.log_in("ann"))
    assert isinstance(session.do("rate"), Accepted)
    server.nonces.clear()
    assert isinstance(session.do("rate"), Accepted), "asked again with the new one"
    assert server.stale_answers == 1
    assert isinstance(session.do("status"), Accepted), "and counted on"
    session.log_out()


def test_a_server_that_challenges_without_end_is_a_refusal(opened: Opens) -> None:
    api, server = opened("digest", BY.replace("WAY", "digest"))
    session = entered(api.log_in("ann"))
    server.nonces.clear()
    server.never_content = True
    asked = len(server.asked)
    assert isinstance(session.do("status"), Refused)
    assert len(server.asked) <= asked + 2


def test_a_device_without_a_challenge_is_unintelligible(opened: Opens) -> None:
    api, _ = opened("basic", BY.replace("WAY", "digest"))
    assert isinstance(api.log_in("ann"), Unintelligible)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_nobody_has_signed_is_refused(opened: Opens, version: ssl.TLSVersion) -> None:
    api, server = opened("certificate", BY.replace("WAY", "certificate"), version=version)
    for _ in range(5):
        refused = api.try_log_in("ann", "wrong")
        assert isinstance(refused, SessionRefused), refused
    assert server.asked == [], "an alert is what refused it"
    assert isinstance(api.probe(), Accepted)


@pytest.mark.parametrize("held", ["cookie: SID", "header: X-Token"])
def test_a_form_behind_a_page(opened: Opens, held: str) -> None:
    api, server = opened("form", FORM.replace("HELD", held))
    session = entered(api.log_in("ann"))
    assert session.token == "afterwards"
    assert isinstance(session.do("status"), Accepted)
    assert isinstance(session.log_out(), Accepted)
    assert server.token == ""
    assert session.over(within=2)
    assert isinstance(api.try_log_in("ann", "wrong"), SessionRefused)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("by: basic, ", "by: basic, token: t, ", "`token` is of no use with `by: basic`"),
        ("by: basic, ", "", "either `token` or `cookie` or `header`"),
        ("by: basic, ", "token: t, ", "`carried` is missing"),
        ("by: basic, ", "token: t, carried: {X: '{token}'}, ", "`log_out` is missing"),
        ("by: basic, ", "token: t, carried: {X: '{none}'}, log_out: {method: GET, path: /}, ", "nothing gives {none}"),
        ("certificate: ann.pem", "certificate: none.pem", "cannot be read"),
        ("certificate_key: ann-key.pem", "certificate_key: server-key.pem", "cannot be used"),
        (", certificate_key: ann-key.pem", "", "go together"),
        ("{role: boss, password: 'harbour: 57', ", "{role: boss, ", "account 'ann' has no password"),
        ("by: basic", "by: certificate", "nobody is known by a password"),
        (
            "claims: {",
            "claims: {IDLE: {type: idle-logoff, surfaces: [api], after: 1, tolerance: 1, SOURCE}, ",
            "no sess",
        ),
    ],
)
def test_a_mistake_is_named(folder: Path, old: str, new: str, words: str) -> None:
    source = "source: {document: D, revision: '1', section: '1'}"
    lock = f"LOCK: {{type: lockout, surfaces: [api], scope: account, threshold: 3, release: 1, tolerance: 1, {source}}}"
    text = DEVICE.replace("LOGIN", BY.replace("WAY", "basic")).replace("claims: {}", f"claims: {{{lock}}}")
    assert old in text
    (folder / "device.yaml").write_text(text.replace(old, new, 1).replace("SOURCE", source))
    with pytest.raises(UsageError) as caught:
        load_device(folder / "device.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(folder / "device.yaml"))
