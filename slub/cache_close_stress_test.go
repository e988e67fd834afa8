package slub_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// closable are the caches that TestCloseStress closes.
var closable = []kind{
	{slub.Config{Size: 64, RCUDelay: time.Millisecond}, withDtor},
	{slub.Config{Size: 200, SheafCapacity: 28}, withDtor | withHooks},
	{slub.Config{Size: 1024, Flags: slub.NoSheaves, MinPartial: 1}, 0},
	{slub.Config{Size: 512, Flags: slub.TypesafeByRCU, BarnFull: 1, BarnEmpty: 1}, 0},
}

// Caches are closed while other goroutines free their objects, in all ways. Close either reports
// objects in use, and then there are some, or everything is back: every object, with its
// destructor called once, every sheaf and every page.
func TestCloseStress(t *testing.T) {
	for _, engine := range []string{"", "trylock"} {
		t.Run("engine "+engine, func(t *testing.T) {
			if engine == "" {
				closeStress(t)
				return
			}
			out, isChild, err := testutil.Rerun(t, "SLUBD_ENGINE="+engine)
			if isChild {
				closeStress(t)
			} else if err != nil || !strings.Contains(out, "engine "+engine) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func closeStress(t *testing.T) {
	name, reason := slub.Engine()
	t.Logf("engine %s %s", name, reason)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * runtime.NumCPU()))
	seed := testutil.Seed(t)
	a := newArena(t, arena.Config{})
	b := newLedger(t, a, new(rcu.Domain))
	busy, closes := 0, 0
	for round := range testutil.Stress(t, 60_000) / 400 {
		k := closable[round%len(closable)]
		s := newSubject(b, a, k.Config, k.traits)
		reports := s.closeUnderFrees(rand.New(rand.NewPCG(seed, uint64(round))))
		busy += reports
		closes++
		if b.broken() || t.Failed() {
			return
		}
	}
	if used := a.Stats().Nodes[0].Used; used != 0 {
		t.Errorf("%d bytes are still used", used)
	}
	t.Logf("%d caches closed, %d reports of objects in use", closes, busy)
}

// closeUnderFrees closes the cache while four users free 100 objects each, and returns how often
// Close had to report some.
func (s *subject) closeUnderFrees(rng *rand.Rand) (reports int) {
	const users, each = 4, 100
	var left atomic.Int64 // objects that no free has been called for
	var retired int64
	var freeing sync.WaitGroup
	start := make(chan bool)
	for user := range uint64(users) {
		ps := make([]unsafe.Pointer, each)
		if err := s.cache.AllocBulk(ps); err != nil {
			s.t.Fatal(err)
		}
		for i, p := range ps {
			s.fresh(p, (user<<32|uint64(i))<<1+2)
		}
		left.Add(each)
		own := rand.New(rand.NewPCG(rng.Uint64(), user))
		ways := make([]int, each)
		for i := range ways {
			if ways[i] = own.IntN(4); ways[i] == 0 {
				retired++
			}
		}
		freeing.Go(func() {
			<-start
			s.freeIn(ps, ways, own, &left)
		})
	}
	close(start)
	time.Sleep(time.Duration(rng.IntN(100)) * time.Microsecond)
	for {
		err := s.cache.Close()
		if err == nil {
			break
		}
		reports++
		if !errors.Is(err, slub.ErrBusy) || !strings.Contains(err.Error(), " of ") {
			s.faultf("Close: %v", err)
			break
		}
		_, places, _ := strings.Cut(err.Error(), " bytes:")
		places, _, _ = strings.Cut(places, "; sampled:")
		for _, where := range strings.Fields(places) {
			if _, missing := fmt.Sscanf(where, "0x%x", new(uintptr)); missing != nil && where != "..." {
				s.faultf("Close names %q", where)
			}
		}
		runtime.Gosched()
	}
	if n := left.Load(); n > 0 {
		s.faultf("closed although %d objects are in use", n)
	}
	freeing.Wait()
	if s.config.RCUDtor != nil {
		s.equal("destructors", int64(s.died.Load()), retired)
	}
	s.equal("Alloc hooks minus Free hooks", s.hookIn.Load(), 0)
	for _, n := range s.cache.Stats().Nodes {
		s.equal("slabs", int64(n.Slabs), 0)
	}
	s.equal("slabs that wait", slub.WaitingSlabs(s.cache), 0)
	s.auditSheaves()
	return reports
}

// freeIn frees objects the given ways, in bursts.
func (s *subject) freeIn(ps []unsafe.Pointer, ways []int, rng *rand.Rand, left *atomic.Int64) {
	var bulk []unsafe.Pointer
	for i, p := range ps {
		if i%16 == 0 {
			time.Sleep(time.Duration(rng.IntN(50)) * time.Microsecond)
		}
		if ways[i] == 3 {
			bulk = append(bulk, p)
			continue
		}
		left.Add(-1)
		switch ways[i] {
		case 0:
			s.drop(p)
		case 1:
			s.leave(p)
			s.cache.Free(p)
		case 2:
			s.leave(p)
			s.cache.FreeDeferred(p)
		}
	}
	for part := range slices.Chunk(bulk, 7) {
		left.Add(-int64(len(part)))
		for _, p := range part {
			s.leave(p)
		}
		s.cache.FreeBulk(part)
	}
}
