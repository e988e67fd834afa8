package sheaves

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
)

// read looks up published objects, holds them for a while and checks that none of them was freed or
// allocated meanwhile.
func (s *stress) read(rounds int) {
	reader := s.domain.Register("stress")
	defer func() { _ = reader.Close() }()
	type find struct {
		n   int
		age uint32
	}
	for round := range rounds {
		var found []find
		for i := range s.shared {
			if p := unsafe.Pointer(s.shared[(round+i)%len(s.shared)].Load()); p != nil {
				found = append(found, find{n: number(p), age: s.age[number(p)].Load()})
			}
		}
		runtime.Gosched()
		for _, f := range found {
			if age := s.age[f.n].Load(); age != f.age {
				s.t.Errorf("object %d was used again under a reader", f.n)
			}
		}
		reader.Quiescent()
		if round%64 == 0 {
			reader.Offline()
			time.Sleep(time.Microsecond)
			reader.Online()
		}
	}
}

// disturb does everything else that can be done to a Set, until done.
func (s *stress) disturb(done <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		case <-time.After(200 * time.Microsecond):
		}
		switch i % 6 {
		case 0:
			s.FlushCPU(i % percpu.NumCPU())
		case 1:
			s.Shrink()
		case 2:
			if err := s.Barrier(context.Background()); err != nil {
				s.t.Error(err)
			}
		case 3:
			s.Stats()
		case 4:
			s.Flush()
		case 5:
			s.timer.Fire()
		}
	}
}

// TestStress checks a Set by a table of objects that knows nothing of sheaves: every object has one
// owner, none is used before its readers have finished, and the counts add up.
func TestStress(t *testing.T) { runStress(t, (*stress).disturb) }

// runStress runs users and readers, beside disturbers that it ends after them.
func runStress(t *testing.T, disturb ...func(*stress, <-chan struct{})) {
	const users, readers = 6, 2
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * runtime.NumCPU()))
	s := newStress(t, 500*time.Microsecond)
	operations, seed := testutil.Stress(t, 300_000), testutil.Seed(t)
	var busy, disturbers sync.WaitGroup
	for n := range users {
		busy.Go(func() {
			u := s.newUser(seed, uint64(n))
			for i := 0; i < operations/users && !t.Failed(); i++ {
				u.act()
			}
			u.freeAll()
		})
	}
	for range readers {
		busy.Go(func() { s.read(operations / 100) })
	}
	done := make(chan struct{})
	for _, d := range disturb {
		disturbers.Go(func() { d(s, done) })
	}
	busy.Wait()
	close(done)
	disturbers.Wait()
	if err := s.domain.Barrier(context.Background()); err != nil {
		t.Error(err)
	}
	s.finish()
	t.Logf("%d pops, %d from slabs, %d afterFreeRCU, %d refused: %v", s.pops.Load(), s.fromSlab.Load(),
		s.rcuFrees.Load(), s.rcuRefusals.Load(), s.Stats().Events)
}

// TestStressClose closes sets that are in use: operations that run meanwhile fail or finish, and
// nothing is lost.
func TestStressClose(t *testing.T) {
	const users, after = 3, 50
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * runtime.NumCPU()))
	seed := testutil.Seed(t)
	for round := range uint64(testutil.Stress(t, 300_000) / 1000) {
		s := newStress(t, 50*time.Microsecond)
		var busy sync.WaitGroup
		for n := range uint64(users) {
			busy.Go(func() {
				u := s.newUser(seed+round, n)
				for late := 0; late < after; {
					if u.act(); s.closed.Load() {
						late++
					}
				}
				u.freeAll()
			})
		}
		busy.Go(func() {
			time.Sleep(time.Duration(round%20) * 10 * time.Microsecond)
			s.Close()
		})
		busy.Go(func() { s.changeUntilClosed() })
		busy.Wait()
		if err := s.domain.Barrier(context.Background()); err != nil {
			t.Error(err)
		}
		for i := range s.shared {
			if p := s.shared[i].Load(); p != nil {
				s.src.giveBack([]unsafe.Pointer{unsafe.Pointer(p)})
			}
		}
		if s.src.away() != 0 || len(s.pool.of) > 0 {
			t.Fatalf("round %d: %d objects are out, %d pools mapped", round, s.src.away(), len(s.pool.of))
		}
	}
}
