package slub

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// The functions of this file are the methods of DefaultBuckets, for programs that have
// no need of others.

var standard struct {
	malloc  percpu.PopBySize // chooses nothing before there are buckets
	free    percpu.FreeByOwner
	buckets atomic.Pointer[Buckets]
	making  sync.Mutex
}

func init() {
	standard.malloc.Init(standardMalloc)
	standard.free.Init(func(p unsafe.Pointer) { mallocated().freeSlow(p) })
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
		b.fill(&standard.malloc, &standard.free)
	}
	return b, err
}

// Malloc is DefaultBuckets' Malloc.
func Malloc(n int) (unsafe.Pointer, error) { return standard.malloc.Func()(n) }

// standardMalloc is Malloc before there are buckets, and for what no table leads to.
func standardMalloc(n int) (unsafe.Pointer, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.alloc(n, 2)
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
func Free(p unsafe.Pointer) { standard.free.Func()(p) }

// FreeRCU is DefaultBuckets' FreeRCU.
func FreeRCU(p unsafe.Pointer) { mallocated().FreeRCU(p) }

// FreeRCUNoWait is DefaultBuckets' FreeRCUNoWait.
func FreeRCUNoWait(p unsafe.Pointer) { mallocated().FreeRCUNoWait(p) }

// FreeBytes is DefaultBuckets' FreeBytes.
func FreeBytes(s []byte) {
	if cap(s) > 0 {
		Free(unsafe.Pointer(unsafe.SliceData(s)))
	}
}

// Size is DefaultBuckets' Size.
func Size(p unsafe.Pointer) int { return mallocated().Size(p) }

// mallocated returns the buckets that pointers from Malloc are from. Where there are none
// yet, these find none to be theirs.
func mallocated() *Buckets {
	if b := standard.buckets.Load(); b != nil {
		return b
	}
	return new(Buckets)
}
