"""The `stepbridge` command: one file per command.

Commands other than `up` and `demo` talk to a running emulator over its AWS APIs, as any other client does.  Nothing
heavy is imported before a command needs it, so that `stepbridge --help` and a mistyped option answer at once.
"""

from stepbridge.cli.application import main

__all__ = ["main"]
