// Slubd-bench measures slubd beside the allocators that Go daemons use today: the Go heap,
// sync.Pool, and native malloc, tcmalloc, mimalloc and jemalloc. It measures RCU beside liburcu,
// ck_epoch and the maps of Go.
//
//	go run ./cmd/slubd-bench                      the default suite, half a minute, as a table
//	go run ./cmd/slubd-bench -run .               all workloads, about two minutes
//	go run ./cmd/slubd-bench -run pair -json      one workload, for programs
//	go run ./cmd/slubd-bench -list                what there is to measure
//	go run ./cmd/slubd-bench -run '^tail' -benchtime 1s   every call timed: percentiles
//	go run ./cmd/slubd-bench -scaling             curves from one thread to as many as CPUs
//	go run ./cmd/slubd-bench -native DIR          libraries of DIR in place of the system's
//	go run ./cmd/slubd-bench -go go1.27.4         the heap of another Go release beside this one's
//	go run ./cmd/slubd-bench -compare OLD.json            what has changed since a run with -json
//	go run ./cmd/slubd-bench -compare OLD.json NEW.json   the same of two files, without measuring
//	go run ./cmd/slubd-bench -trace FILE                  what a program has recorded: hooks/trace
//	go run ./cmd/slubd-bench -html run.html               the same as a page to look at and send
//	go run ./cmd/slubd-bench -numa                nodes by nodes: allocate on one, free on another
//	go run ./cmd/slubd-bench env                  the machine, and what may spoil a measurement
//	go run ./cmd/slubd-bench top URL              the caches of a program that serves debugpage
//
// Native allocators run as C loops timed in C, in copies of this process that are started with
// LD_PRELOAD. The loops of liburcu and ck_epoch are compiled first, if their headers are
// installed. The runs of different implementations take turns. The exit code is 0 if everything
// was measured, 1 if something failed, 2 for bad flags, and 3 if everything was measured but
// -compare has found a significant regression of slubd that exceeds -threshold.
//
// Data flows from flags (options) through runner.Plan (cases) and runner.Run (a runner.Report) to
// a report.Document, which prints itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/top"
)

// Exit codes.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitRegression = 3 // of slubd, by -compare; everything was measured
)

func main() {
	runner.ServeChild()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with everything that main uses as parameters.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "top" {
		return showTop(ctx, args[1:], stdout, stderr)
	}
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "%v\nRun slubd-bench -h for the flags.\n", err)
		return exitUsage
	case o.listing:
		err = o.list(stdout, native.Libraries(o.native), native.Dirs())
	case o.env:
		err = o.describe(stdout)
	case o.newer != nil:
		err = o.compareFiles(stdout)
	default:
		err = o.measure(ctx, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "slubd-bench:", err)
	}
	return exitCode(err)
}

// exitCode returns the exit code for an error. What failed counts more than a regression: figures
// are missing.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case err == errRegression:
		return exitRegression
	}
	return exitFailed
}

// showTop is the word top: it shows the caches of another program.
func showTop(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	clear := ""
	if f, ok := stdout.(*os.File); ok {
		clear = top.ClearFor(f)
	}
	err := top.Run(ctx, args, stdout, clear)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "slubd-bench:", err)
	if errors.Is(err, top.ErrUsage) {
		return exitUsage
	}
	return exitFailed
}

// errInterrupted reports a document that ends early.
var errInterrupted = errors.New("interrupted; the output has what was finished")

// errIncomplete reports a document that lacks results and says which.
var errIncomplete = errors.New("not everything could be measured")

