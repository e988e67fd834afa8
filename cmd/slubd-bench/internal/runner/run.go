package runner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Config is what Run needs besides the cases.
type Config struct {
	Names     []string      // implementations to compare
	Named     bool          // whether a user has chosen them, so that what they lack is to be said
	BenchTime time.Duration // of one run
	Count     int           // rounds, in each of which every implementation runs once
	Seed      uint64        // of the order in a round
	Libraries []native.Library
	Dirs      []string // where to look for them
	Strict    bool     // whether a library that is missing or can't be used ends the suite
	Memory    bool     // whether to read what is resident between runs
	Progress  func(Step)
}

// Step is a moment of the suite, for progress.
type Step struct {
	Case       Case
	Name       string // of the implementation
	Stage      string // "calibrating" or the round
	Done, Runs int    // runs made and to be made, without calibration
}

// run is the state of one suite.
type run struct {
	cfg       Config
	report    Report
	processes map[string]*process    // by native implementation
	present   []string               // implementations that work here
	dir       string                 // for compiled libraries; empty before the first
	compiled  map[*native.RCU]string // libraries in dir
	releases  map[string]string      // programs in dir, by the Go release that has built them
	random    *rand.Rand
	step      Step
	memory    *memory // nil if it is not read
}

// Run measures all cases. If ctx ends early, the report has the cases finished until then and the
// error is ctx's. A measurement that fails is a Failure in the report, not an error.
func Run(ctx context.Context, cases []Case, cfg Config) (Report, error) {
	r := &run{
		cfg: cfg, processes: map[string]*process{}, compiled: map[*native.RCU]string{}, releases: map[string]string{},
		random: rand.New(rand.NewPCG(cfg.Seed, 0)),
		report: Report{Versions: map[string]string{}},
	}
	defer r.close()
	if cfg.Memory {
		r.memory = &memory{begin: time.Now()}
		r.report.Memory = &r.memory.Memory
	}
	r.noteAbsent(cases)
	r.noteTraces(cases)
	if err := r.discover(ctx, cases); err != nil {
		return r.report, err
	}
	for _, c := range cases {
		r.step.Runs += r.cfg.Count * len(r.namesFor(c))
	}
	for _, c := range cases {
		if err := ctx.Err(); err != nil {
			return r.report, err
		}
		r.measure(ctx, c)
	}
	return r.report, ctx.Err()
}

// ErrLibrary reports native libraries without which a suite is not to run.
var ErrLibrary = errors.New("native library")

// discover starts the native implementations that cases need, builds the program with other Go
// releases, and notes which are missing, or returns an error that names them all.
func (r *run) discover(ctx context.Context, cases []Case) error {
	var errs []error
	for _, name := range r.cfg.Names {
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Workload.Has(name) }) {
			continue
		}
		if workload.OfRelease(name) {
			if _, err := r.built(ctx, name); err != nil {
				errs = append(errs, fmt.Errorf("%w %s: %w", ErrRelease, name, err))
				continue
			}
		}
		if lib, ok := r.library(name); ok {
			if _, err := r.process(ctx, lib); err != nil {
				if r.cfg.Strict {
					errs = append(errs, fmt.Errorf("%w of %s: %w", ErrLibrary, name, err))
				}
				r.report.Missing = append(r.report.Missing, Missing{Alloc: name, Reason: err.Error()})
				continue
			}
		}
		r.present = append(r.present, name)
	}
	return errors.Join(errs...)
}

// close ends the native children and removes what was compiled for them.
func (r *run) close() {
	for _, p := range r.processes {
		_ = p.close() // its results are in; how it ends changes nothing
	}
	if r.dir != "" {
		_ = os.RemoveAll(r.dir) // in the system's directory for temporary files
	}
}

// namesFor returns the implementations that take part in c.
func (r *run) namesFor(c Case) []string {
	return slices.DeleteFunc(slices.Clone(r.present), func(name string) bool { return !c.Workload.Has(name) })
}

