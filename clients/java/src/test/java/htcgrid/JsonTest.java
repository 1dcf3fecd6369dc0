package htcgrid;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.math.BigInteger;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

final class JsonTest {
    @Test
    void readsWhatItWrites() {
        Map<String, Object> value = new java.util.LinkedHashMap<>();
        value.put("text", "quote \" backslash \\ line \n tab \t control \u0001 snowman \u2603 face \uD83D\uDE00");
        value.put("numbers", Arrays.asList(0L, -1L, Long.MAX_VALUE, 0.1, -1.5e300, BigInteger.TEN.pow(30)));
        value.put("nothing", null);
        value.put("truths", List.of(true, false));
        value.put("empty", List.of(Map.of(), List.of(), ""));
        assertEquals(value, Json.read(Json.write(value)));
    }

    @Test
    void readsWhatOthersWrite() {
        assertEquals(List.of(1L, "\u00e9/", 2.5), Json.read(" [ 1 , \"\\u00e9\\/\" , 2.5e0 ] "));
        assertEquals(Map.of("a", Map.of()), Json.read("{\"a\" : { } }"));
    }

    @Test
    void refusesWhatIsNoJson() {
        List<String> wrong = List.of(
                "", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "nul", "\"a", "\"\\x\"", "\"\\u12\"", "1 2", "-", "\u0001",
                "\"\n\"", "[".repeat(100_000));
        for (String text : wrong) {
            assertThrows(IllegalArgumentException.class, () -> Json.read(text), text);
        }
        for (Object value : List.of(Double.NaN, Float.POSITIVE_INFINITY, new Object())) {
            assertThrows(IllegalArgumentException.class, () -> Json.write(value));
        }
    }

    @Test
    void writesArraysAndReferences() {
        assertEquals("[1,2]", Json.write(new int[] {1, 2}));
        SharedInput shared = new SharedInput("d", "json");
        assertEquals(Map.of("$htcgrid.shared", "d", "codec", "json"), Json.read(Json.write(shared)));
    }
}
