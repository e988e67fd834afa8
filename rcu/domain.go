package rcu

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
)

// padding keeps words that different CPUs write 128 bytes apart: two cache lines, since
// adjacent-line prefetchers fetch them in pairs.
const padding = 128

// Domain is a set of readers and the grace periods that wait for them. The zero value is ready for
// use. A Domain must not be copied after first use; vet reports it. An idle domain costs nothing:
// it has no goroutine and no timer, so there is nothing to close.
//
// Invariants, in sequence order:
//
//	completed <= what sections.completed was when it was raised (see scan)
//	completed, sections.completed, expedited <= seq
//	word of a reader == offline, or word <= seq
//	callbacks that have run <= callbacks queued
type Domain struct {
	// Name appears in Stats and in metrics. It may be set before the first use, and must not be
	// changed later. It need not be unique: domains without a name, or with the same name, are told
	// apart by their numbers.
	Name string

	id atomic.Uint32 // see number
	_  [padding]byte

	// Readers' reports load these two.
	seq            sequence     // last grace period started; atomic
	waitersNeedCPU atomic.Int32 // waiters that want readers to yield the processor
	_              [padding]byte

	completed sequence                  // last grace period known to be over; atomic, only rises
	periods   atomic.Uint64             // how often completed has risen
	blocker   atomic.Pointer[Reader]    // reader last seen behind, or nil: saves Poll most scans
	readers   atomic.Pointer[[]*Reader] // registered; the slice is immutable, replaced under mu
	expedited sequence                  // last grace period expedited; atomic, only rises
	misses    atomic.Uint32             // Polls that returned false: one in 64 looks for stalls
	times     periodTimes
	_         [padding]byte

	entrance atomic.Pointer[entrance] // what Enter calls; nil before the first
	sections atomic.Pointer[sections] // nil before the first section
	_        [padding]byte

	callbacks queue
	_         [padding]byte

	// mu guards the replacement of readers, the fields below, and stalledAt, since and reported of
	// every Reader and of sections.
	mu        sync.Mutex
	wake      chan struct{} // closed by the next Expedite; nil if no waiter sleeps
	sleepers  int           // waiters that have given up spinning
	stalls    stalls
	expedites uint64 // calls of Expedite that had something to do
}

// lastDomain is the number of the latest domain that was asked for its number.
var lastDomain atomic.Uint32

// number tells the domain from all others of the process. The first call assigns it, since the zero
// Domain is ready for use. No number is assigned twice.
func (d *Domain) number() uint32 {
	if id := d.id.Load(); id != 0 {
		return id
	}
	d.id.CompareAndSwap(0, lastDomain.Add(1))
	return d.id.Load()
}

// Register adds a reader, online from the start: what its goroutine finds from now on stays valid
// until the reader reports. The name appears in Stats and in the texts of panics and errors; it
// need not be unique.
//
// Any goroutine may call it. It costs a copy of the list of readers and a look at the caller's
// stack, since stalls are reported with the place of the call and the goroutine.
func (d *Domain) Register(name string) *Reader { return d.register(name) }

// register is Register for its caller's caller. If that is the runtime, since a go statement calls
// Register or Run, the place is in that function: the runtime is around all goroutines.
func (d *Domain) register(name string) *Reader {
	var pcs [2]uintptr
	runtime.Callers(2, pcs[:]) // past Callers and register: in Register or Run, and in its caller
	pc := pcs[1]
	if callsAll(functionOf(pc)) {
		pc = pcs[0]
	}
	r := &Reader{domain: d, plain: never, name: name, goroutine: goroutineID(), registered: pc}
	d.watch()
	d.mu.Lock()
	list := append(slices.Clip(d.list()), r)
	d.readers.Store(&list)
	d.mu.Unlock()
	// Pairs with scan, which loads seq, then the list, then the words. A scan that misses r in the
	// list has loaded the list before the store above, hence before r goes online: to that scan r
	// is an offline reader.
	r.goOnline()
	return r
}

// unregister takes r, which is offline, out of the list.
func (d *Domain) unregister(r *Reader) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(d.list()), func(o *Reader) bool { return o == r })
	d.readers.Store(&list)
}

// list returns the registered readers. The slice must not be changed.
func (d *Domain) list() []*Reader {
	if p := d.readers.Load(); p != nil {
		return *p
	}
	return nil
}

// check verifies the invariants in the type's comment. Both sides only grow, so the smaller one is
// loaded first.
func (d *Domain) check() {
	completed, expedited, ran := d.completed.load(), d.expedited.load(), d.callbacks.ran.callbacks.Load()
	if s := d.sections.Load(); s != nil {
		// d.completed may be past c, if makeSections overtook a scan that had found no sections.
		c := s.completed.load()
		invariants.Check(reached(d.seq.load(), c), "rcu: sections completed %#x, past the sequence", c)
	}
	for _, r := range d.list() {
		w := r.seen()
		invariants.Check(w == offline || reached(d.seq.load(), w), "rcu: reader %q has seen %#x, past the sequence", r.name, w)
	}
	invariants.Check(reached(d.seq.load(), completed), "rcu: completed %#x, past the sequence", completed)
	invariants.Check(reached(d.seq.load(), expedited), "rcu: expedited %#x, past the sequence", expedited)
	invariants.Check(ran <= d.callbacks.queued().callbacks, "rcu: %d callbacks have run, more than were queued", ran)
}
