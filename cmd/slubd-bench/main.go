// Slubd-bench measures slubd beside the allocators that Go daemons use today:
// the Go heap, sync.Pool, and native malloc, tcmalloc, mimalloc and jemalloc; and its
// RCU beside liburcu, ck_epoch and the maps of Go.
//
//	go run ./cmd/slubd-bench                      the suite, about a minute, as a table
//	go run ./cmd/slubd-bench -run pair -json      one workload, for programs
//	go run ./cmd/slubd-bench -list                what there is to measure
//
// Native allocators run as C loops timed in C, in copies of this process that
// are started with LD_PRELOAD; those of liburcu and ck_epoch are compiled first, where
// their headers are installed. Runs of different allocators take turns. The
// exit code is 0 when everything was measured, 1 when something failed, 2 for
// bad flags.
//
// Data flows from flags (options) through runner.Plan (cases) and runner.Run
// (a runner.Report) to a report.Document, which prints itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/child"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	child.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its surroundings as parameters.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(stdout)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "%v\nRun slubd-bench -h for the flags.\n", err)
		return exitUsage
	case o.listing:
		err = o.list(stdout, native.Libraries(), native.Dirs())
	case o.env:
		err = describe(stdout, o)
	default:
		err = measure(ctx, o, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "slubd-bench:", err)
		return exitFailed
	}
	return exitOK
}

// errInterrupted reports a document that ends early.
var errInterrupted = errors.New("interrupted; this is what was finished")

// errIncomplete reports a document with holes; the document says which.
var errIncomplete = errors.New("not everything could be measured")

// measure runs the suite and prints it. What was finished before an
// interruption is printed too.
func measure(ctx context.Context, o options, stdout, stderr io.Writer) error {
	stop, err := accompany(o, stderr)
	if err != nil {
		return err
	}
	defer stop()
	env := environment()
	p := newProgress(stderr)
	found, err := runner.Run(ctx, runner.Plan(o.choice), runner.Config{
		Allocs: o.allocs, BenchTime: o.benchTime, Count: o.count, Seed: o.choice.Seed,
		Libraries: native.Libraries(), Dirs: native.Dirs(), Progress: p.step,
	})
	p.clear()
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	d := report.New(env, o.choice.Seed, o.benchTime, o.count, found)
	if err := errors.Join(err, o.print(d, stdout)); err != nil {
		return err
	}
	if len(found.Failures) > 0 || len(found.Results) == 0 {
		return errIncomplete
	}
	return nil
}

// environment describes this machine and both languages' compilers.
func environment() machine.Env {
	env := machine.Describe()
	env.CCompiler = native.Compiler()
	return env
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
