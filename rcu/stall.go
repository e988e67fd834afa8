package rcu

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/slubd/slubd/internal/text"
)

const (
	// stallTimeout is how long a grace period may be held up before that is reported, if
	// OnStall doesn't say. The kernel waits 21 s; a daemon's operator has less patience, and
	// nothing that a reader should do takes as long.
	stallTimeout = 10 * time.Second
	// namedAtOnce bounds the reports at one time: more readers than that stall for a
	// reason that they share.
	namedAtOnce = 8
	// missesPerLook is how many Polls in vain there are to a look for stalls, which takes a
	// lock and the time. Polling at 100 Hz notices a stall within a second.
	missesPerLook = 64
	// maxStacks bounds the text of all goroutines' stacks in bytes.
	maxStacks = 16 << 20
)

// A Stall is what holds up a grace period for longer than the domain's timeout: a
// registered reader, or the sections of Enter that are open.
type Stall struct {
	Reader     string        // the name given to Register; "" for sections
	Age        time.Duration // since it was first seen to hold up a grace period
	Registered string        // file:line of the call of Register
	Goroutine  uint64        // that registered it or, in builds with -tags invariants or -race, last used it
	Stack      string        // what that goroutine does now; "" if it has ended

	Sections int64    // open ones, 0 for a reader
	Entered  []string // where, and by which goroutines; in builds with -tags invariants or -race only

	// Membarrier is no stall, but why grace periods cost more than they should: the kernel
	// refuses membarrier(2), with this error, though it didn't at the start, and all goroutines
	// are stopped each time instead. Nothing else is set then. Reported once.
	Membarrier error
}

// String describes the stall in one line, and the stack in more.
func (s Stall) String() string {
	if s.Membarrier != nil {
		return fmt.Sprintf("rcu: %v: every grace period stops all goroutines instead", s.Membarrier)
	}
	if s.Reader == "" && s.Sections > 0 {
		line := fmt.Sprintf("rcu: a grace period has waited for %v for %s", text.Round(s.Age), openSections(s.Sections))
		return strings.Join(append([]string{line}, s.Entered...), "\n\tentered at ")
	}
	line := fmt.Sprintf("rcu: reader %q, registered at %s, has held up a grace period for %v", s.Reader, s.Registered, text.Round(s.Age))
	if s.Stack == "" {
		return line + fmt.Sprintf("; goroutine %d has ended", s.Goroutine)
	}
	return line + "\n" + s.Stack
}

// openSections is how texts name them.
func openSections(n int64) string { return text.Count(n, "open section", "open sections") }

// stalls is how a domain reports them. Domain.mu guards it.
type stalls struct {
	timeout time.Duration // 0: stallTimeout; negative: never
	report  func(Stall)   // nil: logStall
	seen    uint64        // reports due, made or not
}

// OnStall has report called when a reader or a section has held up a grace period for
// longer than timeout, and again for every timeout that it goes on, on a goroutine of its
// own. Not more than 8 are reported at a time; Stats counts all. A zero timeout is 10 s,
// a negative one switches reports off; a nil report writes to slog's default logger. It is
// also told if the kernel begins to refuse membarrier(2); see Stall.
//
// Somebody has to wait, or poll, for a stall to be noticed: those are who it concerns. Any
// goroutine, any time.
func (d *Domain) OnStall(timeout time.Duration, report func(Stall)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stalls.timeout, d.stalls.report = timeout, report
}

func logStall(s Stall) { slog.Warn(s.String()) }

// missed counts a Poll in vain, and looks for stalls now and then.
func (d *Domain) missed() {
	if d.misses.Add(1)%missesPerLook == 0 {
		d.survey()
	}
}

// holder is who holds up a grace period, as far as survey knows.
type holder struct {
	reader *Reader // nil if it is nobody, or sections
	open   int64   // sections
	age    time.Duration
}

func (h holder) nobody() bool { return h.reader == nil && h.open == 0 }

// survey notes which readers hold up a grace period that has been started, and returns
// the one that has been seen to for the longest. A reader is let off once its word changes.
// Those that are due for it are reported.
func (d *Domain) survey() (oldest holder) {
	var due []Stall
	d.mu.Lock()
	now, seq := time.Now(), d.seq.load()
	for _, r := range d.list() {
		w := r.seen()
		if w == offline || reached(w, seq) {
			r.held = offline
			continue
		}
		if w != r.held {
			r.held, r.since, r.named = w, now, now
		}
		age := now.Sub(r.since)
		if oldest.nobody() || age > oldest.age {
			oldest = holder{reader: r, age: age}
		}
		if d.due(now, &r.named) {
			due = append(due, r.stall(age))
		}
	}
	if s := d.sections.Load(); s != nil {
		w := Token(s.goal.Load())
		if w != s.held {
			s.held, s.since, s.named = w, now, now
		}
		age, open := now.Sub(s.since), s.open()
		if w != 0 && open > 0 {
			if oldest.nobody() || age > oldest.age {
				oldest = holder{open: open, age: age}
			}
			if d.due(now, &s.named) {
				due = append(due, Stall{Age: age, Sections: open, Entered: s.traces.sites()})
			}
		}
	}
	report := d.stalls.handler()
	d.mu.Unlock()
	if len(due) > 0 {
		// Not on this goroutine, which may hold any lock.
		go reportStalls(due[:min(len(due), namedAtOnce)], report)
	}
	return oldest
}

// unfenced reports that the kernel refuses membarrier, once, unless reports are off.
func (d *Domain) unfenced(s *sections, refused error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.told || d.stalls.timeout < 0 {
		return
	}
	s.told = true
	d.stalls.seen++
	go d.stalls.handler()(Stall{Membarrier: refused})
}

// handler returns whom to tell; the caller holds mu.
func (s *stalls) handler() func(Stall) {
	if s.report == nil {
		return logStall
	}
	return s.report
}

// due reports whether a stall is to be reported, last at named; the caller holds mu.
func (d *Domain) due(now time.Time, named *time.Time) bool {
	timeout := d.stalls.timeout
	if timeout == 0 {
		timeout = stallTimeout
	}
	if timeout < 0 || now.Sub(*named) < timeout {
		return false
	}
	*named = now
	d.stalls.seen++
	return true
}

// stall describes r, but for the stack.
func (r *Reader) stall(age time.Duration) Stall {
	s := Stall{Reader: r.name, Age: age, Registered: site(r.registered), Goroutine: r.goroutine}
	if last := r.owner.last(); last != 0 {
		s.Goroutine = last
	}
	return s
}

// reportStalls adds the stacks, for which it stops all goroutines, once.
func reportStalls(due []Stall, report func(Stall)) {
	var all []byte
	for _, s := range due {
		if s.Goroutine != 0 {
			if all == nil {
				all = allStacks()
			}
			s.Stack = stackOf(all, s.Goroutine)
		}
		report(s)
	}
}

// allStacks returns what the runtime writes about all goroutines.
func allStacks() []byte {
	for size := 64 << 10; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size >= maxStacks {
			return buf[:n]
		}
	}
}

// stackOf finds one goroutine's stack among all.
func stackOf(all []byte, goroutine uint64) string {
	head := []byte("goroutine " + strconv.FormatUint(goroutine, 10) + " ")
	for block := range bytes.SplitSeq(all, []byte("\n\n")) {
		if bytes.HasPrefix(block, head) {
			return string(bytes.TrimSpace(block))
		}
	}
	return ""
}

// site is a program counter as file:line.
func site(pc uintptr) string {
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return f.File + ":" + strconv.Itoa(f.Line)
}
