package htcgrid;

import htcgrid.Transport.Ask;
import java.net.InetAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;

/**
 * A grid, reached through its server. Immutable, and safe for many threads.
 *
 * <p>Every call that waits for the network throws {@link GridException}, and can be interrupted. Requests are made again
 * where that does no harm: each write has a key, made before its first try.
 */
public final class HtcGrid {
    /** The environment variable that has the API token where none is given. */
    public static final String TOKEN_VARIABLE = "HTCGRID_API_TOKEN";

    private static final Duration ANSWER_COMES = Duration.ofSeconds(3);
    private static final long MISSING_PAUSE_MS = 200;
    private static final int WAIT_RETRIES = 20; // so that a server that is started anew is waited for

    private final Transport transport;
    private final Executor executor;

    private HtcGrid(Transport transport, Executor executor) {
        this.transport = transport;
        this.executor = executor;
    }

    /** A client of the server at {@code https://HOST}, or {@code http://} on this machine. */
    public static Builder at(String url) {
        return new Builder(url);
    }

    /** Makes a client. */
    public static final class Builder {
        private final String url;
        private String token = System.getenv(TOKEN_VARIABLE);
        private int retries = 2;
        private HttpClient http;
        private Executor executor;

        private Builder(String url) {
            this.url = url;
        }

        /** The API token, in the place of the environment's. */
        public Builder apiToken(String apiToken) {
            token = apiToken;
            return this;
        }

        /** How often a request is made again. */
        public Builder retries(int times) {
            retries = times;
            return this;
        }

        /** What makes requests, in the place of a client of its own. */
        public Builder httpClient(HttpClient client) {
            http = client;
            return this;
        }

        /** What runs the calls whose result is a {@link CompletableFuture}. */
        public Builder executor(Executor other) {
            executor = other;
            return this;
        }

        /**
         * The client.
         *
         * @throws IllegalArgumentException if the URL or the token is no good
         */
        public HtcGrid build() {
            URI parsed = URI.create(url);
            String scheme = String.valueOf(parsed.getScheme());
            if (parsed.getHost() == null || !(scheme.equals("https") || scheme.equals("http"))) {
                throw new IllegalArgumentException("write https://HOST, or http://127.0.0.1:PORT on this machine");
            }
            if (parsed.getUserInfo() != null || parsed.getQuery() != null || parsed.getFragment() != null) {
                throw new IllegalArgumentException("the URL holds more than a server's place: give apiToken(...)");
            }
            if (scheme.equals("http") && !isLoopback(parsed.getHost())) {
                throw new IllegalArgumentException(
                        "http:// would send the API token in clear text: use https://, or http:// on this machine");
            }
            if (token == null || token.isBlank()) {
                throw new IllegalArgumentException("there is no API token: give apiToken(...), or " + TOKEN_VARIABLE);
            }
            HttpClient client = http != null ? http : HttpClient.newBuilder()
                    .version(HttpClient.Version.HTTP_1_1) // else a request to upgrade is sent
                    .connectTimeout(Duration.ofSeconds(10))
                    .followRedirects(HttpClient.Redirect.NEVER) // a redirection could send the token elsewhere
                    .build();
            String base = url.endsWith("/") ? url.substring(0, url.length() - 1) : url;
            return new HtcGrid(
                    new Transport(base, token.strip(), client, retries), executor != null ? executor : ownThreads());
        }

        private static boolean isLoopback(String host) {
            String bare = host.startsWith("[") ? host.substring(1, host.length() - 1) : host;
            if (bare.equals("localhost")) {
                return true;
            }
            try {
                boolean isAddress = bare.matches("[0-9.]+") || bare.contains(":");
                return isAddress && InetAddress.getByName(bare).isLoopbackAddress();
            } catch (java.net.UnknownHostException error) {
                return false;
            }
        }

        private static Executor ownThreads() {
            return Executors.newCachedThreadPool(work -> {
                Thread thread = new Thread(work, "htcgrid");
                thread.setDaemon(true);
                return thread;
            });
        }
    }

    @Override
    public String toString() {
        return "HtcGrid(" + transport.base() + ")";
    }

    // Submitting

    /** Submits a session with one task for each event, which {@link Json#write} encodes. */
    public Session submit(SessionSpec spec, Iterable<?> events) throws InterruptedException {
        return submit(spec, events, CallOptions.NONE);
    }

    /**
     * Submits a session with one task for each event. Events are streamed: a few megabytes of them are held. What
     * iterating them throws ends the submission, and nothing runs. A call that failed may be made again with the same
     * idempotency key and events: it is the same session then.
     */
    public Session submit(SessionSpec spec, Iterable<?> events, CallOptions options) throws InterruptedException {
        return new Upload(transport, spec, keyed(options)).submit(events.iterator());
    }

    /** As {@link #submit(SessionSpec, Iterable, CallOptions)}, in a thread. */
    public CompletableFuture<Session> submitAsync(SessionSpec spec, Iterable<?> events, CallOptions options) {
        return later(() -> submit(spec, events, options));
    }

