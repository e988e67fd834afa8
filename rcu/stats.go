package rcu

import "time"

// Stats describes a domain at one moment. Its figures are read one after the
// other, not at once.
type Stats struct {
	GracePeriods   uint64 // grace periods seen to end; several Starts may share one
	Callbacks      uint64 // callbacks that have run
	Pending        uint64 // callbacks queued or running
	PendingObjects uint64 // the objects they stand for
	Readers        int    // registered
	Online         int    // of these, online

	// OldestReader is how long the reader most in the way of a grace period
	// has been seen to be, 0 if none is; OldestName is that reader's name. The
	// clock runs from the first Stats, or first sleep of a waiter, that found
	// it there.
	OldestReader time.Duration
	OldestName   string
}

// Stats returns the domain's figures. It costs a look at every reader. Any
// goroutine.
func (d *Domain) Stats() Stats {
	q := &d.callbacks
	// Before queued is loaded: what has run was queued earlier.
	s := Stats{GracePeriods: d.periods.Load(), Callbacks: q.ran.callbacks.Load()}
	ranObjects := q.ran.objects.Load()
	s.Pending = q.queued.callbacks.Load() - s.Callbacks
	s.PendingObjects = q.queued.objects.Load() - ranObjects
	for _, r := range d.list() {
		s.Readers++
		if r.seen() != offline {
			s.Online++
		}
	}
	if r, age := d.survey(); r != nil {
		s.OldestReader, s.OldestName = age, r.name
	}
	return s
}

// survey notes which readers hold up a grace period that has been started,
// and returns the one that has been seen to for the longest. A reader is let
// off once its word changes.
func (d *Domain) survey() (holder *Reader, age time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, seq := time.Now(), d.seq.load()
	for _, r := range d.list() {
		w := r.seen()
		if w == offline || reached(w, seq) {
			r.held = offline
			continue
		}
		if w != r.held {
			r.held, r.since = w, now
		}
		if a := now.Sub(r.since); holder == nil || a > age {
			holder, age = r, a
		}
	}
	return holder, age
}
