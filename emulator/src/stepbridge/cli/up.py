"""`stepbridge up`."""

import asyncio
import contextlib
import fcntl
import gc
import json
import os
import re
import resource
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepbridge.cli.connection import DEFAULT_DATA_DIR, ENDPOINTS_FILE, Connection
from stepbridge.cli.deploy import find_template
from stepbridge.cli.errors import CommandError, reason
from stepbridge.cli.live import shown_live
from stepbridge.clock import SystemClock
from stepbridge.settings import Settings

if TYPE_CHECKING:
    from stepbridge.cli.display import Display
    from stepbridge.emulator import Emulator
    from stepbridge.stepfunctions.local import LocalOptions

_DEFAULTS = Settings(DEFAULT_DATA_DIR)
_SAME_SIGNAL_SECONDS = 1.0
# China's, GovCloud's and the isolated regions are partitions of their own, with other ARNs.
_REGION = r"(?!cn-|us-gov-|us-iso|eu-iso)[a-z]{2}(-[a-z]+)+-\d"
_ACCOUNT = r"\d{12}"
_HOSTNAME = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_HTTP_URL = r"https?://[^/?#\s]+/?"
_BROKER = r"embedded|mosquitto|mqtts://[^/?#\s]+/?"
_MANY = 65_536  # open files


class _Enforcement(Enum):
    ON = "on"
    OFF = "off"


