package slub_test

import (
	"errors"
	"os/exec"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// filter kills the process at the calling thread's next system call, except those that end the
// process or a signal handler (seccomp(2)).
func filter() {
	const (
		prSetNoNewPrivs, prSetSeccomp, modeFilter = 38, 22, 2
		load, equal, ret                          = 0x20, 0x15, 0x06
		allow, kill                               = 0x7fff0000, 0x80000000
	)
	program := []syscall.SockFilter{
		{Code: load, K: 0}, // the call's number
		{Code: equal, K: syscall.SYS_EXIT_GROUP, Jt: 2},
		{Code: equal, K: syscall.SYS_RT_SIGRETURN, Jt: 1},
		{Code: ret, K: kill},
		{Code: ret, K: allow},
	}
	bpf := syscall.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.Gosched() // starts a new time slice of 10 ms
	// Threads that look for work go to sleep meanwhile: to wake one is a system call.
	for start := time.Now(); time.Since(start) < time.Millisecond; {
	}
	_, _, err1 := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0)
	_, _, err2 := syscall.RawSyscall(syscall.SYS_PRCTL, prSetSeccomp, modeFilter, uintptr(unsafe.Pointer(&bpf)))
	if err1 != 0 || err2 != 0 {
		exit(codeNoFilter)
	}
}

// Exit codes of a child.
const (
	codeFailed   = 3
	codeNoFilter = 4
)

func exit(code uintptr) {
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// attempts is how often a child may be killed by what isn't its doing: the scheduler takes a
// thread that the kernel has left waiting for long off its goroutine.
const attempts = 4

// quietly runs what prepare returns in a process of its own, on a thread that stays on one CPU
// and whose first system call is its last. It reports how that ended: nil if there was none and
// the function returned true.
func quietly(t *testing.T, prepare func(t *testing.T) (run func() bool), env ...string) error {
	t.Helper()
	if sanitized {
		t.Skip("sanitizers make system calls of their own")
	}
	var err error
	for range attempts {
		var isChild bool
		if _, isChild, err = testutil.Rerun(t, append(env, "GODEBUG=asyncpreemptoff=1")...); isChild {
			debug.SetGCPercent(-1)
			runtime.LockOSThread()
			if _, err := sys.Pin([]int{percpu.CPU()}); err != nil {
				exit(codeNoFilter)
			}
			if percpu.Engine() == "trylock" {
				runtime.GOMAXPROCS(1) // its CPUs are the Ps: run is on the one that prepare was on
			}
			run := prepare(t)
			filter()
			if run() {
				exit(0)
			}
			exit(codeFailed)
		}
		var ended *exec.ExitError
		if errors.As(err, &ended) && ended.ExitCode() == codeNoFilter {
			t.Skip("no seccomp or no affinity here")
		}
		if err == nil || !killed(err) {
			break
		}
	}
	return err
}

// killed reports whether a child met the filter.
func killed(err error) bool {
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return false
	}
	status, ok := ended.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGSYS
}

// freshThread runs f on a thread that has not registered for rseq.
func freshThread(f func()) {
	slots, err := percpu.NewSlots()
	if err != nil {
		exit(codeFailed)
	}
	for range 20 {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // for good: the next goroutine must get another thread
			if st, _ := slots.TryLockNoWait(percpu.Main); st != nil {
				st.Unlock()
				done <- false
				select {}
			}
			f()
			done <- true
		}()
		if <-done {
			return
		}
	}
	exit(codeFailed)
}
