package htcgrid;

import htcgrid.Transport.Ask;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * Tasks of a session, read as they are taken. Close it: it holds a connection until its end. Not for several threads at
 * once.
 */
public final class TaskStream implements Iterator<Task>, AutoCloseable {
    private static final int BREAKS = 10; // in a row that are borne
    // A request's timeout ends at the head of its answer: a body that stalls is closed by this.
    private static final ScheduledThreadPoolExecutor WATCHDOG = watchdog();

    private final Transport transport;
    private final CallOptions options;
    private final Deadline deadline;
    private final Source source;
    private InputStream body;
    private BufferedReader lines;
    private String nextPage;
    private Task ahead;
    private boolean isOver;
    private int breaks;

    /** Says what is to be read, again after each break. */
    interface Source {
        /** The path to go on with; {@code page} is where the server said the next page begins, or null. */
        String path(String page);

        /** A task that was read; null to leave it out. */
        Task read(Map<String, Object> line);

        /** The answer is over; whether to ask again, for more. */
        boolean goesOn(Deadline deadline) throws InterruptedException;
    }

    TaskStream(Transport transport, CallOptions options, Source source) {
        this.transport = transport;
        this.options = options;
        this.deadline = Deadline.of(options);
        this.source = source;
    }

    /** This as a {@link Stream}, which is to be closed in its place. */
    public Stream<Task> stream() {
        int ordered = Spliterator.ORDERED | Spliterator.NONNULL;
        return StreamSupport.stream(Spliterators.spliteratorUnknownSize(this, ordered), false).onClose(this::close);
    }

    @Override
    public boolean hasNext() {
        while (ahead == null && !isOver) {
            try {
                advance();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
                close();
                throw new GridException("interrupted while tasks were read", error);
            } catch (RuntimeException error) {
                close();
                throw error;
            }
        }
        return ahead != null;
    }

    @Override
    public Task next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        Task found = ahead;
        ahead = null;
        return found;
    }

    @Override
    public void close() {
        isOver = true;
        letGo();
    }

    private void advance() throws InterruptedException {
        deadline.check();
        try {
            if (lines == null) {
                HttpResponse<InputStream> response =
                        transport.open(Ask.lines(source.path(nextPage)), options, deadline);
                nextPage = response.headers().firstValue("Htcgrid-Next").orElse(null);
                body = response.body();
                lines = new BufferedReader(new InputStreamReader(body, StandardCharsets.UTF_8));
            }
            String line = watched();
            if (line == null) {
                letGo();
                isOver = nextPage == null && !source.goesOn(deadline);
            } else if (!line.isBlank()) {
                ahead = source.read(new Transport.Answer(200, Json.read(line)).members());
                breaks = 0;
            }
        } catch (IOException error) {
            borne(new GridException.Connection(transport.base(), error));
        } catch (GridException error) {
            borne(error);
        } catch (IllegalArgumentException error) { // a line that was cut off
            borne(new GridException.Connection(transport.base(), error));
        }
    }

    private void borne(GridException error) throws InterruptedException {
        letGo();
        nextPage = null;
        if (!error.mayPass() || ++breaks > BREAKS) {
            throw error;
        }
        deadline.sleep(Math.min(200L * breaks, 5000L));
    }

    private static ScheduledThreadPoolExecutor watchdog() {
        ScheduledThreadPoolExecutor made = new ScheduledThreadPoolExecutor(1, work -> {
            Thread thread = new Thread(work, "htcgrid-watchdog");
            thread.setDaemon(true);
            return thread;
        });
        made.setRemoveOnCancelPolicy(true); // else one of each line that was read stays until it would have been due
        return made;
    }

    private String watched() throws IOException {
        InputStream read = body;
        ScheduledFuture<?> stalled =
                WATCHDOG.schedule(() -> closed(read), Transport.ANSWER.toMillis(), TimeUnit.MILLISECONDS);
        try {
            return lines.readLine();
        } finally {
            stalled.cancel(false);
        }
    }

    private void letGo() {
        if (body != null) {
            closed(body);
        }
        body = null;
        lines = null;
    }

    private static void closed(InputStream stream) {
        try {
            stream.close();
        } catch (IOException error) {
            // it is over in any case
        }
    }
}