// measure runs the suite and prints it. What was finished before an interruption is printed, too.
func (o options) measure(ctx context.Context, stdout, stderr io.Writer) error {
	if o.listen != "" {
		stop, err := serveMetrics(o.listen, stderr)
		if err != nil {
			return fmt.Errorf("-listen: %w", err)
		}
		defer stop()
	}
	shown, err := newPage(o.html)
	if err != nil {
		return fmt.Errorf("-html: %w", err)
	}
	defer shown.discard()
	begin := time.Now()
	about := report.Describe() // before the first run, for the load
	about.NUMA = o.machine
	p := newProgress(stderr)
	cfg := runner.Config{
		Names: o.names, Named: o.chosen, BenchTime: o.benchTime, Count: o.count, Seed: o.choice.Seed,
		Libraries: native.Libraries(o.native), Dirs: native.Dirs(), Strict: o.native != "", Progress: p.step,
		Memory: o.html != "",
	}
	if !o.chosen {
		cfg.Names = withoutOptional(cfg)
	}
	var measured runner.Report
	if o.numa {
		measured, err = runner.Matrix(ctx, o.machine, o.choice.Sizes, cfg)
	} else {
		measured, err = runner.Run(ctx, runner.Plan(o.choice), cfg)
	}
	p.clear()
	if errors.Is(err, runner.ErrLibrary) || errors.Is(err, runner.ErrRelease) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	d := report.New(about, o.choice.Seed, o.benchTime, o.count, measured)
	d.Env.Scaling, d.Env.Native, d.Env.Flags = o.scaling, o.native, o.measuring
	d.Env.Time, d.Env.Environ = begin.Format(time.RFC3339), environ(os.Environ())
	if len(o.pin.CPUs) > 0 {
		d.Env.Pin = &o.pin
	}
	o.compare(&d)
	if err := errors.Join(err, o.print(d, stdout), shown.write(d)); err != nil {
		return err
	}
	if err := complete(measured); err != nil {
		return err
	}
	return regressed(d.Comparison)
}

// complete returns an error for a report with a failure, or without any result.
func complete(measured runner.Report) error {
	if len(measured.Failures) > 0 || len(measured.Results)+len(measured.Matrix) == 0 {
		return errIncomplete
	}
	return nil
}

// withoutOptional returns cfg's implementations without those that hardly any machine has, and this
// one hasn't.
func withoutOptional(cfg runner.Config) []string {
	return slices.DeleteFunc(slices.Clone(cfg.Names), func(name string) bool {
		i := slices.IndexFunc(cfg.Libraries, func(l native.Library) bool { return l.Name == name })
		if i < 0 || !cfg.Libraries[i].Optional() {
			return false
		}
		_, err := cfg.Libraries[i].Find(cfg.Dirs)
		return errors.As(err, new(*native.MissingError)) || errors.Is(err, native.ErrUnavailable)
	})
}

// print writes d in the form that the flags ask for.
func (o options) print(d report.Document, w io.Writer) error {
	switch {
	case o.json:
		return d.JSON(w)
	case o.format == formatGoBench:
		return d.GoBench(w)
	}
	return d.Text(w)
}

// describe prints the machine; as JSON, in a document without results.
func (o options) describe(w io.Writer) error {
	about := report.Describe()
	about.NUMA = o.machine
	d := report.New(about, o.choice.Seed, o.benchTime, o.count, runner.Report{})
	if o.json {
		return d.JSON(w)
	}
	return d.Machine(w)
}

// progress is one line on a terminal that is rewritten with every step. If stderr is not a
// terminal, it is silent.
type progress struct{ w io.Writer }

// newProgress writes to w if that is a terminal.
func newProgress(w io.Writer) *progress {
	file, ok := w.(*os.File)
	if !ok {
		return &progress{io.Discard}
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{io.Discard}
	}
	return &progress{w}
}

// eraseLine goes back to the start of the line and clears it (ECMA-48 EL).
const eraseLine = "\r\x1b[K"

func (p *progress) step(s runner.Step) {
	fmt.Fprintf(p.w, "%s%3d %%  %v: %s, %s", eraseLine, 100*s.Done/max(1, s.Runs), s.Case, s.Name, s.Stage)
}

func (p *progress) clear() { fmt.Fprint(p.w, eraseLine) }
