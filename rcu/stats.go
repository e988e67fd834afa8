package rcu

import "time"

// Stats describes a domain at one moment. Its figures are read one after the
// other, not at once.
type Stats struct {
	Name string // Domain.Name
	ID   uint32 // no other domain of the process has it, not even a later one

	GracePeriods   uint64 // grace periods seen to end; several Starts may share one
	Expedited      uint64 // calls of Expedite and SynchronizeExpedited that found something to hurry
	Callbacks      uint64 // callbacks that have run
	Pending        uint64 // callbacks queued or running
	PendingObjects uint64 // the objects they stand for
	Readers        int    // registered
	Online         int    // of these, online
	Entered        uint64 // sections ever begun by Enter
	Open           int64  // of these, open

	// Stalls counts the times that a reader, or the sections, held up a grace period for
	// another timeout; see OnStall.
	Stalls uint64

	// OldestReader is how long the reader most in the way of a grace period
	// has been seen to be, 0 if none is; OldestName is that reader's name. The
	// clock runs from the first Stats, or first sleep of a waiter, that found
	// it there. Sections of Enter count as one reader, without a name.
	OldestReader time.Duration
	OldestName   string
}

// Stats returns the domain's figures. It costs a look at every reader, and at every
// CPU's counters. Any goroutine.
func (d *Domain) Stats() Stats {
	q := &d.callbacks
	s := Stats{Name: d.Name, ID: d.number(), GracePeriods: d.periods.Load(), Callbacks: q.ran.callbacks.Load()}
	ranObjects := q.ran.objects.Load()
	queued := q.queued() // after ran: what has run was queued earlier
	s.Pending = queued.callbacks - s.Callbacks
	s.PendingObjects = queued.objects - ranObjects
	for _, r := range d.list() {
		s.Readers++
		if r.seen() != offline {
			s.Online++
		}
	}
	if sec := d.sections.Load(); sec != nil {
		s.Entered, s.Open = sec.counts.Entered(), sec.open()
	}
	h := d.survey()
	if s.OldestReader = h.age; h.reader != nil {
		s.OldestName = h.reader.name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Expedited, s.Stalls = d.hurried, d.stalls.seen
	return s
}
