package guard

import (
	"fmt"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// poolOf returns the pool that an address lies in, or nil.
func poolOf(addr uintptr) *Pool {
	for _, p := range pools() {
		if addr-p.base < poolPages*mem.PageSize {
			return p
		}
	}
	return nil
}

// find returns the pool and the slot in whose page an address lies.
func find(addr uintptr) (p *Pool, slot int, ok bool) {
	if p = poolOf(addr); p == nil {
		return nil, 0, false
	}
	page := (addr - p.base) / mem.PageSize
	slot = int(page / 2)
	return p, slot, page%2 == 1 && slot < Slots
}

// ReleasePage is Release for the slot of an address.
func ReleasePage(addr uintptr) {
	if p, slot, ok := find(addr); ok {
		p.Release(slot)
	}
}

// A Sight is what Look finds at an address.
type Sight struct {
	Slot    int
	Addr    uintptr // where the object begins that lies, or lay last, in the page
	Beside  bool    // the address is in a guard page; the other fields say nothing
	Freed   bool    // the object was freed, and its page is guarded
	History string  // where the object was allocated and freed
}

// Look says what an address in a pool is; ok is false if it lies in none. For a caller that doesn't
// hold the object the answer may be outdated at once.
func Look(addr uintptr) (s Sight, ok bool) {
	p := poolOf(addr)
	if p == nil {
		return Sight{}, false
	}
	_, slot, isSlot := find(addr)
	if !isSlot {
		return Sight{Beside: true}, true
	}
	of := &p.area.Slots[slot]
	state := of.State.Load()
	if state == sys.GuardUnused {
		return Sight{Beside: true}, true
	}
	return Sight{Slot: slot, Addr: uintptr(of.Object), Freed: state == sys.GuardFreed, History: p.history(slot)}, true
}

// Report counts a report that was made of what Look has found.
func Report() { counts.reports.Add(1) }

// history describes a slot's object as the handler does.
func (p *Pool) history(slot int) string {
	s := &p.area.Slots[slot]
	text := fmt.Sprintf("guarded object #%d at %#x, %d bytes, cache %q\n", slot, s.Object, s.Size, getText(s.Cache[:])) +
		event("allocated", s.AllocCPU, s.Allocated, getText(s.AllocStack[:]))
	switch {
	case s.State.Load() == sys.GuardFreed:
		text += event("freed", s.FreeCPU, s.Freed, getText(s.FreeStack[:]))
	case p.noted[slot].Load():
		text += event("freed", s.FreeCPU, s.Freed, p.freers[slot].text())
	}
	return text
}

func event(what string, cpu uint32, at int64, stack string) string {
	age := time.Duration(now() - at)
	return fmt.Sprintf("%s on CPU %d, %.3f s ago:\n%s", what, cpu, age.Seconds(), stack)
}
