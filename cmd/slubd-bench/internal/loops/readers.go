package loops

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/rcu"
)

const (
	// sleepers are the readers where writers want every CPU.
	sleepers = 2
	// sleep is how long those pause between two quiescent states. With the kernel's
	// timer slack it takes twice as long.
	sleep = 50 * time.Microsecond
	// section is how long a busy reader goes between two: a short lookup's time.
	section = time.Microsecond
)

// startReaders lets readers go through quiescent states until stop, which waits for
// all callbacks and reports the grace periods that passed. Every CPU that the writers
// leave free has a busy one. Where there is none two sleep in between, online, so that
// grace periods wait for them, and have threads of their own: a goroutine that wakes
// beside as many busy ones as GOMAXPROCS would wait for Go's time slice of 10 ms, and
// every grace period with it, where the kernel runs a thread that wakes at once.
func startReaders(d *rcu.Domain, writers int) (stop func() (map[string]float64, error)) {
	procs := runtime.GOMAXPROCS(0)
	readers, rest := procs-writers, work
	if readers < 1 {
		readers, rest = sleepers, func() { pause(sleep) }
		runtime.GOMAXPROCS(procs + sleepers)
	}
	var running sync.WaitGroup
	var quit atomic.Bool
	before := d.Stats().GracePeriods
	for range readers {
		running.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r := d.Register("slubd-bench")
			defer r.Close()
			for !quit.Load() {
				rest()
				r.Quiescent()
			}
		})
	}
	return func() (map[string]float64, error) {
		quit.Store(true)
		running.Wait()
		runtime.GOMAXPROCS(procs)
		err := settle(d)
		passed := d.Stats().GracePeriods - before
		return map[string]float64{"grace_periods": float64(passed)}, err
	}
}

// work keeps the CPU busy for a section.
func work() {
	for begin := time.Now(); time.Since(begin) < section; {
	}
}
