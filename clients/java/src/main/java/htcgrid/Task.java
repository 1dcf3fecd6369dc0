package htcgrid;

import java.util.Map;

/**
 * One task.
 *
 * @param result what it returned, as {@link Json} reads it; null unless it is COMPLETED
 * @param pickled whether it returned a Python object, which is not shown
 * @param error why its last attempt failed, also while it waits to run again; null if it has not
 * @param startedAt of its last attempt, seconds since the epoch; null if it has not begun
 * @param duration seconds
 * @param stdout what that attempt printed, first and last part; the last alone while it runs or is to run again
 */
public record Task(
        long index,
        State state,
        long attempts,
        Object result,
        boolean pickled,
        Error error,
        Double startedAt,
        double duration,
        String agent,
        String stdout,
        String stderr) {

    /** Where a task may be. */
    public enum State {
        SUBMITTED, QUEUED, RUNNING, RETRY, COMPLETED, FAILED, CANCELLED
    }

    /** Why a task failed. */
    public record Error(String type, String message, String traceback) {}

    static Task of(Map<String, Object> told) {
        Error error = null;
        if (told.get("error") instanceof Map<?, ?> why) {
            error = new Error((String) why.get("type"), (String) why.get("message"), (String) why.get("traceback"));
        }
        Number startedAt = (Number) told.get("started_at");
        Number attempts = (Number) told.getOrDefault("attempts", 0);
        Number duration = (Number) told.getOrDefault("duration", 0);
        return new Task(
                ((Number) told.get("index")).longValue(),
                State.valueOf((String) told.get("state")),
                attempts.longValue(),
                told.get("result"),
                Boolean.TRUE.equals(told.get("pickled")),
                error,
                startedAt == null ? null : startedAt.doubleValue(),
                duration.doubleValue(),
                (String) told.getOrDefault("agent", ""),
                (String) told.getOrDefault("stdout", ""),
                (String) told.getOrDefault("stderr", ""));
    }
}
