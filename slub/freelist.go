package slub

import (
	"math/bits"
	"math/rand/v2"

	"github.com/slubd/slubd/internal/mem"
)

// The chain of free objects in a slab runs through the objects: each holds, fp
// bytes from its start, the address of the next one, or 0 at the end.
//
// The word is not stored plain but combined with the cache's secret and the place
// it stands at, bytes swapped, so that neither a stray write nor a chosen one leads
// to an address of the writer's liking (kernel: CONFIG_SLAB_FREELIST_HARDENED,
// freelist_ptr_encode).

// shuffled returns the numbers below n in a random order (Fisher and Yates).
func shuffled(n int) []uint32 {
	list := make([]uint32, n)
	for i := range list {
		list[i] = uint32(i)
	}
	rand.Shuffle(n, func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (l *layer) encode(at, next uintptr) uint64 {
	return uint64(next) ^ l.secret ^ bits.ReverseBytes64(uint64(at))
}

// setNext writes obj's free pointer. The race detector must not see it, nor next's
// read, since it doesn't see the exchange of the slab's state, off-heap, that orders
// the two.
//
//go:norace
func (l *layer) setNext(obj, next uintptr) {
	at := obj + l.fp
	*mem.At[uint64](at) = l.encode(at, next)
}

// next reads obj's free pointer. Whatever is found there, the result is 0 or lies
// within obj's slab, else ok is false: nothing may be followed out of the slab.
//
//go:norace
func (l *layer) next(obj uintptr, s slabRef) (next uintptr, ok bool) {
	at := obj + l.fp
	next = uintptr(*mem.At[uint64](at) ^ l.secret ^ bits.ReverseBytes64(uint64(at)))
	if next == 0 {
		return 0, true
	}
	return next, next-s.addr < s.bytes() && (next-s.addr)%8 == 0
}