    /** Runs again, as a session of its own, what did not complete in one that has ended. */
    public Session resubmit(String id, CallOptions options) throws InterruptedException {
        CallOptions made = keyed(options);
        Ask ask = Ask.post(of(id) + "/resubmit", Map.of()).keyed(made.idempotencyKey());
        return Session.of(transport.ask(ask, made, Deadline.of(made)).members());
    }

    /** Stores a value once for many tasks. */
    public SharedInput put(Object value) throws InterruptedException {
        Map<String, Object> told = ask(Ask.post("/shared", value), CallOptions.NONE);
        return new SharedInput((String) told.get("digest"), (String) told.get("codec"));
    }

    private static CallOptions keyed(CallOptions options) {
        return options.idempotencyKey() != null
                ? options
                : options.withIdempotencyKey(UUID.randomUUID().toString());
    }

    // Finding and waiting

    /** Reads one session. */
    public Session session(String id) throws InterruptedException {
        return Session.of(ask(Ask.get(of(id)), CallOptions.NONE));
    }

    /** As {@link #session}, in a thread. */
    public CompletableFuture<Session> sessionAsync(String id) {
        return later(() -> session(id));
    }

    /** Reads up to a hundred sessions; those that are not there are left out. */
    public List<Session> progress(List<String> ids) throws InterruptedException {
        return sessionsIn(ask(Ask.post("/progress", Map.of("sessions", ids)), CallOptions.NONE));
    }

    /** Lists sessions, newest first: at most {@code limit} of those in any of these states, all if there are none. */
    public List<Session> sessions(List<Session.State> states, int limit) throws InterruptedException {
        List<Session> found = new ArrayList<>();
        String cursor = null;
        do {
            StringBuilder path = new StringBuilder("/sessions?limit=" + Math.min(limit - found.size(), 1000));
            states.forEach(state -> path.append("&state=").append(state));
            if (cursor != null) {
                path.append("&cursor=").append(Transport.part(cursor));
            }
            Map<String, Object> page = ask(Ask.get(path.toString()), CallOptions.NONE);
            found.addAll(sessionsIn(page));
            cursor = (String) page.get("next_cursor");
        } while (cursor != null && found.size() < limit);
        return found;
    }

    /**
     * Waits until a session has ended, in whatever state; see {@link Session#orThrow}.
     *
     * @throws GridException.Problem if it is not there; so it is with all that wait
     */
    public Session await(String id) throws InterruptedException {
        return await(id, CallOptions.NONE);
    }

    /**
     * Waits until a session has ended.
     *
     * @throws GridException.TimedOut if the time of the options is over; the session goes on
     */
    public Session await(String id, CallOptions options) throws InterruptedException {
        return awaitAll(List.of(id), options).get(0);
    }

    /** As {@link #await(String, CallOptions)}, in a thread. */
    public CompletableFuture<Session> awaitAsync(String id, CallOptions options) {
        return later(() -> await(id, options));
    }

    /** Waits until all of up to a hundred sessions have ended. */
    public List<Session> awaitAll(List<String> ids, CallOptions options) throws InterruptedException {
        return awaited(ids, "all", options);
    }

    /** Waits until any of up to a hundred sessions has ended, and tells of all of them. */
    public List<Session> awaitAny(List<String> ids, CallOptions options) throws InterruptedException {
        return awaited(ids, "any", options);
    }

    private List<Session> awaited(List<String> ids, String until, CallOptions options) throws InterruptedException {
        Deadline deadline = Deadline.of(options);
        Deadline answered = deadline.later(ANSWER_COMES); // longer than the server holds it: its answer is to come
        CallOptions patient = options.withRetriesAtLeast(WAIT_RETRIES, transport.retries());
        while (true) {
            Duration held = deadline.atMost(Upload.LONGEST_WAIT);
            double seconds = held.toMillis() / 1000.0;
            Map<String, Object> body = Map.of("sessions", ids, "until", until, "timeout", seconds);
            Ask ask = Ask.post("/wait", body).heldFor(held);
            Map<String, Object> told = transport.ask(ask, patient, answered).members();
            List<Session> found = sessionsIn(told);
            Set<String> there = found.stream().map(Session::id).collect(Collectors.toSet());
            Optional<String> missing = ids.stream().filter(id -> !there.contains(id)).findFirst();
            if (missing.isPresent()) {
                session(missing.get()); // throws, since it is not there
                deadline.sleep(MISSING_PAUSE_MS); // it has come meanwhile
            } else if (Boolean.TRUE.equals(told.get("done"))) {
                return found;
            }
            deadline.check();
        }
    }

    // Ending

    /** Asks for a session's end, and returns at once; one that has ended stays as it is. */
    public Session cancel(String id, String reason) throws InterruptedException {
        return Session.of(ask(Ask.post(of(id) + "/cancel", Map.of("reason", reason)), CallOptions.NONE));
    }

