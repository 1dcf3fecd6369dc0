package htcgrid;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** On a real server, whose URL is in HTCGRID_URL. Its handler doubles numbers, sleeps and raises, as it is told. */
@Timeout(120)
final class HtcGridTest {
    private static final String URL = System.getenv("HTCGRID_URL");
    private static final SessionSpec SPEC =
            SessionSpec.of("htcgrid_core.testing.handlers.task").maxAttempts(1).build();
    private static final byte[] ROW = """
            {"id": "s-abcd", "version": "1", "state": "RUNNING", "name": "", "tenant": "default", "function": "f",
             "labels": {}, "pool": "default", "parent": null, "total": 1, "completed": 0, "failed": 0, "cancelled": 0,
             "pending": 1, "retrying": 0, "submitted_at": 1.0, "ended_at": null, "reason": "", "owner": ""}""".getBytes();
    private final HtcGrid grid = HtcGrid.at(URL).build();

    private static List<Integer> numbers(int count) {
        return IntStream.range(0, count).boxed().toList();
    }

    @Test
    void submitsWaitsAndReadsResults() throws Exception {
        SessionSpec spec = SessionSpec.of("htcgrid_core.testing.handlers.task")
                .name("book").labels(Map.of("desk", "rates")).timeout(Duration.ofMinutes(5)).build();
        Session session = grid.submit(spec, numbers(300));
        assertEquals("book", session.name());
        assertEquals(Map.of("desk", "rates"), session.labels());
        Session ended = grid.await(session.id()).orThrow();
        assertEquals(300, ended.completed());
        try (TaskStream tasks = grid.results(session.id(), CallOptions.NONE)) {
            for (long index = 0; index < 300; index++) {
                Task task = tasks.next();
                assertEquals(index, task.index());
                assertEquals(2 * index, task.result());
            }
            assertFalse(tasks.hasNext());
        }
        assertEquals(14L, grid.task(session.id(), 7).result());
        assertEquals(List.of(ended), grid.progress(List.of(session.id(), "s-nobody-knows-it")));
        assertEquals(ended, grid.session(session.id()));
        assertTrue(grid.sessions(List.of(Session.State.COMPLETED), 1000).contains(ended));
    }

    @Test
    void uploadsWhatOneRequestDoesNotHold() throws Exception {
        Session session = grid.submit(SPEC, numbers(25_000));
        assertEquals(25_000, session.total());
        grid.await(session.id()).orThrow();
        try (Stream<Task> tasks = grid.results(session.id(), CallOptions.NONE).stream()) {
            long sum = tasks.mapToLong(task -> (Long) task.result()).sum();
            assertEquals(24_999L * 25_000L, sum);
        }
    }

    @Test
    void whatTheEventsThrowEndsTheSubmission() {
        Iterator<Object> broken = new Iterator<>() {
            private int given;

            @Override
            public boolean hasNext() {
                return true;
            }

            @Override
            public Object next() {
                if (given++ > 20_000) {
                    throw new IllegalStateException("no more");
                }
                return given;
            }
        };
        assertThrows(IllegalStateException.class, () -> grid.submit(SPEC, () -> broken));
    }

    @Test
    void theSameKeyIsTheSameSession() throws Exception {
        CallOptions once = CallOptions.NONE.withIdempotencyKey(UUID.randomUUID().toString());
        Session first = grid.submit(SPEC, numbers(3), once);
        assertEquals(first.id(), grid.submit(SPEC, numbers(3), once).id());
        GridException.Problem conflict =
                assertThrows(GridException.Problem.class, () -> grid.submit(SPEC, numbers(4), once));
        assertEquals("session-conflict", conflict.code());
        assertEquals(422, conflict.status());
    }

    @Test
    void failuresAndResubmission() throws Exception {
        Session session = grid.submit(SPEC, List.of(1, Map.of("raise", "no"), 3));
        Session ended = grid.await(session.id());
        assertEquals(Session.State.FAILED, ended.state());
        assertThrows(GridException.SessionFailed.class, ended::orThrow);
        try (TaskStream failed = grid.tasks(session.id(), Task.State.FAILED, CallOptions.NONE)) {
            Task task = failed.next();
            assertEquals(new Task.Error("ValueError", "no", task.error().traceback()), task.error());
            assertFalse(failed.hasNext());
        }
        Session again = grid.resubmit(session.id(), CallOptions.NONE);
        assertEquals(session.id(), again.parent());
        assertEquals(1, grid.await(again.id()).total());
        try (Stream<Task> merged = grid.results(again.id(), CallOptions.NONE).stream()) {
            assertEquals(List.of(Task.State.COMPLETED, Task.State.FAILED, Task.State.COMPLETED),
                    merged.map(Task::state).toList());
        }
    }

