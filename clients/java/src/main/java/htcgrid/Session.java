package htcgrid;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * How far a session is. Times are seconds since the epoch.
 *
 * @param version another one whenever anything here is
 * @param pending tasks that have not ended
 * @param retrying those of the pending that have failed and run again
 * @param endedAt null while it lives
 * @param reason why it ended, if not COMPLETED
 * @param owner whose fenced cancel counts; empty for nobody
 * @param parent the session whose unfinished tasks it runs again; null for none
 */
public record Session(
        String id,
        String version,
        State state,
        String name,
        String tenant,
        String function,
        Map<String, String> labels,
        String pool,
        String parent,
        long total,
        long completed,
        long failed,
        long cancelled,
        long pending,
        long retrying,
        double submittedAt,
        Double endedAt,
        String reason,
        String owner) {

    /** Where a session may be. */
    public enum State {
        SUBMITTED, RUNNING, CANCELLING, COMPLETED, FAILED, CANCELLED
    }

    /** Whether it is over. */
    public boolean ended() {
        return state == State.COMPLETED || state == State.FAILED || state == State.CANCELLED;
    }

    /**
     * This session, if it is COMPLETED or still lives.
     *
     * @throws GridException.SessionFailed if it is not
     */
    public Session orThrow() {
        if (state == State.FAILED || state == State.CANCELLED) {
            throw new GridException.SessionFailed(this);
        }
        return this;
    }

    static Session of(Map<String, Object> told) {
        Map<String, String> labels = new LinkedHashMap<>();
        ((Map<?, ?>) told.get("labels")).forEach((name, value) -> labels.put((String) name, (String) value));
        return new Session(
                (String) told.get("id"),
                (String) told.get("version"),
                State.valueOf((String) told.get("state")),
                (String) told.get("name"),
                (String) told.get("tenant"),
                (String) told.get("function"),
                Map.copyOf(labels),
                (String) told.get("pool"),
                (String) told.get("parent"),
                count(told, "total"),
                count(told, "completed"),
                count(told, "failed"),
                count(told, "cancelled"),
                count(told, "pending"),
                count(told, "retrying"),
                ((Number) told.get("submitted_at")).doubleValue(),
                told.get("ended_at") == null ? null : ((Number) told.get("ended_at")).doubleValue(),
                (String) told.get("reason"),
                (String) told.get("owner"));
    }

    /** Of tasks; what a server of an earlier release does not count is none. */
    private static long count(Map<String, Object> told, String name) {
        return ((Number) told.getOrDefault(name, 0)).longValue();
    }
}
