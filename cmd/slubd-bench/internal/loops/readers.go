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
	// readerWork is how long a reader goes between two quiescent states: a
	// request of a daemon. It pauses that long and stays online, so that grace
	// periods have to wait for it while the CPUs remain the writers'. With the
	// kernel's timer slack it takes twice as long.
	readerWork = 50 * time.Microsecond
)

// startReaders lets readers come and go through quiescent states until stop,
// which waits for all callbacks and reports the grace periods that passed. They get
// threads beside the writers': with as many busy writers as GOMAXPROCS a reader that
// wakes would otherwise wait for Go's time slice of 10 ms, and every grace period
// with it, where the kernel runs a thread that wakes at once.
func startReaders(d *rcu.Domain) (stop func() (map[string]float64, error)) {
	procs := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(procs + readerCount)
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
					pause(readerWork)
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
