package slub_test

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// plan is one run of the checker.
type plan struct {
	arena   arena.Config
	kinds   []kind
	menu    []op
	percent int  // of the operations of all runs
	most    int  // operations, if not 0
	scarce  bool // allocations may fail
	tune    bool // sheaf capacities and barn limits change meanwhile
	pin     func(worker int) (unpin func())
	// beside runs beside the workers, until stop is closed.
	beside []func(stop chan struct{})
}

// A kind is the config of a cache that becomes a subject.
type kind struct {
	slub.Config
	traits
}

// defaultOps is the number of objects that all runs together allocate and free, unless
// SLUBD_STRESS_OPS is set.
const defaultOps = 3_000_000

func (p plan) run(t *testing.T) {
	name, reason := slub.Engine()
	guards, _ := slub.GuardMode()
	t.Logf("engine %s %s; hardened %t, guards %s", name, reason, slub.Hardened(), guards)
	seed := testutil.Seed(t)
	if p.arena.Span == 0 {
		p.arena.Span = 256 * mib // grace periods are slow here, and no allocation may fail
	}
	a := newArena(t, p.arena)
	b := newLedger(t, a, new(rcu.Domain))
	var subjects []*subject
	for _, k := range p.kinds {
		subjects = append(subjects, newSubject(b, a, k.Config, k.traits))
	}
	workers := make([]*worker, 4*runtime.NumCPU())
	ops := testutil.Stress(t, defaultOps) / 100 * p.percent
	if p.most != 0 {
		ops = min(ops, p.most)
	}
	share := ops / len(workers)
	for i := range workers {
		workers[i] = newWorker(i, seed, share, subjects)
	}
	stress(t, func() { p.work(workers, subjects) })
	for i, s := range subjects {
		if err := s.failure.Load(); err != nil && !p.scarce {
			s.faultf("cache %q: %d calls failed, the first with: %v", s.cache.Name(), s.tally.failed.Load(), *err)
		}
		s.audit(s.outside(workers, i))
	}
	for _, w := range workers {
		w.empty(subjects)
	}
	for _, s := range subjects {
		s.settle()
		s.closeAndAudit()
	}
}

// work runs the workers, with readers and slow operations beside them.
func (p plan) work(workers []*worker, subjects []*subject) {
	beside := slices.Clone(p.beside)
	for _, s := range subjects {
		beside = append(beside, s.disturb, s.read)
		if p.tune && s.config.Flags&slub.NoSheaves == 0 {
			beside = append(beside, s.tune)
		}
	}
	during(func() {
		var working sync.WaitGroup
		for i, w := range workers {
			working.Go(func() {
				if p.pin != nil {
					defer p.pin(i)()
				}
				w.run(subjects, p.menu)
			})
		}
		working.Wait()
	}, beside...)
}

// everyKind has sizes from one word to several pages, each place of the free pointer, each kind
// of instrumentation, caches with and without sheaves.
var everyKind = []kind{
	{slub.Config{Size: 8}, 0},
	{slub.Config{Size: 29, FreePtrOffset: slub.At(24)}, withDtor},
	{slub.Config{Size: 64}, 0},
	{slub.Config{Size: 72}, withHooks | withDtor},
	{slub.Config{Size: 88, Align: 16}, withCtor},
	{slub.Config{Size: 200, Flags: slub.InitOnAlloc}, 0},
	{slub.Config{Size: 256, Flags: slub.InitOnFree | slub.HWCacheAlign}, withHooks},
	{slub.Config{Size: 64, Flags: slub.NoSheaves}, withHooks},
	{slub.Config{Size: 300, Flags: slub.NoSheaves}, withCtor},
	{slub.Config{Size: 3000, SheafCapacity: 16}, withDtor},
	{slub.Config{Size: 20000}, 0},
}

var everyOp = []op{pairs, pairs, flood, bulk, zero, onNode, publish, cross, prefilled, local, noWait}

// Mostly pairs on the fast path, and enough other operations to exchange main sheaves.
func TestCheckerPairs(t *testing.T) {
	var kinds []kind
	for _, size := range []int64{16, 64, 96} {
		kinds = append(kinds, kind{slub.Config{Size: size}, 0})
	}
	plan{kinds: kinds, percent: 75, menu: slices.Concat(slices.Repeat([]op{pairs}, 60), everyOp)}.run(t)
}

func TestCheckerEveryEntryPoint(t *testing.T) {
	plan{kinds: everyKind, percent: 15, menu: everyOp}.run(t)
}

// Capacities and barn limits change while the workers run.
func TestCheckerLimits(t *testing.T) {
	plan{kinds: everyKind, percent: 10, menu: everyOp, tune: true}.run(t)
}

// The arena's limit makes allocations fail. An operation costs as much as a hundred elsewhere,
// since most of them reclaim first: one percent of a long run would be half of its time.
func TestCheckerShortOfMemory(t *testing.T) {
	plan{kinds: everyKind, percent: 1, most: 20_000_000, menu: everyOp, scarce: true,
		arena: arena.Config{Limit: 2 * mib, MaxDirty: mib / 4, Span: 8 * mib}}.run(t)
}

// One allocation in twenty is a sample of the profile, and the object alone in its slab.
func TestCheckerSampled(t *testing.T) {
	kinds := slices.Clone(everyKind)
	for i := range kinds {
		kinds[i].Config.ProfileRate = 20 * kinds[i].Config.Size
	}
	plan{kinds: kinds, percent: 5, menu: everyOp, tune: true}.run(t)
}

// Debug caches find nothing wrong, whatever is done with them at once.
func TestCheckerDebug(t *testing.T) {
	kinds := slices.Clone(everyKind)
	for i := range kinds {
		kinds[i].Config.Debug = [...]string{"FZPU", "FZPUQ"}[i%2]
	}
	plan{kinds: kinds, percent: 1, menu: everyOp}.run(t)
}

// Four nodes, some of which may have no CPU: objects come from and go to other nodes.
func TestCheckerFourNodes(t *testing.T) {
	plan{kinds: everyKind, percent: 5, menu: everyOp,
		arena: arena.Config{Topology: fakeNodes(t, 4), Span: 64 * mib}}.run(t)
}

// A shorter run with each engine.
func TestCheckerOtherEngines(t *testing.T) {
	for _, engine := range []string{"trylock", "rseq", "rseq-abi0"} {
		t.Run(engine, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t, "SLUBD_ENGINE="+engine, "SLUBD_STRESS_OPS=100000")
			if isChild {
				plan{kinds: everyKind, percent: 100, menu: everyOp, tune: true}.run(t)
				return
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			name, _, _ := strings.Cut(engine, "-")
			if actual, _ := slub.Engine(); actual == "rseq" && !strings.Contains(out, "engine "+name) {
				t.Errorf("ran on another engine:\n%s", out)
			}
		})
	}
}
