"""`python -m stepbridge` is the `stepbridge` command."""

from stepbridge.cli import main

main()
