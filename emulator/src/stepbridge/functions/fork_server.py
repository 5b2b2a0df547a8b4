"""The process that execution environments are forked from.

It runs in the interpreter of the functions, not in the emulator, so it uses nothing but the standard library: it
imports once what every handler needs (awslambdaric, boto3), then forks one child per environment.  A child starts in
milliseconds instead of half a second and shares those modules' memory.

It is told what to do over a socket, in lines of JSON, each with one file descriptor, the one that takes the child's
output:

    in    {"id", "environment", "working_directory", "path", "command", "handler", "data_limit", "temporary"}
    out   {"own_tmp"}                            first of all: whether children get a /tmp of their own
          {"id", "process"}                      the child runs
          {"process", "status"}                  it ended: exit status, or minus the signal that killed it

When the socket closes, the emulator is gone: every child and whatever it started is killed.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any, NoReturn

# What Lambda's Python runtimes bring along.  Whatever else is installed beside stepbridge must not be importable in
# a handler: the import would fail on AWS.  https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html
RUNTIME_PACKAGES = (
    "awslambdaric",
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "runtime_client",
    "s3transfer",
    "simplejson",
    "six",
    "snapshot_restore_py",
    "urllib3",
)

_TMP = "/tmp"  # noqa: S108 - where Lambda has it
_PR_SET_PDEATHSIG = 1
# <sched.h> and <sys/mount.h> of Linux
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
# Flags that a remount must repeat, by what statvfs(3) calls them.
_MS_KEPT = {os.ST_NOSUID: 0x2, os.ST_NODEV: 0x4, os.ST_NOEXEC: 0x8, os.ST_NOATIME: 0x400, os.ST_RELATIME: 0x200000}


class ForkServer:
    """Serves one socket until it closes."""

    def __init__(self, channel: socket.socket, *, own_tmp: bool) -> None:
        self.channel = channel
        self.send(own_tmp=own_tmp)
        self.selector = selectors.DefaultSelector()
        self.selector.register(channel, selectors.EVENT_READ)
        self.buffer = b""
        self.descriptors: list[int] = []
        self.children: dict[int, int] = {}  # process id -> the descriptor that becomes readable when it ends

    def serve(self) -> dict[str, Any]:
        """Return in each child, with its request; in the parent, exit when the socket closes."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is not self.channel:
                    self.report_exit(key.data)
                    continue
                data, descriptors = self.receive()
                self.descriptors += descriptors
                if not data:
                    self.kill_all()
                *lines, self.buffer = (self.buffer + data).split(b"\n")
                for line in lines:
                    request = json.loads(line)
                    if self.fork(request["id"], self.descriptors.pop(0)):
                        return dict(request)

    def receive(self) -> tuple[bytes, list[int]]:
        try:
            data, descriptors, _, _ = socket.recv_fds(self.channel, 65536, 16)
        except OSError:
            return b"", []
        return data, descriptors

    def fork(self, request_id: int, output: int) -> bool:
        """True in the child."""
        parent = os.getpid()
        ended, alive = os.pipe()
        process = os.fork()
        if process == 0:
            os.setsid()
            give_way()
            die_with_parent(parent)
            os.dup2(output, 1)
            os.dup2(output, 2)
            self.selector.close()
            self.channel.detach()
            os.dup2(alive, 3)
            os.closerange(4, 4096)
            return True
        os.close(output)
        os.close(alive)
        if sys.platform == "linux":  # exact, where the pipe waits for forks of the child too
            os.close(ended)
            ended = os.pidfd_open(process)
        self.children[process] = ended
        self.selector.register(ended, selectors.EVENT_READ, process)
        self.send(id=request_id, process=process)
        return False

    def report_exit(self, process: int) -> None:
        ended = self.children.pop(process)
        self.selector.unregister(ended)
        os.close(ended)
        _, status = os.waitpid(process, 0)
        self.send(process=process, status=os.waitstatus_to_exitcode(status))

    def send(self, **message: int) -> None:
        try:
            self.channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.kill_all()

    def kill_all(self) -> NoReturn:
        for process in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        os._exit(0)


