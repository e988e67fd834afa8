package guard

import (
	"fmt"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// An Object says where an object lies in its page, and what a report calls it.
type Object struct {
	Cache string
	Addr  uintptr
	Size  uintptr // bytes that its user may use
	Slot  uintptr // bytes of it and of the free pointer behind it
	Link  uintptr // offset of the free pointer, which the allocator writes to
}

// pattern is what the bytes of a page are filled with that are not the object's (kernel:
// KFENCE_CANARY_PATTERN_U8). It differs from byte to byte, so that a copy of neighbouring bytes
// over it is seen.
func pattern(addr uintptr) byte { return 0xaa ^ byte(addr&7) }

// patternWord is the pattern of the eight bytes at an address that is a multiple of 8.
const patternWord = 0xadacafaea9a8abaa

// Begin fills the rest of the slot's page with the pattern, and records the stack that allocates
// the object. No other goroutine knows the object yet.
func (p *Pool) Begin(slot int, o Object, stack Stack) {
	page := p.pageAddr(slot)
	fill(page, o.Addr)
	fill(o.Addr+o.Slot, page+mem.PageSize)
	o.eachSlack(fill)
	p.noted[slot].Store(false)
	s := &p.area.Slots[slot]
	s.State.Store(sys.GuardUnused) // the words below belong together
	s.Object, s.Size = uint64(o.Addr), uint64(o.Size)
	s.Allocated, s.AllocCPU = now(), uint32(percpu.CPU())
	putText(s.Cache[:], o.Cache)
	putText(s.AllocStack[:], stack.text())
	s.State.Store(sys.GuardInUse)
	counts.allocated.Add(1)
}

// eachSlack calls f with the parts of the object's slot that are neither the user's nor the free
// pointer's.
func (o Object) eachSlack(f func(from, to uintptr)) {
	from, end := o.Addr+o.Size, o.Addr+o.Slot
	if o.Link > o.Size {
		f(from, o.Addr+o.Link)
	}
	f(max(from, o.Addr+o.Link+8), end) // a free pointer within the object may reach beyond its end
}

// fill writes the pattern to the bytes from one address to the other.
func fill(from, to uintptr) {
	for ; from < to && from%8 != 0; from++ {
		*mem.At[byte](from) = pattern(from)
	}
	for ; from+8 <= to; from += 8 {
		*mem.At[uint64](from) = patternWord
	}
	for ; from < to; from++ {
		*mem.At[byte](from) = pattern(from)
	}
}

// A damage is what Check finds in the rest of a page.
type damage struct {
	first uintptr // address of the first byte that was written to
	n     int     // how many were
}

// check looks for bytes that have lost the pattern.
func (d *damage) check(from, to uintptr) {
	for from < to {
		if from%8 == 0 && from+8 <= to && *mem.At[uint64](from) == patternWord {
			from += 8
			continue
		}
		if *mem.At[byte](from) != pattern(from) {
			if d.n == 0 {
				d.first = from
			}
			d.n++
		}
		from++
	}
}

// begin is when now was clockBase.
var begin, clockBase = time.Now(), sys.Monotonic()

// now is sys.Monotonic without a system call: Go reads the same clock.
func now() int64 { return clockBase + int64(time.Since(begin)) }

// NoteFree records the stack that frees the object at addr, if it is a guarded one: after FreeRCU
// and FreeDeferred another goroutine ends the object's life. It returns false if it has recorded
// one already, of a call that has freed the object before. It takes no lock, makes no system call
// and allocates nothing, as FreeDeferred demands. The text is made by Check.
func NoteFree(addr uintptr) (first bool) {
	p, slot, ok := find(addr)
	switch {
	case !ok:
		return true
	case p.noted[slot].Swap(true):
		return false
	}
	p.freers[slot] = CallerStack()
	p.recordFree(slot)
	return true
}

// NoteKept takes back what NoteFree has recorded of the object at addr, which stays in use: a hook
// keeps it.
func NoteKept(addr uintptr) {
	if p, slot, ok := find(addr); ok {
		p.noted[slot].Store(false)
	}
}

// recordFree records when and on which CPU the object of a slot is freed.
func (p *Pool) recordFree(slot int) {
	s := &p.area.Slots[slot]
	s.Freed, s.FreeCPU = now(), uint32(percpu.CPU())
}

// Check ends the use of a guarded object. It returns what was written beside the object, "" for
// nothing, and the stacks that have allocated and freed it. The caller calls Release next.
func Check(o Object) (found, history string) {
	p, slot, ok := find(o.Addr)
	if !ok {
		return "", ""
	}
	if !p.noted[slot].Load() {
		p.freers[slot] = CallerStack()
		p.recordFree(slot)
	}
	s := &p.area.Slots[slot]
	putText(s.FreeStack[:], p.freers[slot].text())
	s.State.Store(sys.GuardFreed)
	var d damage
	page := p.pageAddr(slot)
	d.check(page, o.Addr)
	o.eachSlack(d.check)
	d.check(o.Addr+o.Slot, page+mem.PageSize)
	if d.n == 0 {
		return "", ""
	}
	counts.reports.Add(1)
	return d.text(o), p.history(slot)
}

// text says what was written to.
func (d damage) text(o Object) string {
	where := fmt.Sprintf("%d left of the object", int64(o.Addr)-int64(d.first))
	if d.first >= o.Addr {
		where = fmt.Sprintf("%d right of the object", int64(d.first)-int64(o.Addr+o.Size)+1)
	}
	verb := "bytes were"
	if d.n == 1 {
		verb = "byte was"
	}
	return fmt.Sprintf("%d %s written beside the object of %d, the first at %#x, %s, which reads %#02x",
		d.n, verb, o.Size, d.first, where, *mem.At[byte](d.first))
}

// Release guards the page of an object that is free, and puts its slot into the queue. If the
// kernel refuses, the slot serves again nevertheless; a use after free of it is not seen.
func (p *Pool) Release(slot int) {
	if p.shut(p.pageAddr(slot), mem.PageSize) != nil {
		counts.unguarded.Add(1)
	}
	p.put(slot)
}

// putText stores a text with a zero byte behind it, cut off where there is no room.
func putText(dst []byte, text string) {
	n := copy(dst[:len(dst)-1], text)
	dst[n] = 0
}

// getText is the inverse of putText.
func getText(src []byte) string {
	for i, b := range src {
		if b == 0 {
			return string(src[:i])
		}
	}
	return string(src)
}
