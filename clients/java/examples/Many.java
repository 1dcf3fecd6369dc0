import htcgrid.CallOptions;
import htcgrid.HtcGrid;
import htcgrid.SessionSpec;
import htcgrid.TaskStream;
import java.util.Locale;
import java.util.stream.IntStream;

/**
 * Submits the numbers from 0 on as events of one session, and adds up its results: neither is ever held as a whole.
 *
 * <p>Usage: Many URL FUNCTION EVENTS, with the API token in HTCGRID_API_TOKEN.
 */
public final class Many {
    private Many() {}

    /** Submits, waits, reads, and prints the sum and the times. */
    public static void main(String[] args) throws InterruptedException {
        int count = Integer.parseInt(args[2]);
        HtcGrid grid = HtcGrid.at(args[0]).build();
        Iterable<Integer> numbers = () -> IntStream.range(0, count).iterator();
        long began = System.nanoTime();
        String id = grid.submit(SessionSpec.of(args[1]).name("many").build(), numbers).id();
        long submitted = System.nanoTime();
        grid.await(id).orThrow();
        long ended = System.nanoTime();
        int results = 0;
        long sum = 0;
        try (TaskStream tasks = grid.results(id, CallOptions.NONE)) {
            for (; tasks.hasNext(); results++) {
                sum += ((Number) tasks.next().result()).longValue();
            }
        }
        System.out.printf(
                Locale.ROOT,
                "%d results, sum %d; submitted in %.1f s, ended %.1f s later, read in %.1f s%n",
                results, sum, seconds(began, submitted), seconds(submitted, ended), seconds(ended, System.nanoTime()));
    }

    private static double seconds(long from, long to) {
        return (to - from) / 1e9;
    }
}
