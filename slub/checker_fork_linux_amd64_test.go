package slub_test

import (
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// fork makes a process as fork(2) in C does, without exec. It has this thread alone, and so no Go
// runtime: it compares the words with stamp, makes no other call, and ends. Its exit status is 0 if
// the words are as they were when it was made.
//
//go:nosplit
//go:norace
func fork(words *[8]uint64, stamp uint64) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	status := uintptr(0)
	for _, w := range words {
		if w != stamp {
			status = 1
		}
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, status, 0, 0)
	}
}

// TestCheckerForks: the process forks while all of its threads allocate and free, as C code in it
// may, and starts programs, for which Go uses vfork (CLONE_VFORK and CLONE_VM). The parent loses
// nothing. Each child has the objects as they were, although the parent changes them at once.
//
// A fork makes the workers fault once more on each page that they write to, and a signal makes it
// begin again. On a slow machine forks without pauses leave the workers no time, so the pauses are
// longer where a fork takes longer.
func TestCheckerForks(t *testing.T) {
	if sanitized {
		t.Skip("sanitizers have threads and memory of their own")
	}
	c := open(t, nil, slub.Config{Size: 64})
	pause := func(begin time.Time) { time.Sleep(min(20*time.Since(begin), 50*time.Millisecond)) }
	var forks, programs atomic.Int64
	forker := func(stop chan struct{}) {
		for stamp := uint64(1); ; stamp++ {
			select {
			case <-stop:
				return
			default:
			}
			begin := time.Now()
			p, err := c.Alloc()
			if err != nil {
				t.Error(err)
				return
			}
			words := (*[8]uint64)(p)
			for i := range words {
				words[i] = stamp
			}
			pid, errno := fork(words, stamp)
			*words = [8]uint64{}
			c.Free(unsafe.Pointer(words))
			var status syscall.WaitStatus
			if errno == 0 {
				_, err = syscall.Wait4(int(pid), &status, 0, nil)
				for err == syscall.EINTR {
					_, err = syscall.Wait4(int(pid), &status, 0, nil)
				}
			}
			if errno != 0 || err != nil || status != 0 {
				t.Errorf("fork: %v, %v, the child ended with %#x", errno, err, status)
				return
			}
			forks.Add(1)
			pause(begin)
		}
	}
	starter := func(stop chan struct{}) {
		for {
			select {
			case <-stop:
				return
			default:
			}
			begin := time.Now()
			if err := exec.Command("/bin/true").Run(); err != nil {
				t.Error(err)
				return
			}
			programs.Add(1)
			pause(begin)
		}
	}
	plan{kinds: everyKind, percent: 5, menu: everyOp, beside: []func(chan struct{}){forker, starter}}.run(t)
	t.Logf("%d forks without exec, %d programs", forks.Load(), programs.Load())
	if forks.Load() == 0 || programs.Load() == 0 {
		t.Error("the storm was over before the process has forked")
	}
}
