package debug

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

var everyFlags = []Flags{0, RedZone, Poison, Users, RedZone | Poison, RedZone | Users, Default}

// A frame is a slot with a neighbour on either side, in Go's memory.
type frame struct {
	Layout
	obj    uintptr
	memory []byte
}

func newFrame(f Flags, size, align uintptr, keeps bool) *frame {
	l := NewLayout(f, size, align, keeps)
	memory := make([]byte, 3*l.Slot+align)
	base := mem.AlignUp(mem.Addr(&memory[0]), align)
	return &frame{Layout: l, obj: base + l.Slot + l.Left, memory: memory}
}

func (f *frame) at(off int) *byte { return mem.At[byte](f.obj + uintptr(off)) }

// The parts of a slot lie in order, do not overlap, and fill it; the object is aligned.
func TestLayout(t *testing.T) {
	for _, flags := range everyFlags {
		for _, align := range []uintptr{8, 16, 64, 4096} {
			for size := uintptr(1); size < 200; size++ {
				l := NewLayout(flags, size, align, false)
				where := fmt.Sprintf("%v, %d bytes, alignment %d: %+v", flags, size, align, l)
				if l.Left%align != 0 || l.Slot%align != 0 || l.Inuse%word != 0 || l.Inuse < size {
					t.Fatal(where)
				}
				if flags.Has(RedZone) && (l.Left < word || l.Inuse == size) {
					t.Fatalf("%s: no red zone", where)
				}
				end := l.Inuse + word
				if flags.Has(Users) {
					if l.users != end {
						t.Fatal(where)
					}
					end += 2 * trackSize
				}
				if flags.Has(RedZone) {
					if l.request != end {
						t.Fatal(where)
					}
					end += word
				}
				if l.padding != end || end > l.Slot-l.Left {
					t.Fatal(where)
				}
			}
		}
	}
}

// A write to any byte beside an object is found if the flags cover it, named, and repaired. One to
// a neighbour, the object in use or the link is none of Check's.
func TestEveryByte(t *testing.T) {
	for _, flags := range everyFlags {
		for _, size := range []uintptr{1, 7, 8, 24, 29, 64} {
			for _, inUse := range []bool{false, true} {
				for _, keeps := range []bool{false, true} {
					checkEveryByte(t, newFrame(flags, size, 8, keeps), inUse)
				}
			}
		}
	}
}

func checkEveryByte(t *testing.T, f *frame, inUse bool) {
	t.Helper()
	red, poison := f.Flags.Has(RedZone), f.Flags.Has(Poison)
	set := func() {
		clear(f.memory)
		if f.Init(f.obj); inUse {
			f.Begin(f.obj)
			f.SetAllocated(f.obj, Track{Stack: 7, CPU: 3, When: 1 << 60})
		}
	}
	size, end := int(f.Size), int(f.Slot-f.Left)
	for off := -int(f.Slot); off < 2*int(f.Slot)-int(f.Left)-8; off++ {
		want, sealed := "", false
		switch {
		case off < -int(f.Left) || off >= end:
		case off < 0:
			want = "Left Redzone"
		case off < size && !inUse && poison && !f.keeps:
			want = "Poison"
			if off == size-1 {
				want = "End Poison"
			}
		case off < size:
		case off < int(f.Inuse) && red:
			want = "Right Redzone"
		case off < int(f.Inuse) && poison:
			want = "Alignment padding"
		case off < int(f.Inuse)+word: // the link
		case red && f.Flags.Has(Users) && off < int(f.users)+trackSize:
			want, sealed = "Allocation track", true
		case red && f.Flags.Has(Users) && off < int(f.users)+2*trackSize:
			want, sealed = "Free track", true
		case red && off < int(f.request)+word:
			want, sealed = "Request", true
		case off >= int(f.padding) && poison:
			want = "Object padding"
		}
		if set(); len(f.Check(f.obj, inUse)) != 0 {
			t.Fatalf("%v, in use %t: %+v without a write", f.Flags, inUse, f.Check(f.obj, inUse))
		}
		was := *f.at(off)
		*f.at(off) = was ^ 0x11
		found := f.Check(f.obj, inUse)
		switch {
		case want == "" && len(found) == 0:
			continue
		case len(found) != 1 || found[0].Part != want:
			t.Fatalf("%v, in use %t, %d bytes, write at %+d: %+v, want %q", f.Flags, inUse, size, off, found, want)
		}
		o := found[0]
		if sealed {
			first := f.obj + uintptr(off)&^(word-1)
			if o.First != first || o.Last != first+word-1 || o.Got != *mem.At[byte](first) {
				t.Fatalf("%v, write at %+d: %+v", f.Flags, off, o)
			}
			if o.Repair(); len(f.Check(f.obj, inUse)) != 0 || f.Requested(f.obj) != f.Size {
				t.Fatalf("%v, write at %+d is not repaired", f.Flags, off)
			}
			continue
		}
		if at := f.obj + uintptr(off); o.First != at || o.Last != at || o.Got != was^0x11 || o.Want != was {
			t.Fatalf("%v, write at %+d of %#x: %+v", f.Flags, off, at, o)
		}
		if o.Repair(); *f.at(off) != was || len(f.Check(f.obj, inUse)) != 0 {
			t.Fatalf("%v, write at %+d is not repaired", f.Flags, off)
		}
	}
}

