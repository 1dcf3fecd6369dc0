package htcgrid;

import java.time.Duration;

/**
 * How one call behaves.
 *
 * @param idempotencyKey names what is written, so that the same call in another process is the same write; null for one
 *     that is made
 * @param timeout of the whole call, all tries and waits; null for none
 * @param retries how often a request is made again; null for the client's
 */
public record CallOptions(String idempotencyKey, Duration timeout, Integer retries) {
    /** Nothing but what the client does. */
    public static final CallOptions NONE = new CallOptions(null, null, null);

    /** The same with a key. */
    public CallOptions withIdempotencyKey(String key) {
        return new CallOptions(key, timeout, retries);
    }

    /** The same with a time limit. */
    public CallOptions withTimeout(Duration limit) {
        return new CallOptions(idempotencyKey, limit, retries);
    }

    /** The same with a number of retries. */
    public CallOptions withRetries(int times) {
        return new CallOptions(idempotencyKey, timeout, times);
    }

    CallOptions withRetriesAtLeast(int times, int ofClient) {
        return withRetries(Math.max(times, retries == null ? ofClient : retries));
    }
}
