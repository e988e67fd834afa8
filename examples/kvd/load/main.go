// Load compares servers that speak the Redis protocol: kvd with each of its stores, and
// redis-server, if it is installed. For each it starts a process, fills it, overwrites all keys in
// random order, finds out how many requests a second it answers at most, and then sends half of
// what kvd with values on the Go heap could answer, at times that don't depend on the answers. It
// prints a table.
//
//	go run ./examples/kvd/load                                   # 1 million keys, an hour
//	go run ./examples/kvd/load -keys 100000 -for 5s -collections 1
//
// # Warm-up
//
// A store that was filled once is unlike one that has run for a day: its values lie side by side,
// and on the Go heap there is no garbage yet. So each key is overwritten -warm times, with a value
// of another size. Then the Go heap is as large as GOGC lets it grow.
//
// # Collections
//
// The Go heap is collected when it has doubled: with millions of values and one write in ten
// requests that takes minutes, and a measurement between two collections shows none. So the heap
// store is measured until there were -collections, and the others for as long as that. The table
// has how many each has had.
//
// # Latency
//
// The latency of a request counts from the time that it should have been sent, not from when it
// was. So a server that stops for a second is charged for all requests of that second, though the
// connection was too full to send them (coordinated omission). Delays of the load itself count,
// too. The table has them as late: how long after its time a request was sent.
//
// # CPUs
//
// The server has the first half of the CPUs that this process may use, and the load the others, so
// that they don't wait for each other (Linux; -split=false shares all). Nothing else should run.
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
	warm    int    // how often each key is overwritten before the measurements
	split   bool   // server and load have CPUs of their own

	collections int           // least number that the heap store is measured for
	longest     time.Duration // of a measurement that waits for collections

	onServerCPUs func(start func() error) error // runs start where servers run; nil: anywhere
}

func main() {
	var o options
	flag.IntVar(&o.keys, "keys", 1_000_000, "`number` of keys")
	flag.DurationVar(&o.length, "for", time.Minute, "least `time` of each measurement")
	flag.IntVar(&o.collections, "collections", 3,
		"`number` of collections that the heap store is measured for; the others are measured as long")
	flag.DurationVar(&o.longest, "longest", 30*time.Minute, "most `time` to wait for these")
	flag.IntVar(&o.warm, "warm", 2, "`times` that each key is overwritten before the measurements")
	flag.BoolVar(&o.split, "split", true, "server and load have half of the CPUs each")
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
		o.small < 1 || o.large < o.small || o.warm < 0 || o.collections < 0 || o.longest < 0 {
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
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 30))
	if o.split {
		join, err := splitCPUs(&o)
		if err != nil {
			return err
		}
		defer join()
	}
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
	name        string
	most        float64 // requests per second with all connections waiting for answers
	sent        float64 // requests per second of the measurement
	tail        tail    // from when a request was due until its answer
	late        tail    // until it was sent
	collections int64   // of the measurement
	resident    int64   // bytes, on average
	peak        int64   // at most
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
	for range o.warm {
		if err := overwrite(ctx, *o, s.address); err != nil {
			return r, err
		}
	}
	fmt.Fprintf(progress, "load: %d keys, each written %d times, in %v\n", o.keys, 1+o.warm, time.Since(begin).Round(time.Millisecond))
	r.name = name
	if r.most, err = saturate(ctx, *o, s.address); err != nil {
		return r, err
	}
	if o.rate == 0 {
		o.rate = max(1, r.most/2)
	}
	fmt.Fprintf(progress, "load: answers %.0f requests a second; now %.0f for %v or more\n", r.most, o.rate, o.length)
	onHeap := name == "heap" || name == "syncmap"
	w, err := watch(s, onHeap, o.collections)
	if err != nil {
		return r, err
	}
	begin = time.Now()
	r.tail, r.late, r.sent, err = openLoop(ctx, *o, s.address, w.enough)
	if err := errors.Join(err, w.stop()); err != nil {
		return r, err
	}
	if name == "heap" { // the first: the others are measured for as long
		o.length = max(o.length, time.Since(begin).Round(time.Second))
		o.longest = max(o.longest, o.length)
	}
	r.collections, r.resident, r.peak = w.collections, w.mean(), w.peak
	return r, nil
}

// table prints the results, and each as a multiple of the heap store's.
func table(out io.Writer, o options, results []result) error {
	fmt.Fprintf(out, "%d keys, values of %d to %d bytes, each overwritten %d times, then %.0f %% GET, %.0f requests a second for %v, GOGC=%s\n\n",
		o.keys, o.small, o.large, o.warm, 100*o.gets, o.rate, o.length, o.gogc)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server\tmost req/s\tsent req/s\tp50 ms\tp99\tp99.9\tp99.99\tmax\tlate p99.9\tcollections\tresident MB\tpeak\t")
	var heap *result
	for i, r := range results {
		ms := r.tail.ms()
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%d\t%.0f\t%.0f\t\n", r.name, r.most, r.sent,
			ms[0], ms[1], ms[2], ms[3], ms[4], r.late.ms()[2], r.collections, float64(r.resident)/1e6, float64(r.peak)/1e6)
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
			fmt.Fprintf(w, "\t\t\tx%.2f\tx%.2f\t\n", float64(r.resident)/float64(heap.resident), float64(r.peak)/float64(heap.peak))
		}
	}
	return w.Flush()
}
