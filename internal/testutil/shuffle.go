package testutil

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Shuffle moves the process's work between CPUs until stop is called, like the shuffler of the
// kernel's torture tests. About every millisecond it changes how many goroutines may run at once
// (GOMAXPROCS, from 1 to four times the CPUs), and which CPUs each thread may use: one of them, or
// all. If the system has no affinity, or refuses to set it, only GOMAXPROCS changes.
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
			if rng.IntN(4) == 0 { // not each time: GOMAXPROCS stops the world
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
