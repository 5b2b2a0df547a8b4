#!/usr/bin/env bash
# Makes stand-ins for the images that docker-compose.yml and the Dockerfiles name, under the same names, on a machine
# that cannot pull them.  All of them are Debian by debootstrap:
#   python                     Debian's Python at the official image's path, and a folder with the wheels that the
#                              locks name (downloaded here, as this machine's pip is set up), so that the images are
#                              built without a network
#   eclipse-mosquitto          Debian's Mosquitto with the official image's paths and user
#   aws-stepfunctions-local    stepbridge's engine in its compatible mode (stepfunctions.Dockerfile)
# An official image that is there is left alone; a stand-in is made anew when what is in it has changed.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/docker
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python_image=$(sed -n 's/^ARG PYTHON=//p' emulator/Dockerfile)
mosquitto_image=$(sed -n 's/^ *image: \(eclipse-mosquitto:.*\)$/\1/p' docker-compose.yml)
stepfunctions_image=$(sed -n 's/^ *image: \(amazon.*\)$/\1/p' compose/stepfunctions/local.yml)
debian_image=stepbridge-stand-in/debian
release=${python_image##*-} # bookworm

have() { docker image inspect "$1" >/dev/null 2>&1; }
stale() { # an image, what its label should say: it is not there, or is a stand-in with something else in it
    local label
    label=$(docker image inspect --format '{{index .Config.Labels "stepbridge.stand-in"}}' "$1" 2>/dev/null) || return 0
    [ -n "$label" ] && [ "$label" != "$2" ]
}
build() { DOCKER_BUILDKIT=0 docker build --quiet "$@" 2>"$work/build.log" >/dev/null || { cat "$work/build.log" >&2; exit 1; }; }
say() { echo "stand-ins: $*"; }

if ! have "$debian_image"; then
    say "Debian $release by debootstrap"
    # From the archive that this machine's apt uses, if it has one of that release.
    archive=$(apt-get indextargets --format '$(CODENAME) $(SITE)' 'Created-By: Packages' 2>/dev/null |
        sed -n "s/^$release //p" | head -n 1)
    packages=python3,python3-venv,mosquitto,mosquitto-clients,netcat-openbsd,ca-certificates
    debootstrap --variant=minbase --include="$packages" "$release" "$work/root" ${archive:+"$archive"} \
        >"$work/debootstrap.log" || { tail -n 20 "$work/debootstrap.log" >&2; exit 1; }
    rm -rf "$work/root/var/cache/apt/archives" "$work/root/var/lib/apt/lists"
    tar --create --directory "$work/root" . | docker import - "$debian_image"
fi

locks=$(cat requirements.lock on-prem-worker/requirements.lock | sha256sum | cut --characters=-16)
if stale "$python_image" "$locks"; then
    say "$python_image"
    mkdir "$work/python"
    version=$(docker run --rm "$debian_image" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    machine=$(uname -m)
    grep -hv '^-e ' requirements.lock on-prem-worker/requirements.lock | sort -u >"$work/packages"
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work/python/wheels" \
        --only-binary :all: --implementation cp --python-version "$version" \
        --platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
        --requirement "$work/packages" 'setuptools>=77' wheel 2>"$work/pip.log" || { cat "$work/pip.log" >&2; exit 1; }
    build --tag "$python_image" --label stepbridge.stand-in="$locks" --file "$here/python.Dockerfile" \
        --build-arg BASE="$debian_image" "$work/python"
fi

if ! have "$mosquitto_image"; then
    say "$mosquitto_image"
    build --tag "$mosquitto_image" --file "$here/mosquitto.Dockerfile" \
        --build-arg BASE="$debian_image" "$here"
fi

if stale "$stepfunctions_image" "made anew each time"; then
    say "$stepfunctions_image"
    build --tag stepbridge:compose --file emulator/Dockerfile .
    build --tag "$stepfunctions_image" --file "$here/stepfunctions.Dockerfile" "$here"
fi
