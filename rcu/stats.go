package rcu

import (
	"time"

	"github.com/slubd/slubd/internal/loghist"
)

// Stats describes a domain at one moment. Its figures are read one after the other, not at once.
type Stats struct {
	Name string // Domain.Name
	ID   uint32 // number of the domain in this process; never given to a later one

	GracePeriods   uint64 // grace periods seen to end; several Starts may share one
	Expedited      uint64 // calls of Expedite and SynchronizeExpedited that had something to do
	Callbacks      uint64 // callbacks that have run
	Pending        uint64 // callbacks queued or running
	PendingObjects uint64 // objects of the pending callbacks
	Readers        int    // registered readers
	Online         int    // registered readers that are online
	Entered        uint64 // sections ever begun by Domain.Enter; a Reader's are not counted
	Open           int64  // sections that are open

	// Stalls counts the reports that were due, made or not: one each time that a reader, or the
	// sections, have held up a grace period for another timeout; see OnStall.
	Stalls uint64

	// OldestReader is how long one reader has held up a grace period: the one found doing so for
	// the longest time; 0 if there is none. OldestName is its name. The time counts from the first
	// Stats, or the first sleep of a waiter, that found it so. The sections of Enter count as one
	// reader without a name.
	OldestReader time.Duration
	OldestName   string
	// OldestPlace is file:line of the call of Register for that reader. For sections it is where
	// one was entered, in builds with -tags invariants or -race, and empty in others.
	OldestPlace string
	// OldestSection is how long a grace period has waited for sections of Enter; 0 if none does.
	OldestSection time.Duration

	// GracePeriodTimes are durations of grace periods, from the first look that found one not over
	// to the look that found it over. One is timed at a time. Grace periods that are over at the
	// first look are not among them.
	GracePeriodTimes Histogram
}

// Histogram counts durations in buckets that end at powers of two of a second.
type Histogram = loghist.Histogram

// Stats returns the domain's figures. It looks at every reader, and at every CPU's counters, and
// takes Domain.mu. It counts and reports no stall. Any goroutine may call it.
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
	b := d.scanStalls(false)
	s.OldestReader, s.OldestSection, s.OldestPlace = b.age, b.sections, b.place
	if b.reader != nil {
		s.OldestName, s.OldestPlace = b.reader.name, site(b.reader.registered)
	}
	s.GracePeriodTimes = d.times.recorder.Read()
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Expedited, s.Stalls = d.expedites, d.stalls.seen
	return s
}
