package htcgrid;

import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/** Whatever goes wrong between this client and a grid. */
public class GridException extends RuntimeException {
    private static final long serialVersionUID = 1;

    GridException(String message, Throwable cause) {
        super(message, cause);
    }

    /** Whether trying again may help. */
    public boolean mayPass() {
        return false;
    }

    /** A request of which nobody knows whether it reached the server. */
    public static final class Connection extends GridException {
        private static final long serialVersionUID = 1;

        Connection(String server, Throwable cause) {
            super("the connection to " + server + " broke: " + cause, cause);
        }

        @Override
        public boolean mayPass() {
            return true;
        }
    }

    /** The time that a call was given is over; what it waited for goes on. */
    public static final class TimedOut extends GridException {
        private static final long serialVersionUID = 1;

        TimedOut(String what) {
            super(what, null);
        }
    }

    /** A session that ended without all of its results. */
    public static final class SessionFailed extends GridException {
        private static final long serialVersionUID = 1;
        private final transient Session session;

        SessionFailed(Session session) {
            super("session " + session.id() + " ended " + session.state() + ": " + session.reason(), null);
            this.session = session;
        }

        /** As it ended. */
        public Session session() {
            return session;
        }
    }

    /** A problem that the server told of (RFC 9457). */
    public static final class Problem extends GridException {
        private static final long serialVersionUID = 1;
        private static final java.util.Set<String> LASTING = java.util.Set.of(
                "corrupt-payload", "signature-invalid", "session-conflict", "session-not-finished",
                "illegal-transition", "conflict", "incompatible-grid", "would-deadlock");
        private final int status;
        private final String code;
        private final transient Map<String, Object> members;
        private final String requestId;

        Problem(int status, Map<String, Object> members, String requestId) {
            super(members.get("detail") + " (" + members.getOrDefault("code", "no code") + ", status " + status + ")",
                    null);
            this.status = status;
            this.code = String.valueOf(members.getOrDefault("code", ""));
            this.members = members;
            this.requestId = requestId;
        }

        /** Of the response. */
        public int status() {
            return status;
        }

        /** By which problems are told apart: {@code session-not-found}, {@code invalid-input} and so on. */
        public String code() {
            return code;
        }

        /** Which event of the vector is no good. */
        public OptionalLong index() {
            return number("index");
        }

        /** Which line of what was sent is no good. */
        public OptionalLong line() {
            return number("line");
        }

        /** Under which the server knows the request. */
        public Optional<String> requestId() {
            return Optional.ofNullable(requestId);
        }

        @Override
        public boolean mayPass() {
            return !LASTING.contains(code)
                    && (status >= 500 || status == 408 || status == 409 || status == 425 || status == 429);
        }

        private OptionalLong number(String name) {
            Object found = members == null ? null : members.get(name);
            return found instanceof Long ? OptionalLong.of((Long) found) : OptionalLong.empty();
        }
    }
}
