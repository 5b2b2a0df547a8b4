"""What execution environments are made of: plans, credentials, and the processes that start theirs."""

import base64
import secrets
import shutil
from collections.abc import Callable, Mapping

from stepbridge.api.errors import AwsError
from stepbridge.clock import Clock
from stepbridge.functions import node
from stepbridge.functions.aws_calls import function_session
from stepbridge.functions.code import CodeStore
from stepbridge.functions.environment import Environment, EnvironmentPlan
from stepbridge.functions.interpreters import find_interpreter
from stepbridge.functions.launcher import Launcher
from stepbridge.functions.logs import LogShipper
from stepbridge.functions.registry import Configuration
from stepbridge.iam.sessions import RoleSession
from stepbridge.settings import Settings
from stepbridge.trace import Trace

_RUNTIME_API_HOST = "127.0.0.1"  # whatever address the emulator listens on
_PATH = "/usr/local/bin:/usr/bin:/bin"


class EnvironmentBuilder:
    """Makes the execution environments of functions whose packages are in `code`; what they print goes to `logs`.

    `endpoint` gives the URL of the emulator's HTTP port, which functions get as AWS_ENDPOINT_URL.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        trace: Trace,
        endpoint: Callable[[], str],
        code: CodeStore,
        logs: LogShipper,
    ) -> None:
        self._folder = settings.data_dir / "functions"
        self._temporary = self._folder / "tmp"
        self._settings = settings
        self._clock = clock
        self._trace = trace
        self._endpoint = endpoint
        self._code = code
        self._logs = logs
        self._launchers: dict[str, Launcher] = {}  # by interpreter
        self._plans: dict[str, EnvironmentPlan] = {}  # by revision
        self._sessions: dict[str, RoleSession] = {}  # by access key
        self._told: set[str] = set()

    def start(self) -> None:
        """Take away what environments of an emulator that was killed have left."""
        shutil.rmtree(self._temporary, ignore_errors=True)

    def close(self) -> None:
        """End what starts processes, and with it every process."""
        for launcher in self._launchers.values():
            launcher.close()
        self._launchers.clear()

    def warm_up(self, runtime: str) -> None:
        """Prepare to start environments for this runtime."""
        self._launcher(runtime).warm_up()

    def session_of(self, access_key: str) -> RoleSession | None:
        """The function, in its role, whose environment was given `access_key`."""
        return self._sessions.get(access_key)

    def plan(self, configuration: Configuration) -> EnvironmentPlan:
        """The plan of environments for a version, on demand.  Raises AwsError where nothing runs it (any more)."""
        revision = configuration["RevisionId"] + configuration["Version"]
        plan = self._plans.get(revision)
        if plan is None:
            if len(self._plans) > 1000:
                self._plans.clear()
            plan = self._plans[revision] = self._new_plan(configuration, revision)
        return plan

    def _new_plan(self, configuration: Configuration, revision: str) -> EnvironmentPlan:
        logging = configuration["LoggingConfig"]
        code = self._code.unpacked(configuration["CodeSha256"])
        layers = [layer["CodeSha256"] for layer in configuration.get("Layers", [])]
        opt = self._code.merged(layers) if layers else None
        path = [str(code)]
        if opt is not None:
            path += [f"{opt}/python/lib/{configuration['Runtime']}/site-packages", f"{opt}/python"]
            self._tell_once(
                "layers",
                f"The layers of {configuration['FunctionName']} are at {opt} rather than at /opt: imports find them, "
                "files opened by their names in /opt are not there",
            )
        variables = {
            **configuration.get("Environment", {}).get("Variables", {}),
            # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
            "_HANDLER": configuration["Handler"],
            "AWS_DEFAULT_REGION": self._settings.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{configuration['Runtime']}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration["MemorySize"]),
            "AWS_LAMBDA_FUNCTION_NAME": configuration["FunctionName"],
            "AWS_LAMBDA_FUNCTION_VERSION": configuration["Version"],
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": logging["LogGroup"],
            "AWS_REGION": self._settings.region,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LAMBDA_TASK_ROOT": str(code),
            "PWD": str(code),
        }
        if logging["LogFormat"] == "JSON":
            variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
            variables["AWS_LAMBDA_LOG_LEVEL"] = logging["ApplicationLogLevel"]
        defaults = {"LANG": "en_US.UTF-8", "PATH": _PATH, "TZ": ":UTC", "AWS_ENDPOINT_URL": self._endpoint()}
        if opt is not None:
            defaults |= {"PATH": f"{_PATH}:{opt}/bin", "LD_LIBRARY_PATH": f"{code}:{code}/lib:{opt}/lib"}
            defaults["NODE_PATH"] = f"{opt}/nodejs/node_modules"
        return EnvironmentPlan(
            function=configuration["FunctionName"],
            version=configuration["Version"],
            arn=configuration["FunctionArn"],
            runtime=configuration["Runtime"],
            handler=configuration["Handler"],
            role=configuration["Role"],
            timeout=configuration["Timeout"],
            memory=configuration["MemorySize"],
            code=code,
            path=tuple(path),
            command=self._command(configuration["Runtime"]),
            log_group=logging["LogGroup"],
            revision=revision,
            variables={**defaults, **variables},
        )

    def create(
        self,
        plan: EnvironmentPlan,
        on_idle: Callable[[Environment], object],
        on_end: Callable[[Environment], object],
    ) -> Environment:
        """An environment, yet to be started: see :class:`~pool.EnvironmentPool`."""
        credentials = self._new_credentials(plan)
        access_key = credentials["AWS_ACCESS_KEY_ID"]

        def ended(environment: Environment) -> None:
            self._sessions.pop(access_key, None)
            on_end(environment)

        return Environment(
            plan,
            self._launcher(plan.runtime),
            self._clock,
            _RUNTIME_API_HOST,
            self._temporary,
            credentials,
            on_idle=on_idle,
            on_end=ended,
            write_log=self._write_log,
        )

    def _new_credentials(self, plan: EnvironmentPlan) -> Mapping[str, str]:
        """Credentials of the function's role, by which the emulator recognises who calls."""
        access_key = "ASIA" + base64.b32encode(secrets.token_bytes(10)).decode()
        self._sessions[access_key] = function_session(plan.role, plan.arn)
        return {
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "AWS_SESSION_TOKEN": secrets.token_urlsafe(96),
        }

    def _command(self, runtime: str) -> tuple[str, ...]:
        """What runs handlers for `runtime`; nothing for Python, whose fork server does."""
        if not node.RUNTIME.fullmatch(runtime):
            return ()
        found = node.find_node()
        if isinstance(found, str):  # it was there when the function was created
            raise AwsError("ServiceException", f"The runtime {runtime} cannot be run: {found}.", status=500)
        if not found.runs(runtime):
            self._tell_once(
                "other-runtime-version",
                f"Functions for {runtime} run on Node.js {found.version} ({found.command[0]})",
                runtime=runtime,
                version=found.version,
            )
        return found.command

    def _launcher(self, runtime: str) -> Launcher:
        interpreter = find_interpreter(runtime)
        if runtime.startswith("python") and not interpreter.runs(runtime):
            self._tell_once(
                "other-runtime-version",
                f"Functions for {runtime} run on Python {interpreter.version} ({interpreter.executable}): there is no "
                f"{runtime} with awslambdaric and boto3 on the PATH",
                runtime=runtime,
                version=interpreter.version,
            )
        launcher = self._launchers.get(interpreter.executable)
        if launcher is None:
            launcher = self._launchers[interpreter.executable] = Launcher(
                interpreter, self._folder / "runtimes", self._tell_of_shared_tmp
            )
        return launcher

    def _tell_of_shared_tmp(self) -> None:
        self._tell_once(
            "shared-tmp",
            "The system gives functions no /tmp of their own, which takes mount namespaces: they share this machine's, "
            "and find a folder of their own in TMPDIR",
        )

    def _tell_once(self, event: str, text: str, **fields: object) -> None:
        if text not in self._told:
            self._told.add(text)
            self._trace.emit("lambda", event, text, **fields)

    def _write_log(self, environment: Environment, line: str, by_handler: bool) -> None:
        plan = environment.plan
        self._logs.write(plan.log_group, environment.log_stream, function_session(plan.role, plan.arn), line)
        if by_handler and line:
            self._trace.emit("lambda", "log", f"{plan.function}: {line}", function=plan.function)
