// Kvd is a key-value server in memory that speaks the Redis protocol and keeps its data outside the
// Go heap. README.md explains it.
//
//	go run ./examples/kvd -limit 1073741824
//	redis-cli -p 6380 set hello world
//	redis-benchmark -p 6380 -t get,set -P 16 -q
//	curl -s 127.0.0.1:9380/metrics | grep ^slubd_arena
//	go tool pprof -top http://127.0.0.1:9380/debug/pprof/slubd
//	xdg-open http://127.0.0.1:9380/debug/slubd/
//
// Connections (client.go) read requests (resp.go) and run commands (command*.go) on a store
// (store*.go). The one that this example is about is store_slubd.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/slubd/slubd/slub"
)

// options are the flags.
type options struct {
	listen, http string
	store        string
	limit        int64
	profileRate  int64
	record       string
	maxRequest   int
	maxClients   int
	idle         time.Duration
	grace        time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:6380", "`address` to serve the Redis protocol on")
	flag.StringVar(&o.http, "http", "127.0.0.1:9380", "`address` of /metrics, /debug/slubd/ and /debug/pprof/slubd; empty for none")
	flag.StringVar(&o.store, "store", "slubd", "where data lies: slubd, heap or syncmap")
	flag.Int64Var(&o.limit, "limit", 0, "`bytes` of memory for data, at which keys are evicted; 0 for no limit")
	flag.Int64Var(&o.profileRate, "profile-rate", 512<<10,
		"`bytes` from one sample of the allocation profile to the next, on average; -1 for no profile, 0 for what SLUBD_PROFILE_RATE says")
	flag.StringVar(&o.record, "record", "", "`file` for a trace of the store's allocations, which slubd-bench -trace replays; empty for none")
	flag.IntVar(&o.maxRequest, "max-request", 64<<20, "largest request in `bytes`, all of its arguments together")
	flag.IntVar(&o.maxClients, "max-clients", 10_000, "`number` of connections at a time")
	flag.DurationVar(&o.idle, "idle", 0, "`time` after which a silent connection is closed; 0 for never")
	flag.DurationVar(&o.grace, "grace", 5*time.Second, "`time` that clients have at the end to read the replies to what they have sent")
	flag.Parse()
	ctx, stop := untilSignal()
	defer stop()
	ready := func(redis, web net.Addr) {
		fmt.Printf("kvd: serving %s on %v, /metrics and /debug/slubd/ on %v\n", o.store, redis, web)
	}
	if err := run(ctx, o, os.Stdout, ready); err != nil {
		fmt.Fprintln(os.Stderr, "kvd:", err)
		os.Exit(1)
	}
}

// untilSignal returns a context that ends at Ctrl-C or SIGTERM, which service managers and
// containers send. A second signal ends the process at once.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func (o options) validate() error {
	if o.maxRequest < 1<<10 || o.maxClients < 1 || o.idle < 0 || o.grace < 0 {
		return errors.New("-max-request is at least 1024, -max-clients at least 1, -idle and -grace not negative")
	}
	return nil
}

// run serves until ctx ends. Then it accepts no more connections, lets the requests that are
// running finish, and closes the store. Its error includes that of close, which reports what was
// lost; without one it prints that nothing was. ready is called with the addresses that run listens
// on, the second is nil without -http.
func run(ctx context.Context, o options, out io.Writer, ready func(redis, web net.Addr)) error {
	if err := o.validate(); err != nil {
		return err
	}
	st, err := newStore(o)
	if err != nil {
		return err
	}
	s := newServer(st, o, slog.New(slog.NewTextHandler(out, nil)))
	keys, err := s.run(ctx, o, ready)
	if err := errors.Join(err, st.close(), leaked()); err != nil {
		return err
	}
	fmt.Fprintf(out, "kvd: closed with %d keys, nothing leaked\n", keys)
	return nil
}

// run serves until ctx ends or a listener fails. When it returns nothing uses the store any more.
func (s *server) run(ctx context.Context, o options, ready func(redis, web net.Addr)) (keys int, err error) {
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return 0, err
	}
	var working sync.WaitGroup
	failed := make(chan error, 2)
	stop := make(chan struct{})
	web, webAddr, err := s.listenHTTP(o.http, failed, &working)
	if err != nil {
		return 0, errors.Join(err, l.Close())
	}
	working.Go(func() { s.expireUntil(stop) })
	working.Go(func() { failed <- s.serve(l) })
	ready(l.Addr(), webAddr)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	close(stop)
	err = errors.Join(err, l.Close())
	if web != nil {
		err = errors.Join(err, s.closeHTTP(web))
	}
	working.Wait() // from here on no client is accepted
	s.closeClients()
	return s.store.len(), err
}

// closeHTTP lets the requests that are running finish, for as long as clients have to read their
// replies.
func (s *server) closeHTTP(web *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.grace)
	defer cancel()
	if err := web.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	s.log.Warn("HTTP requests have not ended in time", "time", s.grace)
	return web.Close()
}

// listenHTTP serves handler on an address, unless that is empty.
func (s *server) listenHTTP(address string, failed chan<- error, working *sync.WaitGroup) (*http.Server, net.Addr, error) {
	if address == "" {
		return nil, nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	web := &http.Server{Handler: handler(s), ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	working.Go(func() {
		if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})
	return web, l.Addr(), nil
}

// leaked reports caches of the store's that are still open after it was closed.
func leaked() error {
	for c := range slub.Caches() {
		if strings.HasPrefix(c.Name(), "kvd") {
			return fmt.Errorf("cache %q is still open", c.Name())
		}
	}
	return nil
}
