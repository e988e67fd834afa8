package sys

import "sync/atomic"

// GuardSlots is how many objects a GuardArea describes.
const GuardSlots = 255

// GuardPages is how many pages it covers: the object of slot i lies in page 2*i+1, and all others
// are guard pages.
const GuardPages = 2*GuardSlots + 2

// GuardText is the size of a call stack's text in bytes, with the zero byte behind it.
const GuardText = 2048

// The states of a GuardSlot.
const (
	GuardUnused uint32 = iota // it has had no object yet
	GuardInUse                // its page can be read and written
	GuardFreed                // its page is guarded
)

// A GuardSlot is what a report says of a guarded object. It lies in memory that Go does not scan,
// since the signal handler reads it. Its writer is the goroutine that allocates or frees the
// object. The handler reads while the object is freed, or in use by the thread that is at fault.
type GuardSlot struct {
	Object, Size      uint64 // address and bytes
	State             atomic.Uint32
	AllocCPU, FreeCPU uint32
	_                 uint32
	Allocated, Freed  int64           // by Monotonic
	Cache             [104]byte       // name, with a zero byte behind it
	AllocStack        [GuardText]byte // text of several lines, with a zero byte behind it
	FreeStack         [GuardText]byte // the same
}

// A GuardArea is a range of guarded pages. While Pages is not 0, and the area is watched, an access
// to a guarded page is reported.
type GuardArea struct {
	Start   uint64        // of the range; constant while Pages is not 0
	Pages   atomic.Uint64 // GuardPages, or 0 while the range is not the area's
	Reports atomic.Uint64 // reports that the handler has made
	_       uint64
	Slots   [GuardSlots]GuardSlot
}
