// Puts prices the American puts of Longstaff and Schwartz (2001) on a grid.
//
// Usage: puts URL FUNCTION PATHS BATCH_PATHS, with the API token in HTCGRID_API_TOKEN.
package main

import (
	"context"
	"fmt"
	"iter"
	"log"
	"math"
	"os"
	"os/signal"
	"strconv"

	"htcgrid"
)

var published = []float64{
	4.472, 4.821, 7.091, 8.488, 3.244, 3.735, 6.139, 7.669, 2.313, 2.879, 5.308, 6.921, 1.617, 2.206, 4.588, 6.243,
	1.118, 1.675, 3.957, 5.622,
}

type option struct {
	spot       int
	volatility float64
	maturity   int
}

type event struct {
	Row        int     `json:"row"`
	Batch      int     `json:"batch"`
	Spot       int     `json:"spot"`
	Volatility float64 `json:"volatility"`
	Maturity   int     `json:"maturity"`
	Paths      int     `json:"paths"`
	Seed       int     `json:"seed"`
}

type result struct {
	Row     int     `json:"row"`
	Pairs   float64 `json:"pairs"`
	Mean    float64 `json:"mean"`
	Squares float64 `json:"squares"`
}

func options() []option {
	var found []option
	for _, spot := range []int{36, 38, 40, 42, 44} {
		for _, volatility := range []float64{0.2, 0.4} {
			for _, maturity := range []int{1, 2} {
				found = append(found, option{spot, volatility, maturity})
			}
		}
	}
	return found
}

func events(paths, batchPaths int) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for row, put := range options() {
			for batch := range paths / batchPaths {
				made := event{row, batch, put.spot, put.volatility, put.maturity, batchPaths, 2001}
				if !yield(made, nil) {
					return
				}
			}
		}
	}
}

func run(ctx context.Context, url, function string, paths, batchPaths int) error {
	grid, err := htcgrid.New(url)
	if err != nil {
		return err
	}
	session, err := grid.Submit(ctx, htcgrid.Spec{Function: function, Name: "american puts"}, events(paths, batchPaths))
	if err != nil {
		return err
	}
	if session, err = grid.Wait(ctx, session.ID); err != nil {
		return err
	}
	if err := session.Err(); err != nil {
		return err
	}
	moments := make([]result, len(options())) // of all batches of a row that were added so far
	for task, err := range grid.Results(ctx, session.ID) {
		if err != nil {
			return err
		}
		var batch result
		if err := task.Decode(&batch); err != nil {
			return err
		}
		ours := &moments[batch.Row]
		pairs, delta := ours.Pairs+batch.Pairs, batch.Mean-ours.Mean
		ours.Squares += batch.Squares + delta*delta*ours.Pairs*batch.Pairs/pairs
		ours.Mean += delta * batch.Pairs / pairs
		ours.Pairs = pairs
	}
	fmt.Printf("%4s %5s %3s %10s %8s %10s\n", "S", "vol", "T", "simulated", "(s.e.)", "published")
	for row, put := range options() {
		ours := moments[row]
		deviation := math.Sqrt(ours.Squares / (ours.Pairs - 1) / ours.Pairs)
		fmt.Printf("%4d %5.2f %3d %10.4f (%6.4f) %10.3f\n",
			put.spot, put.volatility, put.maturity, ours.Mean, deviation, published[row])
	}
	return nil
}

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: puts URL FUNCTION PATHS BATCH_PATHS")
	}
	paths, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	batchPaths, err := strconv.Atoi(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], paths, batchPaths); err != nil {
		log.Fatal(err)
	}
}
