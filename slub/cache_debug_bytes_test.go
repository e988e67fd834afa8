//go:build !asan

package slub

import (
	"strings"
	"testing"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

// The address sanitizer finds the writes of this file itself.

// With FZPU a write to any byte of a slot is found, except to the object's own while it is in use,
// and to the link, where a slab writes what it needs: an overrun may well leave the red zone out.
func TestDebugEveryByteOfASlot(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	for _, size := range []int{8, 24, 29, 64} {
		c := openRecorder(t, nil, Config{Name: "slot", Size: int64(size), Debug: "FZPU"})
		l := c.debug().layout
		for off := -int(l.Left); off < int(l.Slot-l.Left); off++ {
			if int(l.Inuse) <= off && off < int(l.Inuse)+8 {
				continue
			}
			for _, free := range []bool{false, true} {
				p := take(t, c.Cache, 1)[0]
				switch {
				case free:
					c.Free(p)
					*at(p, off) ^= 0x11
					p = take(t, c.Cache, 1)[0]
				case off < 0 || off >= size:
					*at(p, off) ^= 0x11
				default:
					c.Free(p)
					continue
				}
				c.Free(p)
				if len(c.Reports) != 1 || c.Reports[0].Addr != uintptr(p) || c.Reports[0].Overwrite == nil {
					t.Fatalf("%d bytes, byte %+d, free %t: reports %v of %p", size, off, free, c.Reports, p)
				}
				c.Reports = nil
			}
		}
	}
}

// The report of a track that was overwritten says so. The object was in use, so it has no track of
// a free either.
func TestDebugTrackOverwritten(t *testing.T) {
	c := openRecorder(t, nil, Config{Name: "track", Size: 64, Debug: "FZU"})
	p := take(t, c.Cache, 1)[0]
	*at(p, int(c.debug().layout.Inuse)+8+3) ^= 1
	c.Free(p)
	if len(c.Reports) != 1 {
		t.Fatal(c.Reports)
	}
	r := c.Reports[0]
	for _, text := range []string{"BUG track (debug FZU): Allocation track overwritten\n", "@offset=88. Its check bits do not fit\n", "FIX track: Resetting Allocation track 0x"} {
		if !strings.Contains(r.History, text) {
			t.Errorf("no %q in\n%s", text, r.History)
		}
	}
	if strings.Contains(r.History, " on CPU ") || r.Kind != hooks.RedZoneOverwritten {
		t.Errorf("%v:\n%s", r.Kind, r.History)
	}
}

// The environment makes the default Buckets debug Buckets. Without a hook the free panics with the
// report in the kernel's form.
func TestDebugLargeInAProcess(t *testing.T) {
	out, isChild, err := testutil.Rerun(t, "SLUBD_DEBUG=FZU,malloc-large")
	if !isChild {
		for _, text := range []string{"panic: slubd: cache \"malloc-large\": red zone overwritten", "kmalloc Redzone overwritten: ",
			"First byte 0x41 instead of 0xcc", "slub.TestDebugLargeInAProcess"} {
			if err == nil || !strings.Contains(out, text) {
				t.Errorf("%v, no %q in\n%s", err, text, out)
			}
		}
		return
	}
	s, err := NewSlice(1<<20 + 77)
	same(t, "NewSlice", err, nil)
	*at(mem.Ptr(s.addr), s.Len()) = 'A'
	done := make(chan bool)
	go func() { // a panic on the test's own goroutine would be wrapped
		s.Free()
		done <- true
	}()
	<-done
}
