package runner

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/child"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
)

// Config is what Run needs beside the cases.
type Config struct {
	Allocs    []string
	BenchTime time.Duration // of one run
	Count     int           // rounds, in each of which every allocator runs once
	Seed      uint64        // of the order in a round
	Libraries []native.Library
	Dirs      []string // where to look for them
	Progress  func(Step)
}

// Step is a moment of the suite, for progress.
type Step struct {
	Case       Case
	Alloc      string
	Stage      string // "calibrating" or the round
	Done, Runs int    // runs made and to be made, calibration apart
}

// run is the state of one suite.
type run struct {
	cfg       Config
	report    Report
	processes map[string]*child.Process // by native allocator
	present   []string                  // entrants that work here
	dir       string                    // for what is compiled; empty before there is any
	compiled  map[*native.Rival]string  // libraries in dir
	random    *rand.Rand
	step      Step
}

// Run measures all cases. When ctx ends early the report holds the cases
// finished until then and the error is ctx's. A failing measurement is a
// Failure in the report, not an error.
func Run(ctx context.Context, cases []Case, cfg Config) (Report, error) {
	r := &run{
		cfg: cfg, processes: map[string]*child.Process{}, compiled: map[*native.Rival]string{},
		random: rand.New(rand.NewPCG(cfg.Seed, 0)),
		report: Report{Versions: map[string]string{}},
	}
	defer r.end()
	r.muster(ctx, cases)
	for _, c := range cases {
		r.step.Runs += r.cfg.Count * len(r.entrants(c))
	}
	for _, c := range cases {
		if err := ctx.Err(); err != nil {
			return r.report, err
		}
		r.measure(ctx, c)
	}
	return r.report, ctx.Err()
}

// muster starts the native allocators and rivals that cases need and notes who is missing.
func (r *run) muster(ctx context.Context, cases []Case) {
	for _, alloc := range r.cfg.Allocs {
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Workload.Has(alloc) }) {
			continue
		}
		lib, ok := r.library(alloc)
		if ok {
			if _, err := r.process(ctx, lib); err != nil {
				r.report.Missing = append(r.report.Missing, Missing{alloc, err.Error()})
				continue
			}
		}
		r.present = append(r.present, alloc)
	}
}

// end closes the native children and removes what was compiled for them.
func (r *run) end() {
	for _, p := range r.processes {
		_ = p.Close() // its results are in; how it ends changes nothing
	}
	if r.dir != "" {
		_ = os.RemoveAll(r.dir) // in the system's place for temporary files
	}
}

// entrants are the allocators that take part in c.
func (r *run) entrants(c Case) []string {
	var list []string
	for _, alloc := range r.present {
		if c.Workload.Has(alloc) {
			list = append(list, alloc)
		}
	}
	return list
}

// fail records a measurement that could not be made, unless the whole suite
// is ending anyway.
func (r *run) fail(ctx context.Context, c Case, alloc string, err error) {
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return
	}
	r.report.Failures = append(r.report.Failures, Failure{
		Workload: c.Workload.Name, Alloc: alloc, Threads: c.Spec.Threads, Size: c.Spec.Size, Error: err.Error(),
	})
}

// tell reports progress.
func (r *run) tell(c Case, alloc, stage string) {
	r.step.Case, r.step.Alloc, r.step.Stage = c, alloc, stage
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.step)
	}
}
