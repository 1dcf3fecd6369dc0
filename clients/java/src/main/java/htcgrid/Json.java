package htcgrid;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON as Java's own types: {@code Map}, {@code List}, {@code String}, {@code Boolean}, {@code null}, and of numbers
 * {@code Long}, {@code BigInteger} where that is too small, and {@code Double}.
 */
public final class Json {
    private static final int DEEPEST = 512;

    private final String text;
    private int at;
    private int depth;

    private Json(String text) {
        this.text = text;
    }

    /**
     * Reads one JSON value.
     *
     * @throws IllegalArgumentException if the text is something else
     */
    public static Object read(String text) {
        Json reader = new Json(text);
        Object value = reader.value();
        reader.space();
        if (reader.at != text.length()) {
            throw reader.wrong("something follows the value");
        }
        return value;
    }

    /**
     * Writes a value: those that {@link #read} makes, arrays, any {@code Number}, {@code Iterable} and {@code Map}, and
     * what is {@link Writable}.
     *
     * @throws IllegalArgumentException if JSON has no such value
     */
    public static String write(Object value) {
        StringBuilder out = new StringBuilder();
        write(out, value, 0);
        return out.toString();
    }

    /** What has a form in JSON of its own. */
    public interface Writable {
        /** The value that stands for this one in JSON. */
        Object toJson();
    }

    private Object value() {
        space();
        if (at == text.length()) {
            throw wrong("the text ends where a value should be");
        }
        char first = text.charAt(at);
        switch (first) {
            case '{':
                return object();
            case '[':
                return array();
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Map<String, Object> object() {
        Map<String, Object> found = new LinkedHashMap<>();
        enter();
        if (!next('}')) {
            do {
                space();
                String name = string();
                space();
                expect(':');
                found.put(name, value());
            } while (next(','));
            expect('}');
        }
        depth--;
        return found;
    }

    private List<Object> array() {
        List<Object> found = new ArrayList<>();
        enter();
        if (!next(']')) {
            do {
                found.add(value());
            } while (next(','));
            expect(']');
        }
        depth--;
        return found;
    }

    private void enter() {
        at++;
        if (++depth > DEEPEST) {
            throw wrong("values are nested too deeply");
        }
    }

    private String string() {
        expect('"');
        int from = at;
        int end = from;
        while (end < text.length() && text.charAt(end) != '"' && text.charAt(end) != '\\') {
            if (text.charAt(end) < ' ') {
                throw wrong("a control character stands in a string");
            }
            end++;
        }
        at = end;
        if (end < text.length() && text.charAt(end) == '"') {
            at++;
            return text.substring(from, end);
        }
        return escaped(new StringBuilder(text.substring(from, end)));
    }

    private String escaped(StringBuilder found) {
        while (at < text.length()) {
            char next = text.charAt(at++);
            if (next == '"') {
                return found.toString();
            }
            if (next < ' ') {
                throw wrong("a control character stands in a string");
            }
            found.append(next == '\\' ? escape() : next);
        }
        throw wrong("a string does not end");
    }

    private char escape() {
        char kind = at < text.length() ? text.charAt(at++) : ' ';
        int plain = "\"\\/bfnrt".indexOf(kind);
        if (plain >= 0) {
            return "\"\\/\b\f\n\r\t".charAt(plain);
        }
        if (kind != 'u' || at + 4 > text.length()) {
            throw wrong("that is no escape");
        }
        try {
            at += 4;
            return (char) Integer.parseInt(text.substring(at - 4, at), 16);
        } catch (NumberFormatException error) {
            throw wrong("that is no escape");
        }
    }

    private Object number() {
        int from = at;
        boolean isWhole = true;
        while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) {
            isWhole &= ".eE".indexOf(text.charAt(at)) < 0;
            at++;
        }
        String digits = text.substring(from, at);
        try {
            if (!isWhole) {
                return Double.valueOf(digits);
            }
            BigInteger whole = new BigInteger(digits);
            return whole.bitLength() < 64 ? (Object) whole.longValue() : whole;
        } catch (NumberFormatException error) {
            throw wrong("that is no value");
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw wrong("that is no value");
        }
        at += word.length();
        return value;
    }

    private boolean next(char wanted) {
        space();
        if (at < text.length() && text.charAt(at) == wanted) {
            at++;
            return true;
        }
        return false;
    }

    private void expect(char wanted) {
        if (!next(wanted)) {
            throw wrong("'" + wanted + "' is missing");
        }
    }

    private void space() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private IllegalArgumentException wrong(String what) {
        return new IllegalArgumentException("no JSON at character " + at + ": " + what);
    }

    private static void write(StringBuilder out, Object value, int depth) {
        if (depth > DEEPEST) {
            throw new IllegalArgumentException("values are nested too deeply");
        }
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof CharSequence) {
            quote(out, value.toString());
        } else if (value instanceof Number) {
            number(out, (Number) value);
        } else if (value instanceof Map) {
            object(out, (Map<?, ?>) value, depth);
        } else if (value instanceof Iterable) {
            array(out, (Iterable<?>) value, depth);
        } else if (value instanceof Writable) {
            write(out, ((Writable) value).toJson(), depth + 1);
        } else if (value.getClass().isArray()) {
            List<Object> items = new ArrayList<>();
            for (int index = 0; index < java.lang.reflect.Array.getLength(value); index++) {
                items.add(java.lang.reflect.Array.get(value, index));
            }
            array(out, items, depth);
        } else {
            throw new IllegalArgumentException("JSON has no " + value.getClass().getName());
        }
    }

    private static void number(StringBuilder out, Number value) {
        double real = value.doubleValue();
        boolean isBig = value instanceof BigInteger || value instanceof BigDecimal;
        if (!isBig && (Double.isNaN(real) || Double.isInfinite(real))) {
            throw new IllegalArgumentException("JSON has no " + value);
        }
        out.append(value);
    }

    private static void object(StringBuilder out, Map<?, ?> value, int depth) {
        String between = "{";
        for (Map.Entry<?, ?> entry : value.entrySet()) {
            out.append(between);
            quote(out, String.valueOf(entry.getKey()));
            out.append(':');
            write(out, entry.getValue(), depth + 1);
            between = ",";
        }
        out.append(value.isEmpty() ? "{}" : "}");
    }

    private static void array(StringBuilder out, Iterable<?> value, int depth) {
        out.append('[');
        boolean isFirst = true;
        for (Object item : value) {
            if (!isFirst) {
                out.append(',');
            }
            write(out, item, depth + 1);
            isFirst = false;
        }
        out.append(']');
    }

    private static void quote(StringBuilder out, String text) {
        out.append('"');
        for (int index = 0; index < text.length(); index++) {
            char next = text.charAt(index);
            if (next == '"' || next == '\\') {
                out.append('\\').append(next);
            } else if (next < ' ' || Character.isSurrogate(next)) {
                out.append(String.format("\\u%04x", (int) next));
            } else {
                out.append(next);
            }
        }
        out.append('"');
    }
}
