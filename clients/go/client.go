// Package htcgrid hands vectors of short tasks to an HTC-Grid server and reads their results.
//
// A Client is safe for use by many goroutines. Every call takes a context, which ends it; nothing else limits how long
// a call that waits or streams may take. Requests are made again where that does no harm: every write carries a key
// that was made before its first try.
package htcgrid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Version of this client, as it says in its User-Agent.
const Version = "1.0.0"

// TokenVariable names the environment variable that has the API token where none is given.
const TokenVariable = "HTCGRID_API_TOKEN"

const (
	connectTimeout = 10 * time.Second
	answerTimeout  = 60 * time.Second // for the head of an answer, and between two pieces of its body
	firstPause     = 200 * time.Millisecond
	longestPause   = 5 * time.Second
	longestWait    = 20.0 // seconds for which a server holds a request
	problemBytes   = 1 << 16
)

// Client asks one server. Make it with New.
type Client struct {
	base    string
	token   string
	http    *http.Client
	retries int
}

// Option says how a client behaves.
type Option func(*Client)

// WithToken gives the API token, in the place of the environment's.
func WithToken(token string) Option { return func(c *Client) { c.token = token } }

// WithHTTPClient has requests made by another http.Client. It must not have a Timeout, which would end streams.
func WithHTTPClient(client *http.Client) Option { return func(c *Client) { c.http = client } }

// WithRetries says how often a request is made again: 2 unless told otherwise.
func WithRetries(retries int) Option { return func(c *Client) { c.retries = retries } }

// New makes a client of the server at address: https://HOST, or http:// on this machine.
func New(address string, options ...Option) (*Client, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") {
		return nil, errors.New("htcgrid: the address is no URL of a server: write https://HOST, or http://127.0.0.1:PORT")
	}
	if parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return nil, errors.New("htcgrid: the address holds more than a server's place: give the API token with WithToken")
	}
	if parsed.Scheme == "http" && !isLoopback(parsed.Hostname()) {
		return nil, errors.New("htcgrid: http:// would send the API token in clear text: use https://, or http:// on this machine")
	}
	dialer := &net.Dialer{Timeout: connectTimeout}
	client := &Client{
		base:    strings.TrimRight(address, "/"),
		token:   os.Getenv(TokenVariable),
		retries: 2,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           dialer.DialContext,
				ForceAttemptHTTP2:     true,
				MaxIdleConnsPerHost:   16,
				TLSHandshakeTimeout:   connectTimeout,
				ResponseHeaderTimeout: answerTimeout,
				IdleConnTimeout:       60 * time.Second,
			},
			// A redirection could send the token elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for _, option := range options {
		option(client)
	}
	if client.token == "" {
		return nil, errors.New("htcgrid: there is no API token: give WithToken, or set " + TokenVariable)
	}
	return client, nil
}

// String tells where the client's server is, and never its token.
func (c *Client) String() string { return "htcgrid.Client(" + c.base + ")" }

// GoString is String, so that %#v does not show the token either.
func (c *Client) GoString() string { return c.String() }

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// CallOption says how one call behaves.
type CallOption func(*call)

// WithIdempotencyKey names what is written, so that the same call in another process is the same write.
func WithIdempotencyKey(key string) CallOption { return func(c *call) { c.key = key } }

// WithCallRetries says how often this call's requests are made again.
func WithCallRetries(retries int) CallOption { return func(c *call) { c.retries = retries } }

type call struct {
	method, path string
	query        url.Values
	body         []byte
	media        string
	accept       string
	key          string
	once         bool // whether it must not be made again, since a first try may have been done
	retries      int
}

func (c *Client) newCall(method, path string, options []CallOption) *call {
	made := &call{method: method, path: path, media: "application/json", accept: "application/json", retries: c.retries}
	for _, option := range options {
		option(made)
	}
	return made
}

// ask makes a call and reads its answer into found, unless that is nil.
func (c *Client) ask(ctx context.Context, made *call, found any) (int, error) {
	answer, err := c.open(ctx, made)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if found == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, err
	}
	if err := json.NewDecoder(answer.Body).Decode(found); err != nil {
		return 0, fmt.Errorf("htcgrid: %s answers as no grid's server does: %w", c.base, err)
	}
	_, err = io.Copy(io.Discard, answer.Body) // to its end, so that the connection serves others
	return answer.StatusCode, err
}

// post makes a call with a JSON body.
func (c *Client) post(ctx context.Context, path string, body, found any, options ...CallOption) (int, error) {
	made := c.newCall(http.MethodPost, path, options)
	var err error
	if made.body, err = json.Marshal(body); err != nil {
		return 0, fmt.Errorf("htcgrid: what was given is no JSON: %w", err)
	}
	return c.ask(ctx, made, found)
}

func (c *Client) get(ctx context.Context, path string, query url.Values, found any) error {
	made := c.newCall(http.MethodGet, path, nil)
	made.query = query
	_, err := c.ask(ctx, made, found)
	return err
}

// open makes a call, again if that does no harm, and returns an answer that is a success.
func (c *Client) open(ctx context.Context, made *call) (*http.Response, error) {
	pause := firstPause
	for try := 0; ; try++ {
		answer, err := c.try(ctx, made)
		wanted := time.Duration(0)
		if err == nil && answer.StatusCode < 300 {
			return answer, nil
		}
		if err == nil {
			wanted = askedPause(answer.Header.Get("Retry-After"))
			err = problemIn(answer)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if try >= made.retries || !mayPass(err) || (made.once && !isRefusal(err)) {
			return nil, err
		}
		if wanted == 0 {
			wanted = time.Duration((0.5 + rand.Float64()/2) * float64(pause))
			pause = min(2*pause, longestPause)
		}
		if err := sleep(ctx, wanted); err != nil {
			return nil, err
		}
	}
}

func (c *Client) try(ctx context.Context, made *call) (*http.Response, error) {
	target := c.base + "/v1" + made.path
	if len(made.query) > 0 {
		target += "?" + made.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, made.method, target, bytes.NewReader(made.body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", made.accept)
	request.Header.Set("User-Agent", "htcgrid-go/"+Version)
	if made.body != nil {
		request.Header.Set("Content-Type", made.media)
	}
	if made.key != "" {
		request.Header.Set("Idempotency-Key", made.key)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, &ConnectionError{Server: c.base, Err: err}
	}
	return answer, nil
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// askedPause reads a Retry-After header: seconds, or a date.
func askedPause(text string) time.Duration {
	if seconds, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
