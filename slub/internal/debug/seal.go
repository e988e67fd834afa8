package debug

import (
	"math/bits"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// What a slot keeps of its object, the tracks and the request, are numbers, and no byte of them is
// known before. So each word is sealed: it has 48 bits of a number, and 16 that follow from them. A
// write that changes 16 bits or fewer within one quarter of the word never fits, any other one in
// one of 65536 cases.

// sealedBits is how many bits a number may have that is sealed.
const sealedBits = 48

// seal returns a word for a number. Zero is no such word.
func seal(n uint64) uint64 {
	n &= 1<<sealedBits - 1
	return n | checkOf(n)<<sealedBits
}

// unseal returns the number of a word. If the word was overwritten, ok is false.
func unseal(w uint64) (n uint64, ok bool) {
	n = w & (1<<sealedBits - 1)
	return n, w>>sealedBits == checkOf(n)
}

// checkOf returns the 16 bits for a number. The turns keep them from staying the same where the
// same is written to two quarters. The constant, whose bytes differ, makes eight equal bytes no
// sealed word.
func checkOf(n uint64) uint64 {
	const unequal = 0xa5c3
	a, b, c := uint16(n), uint16(n>>16), uint16(n>>32)
	return uint64(a ^ bits.RotateLeft16(b, 5) ^ bits.RotateLeft16(c, 10) ^ unequal)
}

// Words are written and read by atomic operations: nothing waits for a lock to read one, and one
// that is written at the same moment is the old one or the new one. The address sanitizer, for
// which all that lies beside an object is out of bounds, does not look at them.

func storeSealed(at uintptr, n uint64) { atomic.StoreUint64(mem.At[uint64](at), seal(n)) }

func loadSealed(at uintptr) (n uint64, ok bool) {
	return unseal(atomic.LoadUint64(mem.At[uint64](at)))
}

// lookSealed returns the words of a part that were overwritten, all as one. Repair writes the
// number to each word of the part.
func lookSealed(name string, from, to uintptr, number uint64) (o Overwrite, ok bool) {
	for at := from; at < to; at += word {
		if _, sound := loadSealed(at); sound {
			continue
		}
		if o.Part == "" {
			o = Overwrite{Part: name, Start: from, End: to, First: at, Got: *mem.At[byte](at), fix: seal(number)}
		}
		o.Last = at + word - 1
	}
	return o, o.Part == ""
}
