//go:build cgo && !race && !asan && !invariants

package slub_test

import (
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// TestEngineUnderFilter: a process that starts under a filter of system calls, as in a container,
// says in one line which engine it has and why, and allocates. Docker's profile leaves it the
// sequences.
func TestEngineUnderFilter(t *testing.T) {
	const (
		rseq, membarrier = 334, 324 // <asm/unistd_64.h>

		register = "membarrier(REGISTER_PRIVATE_EXPEDITED_RSEQ): "
	)
	docker := []uintptr{syscall.SYS_MBIND, syscall.SYS_MOVE_PAGES, syscall.SYS_GET_MEMPOLICY,
		syscall.SYS_SET_MEMPOLICY}
	const none, refused = syscall.ENOSYS, syscall.EPERM
	for name, c := range map[string]struct {
		errno          syscall.Errno
		calls          []uintptr
		engine, reason string
	}{
		"docker":     {refused, docker, "rseq", ""},
		"no rseq":    {none, []uintptr{rseq}, "trylock", "rseq: " + none.Error()},
		"rseq":       {refused, []uintptr{rseq}, "trylock", "rseq: " + refused.Error()},
		"no barrier": {none, []uintptr{membarrier}, "trylock", register + none.Error()},
		"barrier":    {refused, []uintptr{membarrier}, "trylock", register + refused.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			if !underFilter(t, c.errno, c.calls) {
				return
			}
			if engine, reason := slub.Engine(); engine != c.engine || reason != c.reason {
				t.Errorf("engine %s (%q), want %s (%q)", engine, reason, c.engine, c.reason)
			}
			cache := open(t, nil, slub.Config{Size: 64})
			for range 1000 {
				p, err := cache.Alloc()
				if err != nil {
					t.Fatal(err)
				}
				cache.Free(p)
			}
		})
	}
}

// underFilter reports whether this is the process that underFilter has started for the test: as
// testutil.Child, but on a thread to which the kernel refuses the calls, as it then does to that
// process.
func underFilter(t *testing.T, errno syscall.Errno, calls []uintptr) bool {
	t.Helper()
	var refusals []sys.Refusal
	for _, call := range calls {
		refusals = append(refusals, sys.Refusal{Call: call, Errno: errno})
	}
	var isChild bool
	var out string
	var ended error
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: no other goroutine gets the thread
		err := sys.RefuseThread(refusals...)
		defer func() { done <- err }() // also if Rerun ends the goroutine by t.Fatal or t.Skip
		if err == nil {
			out, isChild, ended = testutil.Rerun(t, "SLUBD_ENGINE=")
		}
	}()
	testutil.NeedHost(t, "seccomp", "linux-image-amd64", <-done)
	if !isChild && (ended != nil || !strings.Contains(out, "--- PASS: "+t.Name())) {
		needRseq(t)
		t.Errorf("in a process of its own: %v\n%s", ended, out)
	}
	return isChild
}
