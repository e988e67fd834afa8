package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	pprof "github.com/google/pprof/profile"
)

// A daemon is kvd as it runs, on loopback ports.
type daemon struct {
	redis, web string
	cancel     context.CancelFunc
	result     func() (out string, err error) // what it has printed and returned, when it has ended
}

// start runs the daemon until finish.
func start(t *testing.T, o options) daemon {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	d := startWith(t, ctx, o)
	d.cancel = cancel
	return d
}

// startWith runs the daemon until ctx ends.
func startWith(t *testing.T, ctx context.Context, o options) daemon {
	t.Helper()
	o.listen, o.http = "127.0.0.1:0", "127.0.0.1:0"
	if o.store == "" {
		o.store = "slubd"
	}
	if o.maxRequest == 0 {
		o.maxRequest = 1 << 20
	}
	if o.maxClients == 0 {
		o.maxClients = 1000
	}
	if o.grace == 0 {
		o.grace = time.Minute
	}
	var out bytes.Buffer
	type addresses struct{ redis, web net.Addr }
	ready, result := make(chan addresses, 1), make(chan error, 1)
	go func() {
		result <- run(ctx, o, &out, func(redis, web net.Addr) { ready <- addresses{redis, web} })
	}()
	select {
	case a := <-ready:
		return daemon{redis: a.redis.String(), web: a.web.String(), result: func() (string, error) {
			err := <-result
			return out.String(), err
		}}
	case err := <-result:
		t.Fatal(err)
	}
	return daemon{}
}

