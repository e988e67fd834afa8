package rcu

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/text"
)

const (
	// stallTimeout is the default of OnStall. The kernel waits 21 s before it reports a stall; a
	// daemon's operator has less patience, and nothing that a reader should do takes as long.
	stallTimeout = 10 * time.Second
	// maxReports bounds the reports at one time: if more readers than that stall, they share the
	// reason.
	maxReports = 8
	// missesPerScan is how many Polls return false per look for stalls, which takes a lock and
	// reads the clock. Polling at 100 Hz notices a stall within a second.
	missesPerScan = 64
)

// A Stall describes what holds up a grace period for longer than the domain's timeout: a registered
// reader, or the sections of Enter that are open.
type Stall struct {
	Reader     string        // the name given to Register; "" for sections
	Age        time.Duration // since it was first seen to hold up a grace period
	Registered string        // file:line of the call of Register or Run
	// Goroutine is the number of the goroutine that registered the reader or, in builds with
	// -tags invariants or -race, that last used it.
	Goroutine uint64
	// Stack is the stack of a goroutine that was in the function that called Register or Run, or,
	// for sections, in those of Places, when the stall was first reported. If several goroutines
	// were there, it says so and has up to three of their stacks. For sections it begins with a
	// line that says how many were there. It is "" if none was found: of each goroutine the
	// innermost 32 frames are looked at, and with more than 131,072 goroutines none is.
	Stack string

	Sections int64 // open sections; 0 for a reader
	// Entered lists where the open sections were entered, and by which goroutines. It is empty
	// except in builds with -tags invariants or -race.
	Entered []string
	// Places lists, in other builds, file:line of the calls of Enter whose surrounding function
	// some goroutine was still in when the stall was first reported. The sections that hold up the
	// grace period are among those that these goroutines have entered, unless the function that
	// called Enter had returned, or no goroutine was found (see Stack), or the line is not known.
	// An Enter notes its caller at times only, since that takes dozens of times as long. A domain
	// keeps the first 64 return addresses; each inlined or generic copy of a line has one of its
	// own.
	Places []string

	// Membarrier is the error with which the kernel has begun to refuse membarrier(2), though it
	// accepted the call at start-up. That is no stall, and no other field is set. From then on
	// every grace period of sections stops all goroutines for a moment, which costs more. It is
	// reported once.
	Membarrier error
}

// String describes the stall in one line, followed for sections by a line for each of Entered and
// Places, and by the stack, if there is one.
func (s Stall) String() string {
	if s.Membarrier != nil {
		return fmt.Sprintf("rcu: %v: every grace period stops all goroutines instead", s.Membarrier)
	}
	if s.Reader == "" && s.Sections > 0 {
		line := fmt.Sprintf("rcu: a grace period has waited for %v for %s", text.Round(s.Age), openSections(s.Sections))
		line = strings.Join(append([]string{line}, s.Entered...), "\n\tentered at ")
		line = strings.Join(append([]string{line}, s.Places...), "\n\tperhaps entered at ")
		return strings.TrimSuffix(line+"\n"+s.Stack, "\n")
	}
	line := fmt.Sprintf("rcu: reader %q, registered at %s, has held up a grace period for %v", s.Reader, s.Registered, text.Round(s.Age))
	if s.Stack == "" {
		return line + fmt.Sprintf("; goroutine %d has ended, or has left the function that registered the reader", s.Goroutine)
	}
	return line + "\n" + s.Stack
}

// openSections puts the number of open sections into words.
func openSections(n int64) string { return text.Count(n, "open section", "open sections") }

// stalls says how a domain reports stalls. Domain.mu guards it.
type stalls struct {
	timeout time.Duration // 0: stallTimeout; negative: never
	report  func(Stall)   // nil: logStall
	seen    uint64        // reports due, made or not

	// takeProfile is runtime.GoroutineProfile if it is nil. Tests set it, before any stall.
	takeProfile func([]runtime.StackRecord) (int, bool)
}

// A dueStall is a stall that is to be reported.
type dueStall struct {
	Stall
	reader   *Reader   // nil for sections
	sections *sections // nil for a reader
	at       Token     // stalledAt of that one
	profiled bool      // the stack has been looked for, or is not needed
}

// OnStall has report called, on a goroutine of its own, when a reader or a section has held up a
// grace period for longer than timeout, and again whenever another timeout has passed. At most 8
// stalls are reported at a time; Stats counts all. A zero timeout stands for 10 s, a negative one
// switches reports off. A nil report writes to slog's default logger. report is also called if the
// kernel begins to refuse membarrier(2): see Stall.
//
// A stall is noticed only while a goroutine waits or polls for a grace period, as the timers of
// caches do for what was given to FreeRCU. Stats only reads. Any goroutine may call OnStall, at any
// time.
func (d *Domain) OnStall(timeout time.Duration, report func(Stall)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stalls.timeout, d.stalls.report = timeout, report
}

func logStall(s Stall) { slog.Warn(s.String()) }

// countMiss counts a Poll that found the grace period not over. One in 64 looks for stalls.
func (d *Domain) countMiss() {
	if d.misses.Add(1)%missesPerScan == 0 {
		d.scanStalls(true)
	}
}

// A blocker is a reader, or the open sections, that scanStalls has found to hold up a grace period.
type blocker struct {
	reader *Reader // nil for sections, and if there is no blocker
	open   int64   // open sections; 0 for a reader
	age    time.Duration

	sections time.Duration // how long sections hold it up, also if a reader has done so for longer
	place    string        // of an open section, if that is known
}

