package htcgrid;

import htcgrid.Transport.Answer;
import htcgrid.Transport.Ask;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** Submits a session: in one request if that holds its events, else in parts. */
final class Upload {
    static final Duration LONGEST_WAIT = Duration.ofSeconds(20); // for which a server holds a request
    private static final int INLINE_EVENTS = 10_000;
    private static final int INLINE_BYTES = 2 << 20; // AWS Lambda takes 6 MB, of JSON within JSON
    private static final int PART_BYTES = 4 << 20;
    private static final long SEAL_AGAIN_MS = 1000; // at least, from one asking for the end of an upload to the next
    private static final int RETRIES = 6; // in the middle of an upload: what was sent is there

    private final Transport transport;
    private final String spec;
    private final CallOptions options;
    private final Deadline deadline;
    private final List<byte[]> waiting = new ArrayList<>();
    private int size; // bytes
    private String id;
    private int parts;

    Upload(Transport transport, SessionSpec spec, CallOptions options) {
        this.transport = transport;
        this.spec = Json.write(spec);
        this.options = options;
        this.deadline = Deadline.of(options);
    }

    Session submit(Iterator<?> events) throws InterruptedException {
        while (events.hasNext()) {
            byte[] event = Json.write(events.next()).getBytes(StandardCharsets.UTF_8);
            if (!waiting.isEmpty() && (size + event.length > PART_BYTES || waiting.size() == INLINE_EVENTS)) {
                flush();
            }
            waiting.add(event);
            size += event.length + 1;
        }
        if (id == null && size <= INLINE_BYTES) {
            return create(joined("[", ",", "]"));
        }
        if (!waiting.isEmpty()) {
            flush();
        }
        return seal();
    }

    /** A session of these events, in JSON; null for those that are uploaded then. */
    private Session create(byte[] events) throws InterruptedException {
        ByteArrayOutputStream body = new ByteArrayOutputStream(spec.length() + events.length + 16);
        body.writeBytes((spec.substring(0, spec.length() - 1) + ",\"events\":").getBytes(StandardCharsets.UTF_8));
        body.writeBytes(events);
        body.write('}');
        byte[] sent = body.toByteArray();
        Ask ask = new Ask("POST", "/sessions", "application/json", sent, "application/json",
                options.idempotencyKey(), Duration.ZERO);
        return Session.of(transport.ask(ask, options, deadline).members());
    }

    private void flush() throws InterruptedException {
        if (id == null) {
            id = create("null".getBytes(StandardCharsets.UTF_8)).id();
        }
        byte[] body = joined("", "\n", "\n");
        Ask ask = Ask.put("/sessions/" + id + "/parts/" + parts, "application/x-ndjson", body);
        transport.ask(ask, options.withRetriesAtLeast(RETRIES, transport.retries()), deadline);
        parts++;
        waiting.clear();
        size = 0;
    }

    private byte[] joined(String begin, String between, String end) {
        ByteArrayOutputStream joined = new ByteArrayOutputStream(size + 2);
        String before = begin;
        for (byte[] event : waiting) {
            joined.writeBytes(before.getBytes(StandardCharsets.UTF_8));
            joined.writeBytes(event);
            before = between;
        }
        joined.writeBytes((waiting.isEmpty() ? begin + end : end).getBytes(StandardCharsets.UTF_8));
        return joined.toByteArray();
    }

    private Session seal() throws InterruptedException {
        Map<String, Object> body = Map.of("parts", parts, "wait", (double) LONGEST_WAIT.toSeconds());
        while (true) {
            long began = System.nanoTime();
            Ask ask = Ask.post("/sessions/" + id + "/seal", body).heldFor(LONGEST_WAIT);
            Answer answer = transport.ask(ask, options.withRetriesAtLeast(RETRIES, transport.retries()), deadline);
            Session session = Session.of(answer.members());
            if (answer.status() == 200 || session.ended()) {
                return session;
            }
            // A server may answer at once that it is not done yet.
            long took = Duration.ofNanos(System.nanoTime() - began).toMillis();
            deadline.sleep(Math.max(0, SEAL_AGAIN_MS - took));
        }
    }
}
