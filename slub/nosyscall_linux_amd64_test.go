package slub_test

import (
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/slub"
)

// stocked is a cache with objects in main, spare and barn of the CPU, and in slabs; left is their
// number.
func stocked(t *testing.T, flags slub.Flags) (c *slub.Cache, left int) {
	c = open(t, nil, slub.Config{Size: 64, SheafCapacity: 60, Flags: flags})
	freeAll(c, take(t, c, 400))
	s := c.Stats()
	n := s.Nodes[0]
	if flags&slub.NoSheaves == 0 && (s.SheafObjects <= 60 || n.BarnFull == 0) || n.FreeInSlabs == 0 {
		t.Fatalf("not stocked: %+v", s)
	}
	return c, int(s.SheafObjects + n.BarnObjects + n.FreeInSlabs)
}

// empties takes all objects with AllocNoWait, gives them to FreeDeferred, and reports whether
// there were n.
func empties(c *slub.Cache, n int) bool {
	var ps [1 << 10]unsafe.Pointer
	got := 0
	for {
		p, err := c.AllocNoWait()
		if err != nil {
			break
		}
		ps[got] = p
		got++
	}
	_, err := c.AllocNoWait()
	for _, p := range ps[:got] {
		c.FreeDeferred(p)
	}
	return got == n && err == slub.ErrWouldBlock && deferredPending(c) == int64(n)
}

// Until there is nothing left, AllocNoWait makes no system call, nor does FreeDeferred.
func TestNoSyscall(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	for name, flags := range map[string]slub.Flags{"sheaves": 0, "no sheaves": slub.NoSheaves, "init on alloc": slub.InitOnAlloc} {
		t.Run(name, func(t *testing.T) {
			if err := quietly(t, func(t *testing.T) func() bool {
				c, left := stocked(t, flags)
				return func() bool { return empties(c, left) }
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// The filter of these tests bites: a call that asks the kernel anything is the last.
func TestFilterKills(t *testing.T) {
	err := quietly(t, func(t *testing.T) func() bool {
		return func() bool { time.Sleep(time.Millisecond); return true }
	})
	if !killed(err) {
		t.Errorf("a thread under the filter slept: %v", err)
	}
}

// unregistered is the environment in which libc leaves it to us to register threads.
const unregistered = "GLIBC_TUNABLES=glibc.pthread.rseq=0"

// A thread that never registered for rseq doesn't do so now: objects come from slabs.
func TestNoSyscallOnNewThread(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	if name, _ := slub.Engine(); name != "rseq" {
		t.Skip("no rseq")
	}
	if err := quietly(t, func(t *testing.T) func() bool {
		c, _ := stocked(t, 0)
		freshThread(func() {
			filter()
			p, err := c.AllocNoWait()
			if c.FreeDeferred(p); err != nil || slowAllocs(c) == 0 {
				exit(codeFailed)
			}
			exit(0)
		})
		return nil
	}, unregistered); err != nil {
		t.Error(err)
	}
}

// The holder of a lock.Mutex wakes no goroutine, although one waits.
func TestNoSyscallWithWaiter(t *testing.T) {
	if err := quietly(t, func(t *testing.T) func() bool {
		var m lock.Mutex
		m.Lock()
		go m.Lock()
		go m.Lock()
		time.Sleep(50 * time.Millisecond) // by then it waits
		return func() bool { m.Unlock(); return true }
	}); err != nil {
		t.Error(err)
	}
}

// AllocNoWait wakes no goroutine that began to wait for a lock while AllocNoWait held it.
func TestNoSyscallWhenOthersWait(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	for name, test := range map[string]struct {
		point invariants.Point
		waits func(*slub.Cache) // for that lock, and no other one that AllocNoWait has
	}{
		"barn": {invariants.BarnHeld, func(c *slub.Cache) { _, _ = c.Prefill(1) }},
		"node": {invariants.NodeHeld, func(c *slub.Cache) { c.Stats() }},
	} {
		t.Run(name, func(t *testing.T) {
			if err := quietly(t, func(t *testing.T) func() bool {
				c, _ := stocked(t, 0)
				reached := false
				invariants.Interrupt(func(p invariants.Point) {
					if p == test.point && !reached {
						reached = true
						go test.waits(c)
						time.Sleep(20 * time.Millisecond) // by then it does
						filter()
					}
				})
				for !reached {
					if _, err := c.AllocNoWait(); err != nil {
						break
					}
				}
				if reached {
					exit(0)
				}
				exit(codeFailed)
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
