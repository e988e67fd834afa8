package slab

import (
	"math/bits"
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// A free pointer is stored as the kernel does under CONFIG_SLAB_FREELIST_HARDENED: combined with a
// secret of the cache's and the bytes of its own address, swapped.
func TestFreePointerIsEncoded(t *testing.T) {
	secrets := map[uint64]bool{0: true}
	for range 4 {
		r := open(t, 64, Config{})
		if secrets[r.secret] {
			t.Errorf("secret %#x is no secret", r.secret)
		}
		secrets[r.secret] = true
		ps := r.take(r.perSlab) // all, so that the chain ends with the first one freed
		r.free(ps[:3]...)
		for i, next := range []uintptr{0, uintptr(ps[0]), uintptr(ps[1])} {
			at := uintptr(ps[i]) + r.fp
			want := uint64(next) ^ r.secret ^ bits.ReverseBytes64(uint64(at))
			if got := *mem.At[uint64](at); got != want {
				t.Errorf("the free pointer at %#x to %#x reads %#x, want %#x", at, next, got, want)
			}
		}
		r.free(ps[3:]...)
	}
}

// Next follows a list of the caller's from slab to slab, and nothing but objects of these slabs.
func TestNext(t *testing.T) {
	r := open(t, 96, Config{})
	ps := r.take(2 * r.perSlab)
	obj, far := uintptr(ps[0]), uintptr(ps[len(ps)-1])
	slab := r.slabOf(obj).addr
	for what, c := range map[string]struct {
		next uintptr
		ok   bool
	}{
		"the end":               {0, true},
		"another slab":          {far, true},
		"inside an object":      {far + 8, false},
		"the slab's waste":      {slab + uintptr(r.perSlab)*96, false},
		"a page without a slab": {r.arena.Base() + uintptr(r.arena.Span()) - mem.PageSize, false},
		"outside the arena":     {r.arena.Addr(r.arena.Pages()), false},
	} {
		r.SetNext(obj, c.next)
		if next, ok := r.Next(obj); ok != c.ok || next != c.next {
			t.Errorf("%s: %#x, %v, want %#x, %v", what, next, ok, c.next, c.ok)
		}
	}
	r.free(ps...)
}

// A chain that leads out of its slab is reported, and what is behind it counts as in use. The
// objects before it are sound. TakeNoWait leaves such an object alone.
func TestCorruptChain(t *testing.T) {
	r := open(t, 64, Config{})
	ps := r.take(r.perSlab)
	r.free(ps[:3]...)
	*mem.At[uint64](uintptr(ps[1]) + r.fp) ^= 0xdead << 40
	got := make([]unsafe.Pointer, 5)
	if n, err := r.Take(0, got, false); n != len(got) || err != nil || !slices.Equal(got[:2], []unsafe.Pointer{ps[2], ps[1]}) {
		t.Errorf("%d, %v: %v", n, err, got)
	}
	if !slices.Equal(r.corrupt, []uintptr{uintptr(ps[1])}) {
		t.Errorf("reports of %#x, want %p", r.corrupt, ps[1])
	}
	hidden := ps[0]
	r.free(got...)
	r.free(ps[3:]...)
	r.free(hidden)
}

// A chain that leads into an object and not to its start is reported as well, and nothing of what
// lies there is handed out, though the report returns.
func TestChainIntoAnObject(t *testing.T) {
	for _, size := range []uintptr{64, 96} {
		for off := uintptr(8); off < size; off += 8 {
			r := open(t, size, Config{})
			ps := r.take(r.perSlab)
			r.free(ps[:3]...)
			r.SetNext(uintptr(ps[1]), uintptr(ps[0])+off)
			got := make([]unsafe.Pointer, 5)
			if n, err := r.Take(0, got, false); n != len(got) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			for _, p := range got {
				if !r.isObject(uintptr(p)) {
					t.Errorf("a link to +%d of an object of %d bytes: %p is handed out", off, size, p)
				}
			}
			if !slices.Equal(r.corrupt, []uintptr{uintptr(ps[1])}) {
				t.Errorf("reports of %#x, want %p", r.corrupt, ps[1])
			}
			if t.Failed() {
				return
			}
			r.free(got...)
			r.free(ps[3:]...)
			r.free(ps[0])
		}
	}
}
