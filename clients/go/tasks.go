package htcgrid

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const nextHeader = "Htcgrid-Next" // where the next page begins, if an answer is not all

// Task reads one task by its index.
func (c *Client) Task(ctx context.Context, id string, index int64) (Task, error) {
	var task Task
	err := c.get(ctx, "/sessions/"+pathPart(id)+"/tasks/"+strconv.FormatInt(index, 10), nil, &task)
	return task, err
}

// Results reads every task in index order, in bounded memory. Tasks without an outcome come too. A stream that breaks
// off is taken up again behind the last task.
//
// An error is the last that the stream yields.
func (c *Client) Results(ctx context.Context, id string) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		stream := &stream{client: c, ctx: ctx, path: "/sessions/" + pathPart(id) + "/results"}
		begin := int64(0)
		for {
			next, err := stream.read(url.Values{"start": {strconv.FormatInt(begin, 10)}}, func(task Task) bool {
				begin = task.Index + 1
				return yield(task, nil)
			})
			if stream.isOver(err, next, yield) {
				return
			}
		}
	}
}

// Tasks reads all tasks, or those in one state, in no order. While the session runs, a task that ends meanwhile may be
// told twice, and so may any if the stream breaks off.
func (c *Client) Tasks(ctx context.Context, id, state string) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		stream := &stream{client: c, ctx: ctx, path: "/sessions/" + pathPart(id) + "/tasks"}
		cursor := ""
		for {
			query := url.Values{}
			if state != "" {
				query.Set("state", state)
			}
			if cursor != "" {
				query.Set("cursor", cursor)
			}
			next, err := stream.read(query, func(task Task) bool { return yield(task, nil) })
			if stream.isOver(err, next, yield) {
				return
			}
			if next != "" {
				cursor = next
			}
		}
	}
}

// Completed reads every task once, as it ends, until the session has ended.
func (c *Client) Completed(ctx context.Context, id string) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		seen := map[int64]struct{}{}
		cursor, behind := "0", "0" // of the page that is read, and of the last that was read to its end
		stream := &stream{client: c, ctx: ctx, path: "/sessions/" + pathPart(id) + "/outcomes"}
		session, err := c.Session(ctx, id)
		for {
			if err != nil {
				yield(Task{}, err)
				return
			}
			for isMore := true; isMore; {
				next, err := stream.read(url.Values{"cursor": {behind}}, func(task Task) bool {
					if task.Cursor != cursor {
						behind, cursor = cursor, task.Cursor
					}
					if _, known := seen[task.Index]; known {
						return true
					}
					seen[task.Index] = struct{}{}
					return yield(task, nil)
				})
				isMore = next != "" || err != nil
				if next != "" {
					behind, cursor = next, next
				} else if err == nil {
					behind = cursor
				}
				if isMore && stream.isOver(err, "more", yield) {
					return
				}
			}
			if session.Ended() { // before the last pages were read
				return
			}
			session, err = c.changed(ctx, session)
		}
	}
}

// changed waits until a session is not any more what was seen.
func (c *Client) changed(ctx context.Context, seen Session) (Session, error) {
	asked := waiting{[]string{seen.ID}, "change", map[string]string{seen.ID: seen.Version}, longestWait}
	var found waited
	if _, err := c.post(ctx, "/wait", asked, &found, WithCallRetries(max(20, c.retries))); err != nil {
		return seen, err
	}
	if len(found.Sessions) == 0 {
		return c.Session(ctx, seen.ID)
	}
	return found.Sessions[0], nil
}

// stream reads an answer of many lines, and bears for a while that it breaks off.
type stream struct {
	client *Client
	ctx    context.Context
	path   string
	failed int // in a row, without one line between
}

var errStopped = errors.New("htcgrid: nobody reads on")

// read gives the tasks of one answer to take, and returns where the next page begins, if there is one.
func (s *stream) read(query url.Values, take func(Task) bool) (string, error) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	made := s.client.newCall(http.MethodGet, s.path, nil)
	made.query, made.accept = query, "application/x-ndjson"
	answer, err := s.client.open(ctx, made)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	// The transport limits the time for the head alone: here, a body that stalls is ended.
	stalled := time.AfterFunc(answerTimeout, func() { cancel(errors.New("htcgrid: the server has stalled")) })
	defer stalled.Stop()
	lines := json.NewDecoder(&watched{answer.Body, stalled})
	for {
		var task Task
		if err := lines.Decode(&task); err == io.EOF {
			return answer.Header.Get(nextHeader), nil
		} else if err != nil {
			if s.ctx.Err() != nil {
				return "", context.Cause(s.ctx)
			}
			return "", &ConnectionError{Server: s.client.base, Err: err}
		}
		s.failed = 0
		stalled.Stop() // whoever takes a task may take his time
		if !take(task) {
			return "", errStopped
		}
		stalled.Reset(answerTimeout)
	}
}

// isOver tells whether there is nothing more to read, and yields an error that is not borne any longer.
func (s *stream) isOver(err error, next string, yield func(Task, error) bool) bool {
	switch {
	case err == nil:
		return next == ""
	case errors.Is(err, errStopped):
		return true
	case s.ctx.Err() == nil && mayPass(err) && s.failed < 10:
		s.failed++
		if sleep(s.ctx, min(time.Duration(s.failed)*firstPause, longestPause)) == nil {
			return false
		}
		err = context.Cause(s.ctx)
	}
	yield(Task{}, err)
	return true
}

type watched struct {
	body  io.Reader
	timer *time.Timer
}

func (w *watched) Read(into []byte) (int, error) {
	n, err := w.body.Read(into)
	w.timer.Reset(answerTimeout)
	return n, err
}
