package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"time"

	"github.com/slubd/slubd/metrics"
)

// accompany starts what goes on beside the measurements: the metrics server
// and the CPU profile. stop ends both.
func accompany(o options, stderr io.Writer) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	if o.listen != "" {
		s, err := serve(o.listen, stderr)
		if err != nil {
			return nil, fmt.Errorf("-listen: %w", err)
		}
		stops = append(stops, s)
	}
	if o.cpuProfile != "" {
		s, err := profile(o.cpuProfile, stderr)
		if err != nil {
			stop()
			return nil, fmt.Errorf("-cpuprofile: %w", err)
		}
		stops = append(stops, s)
	}
	return stop, nil
}

// serve answers /metrics at address until stop. It tells the address, which
// may have been ":0".
func serve(address string, stderr io.Writer) (stop func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", metrics.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintf(stderr, "metrics at http://%s/metrics\n", l.Addr())
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(stderr, "slubd-bench: metrics:", err)
		}
	}()
	return func() { _ = server.Close() }, nil
}

// profile records this process's CPU time until stop.
func profile(path string, stderr io.Writer) (stop func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fmt.Fprintln(stderr, "slubd-bench: -cpuprofile:", err)
		}
	}, nil
}