def up(
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="HTTP port of the AWS APIs; 0 is any.")
    ] = (_DEFAULTS.http_port),
    mqtt_port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="MQTT port for devices; 0 is any.")
    ] = (_DEFAULTS.mqtt_port),
    port_443: Annotated[
        bool, typer.Option("--port-443", help="MQTT on port 443 too, which AWS's SDKs dial unless told otherwise.")
    ] = False,
    data_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where everything is kept.")] = DEFAULT_DATA_DIR,
    memory: Annotated[bool, typer.Option("--memory", help="Keep nothing: all is forgotten at the end.")] = False,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen on.  Anything but loopback opens it to others.")
    ] = (_DEFAULTS.host),
    mqtt_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address that devices come in by.  Default: that of --host.")
    ] = None,
    hostname: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name of this machine that devices use, beside localhost; may be given several times.  The first is "
            "the one that they are told.",
        ),
    ] = None,
    step_functions_endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="STEP_FUNCTIONS_ENDPOINT",
            help="Pass Step Functions' calls on to what runs there (AWS Step Functions Local, say).",
        ),
    ] = None,
    step_functions_local: Annotated[
        bool,
        typer.Option(
            "--step-functions-local",
            envvar="STEPBRIDGE_STEP_FUNCTIONS_LOCAL",
            help="Stand in for AWS Step Functions Local: on its port 8083 too, for any credentials and region, with "
            "its environment variables LAMBDA_ENDPOINT, SQS_ENDPOINT, …, WAIT_TIME_SCALE and SFN_MOCK_CONFIG.",
        ),
    ] = False,
    region: Annotated[
        str,
        typer.Option(
            metavar="REGION", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="The region that the emulator is."
        ),
    ] = _DEFAULTS.region,
    account: Annotated[
        str,
        typer.Option(metavar="ACCOUNT", envvar="AWS_ACCOUNT_ID", help="The account that the emulator is: 12 digits."),
    ] = _DEFAULTS.account,
    iam: Annotated[
        _Enforcement, typer.Option(help="Whether roles may only do what their policies allow, as on AWS.")
    ] = _Enforcement.ON,
    broker: Annotated[
        str,
        typer.Option(
            metavar="BROKER",
            envvar="STEPBRIDGE_BROKER",
            help="What keeps MQTT sessions and messages: embedded; mosquitto, which is started; or mqtts://host:port, "
            "a Mosquitto that runs there.",
        ),
    ] = _DEFAULTS.broker,
    broker_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="STEPBRIDGE_BROKER_CA", help="The CA that has signed the certificate of mqtts://…"
        ),
    ] = None,
    broker_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="STEPBRIDGE_BROKER_CERT", help="Our certificate for mqtts://…"),
    ] = None,
    broker_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="STEPBRIDGE_BROKER_KEY", help="The key of --broker-cert."),
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Deploy this template, or the one in this folder, and again whenever it or the code that it refers to "
            "changes.",
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write the endpoints here as JSON once all of them are ready."),
    ] = None,
) -> None:
    """Start the emulator and stay: shows the endpoints, then a line for each hop.  Stop it with Ctrl-C.

    A port that is taken is replaced by a free one.  What was there when it stopped, or was killed, is there again at
    the next start on the same data directory.

    \b
    stepbridge up
    stepbridge up --memory --port 0 --mqtt-port 0 --ready-file endpoints.json
    stepbridge up --watch aws-resources
    stepbridge up --broker mosquitto
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_exclusive(data_dir))
        kept_in = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stepbridge-"))) if memory else data_dir
        local = _local_options() if step_functions_local else None
        settings = Settings(
            data_dir=kept_in.absolute(),
            host=_address("--host", host),
            http_port=port,
            mqtt_port=mqtt_port,
            port_443=port_443,
            memory=memory,
            region=_checked("--region", region, _REGION, "a region of the partition aws, such as eu-west-1"),
            account=_checked("--account", account, _ACCOUNT, "an account's 12 digits"),
            iam=iam is _Enforcement.ON,
            mqtt_host=mqtt_host and _address("--mqtt-host", mqtt_host),
            hostnames=tuple(_checked("--hostname", name, _HOSTNAME, "a host's name") for name in hostname or ()),
            # To Step Functions Local it is where tasks start executions, and that is here.
            step_functions_endpoint=(
                None if local else _http_url("--step-functions-endpoint", step_functions_endpoint)
            ),
            step_functions_local=local,
            broker=_checked("--broker", broker, _BROKER, "embedded, mosquitto or mqtts://host:port"),
            broker_ca=broker_ca,
            broker_cert=broker_cert,
            broker_key=broker_key,
        )
        ready_files = [data_dir / ENDPOINTS_FILE, *([_writable(ready_file)] if ready_file else [])]
        template = find_template(watch) if watch else None
        _allow_many_connections()
        _leave_the_users_aws_alone()
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, ready_files, template))


def _checked(option: str, value: str, pattern: str, wanted: str) -> str:
    if not re.fullmatch(pattern, value):
        raise typer.BadParameter(f"'{value}' is not {wanted}.", param_hint=option)
    return value


def _local_options() -> "LocalOptions":
    from stepbridge.stepfunctions.local import LocalOptions

    try:
        return LocalOptions.from_environment(os.environ)
    except ValueError as error:
        raise CommandError(f"The emulator cannot start: {error}.") from None


def _http_url(option: str, value: str | None) -> str | None:
    """`value`, which an empty environment variable leaves out."""
    return _checked(option, value, _HTTP_URL, "a URL such as http://127.0.0.1:8083") if value else None


def _address(option: str, host: str) -> str:
    """`host`, if this machine can listen on it."""
    from stepbridge.api.server import listen

    try:
        listen(host, 0)[0].close()
    except (OSError, UnicodeError) as error:
        message = f"'{host}' is no address that this machine can listen on: {reason(error)}."
        raise typer.BadParameter(message, param_hint=option) from None
    return host


def _writable(file: Path) -> Path:
    """`file`, if it can be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"The ready file {file} cannot be written: {reason(error)}.") from None
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise CommandError(f"The ready file {file} cannot be written: name a file in a folder of yours.")
    return file


