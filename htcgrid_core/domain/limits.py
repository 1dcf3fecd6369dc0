"""Every number the protocol rests on, with its unit in its name and its relations asserted."""

from __future__ import annotations

from typing import Final

# Leases and liveness
HEARTBEAT_SECONDS: Final = 5.0
USAGE_SECONDS: Final = 60.0  # between heartbeats that tell what tasks of one function have used, where bytes cost
USAGE_KEPT_SECONDS: Final = 30 * 24 * 3600.0  # since an agent last measured tasks of a function
POOLS_KNOWN_SECONDS: Final = 60.0  # for which a client takes the sizes of pools for known
IDLE_HEARTBEATS: Final = 4  # of a busy agent, in the time of one of an idle agent, where each is a call
LEASE_SECONDS: Final = 30.0
LEASE_MARGIN_SECONDS: Final = 5.0  # an agent stops trusting its own lease this long before it lapses
RECONCILE_TICK_SECONDS: Final = 10.0
BACKLOG_TARGET_SECONDS: Final = 60.0  # in which a scaled grid should do what waits: new machines take as long
LOCAL_RECONCILE_TICK_SECONDS: Final = 1.0
CUT_STALL_TICKS: Final = 3  # for which nothing was written of a sealed upload, before another agent goes on with it
SUBMIT_STALL_SECONDS: Final = 1800.0  # a SUBMITTED session without a write for this long is aborted
WRONG_CLOCK_SECONDS: Final = 600.0  # by which clocks may be wrong, each way, without a submission being aborted
DRAIN_GRACE_SECONDS: Final = 25.0
STUCK_SECONDS: Final = 150.0  # without an iteration of its loop, after which an agent says that it is not healthy
START_PATIENCE_SECONDS: Final = 600.0  # for which an agent looks for its grid while AWS throttles or does not answer
START_LONGEST_PAUSE_SECONDS: Final = 60.0  # between two looks

# Slicing and bundle sizes
TIME_SLICE_SECONDS: Final = 2.0
LOCAL_TIME_SLICE_SECONDS: Final = 0.5  # a commit costs 0.1 ms on one machine, so results may come sooner
SLICE_SECONDS_AN_AGENT: Final = 0.005  # of its pool: in large fleets slices are longer, so that commits are rarer
MAX_SLICE_SECONDS: Final = 15.0
MAX_BUNDLE_TASKS: Final = 256
MAX_BUNDLE_BYTES: Final = 1 << 20
INLINE_PAYLOAD_BYTES: Final = 4 << 20  # larger payloads go to the blob store
LARGE_PARTS_BYTES: Final = 256 << 10  # of large payloads, from which on a file's fewer copies outweigh another fsync
AWS_INLINE_PAYLOAD_BYTES: Final = 8 << 10  # from there on an S3 object costs less than DynamoDB's write units
RANGE_PAYS_BYTES: Final = 1 << 20  # of an object that are not needed: about what S3 sends while another call begins
COMMIT_BYTES: Final = 4 << 20  # results that an agent gathers before it commits them, whatever the time slice
RESULT_BYTES_A_SECOND: Final = 1e9  # on their way from a task to the disk: what returns much takes so long, too
UNCOMMITTED_BYTES: Final = 16 << 20  # of a bundle's results, from which on its tasks wait for the commit before them
LARGE_COMMIT_BYTES: Final = 256 << 10  # from here on results take longer to write than a thread takes to begin
MAX_EVENT_BYTES: Final = 64 << 20
MAX_SESSION_TASKS: Final = 10_000_000
SUBMIT_BUFFER_BYTES: Final = 4 << 20  # a vector up to this size is checked whole before anything is written

# Retries
MAX_ATTEMPTS: Final = 3
CRASH_LIMIT: Final = 3  # a lone task whose agent died this often is FAILED
CRASHES_BEFORE_ISOLATION: Final = 2  # a bundle whose agent died this often comes back as single tasks
BACKOFF_BASE_SECONDS: Final = 1.0
BACKOFF_CAP_SECONDS: Final = 60.0

# Breaker of an agent whose workers cannot start
BREAKER_THRESHOLD: Final = 3
BREAKER_COOLDOWN_SECONDS: Final = 5.0
BREAKER_COOLDOWN_CAP_SECONDS: Final = 60.0
WORKER_REST_SECONDS: Final = 5.0  # for which a slot whose worker could not start is left alone while others work
WORKER_START_SECONDS: Final = 60.0  # a worker that has not loaded its function by then is killed
SIDECAR_RETURN_SECONDS: Final = 10.0  # a sidecar that has not asked for its next task by then is gone

# Agent
CHUNK_SECONDS: Final = 0.010  # work handed to a worker at once, by the pace just measured
QUEUE_BEHIND_SECONDS: Final = 0.25  # a worker gets its next task while it runs one, if tasks are shorter than this
BACKLOG_SECONDS: Final = 0.050  # work an agent keeps unstarted so that its slots never wait for a claim
BACKLOG_TASKS: Final = 512
AWS_ONE_BUNDLE_TASKS: Final = 16  # of which a lone agent is given all at once: a bundle takes some five calls
AGENT_LIST_READS_A_BEAT: Final = 30.0  # by all agents of a grid together: each reads what all of them say
IDLE_AGENT_LIST_READS_A_BEAT: Final = 3.0  # the same of agents that have nothing to do
REVOKE_AFTER_SECONDS: Final = 0.1  # tasks queued behind one that runs this long go to another slot
LENT_WORKER_SECONDS: Final = 10.0  # a worker that was lent for a wait, and that nobody needs any more, is kept so long
CAPTURE_BYTES: Final = 16 << 10  # of each of a task's stdout and stderr: the first and the last half
ATTEMPT_TEXT_BYTES: Final = (
    1 << 10
)  # of each text of a failed attempt that runs again; kept until the session is deleted
ATTEMPTS_BYTES: Final = 32 << 10  # of the failed attempts of one commit; of the others, only that they failed
BEGUN_TASKS: Final = 100  # that an agent tells to have begun; one that runs more does not tell
BEGUN_BYTES: Final = 64 << 10  # of what these have printed so far, told by agents of the embedded grid
CAPTURE_DISK_BYTES: Final = 64 << 20  # a task that prints more than this loses what it printed before
MAX_RESULT_BYTES: Final = 64 << 20

