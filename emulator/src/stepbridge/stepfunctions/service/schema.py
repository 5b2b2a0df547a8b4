"""The tables of Step Functions.

An execution is a row in `executions` for what the API tells of it, and while it runs a row in `execution_states` for
the interpreter, one in `tasks` for each task that is not over and one in `timers` for each timer.  A running
execution is nothing else: the index on `timers` is the queue of what is due, so a restart loads no executions.  Of
an unsuccessful standard execution the row in `execution_states` stays, for a redrive.
"""

MIGRATIONS = [
    """
    CREATE TABLE stepfunctions_secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    INSERT INTO stepfunctions_secrets VALUES ('token', randomblob(32));

    CREATE TABLE state_machines (
        arn TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        type TEXT NOT NULL,
        status TEXT NOT NULL,
        revision INTEGER NOT NULL,
        created REAL NOT NULL,
        last_version INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    -- What a state machine was at some time.  Executions keep the revision they were started with.
    CREATE TABLE state_machine_revisions (
        id INTEGER PRIMARY KEY,
        machine TEXT NOT NULL,
        revision_id TEXT,
        definition TEXT NOT NULL,
        role TEXT NOT NULL,
        logging TEXT NOT NULL,
        tracing TEXT NOT NULL,
        encryption TEXT,
        updated REAL NOT NULL
    ) STRICT;
    CREATE INDEX revisions_of_machine ON state_machine_revisions (machine);

    CREATE TABLE state_machine_versions (
        machine TEXT NOT NULL,
        number INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        description TEXT,
        created REAL NOT NULL,
        PRIMARY KEY (machine, number)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE state_machine_aliases (
        arn TEXT PRIMARY KEY,
        machine TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT,
        routing TEXT NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL
    ) STRICT;

    CREATE TABLE executions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        arn TEXT NOT NULL UNIQUE,
        machine TEXT NOT NULL,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        version INTEGER,
        alias TEXT,
        status TEXT NOT NULL,
        input TEXT NOT NULL,
        output TEXT,
        error TEXT,
        cause TEXT,
        trace_header TEXT,
        express INTEGER NOT NULL DEFAULT 0,
        -- The map run that this execution is a child of, and the Map state whose ItemProcessor it runs.
        map_run TEXT,
        map_state TEXT,
        -- The task, and its pattern, that waits for the end of this execution.
        parent INTEGER,
        parent_task INTEGER,
        parent_pattern TEXT,
        started REAL NOT NULL,
        stopped REAL,
        redrive_count INTEGER NOT NULL DEFAULT 0,
        redriven REAL
    ) STRICT;
    CREATE INDEX executions_of_machine ON executions (machine, id);
    CREATE INDEX child_executions ON executions (parent, parent_task) WHERE parent IS NOT NULL;
    CREATE INDEX executions_of_map_run ON executions (map_run, id) WHERE map_run IS NOT NULL;
    CREATE INDEX running_executions ON executions (machine) WHERE status = 'RUNNING';

    CREATE TABLE execution_states (execution INTEGER PRIMARY KEY, state TEXT NOT NULL) STRICT;

    -- The events that one step of the interpreter added, as GetExecutionHistory shows them.
    CREATE TABLE history (execution INTEGER NOT NULL, first INTEGER NOT NULL, events TEXT NOT NULL) STRICT;
    CREATE UNIQUE INDEX history_of_execution ON history (execution, first);

    -- Tasks that are not over.  `call` is the call to make, again after a restart, NULL once it has returned or the
    -- task of an activity has been taken; `answer` is how the task's token was given back before the call returned.
    CREATE TABLE tasks (
        id INTEGER PRIMARY KEY,
        execution INTEGER NOT NULL,
        task INTEGER NOT NULL,
        resource TEXT NOT NULL,
        activity TEXT,
        state_name TEXT NOT NULL,
        has_token INTEGER NOT NULL,
        started INTEGER NOT NULL DEFAULT 0,
        call TEXT,
        answer TEXT,
        UNIQUE (execution, task)
    ) STRICT;
    CREATE INDEX tasks_to_call ON tasks (activity, id) WHERE call IS NOT NULL;

    CREATE TABLE timers (
        execution INTEGER NOT NULL,
        timer INTEGER NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (execution, timer)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX timers_by_time ON timers (at, execution, timer);

    CREATE TABLE map_runs (
        id INTEGER PRIMARY KEY,
        arn TEXT NOT NULL UNIQUE,
        execution INTEGER NOT NULL,
        number INTEGER NOT NULL,
        state_name TEXT NOT NULL,
        plan TEXT NOT NULL,
        status TEXT NOT NULL,
        max_concurrency INTEGER NOT NULL,
        tolerated_count INTEGER,
        tolerated_percentage REAL,
        started REAL NOT NULL,
        stopped REAL
    ) STRICT;
    CREATE INDEX map_runs_of_execution ON map_runs (execution, id);
    CREATE INDEX open_map_runs ON map_runs (id) WHERE stopped IS NULL;

    -- The children of map runs.  `items` is how many items a child has: more than one in a batch.
    CREATE TABLE map_run_children (
        run INTEGER NOT NULL,
        position INTEGER NOT NULL,
        items INTEGER NOT NULL,
        input TEXT NOT NULL,
        status TEXT NOT NULL,
        execution TEXT,
        output TEXT,
        error TEXT,
        cause TEXT,
        PRIMARY KEY (run, position)
    ) STRICT;
    CREATE INDEX map_run_children_by_status ON map_run_children (run, status, position);
    CREATE INDEX map_run_children_by_execution ON map_run_children (execution) WHERE execution IS NOT NULL;

    CREATE TABLE activities (
        arn TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        encryption TEXT NOT NULL,
        created REAL NOT NULL
    ) STRICT;

    CREATE TABLE stepfunctions_tags (
        arn TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (arn, key)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- Executions whose last step was cut short wait for nothing but their turn.
    ALTER TABLE execution_states ADD COLUMN ready INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX ready_executions ON execution_states (execution) WHERE ready;

    -- The client tokens of RedriveExecution.
    CREATE TABLE redrives (
        execution INTEGER NOT NULL,
        token TEXT NOT NULL,
        redriven REAL NOT NULL,
        PRIMARY KEY (execution, token)
    ) STRICT, WITHOUT ROWID;

    ALTER TABLE map_runs ADD COLUMN redrive_count INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE map_runs ADD COLUMN redriven REAL;
    """,
    """
    -- When the child of a map run was started, and when it ended.
    ALTER TABLE map_run_children ADD COLUMN started REAL;
    ALTER TABLE map_run_children ADD COLUMN stopped REAL;
    -- How often the task's state had been retried before.
    ALTER TABLE tasks ADD COLUMN retry INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- That a task has started is in the state of its execution.
    ALTER TABLE tasks DROP COLUMN started;
    """,
]
