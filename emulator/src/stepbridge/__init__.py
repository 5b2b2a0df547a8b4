"""stepbridge: the Step Functions to IoT Core callback loop of AWS, whole, on one machine, offline."""

__version__ = "0.1.0"
