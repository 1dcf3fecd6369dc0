package htcgrid

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Codes of problems that callers are likely to tell apart. A server's document at /openapi.json lists all.
const (
	CodeInvalidInput    = "invalid-input"
	CodeInvalidEvent    = "invalid-event"
	CodeSessionNotFound = "session-not-found"
	CodeSessionConflict = "session-conflict"
	CodeNotFinished     = "session-not-finished"
	CodeNoSuchFunction  = "function-not-found"
	CodeUnauthorized    = "unauthorized"
	CodeForbidden       = "forbidden"
	CodeRateLimited     = "rate-limited"
	CodeUnavailable     = "grid-unavailable"
	CodeMalformed       = "malformed"
)

// Error is a problem that a server told of (RFC 9457). Find it with errors.As.
type Error struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Session   string `json:"session"` // of which session, if it is one's
	Index     *int64 `json:"index"`   // of which event
	Line      *int64 `json:"line"`    // of which line of what was sent
	RequestID string `json:"-"`       // under which the server knows the request
}

func (e *Error) Error() string {
	text := fmt.Sprintf("htcgrid: %s (%s, status %d)", e.Detail, e.Code, e.Status)
	if e.Index != nil {
		text += fmt.Sprintf(", event %d", *e.Index)
	}
	if e.Line != nil {
		text += fmt.Sprintf(", line %d", *e.Line)
	}
	if e.RequestID != "" {
		text += ", request " + e.RequestID
	}
	return text
}

// ConnectionError is a request of which nobody knows whether it reached the server.
type ConnectionError struct {
	Server string
	Err    error
}

func (e *ConnectionError) Error() string {
	return fmt.Sprintf("htcgrid: the connection to %s broke: %v", e.Server, e.Err)
}

// Unwrap gives what broke it.
func (e *ConnectionError) Unwrap() error { return e.Err }

// SessionFailed is a session that ended without all of its results. Session.Err makes it.
type SessionFailed struct {
	Session Session
}

func (e *SessionFailed) Error() string {
	return fmt.Sprintf("htcgrid: session %s ended %s: %s", e.Session.ID, e.Session.State, e.Session.Reason)
}

// IsCode tells whether an error is a server's problem with this code.
func IsCode(err error, code string) bool {
	var problem *Error
	return errors.As(err, &problem) && problem.Code == code
}

func problemIn(answer *http.Response) error {
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, problemBytes))
	problem := &Error{}
	if json.Unmarshal(body, problem) != nil || problem.Detail == "" {
		problem = &Error{Detail: "the server answers with status " + answer.Status + ", and not as a grid's server does"}
	}
	problem.Status = answer.StatusCode
	problem.RequestID = answer.Header.Get("X-Request-Id")
	return problem
}

// mayPass tells whether trying again may help.
func mayPass(err error) bool {
	var broken *ConnectionError
	if errors.As(err, &broken) {
		return true
	}
	var problem *Error
	if !errors.As(err, &problem) {
		return false
	}
	switch problem.Code {
	case "corrupt-payload", "signature-invalid", CodeSessionConflict, CodeNotFinished, "illegal-transition", "conflict",
		"incompatible-grid", "would-deadlock":
		return false // which stays as it is
	}
	switch problem.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return problem.Status >= 500
}

// isRefusal tells whether a server has surely done nothing.
func isRefusal(err error) bool {
	var problem *Error
	return errors.As(err, &problem) && problem.Status == http.StatusTooManyRequests
}
