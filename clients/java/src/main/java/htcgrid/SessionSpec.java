package htcgrid;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a session asks for, but for its events. What is not said is what the server takes by default. */
public final class SessionSpec implements Json.Writable {
    private final Map<String, Object> said;

    private SessionSpec(Map<String, Object> said) {
        this.said = said;
    }

    /**
     * A session of a function.
     *
     * @param function {@code NAME} or {@code NAME:VERSION} of a deployed function, or {@code module.handler}
     */
    public static Builder of(String function) {
        return new Builder(function);
    }

    @Override
    public Object toJson() {
        return said;
    }

    /** Makes a spec. */
    public static final class Builder {
        private final Map<String, Object> said = new LinkedHashMap<>();

        private Builder(String function) {
            said.put("function", function);
        }

        /** For people. */
        public Builder name(String name) {
            return with("name", name);
        }

        /** On whose behalf, if the token is of several tenants. */
        public Builder tenant(String tenant) {
            return with("tenant", tenant);
        }

        /** For finding it again. */
        public Builder labels(Map<String, String> labels) {
            return with("labels", Map.copyOf(labels));
        }

        /** That one attempt of a task may take. */
        public Builder taskTimeout(Duration timeout) {
            return with("task_timeout", seconds(timeout));
        }

        /** That the session may take. */
        public Builder timeout(Duration timeout) {
            return with("timeout", seconds(timeout));
        }

        /** How often a task is tried. */
        public Builder maxAttempts(int attempts) {
            return with("retry", Map.of("max_attempts", attempts));
        }

        /** Failed tasks that are tolerated, as a count, or below 1 as a share. */
        public Builder maxFailures(double failures) {
            boolean isCount = failures >= 1 || failures == 0;
            return with("max_failures", isCount ? (Object) (long) failures : (Object) failures);
        }

        /** Memory that a worker may use. */
        public Builder memoryMb(int megabytes) {
            return with("memory_mb", megabytes);
        }

        /** {@code high}, {@code normal} or {@code low}. */
        public Builder priority(String priority) {
            return with("priority", priority);
        }

        /** Where it queues. */
        public Builder pool(String pool) {
            return with("pool", pool);
        }

        /** For which the session can be read once it has ended. */
        public Builder retention(Duration retention) {
            return with("retention", seconds(retention));
        }

        /** Destinations that are told of its end. */
        public Builder notify(List<String> destinations) {
            return with("notify", List.copyOf(destinations));
        }

        /** The spec. */
        public SessionSpec build() {
            return new SessionSpec(new LinkedHashMap<>(said));
        }

        private Builder with(String name, Object value) {
            said.put(name, value);
            return this;
        }

        private static double seconds(Duration duration) {
            return duration.toMillis() / 1000.0;
        }
    }
}
