"""A vendor's line protocol under test from its device file alone: on a pseudo-terminal, over TCP, by name, by PIN.

The honest controller passes, each flaw of it is found, and no liar gets a PASS.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from harness.errors import UsageError
from harness.qualify.trial import Trial, run_trial
from harness.rig.loading import load_device
from harness.verdict import Verdict

HERE = Path(__file__).parent
TESTCASES = HERE.parents[1] / "testcases"
ROOT = HERE.parents[1]

#: Folders and files with testcases that apply to it.
APPLY = ["authentication", "authorisation", "injection", "serial/test_message_framing.py", "fuzzing/test_messages.py"]
APPLY += ["serial/test_hostile_input.py", "serial/test_no_shell.py"]
PLUGIN = "-p", "no:cacheprovider"


def trial(folder: Path, *testcases: str, rig: Path = HERE / "rig.yaml", options: list[str] | None = None, lie: str = "",
          after: int = 0) -> Trial:  # fmt: skip
    """Run testcases on the controller, with its pseudo-terminal in the test's folder."""
    more = [str(TESTCASES / name) for name in testcases[1:]]
    return run_trial(
        rig,
        testcases=TESTCASES / testcases[0],
        run_dir=folder / "run",
        options=[*more, "--fuzz-cases", "30", *(options or [])],
        environment={"LINE_TTY": str(folder / "tty"), "LINE_LIE": lie, "LINE_AFTER": str(after)},
        timeout=300,
    )


def test_the_device_file_is_short() -> None:
    assert len((HERE / "device.yaml").read_text().splitlines()) < 100


def test_the_honest_controller_passes(tmp_path: Path) -> None:
    seen = trial(tmp_path, *APPLY)
    passed = seen.of(Verdict.PASS)
    rest = {name for name in seen.verdicts if name not in passed and not name.endswith("[not-applicable]")}
    assert rest == set(), {name: seen.reasons[name] for name in rest}
    assert {name.split("[")[0] for name in passed} == {
        "AUTH-DEFAULT-PASSWORD", "AUTH-IDLE-LOGOFF", "AUTH-LOCKOUT", "AUTH-LOG-IN-TIME", "AUTH-UNKNOWN-USER",
        "AUTHZ-BEFORE-LOGIN", "AUTHZ-ROLE", "CONSOLE-HOSTILE-INPUT", "CONSOLE-NO-SHELL",
        "FUZZ-MESSAGES", "INJECT-LOG-IN", "INJECT-TEXT",
        "MESSAGE-CHECKSUM", "MESSAGE-FRAMING", "SESSION-ENDS", "SESSION-HOSTILE-INPUT",
        "SESSION-NO-SHELL",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("weakness", "testcase", "file"),
    [
        ("no-checksum", "MESSAGE-CHECKSUM[line]", "serial/test_message_framing.py"),
        ("control-bytes", "MESSAGE-FRAMING[line]", "serial/test_message_framing.py"),
        ("no-lockout", "AUTH-LOCKOUT[line]", "authentication/test_lockout.py"),
        ("tells-users", "AUTH-UNKNOWN-USER[line]", "authentication/test_unknown_users.py"),
        ("no-log-off", "AUTH-IDLE-LOGOFF[line]", "authentication/test_idle_log_off.py"),
        ("no-log-out", "SESSION-ENDS[line-log-out]", "authentication/test_sessions.py"),
        ("no-roles", "AUTHZ-ROLE[line-nurse]", "authorisation"),
        ("no-log-in", "AUTHZ-BEFORE-LOGIN[line]", "authorisation"),
    ],
)
def test_a_flaw_is_found(weakness: str, testcase: str, file: str, tmp_path: Path) -> None:
    seen = trial(tmp_path, file, options=["--weakness", weakness])
    assert seen.verdicts[testcase] is Verdict.FAIL, seen.reasons.get(testcase)


LIES = ["mute", "echo", "accept", "refuse", "replay", "bad-checksum", "twice"]


@pytest.mark.parametrize("lie", LIES)
def test_a_liar_from_the_start_never_passes(lie: str, tmp_path: Path) -> None:
    seen = trial(tmp_path, "serial/test_message_framing.py", lie=lie)
    assert seen.of(Verdict.PASS) == [], seen.output
    assert len(seen.verdicts) == 2


@pytest.mark.parametrize(("lie", "after"), [(lie, 13) for lie in LIES] + [("mute", 15), ("accept", 15), ("replay", 15)])
def test_a_liar_after_the_baseline_never_passes(lie: str, after: int, tmp_path: Path) -> None:
    """13 messages are baseline and the proof of life before the attack; 15 is in the body of each."""
    files = ["authentication/test_default_passwords.py", "authentication/test_idle_log_off.py", "authorisation"]
    files += ["serial/test_message_framing.py"]
    only = "default or idle or before_log_in or checksum"
    seen = trial(tmp_path, *files, lie=lie, after=after, options=["-k", only])
    assert seen.of(Verdict.PASS) == [], seen.output
    assert len(seen.verdicts) == 4
    assert not any("brought to its baseline" in why for why in seen.reasons.values()), (
        "the lie came too early to be met"
    )