func (b blocker) none() bool { return b.reader == nil && b.open == 0 }

// scanStalls notes which readers, and whether sections, hold up a grace period that has been
// started. It returns the one that it has found doing so for the longest time. A reader's time
// starts again once its word changes. For waiters and polls, which set report, it reports those
// that are due for a report. For Stats, which don't, it leaves no trace in what is reported when.
func (d *Domain) scanStalls(report bool) (oldest blocker) {
	var due []dueStall
	d.mu.Lock()
	now, seq := time.Now(), d.seq.load()
	for _, r := range d.list() {
		w := r.seen()
		if w == offline || reached(w, seq) {
			r.stalledAt = offline
			continue
		}
		if w != r.stalledAt {
			r.stalledAt, r.since, r.reported = w, now, time.Time{}
			r.stack, r.profiled = "", false
		}
		age := now.Sub(r.since)
		if oldest.none() || age > oldest.age {
			oldest.reader, oldest.age = r, age
		}
		if report && d.due(now, &r.reported) {
			due = append(due, dueStall{Stall: r.stall(age), reader: r, at: w, profiled: r.profiled})
		}
	}
	if s := d.sections.Load(); s != nil {
		w := Token(s.goal.Load())
		if w != s.stalledAt {
			s.stalledAt, s.since, s.reported = w, now, time.Time{}
			s.atPlaces, s.stack, s.profiled = nil, "", false
		}
		age, open := now.Sub(s.since), s.open()
		if w != 0 && open > 0 {
			oldest.sections = age
			if oldest.none() || age > oldest.age {
				oldest.reader, oldest.open, oldest.age = nil, open, age
				if sites := s.traces.sites(); len(sites) > 0 {
					oldest.place = sites[0]
				}
			}
			if report && d.due(now, &s.reported) {
				sites := s.traces.sites()
				due = append(due, dueStall{Stall: Stall{Age: age, Sections: open, Entered: sites, Places: slices.Clone(s.atPlaces), Stack: s.stack},
					sections: s, at: w, profiled: s.profiled || len(sites) > 0})
			}
			// Once a stall is profiled its later reports repeat what was found then.
			if limit := d.stalls.limit(); report && limit > 0 && age >= limit/4 && !s.profiled && !invariants.Enabled {
				d.lookAtEnters(s, stallLooks)
			}
		}
	}
	handler := d.stalls.handler()
	d.mu.Unlock()
	if len(due) > 0 {
		// Not on this goroutine, which may hold any lock.
		go d.reportStalls(due[:min(len(due), maxReports)], handler)
	}
	return oldest
}

// reportNoMembarrier reports that the kernel refuses membarrier, once, unless reports are off.
func (d *Domain) reportNoMembarrier(s *sections, refused error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.noMembarrier || d.stalls.timeout < 0 {
		return
	}
	s.noMembarrier = true
	d.stalls.seen++
	go d.stalls.handler()(Stall{Membarrier: refused})
}

// handler returns the function that gets the reports. The caller holds mu.
func (s *stalls) handler() func(Stall) {
	if s.report == nil {
		return logStall
	}
	return s.report
}

// limit returns the timeout in force; a negative one stands for no reports. The caller holds mu.
func (s *stalls) limit() time.Duration {
	if s.timeout == 0 {
		return stallTimeout
	}
	return s.timeout
}

// due reports whether a stall that was last reported at *reported is due for a report, and then
// sets *reported and counts it. The zero time means that no waiter or poll has found it before: its
// timeout begins now. The caller holds mu.
func (d *Domain) due(now time.Time, reported *time.Time) bool {
	if reported.IsZero() {
		*reported = now
	}
	timeout := d.stalls.limit()
	if timeout < 0 || now.Sub(*reported) < timeout {
		return false
	}
	*reported = now
	d.stalls.seen++
	return true
}

// stall describes r, with its stack if that is known already. The caller holds mu.
func (r *Reader) stall(age time.Duration) Stall {
	s := Stall{Reader: r.name, Age: age, Registered: site(r.registered), Goroutine: r.goroutine, Stack: r.stack}
	if last := r.owner.last(); last != 0 {
		s.Goroutine = last
	}
	return s
}

// reportStalls adds the stacks to the stalls and reports them. It takes one profile of all
// goroutines for those that have no stack yet, and keeps the stacks for later reports.
func (d *Domain) reportStalls(due []dueStall, report func(Stall)) {
	var p profile
	for i := range due {
		if s := &due[i]; !s.profiled {
			if p == nil {
				p = d.stalls.goroutines()
			}
			if s.reader != nil {
				s.Stack = p.stackIn(s.reader.registered)
			} else {
				s.Places, s.Stack = p.atPlaces(s.sections.places.all())
			}
			d.keepStack(s)
		}
		report(due[i].Stall)
	}
}

// keepStack notes the stack for later reports of the same stall.
func (d *Domain) keepStack(s *dueStall) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r, sec := s.reader, s.sections; {
	case r != nil && r.stalledAt == s.at:
		r.stack, r.profiled = s.Stack, true
	case sec != nil && sec.stalledAt == s.at:
		sec.atPlaces, sec.stack, sec.profiled = slices.Clone(s.Places), s.Stack, true
	}
}

// site returns file:line of a program counter.
func site(pc uintptr) string {
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return f.File + ":" + strconv.Itoa(f.Line)
}