    @Test
    void aTaskThatRunsAgainSaysWhy() throws Exception {
        SessionSpec often = SessionSpec.of("htcgrid_core.testing.handlers.task").maxAttempts(1000).build();
        Session session = grid.submit(often, List.of(Map.of("raise", "not yet")));
        Task task = grid.task(session.id(), 0);
        while (task.error() == null) {
            assertTrue(task.startedAt() == null || task.attempts() > 0);
            Thread.sleep(10);
            task = grid.task(session.id(), 0);
        }
        assertEquals(new Task.Error("ValueError", "not yet", task.error().traceback()), task.error());
        assertTrue(task.startedAt() > 0);
        grid.cancel(session.id(), "seen enough");
        grid.await(session.id());
        try (Stream<Task> gaps = grid.results(session.id(), CallOptions.NONE).stream()) {
            assertEquals(List.of(Task.State.CANCELLED), gaps.map(Task::state).toList());
        }
    }

    @Test
    void tasksComeAsTheyComplete() throws Exception {
        Session session = grid.submit(SPEC, List.of(1, 2, Map.of("sleep", 600)));
        Set<Long> seen = new TreeSet<>();
        try (TaskStream tasks = grid.completed(session.id(), CallOptions.NONE)) {
            while (tasks.hasNext()) {
                assertTrue(seen.add(tasks.next().index()));
                if (seen.equals(Set.of(0L, 1L))) {
                    grid.cancel(session.id(), "seen enough");
                }
            }
        }
        assertEquals(Set.of(0L, 1L), seen);
        assertEquals(Session.State.CANCELLED, grid.await(session.id()).state());
    }

    @Test
    void aWaitEndsInTimeAndAnotherGoesOn() throws Exception {
        Session session = grid.submit(SPEC, List.of(Map.of("sleep", 600)));
        CallOptions brief = CallOptions.NONE.withTimeout(Duration.ofMillis(200));
        assertThrows(GridException.TimedOut.class, () -> grid.await(session.id(), brief));
        Session done = grid.submit(SPEC, List.of(1));
        List<Session> any = grid.awaitAny(List.of(session.id(), done.id()), CallOptions.NONE);
        assertEquals(List.of(false, true), any.stream().map(Session::ended).toList());
        assertEquals("first", grid.adopt(session.id(), "first").owner());
        assertEquals(Session.State.RUNNING, grid.cancelAs(session.id(), "second", "late").state());
        grid.cancelAs(session.id(), "first", "in time");
        assertEquals(Session.State.CANCELLED, grid.awaitAll(List.of(session.id()), CallOptions.NONE).get(0).state());
    }

    @Test
    void aWaitForWhatIsNotThereSaysSo() throws Exception {
        Session done = grid.submit(SPEC, List.of(1));
        for (List<String> ids : List.of(List.of("s-nobody-knows-it"), List.of(done.id(), "s-nobody-knows-it"))) {
            GridException.Problem missing =
                    assertThrows(GridException.Problem.class, () -> grid.awaitAll(ids, CallOptions.NONE));
            assertEquals("session-not-found", missing.code());
        }
    }

    @Test
    void aWaitEndsInTimeWhileTheServerIsAway() {
        HtcGrid gone = HtcGrid.at("http://127.0.0.1:1").apiToken("any").build();
        CallOptions brief = CallOptions.NONE.withTimeout(Duration.ofMillis(200));
        assertThrows(GridException.TimedOut.class, () -> gone.await("s-abcd", brief));
    }