// What the user did not ask for is a red zone, until the user asks for it. Whatever lies over the
// word that says so, Check stays within the object.
func TestRequest(t *testing.T) {
	f := newFrame(RedZone, 32, 8, false)
	f.Init(f.obj)
	f.Begin(f.obj)
	f.SetRequest(f.obj, 18, false)
	*f.at(18) = 1
	*f.at(20) = 2
	found := f.Check(f.obj, true)
	if len(found) != 1 || found[0].Part != "kmalloc Redzone" || found[0].First != f.obj+18 || found[0].Last != f.obj+20 {
		t.Fatalf("%+v", found)
	}
	found[0].Repair()
	*f.at(17) = 7
	f.SetRequest(f.obj, 24, true)
	if *f.at(17) != 7 || *f.at(18) != 0 || *f.at(23) != 0 || *f.at(24) != redInUse || len(f.Check(f.obj, true)) != 0 {
		t.Errorf("after 24 were asked for: % x", mem.Bytes(f.obj, 40))
	}
	for off := range word {
		*f.at(int(f.request) + off) = 0xff
	}
	if f.Requested(f.obj) != 32 {
		t.Errorf("%d bytes are asked for of 32", f.Requested(f.obj))
	}
}

// The end of a slab that has no slot is padding.
func TestTail(t *testing.T) {
	l := NewLayout(Poison, 24, 8, false)
	slab := make([]byte, 4*l.Slot+13)
	addr, bytes := mem.Addr(&slab[0]), uintptr(len(slab))
	l.FillTail(addr, bytes, 4)
	if o, ok := l.CheckTail(addr, bytes, 4); !ok || slab[4*l.Slot-1] != 0 {
		t.Errorf("%+v without a write, % x before it", o, slab[4*l.Slot-1])
	}
	slab[len(slab)-1] = 0
	o, ok := l.CheckTail(addr, bytes, 4)
	if ok || o.Part != "Padding" || o.First != addr+bytes-1 || o.Want != unused {
		t.Errorf("%+v", o)
	}
	if o.Repair(); slab[len(slab)-1] != unused {
		t.Error("it is not repaired")
	}
}

// Tracks are kept beside the object, and tell the allocation from the free.
func TestTracks(t *testing.T) {
	f := newFrame(Default, 64, 64, false)
	f.Init(f.obj)
	a, b := Track{Stack: 1<<32 - 1, CPU: 3, When: 1<<62 - 1<<whenShift}, Track{Stack: 7, CPU: 1<<16 - 1, When: 1 << 61}
	f.SetFreed(f.obj, b)
	f.Begin(f.obj)
	f.SetAllocated(f.obj, a)
	if allocated, freed := f.Tracks(f.obj); allocated != a || freed != (Track{}) {
		t.Errorf("%+v, %+v", allocated, freed)
	}
	f.SetFreed(f.obj, b)
	f.Free(f.obj)
	if allocated, freed := f.Tracks(f.obj); allocated != a || freed != b || len(f.Check(f.obj, false)) != 0 {
		t.Errorf("%+v, %+v", allocated, freed)
	}
}

// The window has the bytes around the first that was overwritten, and none outside.
func TestWindow(t *testing.T) {
	f := newFrame(RedZone|Poison, 64, lineBytes, false) // so that a line begins behind the object
	f.Free(f.obj)
	*f.at(64) = 'A'
	o := f.Check(f.obj, false)[0]
	from := f.obj - f.Left
	text := f.Window(f.obj, o.First, from, from+f.Slot)
	if !strings.Contains(text, fmt.Sprintf("Redzone  0x%x: 41 bb bb", f.obj+64)) {
		t.Errorf("window:\n%s", text)
	}
	n := 0
	for line := range strings.Lines(text) {
		_, bytes, _ := strings.Cut(line, ": ")
		hex, _, _ := strings.Cut(bytes, "  ")
		n += len(strings.Fields(hex))
	}
	if want := int(from + f.Slot - (o.First - linesBefore*lineBytes)); n != want {
		t.Errorf("%d bytes are shown, want %d:\n%s", n, want, text)
	}
}

// An overrun that reaches the request takes nothing from the user: not even one that writes a small
// number, by which the object's own bytes would be a red zone.
func TestRequestOverwritten(t *testing.T) {
	for _, size := range []uintptr{8, 64, 1000} {
		f := newFrame(RedZone, size, 8, false)
		f.Begin(f.obj)
		f.SetRequest(f.obj, 5, false)
		if n := f.Requested(f.obj); n != 5 {
			t.Fatalf("%d of %d bytes are the user's, want 5", n, size)
		}
		for _, number := range []uint64{0, 1, 4, 1 << 32, 0x6b6b6b6b6b6b6b6b, ^uint64(0)} {
			*mem.At[uint64](f.obj + f.request) = number
			if n := f.Requested(f.obj); n != size {
				t.Errorf("%#x: %d of %d bytes are the user's", number, n, size)
			}
		}
	}
}

// What an object takes, as docs/debugging.md has it.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		flags             Flags
		align, slot, more uintptr
	}{
		{0, 8, 72, 8}, {Consistency, 8, 72, 8}, {Poison, 8, 72, 8}, {RedZone, 8, 104, 40}, {Users, 8, 104, 40}, {Default, 8, 136, 72},
		{Poison, 64, 128, 64}, {RedZone, 64, 192, 128}, {Users, 64, 128, 64}, {Default, 64, 192, 128},
	} {
		if l := NewLayout(c.flags, 64, c.align, false); l.Slot != c.slot || l.Slot-64 != c.more {
			t.Errorf("%v, 64 bytes, alignment %d: %d bytes, %d more", c.flags, c.align, l.Slot, l.Slot-64)
		}
	}
}
