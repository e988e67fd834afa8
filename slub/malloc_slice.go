package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// A Slice is a slice of bytes off-heap, kept as 16 bytes of numbers: a Ref for values whose length
// is known only at run time. The garbage collector scans neither a Slice nor the memory that holds
// only Slices, and NewTyped accepts it as a field. So an object can own a key or a value of any
// length.
//
// A Slice is a value, and copies are equal: all lead to the same bytes, which one of them frees.
// The zero Slice has no bytes, and to free it does nothing.
type Slice struct {
	addr uintptr
	word uint64 // length << bucketsBits | index of the Buckets
}

// NewSlice returns a Slice of n bytes, not zeroed; the zero Slice if n is 0. Any goroutine. Cost
// and errors: as Malloc.
func (b *Buckets) NewSlice(n int) (Slice, error) {
	if n == 0 {
		return Slice{}, nil
	}
	p, err := b.alloc(n, 1)
	if err != nil {
		return Slice{}, err
	}
	return Slice{uintptr(p), uint64(n)<<bucketsBits | uint64(b.index)}, nil
}

// Len returns the number of bytes. It is inlined.
func (s Slice) Len() int { return int(s.word >> bucketsBits) }

// Bytes returns the bytes; nil for the zero Slice. They are valid until the Slice is freed. The
// capacity is the length, so that an append copies them to the Go heap. It is inlined.
func (s Slice) Bytes() []byte {
	n := s.Len()
	return unsafe.Slice((*byte)(mem.Ptr(s.addr)), n)[:n:n]
}

// Free frees the bytes; see Buckets.Free. Any goroutine. It costs a look-up of the Buckets more
// than Malloc's Free, of two loads.
func (s Slice) Free() {
	if s.addr != 0 {
		s.buckets().Free(mem.Ptr(s.addr))
	}
}

// FreeRCU frees the bytes after a grace period of the Buckets' Domain; see Buckets.FreeRCU.
func (s Slice) FreeRCU() {
	if s.addr != 0 {
		s.buckets().FreeRCU(mem.Ptr(s.addr))
	}
}

// FreeDeferred frees the bytes later and waits for nothing now; see Buckets.FreeDeferred. It is
// what an RCUDtor calls for the Slices of its object.
func (s Slice) FreeDeferred() {
	if s.addr != 0 {
		s.buckets().FreeDeferred(mem.Ptr(s.addr))
	}
}

// buckets returns the Buckets that the bytes came from. If these are closed it may return others,
// or some that own nothing: all report the address.
func (s Slice) buckets() *Buckets {
	if b := allBuckets.at(uint32(s.word % maxBuckets)); b != nil {
		return b
	}
	none := new(Buckets)
	none.free.Init(none.freeSlow)
	none.closed.Store(true)
	return none
}
