package htcgrid

import "encoding/json"

// States of sessions and tasks.
const (
	Submitted  = "SUBMITTED"
	Queued     = "QUEUED"
	Running    = "RUNNING"
	Waiting    = "RETRY" // a task that failed and runs again
	Cancelling = "CANCELLING"
	Completed  = "COMPLETED"
	Failed     = "FAILED"
	Cancelled  = "CANCELLED"
)

// Retry says when a failed task runs again, and in which pool of larger slots, once, if it ran out of memory.
type Retry struct {
	MaxAttempts   int      `json:"max_attempts,omitempty"`
	OnOutOfMemory string   `json:"on_out_of_memory,omitempty"`
	BackoffBase   *float64 `json:"backoff_base,omitempty"` // seconds
	BackoffCap    *float64 `json:"backoff_cap,omitempty"`
	NeverRetry    []string `json:"never_retry,omitempty"` // types of errors
}

// Spec is what a session asks for, but for its events. What is left zero is what the server takes by default.
type Spec struct {
	Function    string            `json:"function"` // NAME or NAME:VERSION of a deployed function, or module.handler
	Name        string            `json:"name,omitempty"`
	Tenant      string            `json:"tenant,omitempty"`
	TaskTimeout float64           `json:"task_timeout,omitempty"` // seconds
	Timeout     float64           `json:"timeout,omitempty"`      // seconds
	Retry       *Retry            `json:"retry,omitempty"`
	MaxFailures *float64          `json:"max_failures,omitempty"` // a count, or below 1 a share
	MemoryMB    int               `json:"memory_mb,omitempty"`
	Priority    string            `json:"priority,omitempty"`
	Pool        string            `json:"pool,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Retention   float64           `json:"retention,omitempty"` // seconds
	Isolation   string            `json:"isolation,omitempty"`
	Notify      []string          `json:"notify,omitempty"`
}

// Session says how far a session is. Times are seconds since the epoch.
type Session struct {
	ID          string            `json:"id"`
	Version     string            `json:"version"`
	State       string            `json:"state"`
	Name        string            `json:"name"`
	Tenant      string            `json:"tenant"`
	Function    string            `json:"function"`
	Labels      map[string]string `json:"labels"`
	Priority    string            `json:"priority"`
	Pool        string            `json:"pool"`
	Parent      *string           `json:"parent"`
	Total       int64             `json:"total"`
	Completed   int64             `json:"completed"`
	Failed      int64             `json:"failed"`
	Cancelled   int64             `json:"cancelled"`
	Pending     int64             `json:"pending"`
	Retrying    int64             `json:"retrying"`
	SubmittedAt float64           `json:"submitted_at"`
	EndedAt     *float64          `json:"ended_at"`
	DeadlineAt  *float64          `json:"deadline_at"`
	ExpiresAt   *float64          `json:"expires_at"`
	Reason      string            `json:"reason"`
	Owner       string            `json:"owner"`
}

// Ended tells whether the session is over.
func (s Session) Ended() bool {
	return s.State == Completed || s.State == Failed || s.State == Cancelled
}

// Err is nil for a session that is COMPLETED or still lives, and a *SessionFailed otherwise.
func (s Session) Err() error {
	if s.State == Failed || s.State == Cancelled {
		return &SessionFailed{Session: s}
	}
	return nil
}

// TaskError says why a task failed.
type TaskError struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
}

// Task is one task. Times are seconds since the epoch, durations seconds.
type Task struct {
	Index     int64           `json:"index"`
	State     string          `json:"state"`
	Attempts  int64           `json:"attempts"`
	Result    json.RawMessage `json:"result"`
	Pickled   bool            `json:"pickled"` // a Python object, which is not shown
	Error     *TaskError      `json:"error"`   // of its last attempt, also while it waits to run again
	StartedAt *float64        `json:"started_at"`
	Duration  float64         `json:"duration"`
	Agent     string          `json:"agent"`
	Stdout    string          `json:"stdout"`
	Stderr    string          `json:"stderr"`
	Cursor    string          `json:"cursor"` // in streams by completion: to go on behind it
}

// Decode reads the task's result.
func (t Task) Decode(into any) error { return json.Unmarshal(t.Result, into) }

// SharedInput refers to a stored value. Put it anywhere into an event: the task gets the value in its place.
type SharedInput struct {
	Digest string `json:"$htcgrid.shared"`
	Codec  string `json:"codec"`
}
