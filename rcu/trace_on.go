//go:build invariants || race

package rcu

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// traces records every open section of a domain: which goroutine entered it, and where. Its lock
// is a leaf in the lock order.
type traces struct {
	mu   sync.Mutex
	last uint64 // number of the latest section
	open map[uint64]entered
}

type entered struct {
	goroutine uint64
	pc        uintptr // in Enter's caller
}

// trace is a section's number in traces.
type trace struct{ number uint64 }

// begin records a section of Enter's caller.
func (t *trace) begin(s *sections) {
	var pc [1]uintptr
	runtime.Callers(3, pc[:]) // Callers, begin, Enter
	e := entered{goroutine: goroutineID(), pc: pc[0]}
	all := &s.traces
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.open == nil {
		all.open = map[uint64]entered{}
	}
	all.last++
	t.number = all.last
	all.open[t.number] = e
}

// end removes the section, and panics if it has ended before.
func (t *trace) end(s *sections) {
	all := &s.traces
	all.mu.Lock()
	defer all.mu.Unlock()
	if _, ok := all.open[t.number]; !ok {
		panic("rcu: Exit of a Section that has been exited")
	}
	delete(all.open, t.number)
}

// holds reports whether the goroutine is in a section that it entered itself.
func (all *traces) holds(goroutine uint64) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, e := range all.open {
		if e.goroutine == goroutine {
			return true
		}
	}
	return false
}

// sites lists where the open sections were entered, with their goroutines.
func (all *traces) sites() (list []string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, e := range all.open {
		list = append(list, fmt.Sprintf("%s by goroutine %d", site(e.pc), e.goroutine))
	}
	return list
}

// owner records the goroutine that last used a Reader, and where. To ask for its number takes as
// long as hundreds of sections.
type owner struct {
	goroutine atomic.Uint64
	place     atomic.Pointer[string]
}

func (o *owner) record() {
	if me := goroutineID(); o.goroutine.Swap(me) != me {
		at := callSite()
		o.place.Store(&at)
	}
}

func (o *owner) last() uint64 { return o.goroutine.Load() }

// check panics if another goroutine than the caller has used the reader last, which is online.
func (o *owner) check(r *Reader, method string) {
	last, me := o.last(), goroutineID()
	if last == 0 || last == me {
		return
	}
	since := ""
	if at := o.place.Load(); at != nil {
		since = " since " + *at
	}
	r.misused(method, fmt.Sprintf("by goroutine %d at %s, while it is online on goroutine %d%s: "+
		"hand a reader on offline", me, callSite(), last, since))
}

// selfWait returns an error if the calling goroutine is in a section, or was the last to use a
// reader that is online: it would wait for itself.
func (d *Domain) selfWait(method string) error {
	me := goroutineID()
	if s := d.sections.Load(); s != nil && s.traces.holds(me) {
		return fmt.Errorf("%w: %s between Enter and Exit", ErrInReader, method)
	}
	for _, r := range d.list() {
		if r.seen() != offline && r.owner.last() == me {
			return fmt.Errorf("%w: %s by reader %q, which is online", ErrInReader, method, r.name)
		}
	}
	return nil
}

// handedOn is how long a reader that has not been used since Register may be on its way to another
// goroutine.
const handedOn = 2 * time.Second

// selfWait returns an error if the caller has waited for handedOn for a reader that it has
// registered itself and that has not been used since.
func (b blocker) selfWait() error {
	if r := b.reader; r != nil && b.age >= handedOn && r.owner.last() == 0 && r.goroutine == goroutineID() {
		return fmt.Errorf("%w: it has registered reader %q", ErrInReader, r.name)
	}
	return nil
}
