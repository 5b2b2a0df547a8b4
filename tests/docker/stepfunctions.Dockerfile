# Stands in for amazon/aws-stepfunctions-local: stepbridge's engine in its compatible mode.  Unlike AWS's it keeps its
# executions when the container is started again.
FROM stepbridge:compose
LABEL stepbridge.stand-in=true
ENTRYPOINT ["stepbridge", "up", "--step-functions-local", "--host", "0.0.0.0", "--data-dir", "/data"]
CMD []
