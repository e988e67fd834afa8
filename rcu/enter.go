package rcu

import (
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/percpu"
)

// A Section is a read-side section of a goroutine that need not be registered: what the goroutine
// finds in the shared structure between Enter and Exit stays valid until Exit. A Section is a
// value; exactly one of its copies must be exited, once.
type Section struct {
	trace    trace // empty except under invariants
	sections *sections
	index    percpu.Index // the section is counted under this index
}

// Enter begins a section (kernel: srcu_read_lock). Any goroutine may call it, registered or not,
// any number of times: sections nest. The goroutine may block inside and continue on another CPU;
// grace periods wait for it meanwhile. An Enter and its Exit together cost about as much as a slub
// Alloc and Free. The first Enter of a domain makes the counters.
//
//	defer d.Enter().Exit()
func (d *Domain) Enter() Section {
	p := d.getSections()
	s := Section{sections: p, index: p.enter()}
	if invariants.Enabled {
		s.trace.begin(p)
	}
	return s
}

// Exit ends the section (kernel: srcu_read_unlock). Another goroutine than Enter's may call it, if
// the call happens after Enter.
//
// Exit of a zero Section panics. A second Exit of a Section is a bug. Builds with -tags invariants
// or -race panic at once. Others only count, and take the second Exit for that of another section
// that is open: a grace period may then end while that section still uses what is freed. Only
// where no other section is open does the next grace period find more exits than enters, and
// panic.
func (s Section) Exit() {
	if s.sections == nil {
		panic("rcu: Exit of a zero Section")
	}
	if invariants.Enabled {
		s.trace.end(s.sections)
	}
	s.sections.exit(s.index)
}

// getSections returns the counters, which the first Enter makes.
func (d *Domain) getSections() *sections {
	if p := d.sections.Load(); p != nil {
		return p
	}
	return d.makeSections()
}

// makeSections makes the counters for the first Enter, of the Domain or of a Reader.
//
// Pairs with scan, which loads seq, then sections. A scan that finds no counters has loaded seq
// before the counters were published, hence before the section loaded anything: its grace period
// need not wait for the section. For the same reason all grace periods started so far count as
// completed by sections.
func (d *Domain) makeSections() *sections {
	d.watch()
	counts := percpu.NewReaders()
	s := &sections{enter: counts.Enter, exit: counts.Exit, counts: counts}
	s.completed.raise(d.seq.load())
	d.sections.CompareAndSwap(nil, s)
	return d.sections.Load()
}
