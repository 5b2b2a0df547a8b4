"""A worker that takes jobs from an AWS IoT Core topic, does them, and publishes the answers.

`jobs` is what it does and the one file to change for other work; `messages` is the wire format, `worker` the MQTT
side, `configuration` what the environment must say.
"""
