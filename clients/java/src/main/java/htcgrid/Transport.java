package htcgrid;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;

/** Requests to one server, made again where that does no harm. */
final class Transport {
    static final String VERSION = "1.0.0";
    static final Duration ANSWER = Duration.ofSeconds(60); // for the head of an answer, and between two of its pieces
    private static final long FIRST_PAUSE_MS = 200;
    private static final long LONGEST_PAUSE_MS = 5000;

    private final String base;
    private final String token;
    private final HttpClient http;
    private final int retries;

    Transport(String base, String token, HttpClient http, int retries) {
        this.base = base;
        this.token = token;
        this.http = http;
        this.retries = retries;
    }

    /** One request. */
    record Ask(String method, String path, String media, byte[] body, String accept, String key, Duration held) {
        static Ask get(String path) {
            return new Ask("GET", path, null, null, "application/json", null, Duration.ZERO);
        }

        static Ask lines(String path) {
            return new Ask("GET", path, null, null, "application/x-ndjson", null, Duration.ZERO);
        }

        static Ask post(String path, Object body) {
            byte[] sent = Json.write(body).getBytes(StandardCharsets.UTF_8);
            return new Ask("POST", path, "application/json", sent, "application/json", null, Duration.ZERO);
        }

        static Ask put(String path, String media, byte[] body) {
            return new Ask("PUT", path, media, body, "application/json", null, Duration.ZERO);
        }

        Ask keyed(String with) {
            return new Ask(method, path, media, body, accept, with, held);
        }

        Ask heldFor(Duration time) {
            return new Ask(method, path, media, body, accept, key, time);
        }
    }

    /** An answer that is a success. */
    record Answer(int status, Object body) {
        @SuppressWarnings("unchecked")
        Map<String, Object> members() {
            if (body instanceof Map) {
                return (Map<String, Object>) body;
            }
            throw new GridException("the server answers as no grid's server does", null);
        }
    }

    String base() {
        return base;
    }

    int retries() {
        return retries;
    }

    /** What the server answers. */
    Answer ask(Ask ask, CallOptions options, Deadline deadline) throws InterruptedException {
        HttpResponse<InputStream> response = open(ask, options, deadline);
        try (InputStream body = response.body()) {
            String text = new String(body.readAllBytes(), StandardCharsets.UTF_8);
            return new Answer(response.statusCode(), text.isBlank() ? null : Json.read(text));
        } catch (IOException error) {
            throw new GridException.Connection(base, error);
        } catch (IllegalArgumentException error) {
            throw new GridException(base + " answers as no grid's server does: " + error.getMessage(), error);
        }
    }

    /** An answer that is a success, whose body is still to be read. */
    HttpResponse<InputStream> open(Ask ask, CallOptions options, Deadline deadline) throws InterruptedException {
        int left = options.retries() == null ? retries : options.retries();
        long pause = FIRST_PAUSE_MS;
        while (true) {
            GridException failure;
            long asked = -1;
            try {
                HttpResponse<InputStream> response = http.send(request(ask, deadline), BodyHandlers.ofInputStream());
                if (response.statusCode() < 300) {
                    return response;
                }
                asked = askedPause(response.headers().firstValue("Retry-After").orElse(""));
                failure = problem(response);
            } catch (IOException error) {
                deadline.check();
                failure = new GridException.Connection(base, error);
            }
            if (left-- <= 0 || !failure.mayPass()) {
                throw failure;
            }
            long jittered = (long) (pause * ThreadLocalRandom.current().nextDouble(0.5, 1.0));
            deadline.sleep(asked >= 0 ? asked : jittered);
            pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
        }
    }

    private HttpRequest request(Ask ask, Deadline deadline) {
        HttpRequest.Builder made = HttpRequest.newBuilder(URI.create(base + "/v1" + ask.path()))
                .timeout(deadline.atMost(ANSWER.plus(ask.held())))
                .header("Authorization", "Bearer " + token)
                .header("Accept", ask.accept())
                .header("User-Agent", "htcgrid-java/" + VERSION);
        if (ask.key() != null) {
            made.header("Idempotency-Key", ask.key());
        }
        if (ask.body() == null) {
            return made.method(ask.method(), BodyPublishers.noBody()).build();
        }
        return made.header("Content-Type", ask.media())
                .method(ask.method(), BodyPublishers.ofByteArray(ask.body()))
                .build();
    }

    private GridException.Problem problem(HttpResponse<InputStream> response) throws IOException {
        Map<String, Object> members = Map.of("detail", "the server answers as no grid's server does");
        try (InputStream body = response.body()) {
            Object told = Json.read(new String(body.readNBytes(1 << 16), StandardCharsets.UTF_8));
            if (told instanceof Map<?, ?> found && found.get("detail") != null) {
                members = new Answer(response.statusCode(), told).members();
            }
        } catch (IllegalArgumentException error) {
            // somebody else's answer: its status says enough
        }
        String request = response.headers().firstValue("X-Request-Id").orElse(null);
        return new GridException.Problem(response.statusCode(), members, request);
    }

    /** What a Retry-After header asks for (ms); -1 if it is none. */
    static long askedPause(String text) {
        try {
            return Math.max(0, Long.parseLong(text.strip())) * 1000;
        } catch (NumberFormatException notSeconds) {
            try {
                Instant at = ZonedDateTime.parse(text, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
                return Math.max(0, Duration.between(Instant.now(), at).toMillis());
            } catch (DateTimeParseException notDate) {
                return -1;
            }
        }
    }

    static String part(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
    }
}
