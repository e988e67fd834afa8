package arena

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/testutil"
)

// stress is what the goroutines of a test share: the arena, and a table of owners that the arena
// doesn't know.
type stress struct {
	*testing.T
	arena *Arena
	owner []atomic.Uint32 // by page: worker + 1, 0: free
}

// worker allocates and frees at random, and keeps up to 16 runs.
func (s *stress) worker(id uint32, ops int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(id)))
	var live []Run
	for range ops {
		if len(live) == 16 || len(live) > 0 && rng.IntN(5) < 2 {
			i := rng.IntN(len(live))
			s.free(id, live[i])
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
			continue
		}
		if run, ok := s.alloc(id, min(rng.IntN(9), rng.IntN(9)), rng); ok {
			live = append(live, run)
		}
	}
	for _, run := range live {
		s.free(id, run)
	}
}

func (s *stress) alloc(id uint32, order int, rng *rand.Rand) (Run, bool) {
	pages := 1 << order
	if rng.IntN(2) == 0 {
		pages -= rng.IntN(pages/2 + 1) // of the same order or the one below
	}
	run, err := s.arena.AllocPages(pages, rng.IntN(s.arena.Topology().NodeCount()))
	if err != nil {
		if !errors.Is(err, ErrNoMemory) {
			s.Error(err)
		}
		return Run{}, false
	}
	for i := range s.owner[run.Page : run.Page+run.Pages] {
		if at := &s.owner[int(run.Page)+i]; !at.CompareAndSwap(0, id) {
			s.Errorf("page %d of %+v belongs to worker %d", i, run, at.Load())
		}
	}
	w := words(s.arena, run)
	if run.Zero && !allZero(w) {
		s.Errorf("%+v isn't zero", run)
	}
	meta := (*[metaSize / 8]uint64)(s.arena.Meta(run.Page))
	if !allZero(meta[:]) {
		s.Errorf("%+v: its record holds %x", run, *meta)
	}
	s.fill(run, uint64(id))
	s.arena.SetOwner(run.Page, pages, owner.Word(id))
	return run, true
}

// fill writes to the Meta record and to every page of a run what free expects to find there.
func (s *stress) fill(run Run, value uint64) {
	meta := (*[metaSize / 8]uint64)(s.arena.Meta(run.Page))
	for i := range meta {
		meta[i] = value
	}
	w := words(s.arena, run)
	for i := 0; i < len(w); i += mem.PageSize / 8 {
		w[i], w[i+511] = value, value
	}
}

func (s *stress) free(id uint32, run Run) {
	meta := (*[metaSize / 8]uint64)(s.arena.Meta(run.Page))
	for _, word := range meta {
		if word != uint64(id) {
			s.Errorf("%+v of worker %d: its record holds %x", run, id, *meta)
		}
	}
	w := words(s.arena, run)
	for i := 0; i < len(w); i += mem.PageSize / 8 {
		if w[i] != uint64(id) || w[i+511] != uint64(id) {
			s.Errorf("%+v of worker %d: page %d holds %x, %x", run, id, i*8/mem.PageSize, w[i], w[i+511])
		}
	}
	for page := run.Page; page < run.Page+run.Pages; page++ {
		if head, pages, ok := s.arena.Head(page); head != run.Page || pages != int(run.Pages) || !ok || s.arena.Owner(page) != owner.Word(id) {
			s.Errorf("%+v of worker %d: page %d has head %d, %d pages, %v, owner %d", run, id, page, head, pages, ok, s.arena.Owner(page))
		}
		if got := s.owner[page].Swap(0); got != id {
			s.Errorf("%+v of worker %d: page %d belongs to %d", run, id, page, got)
		}
	}
	s.arena.Free(run.Page)
}

// Workers allocate and free, idle runs decay, and other goroutines purge, take statistics and ask
// about pages that they don't hold.
func TestStress(t *testing.T) {
	const workers, limit = 6, 20 * mib
	a := open(t, Config{Topology: nodes(t, 0, 3), Span: 16 * mib, Limit: limit, MaxDirty: 2 * mib, Decay: 8 * time.Millisecond})
	s := &stress{T: t, arena: a, owner: make([]atomic.Uint32, a.Pages())}
	seed, ops := testutil.Seed(t), testutil.Stress(t, 30000)/workers
	var work, beside sync.WaitGroup
	var done atomic.Bool
	for id := range uint32(workers) {
		work.Go(func() { s.worker(id+1, ops, seed) })
	}
	beside.Go(func() {
		for target := int64(0); !done.Load(); target += mem.PageSize {
			a.Purge(target % mib)
		}
	})
	beside.Go(func() {
		owners := unsafe.Slice((*uint32)(a.Owners()), a.Pages())
		for page := uint32(0); !done.Load(); page = (page + 7) % a.Pages() {
			if head, pages, ok := a.Head(page); ok && (head > page || page-head >= 1<<orderOf(uint32(pages))) {
				t.Errorf("page %d has head %d, %d pages", page, head, pages)
			}
			if owner := atomic.LoadUint32(&owners[page]); owner > workers {
				t.Errorf("page %d has owner %d", page, owner)
			}
			if charged, dirty := a.ledger.load(); charged*mem.PageSize > limit || dirty > charged {
				t.Errorf("%d pages charged, %d dirty, limit %d bytes", charged, dirty, limit)
			}
			for _, n := range a.Stats().Nodes {
				if (n.Used+n.Free+n.Purged)%maxRun != 0 {
					t.Errorf("figures don't add up: %+v", n)
				}
			}
		}
	})
	work.Wait()
	done.Store(true)
	beside.Wait()
	check(a)
}

// An Alloc that races with Close either gets a run, and then Close returns ErrBusy, or it gets
// ErrClosed.
func TestCloseBesideAlloc(t *testing.T) {
	topo := nodes(t, 0)
	for range testutil.Stress(t, 100) {
		a, err := New(Config{Span: 4 * mib, Topology: topo})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var run Run
		var allocErr, closeErr error
		wg.Go(func() { run, allocErr = a.Alloc(0, 0) })
		wg.Go(func() { closeErr = a.Close() })
		wg.Wait()
		switch {
		case allocErr == nil && errors.Is(closeErr, ErrBusy):
			a.Free(run.Page)
			closeErr = a.Close()
		case !errors.Is(allocErr, ErrClosed):
			t.Fatalf("Alloc: %v, Close: %v", allocErr, closeErr)
		}
		if closeErr != nil {
			t.Fatal(closeErr)
		}
	}
}
