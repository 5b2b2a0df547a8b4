#!/usr/bin/env bash
# The programs that the tests meet beside Python's packages: Mosquitto with its clients, and npm for MQTT.js.  As root
# on Debian this installs what is missing; otherwise it says what to install.
set -euo pipefail
PATH=$PATH:/usr/sbin # where Debian has Mosquitto
missing=()
command -v mosquitto >/dev/null || missing+=(mosquitto)
command -v mosquitto_sub >/dev/null || missing+=(mosquitto-clients)
command -v npm >/dev/null || missing+=(nodejs npm)
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || [ ! -f /etc/debian_version ]; then
    echo "The tests need what is not on the PATH. On Debian: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
echo "Installing ${missing[*]}, which the tests need (once, some minutes)"
log=$(mktemp)
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 || { tail -n 5 "$log" >&2; exit 1; }
case " ${missing[*]} " in *" mosquitto "*) # without the service that Debian makes of it
    if [ -d /run/systemd/system ]; then
        systemctl disable --quiet --now mosquitto
    else
        update-rc.d mosquitto disable
        service mosquitto stop
    fi >>"$log" 2>&1
    ;;
esac
