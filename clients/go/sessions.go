package htcgrid

import (
	"context"
	"iter"
	"net/url"
	"slices"
	"strconv"
)

func pathPart(text string) string { return url.PathEscape(text) }

// Session reads one session.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	var session Session
	err := c.get(ctx, "/sessions/"+pathPart(id), nil, &session)
	return session, err
}

// Progress reads up to a hundred sessions. Those that are not there are left out.
func (c *Client) Progress(ctx context.Context, ids ...string) ([]Session, error) {
	var found struct{ Sessions []Session }
	_, err := c.post(ctx, "/progress", map[string]any{"sessions": ids}, &found)
	return found.Sessions, err
}

type waiting struct {
	Sessions []string          `json:"sessions"`
	Until    string            `json:"until"`
	Seen     map[string]string `json:"seen,omitempty"`
	Timeout  float64           `json:"timeout"`
}

type waited struct {
	Done     bool
	Sessions []Session
}

// Wait waits until a session has ended, in whatever state (see Session.Err), or the context has. Of one that is not
// there, the error has the code CodeSessionNotFound; so it is with all that wait.
func (c *Client) Wait(ctx context.Context, id string) (Session, error) {
	found, err := c.WaitAll(ctx, id)
	if err != nil {
		return Session{}, err
	}
	return found[0], nil
}

// WaitAll waits until all of up to a hundred sessions have ended.
func (c *Client) WaitAll(ctx context.Context, ids ...string) ([]Session, error) {
	return c.wait(ctx, waiting{Sessions: ids, Until: "all", Timeout: longestWait})
}

// WaitAny waits until one of up to a hundred sessions has ended, and tells of all of them.
func (c *Client) WaitAny(ctx context.Context, ids ...string) ([]Session, error) {
	return c.wait(ctx, waiting{Sessions: ids, Until: "any", Timeout: longestWait})
}

func (c *Client) wait(ctx context.Context, asked waiting) ([]Session, error) {
	for {
		var found waited
		// A server that is started anew is waited for.
		if _, err := c.post(ctx, "/wait", asked, &found, WithCallRetries(max(20, c.retries))); err != nil {
			return nil, err
		}
		missing := missingOf(asked.Sessions, found.Sessions)
		if found.Done && missing == "" {
			return found.Sessions, nil
		}
		if missing != "" {
			if _, err := c.Session(ctx, missing); err != nil { // it says what is wrong with the session
				return nil, err
			}
			if err := sleep(ctx, firstPause); err != nil { // it has come meanwhile
				return nil, err
			}
		}
	}
}

// missingOf finds an id of which nothing is told; empty if there is none.
func missingOf(ids []string, told []Session) string {
	for _, id := range ids {
		if !slices.ContainsFunc(told, func(session Session) bool { return session.ID == id }) {
			return id
		}
	}
	return ""
}

// Filter says which sessions are listed. All conditions hold; several states are alternatives.
type Filter struct {
	States          []string
	Labels          map[string]string
	Name            string
	Tenant          string
	SubmittedAfter  float64 // seconds since the epoch
	SubmittedBefore float64
}

func (f Filter) query() url.Values {
	query := url.Values{"state": f.States}
	for key, value := range f.Labels {
		query.Add("label", key+"="+value)
	}
	for name, value := range map[string]string{"name": f.Name, "tenant": f.Tenant} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, at := range map[string]float64{"submitted_after": f.SubmittedAfter, "submitted_before": f.SubmittedBefore} {
		if at != 0 {
			query.Set(name, strconv.FormatFloat(at, 'f', -1, 64))
		}
	}
	return query
}

// Sessions lists sessions, newest first, page by page as they are taken.
func (c *Client) Sessions(ctx context.Context, filter Filter) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		query := filter.query()
		for {
			var page struct {
				Sessions   []Session `json:"sessions"`
				NextCursor *string   `json:"next_cursor"`
			}
			if err := c.get(ctx, "/sessions", query, &page); err != nil {
				yield(Session{}, err)
				return
			}
			for _, session := range page.Sessions {
				if !yield(session, nil) {
					return
				}
			}
			if page.NextCursor == nil {
				return
			}
			query.Set("cursor", *page.NextCursor)
		}
	}
}

// Cancel asks for a session's end, and returns at once; one that has ended stays as it is.
func (c *Client) Cancel(ctx context.Context, id, reason string) (Session, error) {
	return c.cancel(ctx, id, map[string]string{"reason": reason})
}

// CancelAs cancels a session only if it is still this owner's (see Adopt).
func (c *Client) CancelAs(ctx context.Context, id, owner, reason string) (Session, error) {
	return c.cancel(ctx, id, map[string]string{"reason": reason, "owner": owner})
}

func (c *Client) cancel(ctx context.Context, id string, body map[string]string) (Session, error) {
	var session Session
	_, err := c.post(ctx, "/sessions/"+pathPart(id)+"/cancel", body, &session)
	return session, err
}

// Adopt makes owner the one whose fenced cancel counts.
func (c *Client) Adopt(ctx context.Context, id, owner string) (Session, error) {
	var session Session
	_, err := c.post(ctx, "/sessions/"+pathPart(id)+"/adopt", map[string]string{"owner": owner}, &session)
	return session, err
}
