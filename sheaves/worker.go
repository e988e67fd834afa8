package sheaves

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// ErrNotPinned says that a worker did not get the CPUs it asked for.
var ErrNotPinned = errors.New("sheaves: worker not pinned")

// RunPinned runs work on a thread that the kernel keeps on the given CPUs (sched_setaffinity), and
// returns when work has. What a hot loop allocates and frees then stays in one CPU's sheaves, or in
// one node's barn. Any goroutine may call it; it costs a goroutine and three system calls.
//
// The error wraps ErrNotPinned and the reason; work has not run then. The thread goes back to the
// runtime's pool once its affinity is restored. If that fails the thread ends.
func RunPinned(cpus []int, work func()) (err error) {
	done := make(chan struct{})
	go func() {
		// Deferred, since work may end its goroutine (runtime.Goexit).
		defer close(done)
		runtime.LockOSThread()
		restore, refused := pin(cpus)
		if refused != nil {
			err = fmt.Errorf("%w to CPUs %v: %w", ErrNotPinned, cpus, refused)
			runtime.UnlockOSThread()
			return
		}
		defer func() {
			// A goroutine that ends while it is locked to a thread ends the thread too.
			if restore() == nil {
				runtime.UnlockOSThread()
			}
		}()
		work()
	}()
	<-done
	return err
}

// pin is sys.Pin for CPUs that this machine can have. The kernel ignores others as long as one of
// the set is usable.
func pin(cpus []int) (restore func() error, err error) {
	for _, cpu := range cpus {
		if cpu >= percpu.NumCPU() {
			return nil, fmt.Errorf("%w: %d", sys.ErrCPU, cpu)
		}
	}
	return sys.Pin(cpus)
}