def other_rig(folder: Path, *, style: str, tcp: bool) -> Path:
    """Write rig and device file of a controller in another style."""
    yaml = YAML()
    rig, device = yaml.load(HERE / "rig.yaml"), yaml.load(HERE / "device.yaml")
    surface, claims = device["surfaces"]["line"], device["claims"]
    if "pin" in style:
        surface["login"]["send"] = "LOGIN^{password}"
        claims["LOCKOUT"]["scope"] = "surface"
        device["not_applicable"]["AUTH-LOG-IN-TIME"] = "a PIN names nobody"
    if "quiet" in style:
        del surface["login"]["logged_off_when"]
    where = ["--tcp", "192.0.2.10:4001"] if tcp else ["--tty", "${env:LINE_TTY}"]
    rig["control"]["command"] = ["{python}", str(HERE / "device.py"), *where, "--style", style]
    if tcp:
        rig["targets"] = ["192.0.2.10"]
        rig["links"]["line"] = {"type": "tcp", "host": "192.0.2.10", "port": 4001}
    yaml.dump(device, folder / "device.yaml")
    yaml.dump(rig, folder / "rig.yaml")
    return folder / "rig.yaml"


@pytest.mark.parametrize(("style", "tcp"), [("pin,quiet", False), ("quiet", True), ("pin", True)])
def test_other_ways_to_log_in_and_off(style: str, tcp: bool, tmp_path: Path) -> None:
    seen = trial(tmp_path, *APPLY, rig=other_rig(tmp_path, style=style, tcp=tcp))
    rest = {name for name in seen.verdicts if seen.verdicts[name] not in (Verdict.PASS, Verdict.NOT_APPLICABLE)}
    assert rest == set(), {name: seen.reasons[name] for name in rest}
    assert len(seen.of(Verdict.PASS)) == 17 + ("pin" not in style)


def test_words_that_differ_each_time_tell_nothing_of_accounts(tmp_path: Path) -> None:
    seen = trial(tmp_path, "authentication/test_unknown_users.py", rig=other_rig(tmp_path, style="counts", tcp=False))
    assert seen.verdicts["AUTH-UNKNOWN-USER[line]"] is Verdict.INCONCLUSIVE, seen.reasons


def test_a_lock_that_each_log_in_begins_anew_is_undecided(tmp_path: Path) -> None:
    seen = trial(tmp_path, "authentication/test_lockout.py", rig=other_rig(tmp_path, style="sliding", tcp=False))
    assert seen.verdicts["AUTH-LOCKOUT[line]"] is Verdict.INCONCLUSIVE, seen.reasons
    assert "after the last log-in" in seen.reasons["AUTH-LOCKOUT[line]"]


def test_a_lock_that_lasts_too_long_is_found(tmp_path: Path) -> None:
    seen = trial(tmp_path, "authentication/test_lockout.py", rig=other_rig(tmp_path, style="long", tcp=False))
    assert seen.verdicts["AUTH-LOCKOUT[line]"] is Verdict.FAIL, seen.reasons


def test_one_late_answer_is_no_injection(tmp_path: Path) -> None:
    rig = other_rig(tmp_path, style="stutters", tcp=False)
    rig.write_text(rig.read_text().replace("answer_within: 0.5", "answer_within: 3"))
    seen = trial(tmp_path, "injection", rig=rig, options=["-k", "test_text and name"])
    assert seen.verdicts["INJECT-TEXT[line-name]"] is Verdict.PASS, seen.reasons


def test_a_session_that_is_never_over_is_found_without_an_announcement(tmp_path: Path) -> None:
    rig = other_rig(tmp_path, style="quiet", tcp=False)
    seen = trial(tmp_path, "authentication/test_idle_log_off.py", rig=rig, options=["--weakness", "no-log-off"])
    assert seen.verdicts["AUTH-IDLE-LOGOFF[line]"] is Verdict.FAIL, seen.reasons


def test_the_example_of_the_reference_loads(tmp_path: Path) -> None:
    """As a part of this device file."""
    text = (ROOT / "docs/device-file.md").read_text()
    section = text.split("### Surface `messages`\n")[1]
    yaml = YAML()
    example = yaml.load(section.split("```yaml\n")[1].split("```")[0])
    device = yaml.load(HERE / "device.yaml")
    device["accounts"] = {"nurse": device["accounts"]["nurse"], "technician": device["accounts"]["tech"]}
    device.update(surfaces=example["surfaces"], claims={}, not_applicable={})
    yaml.dump(device, tmp_path / "device.yaml")
    loaded, _ = load_device(tmp_path / "device.yaml")
    assert loaded.surfaces["line"].type == "messages"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("account: nurse, action: rate", "account: nobody, action: rate", "account 'nobody' does not log in on line"),
        ("account: nurse, action: rate", "account: nurse, action: status", "action 'status' of line must be there"),
        ("ignored: [truncated]", "ignored: [control]", "control cannot be refused and ignored"),
        ("      checksum: {", "      # {", "surface 'line' declares no checksum"),
    ],
)
def test_mistakes_about_framing_are_named_with_their_place(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = (HERE / "device.yaml").read_text()
    assert old in text
    (tmp_path / "device.yaml").write_text(text.replace(old, new))
    with pytest.raises(UsageError) as raised:
        load_device(tmp_path / "device.yaml")
    assert words in raised.value.message
    assert str(tmp_path / "device.yaml") in (raised.value.where or "")
