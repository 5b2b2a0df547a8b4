"""The recordings of the real service, replayed through the reducer: every event as AWS wrote it."""

import pytest
from tests.unit.stepfunctions import replay

# Recordings that differ for a reason which is not the reducer's.
_NOT_COMPARABLE = {
    "test_activity_task_on_deleted": "the activity is deleted before; see test_tasks",
    "test_math_random-": "random numbers",
    "test_s3_put_object_num": "the input's names are replaced by plain words",
    "test_s3_put_object_str": "the input's names are replaced by plain words",
    "DYNAMODB_PUT_DELETE_ITEM": "the input's names are replaced by plain words",
    "retry_extended_input": "recorded before the context object had RedriveCount",
    "distributed_reentrant_lambda": "the result of the map run is not in the recording",
}
# Since November 2024 MapStateExited of a distributed Map names MapRunStarted as its previous event, before that it
# named MapRunSucceeded.
_OLDER_MAP_RUNS = (
    "csv_headers_decl",
    "csv_first_row_extra_fields",
    "csv_max_items",
    "config_distributed_item_selector",
    "legacy_config_distributed_parameters",
    "map_state_result_writer",
    "tolerated_failure",
)

_RECORDINGS = [
    recording
    for recording in replay.recordings()
    if not any(part in recording.name for part in (*_NOT_COMPARABLE, *_OLDER_MAP_RUNS))
]


@pytest.mark.parametrize("recording", _RECORDINGS, ids=lambda recording: recording.name)
def test_the_history_is_as_recorded(recording: replay.Recording) -> None:
    assert replay.differences(recording, replay.replay(recording)) == []


def test_there_are_recordings() -> None:
    assert len(_RECORDINGS) > 200


@pytest.mark.parametrize(
    "recording",
    [recording for recording in replay.recordings() if any(part in recording.name for part in _OLDER_MAP_RUNS)],
    ids=lambda recording: recording.name,
)
def test_older_map_runs_differ_in_one_previous_event_only(recording: replay.Recording) -> None:
    found = replay.differences(recording, replay.replay(recording))
    assert len(found) <= 1
    assert all("MapStateExited" in difference for difference in found)
