package rcu

import (
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/percpu"
)

// A Section is a read-side section of a goroutine that need not be registered: what it
// finds in the shared structure between Enter and Exit stays valid until Exit. It is a
// value; exactly one of its copies is exited, once.
type Section struct {
	trace  trace // empty except under invariants
	domain *Domain
	index  percpu.Index // what it is counted under
}

// Enter begins a section. Any goroutine, registered or not, any number at a time: they
// nest. The goroutine may block inside and go on on another CPU; grace periods wait for
// it meanwhile. Costs about as much as a slub Alloc and Free together with its Exit; the
// first one of a domain makes the counters.
//
//	defer d.Enter().Exit()
func (d *Domain) Enter() Section {
	enter := firstEnter
	if s := d.sections.Load(); s != nil {
		enter = s.enter
	}
	s := Section{domain: d, index: enter(d)}
	if invariants.Enabled {
		s.trace.begin(d)
	}
	return s
}

// Exit ends the section. It may be called by another goroutine than Enter, if that
// happens after it. Exiting a Section twice, or a zero one, is a bug of the caller's: the
// latter panics, the former does in builds with -tags invariants or -race, and in others
// as soon as the next grace period finds more exits than enters.
func (s Section) Exit() {
	if s.domain == nil {
		panic("rcu: Exit of a zero Section")
	}
	if invariants.Enabled {
		s.trace.end(s.domain)
	}
	s.domain.sections.Load().exit(s.index)
}

// firstEnter is Enter in a domain that has no counters yet.
//
// Pairs with scan, which loads seq, then sections. A scan that finds none has loaded
// before the counters are published, hence before the section has loaded anything: its
// grace period is none of the section's business. For the same reason the counters start
// out with all grace periods completed that have been started so far.
func firstEnter(d *Domain) percpu.Index {
	counts := percpu.NewReaders[Domain]()
	s := &sections{enter: counts.Enter, exit: counts.Exit, counts: counts}
	s.completed.raise(d.seq.load())
	d.sections.CompareAndSwap(nil, s)
	return d.sections.Load().enter(d)
}
