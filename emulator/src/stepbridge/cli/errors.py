"""The error that a user of the command line gets."""


class CommandError(Exception):
    """One sentence saying what is wrong and what to do."""
