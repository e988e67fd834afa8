package debug

import "time"

// A Track says which call allocated an object last, or freed it. The zero value says nothing.
type Track struct {
	Stack uint32 // number of the call stack in the caller's table, 0 for none
	CPU   int32  // up to 65535
	When  int64  // nanoseconds since 1970; 0 if there was no such call
}

// trackSize is the size of a Track in a slot: two words.
const trackSize = 2 * word

// Age returns how long ago the call was, as the clock is now.
func (t Track) Age() time.Duration { return time.Since(time.Unix(0, t.When)) }

// A track's words are sealed, so each has 48 bits: the number of the stack and that of the CPU, and
// the time in units of 16 us, which are enough for it until 2116.
const whenShift = 14

// SetAllocated keeps the call that allocates an object, and forgets the one that freed it.
func (l *Layout) SetAllocated(obj uintptr, t Track) {
	l.setTrack(obj, 0, t)
	l.setTrack(obj, 1, Track{})
}

// SetFreed keeps the call that frees an object. Where the track before was overwritten it does
// nothing, so that Check finds that.
func (l *Layout) SetFreed(obj uintptr, t Track) {
	if _, ok := l.track(obj, 1); ok {
		l.setTrack(obj, 1, t)
	}
}

// Unfreed calls f while the object has no call that has freed it.
func (l *Layout) Unfreed(obj uintptr, f func()) {
	_, freed := l.Tracks(obj)
	l.SetFreed(obj, Track{})
	f()
	l.SetFreed(obj, freed)
}

// Tracks returns what was kept of an object; zero values without Users, and for a track that was
// overwritten.
func (l *Layout) Tracks(obj uintptr) (allocated, freed Track) {
	allocated, _ = l.track(obj, 0)
	freed, _ = l.track(obj, 1)
	return allocated, freed
}

func (l *Layout) setTrack(obj, i uintptr, t Track) {
	if !l.Flags.Has(Users) {
		return
	}
	at := obj + l.users + i*trackSize
	storeSealed(at, uint64(t.Stack)<<16|uint64(uint16(t.CPU)))
	storeSealed(at+word, uint64(t.When)>>whenShift)
}

// track returns one of the tracks. If it was overwritten, or there is none, ok is false.
func (l *Layout) track(obj, i uintptr) (t Track, ok bool) {
	if !l.Flags.Has(Users) {
		return Track{}, false
	}
	at := obj + l.users + i*trackSize
	call, callOK := loadSealed(at)
	when, whenOK := loadSealed(at + word)
	if !callOK || !whenOK {
		return Track{}, false
	}
	return Track{Stack: uint32(call >> 16), CPU: int32(uint16(call)), When: int64(when << whenShift)}, true
}
