"""`stepbridge deploy`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepbridge.cli.connection import Connection, DataDirOption, EndpointOption, find_emulator
from stepbridge.cli.errors import CommandError

if TYPE_CHECKING:
    from stepbridge.cloudformation.package import StackResult

_TEMPLATE_NAMES = ("template.yaml", "template.yml", "template.json")
DEFAULT_STACK = "stepbridge"


def deploy(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The template, or the folder it is in.")],
    stack_name: Annotated[str, typer.Option(metavar="NAME", help="Name of the stack.")] = DEFAULT_STACK,
    parameter: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A parameter of the template; may be given several times."),
    ] = None,
    endpoint: EndpointOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Deploy a SAM or CloudFormation template as it is.

    \b
    stepbridge deploy aws-resources
    stepbridge deploy aws-resources --stack-name second --parameter MQTTContainerNameInIoT=second-worker
    """
    parameters: dict[str, str] = {}
    for entry in parameter or []:
        key, equals, value = entry.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"'{entry}' is not KEY=VALUE", param_hint="--parameter")
        parameters[key] = value
    path = find_template(path)
    result = deploy_stack(find_emulator(endpoint, data_dir), path, stack_name, parameters)
    for name, value in result.outputs.items():
        print(f"{name} = {value}")


def deploy_stack(
    connection: Connection, path: Path, stack_name: str = DEFAULT_STACK, parameters: dict[str, str] | None = None
) -> "StackResult":
    """Deploy the template at `path`, showing each resource on standard error as it is created."""
    from stepbridge.cli.display import Display
    from stepbridge.cloudformation.package import DeployError, StackEvent
    from stepbridge.cloudformation.package import deploy as deploy_package

    display = Display(sys.stderr)

    def show(event: StackEvent) -> None:
        if not event.status.endswith("_IN_PROGRESS"):
            display.line(f"  {event}", style="red" if event.status.endswith("_FAILED") else None)

    try:
        result = deploy_package(
            find_template(path), stack_name, parameters or {}, connection.url, show, region=connection.region
        )
    except DeployError as error:
        raise CommandError(str(error)) from None
    if not result.changed:
        display.line(f"The stack {stack_name} is already what the template says.")
    return result


def find_template(path: Path) -> Path:
    """The template that `path` is, or that is in the folder `path`.  Raises CommandError if there is none."""
    if path.is_file():
        return path
    for name in _TEMPLATE_NAMES:
        if (path / name).is_file():
            return path / name
    if path.is_dir():
        raise CommandError(f"There is no {' or '.join(_TEMPLATE_NAMES)} in {path}: name the template itself.")
    raise CommandError(f"There is no template at {path}.")
