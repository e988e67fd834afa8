package runner

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/child"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/loops"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// callLimit is how long a child may take for one request on top of the
// measured time before it counts as hung: building millions of objects on a
// busy machine takes seconds.
const callLimit = 2 * time.Minute

// A contestant is one allocator opened for one case.
type contestant interface {
	run(ctx context.Context, s workload.Spec) (workload.Sample, error)
	close() error
}

// open makes the contestant for alloc.
func (r *run) open(ctx context.Context, alloc string, c Case) (contestant, error) {
	switch {
	case c.Workload.Kind == workload.Resident:
		return resident{alloc}, nil
	case c.Workload.WholeHeap():
		return build(ctx, alloc, c.Spec)
	}
	if lib, ok := r.library(alloc); ok {
		p, err := r.process(ctx, lib)
		return preloaded{p}, err
	}
	s, err := loops.Open(alloc, c.Spec)
	return local{s}, err
}

// local runs Go loops in this process.
type local struct{ session *loops.Session }

func (l local) run(_ context.Context, s workload.Spec) (workload.Sample, error) {
	return l.session.Run(s)
}
func (l local) close() error { return l.session.Close() }

// preloaded runs C loops in the suite's child for an allocator.
type preloaded struct{ process *child.Process }

func (p preloaded) run(ctx context.Context, s workload.Spec) (workload.Sample, error) {
	return measured(call(ctx, p.process, child.Request{Op: child.Run, Spec: s}))
}
func (preloaded) close() error { return nil }

// population collects a heap in a child of its own.
type population struct{ process *child.Process }

func build(ctx context.Context, alloc string, s workload.Spec) (contestant, error) {
	p, err := child.Start()
	if err != nil {
		return nil, err
	}
	if _, err := call(ctx, p, child.Request{Op: child.Build, Alloc: alloc, Spec: s}); err != nil {
		_ = p.Close()
		return nil, err
	}
	return population{p}, nil
}

func (p population) run(ctx context.Context, _ workload.Spec) (workload.Sample, error) {
	return measured(call(ctx, p.process, child.Request{Op: child.Collect}))
}
func (p population) close() error { return p.process.Close() }

// resident needs a fresh process for every run.
type resident struct{ alloc string }

func (r resident) run(ctx context.Context, s workload.Spec) (workload.Sample, error) {
	p, err := child.Start()
	if err != nil {
		return workload.Sample{}, err
	}
	defer p.Close()
	return measured(call(ctx, p, child.Request{Op: child.Resident, Alloc: r.alloc, Spec: s}))
}
func (resident) close() error { return nil }

// call bounds the time of a request.
func call(ctx context.Context, p *child.Process, r child.Request) (child.Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callLimit, fmt.Errorf("hung for %v", callLimit))
	defer cancel()
	return p.Call(ctx, r)
}

// measured is the part of an answer that a run is about.
func measured(a child.Answer, err error) (workload.Sample, error) { return a.Sample, err }

// library finds alloc among the native allocators.
func (r *run) library(alloc string) (native.Library, bool) {
	for _, lib := range r.cfg.Libraries {
		if lib.Alloc == alloc {
			return lib, true
		}
	}
	return native.Library{}, false
}

// process returns the suite's child for lib, verified, starting it for the
// first time or again after a death.
func (r *run) process(ctx context.Context, lib native.Library) (*child.Process, error) {
	if p := r.processes[lib.Alloc]; p != nil && p.Err() == nil {
		return p, nil
	}
	path, err := lib.Find(r.cfg.Dirs)
	if err != nil {
		return nil, err
	}
	rival := ""
	if lib.Rival != nil {
		if rival, err = r.compile(lib.Rival); err != nil {
			return nil, err
		}
	}
	p, err := child.Start(path, rival)
	if err != nil {
		return nil, err
	}
	a, err := call(ctx, p, child.Request{Op: child.Hello, Symbol: lib.Symbol})
	if err == nil && rival != "" {
		_, err = call(ctx, p, child.Request{Op: child.Load, Path: rival})
	}
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	r.processes[lib.Alloc] = p
	r.report.Versions[lib.Alloc] = version(lib, a.Version)
	return p, nil
}

// version names what was loaded for lib into a process with that malloc.
func version(lib native.Library, malloc string) string {
	if lib.Rival == nil {
		return malloc
	}
	return strings.TrimSpace(lib.Rival.About+" "+lib.Rival.Version()) + " with " + malloc
}

// compile makes a rival's library, where the suite's directory has none yet.
func (r *run) compile(rival *native.Rival) (path string, err error) {
	if path, ok := r.compiled[rival]; ok {
		return path, nil
	}
	if r.dir == "" {
		if r.dir, err = os.MkdirTemp("", "slubd-bench"); err != nil {
			return "", err
		}
	}
	if path, err = rival.Compile(r.dir); err == nil {
		r.compiled[rival] = path
	}
	return path, err
}
