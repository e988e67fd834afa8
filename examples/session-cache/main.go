// Session-cache is a small daemon that keeps HTTP sessions outside the Go heap. README.md explains
// it.
//
//	go run ./examples/session-cache -listen localhost:8080
//	curl -X PUT --data-binary 'user=ann' localhost:8080/session/4711
//	curl localhost:8080/session/4711
//	curl -s localhost:8080/metrics | grep slubd_cache_objects
//
// Requests (http.go) go to the store (store.go), which has one slub cache and one RCU domain.
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
	limit := flag.Int64("limit", 1<<30, "`bytes` of memory for sessions; 0 for no limit")
	ttl := flag.Duration("ttl", time.Hour, "how long a session lives")
	flag.Parse()
	ctx, stop := untilSignal()
	defer stop()
	if err := run(ctx, *listen, *buckets, *limit, *ttl, func(addr net.Addr) { fmt.Println("listening on", addr) }); err != nil {
		fmt.Fprintln(os.Stderr, "session-cache:", err)
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

// Timeouts of a request and its answer. They also bound the time that the daemon takes to end,
// which must be less than service managers wait before they kill it: systemd 90 s, Kubernetes 30.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
)

// run serves until ctx ends. Then it accepts no more connections, lets the requests that are being
// served finish, and closes the store. Its error includes that of close, which reports lost
// sessions. ready is called with the address that run listens on.
func run(ctx context.Context, listen string, buckets int, limit int64, ttl time.Duration, ready func(net.Addr)) error {
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
	// There is no deadline: the store must not be closed under a request, and the timeouts end
	// every request.
	err = errors.Join(err, server.Shutdown(context.Background()))
	return errors.Join(err, s.close())
}
