"""The names that moto makes up for a request are the same when it is carried out again."""

import threading

from moto.moto_api._internal import mock_random

from stepbridge.api.http import HttpRequest
from stepbridge.api.moto_journal import KeptRequest, give_each_request_its_own_numbers, numbers_of


def test_what_other_threads_ask_of_moto_meanwhile_changes_nothing() -> None:
    give_each_request_its_own_numbers()
    kept = KeptRequest(7, HttpRequest("POST", "/", "", {}, b""))

    def names(between: bool) -> list[str]:
        with numbers_of(kept):
            first = str(mock_random.uuid4())
            if between:
                other = threading.Thread(target=mock_random.uuid4)
                other.start()
                other.join()
            return [first, str(mock_random.uuid4()), mock_random.get_random_hex(12)]

    assert names(between=True) == names(between=False)
    assert str(mock_random.uuid4()) != str(mock_random.uuid4())
