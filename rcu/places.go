package rcu

import (
	"runtime"
	"sync/atomic"
)

const (
	// maxPlaces is how many return addresses of calls of Enter are kept for a domain: the first
	// ones. Each copy of a line that the compiler makes, inlined or generic, has an address of its
	// own.
	maxPlaces = 64
	// firstLooks is how many calls of Enter are looked at in a new domain.
	firstLooks = 64
	// drainsPerLook is how many grace periods of sections pass from one time when calls of Enter
	// are looked at to the next, and laterLooks is how many it is then. That is one look in 16
	// grace periods. Where sections are sequences each of these makes a system call, which takes
	// longer than a look.
	drainsPerLook = 64
	laterLooks    = 4
	// stallLooks is how many it is at each look for stalls while sections hold up a grace period.
	stallLooks = 16
)

// places has lines of the program that call Enter, for reports of stalls: the goroutine whose
// section holds up a grace period is in the function of such a line, unless that has returned.
//
// To note the caller takes many times as long as a section. So Enter does it at times only: the
// domain then has another entrance. At all other times an Enter does no more than without places.
type places struct {
	left atomic.Int32 // calls that are yet to be looked at
	pcs  [maxPlaces]atomic.Uintptr
}

// lookAtEnters has the next n calls of Enter looked at.
func (d *Domain) lookAtEnters(s *sections, n int32) {
	s.places.left.Store(n)
	d.entrance.Store(&s.looking)
}

// lookAtEnter notes the caller of Enter, by whose entrance it is called. It takes no lock.
func (d *Domain) lookAtEnter(s *sections) {
	if s.places.left.Add(-1) <= 0 {
		d.entrance.Store(&s.plain)
	}
	var pc [1]uintptr
	runtime.Callers(4, pc[:]) // Callers, lookAtEnter, the entrance, and Enter
	s.places.add(pc[0])
}

// add notes a program counter, unless there is no room.
func (p *places) add(pc uintptr) {
	for i := range p.pcs {
		if at := &p.pcs[i]; at.Load() == pc || at.CompareAndSwap(0, pc) || at.Load() == pc {
			return
		}
	}
}

// all returns what has been noted.
func (p *places) all() (pcs []uintptr) {
	for i := range p.pcs {
		if pc := p.pcs[i].Load(); pc != 0 {
			pcs = append(pcs, pc)
		}
	}
	return pcs
}
