"""Mosquitto as the message core, in a container where there is Docker and as a program of this machine elsewhere."""

from pathlib import Path

from stepbridge.testing import EmulatorProcess


def test_what_mosquitto_keeps_outlives_the_emulator(mosquitto: tuple[str, ...], tmp_path: Path) -> None:
    emulator = EmulatorProcess(tmp_path, *mosquitto)
    emulator.start()
    try:
        data = emulator.client("iot-data")
        data.publish(topic="tenant1/state", payload=b"on", qos=1, retain=True)
        emulator.kill()
        emulator.start()
        assert emulator.client("iot-data").get_retained_message(topic="tenant1/state")["payload"] == b"on"
    finally:
        emulator.stop()
