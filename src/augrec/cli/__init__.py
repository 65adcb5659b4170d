"""The `augrec` command."""

from augrec.cli.app import app

__all__ = ["app"]
