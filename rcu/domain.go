package rcu

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mistakes"
)

// padding keeps words that different CPUs write 128 bytes apart: two cache
// lines, since adjacent-line prefetchers fetch them in pairs.
const padding = 128

// Domain is a set of readers and the grace periods that wait for them. The
// zero value is ready for use. A Domain must not be copied after first use;
// vet reports it. An idle domain costs nothing: it has no goroutine and no
// timer, so there is nothing to close.
//
// Invariants, in sequence order:
//
//	completed <= seq
//	word of a reader == offline, or word <= seq
//	callbacks that have run <= callbacks queued
type Domain struct {
	seq sequence // last grace period started; atomic
	_   [padding]byte

	completed sequence                  // last grace period known to be over; atomic, only rises
	periods   atomic.Uint64             // how often completed has risen
	holder    atomic.Pointer[Reader]    // a reader that was last seen behind: a hint that spares Poll the full scan
	readers   atomic.Pointer[[]*Reader] // registered readers; the slice is immutable, replaced under mu
	_         [padding]byte

	callbacks queue
	_         [padding]byte

	mu sync.Mutex // guards replacing readers, and Reader.held and Reader.since
}

// Register adds a reader, online from the start: what its goroutine finds
// from now on stays valid until it reports. The name appears in Stats and in
// the texts of panics and errors; it need not be unique.
//
// Any goroutine may call it. It costs a copy of the list of readers.
func (d *Domain) Register(name string) *Reader {
	r := &Reader{domain: d, name: name}
	d.mu.Lock()
	list := append(slices.Clip(d.list()), r)
	d.readers.Store(&list)
	d.mu.Unlock()
	// Pairs with scan, which loads seq, then the list, then the words. A scan
	// that misses r in the list has loaded it before the store above, hence
	// before r goes online: to that scan r is an offline reader.
	r.Online()
	return r
}

// unregister takes r, which is offline, out of the list.
func (d *Domain) unregister(r *Reader) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.list()
	if !mistakes.ListEditedInPlace {
		list = slices.Clone(list)
	}
	list = slices.DeleteFunc(list, func(o *Reader) bool { return o == r })
	d.readers.Store(&list)
}

// list returns the registered readers. The slice must not be changed.
func (d *Domain) list() []*Reader {
	if p := d.readers.Load(); p != nil {
		return *p
	}
	return nil
}

// check verifies the equations in the type's comment. Both sides only grow,
// so the smaller one is loaded first.
func (d *Domain) check() {
	completed, ran := d.completed.load(), d.callbacks.ran.callbacks.Load()
	for _, r := range d.list() {
		w := r.seen()
		invariants.Check(w == offline || reached(d.seq.load(), w), "rcu: reader %q has seen %#x, past the sequence", r.name, w)
	}
	invariants.Check(reached(d.seq.load(), completed), "rcu: completed %#x, past the sequence", completed)
	invariants.Check(ran <= d.callbacks.queued.callbacks.Load(), "rcu: %d callbacks have run, more than were queued", ran)
}
