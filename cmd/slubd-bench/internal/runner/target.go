package runner

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/loops"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// A target is one implementation opened for one case.
type target interface {
	run(ctx context.Context, s workload.Spec) (workload.Sample, error)
	close() error
}

// open makes the target for an implementation.
func (r *run) open(ctx context.Context, name string, c Case) (target, error) {
	file, err := os.Executable()
	if err != nil {
		return nil, err
	}
	release := workload.OfRelease(name)
	if release {
		if file, err = r.built(ctx, name); err != nil {
			return nil, err
		}
		name = workload.Go
	}
	switch {
	case c.Workload.Kind == workload.Resident:
		return resident{file: file, name: name}, nil
	case c.Workload.Kind.WholeHeap():
		return build(ctx, file, name, c.Spec)
	case release:
		return openRelease(ctx, file, c.Spec)
	}
	if lib, ok := r.library(name); ok {
		p, err := r.process(ctx, lib)
		return preloaded{process: p}, err
	}
	s, err := loops.Open(name, c.Spec)
	return local{session: s}, err
}

// local runs Go loops in this process.
type local struct{ session *loops.Session }

func (l local) run(_ context.Context, s workload.Spec) (workload.Sample, error) {
	return l.session.Run(s)
}
func (l local) close() error { return l.session.Close() }

// preloaded runs C loops in the suite's child for an implementation.
type preloaded struct{ process *process }

func (p preloaded) run(ctx context.Context, s workload.Spec) (workload.Sample, error) {
	a, err := p.process.callBounded(ctx, request{Op: opRun, Spec: s})
	return a.Sample, err
}
func (preloaded) close() error { return nil }

// population collects a heap in a child of its own.
type population struct{ process *process }

func build(ctx context.Context, file, name string, s workload.Spec) (target, error) {
	p, err := startProgram(file)
	if err != nil {
		return nil, err
	}
	if _, err := p.callBounded(ctx, request{Op: opBuild, Alloc: name, Spec: s}); err != nil {
		_ = p.close()
		return nil, err
	}
	return population{process: p}, nil
}

func (p population) run(ctx context.Context, _ workload.Spec) (workload.Sample, error) {
	a, err := p.process.callBounded(ctx, request{Op: opCollect})
	return a.Sample, err
}
func (p population) close() error { return p.process.close() }

// resident needs a new process for every run.
type resident struct{ file, name string }

func (r resident) run(ctx context.Context, s workload.Spec) (workload.Sample, error) {
	p, err := startProgram(r.file)
	if err != nil {
		return workload.Sample{}, err
	}
	defer p.close()
	a, err := p.callBounded(ctx, request{Op: opResident, Alloc: r.name, Spec: s})
	return a.Sample, err
}
func (resident) close() error { return nil }

// callLimit is how long a child may take for one request before it counts as hung. Building
// millions of objects on a busy machine takes seconds.
const callLimit = 2 * time.Minute

func (p *process) callBounded(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callLimit, fmt.Errorf("hung for %v", callLimit))
	defer cancel()
	return p.call(ctx, r)
}

// library finds the library of a native implementation.
func (r *run) library(name string) (native.Library, bool) {
	i := slices.IndexFunc(r.cfg.Libraries, func(l native.Library) bool { return l.Name == name })
	if i < 0 {
		return native.Library{}, false
	}
	return r.cfg.Libraries[i], true
}

// process returns the suite's child for lib, verified. It starts one if there is none, or if it
// has died.
func (r *run) process(ctx context.Context, lib native.Library) (*process, error) {
	if p := r.processes[lib.Name]; p != nil && p.failed == nil {
		return p, nil
	}
	path, err := lib.Find(r.cfg.Dirs)
	if err != nil {
		return nil, err
	}
	rcu := ""
	if lib.RCU != nil {
		if rcu, err = r.compile(lib.RCU); err != nil {
			return nil, err
		}
	}
	p, err := startProcess(path, rcu)
	if err != nil {
		return nil, err
	}
	version, err := p.load(ctx, lib, path, rcu)
	if err != nil {
		_ = p.close()
		return nil, fmt.Errorf("%w%s", err, p.stderr.text())
	}
	r.processes[lib.Name], r.report.Versions[lib.Name] = p, version
	return p, nil
}

// load checks that a new child has preloaded lib from path, makes it load the compiled loops of an
// RCU if lib has one, and returns the versions of what is loaded.
func (p *process) load(ctx context.Context, lib native.Library, path, rcu string) (version string, err error) {
	a, err := p.callBounded(ctx, request{Op: opHello, Symbol: lib.Symbol})
	if err != nil {
		return "", err
	}
	version, err = lib.Loaded(path, a.Provider, a.Version)
	if err != nil || rcu == "" {
		return version, err
	}
	if a, err = p.callBounded(ctx, request{Op: opLoad, Path: rcu, Symbol: lib.RCU.Symbol}); err != nil {
		return "", err
	}
	own, err := lib.RCU.Loaded(a.Provider)
	return own + " with " + version, err
}

// compile makes the library of a native RCU in the suite's directory, once.
func (r *run) compile(rcu *native.RCU) (path string, err error) {
	if path, ok := r.compiled[rcu]; ok {
		return path, nil
	}
	if err = r.makeDir(); err != nil {
		return "", err
	}
	if path, err = rcu.Compile(r.dir); err == nil {
		r.compiled[rcu] = path
	}
	return path, err
}

// makeDir makes the suite's directory for what is compiled, once.
func (r *run) makeDir() (err error) {
	if r.dir == "" {
		r.dir, err = os.MkdirTemp("", "slubd-bench")
	}
	return err
}