// fail records a measurement that could not be made, unless the whole suite is ending. What this
// machine lacks is a note.
func (r *run) fail(ctx context.Context, c Case, name string, err error) {
	var needs *workload.NeedsError
	if errors.As(err, &needs) {
		if note := c.Workload.Name + " " + needs.Error(); !slices.Contains(r.report.Notes, note) {
			r.report.Notes = append(r.report.Notes, note)
		}
		return
	}
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return
	}
	r.report.Failures = append(r.report.Failures, Failure{
		Workload: c.Workload.Name, Alloc: name, Threads: c.Spec.Threads, Size: c.Spec.Size, Error: err.Error(),
	})
}

func (r *run) progress(c Case, name, stage string) {
	r.step.Case, r.step.Name, r.step.Stage = c, name, stage
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.step)
	}
}

// entry is one implementation's part in a case.
type entry struct {
	target
	name    string
	spec    workload.Spec // calibrated
	samples []workload.Sample
	failed  bool
}

// measure runs one case. All implementations are opened and calibrated; then they take turns, in a
// new order in each round, because a run leaves traces in the CPU's caches and in its clock.
func (r *run) measure(ctx context.Context, c Case) {
	var entries []*entry
	for _, name := range r.namesFor(c) {
		r.progress(c, name, "calibrating")
		e, err := r.newEntry(ctx, name, c)
		if err != nil {
			r.fail(ctx, c, name, err)
			continue
		}
		entries = append(entries, e)
	}
	r.memory.start(c)
	r.readMemory(nil)
	for round := range r.cfg.Count {
		for _, i := range r.random.Perm(len(entries)) {
			e := entries[i]
			if ctx.Err() != nil || e.failed {
				continue
			}
			r.progress(c, e.name, fmt.Sprintf("round %d of %d", round+1, r.cfg.Count))
			sample, err := e.run(ctx, e.spec)
			r.readMemory(e)
			if err == nil {
				err = replayed(e.spec, sample)
			}
			if err != nil {
				r.fail(ctx, c, e.name, err)
				e.failed = true
				continue
			}
			e.samples = append(e.samples, sample)
			r.step.Done++
		}
	}
	for _, e := range entries {
		r.fail(ctx, c, e.name, e.close())
		if !e.failed && ctx.Err() == nil {
			result, err := summarize(c, e.name, e.spec, e.samples)
			if err != nil {
				r.fail(ctx, c, e.name, err)
				continue
			}
			r.report.Results = append(r.report.Results, result)
		}
	}
}

// newEntry opens and calibrates an implementation for c.
func (r *run) newEntry(ctx context.Context, name string, c Case) (*entry, error) {
	opened, err := r.open(ctx, name, c)
	if err != nil {
		return nil, err
	}
	e := &entry{name: name, target: opened, spec: c.Spec}
	if c.Workload.Kind.WholeHeap() {
		return e, nil // one collection, or one life of a heap, is one run
	}
	if e.spec, err = calibrate(ctx, opened, c.Spec, r.cfg.BenchTime); err != nil {
		_ = opened.close() // err is the first error
		return nil, err
	}
	return e, nil
}

// maxOps ends calibration when a clock stands still.
const maxOps = 1 << 32

// calibrate finds how many operations take about bench. It starts with a tenth of the kind's
// guess, and scales the first run that takes at least a twentieth of bench. These runs also warm
// the implementation up.
func calibrate(ctx context.Context, t target, s workload.Spec, bench time.Duration) (workload.Spec, error) {
	ops := max(1, int(bench/s.Kind.Guess()/10))
	for {
		s = s.WithOps(ops)
		sample, err := t.run(ctx, s)
		if err != nil {
			return s, err
		}
		elapsed := max(sample.Elapsed, 1)
		scale := float64(bench) / float64(elapsed)
		if elapsed >= bench/20 || float64(s.Ops)*scale > maxOps {
			return s.WithOps(max(s.Kind.Least(), int(min(float64(s.Ops)*scale, maxOps)))), nil
		}
		ops = int(float64(s.Ops) * min(scale, 100))
	}
}