def give_way() -> None:
    """Let this process, when there is work for it, not push the one aside that gave it the work: sched(7).

    The emulator has others to serve before it can wait for what this one answers.
    """
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def give_own_tmp(private: str, needed: Iterable[str], written: Iterable[str]) -> bool:
    """Let /tmp be the folder `private` to this process and those that it starts; False where the kernel refuses.

    So it is on Lambda, and a handler that clears /tmp must not clear the user's.  Where something that is `needed` is
    itself in the real /tmp, it stays in its place, to be read, and what is `written` to be written.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNS) != 0:  # without the right to, it takes a user namespace too: user_namespaces(7)
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
            return False
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)

    def mount(source: str | None, target: str, flags: int) -> None:
        if libc.mount(source and source.encode(), target.encode(), None, flags, None) != 0:
            raise OSError(ctypes.get_errno(), f"mount of {source} on {target}")

    def in_private(path: str) -> str:
        return private + path.removeprefix(_TMP)

    try:
        mount(None, "/", _MS_REC | _MS_PRIVATE)
        for kept in _parts_of_tmp([*needed, *written]):
            os.makedirs(in_private(kept), exist_ok=True)
            mount(kept, in_private(kept), _MS_BIND | _MS_REC)
            flags = sum(flag for name, flag in _MS_KEPT.items() if os.statvfs(kept).f_flag & name)
            mount(None, in_private(kept), _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)
        for path in written:
            if path.startswith(f"{_TMP}/"):
                mount(path, in_private(path), _MS_BIND)
        mount(private, _TMP, _MS_BIND | _MS_REC)
    except OSError:
        return False
    return True


def _parts_of_tmp(paths: Iterable[str]) -> set[str]:
    """The folders right in /tmp that hold `paths`."""
    real = {form for path in paths for form in (os.path.abspath(path), os.path.realpath(path))}
    parts = {"/".join(path.split("/", 3)[:3]) for path in real if path.startswith(f"{_TMP}/")}
    return {part for part in parts if os.path.isdir(part)}


def can_give_own_tmp(folder: str) -> bool:
    """Whether children can get a /tmp of their own, tried in one with `folder` for it."""
    process = os.fork()
    if process == 0:
        given = False
        try:
            given = give_own_tmp(folder, (), ())
        finally:
            os._exit(0 if given else 1)
    return os.waitpid(process, 0)[1] == 0


def settle(request: dict[str, Any], packages: str, parent: int) -> None:
    """Give this process its /tmp."""
    linked = [os.path.join(packages, name) for name in os.listdir(packages)]
    code = [request["working_directory"], *request["path"]]
    bytecode = os.path.join(os.path.dirname(packages), "bytecode")
    if code[0].startswith(f"{_TMP}/"):  # where nothing can be written beside it
        os.makedirs(bytecode, exist_ok=True)
        sys.pycache_prefix = bytecode
    needed = [sys.prefix, sys.base_prefix, packages, *linked, *code, *request["command"]]
    if give_own_tmp(request["temporary"], needed, [bytecode] if sys.pycache_prefix else []):
        variables = request["environment"]
        if variables["HOME"] == request["temporary"]:
            variables["HOME"] = _TMP
        if variables["TMPDIR"] == request["temporary"]:
            del variables["TMPDIR"]
    die_with_parent(parent)  # again, as a new user namespace forgets it: prctl(2)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies, even if that is killed itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def run_command(request: dict[str, Any]) -> NoReturn:
    """Turn this process into another program, the runtime of another language, that runs the handler."""
    resource.setrlimit(resource.RLIMIT_DATA, (request["data_limit"], request["data_limit"]))
    os.chdir(request["working_directory"])
    command = [*request["command"], request["handler"]]
    os.execve(command[0], command, request["environment"])  # noqa: S606 - no shell is wanted


def become_environment(request: dict[str, Any], preloaded: set[str]) -> None:
    """Turn this process into the execution environment that `request` describes, but for the handler."""
    resource.setrlimit(resource.RLIMIT_DATA, (request["data_limit"], request["data_limit"]))
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["working_directory"])
    sys.path[:0] = request["path"]
    # A package that the function brings itself must win over the one imported here, as it does on AWS.
    brought = {name.partition(".")[0] for root in request["path"] if os.path.isdir(root) for name in os.listdir(root)}
    shadowed = brought & preloaded
    if shadowed:
        for name in list(sys.modules):
            top = name.partition(".")[0]
            if top in shadowed or top in RUNTIME_PACKAGES:
                del sys.modules[name]


def main() -> None:
    """Command line: the socket's descriptor and the folder that holds the runtime's packages."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    sys.path.insert(0, sys.argv[2])
    # awslambdaric itself reads the function's environment when it is imported, so only what it needs is.
    for module in ("concurrent.futures.thread", "decimal", "http.client", "logging", "simplejson", "traceback"):
        importlib.import_module(module)
    always = set(sys.modules)
    for module in ("boto3.session", "botocore.client", "botocore.httpsession"):
        importlib.import_module(module)
    preloaded = {name.partition(".")[0] for name in set(sys.modules) - always}
    gc.collect()
    gc.freeze()

    parent, own_tmp = os.getpid(), can_give_own_tmp(sys.argv[2])
    request = ForkServer(channel, own_tmp=own_tmp).serve()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if own_tmp:
        settle(request, sys.argv[2], parent)
    if request["command"]:
        run_command(request)
    become_environment(request, preloaded)
    from awslambdaric.__main__ import main as run

    run(["bootstrap", request["handler"]])


if __name__ == "__main__":
    main()
