// Many submits the numbers from 0 on as events of one session, and adds up its results: neither is ever held as a whole.
//
// Usage: many URL FUNCTION EVENTS, with the API token in HTCGRID_API_TOKEN.
package main

import (
	"context"
	"fmt"
	"iter"
	"log"
	"os"
	"os/signal"
	"strconv"
	"time"

	"htcgrid"
)

func numbers(count int) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for number := range count {
			if !yield(number, nil) {
				return
			}
		}
	}
}

func run(ctx context.Context, url, function string, count int) error {
	grid, err := htcgrid.New(url)
	if err != nil {
		return err
	}
	began := time.Now()
	session, err := grid.Submit(ctx, htcgrid.Spec{Function: function, Name: "many"}, numbers(count))
	if err != nil {
		return err
	}
	submitted := time.Now()
	if session, err = grid.Wait(ctx, session.ID); err != nil {
		return err
	}
	if err := session.Err(); err != nil {
		return err
	}
	ended := time.Now()
	results, sum := 0, int64(0)
	for task, err := range grid.Results(ctx, session.ID) {
		if err != nil {
			return err
		}
		var result int64
		if err := task.Decode(&result); err != nil {
			return err
		}
		results, sum = results+1, sum+result
	}
	fmt.Printf("%d results, sum %d; submitted in %.1f s, ended %.1f s later, read in %.1f s\n", results, sum,
		submitted.Sub(began).Seconds(), ended.Sub(submitted).Seconds(), time.Since(ended).Seconds())
	return nil
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: many URL FUNCTION EVENTS")
	}
	count, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], count); err != nil {
		log.Fatal(err)
	}
}
