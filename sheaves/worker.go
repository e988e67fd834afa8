package sheaves

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/slubd/slubd/internal/percpu"
)

// ErrNotPinned says that the kernel, or this system, refused a worker its CPUs.
var ErrNotPinned = errors.New("sheaves: worker not pinned")

// RunPinned runs work on a thread that the kernel keeps on the given CPUs, and
// returns when work has. What a hot loop allocates and frees then stays with one
// CPU's sheaves, or one node's barn. Any goroutine may call it.
//
// The error wraps ErrNotPinned and the reason; work has not run then. The thread goes
// back to the runtime's pool when its affinity is restored, and ends otherwise.
func RunPinned(cpus []int, work func()) (err error) {
	done := make(chan struct{})
	go func() {
		// Deferred, since work may end its goroutine (runtime.Goexit).
		defer close(done)
		runtime.LockOSThread()
		restore, refused := percpu.Pin(cpus)
		if refused != nil {
			err = fmt.Errorf("%w to CPUs %v: %w", ErrNotPinned, cpus, refused)
			runtime.UnlockOSThread()
			return
		}
		defer func() {
			// A goroutine that ends while locked takes its thread along.
			if restore() == nil {
				runtime.UnlockOSThread()
			}
		}()
		work()
	}()
	<-done
	return err
}
