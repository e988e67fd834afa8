//go:build invariants || race

package rcu

import (
	"fmt"
	"runtime"
	"strings"
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

// goroutines lists which goroutines entered the open sections.
func (all *traces) goroutines() (list []uint64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, e := range all.open {
		list = append(list, e.goroutine)
	}
	return list
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

// check panics if the reader is online on another goroutine than the caller, which has not ended.
func (o *owner) check(r *Reader, method string) {
	last := o.last()
	if last == 0 || r.seen() == offline {
		return
	}
	me := goroutineID()
	if last == me || mayNotUse(last) {
		return
	}
	since := ""
	if at := o.place.Load(); at != nil {
		since = " since " + *at
	}
	r.misused(method, fmt.Sprintf("by goroutine %d at %s, while it is online on goroutine %d%s: "+
		"hand a reader on offline", me, callSite(), last, since))
}

// mayNotUse reports whether a goroutine can use no reader at this moment: it has ended, or is in
// iter.Pull. One that has told others that it is done may still have some instructions to go: while
// it is not blocked, mayNotUse looks again, for a second.
func mayNotUse(goroutine uint64) bool {
	for range 1000 {
		state, found := stateOf(goroutine, allStacks())
		if !found || state == inPull {
			return true
		}
		if !strings.HasPrefix(state, "run") { // running or runnable
			break
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// inPull is the state of a goroutine that has called next or stop of iter.Pull, while the iterator
// runs on another one, and of the iterator's goroutine otherwise. Only one of the two runs at a
// time, so what the one has online may be used by the other.
const inPull = "coroutine"

// maxStackText bounds the text of allStacks.
const maxStackText = 64 << 20

// allStacks returns the stacks of all goroutines as the runtime prints them, or "" if these take
// too much room.
func allStacks() string {
	for size := 64 << 10; size <= maxStackText; size *= 4 {
		text := make([]byte, size)
		if n := runtime.Stack(text, true); n < size {
			return "\n" + string(text[:n])
		}
	}
	return ""
}

// stateOf returns the state of a goroutine, such as "chan receive", as stacks has it. Where
// there are no stacks, none is found: better no report than a wrong one.
func stateOf(goroutine uint64, stacks string) (state string, found bool) {
	_, rest, found := strings.Cut(stacks, fmt.Sprintf("\ngoroutine %d ", goroutine))
	_, rest, _ = strings.Cut(rest, "[")
	if end := strings.IndexAny(rest, ",]"); end >= 0 {
		rest = rest[:end]
	}
	return rest, found
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

// lookAgain returns a channel that yields when a waiter should look whether it waits for itself.
func lookAgain() <-chan time.Time { return time.After(handedOn / 4) }

// selfWait returns an error if the caller has waited for handedOn for a reader that it has
// registered itself and that has not been used since.
func (b blocker) selfWait() error {
	if r := b.reader; r != nil && b.age >= handedOn && r.owner.last() == 0 && r.goroutine == goroutineID() {
		return fmt.Errorf("%w: it has registered reader %q", ErrInReader, r.name)
	}
	return nil
}
