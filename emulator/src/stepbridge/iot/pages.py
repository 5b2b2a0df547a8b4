"""The tokens of listings: where the next page begins, in a form that nobody is tempted to write by hand."""

import base64
import json


def write_token(last: str | int) -> str:
    """The token of the page after the entry `last`."""
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode()


def read_token(token: str) -> str | int:
    """The entry after which the page begins.  Raises ValueError if the token is not one that was given."""
    try:
        last = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except ValueError:  # in base64, in UTF-8 or in JSON
        last = None
    if not isinstance(last, str | int) or write_token(last) != token:
        raise ValueError(f"{token} is no token of a page")
    return last