    /** Cancels a session only if it is still this owner's; see {@link #adopt}. */
    public Session cancelAs(String id, String owner, String reason) throws InterruptedException {
        Map<String, Object> body = Map.of("reason", reason, "owner", owner);
        return Session.of(ask(Ask.post(of(id) + "/cancel", body), CallOptions.NONE));
    }

    /** Makes {@code owner} the one whose fenced cancel counts. */
    public Session adopt(String id, String owner) throws InterruptedException {
        return Session.of(ask(Ask.post(of(id) + "/adopt", Map.of("owner", owner)), CallOptions.NONE));
    }

    // Tasks

    /** Reads one task by its index. */
    public Task task(String id, long index) throws InterruptedException {
        return Task.of(ask(Ask.get(of(id) + "/tasks/" + index), CallOptions.NONE));
    }

    /**
     * Reads every task in index order, in bounded memory; tasks without an outcome come too. What breaks off is taken up
     * again behind the last task.
     */
    public TaskStream results(String id, CallOptions options) {
        return new TaskStream(transport, options, new TaskStream.Source() {
            private long begin;

            @Override
            public String path(String page) {
                return of(id) + "/results?start=" + (page != null ? page : String.valueOf(begin));
            }

            @Override
            public Task read(Map<String, Object> line) {
                Task task = Task.of(line);
                begin = task.index() + 1;
                return task;
            }

            @Override
            public boolean goesOn(Deadline deadline) {
                return false;
            }
        });
    }

    /**
     * Reads all tasks in one state, or all if it is null, in no order. While the session runs, a task that ends meanwhile
     * may be told twice, and so may any if the stream breaks off.
     */
    public TaskStream tasks(String id, Task.State state, CallOptions options) {
        return new TaskStream(transport, options, new TaskStream.Source() {
            @Override
            public String path(String page) {
                String of = state == null ? "" : "&state=" + state;
                String from = page == null ? "" : "&cursor=" + page;
                String query = of + from;
                return of(id) + "/tasks" + (query.isEmpty() ? "" : "?" + query.substring(1));
            }

            @Override
            public Task read(Map<String, Object> line) {
                return Task.of(line);
            }

            @Override
            public boolean goesOn(Deadline deadline) {
                return false;
            }
        });
    }

    /** Reads every task once, as it ends, until the session has ended. */
    public TaskStream completed(String id, CallOptions options) throws InterruptedException {
        return new TaskStream(transport, options, new Completed(id, session(id)));
    }

    private final class Completed implements TaskStream.Source {
        private final String id;
        private final BitSet seen = new BitSet();
        private Session session;
        private boolean isLastRound;
        private String cursor = "0"; // of the page that is read
        private String behind = "0"; // of the last one that was read to its end

        private Completed(String id, Session session) {
            this.id = id;
            this.session = session;
            this.isLastRound = session.ended();
        }

        @Override
        public String path(String page) {
            return of(id) + "/outcomes?cursor=" + (page != null ? page : behind);
        }

        @Override
        public Task read(Map<String, Object> line) {
            String of = String.valueOf(line.get("cursor"));
            if (!of.equals(cursor)) {
                behind = cursor;
                cursor = of;
            }
            Task task = Task.of(line);
            if (seen.get((int) task.index())) {
                return null;
            }
            seen.set((int) task.index());
            return task;
        }

        @Override
        public boolean goesOn(Deadline deadline) throws InterruptedException {
            behind = cursor;
            if (isLastRound) {
                return false;
            }
            double seconds = deadline.atMost(Upload.LONGEST_WAIT).toMillis() / 1000.0;
            Map<String, Object> body = Map.of("sessions", List.of(id), "until", "change",
                    "seen", Map.of(id, session.version()), "timeout", seconds);
            CallOptions patient = CallOptions.NONE.withRetries(WAIT_RETRIES);
            Ask ask = Ask.post("/wait", body).heldFor(Upload.LONGEST_WAIT);
            List<Session> found = sessionsIn(transport.ask(ask, patient, deadline).members());
            session = found.isEmpty() ? session(id) : found.get(0);
            isLastRound = session.ended();
            return true;
        }
    }

    private Map<String, Object> ask(Ask ask, CallOptions options) throws InterruptedException {
        return transport.ask(ask, options, Deadline.of(options)).members();
    }

    private <T> CompletableFuture<T> later(Callable<T> call) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                return call.call();
            } catch (RuntimeException error) {
                throw error;
            } catch (Exception error) {
                throw new CompletionException(error);
            }
        }, executor);
    }

    private static String of(String id) {
        return "/sessions/" + Transport.part(id);
    }

    @SuppressWarnings("unchecked")
    private static List<Session> sessionsIn(Map<String, Object> told) {
        List<Session> found = new ArrayList<>();
        for (Object one : (List<?>) told.get("sessions")) {
            found.add(Session.of((Map<String, Object>) one));
        }
        return found;
    }
}
