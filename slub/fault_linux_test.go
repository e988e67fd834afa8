package slub_test

import (
	"github.com/slubd/slubd/slub"
	"runtime"
	"syscall"
	"testing"
)

// fewestFaults runs a fresh f several times and returns how many page faults the thread had in
// the quietest run: Go's own come and go, those of a page that f is the first to touch are always
// there.
func fewestFaults(t *testing.T, prepare func() (f func())) int64 {
	t.Helper()
	if sanitized {
		t.Skip("sanitizers touch memory of their own")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const rusageThread = 1
	var before, after syscall.Rusage
	least := int64(1) << 62
	for range 5 {
		f := prepare()
		err := syscall.Getrusage(rusageThread, &before)
		f()
		if err != nil || syscall.Getrusage(rusageThread, &after) != nil {
			t.Skip("no getrusage(2) of a thread here")
		}
		least = min(least, after.Minflt-before.Minflt)
	}
	return least
}

// The objects of a new slab are zeroed without a fault, however large they are.
func TestNoWaitZeroesTouchedPages(t *testing.T) {
	stay(t)
	for name, flags := range map[string]slub.Flags{"InitOnAlloc": slub.InitOnAlloc, "InitOnFree": slub.InitOnFree} {
		faults := fewestFaults(t, func() func() {
			c := open(t, nil, slub.Config{Size: 8192, Flags: flags})
			c.Free(take(t, c, 1)[0]) // its sheaf has more
			return func() {
				for range 4 {
					p, err := c.AllocNoWait()
					if err != nil {
						t.Fatal(err)
					}
					c.FreeDeferred(p)
				}
			}
		})
		if faults != 0 {
			t.Errorf("%s: %d page faults", name, faults)
		}
	}
}

// A cache that was never used has nothing, and says so. The first call on a CPU may touch the CPU's
// page for the cache; a later one touches nothing new.
func TestNoWaitOnUntouchedCache(t *testing.T) {
	for name, flags := range map[string]slub.Flags{"sheaves": 0, "no sheaves": slub.NoSheaves} {
		faults := fewestFaults(t, func() func() {
			c := open(t, nil, slub.Config{Size: 64, Flags: flags})
			call := func() {
				p, err := c.AllocNoWait()
				if p != nil || err != slub.ErrWouldBlock {
					t.Fatalf("%p, %v", p, err)
				}
			}
			call()
			return call
		})
		if faults != 0 {
			t.Errorf("%s: %d page faults", name, faults)
		}
	}
}
