package loops

import (
	"sync"
	"time"

	"github.com/slubd/slubd/rcu"
)

const (
	// readerCount goroutines are registered with the domain during rcu.
	readerCount = 2
	// readerWork is how long a reader goes between two quiescent states: a
	// request of a daemon. It sleeps that long and stays online, so that grace
	// periods have to wait for it while the CPUs remain the writers'.
	readerWork = 50 * time.Microsecond
)

// startReaders lets readers come and go through quiescent states until stop,
// which waits for all callbacks and reports the grace periods that passed.
func startReaders(d *rcu.Domain) (stop func() (map[string]float64, error)) {
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
					time.Sleep(readerWork)
					r.Quiescent()
				}
			}
		})
	}
	return func() (map[string]float64, error) {
		close(quit)
		running.Wait()
		err := settle(d)
		passed := d.Stats().GracePeriods - before
		return map[string]float64{"grace_periods": float64(passed)}, err
	}
}
