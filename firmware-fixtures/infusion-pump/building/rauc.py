"""Builds the updater RAUC for the target: no D-Bus service, no network of its own, no making of bundles."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fixture_build.debian import Package, find
from fixture_build.tools import BuildError, progress, run

from building.programs import CFLAGS, LDFLAGS, TRIPLE, cache_key

SOURCES = (
    "bootchooser", "bundle", "checksum", "config_file", "context", "crypt", "dm", "hash_index", "install", "manifest",
    "mark", "mbr", "mount", "signature", "slot", "stats", "utils", "update_handler", "verity_hash", "main",
)  # fmt: skip
OFF = ("CREATE", "SERVICE", "NETWORK", "STREAMING", "JSON", "GPT", "EMMC_BOOT_SUPPORT")
WITHOUT_SERVICE = """#include <glib.h>
void set_last_error(const gchar *message);
void set_last_error(const gchar *message) { (void)message; }
"""
"""What the rest of RAUC wants of the D-Bus service that is left out."""


def build_rauc(packages: list[Package], *, store: Path, sysroot: Path, cache: Path, out: Path) -> None:
    """Build RAUC from Debian's source package into `out` (cached by its inputs)."""
    sources = find(packages, kind="source", prefix="rauc")
    headers = find(packages, kind="binary", prefix="libglib2.0") + find(packages, kind="binary", prefix="libssl")
    kept = cache / f"rauc-{cache_key(Path(__file__).read_text(), *sorted(p.sha256 for p in sources + headers))}"
    if not kept.exists():
        progress("building rauc (once)")
        scratch = Path(tempfile.mkdtemp(prefix="rauc-", dir=cache))
        descriptions = [p for p in sources if p.path.endswith(".dsc")]
        if len(descriptions) != 1:
            raise BuildError("the package lock does not name rauc's source package")
        run(["dpkg-source", "--no-check", "-x", store / descriptions[0].file_name, scratch / "rauc"])
        _compile(scratch / "rauc", sysroot=sysroot, version=descriptions[0].version.split("-")[0])
        shutil.copy(scratch / "rauc/rauc", kept.with_suffix(".new"))
        kept.with_suffix(".new").replace(kept)
        shutil.rmtree(scratch)
    shutil.copy(kept, out / "rauc")


def _compile(tree: Path, *, sysroot: Path, version: str) -> None:
    """One call of the compiler; configure would only find out what is known here."""
    (tree / "src/without_service.c").write_text(WITHOUT_SERVICE)
    libraries = [sysroot / "usr/lib" / TRIPLE, sysroot / "lib" / TRIPLE]
    texts = {
        "G_LOG_DOMAIN": "rauc", "STREAMING_USER": "nobody", "PACKAGE_NAME": "rauc", "PACKAGE_VERSION": version,
        "PACKAGE_STRING": f"rauc {version}", "VERSION": version, "PACKAGE_BUGREPORT": "-", "PACKAGE_URL": "-",
    }  # fmt: skip
    run([
        f"{TRIPLE}-gcc", *[flag for flag in CFLAGS if not flag.startswith(("-std", "-W"))], "-w", "-D_GNU_SOURCE",
        "-DNDEBUG", "-ffunction-sections", "-fdata-sections",
        *[f'-D{name}="{text}"' for name, text in texts.items()], *[f"-DENABLE_{name}=0" for name in OFF],
        "-DGLIB_VERSION_MAX_ALLOWED=G_ENCODE_VERSION(2,52)", "-DGLIB_VERSION_MIN_REQUIRED=G_ENCODE_VERSION(2,50)",
        "-I.", "-Iinclude", "-isystem", sysroot / "usr/include/glib-2.0",
        "-isystem", libraries[0] / "glib-2.0/include", "-isystem", sysroot / "usr/include/gio-unix-2.0",
        "-isystem", sysroot / "usr/include" / TRIPLE, "-isystem", sysroot / "usr/include",
        *[f"src/{name}.c" for name in (*SOURCES, "without_service")], "-o", "rauc", *LDFLAGS, "-Wl,--gc-sections",
        "-Wl,--as-needed", *[f"-L{folder}" for folder in libraries],
        "-Wl,-rpath-link," + ":".join(str(folder) for folder in libraries),
        "-lgio-2.0", "-lgobject-2.0", "-lglib-2.0", "-lssl", "-lcrypto",
    ], cwd=tree)  # fmt: skip
