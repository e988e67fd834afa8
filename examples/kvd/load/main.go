// Load compares servers that speak the Redis protocol: kvd with each of its stores, and
// redis-server, if it is installed. For each it starts a process, fills it, finds out how many
// requests a second it answers at most, and then sends half of what kvd with values on the Go heap
// could answer, at times that don't depend on the answers. It prints a table.
//
//	go run ./examples/kvd/load                          # 5 million keys, 12 GB, 15 minutes
//	go run ./examples/kvd/load -keys 100000 -for 5s
//
// # Latency
//
// The latency of a request counts from the time that it should have been sent, not from when it
// was. So a server that stops for a second is charged for all requests of that second, though the
// connection was too full to send them (coordinated omission).
//
// # Limits
//
// Server and load share the machine's CPUs, which on two CPUs is half of each. The figures compare
// servers on one machine; they are not what a server does alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// options are the flags.
type options struct {
	keys    int
	length  time.Duration // of each measurement
	servers []string
	conns   int
	gets    float64 // share of requests that are GET
	rate    float64 // requests per second; 0 for half of the heap store's most
	gogc    string
	kvd     string // program; empty to build it
	small   int    // bytes of the smallest value
	large   int    // and of the largest
}

func main() {
	var o options
	flag.IntVar(&o.keys, "keys", 5_000_000, "`number` of keys")
	flag.DurationVar(&o.length, "for", time.Minute, "`time` of each measurement")
	flag.IntVar(&o.conns, "conns", 32, "`number` of connections")
	flag.Float64Var(&o.gets, "gets", 0.9, "`share` of GET; the rest is SET")
	flag.Float64Var(&o.rate, "rate", 0, "`requests` per second; 0 for half of what the heap store answers")
	flag.StringVar(&o.gogc, "gogc", "100", "GOGC of kvd")
	flag.StringVar(&o.kvd, "kvd", "", "kvd's `program`; empty to build it")
	flag.IntVar(&o.small, "small", 100, "`bytes` of the smallest value")
	flag.IntVar(&o.large, "large", 4096, "`bytes` of the largest value; small ones are more frequent")
	servers := flag.String("servers", "heap,slubd,syncmap,redis", "`names` of what is compared")
	flag.Parse()
	o.servers = strings.Split(*servers, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func (o options) validate() error {
	if o.keys < 1 || o.length <= 0 || o.conns < 1 || o.gets < 0 || o.gets > 1 || o.rate < 0 ||
		o.small < 1 || o.large < o.small {
		return errors.New("an option is out of range")
	}
	for _, name := range o.servers {
		if !slices.Contains([]string{"heap", "slubd", "syncmap", "redis"}, name) {
			return fmt.Errorf("-servers: %q is none of heap, slubd, syncmap, redis", name)
		}
	}
	if o.rate == 0 && !slices.Contains(o.servers, "heap") {
		return errors.New("-servers: without heap -rate must be set")
	}
	return nil
}

// run measures and prints the table to out, and what it is doing to progress.
func run(ctx context.Context, o options, out, progress io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	// This process makes little garbage. A collection would only add its own pauses.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	debug.SetMemoryLimit(1 << 30)
	program, remove, err := o.program(ctx)
	if err != nil {
		return err
	}
	defer remove()

	// The heap store comes first, since its most decides the rate of all.
	slices.SortStableFunc(o.servers, func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == "heap":
			return -1
		case b == "heap":
			return 1
		}
		return 0
	})
	var results []result
	for _, name := range o.servers {
		fmt.Fprintf(progress, "load: %s\n", name)
		r, err := measure(ctx, &o, name, program, progress)
		if errors.Is(err, errNotInstalled) {
			fmt.Fprintf(progress, "load: %v\n", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		results = append(results, r)
	}
	return table(out, o, results)
}

// A result is what one server has done.
type result struct {
	name     string
	most     float64 // requests per second with all connections waiting for answers
	sent     float64 // requests per second of the measurement
	tail     tail
	resident int64 // bytes, at the end
}

// measure starts a server and measures it.
func measure(ctx context.Context, o *options, name, program string, progress io.Writer) (r result, err error) {
	s, err := startServer(ctx, *o, name, program)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	begin := time.Now()
	if err := fill(*o, s.address); err != nil {
		return r, err
	}
	fmt.Fprintf(progress, "load: %d keys in %v\n", o.keys, time.Since(begin).Round(time.Millisecond))
	r.name = name
	if r.most, err = saturate(ctx, *o, s.address); err != nil {
		return r, err
	}
	if o.rate == 0 {
		o.rate = max(1, r.most/2)
	}
	fmt.Fprintf(progress, "load: answers %.0f requests a second; now %.0f for %v\n", r.most, o.rate, o.length)
	if r.tail, r.sent, err = openLoop(ctx, *o, s.address); err != nil {
		return r, err
	}
	r.resident, err = residentOf(s.address)
	return r, err
}

// table prints the results, and each as a multiple of the heap store's.
func table(out io.Writer, o options, results []result) error {
	fmt.Fprintf(out, "%d keys, values of %d to %d bytes, %.0f %% GET, %.0f requests a second for %v, GOGC=%s\n\n",
		o.keys, o.small, o.large, 100*o.gets, o.rate, o.length, o.gogc)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server\tmost req/s\tsent req/s\tp50 ms\tp99\tp99.9\tp99.99\tmax\tresident MB\t")
	row := func(name string, most, sent float64, tail [5]float64, resident float64) {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.0f\t\n", name, most, sent,
			tail[0], tail[1], tail[2], tail[3], tail[4], resident)
	}
	var heap *result
	for i, r := range results {
		row(r.name, r.most, r.sent, r.tail.ms(), float64(r.resident)/1e6)
		if r.name == "heap" {
			heap = &results[i]
		}
	}
	if heap != nil {
		for _, r := range results {
			if r.name == "heap" {
				continue
			}
			fmt.Fprintf(w, "%s/heap\tx%.2f\tx%.2f", r.name, r.most/heap.most, r.sent/heap.sent)
			for i, ms := range r.tail.ms() {
				fmt.Fprintf(w, "\tx%.2f", ms/heap.tail.ms()[i])
			}
			fmt.Fprintf(w, "\tx%.2f\t\n", float64(r.resident)/float64(heap.resident))
		}
	}
	return w.Flush()
}
