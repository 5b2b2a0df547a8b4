"""AWS IoT Core: the registry of things, certificates and policies, the device gateway, and the rules engine."""
