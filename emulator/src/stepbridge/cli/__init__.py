"""The `stepbridge` command: one file per command.

Commands other than `up` and `demo` talk to a running emulator over its AWS APIs, as any other client does.  Nothing
heavy is imported before a command needs it, so that `stepbridge --help` and a mistyped option answer at once.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; see :func:`stepbridge.cli.application.main`."""
    try:
        from stepbridge.cli.application import main as run

        run()
    except KeyboardInterrupt:  # while Python still reads what the command is made of
        sys.exit(130)
