package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Formats of -format.
const (
	formatText    = "text"
	formatGoBench = "gobench"
)

// Bounds of flags that name sizes and numbers.
const (
	minSize    = 8       // the loops store eight bytes
	maxSize    = 8 << 10 // the kernel's largest size class with slabs
	maxThreads = 1024
	maxLive    = 1 << 30
)

// options are the flags, checked.
type options struct {
	choice     runner.Choice
	allocs     []string
	benchTime  time.Duration // of one run
	count      int
	listing    bool
	env        bool
	json       bool
	format     string
	listen     string // address; empty for none
	cpuProfile string // file; empty for none
}

// raw are the flags that need more than package flag to be understood.
type raw struct{ run, allocs, threads, sizes string }

// flags declares all flags. Their defaults make a suite of about a minute.
func flags(o *options, r *raw) *flag.FlagSet {
	fs := flag.NewFlagSet("slubd-bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	threads := "1,2"
	if runtime.NumCPU() == 1 {
		threads = "1"
	}
	fs.StringVar(&r.run, "run", "", "run only workloads that match this `regexp`")
	fs.StringVar(&r.allocs, "alloc", strings.Join(workload.Entrants(), ","), "allocators and what else there is to compare, a comma-separated `list`")
	fs.StringVar(&r.threads, "threads", threads, "`numbers` of threads")
	fs.StringVar(&r.sizes, "size", "64", "object `sizes` in bytes")
	fs.DurationVar(&o.benchTime, "benchtime", 20*time.Millisecond, "`duration` of one run")
	fs.IntVar(&o.count, "count", 7, "rounds, in each of which every allocator runs once, in an order of its own")
	fs.Uint64Var(&o.choice.Seed, "seed", 1, "seed of the random sequences, and of the order of runs")
	fs.IntVar(&o.choice.Live, "live", 5_000_000, "live `objects` of the gc workloads, ten for each of gc-map's keys")
	fs.BoolVar(&o.listing, "list", false, "list workloads and allocators, measure nothing")
	fs.BoolVar(&o.env, "env", false, "describe this machine, measure nothing")
	fs.BoolVar(&o.json, "json", false, "print one JSON document")
	fs.StringVar(&o.format, "format", formatText, "`text` or gobench (input for benchstat)")
	fs.StringVar(&o.listen, "listen", "", "serve /metrics at this `address` while running")
	fs.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of slubd, go and pool to this `file`")
	return fs
}

// parse reads the flags. Its error names every problem at once.
func parse(args []string) (options, error) {
	var o options
	var r raw
	fs := flags(&o, &r)
	if err := fs.Parse(args); err != nil {
		return o, fmt.Errorf("slubd-bench: %w", err)
	}
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf("slubd-bench: "+format, args...)) }
	if fs.NArg() > 0 {
		problem("unexpected argument %q", fs.Arg(0))
	}
	var err error
	if o.choice.Run, err = regexp.Compile(r.run); err != nil {
		problem("-run: %w", err)
	} else if len(runner.Plan(runner.Choice{Run: o.choice.Run, Threads: []int{1}, Sizes: []int{minSize}})) == 0 {
		problem("-run %s matches no workload; -list shows them", r.run)
	}
	if o.allocs, err = allocators(r.allocs); err != nil {
		problem("-alloc: %w", err)
	}
	if o.choice.Threads, err = numbers(r.threads, 1, maxThreads); err != nil {
		problem("-threads: %w", err)
	}
	if o.choice.Sizes, err = numbers(r.sizes, minSize, maxSize); err != nil {
		problem("-size: %w", err)
	}
	if o.benchTime <= 0 {
		problem("-benchtime: %v is not positive", o.benchTime)
	}
	if o.count < 1 {
		problem("-count: %d is less than 1", o.count)
	}
	if o.choice.Live < 1 || o.choice.Live > maxLive {
		problem("-live: %d is not within 1 to %d", o.choice.Live, maxLive)
	}
	if o.format != formatText && o.format != formatGoBench {
		problem("-format: %q is neither %s nor %s", o.format, formatText, formatGoBench)
	}
	if o.json && o.format != formatText {
		problem("-json and -format %s exclude each other", o.format)
	}
	return o, errors.Join(errs...)
}

// allocators splits a list of names, keeps each once and refuses others.
func allocators(list string) ([]string, error) {
	var names []string
	for _, name := range strings.Split(list, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(workload.Entrants(), name) {
			return nil, fmt.Errorf("%q is none of %s", name, strings.Join(workload.Entrants(), ", "))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// numbers splits a list of numbers, keeps each once and refuses others.
func numbers(list string, low, high int) ([]int, error) {
	var result []int
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < low || n > high {
			return nil, fmt.Errorf("%q is not a number within %d to %d", text, low, high)
		}
		if !slices.Contains(result, n) {
			result = append(result, n)
		}
	}
	return result, nil
}

// usage prints the flags with their defaults.
func usage(w io.Writer) {
	fmt.Fprintf(w, "Usage: slubd-bench [flags]\n\nMeasures slubd beside other allocators. Flags:\n\n")
	fs := flags(&options{}, &raw{})
	fs.SetOutput(w)
	fs.PrintDefaults()
}
