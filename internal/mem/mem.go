// Package mem has the sizes and the address arithmetic that all packages share. It is the one place
// where a number becomes a pointer.
//
// It owns no memory, takes no lock and imports nothing of the module. Addresses are off-heap (from
// mmap) or belong to memory that the caller keeps alive; the address of a Go object that may move
// or be collected is not allowed.
package mem

import (
	"math/bits"
	"unsafe"
)

const (
	// PageShift is the binary logarithm of PageSize.
	PageShift = 12
	// PageSize is the unit of arenas and slabs, in bytes. arena.New refuses kernels with larger
	// pages, since the kernel must be able to discard every run of pages.
	PageSize = 1 << PageShift
	// CacheLine is the unit of false sharing, in bytes. Adjacent-line prefetchers fetch lines in
	// pairs, so hot words of different CPUs lie two lines apart.
	CacheLine = 64
)

// AlignUp rounds n up to a multiple of a, a power of two. It wraps to 0 if the multiple does not
// fit.
func AlignUp(n, a uintptr) uintptr { return (n + a - 1) &^ (a - 1) }

// AlignDown rounds n down to a multiple of a, a power of two.
func AlignDown(n, a uintptr) uintptr { return n &^ (a - 1) }

// IsPow2 reports whether n is a power of two; 0 is not.
func IsPow2(n uintptr) bool { return n != 0 && n&(n-1) == 0 }

// Order returns the smallest k with PageSize<<k >= n bytes.
func Order(n uintptr) int {
	if n <= PageSize {
		return 0
	}
	return bits.Len64(uint64(n-1)) - PageShift
}

// Ptr makes a pointer of an off-heap address. It converts through memory, where checkptr doesn't
// see it: checkptr knows only Go objects.
func Ptr(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// At returns the off-heap memory at addr as a T. The caller guarantees size, alignment and
// lifetime.
func At[T any](addr uintptr) *T { return (*T)(Ptr(addr)) }

// Addr is the inverse of At: the address of off-heap memory as a number, 0 for nil.
func Addr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// Bytes returns the n bytes at addr as a slice.
func Bytes(addr, n uintptr) []byte { return unsafe.Slice((*byte)(Ptr(addr)), n) }

// Zero clears n bytes at addr.
func Zero(addr, n uintptr) { clear(Bytes(addr, n)) }
