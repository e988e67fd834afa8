package arena

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// Find leads from every address of an arena's range and mappings to the arena, while it is open.
func TestFind(t *testing.T) {
	a, b := open(t, Config{Span: 16 << 20}), open(t, Config{Span: 16 << 20})
	for _, a := range []*Arena{a, b} {
		for page, want := range map[uint32]*Arena{0: a, a.Pages() - 1: a} {
			if got := Find(a.Addr(page)); got != want {
				t.Errorf("page %d is found in %p, want %p", page, got, want)
			}
		}
		const n = 5<<20 + 1
		addr, _, err := a.Map(n, a.topo.Nodes()[0])
		if err != nil {
			t.Fatal(err)
		}
		bytes := mem.AlignUp(n, mem.PageSize)
		for _, at := range []uintptr{0, 1, bytes - 1} {
			if start, size := a.MappingAt(addr + at); Find(addr+at) != a || start != addr || uintptr(size) != bytes {
				t.Errorf("byte %d of a mapping at %#x is at %#x, of %d bytes", at, addr, start, size)
			}
		}
		if start, size := a.MappingAt(addr + bytes); start != 0 || size != 0 {
			t.Errorf("behind a mapping is %#x, of %d bytes", start, size)
		}
		a.Unmap(addr)
		if Find(addr) != nil {
			t.Error("a mapping that was freed is found")
		}
	}
	var word uint64
	for _, addr := range []uintptr{0, 4096, uintptr(unsafe.Pointer(&word))} {
		if Find(addr) != nil {
			t.Errorf("%#x is in an arena", addr)
		}
	}
	base := b.Base()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if Find(base) != nil {
		t.Error("a closed arena is found")
	}
}

// Find may be called while arenas are made and closed.
func TestFindStress(t *testing.T) {
	a := open(t, Config{Span: 16 << 20})
	var users sync.WaitGroup
	for range 2 {
		users.Go(func() {
			for range 50 {
				b, err := New(Config{Name: "short", Span: 16 << 20})
				if err != nil {
					t.Error(err)
					return
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		users.Go(func() {
			for range 500 {
				if Find(a.Base()) != a {
					t.Error("an open arena is not found")
					return
				}
			}
		})
	}
	users.Wait()
}
