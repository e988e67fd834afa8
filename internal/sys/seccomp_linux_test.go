package sys

import (
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slubd/slubd/internal/testutil"
)

// Every thread is refused the calls, also those that were there before, and no other call.
func TestRefuseCalls(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	var ready, done sync.WaitGroup
	refused := make(chan bool)
	for range 3 {
		ready.Add(1)
		done.Go(func() { // keeps its thread in a system call of its own until then
			var p [2]int
			if err := unix.Pipe(p[:]); err != nil {
				t.Error(err)
			}
			ready.Done()
			<-refused
			if _, err := unix.Getpriority(unix.PRIO_PROCESS, 0); !errors.Is(err, unix.EPERM) {
				t.Errorf("getpriority: %v", err)
			}
			if _, err := unix.Write(p[1], []byte{1}); err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
	ready.Wait()
	testutil.NeedHost(t, "seccomp", "linux-image-amd64", RefuseCalls(unix.SYS_GETPRIORITY, unix.SYS_SETPRIORITY))
	close(refused)
	done.Wait()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("setpriority: %v", err)
	}
}
