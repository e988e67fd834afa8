package loops

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/rcu"
)

// startReaders lets s.Readers go through quiescent states until stop, which waits for
// all callbacks and reports the grace periods that passed. Those that sleep get threads of
// their own and raise GOMAXPROCS: a goroutine that wakes beside as many busy ones as that
// would wait for Go's time slice of 10 ms, and every grace period with it, where the kernel
// runs a thread that wakes at once. Those that are busy are ordinary goroutines that share
// GOMAXPROCS with the threads, as they would in a program.
func startReaders(d *rcu.Domain, s workload.Spec) (stop func() (map[string]float64, error)) {
	procs := runtime.GOMAXPROCS(0)
	readers := s.Readers(procs)
	if readers.Count == 0 {
		return quiet()
	}
	rest := func() { work(readers.Section) }
	if readers.Sleep > 0 {
		runtime.GOMAXPROCS(procs + readers.Count)
		rest = func() { pause(readers.Sleep) }
	}
	var running sync.WaitGroup
	var quit atomic.Bool
	before := d.Stats().GracePeriods
	for range readers.Count {
		running.Go(func() {
			if readers.Sleep > 0 {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
			}
			r := d.Register("slubd-bench")
			defer r.Close()
			for !quit.Load() {
				rest()
				r.Quiescent()
			}
		})
	}
	return func() (map[string]float64, error) {
		begin := time.Now()
		quit.Store(true)
		running.Wait()
		err := settle(d)
		drain := time.Since(begin)
		runtime.GOMAXPROCS(procs)
		passed := d.Stats().GracePeriods - before
		return map[string]float64{
			workload.GracePeriods: float64(passed),
			workload.DrainTime:    float64(drain) / float64(time.Millisecond),
		}, err
	}
}

// work keeps the CPU busy.
func work(d time.Duration) {
	for begin := time.Now(); time.Since(begin) < d; {
	}
}
