package loops

import (
	"runtime"

	"github.com/slubd/slubd/internal/sys"
)

// pin binds the goroutine to its thread, and the thread to a CPU; it does nothing for -1. unpin
// undoes that. A thread whose CPUs can't be restored stays with the goroutine, and ends with it.
func pin(cpu int) (unpin func(), err error) {
	if cpu < 0 {
		return func() {}, nil
	}
	runtime.LockOSThread()
	restore, err := sys.Pin([]int{cpu})
	if err != nil {
		runtime.UnlockOSThread()
		return func() {}, err
	}
	return func() {
		if restore() == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}
