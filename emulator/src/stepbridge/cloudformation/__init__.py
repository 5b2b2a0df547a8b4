"""What `sam deploy` and `stepbridge deploy` talk to: stacks of resources made from a template.

The pure part turns text into values: `template` (parsing), `parameters`, `intrinsics`, `graph` (order), `changes`
(difference of two templates), `serverless` (the SAM transform).  `resources` knows how each resource type is carried
out through the emulator's own APIs, `operations` creates, updates, deletes and rolls back a stack's resources,
`records` keeps stacks, events and change sets, and `service` is the API.  `package` is the client's side of a deploy.
"""
