"""The commands and their help, and how errors end the process."""

import os
import sys

import typer

from stepbridge.cli.broker_certificates import broker_certificates
from stepbridge.cli.demo import demo
from stepbridge.cli.deploy import deploy
from stepbridge.cli.device import create as create_device
from stepbridge.cli.errors import CommandError, reason
from stepbridge.cli.policy import check_policies, explain_policy
from stepbridge.cli.rule import check_rule
from stepbridge.cli.run import run
from stepbridge.cli.up import up
from stepbridge.cli.version import version

_HELP = """
Run the loop of AWS Step Functions and AWS IoT Core on this machine, offline: an execution waits on a task token, a
Lambda function publishes the job over MQTT, an on-prem worker answers, a topic rule and a second function complete
the task.

\b
In one terminal:
  stepbridge up

\b
In a second, beside aws-resources/ and on-prem-worker/:
  stepbridge deploy aws-resources
  stepbridge device create mqtt-container-client --out certificates
  (set -a; . certificates/worker.env; onprem-worker)

\b
In a third, once the worker says "Waiting for jobs":
  stepbridge run --input '{"a": 15, "b": 42}'

\b
Any AWS client works against it (use any credentials and the region it prints):
  AWS_ENDPOINT_URL=http://127.0.0.1:4566 aws stepfunctions list-executions ...

Everything in one go, leaving nothing behind: stepbridge demo
"""

app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
device = typer.Typer(help="Devices: what a worker needs to connect.", no_args_is_help=True, rich_markup_mode=None)
policy = typer.Typer(help="AWS IoT policies: try and explain them.", no_args_is_help=True, rich_markup_mode=None)
rule = typer.Typer(help="Topic rules: try their statements.", no_args_is_help=True, rich_markup_mode=None)

app.command()(up)
app.command()(deploy)
device.command("create")(create_device)
app.add_typer(device, name="device")
app.command()(run)
policy.command("test")(check_policies)
policy.command("explain")(explain_policy)
app.add_typer(policy, name="policy")
rule.command("test")(check_rule)
app.add_typer(rule, name="rule")
app.command()(broker_certificates)
app.command()(demo)
app.command()(version)


def main() -> None:
    """Run the command line.  Exit status: 0, 1 when it could not be done, 2 for a mistake in the command itself."""
    try:
        try:
            app(prog_name="stepbridge")
        finally:
            sys.stdout.flush()
    except CommandError as error:
        print(f"stepbridge: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:  # not the output
            raise
        # Python writes what is left once more at its end: https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # whoever read our output has had enough
            print(f"stepbridge: The output cannot be written: {reason(error)}.", file=sys.stderr)
        sys.exit(1)
