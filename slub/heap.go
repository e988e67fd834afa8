package slub

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// The functions of this file are the methods of DefaultBuckets, for programs that have
// no need of others.

var standard struct {
	buckets atomic.Pointer[Buckets]
	making  sync.Mutex
}

// DefaultBuckets returns the Buckets that Malloc and its like use, made by the first
// call, in arena.Default. Errors: as NewBuckets; the next call tries again.
func DefaultBuckets() (*Buckets, error) {
	if b := standard.buckets.Load(); b != nil {
		return b, nil
	}
	standard.making.Lock()
	defer standard.making.Unlock()
	if b := standard.buckets.Load(); b != nil {
		return b, nil
	}
	b, err := NewBuckets(nil, BucketsConfig{})
	if err == nil {
		standard.buckets.Store(b)
	}
	return b, err
}

// Malloc is DefaultBuckets' Malloc.
func Malloc(n int) (unsafe.Pointer, error) {
	if b := standard.buckets.Load(); b != nil {
		return b.Malloc(n)
	}
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.Malloc(n)
}

// MallocZero is DefaultBuckets' MallocZero.
func MallocZero(n int) (unsafe.Pointer, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.MallocZero(n)
}

// Realloc is DefaultBuckets' Realloc.
func Realloc(p unsafe.Pointer, n int) (unsafe.Pointer, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.Realloc(p, n)
}

// Bytes is DefaultBuckets' Bytes.
func Bytes(n int) ([]byte, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.Bytes(n)
}

// Free is DefaultBuckets' Free.
func Free(p unsafe.Pointer) { mallocated(p).Free(p) }

// FreeRCU is DefaultBuckets' FreeRCU.
func FreeRCU(p unsafe.Pointer) { mallocated(p).FreeRCU(p) }

// FreeBytes is DefaultBuckets' FreeBytes.
func FreeBytes(s []byte) {
	if cap(s) > 0 {
		Free(unsafe.Pointer(unsafe.SliceData(s)))
	}
}

// Size is DefaultBuckets' Size.
func Size(p unsafe.Pointer) int { return mallocated(p).Size(p) }

// mallocated returns the Buckets that p came from, if it came from Malloc. Where there
// are none yet, none of their methods finds p to be theirs.
func mallocated(unsafe.Pointer) *Buckets {
	if b := standard.buckets.Load(); b != nil {
		return b
	}
	return new(Buckets)
}
