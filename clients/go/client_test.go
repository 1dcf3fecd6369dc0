package htcgrid

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// On a real server, whose URL is in HTCGRID_URL. Its handler doubles numbers, sleeps and raises, as it is told.
const handler = "htcgrid_core.testing.handlers.task"

var spec = Spec{Function: handler, Retry: &Retry{MaxAttempts: 1}}

type doing = map[string]any

func given(t *testing.T, options ...Option) (*Client, context.Context) {
	t.Helper()
	url := os.Getenv("HTCGRID_URL")
	if url == "" {
		t.Skip("HTCGRID_URL names no server")
	}
	client, err := New(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return client, ctx
}

func numbers(count int) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for number := range count {
			if !yield(number, nil) {
				return
			}
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func collect(t *testing.T, tasks iter.Seq2[Task, error]) []Task {
	t.Helper()
	var found []Task
	for task, err := range tasks {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, task)
	}
	return found
}

func result(t *testing.T, task Task) int {
	t.Helper()
	var value int
	if err := task.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSubmitWaitAndResults(t *testing.T) {
	client, ctx := given(t)
	asked := spec
	asked.Name, asked.Labels = "book", map[string]string{"desk": "go"}
	session := must[Session](t)(client.Submit(ctx, asked, numbers(300)))
	ended := must[Session](t)(client.Wait(ctx, session.ID))
	if ended.Err() != nil || ended.Completed != 300 || ended.Name != "book" {
		t.Fatalf("ended as %+v", ended)
	}
	tasks := collect(t, client.Results(ctx, session.ID))
	for index, task := range tasks {
		if task.Index != int64(index) || result(t, task) != 2*index {
			t.Fatalf("task %d is %+v", index, task)
		}
	}
	if len(tasks) != 300 {
		t.Fatalf("%d tasks", len(tasks))
	}
	if one := must[Task](t)(client.Task(ctx, session.ID, 7)); result(t, one) != 14 {
		t.Fatalf("task 7 is %+v", one)
	}
	found := must[[]Session](t)(client.Progress(ctx, session.ID, "s-nobody-knows-it"))
	if len(found) != 1 || found[0].ID != session.ID {
		t.Fatalf("progress is %+v", found)
	}
	var listed []string
	for one, err := range client.Sessions(ctx, Filter{States: []string{Completed}, Labels: asked.Labels}) {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, one.ID)
	}
	if !slices.Contains(listed, session.ID) {
		t.Fatalf("%s is not among %v", session.ID, listed)
	}
}

func TestUploadsWhatOneRequestDoesNotHold(t *testing.T) {
	client, ctx := given(t)
	session := must[Session](t)(client.Submit(ctx, spec, numbers(25_000)))
	ended := must[Session](t)(client.Wait(ctx, session.ID))
	if ended.Completed != 25_000 {
		t.Fatalf("ended as %+v", ended)
	}
	count := 0
	for task, err := range client.Results(ctx, session.ID) {
		if err != nil || result(t, task) != 2*count {
			t.Fatalf("task %d is %+v: %v", count, task, err)
		}
		count++
	}
	if count != 25_000 {
		t.Fatalf("%d tasks", count)
	}
}

func TestAnErrorOfTheEventsEndsTheSubmission(t *testing.T) {
	client, ctx := given(t)
	no := errors.New("no more")
	_, err := client.Submit(ctx, spec, func(yield func(any, error) bool) { yield(nil, no) })
	if !errors.Is(err, no) {
		t.Fatalf("%v", err)
	}
}

func TestTheSameKeyIsTheSameSession(t *testing.T) {
	client, ctx := given(t)
	once := WithIdempotencyKey(newKey())
	first := must[Session](t)(client.Submit(ctx, spec, numbers(3), once))
	again := must[Session](t)(client.Submit(ctx, spec, numbers(3), once))
	if first.ID != again.ID {
		t.Fatalf("%s and %s", first.ID, again.ID)
	}
	if _, err := client.Submit(ctx, spec, numbers(4), once); !IsCode(err, CodeSessionConflict) {
		t.Fatalf("%v", err)
	}
}

func TestFailuresAndResubmission(t *testing.T) {
	client, ctx := given(t)
	events := Events([]any{1, doing{"raise": "no"}, 3})
	session := must[Session](t)(client.Submit(ctx, spec, events))
	ended := must[Session](t)(client.Wait(ctx, session.ID))
	var failed *SessionFailed
	if !errors.As(ended.Err(), &failed) || failed.Session.ID != session.ID {
		t.Fatalf("ended as %+v", ended)
	}
	tasks := collect(t, client.Tasks(ctx, session.ID, Failed))
	if len(tasks) != 1 || tasks[0].Error.Type != "ValueError" || tasks[0].Error.Message != "no" {
		t.Fatalf("failed are %+v", tasks)
	}
	again := must[Session](t)(client.Resubmit(ctx, session.ID))
	if again.Parent == nil || *again.Parent != session.ID || again.Total != 1 {
		t.Fatalf("again is %+v", again)
	}
	must[Session](t)(client.Wait(ctx, again.ID))
	if merged := collect(t, client.Results(ctx, again.ID)); len(merged) != 3 {
		t.Fatalf("merged are %+v", merged)
	}
}

func TestATaskThatRunsAgainSaysWhy(t *testing.T) {
	client, ctx := given(t)
	often := Spec{Function: handler, Retry: &Retry{MaxAttempts: 1000}}
	session := must[Session](t)(client.Submit(ctx, often, Events([]any{doing{"raise": "not yet"}})))
	task := must[Task](t)(client.Task(ctx, session.ID, 0))
	for task.Error == nil {
		time.Sleep(10 * time.Millisecond)
		task = must[Task](t)(client.Task(ctx, session.ID, 0))
	}
	if task.Error.Type != "ValueError" || task.Error.Message != "not yet" || task.StartedAt == nil {
		t.Fatalf("it is %+v", task)
	}
	must[Session](t)(client.Cancel(ctx, session.ID, "seen enough"))
}

func TestTasksComeAsTheyComplete(t *testing.T) {
	client, ctx := given(t)
	session := must[Session](t)(client.Submit(ctx, spec, Events([]any{1, 2, doing{"sleep": 600}})))
	var seen []int64
	for task, err := range client.Completed(ctx, session.ID) {
		if err != nil {
			t.Fatal(err)
		}
		if seen = append(seen, task.Index); len(seen) == 2 {
			must[Session](t)(client.Cancel(ctx, session.ID, "seen enough"))
		}
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []int64{0, 1}) {
		t.Fatalf("seen are %v", seen)
	}
}

func TestAContextEndsAWaitAndAnotherGoesOn(t *testing.T) {
	client, ctx := given(t)
	session := must[Session](t)(client.Submit(ctx, spec, Events([]any{doing{"sleep": 600}})))
	brief, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := client.Wait(brief, session.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	done := must[Session](t)(client.Submit(ctx, spec, numbers(1)))
	found := must[[]Session](t)(client.WaitAny(ctx, session.ID, done.ID))
	if len(found) != 2 || found[0].Ended() || !found[1].Ended() {
		t.Fatalf("found are %+v", found)
	}
	must[Session](t)(client.Adopt(ctx, session.ID, "first"))
	if late := must[Session](t)(client.CancelAs(ctx, session.ID, "second", "late")); late.State != Running {
		t.Fatalf("cancelled by another: %+v", late)
	}
	must[Session](t)(client.CancelAs(ctx, session.ID, "first", "in time"))
	if ended := must[Session](t)(client.Wait(ctx, session.ID)); ended.State != Cancelled {
		t.Fatalf("ended as %+v", ended)
	}
	if _, err := client.Wait(ctx, "s-nobody-knows-it"); !IsCode(err, CodeSessionNotFound) {
		t.Fatalf("%v", err)
	}
	if _, err := client.WaitAll(ctx, done.ID, "s-nobody-knows-it"); !IsCode(err, CodeSessionNotFound) {
		t.Fatalf("%v", err)
	}
}

func TestSharedInputsReachTasks(t *testing.T) {
	client, ctx := given(t)
	shared := must[SharedInput](t)(client.Put(ctx, []int{1, 2, 3}))
	session := must[Session](t)(client.Submit(ctx, spec, Events([]any{[]any{shared}})))
	if ended := must[Session](t)(client.Wait(ctx, session.ID)); ended.Err() != nil {
		t.Fatal(ended.Err())
	}
	var value [][]int
	if err := must[Task](t)(client.Task(ctx, session.ID, 0)).Decode(&value); err != nil || len(value[1]) != 3 {
		t.Fatalf("%v %v", value, err)
	}
}

func TestProblemsAreTyped(t *testing.T) {
	client, ctx := given(t)
	_, err := client.Session(ctx, "s-nobody-knows-it")
	var problem *Error
	if !errors.As(err, &problem) || problem.Status != 404 || problem.Code != CodeSessionNotFound {
		t.Fatalf("%v", err)
	}
	nowhere := spec
	nowhere.Pool = "nowhere"
	if _, err = client.Submit(ctx, nowhere, numbers(1)); !IsCode(err, CodeInvalidInput) {
		t.Fatalf("%v", err)
	}
	stranger, _ := given(t, WithToken("another"))
	if _, err = stranger.Session(ctx, "s-abcd"); !IsCode(err, CodeUnauthorized) {
		t.Fatalf("%v", err)
	}
}

// Of these, the servers are the tests themselves.

func TestRequestsAreMadeAgain(t *testing.T) {
	var tries atomic.Int32
	keys := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Header.Get("Idempotency-Key")
		if tries.Add(1) == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"id": "s-abcd", "state": "RUNNING"}`)
	}))
	defer server.Close()
	client, err := New(server.URL, WithToken("secret"))
	if err != nil {
		t.Fatal(err)
	}
	session, err := client.Resubmit(context.Background(), "s-parent")
	if err != nil || session.ID != "s-abcd" {
		t.Fatalf("%+v %v", session, err)
	}
	if first, second := <-keys, <-keys; first == "" || first != second {
		t.Fatalf("keys %q and %q", first, second)
	}
	if text := fmt.Sprintf("%v %+v %#v", client, client, client); strings.Contains(text, "secret") {
		t.Fatal("the token is shown")
	}
}

func TestOneLargeEventIsUploadedAndItsEndIsNotAskedForAtOnce(t *testing.T) {
	var asked []string
	var at []time.Time
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked, at = append(asked, r.Method+" "+r.URL.Path), append(at, time.Now())
		if len(asked) == 3 {
			w.WriteHeader(http.StatusAccepted)
		}
		fmt.Fprint(w, `{"id": "s-abcd", "state": "RUNNING"}`)
	}))
	defer server.Close()
	client, err := New(server.URL, WithToken("secret"))
	if err != nil {
		t.Fatal(err)
	}
	must[Session](t)(client.Submit(context.Background(), spec, Events([]string{strings.Repeat("x", partBytes)})))
	seal := "POST /v1/sessions/s-abcd/seal"
	if !slices.Equal(asked, []string{"POST /v1/sessions", "PUT /v1/sessions/s-abcd/parts/0", seal, seal}) {
		t.Fatalf("asked for %v", asked)
	}
	if pause := at[3].Sub(at[2]); pause < sealAgain/2 {
		t.Fatalf("asked again after %v", pause)
	}
}

func TestAStreamIsTakenUpAgain(t *testing.T) {
	var starts []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		starts = append(starts, r.URL.Query().Get("start"))
		if len(starts) == 1 {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "{\"index\": 0, \"state\": \"COMPLETED\"}\n{\"index\": 1, \"sta")
			return
		}
		fmt.Fprint(w, "{\"index\": 1, \"state\": \"COMPLETED\"}\n")
	}))
	defer server.Close()
	client, err := New(server.URL, WithToken("secret"))
	if err != nil {
		t.Fatal(err)
	}
	tasks := collect(t, client.Results(context.Background(), "s-abcd"))
	if len(tasks) != 2 || !slices.Equal(starts, []string{"0", "1"}) {
		t.Fatalf("%+v from %v", tasks, starts)
	}
}

func TestAddressesThatWouldTellTheToken(t *testing.T) {
	for _, address := range []string{
		"http://grid.example", "https://user:word@grid.example", "https://grid.example?token=word", "ftp://x", "",
	} {
		if client, err := New(address, WithToken("word")); err == nil {
			t.Errorf("%s makes %v", address, client)
		}
	}
	if _, err := New("http://[::1]:8080", WithToken("word")); err != nil {
		t.Error(err)
	}
}
