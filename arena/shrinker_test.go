package arena

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/slubd/slubd/internal/lock"
)

// TestShrinkerIsAskedAgain: a shrinker that always counts the same, as a full cache does, is asked
// again after a Scan that freed nothing: at once if it could not look, and else after maxUseless.
func TestShrinkerIsAskedAgain(t *testing.T) {
	result, scans := int64(0), 0
	s := &shrinker{Shrinker: Shrinker{
		Count: func() int64 { return 5 },
		Scan:  func(int64) int64 { scans++; return result },
	}}
	ask := func(returns, freed int64, calls int) {
		t.Helper()
		result, scans = returns, 0
		if got := s.scan(1, true); got != freed || scans != calls {
			t.Errorf("Scan that returns %d: %d freed in %d calls, want %d in %d", returns, got, scans, freed, calls)
		}
	}
	ask(-1, 0, 1)
	ask(-1, 0, 1)
	ask(0, 0, 1)
	ask(3, 0, 0)
	s.since = s.since.Add(-maxUseless)
	ask(3, 3, 1)
	ask(3, 3, 1)
	if calls, freed := s.calls.Load(), s.freed.Load(); calls != 5 || freed != 6 {
		t.Errorf("%d calls and %d freed were counted, want 5 and 6", calls, freed)
	}
}

// An allocation that waits for another round in vain tries once more: the other one may have given
// back enough, and not be over.
func TestRoundThatIsWaitedForInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(Arena)
		a.limit.Store(Unlimited)
		a.reclaim.round = lock.NewTurn()
		a.reclaim.round.TryTake()
		tries := 0
		if !a.Reclaim(1, nil, func() bool { tries++; return true }) || tries != 1 {
			t.Errorf("%d tries after a round that does not end", tries)
		}
	})
}

// TestRoundWaitsForRunningShrinker: an allocation that finds no memory while a shrinker is freeing
// some on another goroutine waits for it. What it freed counts, though nothing is left to free.
func TestRoundWaitsForRunningShrinker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(Arena)
		a.limit.Store(Unlimited)
		a.reclaim.round = lock.NewTurn()
		in, goOn := make(chan struct{}), make(chan struct{})
		left := int64(5)
		var room atomic.Int64
		a.reclaim.shrinkers = []*shrinker{{Shrinker: Shrinker{
			Count: func() int64 { return left },
			Scan: func(n int64) int64 {
				close(in)
				<-goOn
				left = 0
				room.Store(n)
				return n
			},
		}}}
		a.reclaim.any.Store(true)
		go a.Shrink(1)
		<-in
		done := make(chan bool)
		go func() { done <- a.Reclaim(1, nil, func() bool { return room.Load() > 0 }) }()
		synctest.Wait() // the round waits for the shrinker
		close(goOn)
		if !<-done {
			t.Error("the round has not waited for what a shrinker was freeing")
		}
	})
}
