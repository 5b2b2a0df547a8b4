"""The error that a user of the command line gets."""


class CommandError(Exception):
    """One sentence saying what is wrong and what to do."""


def reason(error: Exception) -> str:
    """Why something failed, without the error number and the path: the sentence around it names the path."""
    return str(getattr(error, "strerror", None) or error)
