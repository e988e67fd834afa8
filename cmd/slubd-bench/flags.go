package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Formats of -format.
const (
	formatText    = "text"
	formatGoBench = "gobench"
)

// Bounds of flags.
const (
	minSize    = 8       // the loops store eight bytes
	maxSize    = 8 << 10 // the kernel's largest size class that has slabs
	maxThreads = 1024
	maxLive    = 1 << 30
)

// options are the flags, checked.
type options struct {
	choice           runner.Choice
	names            []string      // of implementations
	chosen           bool          // whether -alloc was given
	benchTime        time.Duration // of one run
	count            int
	listing          bool
	env              bool
	numa             bool
	scaling          bool
	json             bool
	native           string // directory of native libraries; empty: the system's
	format           string
	html             string // file; empty for none
	listen           string // address; empty for none
	pin              report.Pin
	threshold        float64           // share by which slubd's medians may grow
	older, newerFile string            // files to compare; empty: none
	old, newer       *report.Document  // what is in them, or nil; with newer nothing is measured
	measuring        map[string]string // all flags that decide what is measured
	machine          *machine.Machine
}

// raw are the flags that package flag does not check.
type raw struct{ run, names, releases, threads, sizes, pin, traces string }

// flags declares all flags. Their defaults make a suite of half a minute.
func flags(o *options, r *raw) *flag.FlagSet {
	fs := flag.NewFlagSet("slubd-bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	threads := "1,2"
	if runtime.NumCPU() == 1 {
		threads = "1"
	}
	fs.StringVar(&r.run, "run", "", "run the workloads whose names match this `regexp`, \".\" for all; empty runs the default suite")
	fs.StringVar(&r.traces, "trace", "", "comma-separated `files` with a program's allocations, recorded by hooks/trace, to replay; without -run nothing else runs")
	fs.StringVar(&r.names, "alloc", strings.Join(workload.Implementations(), ","), "comma-separated `list` of allocators and other implementations to compare")
	fs.StringVar(&r.releases, "go", "", "comma-separated Go `releases`, go1.27.4 for example, whose heaps are compared as well; the go command builds this program with each, and downloads what is missing")
	fs.StringVar(&r.threads, "threads", threads, "comma-separated `numbers` of threads; all stands for as many as CPUs")
	fs.StringVar(&r.pin, "pin", machine.PinNone, "`how` to pin threads, slubd's and those of native allocators alike: none, compact (neighbours first), scatter (nodes and cores first), or a list of CPUs")
	fs.StringVar(&r.sizes, "size", "64", "comma-separated object `sizes` in bytes")
	fs.DurationVar(&o.benchTime, "benchtime", 20*time.Millisecond, "`duration` of one run")
	fs.IntVar(&o.count, "count", 7, "`number` of rounds; in each, all allocators run once, in a new random order")
	fs.Uint64Var(&o.choice.Seed, "seed", 1, "`seed` of the random sequences and of the order of runs")
	fs.IntVar(&o.choice.Live, "live", 5_000_000, "`number` of live objects of the gc workloads; gc-map has a tenth as many keys")
	fs.BoolVar(&o.listing, "list", false, "list workloads and allocators, and measure nothing")
	fs.BoolVar(&o.env, "env", false, "describe this machine and what may spoil a measurement, and measure nothing; the word env before the flags does the same")
	fs.BoolVar(&o.numa, "numa", false, "measure what it costs to allocate on each node and free on each, and on L3 groups, and nothing else")
	fs.BoolVar(&o.scaling, "scaling", false, "show curves: throughput, tail and counters by number of threads, doubled from 1 to that of CPUs unless -threads says otherwise")
	fs.BoolVar(&o.json, "json", false, "print one JSON document")
	fs.StringVar(&o.format, "format", formatText, "`text` or gobench (input for benchstat)")
	fs.StringVar(&o.native, "native", "", "`directory` of native libraries (and headers, for liburcu and ck) to measure in place of the system's")
	fs.StringVar(&o.older, "compare", "", "compare with this `file` that -json has written; a second one as the argument takes the place of measuring")
	fs.Float64Var(&o.threshold, "threshold", 5, "`percent` by which slubd's medians may grow before -compare calls a significant difference a regression")
	fs.StringVar(&o.html, "html", "", "write a page with charts of everything to this `file`, which needs nothing else to be shown")
	fs.StringVar(&o.listen, "listen", "", "serve /metrics, /debug/slubd/ and the profile at this `address` while running")
	return fs
}

// parse reads the flags. Its error names every problem at once.
func parse(args []string) (options, error) {
	var o options
	var r raw
	fs := flags(&o, &r)
	if len(args) > 0 && args[0] == "env" {
		args, o.env = args[1:], true
	}
	if err := fs.Parse(args); err != nil {
		return o, fmt.Errorf("slubd-bench: %w", err)
	}
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf("slubd-bench: "+format, args...)) }
	if fs.NArg() > 1 || fs.NArg() > 0 && o.older == "" {
		problem("unexpected argument %q", fs.Arg(fs.NArg()-1))
	} else if err := o.loadCompared(fs.Arg(0)); err != nil {
		problem("-compare: %w", err)
	}
	o.machine = machine.System()
	if o.scaling {
		o.choice.Chunks = true
		r.forScaling(fs, o.machine.CPUCount())
	}
	var err error
	if r.run == "" {
		o.choice.Run = nil // the default suite
	} else if o.choice.Run, err = regexp.Compile(r.run); err != nil {
		problem("-run: %w", err)
	} else if len(runner.Plan(runner.Choice{Run: o.choice.Run, Threads: []int{1}, Sizes: []int{minSize}, Chunks: o.scaling})) == 0 {
		problem("-run %s matches no workload; -list shows them", r.run)
	}
	if o.names, err = implementations(r.names); err != nil {
		problem("-alloc: %w", err)
	}
	if releases, err := releases(r.releases); err != nil {
		problem("-go: %w", err)
	} else if o.names = append(o.names, releases...); o.numa && len(releases) > 0 {
		problem("-numa measures nodes, which Go's heap knows nothing of: -go cannot be used with it")
	}
	if info, err := os.Stat(o.native); o.native != "" && (err != nil || !info.IsDir()) {
		problem("-native: %s is no directory", o.native)
	}
	if o.choice.Traces, err = traces(r.traces); err != nil {
		problem("-trace: %w", err)
	}
	fs.Visit(func(f *flag.Flag) { o.chosen = o.chosen || f.Name == "alloc" })
	if err := o.fits(); len(errs) == 0 && err != nil {
		problem("-alloc %s: %w", r.names, err)
	}
	if o.choice.Threads, err = numbers(allCPUs(r.threads, o.machine.CPUCount()), 1, maxThreads); err != nil {
		problem("-threads: %w", err)
	}
	if o.choice.CPUs, err = o.machine.Order(r.pin); err != nil {
		problem("-pin: %w", err)
	}
	o.pin = report.Pin{How: r.pin, CPUs: o.choice.CPUs}
	if o.choice.Sizes, err = numbers(r.sizes, minSize, maxSize); err != nil {
		problem("-size: %w", err)
	}
	if len(errs) == 0 {
		if err := o.roomy(); err != nil {
			problem("-trace: %w", err)
		}
	}
	if o.benchTime <= 0 {
		problem("-benchtime: %v is not positive", o.benchTime)
	}
	if o.count < 1 {
		problem("-count: %d is less than 1", o.count)
	}
	if o.choice.Live < 1 || o.choice.Live > maxLive {
		problem("-live: %d is not a number from 1 to %d", o.choice.Live, maxLive)
	}
	if o.format != formatText && o.format != formatGoBench {
		problem("-format: %q is neither %s nor %s", o.format, formatText, formatGoBench)
	}
	if o.numa && o.scaling {
		problem("-numa and -scaling cannot be used together")
	}
	if o.numa && (r.run != "" || r.traces != "" || r.pin != machine.PinNone) {
		problem("-numa measures a matrix of its own: -run, -trace and -pin cannot be used with it")
	}
	if o.json && o.format != formatText {
		problem("-json and -format %s cannot be used together", o.format)
	}
	if o.older != "" && (o.numa || o.format != formatText) {
		problem("-compare cannot be used with -numa, which has a matrix, or -format %s, which benchstat compares", formatGoBench)
	}
	if o.html != "" && (o.numa || o.newer != nil) {
		problem("-html shows what is measured, without -numa: neither a matrix nor two files that are compared")
	}
	if !(o.threshold >= 0) {
		problem("-threshold: %v is no percentage from 0 on", o.threshold)
	}
	o.threshold /= 100
	o.measuring = measuring(fs)
	return o, errors.Join(errs...)
}

