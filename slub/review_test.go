package slub

import (
	"errors"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// TestCloseInCallback: where Close may not wait it closes nothing by halves.
func TestCloseInCallback(t *testing.T) {
	var died int
	d := new(rcu.Domain)
	c := open(t, nil, Config{Size: 64, Domain: d, RCUDtor: func(unsafe.Pointer) { died++ }})
	for _, p := range take(t, c, 5) {
		c.FreeRCU(p)
	}
	got := make(chan error)
	d.Defer(func() { got <- c.Close() })
	same(t, "Close in a callback", <-got, rcu.ErrInCallback)
	if err := c.Close(); err != nil || died != 5 {
		t.Errorf("Close after that: %v, with %d of 5 destructors run", err, died)
	}
}

// TestInitOnFreeFreshSlab: the pages of a new slab held something else before.
func TestInitOnFreeFreshSlab(t *testing.T) {
	a := newArena(t, arena.Config{})
	before := open(t, a, Config{Size: 64})
	for _, p := range take(t, before, 500) {
		for i := range mem.Bytes(uintptr(p), 64) {
			mem.Bytes(uintptr(p), 64)[i] = 0xaa
		}
		before.Free(p)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	c := open(t, a, Config{Size: 64, Flags: InitOnFree})
	objs := take(t, c, 500)
	for _, p := range objs {
		if !zeroed(p, 64) {
			t.Fatalf("object %p of a fresh slab holds % x", p, mem.Bytes(uintptr(p), 64))
		}
	}
	c.FreeBulk(objs)
}

// TestNoMemoryForBookkeeping: what the kernel refuses to us is ErrNoMemory to users.
func TestNoMemoryForBookkeeping(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := open(t, a, Config{Size: 64})
	defer sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)()
	_, err := New(a, Config{Size: 64, Flags: NoMerge})
	_, errPrefill := c.Prefill(1000)
	for _, err := range []error{err, errPrefill} {
		if !errors.Is(err, ErrNoMemory) || !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("got %v, want ErrNoMemory and ENOMEM", err)
		}
	}
}

// TestClosedCachesCostNothing: a daemon that makes and closes caches all day doesn't
// grow.
func TestClosedCachesCostNothing(t *testing.T) {
	a := newArena(t, arena.Config{})
	cycle := func() {
		c, err := New(a, Config{Size: 64})
		if err != nil {
			t.Fatal(err)
		}
		objs := make([]unsafe.Pointer, 100)
		if err := c.AllocBulk(objs); err != nil {
			t.Fatal(err)
		}
		c.FreeBulk(objs)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		cycle()
	}
	debug.FreeOSMemory()
	before, err := sys.ReadRSS()
	if err != nil {
		t.Fatal(err)
	}
	const cycles = 1000
	for range cycles {
		cycle()
	}
	debug.FreeOSMemory()
	// The Go heap may have grown by an arena of its own.
	if after, _ := sys.ReadRSS(); after > before+cycles*mem.PageSize+8*mib {
		t.Errorf("%d caches made and closed: resident %d KiB, then %d", cycles, before>>10, after>>10)
	}
}
