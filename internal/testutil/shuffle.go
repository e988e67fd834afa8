package testutil

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Shuffle moves the process's work about until stop is called, after the shuffler
// of the kernel's torture tests: every millisecond or so another number of
// goroutines may run at once (GOMAXPROCS, from 1 to four times the CPUs), and each
// thread may use another set of CPUs, one of them or all. Where the system has
// no affinity, or refuses it, GOMAXPROCS changes alone.
//
// One Shuffle at a time, in a test that doesn't run in parallel with others.
func Shuffle(t testing.TB, seed uint64) (stop func()) {
	t.Helper()
	threads, err := newThreads()
	if err != nil {
		t.Logf("shuffling GOMAXPROCS only: %v", err)
	}
	before := runtime.GOMAXPROCS(0)
	done := make(chan struct{})
	var shuffling sync.WaitGroup
	shuffling.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 0))
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(rng.IntN(2000)) * time.Microsecond):
			}
			if rng.IntN(4) == 0 { // it stops the world
				runtime.GOMAXPROCS(1 + rng.IntN(4*runtime.NumCPU()))
			}
			threads.scatter(rng)
		}
	})
	return func() {
		close(done)
		shuffling.Wait()
		runtime.GOMAXPROCS(before)
		threads.free()
	}
}
