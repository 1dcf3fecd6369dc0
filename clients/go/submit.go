package htcgrid

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"
)

const (
	inlineEvents = 10_000      // that one request holds
	inlineBytes  = 2 << 20     // of events: AWS Lambda takes 6 MB, of JSON within JSON
	partBytes    = 4 << 20     // of events, from which on they are uploaded in parts
	sealAgain    = time.Second // at least, from one asking for the end of an upload to the next
)

type newSession struct {
	Spec
	Events []json.RawMessage `json:"events"` // null if they are uploaded
}

type sealed struct {
	Parts int     `json:"parts"`
	Wait  float64 `json:"wait"`
}

// Events makes a stream of the values of a slice.
func Events[E any](values []E) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for _, value := range values {
			if !yield(value, nil) {
				return
			}
		}
	}
}

// Submit submits a session with one task for each event. Events are encoded as JSON and streamed: a few megabytes of them
// are held. An error that the stream yields ends the submission, and nothing runs.
//
// A call that failed may be made again with the same idempotency key (WithIdempotencyKey) and the same events: it is the
// same session then, also if the first try had succeeded.
func (c *Client) Submit(
	ctx context.Context, spec Spec, events iter.Seq2[any, error], options ...CallOption,
) (Session, error) {
	upload := &upload{client: c, spec: spec, options: keyed(options)}
	number := 0
	for event, err := range events {
		if err != nil {
			return Session{}, fmt.Errorf("htcgrid: event %d: %w", number, err)
		}
		encoded, err := json.Marshal(event)
		if err != nil {
			return Session{}, fmt.Errorf("htcgrid: event %d is no JSON: %w", number, err)
		}
		if err := upload.add(ctx, encoded); err != nil {
			return Session{}, err
		}
		number++
	}
	return upload.finish(ctx)
}

// keyed makes sure that a write has a key before its first try.
func keyed(options []CallOption) []CallOption {
	var made call
	for _, option := range options {
		option(&made)
	}
	if made.key != "" {
		return options
	}
	return append(slices.Clone(options), WithIdempotencyKey(newKey()))
}

func newKey() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // it never fails
	return hex.EncodeToString(random[:])
}

type upload struct {
	client  *Client
	spec    Spec
	options []CallOption
	waiting []json.RawMessage
	size    int
	id      string // once it is one in parts
	parts   int
}

func (u *upload) add(ctx context.Context, event json.RawMessage) error {
	if len(u.waiting) > 0 && (u.size+len(event) > partBytes || len(u.waiting) == inlineEvents) {
		if err := u.flush(ctx); err != nil {
			return err
		}
	}
	u.waiting = append(u.waiting, event)
	u.size += len(event) + 1
	return nil
}

func (u *upload) flush(ctx context.Context) error {
	if u.id == "" {
		var opened Session
		if _, err := u.client.post(ctx, "/sessions", newSession{Spec: u.spec}, &opened, u.options...); err != nil {
			return err
		}
		u.id = opened.ID
	}
	body := append(bytes.Join(asBytes(u.waiting), []byte("\n")), '\n')
	path := fmt.Sprintf("/sessions/%s/parts/%d", u.id, u.parts)
	made := u.client.newCall(http.MethodPut, path, []CallOption{WithCallRetries(max(6, u.client.retries))})
	made.body, made.media = body, "application/x-ndjson"
	if _, err := u.client.ask(ctx, made, nil); err != nil {
		return err
	}
	u.parts++
	u.waiting, u.size = u.waiting[:0], 0
	return nil
}

func (u *upload) finish(ctx context.Context) (Session, error) {
	var session Session
	if u.id == "" && u.size <= inlineBytes {
		events := u.waiting
		if events == nil {
			events = []json.RawMessage{}
		}
		_, err := u.client.post(ctx, "/sessions", newSession{Spec: u.spec, Events: events}, &session, u.options...)
		return session, err
	}
	if len(u.waiting) > 0 {
		if err := u.flush(ctx); err != nil {
			return session, err
		}
	}
	for {
		began := time.Now()
		path := "/sessions/" + u.id + "/seal"
		status, err := u.client.post(ctx, path, sealed{u.parts, longestWait}, &session, WithCallRetries(6))
		if err != nil || status == http.StatusOK || session.Ended() {
			return session, err
		}
		// A server may answer at once that it is not done yet.
		if err := sleep(ctx, sealAgain-time.Since(began)); err != nil {
			return session, err
		}
	}
}

func asBytes(events []json.RawMessage) [][]byte {
	found := make([][]byte, len(events))
	for at, event := range events {
		found[at] = event
	}
	return found
}

// Resubmit runs again, as a session of its own, what did not complete in one that has ended.
func (c *Client) Resubmit(ctx context.Context, id string, options ...CallOption) (Session, error) {
	var session Session
	_, err := c.post(ctx, "/sessions/"+pathPart(id)+"/resubmit", struct{}{}, &session, keyed(options)...)
	return session, err
}

// Put stores a value once for many tasks.
func (c *Client) Put(ctx context.Context, value any, options ...CallOption) (SharedInput, error) {
	var found struct{ Digest, Codec string }
	_, err := c.post(ctx, "/shared", value, &found, options...)
	return SharedInput(found), err
}