// finish stops the daemon, which must say that nothing leaked.
func (d daemon) finish(t *testing.T) {
	t.Helper()
	d.cancel()
	if out, err := d.result(); err != nil || !strings.Contains(out, "nothing leaked") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A peer is a client's end of a connection.
type peer struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, d daemon) *peer {
	t.Helper()
	c, err := net.Dial("tcp", d.redis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{c, bufio.NewReader(c)}
}

// send writes requests, each of one argument per word.
func (p *peer) send(requests ...string) error {
	var out []byte
	for _, r := range requests {
		words := strings.Fields(r)
		out = appendArray(out, len(words))
		for _, w := range words {
			out = appendBulk(out, w)
		}
	}
	_, err := p.Write(out)
	return err
}

// reply reads a reply that is no array: its line, or a bulk string's bytes; "nil" for null.
func (p *peer) reply() (string, error) {
	line, err := p.in.ReadString('\n')
	if err != nil {
		return line, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if !strings.HasPrefix(line, "$") {
		return line, nil
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n < 0 {
		return "nil", err
	}
	value := make([]byte, n+2)
	_, err = io.ReadFull(p.in, value)
	return string(value[:n]), err
}

// ask sends one request and returns its reply.
func (p *peer) ask(t *testing.T, request string) string {
	t.Helper()
	reply, err := "", p.send(request)
	if err == nil {
		reply, err = p.reply()
	}
	if err != nil {
		t.Errorf("%.50s: %v", request, err)
	}
	return reply
}

// skipReply returns what follows the first reply in b.
func skipReply(b []byte) (rest []byte, ok bool) {
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return nil, false
	}
	n, err := strconv.Atoi(string(line[1:]))
	switch line[0] {
	case '+', '-':
		return rest, true
	case ':':
		return rest, err == nil
	case '$':
		if n < 0 {
			return rest, err == nil
		}
		if err != nil || len(rest) < n+2 || string(rest[n:n+2]) != "\r\n" {
			return nil, false
		}
		return rest[n+2:], true
	case '*':
		for range n {
			if rest, ok = skipReply(rest); !ok {
				return nil, false
			}
		}
		return rest, err == nil
	}
	return nil, false
}

func TestPipeline(t *testing.T) {
	d := start(t, options{})
	p := dial(t, d)
	const n = 5000
	var requests []string
	for i := range n {
		requests = append(requests, fmt.Sprintf("set key:%d %d", i, i), fmt.Sprintf("get key:%d", i))
	}
	go p.send(requests...)
	for i := range n {
		ok, _ := p.reply()
		got, err := p.reply()
		if ok != "+OK" || got != strconv.Itoa(i) || err != nil {
			t.Fatalf("%q, %q, %v in place of %d", ok, got, err, i)
		}
	}
	d.finish(t)
}

// TestBadProtocol breaks the protocol in several ways: each gets an error that says why, its
// connection is closed, and nothing else is.
func TestBadProtocol(t *testing.T) {
	d := start(t, options{maxRequest: 2048})
	good := dial(t, d)
	if got := good.ask(t, "set a 1"); got != "+OK" {
		t.Error(got)
	}
	for bad, want := range map[string]string{
		"*x\r\n":                   "-ERR Protocol error: invalid multibulk length",
		"*1\r\n$x\r\n":             "-ERR Protocol error: invalid bulk length",
		"*1\r\nGET\r\n":            "-ERR Protocol error: expected '$', got 'G'",
		"*1\r\n$3000\r\n":          "-ERR " + errTooLarge.Error(),
		strings.Repeat("x", 17000): "-ERR Protocol error: too big inline request",
	} {
		p := dial(t, d)
		io.WriteString(p, "ping\r\n"+bad) // the daemon may have closed before all is written
		for _, want := range []string{"+PONG", want} {
			if got, err := p.reply(); got != want {
				t.Errorf("%.20q: %q, %v, not %q", bad, got, err, want)
			}
		}
		if _, err := p.reply(); err == nil {
			t.Errorf("%.20q: the connection goes on", bad)
		}
	}
	if got := good.ask(t, "get a"); got != "1" {
		t.Error(got)
	}
	d.finish(t)
}

// TestGarbage has many connections send bytes that mean nothing, and leave.
func TestGarbage(t *testing.T) {
	d := start(t, options{})
	before := dial(t, d)
	before.ask(t, "set a 1")
	garbage := make([]byte, 4096)
	for i := range 300 {
		for j := range garbage {
			garbage[j] = byte(i*7 + j*j*31 + j>>3)
		}
		c, err := net.Dial("tcp", d.redis)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(garbage)
		c.Close()
	}
	if got := before.ask(t, "get a"); got != "1" {
		t.Error(got)
	}
	d.finish(t)
}

func TestMaxClients(t *testing.T) {
	d := start(t, options{maxClients: 2})
	first, second := dial(t, d), dial(t, d)
	first.ask(t, "ping")
	second.ask(t, "ping")
	third := dial(t, d)
	if got, err := third.reply(); got != "-ERR max number of clients reached" {
		t.Errorf("%q, %v", got, err)
	}
	if got := first.ask(t, "quit"); got != "+OK" {
		t.Error(got)
	}
	if _, err := first.reply(); err != io.EOF {
		t.Errorf("after QUIT: %v", err)
	}
	for { // until the daemon has seen that there is room
		p := dial(t, d)
		if err := p.send("ping"); err == nil {
			if got, err := p.reply(); err == nil && got == "+PONG" {
				break
			}
		}
		p.Close()
	}
	d.finish(t)
}

func TestIdleConnectionIsClosed(t *testing.T) {
	d := start(t, options{idle: time.Millisecond})
	if _, err := dial(t, d).reply(); err != io.EOF {
		t.Errorf("a connection that is silent: %v", err)
	}
	d.finish(t)
}

func TestMetricsPage(t *testing.T) {
	d := start(t, options{limit: 100 << 20})
	p := dial(t, d)
	p.ask(t, "set a 1")
	p.ask(t, "get a")
	answer, err := http.Get("http://" + d.web + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"kvd_keys 1", `kvd_commands_total{command="get"} 1`, `kvd_lookups_total{result="hit"} 1`,
		`slubd_arena_limit_bytes{arena="kvd`, `slubd_rcu_grace_periods_total{`, "go_goroutines"} {
		if !strings.Contains(string(page), "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	d.finish(t)
}

// The profile of a running server names the line that stores a value.
func TestProfilePage(t *testing.T) {
	d := start(t, options{profileRate: 1})
	p := dial(t, d)
	for i := range 100 {
		p.ask(t, fmt.Sprintf("set key%d value", i))
	}
	answer, err := http.Get("http://" + d.web + "/debug/pprof/slubd")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	prof, err := pprof.Parse(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	inUse := map[string]int64{} // objects by function
	for _, s := range prof.Sample {
		for _, l := range s.Location {
			inUse[path.Base(l.Line[0].Function.Name)] += s.Value[2]
		}
	}
	if n := inUse["kvd.(*slubdStore).update"]; n < 50 {
		t.Errorf("100 keys were set; the profile has %d objects of update in use: %v", n, inUse)
	}
	http.DefaultClient.CloseIdleConnections()
	d.finish(t)
}

func TestBadOptions(t *testing.T) {
	good := options{listen: "127.0.0.1:0", store: "slubd", maxRequest: 1 << 20, maxClients: 1}
	for _, change := range []func(*options){
		func(o *options) { o.store = "disk" },
		func(o *options) { o.limit = -1 },
		func(o *options) { o.store, o.limit = "heap", 1 },
		func(o *options) { o.maxRequest = 1 },
		func(o *options) { o.maxClients = 0 },
		func(o *options) { o.idle = -1 },
		func(o *options) { o.listen = "nowhere:nothing" },
		func(o *options) { o.http = "nowhere:nothing" },
	} {
		o := good
		change(&o)
		var out bytes.Buffer
		if err := run(t.Context(), o, &out, func(_, _ net.Addr) { t.Error("ready") }); err == nil {
			t.Errorf("%+v: no error", o)
		}
		if err := leaked(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
