package htcgrid;

import java.time.Duration;

/** The end of one call's time. */
final class Deadline {
    private final long at;
    private final boolean isNever;

    private Deadline(long at, boolean isNever) {
        this.at = at;
        this.isNever = isNever;
    }

    static Deadline of(CallOptions options) {
        Duration timeout = options.timeout();
        return timeout == null ? new Deadline(0, true) : new Deadline(System.nanoTime() + timeout.toNanos(), false);
    }

    /** One that is so much later. */
    Deadline later(Duration by) {
        return new Deadline(at + by.toNanos(), isNever);
    }

    /** A part of the time that is left. */
    Duration atMost(Duration part) {
        if (isNever) {
            return part;
        }
        check();
        Duration left = Duration.ofNanos(at - System.nanoTime());
        return left.compareTo(part) < 0 ? left : part;
    }

    /**
     * Whether there is time left.
     *
     * @throws GridException.TimedOut if there is none
     */
    void check() {
        if (!isNever && System.nanoTime() - at >= 0) {
            throw new GridException.TimedOut("the time of the call is over; what it waited for goes on");
        }
    }

    void sleep(long milliseconds) throws InterruptedException {
        Thread.sleep(atMost(Duration.ofMillis(milliseconds)).toMillis());
        check();
    }
}
