package loops

import (
	"errors"
	"sync"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// reclaims is slubd in workload reclaim. Each thread has an arena of its own, since an arena makes
// one round at a time.
type reclaims struct {
	spec workload.Spec

	mu     sync.Mutex
	rounds uint64 // of a run's threads that have stopped
	err    error  // of closing their arenas
}

func (*reclaims) close() error { return nil }

func (t *reclaims) background() func() (map[string]float64, error) {
	t.rounds, t.err = 0, nil
	return func() (map[string]float64, error) {
		return map[string]float64{workload.Rounds: float64(t.rounds)}, t.err
	}
}

// fullArena is an arena that has room for one slab, and two caches in it.
type fullArena struct {
	arena  *arena.Arena
	domain rcu.Domain
	caches [2]*slub.Cache
}

// reclaimSpan is the address space of a fullArena in bytes: the least that an arena takes.
const reclaimSpan = 4 << 20

func newFullArena(size int) (f *fullArena, err error) {
	f = new(fullArena)
	if f.arena, err = arena.New(arena.Config{Name: "bench-reclaim", Span: reclaimSpan}); err != nil {
		return nil, err
	}
	for i := range f.caches {
		f.caches[i], err = slub.New(f.arena, slub.Config{Name: "bench-reclaim", Size: int64(size), Domain: &f.domain})
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	s := f.caches[0].Stats()
	f.arena.SetLimit(int64(mem.AlignUp(uintptr(s.ObjectsPerSlab)*uintptr(s.SlotSize), mem.PageSize)))
	return f, nil
}

func (f *fullArena) close() error {
	var errs []error
	for _, c := range f.caches {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(append(errs, f.arena.Close())...)
}

// turns allocates from the caches in turn. What one has freed stays in its sheaf, so the other
// finds no memory until a round has taken it back.
func (f *fullArena) turns(n int) error {
	for i := range n {
		c := f.caches[i%2]
		p, err := c.Alloc()
		if err != nil {
			return err
		}
		touch(p, i)
		c.Free(p)
	}
	return nil
}

func (t *reclaims) worker(int, *shared) (worker, error) {
	f, err := newFullArena(t.spec.Size)
	if err != nil {
		return worker{}, err
	}
	return worker{loop: f.turns, stop: func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.rounds += f.arena.Stats().Reclaim.Helped
		t.err = errors.Join(t.err, f.close())
	}}, nil
}
