package debug

import (
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/mem"
)

// A Track says which call allocated an object last, or freed it. The zero value says nothing.
type Track struct {
	Stack uint32 // number of the call stack in the caller's table, 0 for none
	CPU   int32
	When  int64 // nanoseconds since 1970; 0 if there was no such call
}

// trackSize is the size of a Track in a slot: two words.
const trackSize = 2 * word

// Age returns how long ago the call was, as the clock is now.
func (t Track) Age() time.Duration { return time.Since(time.Unix(0, t.When)) }

// The words of a track are written and read by atomic operations. What was overwritten reads as
// some other track, and nothing waits for a lock to read one. The address sanitizer, for which all
// that lies beside an object is out of bounds, does not look at them.

// SetAllocated keeps the call that allocates an object, and forgets the one that freed it.
func (l *Layout) SetAllocated(obj uintptr, t Track) {
	l.setTrack(obj, 0, t)
	l.setTrack(obj, 1, Track{})
}

// SetFreed keeps the call that frees an object.
func (l *Layout) SetFreed(obj uintptr, t Track) { l.setTrack(obj, 1, t) }

// Tracks returns what was kept of an object; zero values without Users.
func (l *Layout) Tracks(obj uintptr) (allocated, freed Track) {
	if !l.Flags.Has(Users) {
		return Track{}, Track{}
	}
	return l.track(obj, 0), l.track(obj, 1)
}

func (l *Layout) setTrack(obj, i uintptr, t Track) {
	if !l.Flags.Has(Users) {
		return
	}
	at := obj + l.users + i*trackSize
	atomic.StoreUint64(mem.At[uint64](at), uint64(t.Stack)<<32|uint64(uint32(t.CPU)))
	atomic.StoreUint64(mem.At[uint64](at+word), uint64(t.When))
}

func (l *Layout) track(obj, i uintptr) Track {
	at := obj + l.users + i*trackSize
	w := atomic.LoadUint64(mem.At[uint64](at))
	return Track{Stack: uint32(w >> 32), CPU: int32(uint32(w)), When: int64(atomic.LoadUint64(mem.At[uint64](at + word)))}
}
