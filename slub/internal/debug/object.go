package debug

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// An Overwrite is a part of a slot, or of what is left at a slab's end, in which bytes were
// written.
type Overwrite struct {
	Part        string  // its name, as the kernel's reports have it
	Start, End  uintptr // addresses of the part's first byte, and of that behind its last
	First, Last uintptr // addresses of the first and the last byte that are not as they should be
	Got, Want   byte    // what the first one was, and what all of the part should be

	fix uint64 // of sealed words, whose right bytes are not known: what Repair writes to each
}

// Poisons reports whether the bytes of a free object are poison: whatever it held is gone then.
func (l *Layout) Poisons() bool { return l.Flags.Has(Poison) && !l.keeps }

// Init writes all that a slot of a new slab has to have: its object is free.
func (l *Layout) Init(obj uintptr) {
	l.SetAllocated(obj, Track{})
	l.setRequest(obj, l.Size)
	l.Free(obj)
}

// Free writes the bytes of a free object.
func (l *Layout) Free(obj uintptr) { l.fill(obj, false) }

// Begin writes the bytes beside an object that is in use from now on, all of it.
func (l *Layout) Begin(obj uintptr) {
	l.setRequest(obj, l.Size)
	l.fill(obj, true)
}

func (l *Layout) fill(obj uintptr, inUse bool) {
	for _, s := range l.spans(inUse, l.Size) {
		fill(obj+s.from, obj+s.to, s.want)
	}
}

// SetRequest makes n of the bytes of an object in use those that its user asked for: those behind
// become a red zone. clear says that those which were one, and become the user's, are to be zero.
// Without RedZone it does nothing.
func (l *Layout) SetRequest(obj, n uintptr, clear bool) {
	if !l.Flags.Has(RedZone) {
		return
	}
	before := l.Requested(obj)
	l.setRequest(obj, n)
	fill(obj+n, obj+l.Size, redInUse)
	if clear && n > before {
		mem.Zero(obj+before, n-before)
	}
}

func (l *Layout) setRequest(obj, n uintptr) {
	if l.Flags.Has(RedZone) {
		storeSealed(obj+l.request, uint64(n))
	}
}

// Requested returns how many bytes of an object in use belong to its user. If the word that says so
// was overwritten, the whole object is its user's: otherwise a small number would make the user's
// bytes a red zone, which is repaired.
func (l *Layout) Requested(obj uintptr) uintptr {
	if !l.Flags.Has(RedZone) {
		return l.Size
	}
	if n, ok := loadSealed(obj + l.request); ok {
		return min(l.Size, uintptr(n))
	}
	return l.Size
}

// Check returns the parts of a slot that were overwritten, nil if none was.
func (l *Layout) Check(obj uintptr, inUse bool) (found []Overwrite) {
	request := l.Size
	if inUse {
		request = l.Requested(obj)
	}
	for _, s := range l.spans(inUse, request) {
		if o, ok := look(s.name, obj+s.from, obj+s.to, s.want); !ok {
			found = append(found, o)
		}
	}
	if !l.Flags.Has(RedZone) {
		return found
	}
	if l.Flags.Has(Users) {
		for i, name := range [...]string{"Allocation track", "Free track"} {
			at := obj + l.users + uintptr(i)*trackSize
			if o, ok := lookSealed(name, at, at+trackSize, 0); !ok {
				found = append(found, o)
			}
		}
	}
	if o, ok := lookSealed("Request", obj+l.request, obj+l.request+word, uint64(l.Size)); !ok {
		found = append(found, o)
	}
	return found
}

// Tail returns what lies between the last of n slots of a slab and its end. The slab has bytes from
// addr on.
func (l *Layout) Tail(addr, bytes, n uintptr) (from, to uintptr) {
	return addr + n*l.Slot, addr + bytes
}

// FillTail writes the bytes that belong to no slot of a slab. Without Poison it does nothing.
func (l *Layout) FillTail(addr, bytes, n uintptr) {
	if l.Flags.Has(Poison) {
		from, to := l.Tail(addr, bytes, n)
		fill(from, to, unused)
	}
}

// CheckTail is Check for the bytes that belong to no slot of a slab (kernel: slab_pad_check).
func (l *Layout) CheckTail(addr, bytes, n uintptr) (o Overwrite, ok bool) {
	if !l.Flags.Has(Poison) {
		return Overwrite{}, true
	}
	from, to := l.Tail(addr, bytes, n)
	return look("Padding", from, to, unused)
}

// Repair writes what should be in a part that was overwritten. Of sealed words that is what stands
// for no call, or for all bytes of the object.
func (o Overwrite) Repair() {
	if o.fix == 0 {
		fill(o.Start, o.End, o.Want)
		return
	}
	for at := o.Start; at < o.End; at += word {
		atomic.StoreUint64(mem.At[uint64](at), o.fix)
	}
}

func fill(from, to uintptr, with byte) {
	b := mem.Bytes(from, to-from)
	if len(b) == 0 {
		return
	}
	b[0] = with
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// look compares the bytes of a part with what they should be.
func look(name string, from, to uintptr, want byte) (o Overwrite, ok bool) {
	b := mem.Bytes(from, to-from)
	first := firstOther(b, want)
	if first == len(b) {
		return Overwrite{}, true
	}
	last := len(b) - 1
	for b[last] == want {
		last--
	}
	return Overwrite{Part: name, Start: from, End: to, First: from + uintptr(first), Last: from + uintptr(last),
		Got: b[first], Want: want}, false
}

// firstOther returns the index of the first byte that is not want, or len(b). It compares words
// where it can.
func firstOther(b []byte, want byte) int {
	i := 0
	words := uint64(want) * 0x0101010101010101
	for ; i < len(b) && mem.Addr(&b[i])%word != 0; i++ {
		if b[i] != want {
			return i
		}
	}
	for ; i+word <= len(b) && *mem.At[uint64](mem.Addr(&b[i])) == words; i += word {
	}
	for ; i < len(b); i++ {
		if b[i] != want {
			return i
		}
	}
	return len(b)
}
