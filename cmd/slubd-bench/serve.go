package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/slubd/slubd/metrics"
)

// serveMetrics answers metrics.DebugHandler's pages at address until stop. It prints the address,
// which may have been ":0".
func serveMetrics(address string, stderr io.Writer) (stop func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: metrics.DebugHandler(), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintf(stderr, "metrics at http://%s/metrics\n", l.Addr())
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(stderr, "slubd-bench: metrics:", err)
		}
	}()
	return func() { _ = server.Close() }, nil
}
