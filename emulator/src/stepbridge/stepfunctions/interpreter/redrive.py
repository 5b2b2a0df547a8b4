"""An execution that was unsuccessful goes on where it stopped.

What was done stays done.  A state that was not runs once more with the input that it had, its retries counted anew,
without being entered again: its events follow the one that entered it.  Of a Parallel and an inline Map only the
branches that failed or were cut off run again, of a distributed Map only such children; all of them do if the state
failed by its own result (then nothing of them is kept) or by data that were too large.

https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

from dataclasses import replace

from stepbridge.stepfunctions.interpreter.messages import RedriveMapRun
from stepbridge.stepfunctions.interpreter.run import Run
from stepbridge.stepfunctions.interpreter.state import Branch, OnBranches, OnMapRun


def begin(run: Run) -> None:
    """RedriveExecution: take up the branches that the unsuccessful execution left."""
    state, now = run.state, run.environment.now
    state.ended = False
    state.context = replace(state.context, redrive_count=state.context.redrive_count + 1, redrive_time=now)
    run.record(
        "ExecutionRedriven",
        state.last_event,
        "executionRedrivenEventDetails",
        redriveCount=state.context.redrive_count,
    )
    run.start_deadline()
    for branch in state.branches.values():
        _take_up(run, branch)


def _take_up(run: Run, branch: Branch) -> None:
    branch.retries = []
    branch.previous = branch.entered or branch.before
    match branch.waiting:
        case OnBranches():
            pass  # goes on when its branches do
        case OnMapRun(map_run_id=number, map_run_arn=arn, before=before) as waiting:
            waiting.redrives += 1
            branch.previous = before
            run.note(
                branch, "MapRunRedriven", "mapRunRedrivenEventDetails", mapRunArn=arn, redriveCount=waiting.redrives
            )
            run.commands.append(RedriveMapRun(number))
        case _:
            run.agenda.append(branch)
