#!/usr/bin/env bash
# make compose-test: has a Docker engine and base images, and runs the tests of docker-compose.yml on them.
# As root on Debian it installs and starts an engine where none runs, and stops the one that it started.
# Exit status 77: there is no engine to be had here, and the last line says why.
set -euo pipefail
cd "$(dirname "$0")/../.."
log=$(mktemp -d)/dockerd.log
started=

say() { echo "compose-test: $*"; }
without() { # sorry, no engine
    say "NOT RUN: $*" >&2
    exit 77
}
running() { timeout 20 docker info >/dev/null 2>&1; }
compose() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

start_engine() { # the options of one try
    say "starting dockerd $*"
    setsid dockerd "$@" >"$log" 2>&1 &
    started=$!
    for _ in $(seq 60); do
        running && return
        kill -0 "$started" 2>/dev/null || break
        sleep 0.5
    done
    stop_engine
    return 1
}
stop_engine() {
    [ -z "$started" ] && return
    kill "$started" 2>/dev/null || true
    for _ in $(seq 40); do kill -0 "$started" 2>/dev/null || break; sleep 0.25; done
    started=
}
trap stop_engine EXIT

missing=()
command -v docker >/dev/null && { running || command -v dockerd >/dev/null; } || missing+=(docker.io)
compose || missing+=(docker-compose)
if [ "${COMPOSE_TEST_IMAGES:-stand-ins}" = stand-ins ]; then
    command -v debootstrap >/dev/null || missing+=(debootstrap)
fi
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        without "${missing[*]} must be installed, which this does only as root on Debian"
    # Of docker.io's recommendations only these are needed; docker-cli is part of it up to Debian 12.
    case " ${missing[*]} " in *" docker.io "*) missing+=(iptables) ;; esac
    apt-cache show docker-cli >/dev/null 2>&1 && missing+=(docker-cli)
    say "installing ${missing[*]}"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 || { tail -n 5 "$log" >&2; without "apt-get cannot install ${missing[*]}"; }
fi
if ! running; then
    [ "$(id -u)" = 0 ] || without "no Docker engine answers, and only root can start one"
    start_engine || start_engine --storage-driver=vfs ||
        { tail -n 5 "$log" >&2; without "dockerd does not start here"; }
fi

if [ "${COMPOSE_TEST_IMAGES:-stand-ins}" = stand-ins ]; then
    tests/docker/stand_ins.sh
fi
timeout --kill-after=10 "${COMPOSE_TEST_SECONDS:-1200}" .venv/bin/pytest -q -x tests/docker \
    tests/e2e/test_message_core.py "$@"
