package slab

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
)

// A report is a function of the user's, which may not return. So what an operation has in its hands
// is put down before a report is made, or after it by callback.Guard. The functions here are out of
// line, since their closures would keep the variables of hot loops in memory.

// A finding is something to report.
type finding struct {
	obj     uintptr // an object; 0 if there is none
	twice   bool    // obj was freed twice; otherwise its free pointer leads out of its slab
	damaged bool    // reportDamages has something to report
}

func (f finding) any() bool { return f.obj != 0 || f.damaged }

// report reports what was found.
func (s *Slabs) report(f finding) {
	if f.damaged {
		defer s.reportDamages() // even if the other report doesn't return
	}
	switch {
	case f.obj == 0:
	case f.twice:
		s.onDoubleFree(f.obj, s.Addr(s.slabOf(f.obj)))
	default:
		s.onCorrupt(f.obj, s.Addr(s.slabOf(f.obj)))
	}
}

// reportTaking reports what a Take has found that has stored objs so far.
//
//go:noinline
func (s *Slabs) reportTaking(f finding, objs []unsafe.Pointer) {
	callback.Guard(
		func() { s.report(f) },
		func() { s.FreeBulk(objs) })
}

// reportFreeing reports what FreeBulk has found. In its hands are n objects of r, chained from head
// to tail, if n is not 0, and those of rest.
//
//go:noinline
func (s *Slabs) reportFreeing(f finding, r Ref, head, tail uintptr, n int, rest []unsafe.Pointer) {
	callback.Guard(
		func() { s.report(f) },
		func() {
			defer s.FreeBulk(rest)
			if n > 0 {
				node := r.node
				found, freed := s.addFree(r, head, tail, n)
				s.countFree(node, freed)
				s.report(found)
			}
		})
}
