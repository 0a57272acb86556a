"""Digest authentication: the examples of RFC 7616 and RFC 2617, and challenges of a hostile device."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device.http_digest import Digest
from harness.links.http import HttpRequest, HttpResponse

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CLIENT = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
RFC7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    f'nonce="{NONCE}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
GET = HttpRequest(method=b"GET", target=b"/dir/index.html")


def asked(*challenges: str, status: int = 401) -> HttpResponse:
    """An answer with challenges."""
    headers = tuple((b"www-authenticate", challenge.encode("latin-1")) for challenge in challenges)
    return HttpResponse(status=status, headers=headers, body=b"", raw=b"")


def said(digest: Digest, request: HttpRequest = GET) -> str:
    """The header that says who a request is from."""
    headers = digest.signed(request).headers
    return dict(headers).get(b"Authorization", b"").decode("latin-1")


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, response: str) -> None:
    digest = Digest("Mufasa", "Circle of Life", client_nonce=CLIENT)
    assert digest.read(asked(RFC7616.format(algorithm)))
    header = said(digest)
    assert f'response="{response}"' in header
    assert 'username="Mufasa"' in header
    assert "nc=00000001, " in header
    assert "nc=00000002, " in said(digest), "each request is counted"


def test_the_example_of_rfc_2617() -> None:
    digest = Digest("Mufasa", "Circle Of Life", client_nonce="0a4f113b")
    assert digest.read(
        asked('Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    )
    assert 'response="6629fae49393a05397450978507c4ef1"' in said(digest)


def test_the_best_algorithm_of_several_schemes() -> None:
    digest = Digest("u", "p")
    assert digest.read(asked(f'Negotiate, Basic realm="a, b", {RFC7616.format("MD5")}', RFC7616.format("SHA-256")))
    assert "algorithm=SHA-256" in said(digest)


@pytest.mark.parametrize(
    "challenge",
    ["", "Basic realm=x", "Digest", "Digest realm=x", "Digest nonce=x", RFC7616.format("ROT13"), 'Digest "'],
)
def test_a_challenge_that_is_none(challenge: str) -> None:
    digest = Digest("u", "p")
    assert not digest.read(asked(challenge))
    assert said(digest) == ""


def test_stale_is_another_nonce_for_the_same_person() -> None:
    digest = Digest("u", "p")
    digest.read(asked("Digest realm=x, nonce=one"))
    said(digest)
    assert not digest.renewed
    digest.read(asked("Digest realm=x, nonce=one, stale=true"))
    assert not digest.renewed, "the same nonce again is no other one"
    digest.read(asked("Digest realm=x, nonce=two, stale=TRUE"))
    assert digest.renewed
    assert 'nonce="two"' in said(digest)
    digest.read(asked(status=200))
    assert not digest.renewed


def test_a_request_that_says_who_it_is_from_stays_as_it_is() -> None:
    digest = Digest("u", "p")
    digest.read(asked("Digest realm=x, nonce=one"))
    request = HttpRequest(method=b"GET", target=b"/", headers=((b"authorization", b"none"),))
    assert digest.signed(request) is request


@given(
    challenge=st.text(alphabet=st.sampled_from('Digest realm=nonce,"\\ qopx\xe4MD5-sS'), max_size=80), user=st.text()
)
def test_no_challenge_breaks_the_request(challenge: str, user: str) -> None:
    digest = Digest(user, "päss")
    digest.read(asked(f"Digest realm=a, nonce=b, {challenge}", challenge))
    header = said(digest)
    assert not re.search(r"[\x00-\x1f\x7f]", header), "one header stays one header"
