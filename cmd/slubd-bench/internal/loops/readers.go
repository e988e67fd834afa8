package loops

import (
	"runtime"
	"sync"
	"time"

	"github.com/slubd/slubd/rcu"
)

const (
	// readerCount goroutines are registered with the domain during rcu.
	readerCount = 2
	// readerPause is how long a reader sleeps between two quiescent states where
	// writers want every CPU. With the kernel's timer slack it takes twice as long.
	readerPause = 50 * time.Microsecond
)

// startReaders lets readers go through quiescent states until stop, which waits for
// all callbacks and reports the grace periods that passed. On a CPU that the writers
// leave free the readers take turns without a pause, as the readers of a busy daemon
// do. Where there is none they sleep in between, online, so that grace periods wait
// for them, and get threads of their own: a goroutine that wakes beside as many busy
// ones as GOMAXPROCS would wait for Go's time slice of 10 ms, and every grace period
// with it, where the kernel runs a thread that wakes at once.
func startReaders(d *rcu.Domain, writers int) (stop func() (map[string]float64, error)) {
	procs := runtime.GOMAXPROCS(0)
	rest := runtime.Gosched
	if writers >= procs {
		runtime.GOMAXPROCS(procs + readerCount)
		rest = func() { pause(readerPause) }
	}
	var running sync.WaitGroup
	quit := make(chan struct{})
	before := d.Stats().GracePeriods
	for range readerCount {
		running.Go(func() {
			r := d.Register("slubd-bench")
			defer r.Close()
			for {
				select {
				case <-quit:
					return
				default:
					rest()
					r.Quiescent()
				}
			}
		})
	}
	return func() (map[string]float64, error) {
		close(quit)
		running.Wait()
		runtime.GOMAXPROCS(procs)
		err := settle(d)
		passed := d.Stats().GracePeriods - before
		return map[string]float64{"grace_periods": float64(passed)}, err
	}
}