// fits returns an error if none of the implementations has any of the workloads, which then are
// named.
func (o options) fits() error {
	list := slices.DeleteFunc(workload.Catalog(), func(w workload.Workload) bool { return o.numa || !o.choice.Has(w) })
	for _, t := range o.choice.Traces {
		list = append(list, workload.OfTrace(t.File))
	}
	var absent []error
	for _, w := range list {
		switch {
		case slices.ContainsFunc(o.names, w.Has):
			return nil
		default:
			absent = append(absent, fmt.Errorf("%s: %s", w.Name, runner.Only(w)))
		}
	}
	return errors.Join(absent...)
}

// implementations splits a list of names and drops duplicates. An unknown name is an error.
func implementations(list string) ([]string, error) {
	var names []string
	for _, name := range strings.Split(list, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(workload.Implementations(), name) {
			return nil, fmt.Errorf("%q is not one of %s", name, strings.Join(workload.Implementations(), ", "))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

var releaseName = regexp.MustCompile(`^go1\.[0-9]+(\.[0-9]+|rc[0-9]+)?$`)

// releases splits a list of Go releases and drops duplicates.
func releases(list string) (names []string, err error) {
	for _, name := range strings.FieldsFunc(list, func(c rune) bool { return c == ',' }) {
		name = strings.TrimSpace(name)
		if !releaseName.MatchString(name) {
			return nil, fmt.Errorf("%q is no Go release such as go1.27.4", name)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// scalingSuite matches the workloads that have curves without -run: each kind of use once.
const scalingSuite = "^(pair|churn|xfer|rcu|larson)$"

// forScaling sets the flags that were not given to what -scaling wants.
func (r *raw) forScaling(fs *flag.FlagSet, cpus int) {
	if r.run == "" && r.traces == "" {
		r.run = scalingSuite
	}
	given := false
	fs.Visit(func(f *flag.Flag) { given = given || f.Name == "threads" })
	if given {
		return
	}
	var list []string
	for n := 1; n < cpus && n < maxThreads; n *= 2 {
		list = append(list, strconv.Itoa(n))
	}
	r.threads = strings.Join(append(list, "all"), ",")
}

// allCPUs replaces the word all in a list by the number of CPUs.
func allCPUs(list string, cpus int) string {
	parts := strings.Split(list, ",")
	for i, part := range parts {
		if strings.TrimSpace(part) == "all" {
			parts[i] = strconv.Itoa(min(cpus, maxThreads))
		}
	}
	return strings.Join(parts, ",")
}

// numbers splits a list of numbers and drops duplicates. A number out of range is an error.
func numbers(list string, low, high int) ([]int, error) {
	var result []int
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < low || n > high {
			return nil, fmt.Errorf("%q is not a number from %d to %d", text, low, high)
		}
		if !slices.Contains(result, n) {
			result = append(result, n)
		}
	}
	return result, nil
}

// usage prints the flags with their defaults.
func usage(w io.Writer) {
	fmt.Fprintf(w, "Usage: slubd-bench [env] [flags]\n       slubd-bench top [-once] [-sort ORDER] [-n ROWS] [-every TIME] URL\n\n"+
		"Measures slubd beside other allocators, or shows the caches of a running program. Flags:\n\n")
	fs := flags(&options{}, &raw{})
	fs.SetOutput(w)
	fs.PrintDefaults()
}
