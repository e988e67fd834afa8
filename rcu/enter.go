package rcu

import (
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/percpu"
)

// A Section is a read-side section of a goroutine that need not be registered: what it
// finds in the shared structure between Enter and Exit stays valid until Exit. It is a
// value; exactly one of its copies is exited, once.
type Section struct {
	trace    trace // empty except under invariants
	sections *sections
	index    percpu.Index // what it is counted under
}

// Enter begins a section. Any goroutine, registered or not, any number at a time: they
// nest. The goroutine may block inside and go on on another CPU; grace periods wait for
// it meanwhile. Costs about as much as a slub Alloc and Free together with its Exit; the
// first one of a domain makes the counters.
//
//	defer d.Enter().Exit()
func (d *Domain) Enter() Section {
	p := d.sections.Load()
	if p == nil {
		p = d.makeSections()
	}
	s := Section{sections: p, index: p.enter()}
	if invariants.Enabled {
		s.trace.begin(p)
	}
	return s
}

// Exit ends the section. It may be called by another goroutine than Enter, if that
// happens after it. Exiting a Section twice, or a zero one, is a bug of the caller's: the
// latter panics, the former does in builds with -tags invariants or -race, and in others
// as soon as the next grace period finds more exits than enters.
func (s Section) Exit() {
	if s.sections == nil {
		panic("rcu: Exit of a zero Section")
	}
	if invariants.Enabled {
		s.trace.end(s.sections)
	}
	s.sections.exit(s.index)
}

// makeSections is for the first Enter.
//
// Pairs with scan, which loads seq, then sections. A scan that finds none has loaded
// before the counters are published, hence before the section has loaded anything: its
// grace period is none of the section's business. For the same reason the counters start
// out with all grace periods completed that have been started so far.
func (d *Domain) makeSections() *sections {
	counts := percpu.NewReaders()
	s := &sections{enter: counts.Enter, exit: counts.Exit, counts: counts}
	s.completed.raise(d.seq.load())
	d.sections.CompareAndSwap(nil, s)
	return d.sections.Load()
}
