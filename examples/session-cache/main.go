// Session-cache keeps HTTP sessions outside the Go heap: a small daemon that shows
// slubd in its usual place. See README.md beside this file.
//
//	go run ./examples/session-cache -listen localhost:8080
//	curl -X PUT --data-binary 'user=ann' localhost:8080/session/4711
//	curl localhost:8080/session/4711
//	curl -s localhost:8080/metrics | grep slubd_cache_objects
//
// Data flows from requests (http.go) to the store (store.go), and from there to one
// slub cache and one RCU domain.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "localhost:8080", "`address` to serve on")
	buckets := flag.Int("buckets", 1<<16, "hash buckets, each of 8 sessions")
	limit := flag.Uint64("limit", 1<<30, "`bytes` of memory for sessions; 0 for no limit")
	ttl := flag.Duration("ttl", time.Hour, "how long a session lives")
	flag.Parse()
	ctx, stop := untilSignal()
	defer stop()
	if err := run(ctx, *listen, *buckets, *limit, *ttl, func(addr net.Addr) { fmt.Println("listening on", addr) }); err != nil {
		fmt.Fprintln(os.Stderr, "session-cache:", err)
		os.Exit(1)
	}
}

// untilSignal returns a context that ends when the daemon is told to: by Ctrl-C, or by
// SIGTERM, as service managers and containers do. A second signal ends the process at once.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Timeouts of a request and its answer, and so of the end: service managers wait longer
// before they kill, systemd 90 s, Kubernetes 30.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
)

// run serves until ctx ends, and then undoes in reverse order what it did: no new
// connections, the requests under way to their ends, the store's caches. Its error includes what the store says when it is
// closed, so that a lost session doesn't go unnoticed.
func run(ctx context.Context, listen string, buckets int, limit uint64, ttl time.Duration, ready func(net.Addr)) error {
	if buckets < 1 {
		return fmt.Errorf("-buckets: %d is less than 1", buckets)
	}
	s, err := newStore(buckets, limit)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return errors.Join(err, s.close())
	}
	server := &http.Server{Handler: handler(s, ttl), ReadTimeout: readTimeout, WriteTimeout: writeTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	ready(l.Addr())
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	// Without a deadline: the store must not be closed under a request, none of which
	// outlasts the timeouts.
	err = errors.Join(err, server.Shutdown(context.Background()))
	return errors.Join(err, s.close())
}
