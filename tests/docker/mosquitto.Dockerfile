# Stands in for eclipse-mosquitto: see stand_ins.sh.
ARG BASE
FROM ${BASE}
RUN groupadd --gid 1883 mosquitto-image \
    && install --directory --owner 1883 --group 1883 /mosquitto /mosquitto/config /mosquitto/data /mosquitto/log
VOLUME ["/mosquitto/data", "/mosquitto/log"]
EXPOSE 1883
CMD ["/usr/sbin/mosquitto", "-c", "/mosquitto/config/mosquitto.conf"]
