import htcgrid.CallOptions;
import htcgrid.HtcGrid;
import htcgrid.Session;
import htcgrid.SessionSpec;
import htcgrid.Task;
import htcgrid.TaskStream;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * The American puts of Longstaff and Schwartz (2001) on a grid.
 *
 * <p>Usage: AmericanPuts URL FUNCTION PATHS BATCH_PATHS, with the API token in HTCGRID_API_TOKEN.
 */
public final class AmericanPuts {
    private static final double[] PUBLISHED = {
        4.472, 4.821, 7.091, 8.488, 3.244, 3.735, 6.139, 7.669, 2.313, 2.879, 5.308, 6.921, 1.617, 2.206, 4.588, 6.243,
        1.118, 1.675, 3.957, 5.622
    };

    private record Option(int spot, double volatility, int maturity) {}

    private static final class Moments {
        private double pairs;
        private double mean;
        private double squares;

        private void add(Map<?, ?> batch) {
            double more = ((Number) batch.get("pairs")).doubleValue();
            double delta = ((Number) batch.get("mean")).doubleValue() - mean;
            double all = pairs + more;
            squares += ((Number) batch.get("squares")).doubleValue() + delta * delta * pairs * more / all;
            mean += delta * more / all;
            pairs = all;
        }
    }

    private static List<Option> options() {
        List<Option> found = new ArrayList<>();
        for (int spot : new int[] {36, 38, 40, 42, 44}) {
            for (double volatility : new double[] {0.2, 0.4}) {
                for (int maturity : new int[] {1, 2}) {
                    found.add(new Option(spot, volatility, maturity));
                }
            }
        }
        return found;
    }

    private static Iterator<Map<String, Object>> events(int paths, int batchPaths) {
        List<Option> options = options();
        int batches = paths / batchPaths;
        return IntStream.range(0, options.size() * batches)
                .mapToObj(number -> {
                    Option put = options.get(number / batches);
                    return Map.<String, Object>of(
                            "row", number / batches, "batch", number % batches, "spot", put.spot(),
                            "volatility", put.volatility(), "maturity", put.maturity(), "paths", batchPaths,
                            "seed", 2001);
                })
                .iterator();
    }

    /** Submits, waits, and prints the table. */
    public static void main(String[] args) throws InterruptedException {
        int paths = Integer.parseInt(args[2]);
        int batchPaths = Integer.parseInt(args[3]);
        HtcGrid grid = HtcGrid.at(args[0]).build();
        SessionSpec spec = SessionSpec.of(args[1]).name("american puts").build();
        Iterable<Map<String, Object>> events = () -> events(paths, batchPaths);
        Session submitted = grid.submit(spec, events);
        Session session = grid.await(submitted.id()).orThrow();
        Moments[] moments = options().stream().map(put -> new Moments()).toArray(Moments[]::new);
        try (TaskStream tasks = grid.results(session.id(), CallOptions.NONE)) {
            while (tasks.hasNext()) {
                Task task = tasks.next();
                Map<?, ?> batch = (Map<?, ?>) task.result();
                moments[((Number) batch.get("row")).intValue()].add(batch);
            }
        }
        System.out.printf("%4s %5s %3s %10s %8s %10s%n", "S", "vol", "T", "simulated", "(s.e.)", "published");
        for (int row = 0; row < moments.length; row++) {
            Option put = options().get(row);
            Moments ours = moments[row];
            double error = Math.sqrt(ours.squares / (ours.pairs - 1) / ours.pairs);
            System.out.printf(Locale.ROOT, "%4d %5.2f %3d %10.4f (%6.4f) %10.3f%n",
                    put.spot(), put.volatility(), put.maturity(), ours.mean, error, PUBLISHED[row]);
        }
    }
}
