"""One HTTP port that speaks AWS's wire protocols.

A request is told apart by its SigV4 scope, parsed and validated from botocore's model of the service, handed to the
method of our service class that bears the operation's name, and its answer serialised from the same model.  What is
not ours goes to moto, in-process.
"""