    @Test
    void oneLargeEventIsUploadedAndItsEndIsNotAskedForAtOnce() throws Exception {
        List<String> asked = Collections.synchronizedList(new ArrayList<>());
        List<Long> at = Collections.synchronizedList(new ArrayList<>());
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", exchange -> {
            exchange.getRequestBody().readAllBytes();
            asked.add(exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath());
            at.add(System.nanoTime());
            exchange.sendResponseHeaders(asked.size() == 3 ? 202 : 200, ROW.length);
            exchange.getResponseBody().write(ROW);
            exchange.close();
        });
        server.start();
        try {
            HtcGrid played = HtcGrid.at("http://127.0.0.1:" + server.getAddress().getPort()).apiToken("any").build();
            played.submit(SPEC, List.of("€".repeat(2 << 20))); // few characters, many bytes
        } finally {
            server.stop(0);
        }
        String seal = "POST /v1/sessions/s-abcd/seal";
        assertEquals(List.of("POST /v1/sessions", "PUT /v1/sessions/s-abcd/parts/0", seal, seal), asked);
        assertTrue(at.get(3) - at.get(2) > TimeUnit.MILLISECONDS.toNanos(500), "asked again at once");
    }

    @Test
    void aWaitCanBeInterrupted() throws Exception {
        Session session = grid.submit(SPEC, List.of(Map.of("sleep", 600)));
        Thread waiting = new Thread(() -> assertThrows(InterruptedException.class, () -> grid.await(session.id())));
        waiting.start();
        waiting.interrupt();
        waiting.join(TimeUnit.SECONDS.toMillis(60));
        assertFalse(waiting.isAlive());
        grid.cancel(session.id(), "the test is over");
    }

    @Test
    void sharedInputsReachTasks() throws Exception {
        SharedInput shared = grid.put(List.of(1, 2, 3));
        Session session = grid.submit(SPEC, List.of(List.of(shared)));
        grid.await(session.id()).orThrow();
        List<Long> value = List.of(1L, 2L, 3L);
        assertEquals(List.of(value, value), grid.task(session.id(), 0).result());
    }

    @Test
    void futuresAreTheSameCalls() throws Exception {
        Session session = grid.submitAsync(SPEC, numbers(3), CallOptions.NONE)
                .thenCompose(submitted -> grid.awaitAsync(submitted.id(), CallOptions.NONE)).get();
        assertEquals(3, session.completed());
        ExecutionException missing =
                assertThrows(ExecutionException.class, () -> grid.sessionAsync("s-nobody-knows-it").get());
        assertEquals("session-not-found", ((GridException.Problem) missing.getCause()).code());
    }

    @Test
    void problemsAreTyped() {
        GridException.Problem missing =
                assertThrows(GridException.Problem.class, () -> grid.session("s-nobody-knows-it"));
        assertEquals(404, missing.status());
        SessionSpec nowhere = SessionSpec.of("htcgrid_core.testing.handlers.task").pool("nowhere").build();
        GridException.Problem refused =
                assertThrows(GridException.Problem.class, () -> grid.submit(nowhere, numbers(1)));
        assertEquals("invalid-input", refused.code());
        assertTrue(refused.getMessage().contains("nowhere"));
        HtcGrid stranger = HtcGrid.at(URL).apiToken("another").build();
        assertEquals(401, assertThrows(GridException.Problem.class, () -> stranger.session("s-abcd")).status());
        HtcGrid gone = HtcGrid.at("http://127.0.0.1:1").retries(1).build();
        assertThrows(GridException.Connection.class, () -> gone.session("s-abcd"));
    }

    @Test
    void tokensAreNeitherSentInClearTextNorShown() {
        List<String> wrong = new ArrayList<>(List.of(
                "http://grid.example", "https://user:word@grid.example", "https://grid.example?token=word", "ftp://x"));
        for (String url : wrong) {
            assertThrows(IllegalArgumentException.class, () -> HtcGrid.at(url).apiToken("word").build(), url);
        }
        String shown = HtcGrid.at("https://grid.example").apiToken("secret").build().toString();
        assertFalse(shown.contains("secret"));
        assertTrue(Stream.of("http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1")
                .map(url -> HtcGrid.at(url).apiToken("word").build().toString())
                .collect(Collectors.joining()).contains("localhost"));
    }

    @Test
    void retryAfterIsSecondsOrADate() {
        assertEquals(7000, Transport.askedPause("7"));
        assertEquals(0, Transport.askedPause("Wed, 21 Oct 2015 07:28:00 GMT"));
        assertEquals(-1, Transport.askedPause("soon"));
        assertEquals(-1, Transport.askedPause(""));
    }
}
