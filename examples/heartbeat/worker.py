"""A worker whose jobs take long: it says after each step that it is alive."""

import json
import os
import queue
import ssl
import time
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

STEP_SECONDS = float(os.environ.get("STEP_SECONDS", "1"))

jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()


def main() -> None:
    """Work until killed.  The environment is that of `stepbridge device create`."""
    # With a session that is kept, jobs that come while no worker is there wait for the next one.
    client = mqtt.Client(CallbackAPIVersion.VERSION2, os.environ["CLIENT_ID"], clean_session=False)
    context = ssl.create_default_context(cafile=os.environ["CA_FILE"])
    context.load_cert_chain(os.environ["DEVICE_CERT"], os.environ["PRIVATE_KEY"])
    client.tls_set_context(context)
    client.on_connect = subscribe
    client.on_subscribe = lambda *_: print("Waiting for jobs", flush=True)
    client.on_message = lambda _client, _data, message: jobs.put(json.loads(message.payload))
    client.connect(os.environ["ENDPOINT"], int(os.environ["PORT"]))
    client.loop_start()
    while True:
        work(client, jobs.get())


def subscribe(client: mqtt.Client, *_: object) -> None:
    """Ask for the jobs, on each new connection."""
    client.subscribe(os.environ["SUBSCRIBE_TOPIC"], qos=1)


def work(client: mqtt.Client, job: dict[str, Any]) -> None:
    """Do a job of so many steps, and tell of each."""
    steps = job["Input"]["steps"]
    print(f"Working on {steps} steps", flush=True)
    for step in range(1, steps + 1):
        time.sleep(STEP_SECONDS)  # put your own work here
        answer(client, {"step": step, "TaskToken": job["TaskToken"]})
    answer(client, {"result": f"{steps} steps", "TaskToken": job["TaskToken"]})


def answer(client: mqtt.Client, message: dict[str, Any]) -> None:
    """Publish, with QoS 1, so that it is sent again if the connection breaks."""
    client.publish(os.environ["SUBMIT_TOPIC"], json.dumps(message), qos=1)


if __name__ == "__main__":
    main()
