package slub

import (
	"context"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/numa"
)

// The functions of this file are the methods of DefaultBuckets, for programs that need no other
// Buckets.

var defaults struct {
	malloc    percpu.PopBySize // takes its slow path until the buckets exist, as do the others
	free      percpu.FreeByOwner
	bytes     percpu.SliceBySize
	freeBytes percpu.FreeSliceByOwner
	direct    atomic.Uintptr // see sequences
	buckets   atomic.Pointer[Buckets]
	making    sync.Mutex
}

func init() {
	defaultSequences().init(mallocDefault, func(p unsafe.Pointer) { defaultOrNone().freeSlow(p) },
		bytesDefault, func(s []byte) { defaultOrNone().freeBytesSlow(s) })
}

func defaultSequences() sequences {
	return sequences{&defaults.malloc, &defaults.free, &defaults.bytes, &defaults.freeBytes, &defaults.direct}
}

// DefaultBuckets returns the Buckets that the package's Malloc, Free and so on use. The first
// call makes them, in arena.Default. Any goroutine. Errors: as NewBuckets; the next call tries
// again.
func DefaultBuckets() (*Buckets, error) {
	if b := defaults.buckets.Load(); b != nil {
		return b, nil
	}
	defaults.making.Lock()
	defer defaults.making.Unlock()
	if b := defaults.buckets.Load(); b != nil {
		return b, nil
	}
	b, err := NewBuckets(nil, BucketsConfig{})
	if err == nil {
		defaults.buckets.Store(b)
		b.addSequences(defaultSequences(), true)
	}
	return b, err
}

// Malloc is DefaultBuckets' Malloc.
func Malloc(n int) (unsafe.Pointer, error) { return defaults.malloc.Func()(n) }

// mallocDefault is Malloc before the buckets exist, and where the sequence finds no class for n
// or no object.
func mallocDefault(n int) (unsafe.Pointer, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.alloc(n, 2)
}

// MallocNode is DefaultBuckets' MallocNode.
func MallocNode(n int, node numa.Node) (unsafe.Pointer, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.MallocNode(n, node)
}

// MallocNoWait is DefaultBuckets' MallocNoWait. It returns ErrWouldBlock before they exist.
func MallocNoWait(n int) (unsafe.Pointer, error) {
	if b := defaults.buckets.Load(); b != nil {
		return b.MallocNoWait(n)
	}
	return nil, ErrWouldBlock
}

// MallocBulk is DefaultBuckets' MallocBulk.
func MallocBulk(n int, dst []unsafe.Pointer) error {
	b, err := DefaultBuckets()
	if err != nil {
		clear(dst)
		return err
	}
	return b.MallocBulk(n, dst)
}

// MallocContext is DefaultBuckets' MallocContext.
func MallocContext(ctx context.Context, n int) (unsafe.Pointer, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.MallocContext(ctx, n)
}

// NewAccount is DefaultBuckets' NewAccount.
func NewAccount(cfg AccountConfig) (*Account, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.NewAccount(cfg)
}

// MallocZero is DefaultBuckets' MallocZero.
func MallocZero(n int) (unsafe.Pointer, error) {
	if uintptr(n)-1 < defaults.direct.Load() { // as Buckets.MallocZero
		p, err := defaults.malloc.Func()(n)
		if err == nil {
			mem.Zero(uintptr(p), uintptr(n))
		}
		return p, err
	}
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

// ReallocZero is DefaultBuckets' ReallocZero.
func ReallocZero(p unsafe.Pointer, old, n int) (unsafe.Pointer, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.ReallocZero(p, old, n)
}

// MallocAligned is DefaultBuckets' MallocAligned.
func MallocAligned(n, align int) (unsafe.Pointer, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.MallocAligned(n, align)
}

// NewSlice is DefaultBuckets' NewSlice.
func NewSlice(n int) (Slice, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return Slice{}, err
	}
	return b.NewSlice(n)
}

// BytesZero is DefaultBuckets' BytesZero.
func BytesZero(n int) ([]byte, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.BytesZero(n)
}

// ReallocBytes is DefaultBuckets' ReallocBytes.
func ReallocBytes(s []byte, n int) ([]byte, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.ReallocBytes(s, n)
}

// Bytes is DefaultBuckets' Bytes.
func Bytes(n int) (s []byte, err error) {
	s, err = defaults.bytes.Func()(n) // as Buckets.Bytes
	return
}

// bytesDefault is Bytes before the buckets exist, and where the sequence finds no class for n or
// no object.
func bytesDefault(n int) ([]byte, error) {
	b, err := DefaultBuckets()
	if err != nil {
		return nil, err
	}
	return b.bytesSlow(n)
}

// Free is DefaultBuckets' Free.
func Free(p unsafe.Pointer) { defaults.free.Func()(p) }

// FreeBulk is DefaultBuckets' FreeBulk.
func FreeBulk(ps []unsafe.Pointer) { defaultOrNone().FreeBulk(ps) }

// FreeDeferred is DefaultBuckets' FreeDeferred.
func FreeDeferred(p unsafe.Pointer) { defaultOrNone().FreeDeferred(p) }

// FreeRCU is DefaultBuckets' FreeRCU.
func FreeRCU(p unsafe.Pointer) { defaultOrNone().FreeRCU(p) }

// FreeRCUNoWait is DefaultBuckets' FreeRCUNoWait.
func FreeRCUNoWait(p unsafe.Pointer) { defaultOrNone().FreeRCUNoWait(p) }

// FreeRCUContext is DefaultBuckets' FreeRCUContext.
func FreeRCUContext(ctx context.Context, p unsafe.Pointer) { defaultOrNone().FreeRCUContext(ctx, p) }

// FreeBytes is DefaultBuckets' FreeBytes.
func FreeBytes(s []byte) { defaults.freeBytes.Func()(s) }

// FreeBytesRCU is DefaultBuckets' FreeBytesRCU.
func FreeBytesRCU(s []byte) { defaultOrNone().FreeBytesRCU(s) }

// Size is DefaultBuckets' Size.
func Size(p unsafe.Pointer) int { return defaultOrNone().Size(p) }

// defaultOrNone returns DefaultBuckets without making them. Before they exist it returns zero
// Buckets, which own no pointer, so that a wrong Free is reported.
func defaultOrNone() *Buckets {
	if b := defaults.buckets.Load(); b != nil {
		return b
	}
	return new(Buckets)
}
