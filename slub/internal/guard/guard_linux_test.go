//go:build linux && cgo && !race && !asan

package guard

import (
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// openPool returns a pool in an arena of its own, which must be empty when the test ends.
func openPool(t *testing.T) (*Pool, *arena.Arena) {
	t.Helper()
	a, err := arena.New(arena.Config{Name: "guarded", Span: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	Join(a)
	p := For(a, 0)
	t.Cleanup(func() {
		Leave(a)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	if p == nil {
		t.Fatal("no pool")
	}
	return p, a
}

// take takes a slot, and begins an object of 64 bytes there.
func (p *Pool) takeObject(t *testing.T, shift uintptr) (slot int, o Object) {
	t.Helper()
	slot, ok := p.Take(CallerStack())
	if !ok {
		t.Fatal("the pool is full")
	}
	o = Object{Cache: "c", Addr: p.pageAddr(slot) + shift, Size: 61, Slot: 80, Link: 64}
	p.Begin(slot, o, CallerStack())
	return slot, o
}

// A slot serves again when all others have: the one that was freed first is the next.
func TestFirstFreedIsNext(t *testing.T) {
	p, _ := openPool(t)
	var order []int
	for range Slots {
		slot, o := p.takeObject(t, 0)
		order = append(order, slot)
		Check(o)
		p.Release(slot)
	}
	for i, want := range order {
		for _, before := range order[:i] {
			if before == want {
				t.Fatalf("slot %d serves again while others have not", want)
			}
		}
	}
	slot, _ := p.takeObject(t, 0)
	if slot != order[0] {
		t.Errorf("slot %d comes next, want %d", slot, order[0])
	}
	p.Release(slot)
}

// What was noted of the free of an object is forgotten when its slot serves again: the next object
// there is in use, and its own free is noted.
func TestFreeIsForgotten(t *testing.T) {
	p, _ := openPool(t)
	first, o := p.takeObject(t, 0)
	NoteFree(o.Addr)
	for slot, again := first, false; !again; again = slot == first {
		Check(o)
		p.Release(slot)
		slot, o = p.takeObject(t, 0)
	}
	for _, freed := range []bool{false, true} {
		if freed {
			NoteFree(o.Addr)
		}
		if s, ok := Look(o.Addr); !ok || strings.Contains(s.History, "freed on CPU") != freed {
			t.Errorf("the object is freed: %t, and its history says\n%s", freed, s.History)
		}
	}
	Check(o)
	p.Release(first)
}

// A byte that is written beside an object is found, wherever it lies in the page; the object's own
// bytes and its free pointer are not looked at.
func TestEveryByteBeside(t *testing.T) {
	p, _ := openPool(t)
	for _, c := range []struct{ shift, size, link uintptr }{{0, 61, 64}, {1000, 64, 64}, {mem.PageSize - 80, 61, 56}, {8, 61, 0}} {
		slot, o := p.takeObject(t, c.shift)
		o.Size, o.Link = c.size, c.link
		p.Begin(slot, o, CallerStack())
		page := p.pageAddr(slot)
		for addr := page; addr < page+mem.PageSize; addr++ {
			own := addr >= o.Addr && addr < o.Addr+o.Size || addr >= o.Addr+o.Link && addr < o.Addr+o.Link+8
			old := *mem.At[byte](addr)
			*mem.At[byte](addr) ^= 0x80
			found, _ := Check(o)
			*mem.At[byte](addr) = old
			if (found == "") != own {
				t.Fatalf("byte %d of the page, object at %d: %q", addr-page, o.Addr-page, found)
			}
			if !own && !strings.HasPrefix(found, "1 byte was written") {
				t.Fatalf("found %q", found)
			}
		}
		p.Release(slot)
	}
}

// Without MADV_GUARD_INSTALL the pages are guarded by mprotect, and given back as well.
func TestByMprotect(t *testing.T) {
	restore := sys.FailNth(sys.CallGuardInstall, 0, syscall.EINVAL)
	defer restore()
	p, _ := openPool(t)
	if p.markers {
		t.Fatal("the pool has markers")
	}
	slot, o := p.takeObject(t, 0)
	if found, _ := Check(o); found != "" {
		t.Error(found)
	}
	p.Release(slot)
	again := sys.FailNth(sys.CallProtect, 0, syscall.ENOMEM)
	_, ok := p.Take(CallerStack())
	again()
	if ok || p.inUse() != 0 {
		t.Errorf("a page that can't be opened is used: %d in use", p.inUse())
	}
}

// Where the kernel refuses to guard the page of an object that is free, its slot serves again.
func TestRefusedGuardIsCounted(t *testing.T) {
	p, _ := openPool(t)
	slot, o := p.takeObject(t, 0)
	Check(o)
	before := ReadStats()
	restore := sys.FailNth(sys.CallGuardInstall, 0, syscall.ENOMEM)
	p.Release(slot)
	restore()
	if s := ReadStats(); s.Unguarded != before.Unguarded+1 || s.InUse != before.InUse-1 {
		t.Errorf("%+v, before %+v", s, before)
	}
}

// A pool that can't be made leaves nothing behind. It is tried again, after ever more calls, and is
// there once the kernel allows it.
func TestNoPool(t *testing.T) {
	for _, calls := range [][]sys.Call{{sys.CallGuardInstall, sys.CallProtect}, {sys.CallReserve}, {sys.CallWatchGuards}} {
		a, err := arena.New(arena.Config{Name: "guarded", Span: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		run, err := a.AllocPages(1, 0) // its pages are writable by now
		if err != nil {
			t.Fatal(err)
		}
		areas := registry.areas
		registry.areas = nil
		Join(a)
		var restore []func()
		for _, c := range calls {
			restore = append(restore, sys.FailNth(c, 0, syscall.ENOMEM))
		}
		// Of these calls the 1st, 3rd, 6th, 11th, 20th and 37th try.
		for range 37 {
			if For(a, 0) != nil {
				t.Errorf("%v fail, and there is a pool", calls)
			}
		}
		for _, f := range restore {
			f()
		}
		tried := 1
		for For(a, 0) == nil && tried < 100 {
			tried++
		}
		if tried != 33 {
			t.Errorf("%v don't fail any more, and the pool is there at call %d, want 33", calls, tried)
		}
		Leave(a)
		registry.areas = append(registry.areas, areas...)
		a.Free(run.Page)
		if err := a.Close(); err != nil {
			t.Errorf("%v: %v", calls, err)
		}
	}
}

// The pages of a pool that is given back can be used like any others, and the next pool has the
// memory that described it.
func TestPoolIsGivenBack(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "guarded", Span: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var area unsafe.Pointer
	for range 3 {
		Join(a)
		p := For(a, 0)
		slot, o := p.takeObject(t, 0)
		if _, ok := Look(o.Addr); !ok {
			t.Fatal("the object is not found")
		}
		Check(o)
		p.Release(slot)
		if area != nil && area != unsafe.Pointer(p.area) {
			t.Error("a pool has new memory while some is left")
		}
		area = unsafe.Pointer(p.area)
		Leave(a)
		if _, ok := Look(o.Addr); ok || a.InUse() != 0 {
			t.Fatalf("the pool is there: %d bytes in use", a.InUse())
		}
		run, err := a.AllocPages(poolPages, 0)
		if err != nil {
			t.Fatal(err)
		}
		clear(mem.Bytes(a.Addr(run.Page), poolPages*mem.PageSize))
		a.Free(run.Page)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// From three quarters on a call stack has one object at most.
func TestOneSiteDoesNotFillThePool(t *testing.T) {
	p, _ := openPool(t)
	var slots []int
	for {
		slot, ok := p.Take(Stack{1})
		if !ok {
			break
		}
		slots = append(slots, slot)
	}
	if len(slots) != covered {
		t.Errorf("a site has %d objects, want %d", len(slots), covered)
	}
	for i := range uintptr(Slots) {
		if slot, ok := p.Take(Stack{2 + i}); ok {
			slots = append(slots, slot)
		}
	}
	if len(slots) != Slots {
		t.Errorf("other sites have %d objects", len(slots)-covered)
	}
	for _, slot := range slots {
		p.Release(slot)
	}
}