def _leave_the_users_aws_alone() -> None:
    """Profiles and credentials of this machine are not ours to read, and what is wrong in them is not to stop us.

    moto makes boto3 sessions, which would.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)


async def _serve(settings: Settings, ready_files: list[Path], watched: Path | None) -> None:
    from stepbridge.cli.display import Display
    from stepbridge.emulator import Emulator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        # timeout(1), shells and supervisors signal a process and then its group: that is one signal, come twice.
        # One that comes later ends the process at once.
        clock = SystemClock()
        for number in (signal.SIGINT, signal.SIGTERM):
            clock.call_at(clock.now() + _SAME_SIGNAL_SECONDS, partial(loop.remove_signal_handler, number))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    emulator = Emulator(settings)
    display = Display()
    try:
        try:
            await emulator.start()
        except sqlite3.Error as error:
            raise CommandError(
                f"The database in {settings.data_dir} cannot be used ({error}): remove it, or use another --data-dir."
            ) from error
        except (OSError, RuntimeError) as error:
            raise CommandError(f"The emulator cannot start: {str(error).removesuffix('.')}.") from error
        gc.freeze()  # what is here now is here to stay: looking through it would hold up everything each time
        _announce(display, settings, emulator)
        with shown_live(display, emulator.trace, emulator.clock):
            for file in ready_files:
                _write_atomically(file, emulator.endpoints)
            async with _watching(watched, emulator, display):
                await stop.wait()
        display.line("Stopping")
    finally:
        for file in ready_files:
            file.unlink(missing_ok=True)
        await emulator.stop()


def _allow_many_connections() -> None:
    """Each device is an open file; the usual soft limit of 1024 is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if hard == resource.RLIM_INFINITY else min(_MANY, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has no hard limit, and yet one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.asynccontextmanager
async def _watching(template: Path | None, emulator: "Emulator", display: "Display") -> AsyncIterator[None]:
    """Deploy `template` as it changes, if there is one."""
    if template is None:
        yield
        return
    from stepbridge.cli.watch import deploy_on_change

    connection = Connection.from_endpoints(emulator.url, emulator.endpoints)
    watcher = asyncio.create_task(deploy_on_change(template, connection, emulator.clock, display))
    try:
        yield
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher


@contextlib.contextmanager
def _exclusive(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: the kernel lets it go when the process ends, however it ends."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CommandError(f"The data directory {data_dir} cannot be used: {reason(error)}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise CommandError(
            f"An emulator runs on the data directory {data_dir} already: use that one, or another --data-dir."
        ) from None
    try:
        yield
    finally:
        os.close(lock)


def _announce(display: "Display", settings: Settings, emulator: "Emulator") -> None:
    from stepbridge import __version__

    endpoints = emulator.endpoints
    refused = [hop.text for hop in emulator.trace.recent if hop.event == "port-refused"]
    also = " and 443" if settings.port_443 and not refused else ""
    display.line(f"stepbridge {__version__} is up: account {endpoints['account']}, region {endpoints['region']}")
    display.line(f"  AWS APIs   {endpoints['http']}")
    if (local := endpoints.get("step_functions_local")) is not None:
        display.line(f"  Step Functions Local   {local}")
    display.line(
        f"  MQTT       {endpoints['mqtt_host']}:{endpoints['mqtt_port']}{also}  "
        f"(root certificate: {endpoints['root_ca']})"
    )
    display.line(f"  Data       {'in memory' if settings.memory else settings.data_dir}")
    if local is not None and not local.endswith(":8083"):
        display.line(f"Port 8083 is taken, so this uses {local.rpartition(':')[2]}.", style="yellow")
    for wanted, used in (
        (settings.http_port, int(str(endpoints["http"]).rpartition(":")[2])),
        (settings.mqtt_port, endpoints["mqtt_port"]),
    ):
        if wanted not in (0, used):
            display.line(f"Port {wanted} is taken, so this uses {used}.", style="yellow")
    for text in refused:
        display.line(f"{text}.", style="yellow")
    display.line(
        f"\nexport AWS_ENDPOINT_URL={endpoints['http']} AWS_DEFAULT_REGION={endpoints['region']} "
        "AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any"
    )
    display.line("Next: stepbridge deploy aws-resources    Stop: Ctrl-C\n")


def _write_atomically(file: Path, endpoints: Mapping[str, object]) -> None:
    """Write the endpoints so that a reader sees all of them or no file."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(dict(endpoints), indent=2) + "\n")
        partial.replace(file)
    except OSError as error:
        raise CommandError(f"The ready file {file} cannot be written: {reason(error)}.") from None
