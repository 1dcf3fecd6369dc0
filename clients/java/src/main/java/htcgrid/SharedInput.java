package htcgrid;

import java.util.Map;

/** Refers to a stored value. Put it anywhere into an event: the task gets the value in its place. */
public record SharedInput(String digest, String codec) implements Json.Writable {
    @Override
    public Object toJson() {
        return Map.of("$htcgrid.shared", digest, "codec", codec);
    }
}
