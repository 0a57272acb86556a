"""The command `proofrig`: run testcases, look at a rig, read a run again.

A mistake of the user's is one message without traceback and exit code 4, as pytest's own usage errors.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import __version__
from harness.clean import show_text
from harness.errors import BenchFault, ProofrigError, UsageError
from harness.record_file import remove_reserve
from harness.verdict import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_USAGE

__all__ = ["main"]

TESTCASES = Path(__file__).resolve().parent.parent / "testcases"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments, rest = _parser().parse_known_args(argv)
    if rest and arguments.command is not _run:
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    try:
        return int(arguments.command(arguments))
    except UsageError as error:
        print(f"proofrig: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    except BenchFault as error:
        print(f"proofrig: the bench: {show_text(str(error))}", file=sys.stderr)  # noqa: T201
        return EXIT_INCONCLUSIVE
    except ProofrigError as error:
        print(f"proofrig: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("proofrig: interrupted", file=sys.stderr)  # noqa: T201
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="proofrig", description="Security testcases for medical devices on a rig.")
    parser.add_argument("--version", action="version", version=f"proofrig {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the testcases on a rig; pytest's options may follow", allow_abbrev=False)
    run.add_argument("rig", type=Path, metavar="RIG")
    run.add_argument("--run-dir", metavar="DIR", help="folder of this run (default: a new one under reports/)")
    _add_history(run)
    run.set_defaults(command=_run)

    doctor = commands.add_parser("doctor", help="check this host, for one rig if it is given, and say what to do")
    doctor.add_argument("rig", type=Path, metavar="RIG", nargs="?", help="look only at what this rig needs")
    doctor.set_defaults(command=_doctor)

    rig = commands.add_parser("rig", help="look at a rig")
    rig_commands = rig.add_subparsers(required=True, metavar="COMMAND")
    check = rig_commands.add_parser(
        "check", help="open every link, read the identity, try every operation that only reads"
    )
    check.add_argument("rig", type=Path, metavar="RIG")
    check.add_argument(
        "--all", action="store_true", help="try those that change something, too, where the rig permits their effects"
    )
    check.set_defaults(command=_rig_check)
    schema = rig_commands.add_parser("schema", help="print the JSON schemas of rig and device files")
    schema.add_argument("name", nargs="?", choices=["rig", "device"], help="only this one")
    schema.add_argument("--write", type=Path, metavar="DIR", help="write DIR/rig.json and DIR/device.json instead")
    schema.set_defaults(command=_rig_schema)

    _add_device(commands)

    console = commands.add_parser("console", help="talk to the device's console; everything is recorded")
    console.add_argument("rig", type=Path, metavar="RIG")
    console.set_defaults(command=_console)

    challenge = commands.add_parser(
        "challenge",
        help="falsify each claim of the device file in memory: a testcase must notice",
        description="Falsify each claim of the device file in memory, run the testcases that depend on it, and list "
        "what no testcase notices. Exit code 0: all was noticed; 10: something was not; 11: something could not be "
        "judged; 12: something was not tried.",
    )
    challenge.add_argument("rig", type=Path, metavar="RIG")
    challenge.add_argument("--claim", action="append", default=[], metavar="ID", help="this claim; may be repeated")
    challenge.add_argument(
        "--testcases", type=Path, action="append", default=[], metavar="PATH", help="these only; may be repeated"
    )
    challenge.add_argument("--quick", action="store_true", help="leave out the slow testcases")
    challenge.add_argument(
        "--honest", type=Path, metavar="RUN", help="run on the unchanged files, instead of a new one"
    )
    challenge.add_argument("--run-dir", type=Path, metavar="DIR", help="folder (default: a new one under reports/)")
    challenge.set_defaults(command=_challenge)

    replay = commands.add_parser("replay", help="send a finding's input again: FIXED or STILL FAILING")
    replay.add_argument("finding", type=Path, metavar="FINDING", help="findings/NAME.json of a run")
    replay.add_argument("rig", type=Path, metavar="RIG")
    replay.add_argument("--weakness", action="append", default=[], metavar="NAME", help="as for a run")
    replay.set_defaults(command=_replay)

    report = commands.add_parser("report", help="make the reports of a run again, a killed run's too")
    report.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    report.add_argument("--no-html", action="store_true", help="leave out the Allure HTML and the coverage page")
    _add_history(report)
    report.set_defaults(command=_report)

    changes = commands.add_parser(
        "changes", help="what changed from one run to another; exit code 10 for a new failure"
    )
    changes.add_argument("old", type=Path, metavar="OLD", help="folder of the run before")
    changes.add_argument("new", type=Path, metavar="NEW", help="folder of the run after")
    changes.add_argument("--write", type=Path, metavar="DIR", help="write changes.json and changes.html into DIR too")
    changes.set_defaults(command=_changes)
    return parser


def _add_device(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from harness.device_init.options import add_options  # noqa: PLC0415

    device = commands.add_parser("device", help="make the file of a device, and approve what it claims")
    device_commands = device.add_subparsers(required=True, metavar="COMMAND")
    init = device_commands.add_parser(
        "init", help="ask, scan what you allow, and write a device file and a rig file whose claims are observed"
    )
    add_options(init)
    init.add_argument("--rig", type=Path, metavar="FILE", help="rig file to write, instead of the usual place")
    init.set_defaults(command=_device_init)
    approve = device_commands.add_parser("approve", help="stand up for claims of a device file, by name and document")
    approve.add_argument("device", type=Path, metavar="FILE", help="device file")
    approve.add_argument("claims", nargs="*", metavar="CLAIM", help="ids of claims")
    approve.add_argument("--all", action="store_true", help="ask about each claim that is not approved")
    approve.add_argument("--by", required=True, metavar="NAME", help="who stands up for them")
    approve.add_argument("--source", metavar="TEXT", help="document, revision and section: 'IFU 3.2, p. 14'")
    approve.set_defaults(command=_device_approve)


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--history", metavar="FILE", help="history of the rig: show its trends, add the run to it")
    parser.add_argument("--against", metavar="RUN", help="say what changed since this run, a folder or the word last")


def _exists(text: str) -> bool:
    """Whether this is the path of something; an expression for `-k` may be longer than any path."""
    try:
        return Path(text).exists()
    except OSError:
        return False


def _run(arguments: argparse.Namespace) -> int:
    import pytest  # noqa: PLC0415  (only this command needs it)

    rest: list[str] = arguments.rest
    paths = [part for part in rest if not part.startswith("-") and _exists(part.split("::")[0])]
    ours = {"--run-dir": arguments.run_dir, "--history": arguments.history, "--against": arguments.against}
    options = [f"{name}={value}" for name, value in ours.items() if value is not None]
    return int(pytest.main([*([] if paths else [str(TESTCASES)]), "--rig", str(arguments.rig), *options, *rest]))


def _doctor(arguments: argparse.Namespace) -> int:
    from harness.doctor import report  # noqa: PLC0415

    return report(arguments.rig)


def _rig_check(arguments: argparse.Namespace) -> int:
    from harness.rig_check import check_rig  # noqa: PLC0415

    return check_rig(arguments.rig, changing=arguments.all)


def _rig_schema(arguments: argparse.Namespace) -> int:
    from harness.rig.loading import json_schemas  # noqa: PLC0415

    schemas = json_schemas()
    if arguments.write:
        arguments.write.mkdir(parents=True, exist_ok=True)
        for name, schema in schemas.items():
            (arguments.write / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
        return 0
    shown = schemas[arguments.name] if arguments.name else schemas
    print(json.dumps(shown, indent=2))  # noqa: T201
    return 0


def _device_init(arguments: argparse.Namespace) -> int:
    from harness.device_init.command import init_device  # noqa: PLC0415

    return init_device(arguments)


def _device_approve(arguments: argparse.Namespace) -> int:
    from harness.approving import approve_claims  # noqa: PLC0415

    return approve_claims(
        arguments.device, arguments.claims, ask_for_all=arguments.all, by=arguments.by, source=arguments.source
    )


def _console(arguments: argparse.Namespace) -> int:
    from harness.console import talk  # noqa: PLC0415

    return talk(arguments.rig)


def _challenge(arguments: argparse.Namespace) -> int:
    from harness.qualify.challenge import run_challenge  # noqa: PLC0415

    for path in arguments.testcases:
        if not path.exists():
            raise UsageError(f"there is no {path}", hint="give files or folders of testcases")
    return run_challenge(
        arguments.rig,
        testcases=arguments.testcases or [TESTCASES],
        claims=arguments.claim,
        quick=arguments.quick,
        honest=arguments.honest,
        run_dir=arguments.run_dir,
    )


def _replay(arguments: argparse.Namespace) -> int:
    from harness.fuzz.replay import replay_finding  # noqa: PLC0415
    from harness.rig.loading import load_rig  # noqa: PLC0415

    code, sentence = replay_finding(load_rig(arguments.rig).with_weaknesses(arguments.weakness), arguments.finding)
    print(sentence)  # noqa: T201
    return code


def _report(arguments: argparse.Namespace) -> int:
    from harness.report.summary import finish_report  # noqa: PLC0415

    if not (arguments.run / "journal.jsonl").is_file():
        raise UsageError(f"{arguments.run} holds no journal", hint="give the folder of a run, under reports/")
    remove_reserve(arguments.run)  # a killed run leaves it
    finish_report(
        arguments.run,
        html=not arguments.no_html,
        write=print,  # noqa: T201
        history=Path(arguments.history) if arguments.history else None,
        against=arguments.against,
    )
    return 0


def _changes(arguments: argparse.Namespace) -> int:
    from harness.report.changes import Kind, compare, read_side  # noqa: PLC0415
    from harness.report.changes_page import changes_lines, write_changes  # noqa: PLC0415
    from harness.report.summary import terminal  # noqa: PLC0415

    changes = compare(read_side(arguments.old), read_side(arguments.new))
    width, colour = terminal()
    for each in changes_lines(changes, width=width, colour=colour):
        print(each)  # noqa: T201
    if arguments.write:
        arguments.write.mkdir(parents=True, exist_ok=True)
        write_changes(changes, arguments.write)
    return EXIT_FAIL if changes.of(Kind.NEW_FAILURE) else 0


if __name__ == "__main__":
    sys.exit(main())
