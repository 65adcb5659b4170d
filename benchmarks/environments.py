"""Separate environments for the peers, which need older packages.

python -m benchmarks.environments
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WHERE = HERE.parent / "var" / "benchmarks"
ENVIRONMENTS = ("peers", "recbole", "grouprec")


def python_of(environment: str, where: Path = WHERE) -> Path:
    """The interpreter of an environment; "augrec" is the one that runs this."""
    return (
        Path(sys.executable) if environment == "augrec" else where / f"env-{environment}/bin/python"
    )


def requirements(environment: str) -> list[str]:
    """The lines of its requirements-*.txt."""
    return (HERE / f"requirements-{environment}.txt").read_text().splitlines()


def build(where: Path = WHERE) -> None:
    """Make what is missing; each from its pinned requirements-*.txt."""
    links = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()  # uv does not read pip's settings
    extra = {"UV_FIND_LINKS": links} if links else {}
    uv = str(Path(sys.executable).with_name("uv"))
    for name in ENVIRONMENTS:
        python = python_of(name, where)
        made = python.parent.parent / "made"
        requirements = HERE / f"requirements-{name}.txt"
        if made.exists() and made.read_text() == requirements.read_text():
            continue
        folder = str(python.parent.parent)
        subprocess.run(
            [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, folder],
            check=True,
        )
        command = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        subprocess.run([*command, "-r", str(requirements)], check=True, env=os.environ | extra)
        made.write_text(requirements.read_text())
        print(f"built {name}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--where", type=Path, default=WHERE, help="folder that holds the environments"
    )
    build(parser.parse_args().where)


if __name__ == "__main__":
    main()