# Packages of registered functions
MAX_PACKAGE_BYTES: Final = 256 << 20  # zipped
MAX_UNPACKED_BYTES: Final = 1 << 30
MAX_PACKAGE_FILES: Final = 50_000
MAX_PACKAGE_NAME_BYTES: Final = 255  # of a file or folder, as file systems have them
MAX_PACKAGE_PATH_BYTES: Final = 1024  # of a name with its folders, which leaves room for the cache's own

# Shared inputs
SHARED_REQUEST_BYTES: Final = 64 << 20  # of one that a server takes, which holds it meanwhile
MAX_STAGED_FILES: Final = 50_000  # and folders, of a folder
MAX_STAGED_BYTES: Final = 32 << 30

# What a machine's agents keep on disk: packages unpacked, blobs that were fetched
CACHE_BYTES: Final = 8 << 30  # what is in use may exceed it
CACHED_BLOB_IN_USE_SECONDS: Final = 300.0  # a fetched blob that was asked for within this time is not removed
CACHED_BLOB_TRUSTED_SECONDS: Final = 60.0  # after which an agent looks again whether a file is what its digest says

# Blobs that sessions share
UNUSED_BLOB_SECONDS: Final = 30 * 24 * 3600.0  # a function or shared input that nobody used for this long is deleted
BLOB_TOUCH_SECONDS: Final = 24 * 3600.0  # between notes that a blob is used, where a note costs a call
SWEEP_SECONDS: Final = 3600.0  # between looks for unused blobs

# Keys
KEYS_KNOWN_SECONDS: Final = 60.0  # a process that signs looks so often for a newer key
KEY_RETIRED_SECONDS: Final = 24 * 3600.0  # so long after the next was made, what a key has signed is still put again

# Polling, the safety net under the doorbells
AGENT_POLL_SECONDS: Final = 1.0
CLIENT_POLL_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 300.0  # for which whoever waits goes on without one read of the grid that succeeds
AGENT_START_SECONDS: Final = 60.0  # an embedded agent that is not ready by then has not started
AGENT_IDLE_SECONDS: Final = 60.0  # an embedded agent with nothing to do leaves after this long

# Fairness between sessions: each bundle of a session ranks one stride after the one before (stride scheduling), the
# first half a stride after what is being served: before the next bundles of those that are under way.
RANK_STRIDE: Final = {"high": 0.1, "normal": 1.0, "low": 10.0}

# What is kept of sessions for longer than they are
AUDIT_SECONDS: Final = 400 * 24 * 3600.0  # who did what; an operator may say another time
COSTS_SECONDS: Final = 400 * 24 * 3600.0  # what sessions took

RETENTION_SECONDS: Final = 7 * 24 * 3600.0
MAX_RETENTION_SECONDS: Final = 60 * 24 * 3600.0  # unless the operator permits a tenant more
LONGEST_RETENTION_SECONDS: Final = 36_500 * 24 * 3600.0  # that an operator can permit
PROGRESS_BATCH: Final = 100  # sessions in one progress call
FIRST_ERRORS: Final = 5  # how many failed tasks a SessionFailed shows

assert HEARTBEAT_SECONDS * 3 <= LEASE_SECONDS - LEASE_MARGIN_SECONDS, "two lost heartbeats must not lose a lease"
assert IDLE_HEARTBEATS * HEARTBEAT_SECONDS <= LEASE_SECONDS - LEASE_MARGIN_SECONDS, "idle agents are alive"
assert TIME_SLICE_SECONDS < LEASE_SECONDS - LEASE_MARGIN_SECONDS
assert TIME_SLICE_SECONDS <= MAX_SLICE_SECONDS < LEASE_SECONDS - LEASE_MARGIN_SECONDS
assert LOCAL_TIME_SLICE_SECONDS <= TIME_SLICE_SECONDS
assert DRAIN_GRACE_SECONDS <= LEASE_SECONDS, "work handed back on drain is never reclaimed first"
assert STUCK_SECONDS > 2 * LEASE_SECONDS, "an agent that is started again has lost its leases anyway"
assert CRASHES_BEFORE_ISOLATION < CRASH_LIMIT
assert BACKOFF_BASE_SECONDS <= BACKOFF_CAP_SECONDS
assert MAX_UNPACKED_BYTES + MAX_PACKAGE_BYTES <= CACHE_BYTES, "any one package fits, with the blob that it came in"
assert HEARTBEAT_SECONDS * 10 <= CACHED_BLOB_IN_USE_SECONDS, "an agent asks for what it uses at each heartbeat"
assert BLOB_TOUCH_SECONDS + SWEEP_SECONDS < UNUSED_BLOB_SECONDS / 10
assert AWS_INLINE_PAYLOAD_BYTES < MAX_BUNDLE_BYTES <= INLINE_PAYLOAD_BYTES
assert KEYS_KNOWN_SECONDS * 10 <= KEY_RETIRED_SECONDS
assert MAX_RETENTION_SECONDS <= COSTS_SECONDS, "what a session took is there at least as long as the session"
