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
	entrance *entrance
	index    percpu.Index // the section is counted under this index
}

// An entrance is what Enter and Exit call. A domain has two, which count the same sections; see
// places.
type entrance struct {
	enter    func() percpu.Index
	exit     func(percpu.Index)
	sections *sections
}

// Enter begins a section (kernel: srcu_read_lock). Any goroutine may call it, registered or not,
// any number of times: sections nest. The goroutine may block inside and continue on another CPU;
// grace periods wait for it meanwhile. An Enter and its Exit together cost about as much as a slub
// Alloc and Free. The first Enter of a domain makes the counters. Some calls also note their
// caller, for reports of stalls: the first 64 of a domain, 4 after each 64 grace periods of
// sections, and 16 at each look for stalls while sections hold up a grace period for long, until
// that is reported. Builds with -tags invariants or -race leave out the last.
//
//	defer d.Enter().Exit()
func (d *Domain) Enter() Section {
	e := d.getEntrance()
	s := Section{entrance: e, index: e.enter()}
	if invariants.Enabled {
		s.trace.begin(e.sections)
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
	if s.entrance == nil {
		panic("rcu: Exit of a zero Section")
	}
	if invariants.Enabled {
		s.trace.end(s.entrance.sections)
	}
	s.entrance.exit(s.index)
}

// getEntrance returns what Enter calls now, which the first Enter makes.
func (d *Domain) getEntrance() *entrance {
	if e := d.entrance.Load(); e != nil {
		return e
	}
	return &d.makeSections().looking
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
	s := &sections{counts: counts}
	s.plain = entrance{enter: counts.Enter, exit: counts.Exit, sections: s}
	s.looking = entrance{enter: func() percpu.Index { d.lookAtEnter(s); return counts.Enter() }, exit: counts.Exit, sections: s}
	s.completed.raise(d.seq.load())
	if d.sections.CompareAndSwap(nil, s) {
		d.lookAtEnters(s, firstLooks)
	}
	return d.sections.Load()
}
